//! A run over a log: from the start of the process to the last line at the receiver, all of them
//! checked.

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use rustix::process::Signal;

use crate::agent::{APART, Agent, Config, SHARED, Start};
use crate::files::{Library, Written};
use crate::measure::{Usage, pin};
use crate::prototype;
use crate::sink::{Sink, When};
use crate::table::Figures;
use crate::tally::Tally;
use crate::workload::{Input, Whole};

const MB: f64 = 1e6;

/// Runs it once.
pub(crate) fn run(library: &mut Library, binary: &Path, whole: &Whole) -> anyhow::Result<Figures> {
    let written = library.get(whole.log)?;
    let mut figures = once(library, binary, whole, &written, None)?;
    if whole.has_prototype {
        let cpu = prototype::run(&written.paths[0])?;
        let speed = written.bytes as f64 / MB / cpu.as_secs_f64();
        figures.add("prototype MB/CPU-s", speed);
        figures.add("of it", figures.get("MB/CPU-s") / speed);
    }
    Ok(figures)
}

/// Runs it once more and counts its system calls.
pub(crate) fn count_calls(
    library: &mut Library,
    binary: &Path,
    whole: &Whole,
) -> anyhow::Result<Figures> {
    let written = library.get(whole.log)?;
    let out = library.folder.join("strace.txt");
    once(library, binary, whole, &written, Some(&out))?;
    let calls = calls(&out).context("strace has counted nothing")?;
    let mut figures = Figures::default();
    figures.add("syscalls/1k lines", calls / written.digest.lines as f64 * 1000.0);
    Ok(figures)
}

fn once(
    library: &Library,
    binary: &Path,
    whole: &Whole,
    written: &Written,
    strace: Option<&Path>,
) -> anyhow::Result<Figures> {
    let (cores, when) = if whole.input == Input::FilesOnBoth {
        (SHARED, When::Later)
    } else {
        (APART, When::AtOnce)
    };
    pin(cores.rest)?;
    let folder = tempfile::tempdir_in(&library.folder)?;
    let tally = Tally::new(written.digest.lines, usize::from(whole.log.files));
    let sink = Sink::start(tally, when, whole.delay, library.patience)?;
    let is_piped = whole.input == Input::Stdin;
    let args = args(whole, written, &sink, folder.path())?;
    let how = Start { is_piped, strace: strace.map(Into::into) };
    let mut agent = Agent::start(binary, &args, folder.path(), cores, &how)?;
    sink.tally().pid = agent.pid();
    let start = agent.start;
    if let Some(mut pipe) = agent.child.stdin.take() {
        std::io::copy(&mut fs_err::File::open(&written.paths[0])?, &mut pipe)?;
    }
    sink.wait().map_err(|error| agent.explain(&error))?;
    let usage = agent.stop(Some(Signal::TERM).filter(|_| !is_piped))?;
    sink.check(&written.digest)?;
    Ok(figures(&sink.tally(), written, usage, start))
}

fn args(
    whole: &Whole,
    written: &Written,
    sink: &Sink,
    folder: &Path,
) -> anyhow::Result<Vec<OsString>> {
    if whole.input == Input::Stdin {
        let url = format!("http://{}", sink.addr);
        return Ok(["--url", &url, "--label", "app=veogen"].map(Into::into).to_vec());
    }
    let config = Config {
        loki: sink.addr,
        admin: None,
        glob: &written.glob,
        rules: whole.log.rules.yaml(),
        age_max: Duration::from_secs(1),
        streams: whole.streams,
    };
    config.write(folder)
}

fn figures(tally: &Tally, written: &Written, usage: Usage, start: std::time::Instant) -> Figures {
    let (cpu, lines) = (usage.cpu.as_secs_f64(), written.digest.lines as f64);
    let mut figures = Figures::default();
    figures.add("MB/CPU-s", written.bytes as f64 / MB / cpu);
    figures.add("µs/line", cpu * 1e6 / lines);
    if let (Some((most, bytes)), Some((_, status))) = (tally.most, tally.end) {
        figures.add("wall MB/s", bytes as f64 / MB / (most - start).as_secs_f64());
        figures.add("peak MiB", f64::from(status.peak_kib) / 1024.0);
    }
    figures.add("wire B/line", tally.wire_bytes as f64 / lines);
    figures.add("pushes", tally.pushes as f64);
    figures.add("streams/push", tally.streams_pushed as f64 / tally.pushes as f64);
    figures.add("switches/1k lines", usage.switches as f64 / lines * 1000.0);
    figures
}

/// The number of calls in the last line of strace's table.
fn calls(out: &Path) -> Option<f64> {
    let text = fs_err::read_to_string(out).ok()?;
    let total = text.lines().rfind(|line| line.ends_with(" total"))?;
    total.split_whitespace().nth(3)?.parse().ok()
}
