//! SIGKILL at each system call that the agent makes.
//!
//! A run without a kill is traced first. strace counts each system call by its name and thread, so
//! a point is a name and a number: the first thread that makes this call for the so many-th time is
//! killed with its process before the call happens. An ordinary run takes a hundred points that are
//! spread over all of them, and all that concern the checkpoint; `SKALD_KILLS=all` takes every one.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rustix::process::Signal;

use super::needs;
use super::tools::{covered_and_stored, has_strace, straced};
use crate::support::oracle::EXACT;
use crate::support::{Answer, Bed, Ended, Found, Sent, Skald, always, settled, within};

/// How many points beside those of the checkpoint an ordinary run takes.
const SPREAD: usize = 100;

/// Runs side by side: they mostly wait.
const AT_ONCE: usize = 8;

/// How long a run waits for what does not come once the agent is killed.
const STEP: Duration = Duration::from_secs(20);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Point {
    call: String,
    nth: u32,
    /// Only calls on the checkpoint's files count.
    checkpoint: bool,
}

/// A folder of logs, and what was written into it.
struct Run {
    bed: Bed,
    sent: Sent,
}

impl Run {
    fn new() -> Self {
        let mut bed = Bed::new();
        // So that most checkpoints are saved while an answer is due.
        bed.loki.answers().add([always(Answer { delay_ms: 250, ..Answer::default() })]);
        bed.glob = "*.log*".to_owned();
        let mut run = Self { bed, sent: Sent::default() };
        run.write("");
        run
    }

    fn write(&mut self, suffix: &str) {
        for src in ["a", "b", "c", "d"] {
            let suffix = if src == "a" { suffix } else { "" };
            self.bed.append(&format!("{src}.log{suffix}"), self.sent.lines(src, 30));
        }
    }

    fn state_files(&self) -> [PathBuf; 3] {
        [self.bed.path("state"), self.bed.state("checkpoint"), self.bed.state("checkpoint.tmp")]
    }

    /// Starts the agent under strace.
    fn spawn(&self, of_checkpoint: bool, more: &[String]) -> Skald {
        let mut options = more.to_vec();
        if of_checkpoint {
            let paths = self.state_files().map(|path| path.display().to_string());
            options.extend(paths.into_iter().flat_map(|path| ["-P".to_owned(), path]));
        }
        Skald::spawn(&mut straced(&self.bed.command(), &options))
    }

    /// Some batches, a rotation, some checkpoints, and the end; or as far as the agent lives.
    fn drive(&mut self, mut skald: Skald) -> Ended {
        self.all_arrive(&mut skald);
        for step in 0..3 {
            if step == 1 {
                fs_err::rename(self.bed.log("a.log"), self.bed.log("a.log.1")).unwrap();
                self.write(".1");
            }
            self.write("");
            self.all_arrive(&mut skald);
        }
        let all = self.sent.count();
        within(STEP, || {
            !skald.is_running() || covered_and_stored(&self.bed, &self.bed.loki) == all
        });
        if skald.is_running() {
            skald.signal(Signal::TERM);
        }
        skald.wait()
    }

    fn all_arrive(&self, skald: &mut Skald) {
        let (sent, store) = (&self.sent, self.bed.loki.store());
        within(STEP, || !skald.is_running() || sent.arrived(store) == sent.count());
    }

    /// What the agent does next time, and the verdict.
    fn recover(mut self, what: &str) -> Found {
        let loki = &self.bed.loki;
        let before = settled(Duration::from_millis(400), || loki.copies()) as u64;
        let kept = covered_and_stored(&self.bed, loki);
        loki.answers().clear();
        let skald = self.bed.run();
        self.write("");
        self.bed.wait_for(&self.sent);
        self.bed.adds_up();
        skald.stop_well();
        let found = self.sent.found(self.bed.loki.store());
        assert!(found.repeated <= before - kept, "{what}: {found:?}, {before} - {kept}");
        let Found { repeated, disordered, .. } = found;
        assert_eq!(found, Found { repeated, disordered, ..EXACT }, "{what}");
        found
    }
}

/// Every system call of a run that is not killed, by name and number.
fn points(of_checkpoint: bool) -> Vec<Point> {
    let mut run = Run::new();
    let path = run.bed.path("trace");
    let skald = run.spawn(of_checkpoint, &["-o".to_owned(), path.display().to_string()]);
    let ended = run.drive(skald);
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    let mut counts: HashMap<(&str, &str), u32> = HashMap::new();
    let text = fs_err::read_to_string(path).unwrap();
    for line in text.lines() {
        let Some((thread, call)) = line.split_once(' ') else { continue };
        let Some((name, _)) = call.trim_start().split_once('(') else { continue };
        if name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            *counts.entry((thread, name)).or_default() += 1;
        }
    }
    let mut most: BTreeMap<&str, u32> = BTreeMap::new();
    for ((_, name), count) in counts {
        let most = most.entry(name).or_default();
        *most = count.max(*most);
    }
    let calls = most.into_iter().flat_map(|(name, count)| {
        (1..=count).map(|nth| Point { call: name.to_owned(), nth, checkpoint: of_checkpoint })
    });
    calls.collect()
}

/// Kills at one point. `None` when the agent ended before it came to that.
fn kill_at(point: &Point) -> Option<Found> {
    let mut run = Run::new();
    let inject = format!("inject={}:signal=SIGKILL:when={}", point.call, point.nth);
    let trace = format!("trace={}", point.call);
    let options = ["-o", "/dev/null", "-e", &trace, "-e", &inject].map(str::to_owned);
    let skald = run.spawn(point.checkpoint, &options);
    let ended = run.drive(skald);
    let was_killed = ended.signal == Some(9);
    assert!(was_killed || ended.code == Some(0), "{point:?}: {ended:?}");
    let found = run.recover(&format!("{point:?}"));
    was_killed.then_some(found)
}

#[test]
fn a_kill_at_any_system_call_loses_nothing() {
    if !needs("strace", has_strace()) {
        return;
    }
    let all = std::env::var_os("SKALD_KILLS").is_some_and(|value| value == "all");
    let mut chosen = points(true);
    let around_checkpoint = chosen.len();
    let others = points(false);
    let step = if all { 1 } else { others.len().div_ceil(SPREAD) };
    chosen.extend(others.into_iter().step_by(step));
    let (next, killed, repeated) = (AtomicUsize::new(0), AtomicUsize::new(0), Mutex::new(0));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(point) = chosen.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let Some(found) = kill_at(point) else { continue };
                    killed.fetch_add(1, Ordering::Relaxed);
                    *repeated.lock().unwrap() += found.repeated;
                }
            });
        }
    });
    let (killed, repeated) = (killed.into_inner(), repeated.into_inner().unwrap());
    eprintln!(
        "{} points, {around_checkpoint} of them around the checkpoint: {killed} kills, \
         {repeated} repeats, 0 lost",
        chosen.len()
    );
    // Threads share the work differently each time, so not every point is met again.
    assert!(chosen.len() / 2 < killed, "{killed} kills at {} points", chosen.len());
}
