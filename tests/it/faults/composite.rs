//! Everything at once, as it is measured from outside: fast writers, a rotation by renaming every
//! 0.4 seconds, failing and limiting answers, an outage, kills and lost acknowledgements.
//!
//! `SKALD_LINES_PER_SECOND` and `SKALD_SECONDS` make it as hard as the machine allows.

use std::collections::VecDeque;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::tools::checkpoint;
use crate::support::bed::append;
use crate::support::oracle::EXACT;
use crate::support::{Answer, Bed, Found, Loki, Reset, Sent, address, always, answer, pause};

const FILES: usize = 4;
const ROTATE_EACH: Duration = Duration::from_millis(400);
const WRITE_EACH: Duration = Duration::from_millis(20);
/// Rotated generations that are kept even when they were read.
const KEEP: usize = 5;
/// More lines than a batch holds.
const BATCH_LINES_MAX: u64 = 16_000;

fn setting(name: &str, default: u64) -> u64 {
    let value = std::env::var_os(name).and_then(|value| value.into_string().ok());
    value.map_or(default, |value| value.parse().unwrap())
}

/// Writes `app.log` in a folder of its own, and shifts it to `app.log.1` and so on.
struct Writer {
    folder: PathBuf,
    src: String,
    sent: Sent,
    /// Inodes and sizes of the rotated generations, the newest first.
    rotated: VecDeque<(u64, u64)>,
    rotations: u64,
}

impl Writer {
    fn new(bed: &Bed, idx: usize) -> Self {
        let src = format!("f{idx}");
        let folder = bed.log(&src);
        Self { folder, src, sent: Sent::default(), rotated: VecDeque::new(), rotations: 0 }
    }

    fn name(&self, number: usize) -> PathBuf {
        let suffix = if number == 0 { String::new() } else { format!(".{number}") };
        self.folder.join(format!("app.log{suffix}"))
    }

    /// Shifts the generations. The oldest are deleted once they were surely read: once the
    /// checkpoint has them as a whole.
    fn rotate(&mut self, bed: &Bed) {
        let settled = checkpoint(bed);
        while KEEP <= self.rotated.len()
            && self.rotated.back().is_some_and(|(inode, size)| settled.get(inode) == Some(size))
        {
            fs_err::remove_file(self.name(self.rotated.len())).unwrap();
            self.rotated.pop_back();
        }
        for number in (0..=self.rotated.len()).rev() {
            fs_err::rename(self.name(number), self.name(number + 1)).unwrap();
        }
        let meta = fs_err::metadata(self.name(1)).unwrap();
        self.rotated.push_front((meta.ino(), meta.len()));
        self.rotations += 1;
    }

    fn run(mut self, bed: &Bed, per_second: u64, stop: &AtomicBool) -> Self {
        let start = Instant::now();
        let mut rotate_at = ROTATE_EACH;
        while !stop.load(Ordering::Relaxed) {
            let due = per_second * u64::try_from(start.elapsed().as_millis()).unwrap() / 1_000;
            let lines = due.saturating_sub(self.sent.count());
            append(&self.name(0), self.sent.lines(&self.src, lines).as_bytes());
            if rotate_at < start.elapsed() {
                self.rotate(bed);
                rotate_at += ROTATE_EACH;
            }
            pause(WRITE_EACH);
        }
        append(&self.name(0), self.sent.lines(&self.src, 1).as_bytes());
        self
    }
}

/// A tenth of the pushes gets a 500, a tenth a 429, and the acknowledgements of some are lost.
fn trouble(rng: &mut fastrand::Rng, loses_acks: bool) -> Vec<Answer> {
    let one = |rng: &mut fastrand::Rng| match rng.u8(..100) {
        0..10 => answer(500, "no"),
        10..20 => answer(429, "slowly"),
        20..22 if loses_acks => Answer { reset: Some(Reset::After), ..Answer::default() },
        _ => Answer::default(),
    };
    (0..10_000).map(|_| one(rng)).collect()
}

/// The files are known: what was rotated out of the globs before that is nobody's.
fn known(bed: &Bed) -> Vec<Writer> {
    let mut writers: Vec<_> = (0..FILES).map(|idx| Writer::new(bed, idx)).collect();
    for writer in &mut writers {
        append(&writer.name(0), writer.sent.lines(&writer.src, 1).as_bytes());
    }
    let skald = bed.run();
    bed.wait_until_idle(FILES);
    skald.stop_well();
    writers
}

/// Runs `writers`, and `during` beside them. Returns what was written.
fn write_while(bed: &Bed, rate: u64, writers: Vec<Writer>, during: impl FnOnce()) -> (Sent, u64) {
    let (stop, mut sent, mut rotations) = (&AtomicBool::new(false), Sent::default(), 0);
    std::thread::scope(|scope| {
        let run = |writer: Writer| scope.spawn(move || writer.run(bed, rate / FILES as u64, stop));
        let running: Vec<_> = writers.into_iter().map(run).collect();
        during();
        stop.store(true, Ordering::Relaxed);
        for writer in running {
            let writer = writer.join().unwrap();
            sent.join(writer.sent);
            rotations += writer.rotations;
        }
    });
    (sent, rotations)
}

fn bed() -> Bed {
    let mut bed = Bed::at(Loki::with(address(3100), |options| options.keep = 10_000_000));
    bed.glob = "*/app.log".to_owned();
    bed
}

/// Neither kills nor lost acknowledgements: each line once.
#[test]
fn rotation_failures_and_an_outage_lose_and_repeat_nothing() {
    let (rate, seconds) = (setting("SKALD_LINES_PER_SECOND", 4_000), setting("SKALD_SECONDS", 6));
    let (bed, mut rng) = (bed(), fastrand::Rng::with_seed(4));
    let writers = known(&bed);
    bed.loki.answers().add(trouble(&mut rng, false));
    let skald = bed.run();
    let (sent, rotations) = write_while(&bed, rate, writers, || {
        pause(Duration::from_secs(seconds) / 3);
        bed.loki.answers().clear();
        bed.loki.answers().add([always(answer(503, "an outage"))]);
        pause(Duration::from_secs(seconds) / 3);
        bed.loki.answers().clear();
        bed.loki.answers().add(trouble(&mut rng, false));
        pause(Duration::from_secs(seconds) / 3);
    });
    bed.wait_for(&sent);
    let metrics = bed.adds_up();
    skald.stop_well();
    let found = sent.found(bed.loki.store());
    eprintln!("{} lines, {rotations} rotations: {found:?}", sent.count());
    assert_eq!(metrics.get("rotations_total"), rotations, "{metrics:?}");
    assert!(["500", "429", "503"].iter().all(|status| 0 < bed.loki.pushes(status)));
    assert_eq!(found, EXACT);
}

#[test]
fn kills_lost_answers_and_rotation_lose_nothing() {
    const KILLS: u64 = 4;
    let (rate, seconds) = (setting("SKALD_LINES_PER_SECOND", 4_000), setting("SKALD_SECONDS", 6));
    let (bed, mut rng) = (bed(), fastrand::Rng::with_seed(9));
    let writers = known(&bed);
    bed.loki.answers().add(trouble(&mut rng, true));
    let mut repeats_max = 0;
    let (sent, rotations) = write_while(&bed, rate, writers, || {
        for _ in 0..KILLS {
            let lives = Duration::from_millis(rng.u64(300..2_000 * seconds / KILLS));
            repeats_max += bed.kill_after(lives).1;
            // Rotations while nobody looks.
            pause(Duration::from_millis(rng.u64(0..900)));
        }
    });
    let skald = bed.run();
    bed.wait_for(&sent);
    bed.adds_up();
    skald.stop_well();
    let (found, resets) = (sent.found(bed.loki.store()), bed.loki.pushes("reset"));
    eprintln!(
        "{} lines, {rotations} rotations, {KILLS} kills, {resets} lost answers: {found:?}",
        sent.count()
    );
    assert!(0 < found.repeated, "nothing happened");
    assert!(found.repeated <= repeats_max + resets * BATCH_LINES_MAX, "{found:?}, {repeats_max}");
    assert_eq!(found, Found { repeated: found.repeated, ..EXACT });
}
