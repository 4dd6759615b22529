//! A running skald.

use std::io::Read;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::{PATIENCE, within};

/// The built binary, with nothing of this process's surroundings.
pub(crate) fn skald() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_skald"));
    command.env_clear().env("RUST_BACKTRACE", "1");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

/// The same command in a shell that does `first` before, with the same process id.
pub(crate) fn after(first: &str, command: &Command) -> Command {
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(format!("{first}; exec \"$@\"")).arg("sh");
    wrap(shell, command)
}

/// The same command as the last arguments of `outer`, with nothing of this process's surroundings.
pub(crate) fn wrap(mut outer: Command, command: &Command) -> Command {
    outer.arg(command.get_program()).args(command.get_args());
    outer.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("RUST_BACKTRACE", "1");
    outer.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    outer
}

/// A skald that is killed, at the latest, with this value.
pub(crate) struct Skald {
    child: Child,
    err: Arc<Mutex<Vec<u8>>>,
    reader: Option<JoinHandle<()>>,
}

/// How a skald ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// The exit code; none after a signal.
    pub(crate) code: Option<i32>,
    /// The signal that ended it.
    pub(crate) signal: Option<i32>,
    /// All of its standard error.
    pub(crate) err: String,
}

impl Skald {
    pub(crate) fn spawn(command: &mut Command) -> Self {
        let mut child = command.spawn().unwrap();
        let err = Arc::<Mutex<Vec<u8>>>::default();
        let (mut pipe, to) = (child.stderr.take().unwrap(), Arc::clone(&err));
        let reader = std::thread::spawn(move || {
            let mut buf = [0; 4096];
            while let Ok(len @ 1..) = pipe.read(&mut buf) {
                to.lock().unwrap().extend_from_slice(&buf[..len]);
            }
        });
        Self { child, err, reader: Some(reader) }
    }

    pub(crate) fn stdin(&mut self) -> ChildStdin {
        self.child.stdin.take().unwrap()
    }

    pub(crate) fn stdout(&mut self) -> ChildStdout {
        self.child.stdout.take().unwrap()
    }

    /// What it has said on standard error so far.
    pub(crate) fn err(&self) -> String {
        String::from_utf8_lossy(&self.err.lock().unwrap()).into_owned()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).unwrap();
    }

    /// SIGKILL, proven to be what ended it.
    #[track_caller]
    pub(crate) fn kill(self) -> String {
        self.signal(Signal::KILL);
        let ended = self.wait();
        assert_eq!(ended.signal, Some(9), "it had ended before: {}", ended.err);
        ended.err
    }

    /// SIGTERM, then its end.
    #[track_caller]
    pub(crate) fn stop(self) -> Ended {
        self.signal(Signal::TERM);
        self.wait()
    }

    /// SIGTERM, then exit code 0.
    #[track_caller]
    pub(crate) fn stop_well(self) -> String {
        let ended = self.stop();
        assert_eq!(ended.code, Some(0), "{}", ended.err);
        ended.err
    }

    #[track_caller]
    pub(crate) fn wait(self) -> Ended {
        self.wait_for(PATIENCE)
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn wait_for(mut self, patience: Duration) -> Ended {
        let has_ended = within(patience, || !self.is_running());
        assert!(has_ended, "still running after {patience:?}: {}", self.err());
        let status = self.child.wait().unwrap();
        self.reader.take().map(JoinHandle::join);
        let err = self.err();
        assert!(!err.contains("panicked") && !err.contains("BUG"), "{err}");
        adds_up(&err);
        Ended { code: status.code(), signal: status.signal(), err }
    }

    /// A figure of `/proc/PID/status` in KiB, such as `VmHWM`; 0 where there is none.
    pub(crate) fn status(&self, name: &str) -> u64 {
        let path = format!("/proc/{}/status", self.pid());
        let Ok(text) = std::fs::read_to_string(path) else { return 0 };
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let number = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok());
        number.unwrap_or(0)
    }

    /// How many threads it has; 0 where that cannot be told.
    pub(crate) fn threads(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/task", self.pid())).map_or(0, Iterator::count)
    }
}

/// The last line of a log says what became of all that was read, in lines and in bytes.
#[track_caller]
fn adds_up(log: &str) {
    let last = log.lines().rfind(|line| line.contains(" skald ends; "));
    let Some((lines, bytes)) = last.and_then(|line| line.split_once(" bytes=")) else { return };
    for (text, between) in [(lines, '='), (bytes, ' ')] {
        let figure = |name: &str| {
            let (_, rest) = text.rsplit_once(&format!("{name}{between}"))?;
            rest.split(|c: char| !c.is_ascii_digit()).next()?.parse::<u64>().ok()
        };
        let rules = figure("left_out").or_else(|| figure("left out by rules")).unwrap_or(0);
        let out = ["delivered", "dropped", "unsettled"].map(|name| figure(name).unwrap_or(0));
        assert_eq!(figure("read"), Some(rules + out.iter().sum::<u64>()), "{text}");
    }
}

impl Drop for Skald {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- skald {} said:\n{}---", self.pid(), self.err());
        }
    }
}

/// How long `run` took.
pub(crate) fn timed<T>(run: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let out = run();
    (out, start.elapsed())
}
