//! `skald demo`: the real agent and the receiver, on a log that ships with Skald.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio_util::sync::CancellationToken;

use super::args::{Log, Ship};
use super::{receive, setup};
use crate::app::{Agent, Clock, Common, Extras};
use crate::model::UnixNanos;
use crate::receive::{Direction, Options, Query, Receiver, Span, Store};
use crate::telemetry::{LevelFilter, Metrics, init_log};

/// An hour of a video-generation backend, made by `config/demo/generate.py`.
const LOG: &str = include_str!("../../config/demo/veogen.log");

/// How its stamps begin. Loki takes no lines of last January, so the hour is moved to the last one.
const HOUR: &str = "2026-01-15T09:";

/// Longest that the demo may take.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) fn demo(log: &Log, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    init_log(log.log_format, log.log_level.min(LevelFilter::WARN))?;
    let folder = Folder::new()?;
    setup::runtime()?.block_on(show(&folder.0, out))
}

async fn show(folder: &Path, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let clock = Clock::start();
    let text = LOG.replace(HOUR, &last_hour(clock.now().wall));
    let file = folder.join("veogen.log");
    fs_err::write(&file, &text)?;
    let options = Options::new(receive::clock());
    let receiver = Receiver::start(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), options).await?;
    let url = format!("http://{}", receiver.addr());
    writeln!(out, "skald run --url {url} --label app=veogen {}\n", file.display())?;

    let ship = Ship {
        url: Some(url),
        labels: vec![("app".to_owned(), "veogen".to_owned())],
        state_dir: Some(folder.join("state")),
        ..Ship::default()
    };
    let Some(config) = setup::from_flags(ship, vec![file.display().to_string()])? else {
        bail!("the demo's own configuration is wrong, which is a bug");
    };
    let stop = CancellationToken::new();
    let agent = Agent::start(config, Extras::default(), Metrics::new())?;
    let common = agent.common().clone();
    let run = tokio::spawn(agent.run(stop.clone()));
    let taken = wait(&common, text.lines().count() as u64, clock).await;
    stop.cancel();
    let ended = run.await?;
    report(&common.metrics, receiver.store(), taken, out)?;
    show_request(&text, receiver.store(), out)?;
    receiver.stop().await?;
    if taken.is_none() || !ended.is_complete() {
        bail!("not every line arrived: {ended:?}");
    }
    Ok(ExitCode::SUCCESS)
}

/// Waits until `lines` are delivered. Returns how long that took, `None` if it took too long.
async fn wait(common: &Common, lines: u64, clock: Clock) -> Option<Duration> {
    let start = clock.now().mono;
    while common.metrics.lines_delivered.get() < lines {
        if start + PATIENCE < clock.now().mono {
            return None;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Some(clock.now().mono - start)
}

fn report(
    metrics: &Metrics,
    store: &Store,
    taken: Option<Duration>,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let stats = store.stats();
    writeln!(out, "{:>8}  stream", "entries")?;
    for (labels, entries) in &stats.per_stream {
        writeln!(out, "{entries:>8}  {labels}")?;
    }
    let (read, sent) = (metrics.bytes_delivered.get(), metrics.push_body_bytes.get());
    let ratio = ratio(read, sent);
    writeln!(out, "\n{} lines in {} streams", stats.entries, stats.per_stream.len())?;
    writeln!(out, "{read} bytes read, {sent} sent: {ratio:.1} to 1")?;
    if let Some(taken) = taken {
        let rate = ratio_per_second(read, taken);
        writeln!(
            out,
            "{:.0} ms from start to the last acknowledgement: {rate:.0} MB/s",
            taken.as_secs_f64() * 1e3
        )?;
    }
    Ok(())
}

/// Finds the lines of one failed request again, as one would in Grafana.
fn show_request(text: &str, store: &Store, out: &mut dyn Write) -> anyhow::Result<()> {
    let failed = text.lines().find(|line| line.contains(r#""event_type": "request_error""#));
    let parsed: serde_json::Value = serde_json::from_str(failed.context("no request failed")?)?;
    let id = parsed["request_id"].as_str().context("the failed request has no id")?;
    let query = format!(r#"{{app="veogen"}} | request_id="{id}""#);
    writeln!(out, "\n{query}")?;
    let span = Span {
        start: UnixNanos(i64::MIN),
        end: UnixNanos(i64::MAX),
        limit: 100,
        direction: Direction::Forward,
    };
    for entry in store.find(None, &Query::parse(&query)?, &span) {
        let line = entry.text();
        let short: String = line.chars().take(160).collect();
        writeln!(
            out,
            "  {} {short}{}",
            entry.time,
            if short.len() < line.len() { "…" } else { "" }
        )?;
    }
    Ok(())
}

fn last_hour(now: UnixNanos) -> String {
    let before = now.minus(Duration::from_secs(3600)).to_string();
    // `2026-11-22T09:` of `2026-11-22T09:20:05Z`.
    before.chars().take(HOUR.len()).collect()
}

#[expect(clippy::cast_precision_loss, reason = "shown with one digit")]
fn ratio(of: u64, to: u64) -> f64 {
    of as f64 / to.max(1) as f64
}

#[expect(clippy::cast_precision_loss, reason = "shown without digits")]
fn ratio_per_second(bytes: u64, taken: Duration) -> f64 {
    bytes as f64 / 1e6 / taken.as_secs_f64()
}

/// A folder of the demo's own, removed at its end.
struct Folder(std::path::PathBuf);

impl Folder {
    fn new() -> anyhow::Result<Self> {
        let name = format!("skald-demo-{:016x}", fastrand::u64(..));
        let path = std::env::temp_dir().join(name);
        fs_err::create_dir(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed is in the folder for temporary files, where it belongs.
        let _ = fs_err::remove_dir_all(&self.0);
    }
}
