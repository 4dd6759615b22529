//! Ranked test 13: lines that a container runtime has split, over rotations and kills.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use crate::support::{Bed, Loki, Skald, bed, eventually, skald, within};

const OUTS: [&str; 2] = ["stdout", "stderr"];

/// What was written: of each output, the lines in order, each with the time of its first part.
#[derive(Default)]
struct Written {
    lines: [Vec<(String, String)>; 2],
    parts: u64,
}

/// What arrived, compared with that.
#[derive(Debug, Default, PartialEq, Eq)]
struct Found {
    lost: usize,
    repeated: usize,
    /// Texts that no output has written, which is what mixed or broken joins are.
    foreign: usize,
    disordered: usize,
    misdated: usize,
}

impl Written {
    fn found(&self, loki: &Loki) -> Found {
        let mut places = HashMap::new();
        for lines in &self.lines {
            for (place, (time, text)) in lines.iter().enumerate() {
                places.insert(text.as_str(), (lines.as_ptr(), place, time.as_str()));
            }
        }
        let (mut found, mut newest) = (Found::default(), HashMap::new());
        let mut seen = std::collections::HashSet::new();
        let entries = loki.store().entries();
        for copy in &entries {
            let text = copy.text();
            let Some((out, place, time)) = places.get(&*text) else {
                eprintln!("foreign: {:.200}", text);
                found.foreign += 1;
                continue;
            };
            found.misdated += usize::from(copy.time.to_string() != *time);
            if !seen.insert(text.into_owned()) {
                found.repeated += 1;
                continue;
            }
            let newest = newest.entry(*out).or_insert(0);
            found.disordered += usize::from(*place < *newest);
            *newest = *place.max(newest);
        }
        found.lost = places.len() - seen.len();
        found
    }
}

/// A container whose runtime splits its lines and whose kubelet rotates its file.
struct Container {
    folder: PathBuf,
    rng: fastrand::Rng,
    written: Written,
    /// By output: the rest of the line that has begun.
    rest: [Option<Vec<u8>>; 2],
    rotations: u64,
    /// How many rotations came while a line had begun.
    within: u64,
    nanos: i64,
}

impl Container {
    fn new(folder: PathBuf, seed: u64) -> Self {
        let now = jiff::Timestamp::now().as_second() * 1_000_000_000;
        Self {
            folder,
            rng: fastrand::Rng::with_seed(seed),
            written: Written::default(),
            rest: [None, None],
            rotations: 0,
            within: 0,
            nanos: now,
        }
    }

    /// Writes one part. It may end within a character, and the reader may come in its middle.
    fn step(&mut self) {
        let out = self.rng.usize(0..2);
        self.nanos += 1 + self.rng.i64(0..1000);
        let stamp = jiff::Timestamp::from_nanosecond(self.nanos.into()).unwrap();
        let rest = self.rest[out].take().unwrap_or_else(|| self.begin(out, &stamp.to_string()));
        let is_last = self.rng.u8(..) < 140;
        let len = if is_last { rest.len() } else { self.rng.usize(0..=rest.len()) };
        let tag = match (is_last, self.rng.u8(..) < 20) {
            (true, false) => "F",
            (true, true) => "F:x",
            (false, false) => "P",
            (false, true) => "P:x=y",
        };
        let mut bytes = format!("{stamp} {} {tag} ", OUTS[out]).into_bytes();
        bytes.extend_from_slice(&rest[..len]);
        bytes.push(b'\n');
        self.rest[out] = (!is_last).then(|| rest[len..].to_vec());
        self.written.parts += 1;
        let path = self.folder.join("0.log");
        let (head, tail) = bytes.split_at(self.rng.usize(0..bytes.len()));
        bed::append(&path, head);
        bed::append(&path, tail);
        if self.rng.u8(..) < 4 {
            self.rotate();
        }
    }

    fn begin(&mut self, out: usize, stamp: &str) -> Vec<u8> {
        let number = self.written.lines[out].len();
        let mut text = format!("{} {number} ", OUTS[out]);
        let words = if self.rng.u8(..) < 10 { 1500 } else { self.rng.usize(0..30) };
        (0..words).for_each(|_| write!(text, "é{:x} ", self.rng.u32(..)).unwrap());
        self.written.lines[out].push((stamp.to_owned(), text.clone()));
        text.into_bytes()
    }

    fn rotate(&mut self) {
        self.rotations += 1;
        self.within += u64::from(self.rest.iter().any(Option::is_some));
        let old = self.folder.join(format!("0.log.20261125-{:06}", self.rotations));
        fs_err::rename(self.folder.join("0.log"), old).unwrap();
        bed::append(&self.folder.join("0.log"), b"");
    }

    /// Ends the lines that have begun.
    fn finish(&mut self) {
        while self.rest.iter().any(Option::is_some) {
            self.step();
        }
    }
}

fn pods(seed: u64) -> (Bed, Container) {
    let mut bed = Bed::new();
    bed.glob = "pod/0.log*".to_owned();
    bed.source = "    format: cri".to_owned();
    let container = Container::new(bed.log("pod"), seed);
    (bed, container)
}

#[track_caller]
fn arrived(bed: &Bed, written: &Written) {
    let mut copies = 0;
    eventually("every line", || {
        let before = std::mem::replace(&mut copies, bed.loki.copies());
        before != copies && written.found(&bed.loki).lost == 0
    });
}

/// A fresh line arrives, and all that was read is accounted for.
#[track_caller]
fn goes_on(bed: &Bed, container: &mut Container, skald: Skald) {
    container.finish();
    container.step();
    container.finish();
    arrived(bed, &container.written);
    eventually("all is settled", || bed.adds_up().get("lines_in_flight") == 0);
    skald.stop_well();
}

#[test]
fn parts_are_joined_over_rotations() {
    let (bed, mut container) = pods(0xc21);
    let skald = bed.run();
    for burst in 0..60 {
        (0..20).for_each(|_| container.step());
        let written = container.written.parts;
        // The reader comes between any two parts.
        if burst % 4 == 0 {
            eventually("the parts", || bed.metrics().sum("lines_read_total") == written);
        }
    }
    goes_on(&bed, &mut container, skald);
    let found = container.written.found(&bed.loki);
    eprintln!("{} parts, {} rotations", container.written.parts, container.rotations);
    assert_eq!(found, Found::default());
    assert!(5 < container.within, "{}", container.within);
}

#[test]
fn a_kill_between_parts_repeats_whole_lines() {
    const KILLS: usize = 9;
    let (bed, mut container) = pods(0xc22);
    let mut rng = fastrand::Rng::with_seed(0xc22);
    let mut within_line = 0;
    for kill in 0..KILLS {
        let skald = bed.spawn();
        // Every third one lives long enough for a checkpoint.
        let patience = if kill % 3 == 2 { rng.u64(1_200..2_000) } else { rng.u64(50..500) };
        within(Duration::from_millis(patience), || {
            (0..rng.u64(0..4)).for_each(|_| container.step());
            false
        });
        within_line += u64::from(container.rest.iter().any(Option::is_some));
        skald.kill();
    }
    let skald = bed.run();
    goes_on(&bed, &mut container, skald);
    let found = container.written.found(&bed.loki);
    eprintln!("{} parts, {} rotations: {found:?}", container.written.parts, container.rotations);
    assert_eq!(found, Found { repeated: found.repeated, ..Found::default() });
    assert!(0 < container.within && 2 < within_line, "{} {within_line}", container.within);
}

/// SIGTERM leaves the parts in their file, and repeats nothing.
#[test]
fn an_orderly_end_between_parts_repeats_nothing() {
    let (bed, mut container) = pods(0xc23);
    let mut between = 0;
    for _ in 0..6 {
        let skald = bed.run();
        (0..40).for_each(|_| container.step());
        // All but the lines that have begun, and those settled.
        let begun = container.rest.iter().flatten().count();
        let arrived = || container.written.found(&bed.loki).lost == begun;
        eventually("the answers", || arrived() && bed.metrics().get("lines_in_flight") <= 12);
        let ended = skald.stop();
        let is_held = container.rest.iter().any(Option::is_some);
        between += u64::from(is_held && ended.code == Some(1));
        assert!(ended.code == Some(0) || is_held, "{}", ended.err);
    }
    let skald = bed.run();
    goes_on(&bed, &mut container, skald);
    let found = container.written.found(&bed.loki);
    assert_eq!(found, Found::default());
    assert!(0 < between);
}

#[test]
fn a_container_that_ends_within_a_line() {
    let (bed, mut container) = pods(0xc24);
    let skald = bed.run();
    (0..50).for_each(|_| container.step());
    container.finish();
    let time = "2026-11-25T10:20:05Z";
    bed.append("pod/0.log", format!("{} stderr P last wor\n", jiff::Timestamp::now()));
    arrived(&bed, &container.written);
    eventually("the part", || bed.metrics().get("lines_in_flight") == 1);
    fs_err::remove_dir_all(bed.log("pod")).unwrap();
    eventually("the rest", || bed.adds_up().get("lines_in_flight") == 0);
    assert_eq!(bed.metrics().flagged("unfinished"), 1);
    skald.stop_well();
    assert!(bed.loki.store().entries().iter().any(|entry| entry.line == b"last wor"));
    // Standard input says itself that it has ended.
    let mut command = skald_at(&bed);
    let mut skald = Skald::spawn(command.stdin(Stdio::piped()));
    let text = format!("{time} stdout P a\n{time} stderr P b\n{time} stdout F c\n");
    skald.stdin().write_all(text.as_bytes()).unwrap();
    let ended = skald.wait();
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    let entries = bed.loki.store().entries();
    let lines: Vec<_> = entries.iter().rev().take(2).map(|entry| entry.text()).collect();
    assert_eq!(lines, ["b", "ac"]);
}

fn skald_at(bed: &Bed) -> std::process::Command {
    let mut command = skald();
    command.args(["--url", &bed.loki.url()]);
    command
}
