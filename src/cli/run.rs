//! The agent as a process: configuration, signals, exit code.

use std::io::{IsTerminal as _, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use clap::CommandFactory as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::args::{Cli, Log, Run, Ship};
use super::setup;
use crate::admin::{Admin, AdminError, Pages};
use crate::app::{Agent, Common, Ended, Extras, Pipe, Reloaded, Reloads, Request};
use crate::config::{Config, Input};
use crate::telemetry::{Metrics, init_log};

/// Standard input to Loki.
pub(super) fn pipe(ship: Ship, log: &Log, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    if ship.url.is_none() && std::io::stdin().is_terminal() {
        out.write_all(Cli::command().render_long_help().to_string().as_bytes())?;
        return Ok(ExitCode::from(2));
    }
    let extras = extras(&ship);
    agent(setup::from_flags(ship, Vec::new())?, extras, None, log)
}

/// `skald run`.
pub(super) fn run(args: Run, log: &Log) -> anyhow::Result<ExitCode> {
    let Run { config, ship, globs } = args;
    let extras = extras(&ship);
    let file = config.clone();
    let config = match config {
        Some(path) => {
            refuse_mix(&ship, &globs)?;
            setup::from_file(&path)?
        }
        None if globs.is_empty() => {
            bail!(
                "what? give `-c FILE`, or `--url URL` and patterns of files such as '/var/log/*.log'"
            )
        }
        None => setup::from_flags(ship, globs)?,
    };
    agent(config, extras, file, log)
}

/// A file and flags that say the same thing twice are a mistake, not a guess.
pub(super) fn refuse_mix(ship: &Ship, globs: &[String]) -> anyhow::Result<()> {
    let given = [
        ("--url", ship.url.is_some()),
        ("--label", !ship.labels.is_empty()),
        ("--admin", ship.admin.is_some()),
        ("--state-dir", ship.state_dir.is_some()),
        ("GLOB", !globs.is_empty()),
    ];
    match given.iter().find(|(_, given)| *given) {
        Some((flag, _)) => {
            bail!("`-c` together with `{flag}`: say it in the file, or leave out `-c`")
        }
        None => Ok(()),
    }
}

fn extras(ship: &Ship) -> Extras {
    let pipes = if ship.tee { vec![Pipe::stdin(true)] } else { vec![] };
    Extras { pipes, end_with_pipes: false, stdin_deadline: ship.deadline, reloads: None }
}

fn agent(
    config: Option<Config>,
    mut extras: Extras,
    file: Option<PathBuf>,
    log: &Log,
) -> anyhow::Result<ExitCode> {
    let Some(config) = config else { return Ok(ExitCode::from(2)) };
    let has_stdin = config.sources.iter().any(|source| source.input == Input::Stdin);
    if !extras.pipes.is_empty() && !has_stdin {
        bail!("`--tee` copies standard input, which is not read here");
    }
    init_log(log.log_format, log.log_level)?;
    let runtime = setup::runtime()?;
    let ended = runtime.block_on(async {
        let stop = CancellationToken::new();
        watch_signals(stop.clone())?;
        let reload = file.map(|file| reloads(file, &mut extras, |_| {}));
        if let Some(reload) = &reload {
            reload_on_hangup(reload.clone())?;
        }
        Service::start(config, extras, reload)?.run(stop).await
    })?;
    // Standard input may be stuck in a read that nothing ends: do not wait for its thread.
    runtime.shutdown_background();
    Ok(if ended.is_complete() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Has the agent read `file` again when somebody asks for it, which is done through what is
/// returned. `change` is what is done to the configuration then.
pub(super) fn reloads(
    file: PathBuf,
    extras: &mut Extras,
    change: impl Fn(&mut Config) + Send + 'static,
) -> mpsc::Sender<Request> {
    let (sender, requests) = mpsc::channel(1);
    let load = Box::new(move || {
        let mut config = setup::reload(&file)?;
        change(&mut config);
        Ok(config)
    });
    extras.reloads = Some(Reloads { load, requests });
    sender
}

/// SIGHUP asks for a reload. How it went is in the log.
fn reload_on_hangup(reload: mpsc::Sender<Request>) -> anyhow::Result<()> {
    let mut hangup = signal(SignalKind::hangup()).context("cannot watch for signals")?;
    tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            let (request, _) = oneshot::channel();
            let _ = reload.send(request).await;
        }
    });
    Ok(())
}

/// The agent and its pages.
pub(super) struct Service {
    agent: Agent,
    admin: Option<JoinHandle<Result<(), AdminError>>>,
    stop_admin: CancellationToken,
}

impl Service {
    /// Starts all that can fail. To be called inside a runtime.
    /// `reload` is how the configuration is read again, where there is a file.
    pub(super) fn start(
        config: Config,
        extras: Extras,
        reload: Option<mpsc::Sender<Request>>,
    ) -> anyhow::Result<Self> {
        info!(version = env!("CARGO_PKG_VERSION"), url = config.push.url, "skald starts");
        let admin = config.admin_listen.map(Admin::bind).transpose()?;
        let agent = Agent::start(config, extras, Metrics::new())?;
        let stop_admin = CancellationToken::new();
        let admin = admin.map(|admin| {
            info!(address = %admin.addr(), "serving /metrics, /ready, /healthy, /files and /reload");
            tokio::spawn(admin.serve(pages(agent.common(), reload), stop_admin.clone()))
        });
        Ok(Self { agent, admin, stop_admin })
    }

    /// Runs until the inputs end, or until `stop`.
    pub(super) async fn run(self, stop: CancellationToken) -> anyhow::Result<Ended> {
        let ended = self.agent.run(stop).await;
        self.stop_admin.cancel();
        if let Some(admin) = self.admin {
            admin.await??;
        }
        say(ended);
        Ok(ended)
    }
}

fn pages(common: &Common, reload: Option<mpsc::Sender<Request>>) -> Pages {
    let (metrics, ready) = (common.metrics.clone(), common.clone());
    let (healthy, files) = (common.clone(), Arc::clone(&common.registry));
    Pages {
        metrics: Box::new(move || metrics.encode()),
        not_ready: Box::new(move || ready.not_ready(ready.clock.now())),
        not_healthy: Box::new(move || healthy.not_healthy(healthy.clock.now())),
        files: Box::new(move || files.to_json().to_string()),
        reload: Box::new(move || Box::pin(ask(reload.clone()))),
    }
}

/// Has the configuration read again.
async fn ask(reload: Option<mpsc::Sender<Request>>) -> Reloaded {
    let Some(reload) = reload else {
        return Err("skald was started without a configuration file".to_owned());
    };
    let (request, reloaded) = oneshot::channel();
    let is_ending = || "skald is ending".to_owned();
    reload.send(request).await.map_err(|_| is_ending())?;
    reloaded.await.map_err(|_| is_ending())?
}

/// The first signal asks for an orderly end, the second ends at once.
pub(super) fn watch_signals(stop: CancellationToken) -> anyhow::Result<()> {
    let context = "cannot watch for signals";
    let mut terminate = signal(SignalKind::terminate()).context(context)?;
    let mut interrupt = signal(SignalKind::interrupt()).context(context)?;
    tokio::spawn(async move {
        loop {
            let name = tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
            };
            if stop.is_cancelled() {
                warn!(signal = name, "second signal: ending at once");
                std::process::exit(1);
            }
            info!(signal = name, "delivering what was read, then ending");
            stop.cancel();
        }
    });
    Ok(())
}

fn complete(left_out: u64) -> &'static str {
    match left_out {
        0 => "skald ends; all lines were delivered",
        _ => "skald ends; all lines were delivered that the rules did not leave out",
    }
}

fn say(ended: Ended) {
    let Ended { read, delivered, left_out, dropped, unsettled, lost, input_failed } = ended;
    let bytes = format!(
        "read {}, delivered {}, left out by rules {}, dropped {}, unsettled {}",
        read.bytes, delivered.bytes, left_out.bytes, dropped.bytes, unsettled.bytes
    );
    let (read, delivered, left_out) = (read.lines, delivered.lines, left_out.lines);
    let (dropped, unsettled) = (dropped.lines, unsettled.lines);
    if ended.is_complete() {
        info!(read, delivered, left_out, bytes, "{}", complete(left_out));
    } else if input_failed {
        let message = "skald ends; not all of the input could be read";
        error!(read, delivered, left_out, dropped, unsettled, bytes, "{message}");
    } else if lost != 0 {
        let message = "skald ends; bytes were gone before they could be read";
        error!(
            read,
            delivered,
            left_out,
            dropped,
            unsettled,
            bytes,
            lost_bytes = lost,
            "{message}"
        );
    } else if dropped == 0 {
        let message = "skald ends; unsettled lines are read again by the next run";
        warn!(read, delivered, left_out, unsettled, bytes, "{message}");
    } else {
        error!(read, delivered, left_out, dropped, unsettled, bytes, "skald ends; lines were lost");
    }
}
