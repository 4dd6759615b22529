//! `skald exec`: runs a service and ships what it writes.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, kill_process, wait};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::args::{Exec, Log};
use super::{run, setup};
use crate::app::{ChildPipe, Extras, Pipe};
use crate::config::{Config, Input};
use crate::telemetry::init_log;

/// How long the outputs may stay open, held by others, when the service has ended.
const LINGER: Duration = Duration::from_secs(5);

/// Exit codes of a shell for a command that cannot be run, and one that is not there.
const CANNOT_RUN: u8 = 126;
const NOT_FOUND: u8 = 127;

/// What a shell adds to the number of the signal that has ended a command.
const SIGNALLED: i32 = 128;

/// Signals that are passed on, and whether a terminal sends them to the service itself.
const PASSED_ON: [(Signal, SignalKind, bool); 7] = [
    (Signal::TERM, SignalKind::terminate(), false),
    (Signal::INT, SignalKind::interrupt(), true),
    (Signal::QUIT, SignalKind::quit(), true),
    (Signal::HUP, SignalKind::hangup(), false),
    (Signal::USR1, SignalKind::user_defined1(), false),
    (Signal::USR2, SignalKind::user_defined2(), false),
    (Signal::WINCH, SignalKind::window_change(), true),
];

pub(super) fn exec(args: Exec, log: &Log) -> anyhow::Result<ExitCode> {
    let Exec { config, ship, command } = args;
    if ship.tee {
        bail!("`--tee` is for standard input; what the service writes is copied on anyway");
    }
    let Some(config) = configuration(config, &ship)? else { return Ok(ExitCode::from(2)) };
    init_log(log.log_format, log.log_level)?;
    let mut child = match spawn(&command) {
        Ok(child) => child,
        Err(err) => return Ok(cannot_start(&command, &err)),
    };
    let cut = Arc::new(AtomicBool::new(false));
    let pipes = pipes(&mut child, &cut).context("the service has no outputs")?;
    let extras = Extras { pipes, end_with_pipes: true, stdin_deadline: ship.deadline };
    let runtime = setup::runtime()?;
    let pid = Pid::from_child(&child);
    let (ended, code) = runtime.block_on(async {
        let stop = CancellationToken::new();
        let service = tokio::spawn(watch(pid, reap(pid)?, cut, stop.clone())?);
        let ended = run::serve_with(config, extras, stop).await?;
        anyhow::Ok((ended, service.await?))
    })?;
    runtime.shutdown_background();
    Ok(match u8::try_from(code).unwrap_or(1) {
        0 if !ended.is_complete() => ExitCode::FAILURE,
        code => ExitCode::from(code),
    })
}

/// Flags, or a file whose source with `stdin: true` is the service.
fn configuration(
    file: Option<std::path::PathBuf>,
    ship: &super::args::Ship,
) -> anyhow::Result<Option<Config>> {
    let Some(path) = file else {
        let Some(mut config) = setup::from_flags(ship.clone(), Vec::new())? else {
            return Ok(None);
        };
        config.label_outputs();
        return Ok(Some(config));
    };
    run::refuse_mix(ship, &[])?;
    let config = setup::from_file(&path)?;
    let is_service =
        |config: &Config| config.sources.iter().any(|source| source.input == Input::Stdin);
    if config.as_ref().is_some_and(|config| !is_service(config)) {
        bail!("{} has no source with `stdin: true`, which stands for the service", path.display());
    }
    Ok(config)
}

fn spawn(command: &[String]) -> io::Result<Child> {
    // Those whose parents have ended are ours to wait for, whether we are the first process or not.
    #[cfg(target_os = "linux")]
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    let [program, args @ ..] = command else { return Err(io::ErrorKind::NotFound.into()) };
    Command::new(program).args(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()
}

fn cannot_start(command: &[String], err: &io::Error) -> ExitCode {
    let program = command.first().map_or("", String::as_str);
    error!(program, error = %err, "cannot run the service");
    ExitCode::from(if err.kind() == io::ErrorKind::NotFound { NOT_FOUND } else { CANNOT_RUN })
}

fn pipes(child: &mut Child, cut: &Arc<AtomicBool>) -> Option<Vec<Pipe>> {
    let (out, err) = (OwnedFd::from(child.stdout.take()?), OwnedFd::from(child.stderr.take()?));
    let pipe = |name, fd: OwnedFd, copy| Pipe {
        name,
        input: Box::new(ChildPipe::new(File::from(fd), Arc::clone(cut))),
        copy: Some(copy),
    };
    Some(vec![
        pipe("stdout", out, Box::new(io::stdout())),
        pipe("stderr", err, Box::new(io::stderr())),
    ])
}

/// Waits for all processes that are ours to wait for; says how `service` has ended.
fn reap(service: Pid) -> io::Result<oneshot::Receiver<WaitStatus>> {
    let (sender, receiver) = oneshot::channel();
    std::thread::Builder::new().name("skald-reap".to_owned()).spawn(move || {
        let mut sender = Some(sender);
        loop {
            match wait(WaitOptions::empty()) {
                Ok(Some((pid, status))) if pid == service && !status.stopped() => {
                    let _ = sender.take().map(|sender| sender.send(status));
                }
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(_) => return,
            }
        }
    })?;
    Ok(receiver)
}

/// Passes signals on until the service has ended, and then takes them for its own. Returns the
/// service's exit code.
fn watch(
    service: Pid,
    mut ended: oneshot::Receiver<WaitStatus>,
    cut: Arc<AtomicBool>,
    stop: CancellationToken,
) -> anyhow::Result<impl Future<Output = i32>> {
    let has_terminal = rustix::termios::isatty(io::stdin());
    let (sender, mut signals) = tokio::sync::mpsc::channel(16);
    for (number, kind, of_terminal) in PASSED_ON {
        let mut stream = signal(kind).context("cannot watch for signals")?;
        let sender = sender.clone();
        tokio::spawn(async move {
            while stream.recv().await.is_some() {
                // A terminal has sent it to the service as well.
                if !(of_terminal && has_terminal) && sender.send(number).await.is_err() {
                    return;
                }
            }
        });
    }
    Ok(async move {
        let status = loop {
            tokio::select! {
                status = &mut ended => break status,
                Some(number) = signals.recv() => {
                    let _ = kill_process(service, number);
                }
            }
        };
        let code = status.ok().and_then(code_of).unwrap_or(1);
        info!(code, "the service has ended; delivering what it wrote");
        tokio::spawn(async move {
            tokio::time::sleep(LINGER).await;
            cut.store(true, Ordering::Relaxed);
        });
        tokio::spawn(async move {
            while let Some(number) = signals.recv().await {
                if !matches!(number, Signal::TERM | Signal::INT) {
                    continue;
                }
                if stop.is_cancelled() {
                    warn!("second signal: ending at once");
                    std::process::exit(if code == 0 { 1 } else { code });
                }
                stop.cancel();
            }
        });
        code
    })
}

/// As a shell says it.
fn code_of(status: WaitStatus) -> Option<i32> {
    status.exit_status().or_else(|| Some(SIGNALLED + status.terminating_signal()?))
}
