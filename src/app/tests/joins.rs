//! Parts of lines: over rotations, over restarts, and without an end.

use std::collections::{HashMap, VecDeque};

use super::*;
use crate::model::HeldAt;

const OUTS: [&str; 2] = ["stdout", "stderr"];

/// A line in CRI's wrapper; each second is another time.
fn cri(second: u64, out: usize, tag: &str, text: &str) -> String {
    let (minute, second) = (second / 60, second % 60);
    format!("2026-01-15T10:{minute:02}:{second:02}Z {} {tag} {text}\n", OUTS[out])
}

/// A container: what it has written, and what of that has arrived.
struct World {
    rng: fastrand::Rng,
    bench: Option<Bench>,
    now: Now,
    second: u64,
    /// By output: the line that has begun.
    begun: [Option<String>; 2],
    whole: Vec<String>,
    arrived: HashMap<String, UnixNanos>,
    repeats: u64,
    rotations: u64,
    saved: Vec<SavedFile>,
    /// Batches without an answer. Answers come in order.
    open: VecDeque<Sealed>,
}

impl World {
    fn new(seed: u64) -> Self {
        let bench = Bench::new();
        let mut world = Self {
            rng: fastrand::Rng::with_seed(seed),
            bench: Some(bench),
            now: NOW,
            second: 0,
            begun: [None, None],
            whole: Vec::new(),
            arrived: HashMap::new(),
            repeats: 0,
            rotations: 0,
            saved: Vec::new(),
            open: VecDeque::new(),
        };
        world.write(0);
        world.found();
        world
    }

    fn bench(&mut self) -> &mut Bench {
        self.bench.as_mut().unwrap()
    }

    /// All generations that there are, in no order.
    fn found(&mut self) {
        let now = self.now;
        let folder = self.bench().dir.path().to_owned();
        let mut paths: Vec<_> =
            std::fs::read_dir(&folder).unwrap().map(|e| e.unwrap().path()).collect();
        paths.sort();
        self.rng.shuffle(&mut paths);
        for path in paths {
            self.bench().found_at(&path, &folder.join("0.log"), now);
        }
    }

    /// The next lines, parts and ends.
    fn write(&mut self, lines: u64) {
        let mut text = String::new();
        for _ in 0..lines {
            let out = self.rng.usize(0..2);
            self.second += 1;
            let part = format!("<{} {}>", self.second, OUTS[out]);
            let is_last = self.rng.u8(..) < 150;
            text += &cri(self.second, out, if is_last { "F" } else { "P" }, &part);
            let line = self.begun[out].take().unwrap_or_default() + &part;
            if is_last {
                self.whole.push(line);
            } else {
                self.begun[out] = Some(line);
            }
        }
        let path = self.bench().dir.path().join("0.log");
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
        std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
    }

    /// Reads what there is. Each answer comes with this probability.
    fn read(&mut self, answered: f64) {
        let now = self.now;
        for sealed in self.bench().sealed(now) {
            for (time, line) in entries(&sealed) {
                assert!(self.whole.contains(&line), "never written: {line}");
                let before = self.arrived.insert(line.clone(), time);
                self.repeats += u64::from(before.is_some());
                assert_eq!(before.unwrap_or(time), time, "another time: {line}");
            }
            self.bench().taken += sealed.receipt.counts;
            self.open.push_back(sealed);
        }
        while !self.open.is_empty() && self.rng.f64() < answered {
            let sealed = self.open.pop_front().unwrap();
            self.bench().registry.settle(&sealed.receipt.tickets, now);
        }
        let wall = now.wall;
        if let Some(saved) = self.bench().registry.snapshot(wall) {
            self.saved = saved.collect();
        }
    }

    fn rotate(&mut self) {
        let folder = self.bench().dir.path().to_owned();
        self.rotations += 1;
        let (path, old) = (folder.join("0.log"), folder.join(format!("0.log.{}", self.rotations)));
        fs_err::rename(&path, &old).unwrap();
        let meta = fs_err::metadata(&old).unwrap();
        let now = self.now;
        let new = NewFile { stem: path.as_path().into(), ..NewFile::new(old, SourceId(0)) };
        self.bench().worker.renamed((meta.dev(), meta.ino()), new, now, &mut Disk);
        self.write(0);
        self.bench().found_at(&path, &path, now);
    }

    fn crash(&mut self) {
        let Bench { dir, .. } = self.bench.take().unwrap();
        self.open.clear();
        self.bench = Some(Bench::at(dir, self.saved.clone()));
        self.found();
    }

    /// What was read and is in no batch.
    fn held(&mut self) -> u64 {
        let bench = self.bench();
        bench.metrics.source("test").lines_read.get() - bench.taken.lines
    }

    #[track_caller]
    fn end(&mut self) {
        for out in 0..2 {
            if self.begun[out].is_some() {
                self.second += 1;
                let part = "<the end>".to_owned();
                let text = cri(self.second, out, "F", &part);
                let line = self.begun[out].take().unwrap() + &part;
                self.whole.push(line);
                let path = self.bench().dir.path().join("0.log");
                let mut file = std::fs::OpenOptions::new().append(true).open(path).unwrap();
                std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
            }
        }
        for _ in 0..3 {
            self.now.mono += Duration::from_secs(11);
            self.read(1.0);
        }
        assert_eq!(self.held(), 0);
        let missing = self.whole.iter().filter(|line| !self.arrived.contains_key(*line));
        assert_eq!(missing.collect::<Vec<_>>(), Vec::<&String>::new());
    }
}

/// Worlds in which lines are written before each of many steps.
fn worlds(mut step: impl FnMut(&mut World), mut last: impl FnMut(&mut World)) {
    for seed in 0..60 {
        let mut world = World::new(seed);
        for _ in 0..40 {
            let count = world.rng.u64(0..6);
            world.write(count);
            step(&mut world);
        }
        last(&mut world);
    }
}

#[test]
fn parts_that_were_held_are_read_again_and_nothing_else() {
    let (mut repeats, mut lines) = (0, 0);
    let step = |world: &mut World| {
        world.now.mono += Duration::from_secs(1);
        // All is answered: a restart repeats nothing.
        world.read(1.0);
        if world.rng.u8(..) < 60 {
            world.crash();
        }
    };
    worlds(step, |world| {
        world.end();
        (repeats, lines) = (repeats + world.repeats, lines + world.whole.len());
    });
    assert_eq!(repeats, 0);
    assert!(2_000 < lines);
}

#[test]
fn a_kill_repeats_what_was_not_answered_with_the_same_times() {
    let mut repeats = 0;
    let step = |world: &mut World| {
        world.now.mono += Duration::from_secs(1);
        world.read(0.6);
        if world.rng.u8(..) < 40 {
            world.crash();
        }
    };
    worlds(step, |world| {
        world.crash();
        world.read(1.0);
        world.end();
        repeats += world.repeats;
    });
    assert!(100 < repeats, "{repeats}");
}

#[test]
fn a_line_goes_on_in_the_next_file() {
    let mut rotations = 0;
    let step = |world: &mut World| {
        world.now.mono += Duration::from_secs(world.rng.u64(0..9));
        match world.rng.u8(..) {
            0..100 => world.rotate(),
            _ => world.read(1.0),
        }
    };
    worlds(step, |world| {
        world.end();
        assert_eq!(world.repeats, 0);
        rotations += world.rotations;
        assert!(world.saved.iter().all(|file| file.mark.held == HeldAt::default()));
    });
    assert!(300 < rotations, "{rotations}");
}

#[test]
fn a_line_goes_on_in_the_next_file_after_a_kill() {
    let (mut rotations, mut kills) = (0, 0);
    let step = |world: &mut World| {
        world.now.mono += Duration::from_secs(world.rng.u64(0..3));
        match world.rng.u8(..) {
            0..60 => world.rotate(),
            60..100 => {
                world.crash();
                kills += 1;
            }
            _ => world.read(0.6),
        }
    };
    worlds(step, |world| {
        world.crash();
        world.read(1.0);
        world.end();
        rotations += world.rotations;
    });
    assert!(300 < rotations && 200 < kills, "{rotations}, {kills}");
}

/// The lines that come within the next half minute.
fn later(bench: &mut Bench, path: &Path, seconds: u64) -> Vec<String> {
    let mut now = NOW;
    now.mono += Duration::from_secs(seconds);
    bench.worker.hint(path, false, now, &mut Disk);
    let mut lines = Vec::new();
    for sealed in bench.sealed(now) {
        lines.extend(entries(&sealed).into_iter().map(|(_, line)| line));
        bench.taken += sealed.receipt.counts;
        bench.registry.settle(&sealed.receipt.tickets, now);
    }
    lines
}

fn flagged(bench: &Bench) -> u64 {
    bench.metrics.lines_flagged.get_or_create(&crate::model::Flag::Unfinished.into()).get()
}

#[test]
fn a_container_that_ends_within_a_line_loses_nothing() {
    let mut bench = Bench::new();
    bench.find(
        "0.log",
        &(cri(1, 0, "P", "no") + &cri(2, 1, "P", "no end") + &cri(3, 0, "P", " end")),
    );
    let path = bench.dir.path().join("0.log");
    assert_eq!(later(&mut bench, &path, 0), Vec::<String>::new());
    assert_eq!(later(&mut bench, &path, 1_000), Vec::<String>::new(), "it may go on");
    let meta = fs_err::metadata(&path).unwrap();
    fs_err::remove_file(&path).unwrap();
    let mut now = NOW;
    now.mono += Duration::from_secs(1_000);
    bench.worker.gone((meta.dev(), meta.ino()), now);
    assert_eq!(later(&mut bench, &path, 1_005), Vec::<String>::new(), "there is a grace");
    assert_eq!(later(&mut bench, &path, 1_011), ["no end", "no end"]);
    assert_eq!((flagged(&bench), bench.taken.lines), (2, 3));
    assert_eq!(bench.registry.to_json().as_array().unwrap().len(), 0);
}

#[test]
fn the_next_instance_ends_the_one_before() {
    let mut bench = Bench::new();
    bench.find("0.log", &cri(1, 0, "P", "out of mem"));
    let path = bench.dir.path().join("0.log");
    assert_eq!(later(&mut bench, &path, 0), Vec::<String>::new());
    bench.find("1.log", &cri(2, 0, "F", "hello"));
    assert_eq!(later(&mut bench, &path, 9), ["hello"]);
    assert_eq!(later(&mut bench, &path, 25), ["out of mem"]);
    let saved: Vec<_> = bench.registry.snapshot(NOW.wall).unwrap().collect();
    assert!(saved.iter().all(|file| file.mark.held == HeldAt::default()), "{saved:?}");
    // What comes all the same is a line of its own.
    let mut file = std::fs::OpenOptions::new().append(true).open(&path).unwrap();
    std::io::Write::write_all(&mut file, cri(3, 0, "F", "ory").as_bytes()).unwrap();
    assert_eq!(later(&mut bench, &path, 26), ["ory"]);
}

#[test]
fn what_is_held_is_bounded() {
    let mut bench = Bench::new();
    // More parts than memory for them: those that rest longest go.
    for idx in 0..40 {
        bench.find(&format!("{idx}.txt"), &cri(idx, 0, "P", &"x".repeat(60_000)));
    }
    let path = bench.dir.path().join("0.txt");
    let sent = later(&mut bench, &path, 0).len();
    assert!((20..30).contains(&sent), "{sent}");
    // More lines of the other output than one may wait for.
    let other: String = (0..60_000).map(|idx| cri(idx % 60, 1, "F", &"y".repeat(60))).collect();
    bench.find("busy", &(cri(0, 0, "P", "stuck") + &other));
    let lines = later(&mut bench, &path, 1);
    let place = lines.iter().position(|line| line == "stuck").unwrap();
    assert!((40_000..50_000).contains(&place), "{place}");
    assert_eq!(lines.len(), 60_001);
    assert_eq!(flagged(&bench), sent as u64 + 1);
}
