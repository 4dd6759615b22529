//! Skald as a process.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::measure::{Usage, pin};

/// Where it runs, and this program beside it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cores {
    pub(crate) agent: &'static [usize],
    pub(crate) rest: &'static [usize],
}

/// The agent on one core, this program on the other.
pub(crate) const APART: Cores = Cores { agent: &[0], rest: &[1] };

/// Both on both.
pub(crate) const SHARED: Cores = Cores { agent: &[0, 1], rest: &[0, 1] };

/// A running agent. It is killed, at the latest, with this value.
#[derive(Debug)]
pub(crate) struct Agent {
    pub(crate) child: Child,
    /// When it was started.
    pub(crate) start: Instant,
    before: Usage,
    log: PathBuf,
}

/// What is different about a start.
#[derive(Debug, Default)]
pub(crate) struct Start {
    /// Whether it reads what this program writes.
    pub(crate) is_piped: bool,
    /// Where system calls are counted, which takes time.
    pub(crate) strace: Option<PathBuf>,
}

impl Agent {
    /// Starts `binary` with its log in `folder`. This thread must run on `cores.rest`.
    pub(crate) fn start(
        binary: &Path,
        args: &[OsString],
        folder: &Path,
        cores: Cores,
        how: &Start,
    ) -> anyhow::Result<Self> {
        let log = folder.join("agent.log");
        let mut command = match &how.strace {
            None => Command::new(binary),
            Some(out) => {
                let mut strace = Command::new("strace");
                // -D: the child is the agent, and strace its tracer.
                strace.args(["-D", "-f", "-c", "-o"]).arg(out).arg("--").arg(binary);
                strace
            }
        };
        command.args(args).stdout(Stdio::null()).stderr(fs_err::File::create(&log)?.into_file());
        command.stdin(if how.is_piped { Stdio::piped() } else { Stdio::null() });
        let before = Usage::of_children()?;
        pin(cores.agent)?;
        let start = Instant::now();
        let child = command.spawn().with_context(|| format!("cannot start {}", binary.display()));
        pin(cores.rest)?;
        Ok(Self { child: child?, start, before, log })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it, all delivered, and says what it used from its start to its end.
    pub(crate) fn stop(mut self, signal: Option<Signal>) -> anyhow::Result<Usage> {
        if let Some(signal) = signal {
            kill_process(Pid::from_child(&self.child), signal)?;
        }
        let status = self.child.wait()?;
        if !status.success() && signal != Some(Signal::KILL) {
            bail!("the agent ended with {status}: {}", self.said());
        }
        Ok(Usage::of_children()? - self.before)
    }

    /// An error with what the agent says about it.
    pub(crate) fn explain(&self, error: &anyhow::Error) -> anyhow::Error {
        anyhow::anyhow!("{error}; the agent said:\n{}", self.said())
    }

    /// Its log so far.
    pub(crate) fn said(&self) -> String {
        fs_err::read_to_string(&self.log).unwrap_or_else(|error| error.to_string())
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a configuration says beside the defaults.
#[derive(Debug)]
pub(crate) struct Config<'a> {
    pub(crate) loki: SocketAddr,
    /// Where its pages are; anywhere without one.
    pub(crate) admin: Option<SocketAddr>,
    pub(crate) glob: &'a str,
    pub(crate) rules: &'a str,
    pub(crate) age_max: Duration,
    /// Streams that there may be.
    pub(crate) streams: u32,
}

impl Config<'_> {
    /// Written into `folder`, where the state is too; the arguments that name it.
    pub(crate) fn write(&self, folder: &Path) -> anyhow::Result<Vec<OsString>> {
        let Self { loki, admin, glob, rules, age_max, streams } = self;
        let admin = admin.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 0)));
        let (state, age_ms) = (folder.join("state").display().to_string(), age_max.as_millis());
        let text = format!(
            "loki: {{url: 'http://{loki}'}}\n\
             state_dir: '{state}'\n\
             admin: {{listen: '{admin}'}}\n\
             memory: {{streams: {streams}}}\n\
             guard: {{values_max: {streams}}}\n\
             batch: {{age_max: {age_ms}ms}}\n\
             sources:\n\
             \x20 - files: ['{glob}']\n\
             \x20   labels: {{app: veogen}}\n\
             \x20   rules: {rules}\n"
        );
        let path = folder.join("skald.yaml");
        fs_err::write(&path, text)?;
        Ok(vec!["run".into(), "-c".into(), path.into()])
    }
}
