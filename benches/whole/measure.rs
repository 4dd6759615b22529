//! What the operating system says of a process.

use std::ops::Sub;
use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::{TimeVal, TimeValLike as _};

/// This thread alone, where that is counted.
#[cfg(target_os = "linux")]
const THREAD: UsageWho = UsageWho::RUSAGE_THREAD;
#[cfg(not(target_os = "linux"))]
const THREAD: UsageWho = UsageWho::RUSAGE_SELF;

/// What was used: processor time, user and system, and switches to other threads.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Usage {
    pub(crate) cpu: Duration,
    pub(crate) switches: i64,
}

impl Usage {
    /// Of the children that have ended and were waited for, with all their threads.
    pub(crate) fn of_children() -> anyhow::Result<Self> {
        Self::of(UsageWho::RUSAGE_CHILDREN)
    }

    /// Of this thread.
    pub(crate) fn of_thread() -> anyhow::Result<Self> {
        Self::of(THREAD)
    }

    fn of(who: UsageWho) -> anyhow::Result<Self> {
        let usage = getrusage(who)?;
        let time = |time: TimeVal| u64::try_from(time.num_microseconds());
        Ok(Self {
            cpu: Duration::from_micros(time(usage.user_time())? + time(usage.system_time())?),
            switches: usage.voluntary_context_switches() + usage.involuntary_context_switches(),
        })
    }
}

impl Sub for Usage {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self { cpu: self.cpu - before.cpu, switches: self.switches - before.switches }
    }
}

/// Memory of a process in KiB, from `/proc/PID/status`.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Status {
    /// The most that was resident (`VmHWM`).
    pub(crate) peak_kib: u32,
    /// What is (`VmRSS`).
    pub(crate) resident_kib: u32,
}

impl Status {
    /// Zeros, if it is no more.
    pub(crate) fn of(pid: u32) -> Self {
        let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let figure = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
        };
        Self { peak_kib: figure("VmHWM:"), resident_kib: figure("VmRSS:") }
    }
}

/// Processor time of a process's threads that have not ended, to the nanosecond.
pub(crate) fn threads_cpu(pid: u32) -> Duration {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let nanos = tasks.filter_map(|task| {
        let text = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanos.sum())
}

/// Has this thread, and those and the processes that it starts from now on, run on `cores`.
#[cfg(target_os = "linux")]
pub(crate) fn pin(cores: &[usize]) -> anyhow::Result<()> {
    use nix::sched::{CpuSet, sched_setaffinity};
    use nix::unistd::Pid;

    let mut set = CpuSet::new();
    cores.iter().try_for_each(|core| set.set(*core))?;
    sched_setaffinity(Pid::from_raw(0), &set)
        .map_err(|error| anyhow::anyhow!("cannot run on cores {cores:?}: {error}"))
}

/// Cores and `/proc` are Linux's.
#[cfg(not(target_os = "linux"))]
pub(crate) fn pin(_: &[usize]) -> anyhow::Result<()> {
    anyhow::bail!("this bench needs Linux")
}
