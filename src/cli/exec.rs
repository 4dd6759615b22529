//! `skald exec`: runs a service and ships what it writes.

use std::io::{self, PipeWriter};
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode};
use std::sync::mpsc as std_mpsc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use rustix::process::{
    Pid, Resource, Rlimit, Signal, WaitOptions, WaitStatus, getrlimit, kill_process, setrlimit,
    wait,
};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::args::{Exec, Log, Ship};
use super::run::{self, Service};
use super::setup;
use super::signals::{Heard, Signals};
use crate::app::{Cut, Ended, Extras, Pipe};
use crate::config::{Config, Input};
use crate::telemetry::init_log;

/// How long the outputs may stay open, held by others, when the service has ended.
const LINGER: Duration = Duration::from_secs(5);

/// Exit codes of a shell for a command that cannot be run, and one that is not there.
const CANNOT_RUN: i32 = 126;
const NOT_FOUND: i32 = 127;

/// What a shell adds to the number of the signal that has ended a command.
const SIGNALLED: i32 = 128;

pub(super) fn exec(args: Exec, log: &Log) -> anyhow::Result<ExitCode> {
    let Exec { config, ship, command } = args;
    if ship.tee {
        bail!("`--tee` is for standard input; what the service writes is copied on anyway");
    }
    let file = config.clone();
    let Some(config) = configuration(config, &ship)? else { return Ok(ExitCode::from(2)) };
    init_log(log.log_format, log.log_level)?;
    let runtime = setup::runtime()?;
    let (code, ended) = runtime.block_on(serve(config, file, ship.deadline, &command))?;
    runtime.shutdown_background();
    Ok(match u8::try_from(code).unwrap_or(1) {
        0 if ended.is_some_and(|ended| !ended.is_complete()) => ExitCode::FAILURE,
        code => ExitCode::from(code),
    })
}

/// Flags, or a file whose source with `stdin: true` is the service.
fn configuration(file: Option<PathBuf>, ship: &Ship) -> anyhow::Result<Option<Config>> {
    let mut config = if let Some(path) = file {
        run::refuse_mix(ship, &[])?;
        let Some(config) = setup::from_file(&path)? else { return Ok(None) };
        if !config.sources.iter().any(|source| source.input == Input::Stdin) {
            let path = path.display();
            bail!("{path} has no source with `stdin: true`, which stands for the service");
        }
        config
    } else {
        let Some(config) = setup::from_flags(ship.clone(), Vec::new())? else { return Ok(None) };
        config
    };
    config.label_outputs();
    Ok(Some(config))
}

/// Starts the agent, then the service: what keeps the agent from starting is known before the
/// service has done anything. Returns the exit code of a shell, and what became of the lines.
async fn serve(
    config: Config,
    file: Option<PathBuf>,
    deadline: Option<Duration>,
    command: &[String],
) -> anyhow::Result<(i32, Option<Ended>)> {
    let mut signals = Signals::listen()?;
    let reaper = Reaper::start().context("cannot start a thread")?;
    let files = getrlimit(Resource::Nofile);
    let cut = Cut::new().context("cannot make a pipe")?;
    let (pipes, outputs) = pipes(&cut).context("cannot make the outputs of the service")?;
    let stdin_deadline = deadline;
    let mut extras = Extras { pipes, end_with_pipes: true, stdin_deadline, reloads: None };
    let reload = file.map(|file| run::reloads(file, &mut extras, Config::label_outputs));
    let agent = Service::start(config, extras, reload)?;
    if let Some(signal) = signals.end_was_asked() {
        info!("asked to end before the service was started");
        return Ok((SIGNALLED + signal.as_raw(), None));
    }
    let child = match spawn(command, outputs, files) {
        Ok(child) => child,
        Err(err) => return Ok((cannot_start(command, &err), None)),
    };
    let pid = Pid::from_child(&child);
    let stop = CancellationToken::new();
    let service = tokio::spawn(watch(pid, reaper.reap(pid), signals, cut, stop.clone()));
    let ended = agent.run(stop).await?;
    Ok((service.await?, Some(ended)))
}

/// Runs the service with the limit on open files that Skald was started with.
fn spawn(command: &[String], [out, err]: [PipeWriter; 2], files: Rlimit) -> io::Result<Child> {
    // Those whose parents have ended are ours to wait for, whether we are the first process or not.
    #[cfg(target_os = "linux")]
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    let [program, args @ ..] = command else { return Err(io::ErrorKind::NotFound.into()) };
    let raised = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, files)?;
    let child = Command::new(program).args(args).stdout(out).stderr(err).spawn();
    setrlimit(Resource::Nofile, raised)?;
    child
}

fn cannot_start(command: &[String], err: &io::Error) -> i32 {
    let program = command.first().map_or("", String::as_str);
    error!(program, error = %err, "cannot run the service");
    if err.kind() == io::ErrorKind::NotFound { NOT_FOUND } else { CANNOT_RUN }
}

/// The outputs of the service, read by the agent and written by the service.
fn pipes(cut: &Cut) -> io::Result<(Vec<Pipe>, [PipeWriter; 2])> {
    let ((out, out_writer), (err, err_writer)) = (io::pipe()?, io::pipe()?);
    let (out, err) = (Box::new(cut.output(out)), Box::new(cut.output(err)));
    let pipes = vec![
        Pipe { name: "stdout", input: out, copy: Some(Box::new(io::stdout())) },
        Pipe { name: "stderr", input: err, copy: Some(Box::new(io::stderr())) },
    ];
    Ok((pipes, [out_writer, err_writer]))
}

/// A thread that waits for all processes that are ours to wait for.
struct Reaper(std_mpsc::Sender<(Pid, oneshot::Sender<WaitStatus>)>);

impl Reaper {
    fn start() -> io::Result<Self> {
        let (sender, receiver) = std_mpsc::channel::<(Pid, oneshot::Sender<WaitStatus>)>();
        std::thread::Builder::new().name("skald-reap".to_owned()).spawn(move || {
            let Ok((service, ended)) = receiver.recv() else { return };
            let mut ended = Some(ended);
            loop {
                match wait(WaitOptions::empty()) {
                    Ok(Some((pid, status))) if pid == service && !status.stopped() => {
                        let _ = ended.take().map(|ended| ended.send(status));
                    }
                    Ok(_) | Err(rustix::io::Errno::INTR) => {}
                    Err(_) => return,
                }
            }
        })?;
        Ok(Self(sender))
    }

    /// Begins; says how `service` has ended.
    fn reap(self, service: Pid) -> oneshot::Receiver<WaitStatus> {
        let (sender, receiver) = oneshot::channel();
        // The thread waits for this, and takes it.
        let _ = self.0.send((service, sender));
        receiver
    }
}

/// Passes signals on until the service has ended, and then takes them for its own. Returns the
/// service's exit code.
async fn watch(
    service: Pid,
    mut ended: oneshot::Receiver<WaitStatus>,
    mut signals: Signals,
    cut: Cut,
    stop: CancellationToken,
) -> i32 {
    let mut is_told = false;
    let status = loop {
        tokio::select! {
            status = &mut ended => break status,
            Some(Heard { signal, by_terminal }) = signals.next() => {
                is_told |= is_end(signal);
                // A terminal has sent it to the service as well.
                if !by_terminal {
                    let _ = kill_process(service, signal);
                }
            }
        }
    };
    let code = status.ok().and_then(code_of).unwrap_or(1);
    info!(code, "the service has ended; delivering what it wrote");
    tokio::spawn(async move {
        tokio::time::sleep(LINGER).await;
        drop(cut);
    });
    if is_told {
        // Who has asked for the end does not wait for ever.
        stop.cancel();
    }
    tokio::spawn(async move {
        while let Some(Heard { signal, .. }) = signals.next().await {
            if is_end(signal) && stop.is_cancelled() {
                warn!("second signal: ending at once");
                std::process::exit(if code == 0 { 1 } else { code });
            } else if is_end(signal) {
                stop.cancel();
            }
        }
    });
    code
}

fn is_end(signal: Signal) -> bool {
    matches!(signal, Signal::TERM | Signal::INT)
}

/// As a shell says it.
fn code_of(status: WaitStatus) -> Option<i32> {
    status.exit_status().or_else(|| Some(SIGNALLED + status.terminating_signal()?))
}
