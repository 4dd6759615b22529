//! Time: stamps at every edge, clocks that differ from Loki's and that jump, equal stamps.

use std::collections::HashSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use skald::app;
use skald::receive::{Clock, Received};

use super::super::support::oracle::{EXACT, id};
use super::super::support::{
    Bed, Found, Loki, Sent, Skald, address, always, answer, eventually, settled,
};
use super::needs;

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;

/// What becomes of a line because of its stamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It keeps its time.
    Kept,
    /// It is moved into Loki's window, and its own time is in its metadata.
    Moved,
    /// It is dropped as `too_old`.
    TooOld,
    /// Its stamp is of no use: it has the time of the line before.
    Unstamped,
}

use Fate::{Kept, Moved, TooOld, Unstamped};

/// A stamp so many seconds from now.
fn from_now(seconds: i64) -> String {
    let at = Timestamp::now() + SignedDuration::from_secs(seconds);
    Timestamp::from_second(at.as_second()).unwrap().to_string()
}

/// Lines with odd stamps between others, a file each, but in the same streams.
fn stamps(rows: &[(String, Fate)]) {
    let (bed, mut sent) = (Bed::new(), Sent::default());
    for (stamp, _) in rows {
        let lines = sent.line(stamp, "") + &sent.line_at(stamp, stamp, "") + &sent.line(stamp, "");
        bed.append(&format!("{stamp}.log"), lines);
    }
    let count = |fate| rows.iter().filter(|row| row.1 == fate).count() as u64;
    let skald = bed.run();
    let wanted = sent.count() - count(TooOld);
    eventually("all that can be", || sent.arrived(bed.loki.store()) == wanted);
    eventually("the drops", || bed.metrics().dropped("too_old") == count(TooOld));
    bed.append("fresh.log", sent.lines("fresh", 10));
    eventually("fresh lines", || sent.arrived(bed.loki.store()) == wanted + 10);
    let metrics = bed.adds_up();
    assert_eq!(metrics.flagged("moved_into_window"), count(Moved), "{metrics:?}");
    assert_eq!(metrics.flagged("no_timestamp"), count(Unstamped), "{metrics:?}");
    assert_eq!(metrics.sum("lines_dropped_total"), count(TooOld), "{metrics:?}");
    assert_eq!(bed.loki.pushes("400"), 0, "{:?}", bed.loki.store().stats());
    assert_eq!(skald.stop().code, Some(i32::from(count(TooOld) != 0)));
    let found = sent.found(bed.loki.store());
    let misdated = count(Moved) + count(Unstamped);
    assert_eq!(found, Found { lost: count(TooOld), misdated, ..EXACT });
    for entry in bed.loki.store().entries() {
        let (src, seq) = id(&entry.line).unwrap();
        let row = rows.iter().find(|(stamp, _)| *stamp == src && seq == 1);
        let is_moved = row.is_some_and(|(_, fate)| *fate == Moved);
        assert_eq!(is_moved, original(&entry).is_some(), "{src}: {entry:?}");
    }
}

/// What is in an entry's `original_timestamp`.
fn original(entry: &Received) -> Option<&str> {
    let pair = entry.metadata.iter().find(|(name, _)| name == "original_timestamp");
    pair.map(|(_, value)| value.as_str())
}

fn rows(all: &[(i64, Fate)]) -> Vec<(String, Fate)> {
    all.iter().map(|(seconds, fate)| (from_now(*seconds), *fate)).collect()
}

#[test]
fn lines_at_every_edge_arrive_or_are_counted() {
    let minute = 60;
    stamps(&rows(&[
        (-8 * DAY, TooOld),
        (-7 * DAY - 1, TooOld),
        (-7 * DAY + 60, Moved),
        (-DAY, Moved),
        (-2 * HOUR, Moved),
        (-HOUR - 1, Moved),
        (-HOUR + 1, Moved),
        (-56 * minute, Moved),
        (-54 * minute, Kept),
        (-1, Kept),
        (0, Kept),
    ]));
    stamps(&rows(&[
        (minute, Kept),
        (8 * minute, Kept),
        (9 * minute + 30, Moved),
        (10 * minute - 1, Moved),
        (10 * minute + 30, Moved),
        (11 * minute, Moved),
        (HOUR, Moved),
        (DAY, Moved),
        (365 * DAY, Moved),
    ]));
    let row = |stamp: &str, fate| (stamp.to_owned(), fate);
    stamps(&[
        row("0001-01-01T00:00:00Z", TooOld),
        row("1600-01-01T00:00:00Z", TooOld),
        row("1969-12-31T23:59:59Z", TooOld),
        row("1970-01-01T00:00:00Z", TooOld),
        row("2262-04-11T23:47:16Z", Moved),
        row("2262-04-11T23:47:17Z", Moved),
        row("2300-01-01T00:00:00Z", Moved),
        // Loki's own arithmetic takes this for today.
        row("2611-06-10T00:00:00Z", Moved),
        row("9999-12-31T23:59:59Z", Moved),
        row("99999999999999999999", Unstamped),
        row("10000-01-01T00:00:00Z", Unstamped),
        row("2026-13-01T00:00:00Z", Unstamped),
        row("2026-02-30T00:00:00Z", Unstamped),
        row("-", Unstamped),
    ]);
}

/// A bed whose Loki has a clock that is off by this many seconds.
fn bed_with_clock() -> (Bed, Arc<AtomicI64>) {
    let off = Arc::<AtomicI64>::default();
    let (read, clock) = (Arc::clone(&off), app::Clock::start());
    let loki = Loki::with(address(3100), |options| {
        options.clock = Clock::new(move || {
            let mut now = clock.now().wall;
            now.0 += read.load(Ordering::Relaxed) * 1_000_000_000;
            now
        });
    });
    (Bed::at(loki), off)
}

#[test]
fn a_clock_that_loki_can_live_with_is_no_fault() {
    for seconds in [-8 * 60, HOUR, DAY] {
        let ((bed, off), mut sent) = (bed_with_clock(), Sent::default());
        off.store(seconds, Ordering::Relaxed);
        bed.append("a.log", sent.lines("a", 100));
        let skald = bed.run();
        bed.wait_for(&sent);
        off.store(0, Ordering::Relaxed);
        bed.append("a.log", sent.lines("a", 100));
        bed.wait_for(&sent);
        bed.adds_up();
        assert_eq!(bed.loki.pushes("400"), 0, "{seconds}");
        skald.stop_well();
        assert_eq!(sent.found(bed.loki.store()), EXACT, "{seconds}");
    }
}

#[test]
fn a_clock_that_makes_loki_refuse_everything_holds_and_the_refused_are_counted() {
    for seconds in [-HOUR, 8 * DAY] {
        let ((bed, off), mut sent) = (bed_with_clock(), Sent::default());
        off.store(seconds, Ordering::Relaxed);
        let skald = bed.run();
        // One batch after the other, until Loki's word is doubted.
        let is_held = || bed.metrics().get("push_holding") == 1;
        while !is_held() {
            bed.append("a.log", sent.lines("a", 5));
            let so_far = sent.count();
            eventually("an outcome", || {
                is_held() || bed.metrics().dropped("rejected_by_loki") == so_far
            });
        }
        bed.append("a.log", sent.lines("a", 500));
        let refused =
            settled(Duration::from_millis(300), || bed.metrics().dropped("rejected_by_loki"));
        assert!((1..=10).contains(&refused), "{refused} were given up");
        assert_eq!(bed.page("/ready").unwrap().0, 503);
        off.store(0, Ordering::Relaxed);
        let wanted = sent.count() - refused;
        eventually("all others", || sent.arrived(bed.loki.store()) == wanted);
        let metrics = bed.adds_up();
        assert_eq!(metrics.get("dead_letters_total"), refused, "{metrics:?}");
        skald.stop();
        let letters = fs_err::read_to_string(bed.state("dead-letters.jsonl")).unwrap();
        assert_eq!(letters.lines().count() as u64, refused, "{seconds}");
        let found = sent.found(bed.loki.store());
        assert_eq!(found, Found { lost: refused, ..EXACT }, "{seconds}");
    }
}

/// Stands before libc, so that wall time is off by as many seconds as the file says.
const SKEW: &str = r#"
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
static volatile long *skew;
__attribute__((constructor)) static void start(void) {
    int file = open(getenv("SKEW_FILE"), O_RDONLY);
    skew = mmap(0, sizeof *skew, PROT_READ, MAP_SHARED, file, 0);
}
int clock_gettime(clockid_t id, struct timespec *now) {
    int result = syscall(SYS_clock_gettime, id, now);
    if (result == 0 && id == CLOCK_REALTIME && skew) now->tv_sec += *skew;
    return result;
}
"#;

/// Compiles [`SKEW`].
fn skew_library(folder: &Path) -> Option<PathBuf> {
    let (source, library) = (folder.join("skew.c"), folder.join("skew.so"));
    fs_err::write(&source, SKEW).unwrap();
    let mut cc = Command::new("cc");
    let cc = cc.args(["-shared", "-fPIC", "-o"]).args([&library, &source]).status();
    cc.is_ok_and(|status| status.success()).then_some(library)
}

#[test]
fn a_clock_that_jumps_a_day_stops_nothing() {
    let (bed, mut sent) = (Bed::new(), Sent::default());
    let library = skew_library(&bed.path(""));
    if !needs("C compiler", library.is_some()) {
        return;
    }
    let file = bed.path("skew");
    fs_err::write(&file, 0_i64.to_ne_bytes()).unwrap();
    // In place: the agent has mapped it.
    let skew = |seconds: i64| {
        let mut file = fs_err::OpenOptions::new().write(true).open(&file).unwrap();
        file.write_all(&seconds.to_ne_bytes()).unwrap();
    };
    let mut command = bed.command();
    command.env("LD_PRELOAD", library.unwrap()).env("SKEW_FILE", &file);
    let skald = Skald::spawn(&mut command);
    let (mut plain, mut text) = (0, String::new());
    for seconds in [0, DAY, 0, -DAY, 0, HOUR, -HOUR, 0] {
        skew(seconds);
        for _ in 0..5 {
            bed.append("a.log", sent.lines("a", 20));
            text = format!("no stamp, number {plain}\n");
            bed.append("plain.log", &text);
            plain += 1;
            let wanted = sent.count() + plain;
            eventually("every line", || bed.loki.copies() as u64 == wanted);
        }
    }
    let metrics = bed.adds_up();
    let pushes = metrics.sum("pushes_total");
    assert!(pushes < 200, "{pushes} pushes");
    assert_ne!(metrics.flagged("moved_into_window"), 0, "the clock did not jump: {metrics:?}");
    skald.stop_well();
    assert_eq!(bed.loki.pushes("400"), 0, "{:?}", bed.loki.store().stats());
    let found = sent.found(bed.loki.store());
    assert_eq!(found, Found { foreign: plain, misdated: found.misdated, ..EXACT });
    assert!(bed.loki.store().entries().iter().any(|entry| text.trim() == entry.text()));
}

#[test]
fn equal_lines_with_equal_stamps_stay_apart_through_kills() {
    const LINES: u64 = 4000;
    let bed = Bed::new();
    let line = format!("{{\"timestamp\":\"{}\",\"message\":\"tick\"}}\n", from_now(0));
    for part in 1..=4 {
        bed.append("a.log", line.repeat(1000));
        // The last acknowledgements before the kill are lost.
        bed.loki
            .answers()
            .add([always(skald::receive::Answer { store: true, ..answer(503, "too late") })]);
        let skald = bed.run();
        eventually("copies", || part * LINES / 4 <= bed.loki.store().stats().distinct);
        skald.kill();
        bed.loki.answers().clear();
    }
    let skald = bed.run();
    bed.wait_until_idle(1);
    bed.adds_up();
    skald.stop_well();
    let (entries, stats) = (bed.loki.store().entries(), bed.loki.store().stats());
    eprintln!("equal lines: {} copies of {}", entries.len(), stats.distinct);
    assert!(LINES < entries.len() as u64, "nothing was sent again");
    let times: HashSet<_> = entries.iter().map(|entry| entry.time).collect();
    assert_eq!(times.len() as u64, LINES);
    assert_eq!(stats.distinct, LINES);
}

/// Loki takes entries with one stream, time and text for one. Skald keeps apart what follows each
/// other in a file; what two files say at the same instant in the same words, Loki shows once.
#[test]
fn the_same_words_at_the_same_instant_in_two_files_are_one_entry_to_loki() {
    let bed = Bed::new();
    let line = format!("{{\"timestamp\":\"{}\",\"message\":\"tick\"}}\n", from_now(0));
    bed.append("a.log", line.repeat(3));
    bed.append("b.log", line);
    let skald = bed.run();
    eventually("all of them", || bed.metrics().get("lines_delivered_total") == 4);
    bed.adds_up();
    skald.stop_well();
    let stats = bed.loki.store().stats();
    assert_eq!((bed.loki.copies(), stats.distinct), (4, 3), "{stats:?}");
}
