//! What the machine withholds: memory, and inotify.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use fs_err::OpenOptions;
use rustix::process::Signal;

use super::super::support::oracle::EXACT;
use super::super::support::process::{after, wrap};
use super::super::support::{Bed, Found, Loki, Sent, Skald, address, eventually, settled, timed};
use super::needs;
use super::tools::works;

const MIB: u64 = 1 << 20;

/// A control group whose processes may use so much memory together.
struct MemoryGroup(PathBuf);

impl MemoryGroup {
    /// `None` where nobody lets us make one.
    fn new(bytes: u64) -> Option<Self> {
        let name = format!("skald-{}-{}", std::process::id(), address(0).ip());
        let make = |parent: &str, limit: &str| {
            let path = Path::new(parent).join(&name);
            fs_err::create_dir(&path).ok()?;
            let group = Self(path);
            let file = group.0.join(limit);
            // Never a plain file of our own.
            file.exists().then_some(())?;
            fs_err::write(file, bytes.to_string()).ok()?;
            Some(group)
        };
        make("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
            .or_else(|| make("/sys/fs/cgroup", "memory.max"))
    }

    /// The command in this group.
    fn run(&self, command: &Command) -> Skald {
        Skald::spawn(&mut after(&format!("echo $$ > {}/cgroup.procs", self.0.display()), command))
    }
}

impl Drop for MemoryGroup {
    fn drop(&mut self) {
        let _ = fs_err::remove_dir(&self.0);
    }
}

#[test]
fn a_dead_loki_and_thousands_of_files_fit_into_64_mib() {
    let group = MemoryGroup::new(64 * MIB);
    if !needs("memory group", group.is_some()) {
        return;
    }
    let listen = address(3100);
    let (mut bed, mut sent) = (Bed::new(), Sent::default());
    bed.url = Some(format!("http://{listen}"));
    let mut rng = fastrand::Rng::with_seed(17);
    for file in 0..2000 {
        let (src, mut text) = (format!("f{file}"), String::new());
        for _ in 0..20 {
            text += &sent.noisy(&src, &mut rng);
        }
        bed.append(&format!("{}/{file}.log", file % 40), text);
    }
    let mut skald = group.as_ref().unwrap().run(&bed.command());
    eventually("a read", || bed.metrics().sum("bytes_read_total") != 0);
    let read = settled(Duration::from_secs(1), || bed.metrics().sum("bytes_read_total"));
    let (metrics, peak) = (bed.adds_up(), skald.status("VmHWM"));
    eprintln!("2000 files, dead loki: {read} bytes read, peak {peak} KiB");
    assert!(metrics.get("memory_peak_bytes") <= metrics.get("memory_limit_bytes"), "{metrics:?}");
    assert!(read < 20 * MIB, "{read} bytes were read though nobody took them");
    bed.loki = Loki::with(listen, |_| ());
    bed.wait_for(&sent);
    bed.append("0/0.log", sent.lines("f0", 10));
    bed.wait_for(&sent);
    bed.adds_up();
    let peak = skald.status("VmHWM");
    eprintln!("2000 files, read: peak {peak} KiB");
    assert!(skald.is_running() && peak < 48 << 10, "{peak} KiB");
    skald.stop_well();
    assert_eq!(sent.found(bed.loki.store()), EXACT);
}

#[test]
fn a_line_of_a_gibibyte_and_a_hole_of_three_take_one_buffer() {
    let group = MemoryGroup::new(64 * MIB);
    if !needs("memory group", group.is_some()) {
        return;
    }
    let listen = address(3100);
    let (mut bed, mut sent) = (Bed::new(), Sent::default());
    bed.url = Some(format!("http://{listen}"));
    bed.append("a.log", sent.lines("a", 10));
    bed.append("hole.log", sent.lines("hole", 10));
    let mut file = OpenOptions::new().append(true).open(bed.log("a.log")).unwrap();
    let block = vec![b'x'; 1 << 20];
    (0..1024).for_each(|_| file.write_all(&block).unwrap());
    let hole = OpenOptions::new().write(true).open(bed.log("hole.log")).unwrap();
    hole.set_len(hole.metadata().unwrap().len() + 3 * 1024 * MIB).unwrap();
    bed.append("a.log", format!("\n{}", sent.lines("a", 10)));
    bed.append("hole.log", format!("\n{}", sent.lines("hole", 10)));
    let mut skald = group.as_ref().unwrap().run(&bed.command());
    eventually("a read", || bed.metrics().sum("bytes_read_total") != 0);
    bed.loki = Loki::with(listen, |_| ());
    let ((), taken) = timed(|| bed.wait_for(&sent));
    bed.wait_until_idle(2);
    let metrics = bed.adds_up();
    let peak = skald.status("VmHWM");
    eprintln!("a line of 1 GiB and a hole of 3 GiB: {taken:?}, peak {peak} KiB");
    assert!(skald.is_running() && peak < 48 << 10, "{peak} KiB");
    assert_ne!(metrics.flagged("truncated"), 0, "{metrics:?}");
    skald.stop_well();
    let found = sent.found(bed.loki.store());
    // The long line, and the hole where it is no more than a line of NULs.
    assert!((1..=2).contains(&found.foreign), "{found:?}");
    assert_eq!(found, Found { foreign: found.foreign, ..EXACT });
}

/// Files in many folders that come, grow and are rotated; all of it is found without inotify, or
/// with what is left of it. Returns how long the slowest step took.
fn without_hints(bed: &Bed, sent: &mut Sent) -> Duration {
    let mut slowest = Duration::ZERO;
    for round in 0..3 {
        for folder in 0..40 {
            let src = format!("f{folder}");
            let name = |kind: &str| format!("{folder}/{kind}.log");
            if round == 2 {
                fs_err::rename(bed.log(&name("a")), bed.log(&name("a.1"))).unwrap();
            }
            bed.append(&name("a"), sent.lines(&src, 5));
            bed.append(&name(&format!("new{round}")), sent.lines(&format!("{src}-{round}"), 5));
        }
        let ((), taken) = timed(|| bed.wait_for(sent));
        slowest = slowest.max(taken);
    }
    slowest
}

/// Runs the agent where a user may have so much of this.
fn limited(bed: &Bed, name: &str, limit: u32) -> Skald {
    let mut outer = Command::new("unshare");
    outer.arg("-Ur");
    let script = format!("echo {limit} > /proc/sys/user/{name}");
    Skald::spawn(&mut wrap(outer, &after(&script, &bed.command())))
}

/// Whether a user's limits can be set for one process alone.
fn can_limit() -> bool {
    let script = "echo 10 > /proc/sys/user/max_inotify_watches";
    works(Command::new("unshare").args(["-Ur", "sh", "-c", script]))
}

#[test]
fn without_inotify_files_are_found_by_looking() {
    if !needs("user namespace with limits of its own", can_limit()) {
        return;
    }
    for (name, limit) in [("max_inotify_watches", 10), ("max_inotify_instances", 0)] {
        let (bed, mut sent) = (Bed::new(), Sent::default());
        bed.append("0/a.log", sent.lines("f0", 5));
        let skald = limited(&bed, name, limit);
        bed.wait_for(&sent);
        let slowest = without_hints(&bed, &mut sent);
        eprintln!("{name} {limit}: found within {slowest:?}");
        // Folders are looked at each second then; the machine may be busy.
        assert!(slowest < Duration::from_secs(10), "{slowest:?}");
        bed.adds_up();
        let err = skald.stop_well();
        assert!(err.contains("max_user_watches"), "the fault did not happen: {err}");
        assert_eq!(sent.found(bed.loki.store()), EXACT);
    }
}

#[test]
fn more_events_than_inotify_holds_hide_nothing() {
    let limit = fs_err::read_to_string("/proc/sys/fs/inotify/max_queued_events");
    let limit: Option<u32> = limit.ok().and_then(|text| text.trim().parse().ok());
    if !needs("inotify with a short queue", limit.is_some_and(|limit| limit <= 65_536)) {
        return;
    }
    let (bed, mut sent) = (Bed::new(), Sent::default());
    bed.append("0/a.log", sent.lines("f0", 5));
    let skald = bed.run();
    // Not with a push in flight, which would be sent again: its time would be over afterwards.
    bed.wait_until_idle(1);
    skald.signal(Signal::STOP);
    // Each of these is two events at least, all of them in one folder that is watched.
    for idx in 0..limit.unwrap() {
        let path = bed.log(&format!("0/storm{}.tmp", idx % 10));
        fs_err::write(&path, "").unwrap();
        fs_err::remove_file(&path).unwrap();
    }
    bed.append("0/a.log", sent.lines("f0", 5));
    fs_err::rename(bed.log("0/a.log"), bed.log("0/a.1.log")).unwrap();
    bed.append("0/a.log", sent.lines("f0", 5));
    bed.append("0/b.log", sent.lines("b", 5));
    for idx in 0..2000 {
        let src = format!("s{idx}");
        bed.append(&format!("0/s{idx}.log"), sent.lines(&src, 2));
    }
    skald.signal(Signal::CONT);
    let ((), taken) = timed(|| bed.wait_for(&sent));
    eprintln!("overflow: all found after {taken:?}");
    without_hints(&bed, &mut sent);
    bed.adds_up();
    skald.stop_well();
    assert_eq!(sent.found(bed.loki.store()), EXACT);
}
