//! kill -9 at any moment, and damage to the state folder.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::support::oracle::EXACT;
use super::support::{Answer, Bed, Found, Sent, always, eventually};

/// Appends to `app.log` and shifts it to `app.log.1`, `app.log.2` and so on, as logrotate does.
struct Writer {
    folder: std::path::PathBuf,
    sent: Sent,
    rotations: u64,
    rng: fastrand::Rng,
}

impl Writer {
    fn step(&mut self) {
        let name = self.folder.join("app.log");
        let mut text = self.sent.lines("app", self.rng.u64(1..20));
        // A reader may come in the middle of a line.
        let rest = text.split_off(self.rng.usize(1..text.len()));
        super::support::bed::append(&name, text.as_bytes());
        super::support::bed::append(&name, rest.as_bytes());
        if self.rng.u8(..) < 4 {
            self.rotate();
        }
    }

    fn rotate(&mut self) {
        let numbered = |number: u64| self.folder.join(format!("app.log.{number}"));
        for number in (1..=self.rotations).rev() {
            fs_err::rename(numbered(number), numbered(number + 1)).unwrap();
        }
        fs_err::rename(self.folder.join("app.log"), numbered(1)).unwrap();
        self.rotations += 1;
    }

    fn run(mut self, stop: &AtomicBool) -> Self {
        while !stop.load(Ordering::Relaxed) {
            self.step();
            std::thread::sleep(Duration::from_millis(self.rng.u64(1..6)));
        }
        self
    }
}

#[test]
fn kill_nine_loses_nothing() {
    const SEED: u64 = 0x5ca1d;
    const KILLS: usize = 15;
    let mut bed = Bed::new();
    bed.glob = "app.log*".to_owned();
    let mut rng = fastrand::Rng::with_seed(SEED);
    let stop = Arc::<AtomicBool>::default();
    let writer =
        Writer { folder: bed.path("logs"), sent: Sent::default(), rotations: 0, rng: rng.fork() };
    let thread = {
        let stop = Arc::clone(&stop);
        std::thread::spawn(move || writer.run(&stop))
    };
    let mut repeats_max = 0;
    for kill in 0..KILLS {
        // Answers that come late and not at all leave more in flight.
        if kill % 3 == 1 {
            let late = Answer { delay_ms: 30, times: 20, ..Answer::default() };
            bed.loki.answers().add([late]);
        }
        // Every third one lives long enough for checkpoints.
        let millis = if kill % 3 == 0 { rng.u64(1_200..2_600) } else { rng.u64(20..700) };
        let (err, unsaved) = bed.kill_after(Duration::from_millis(millis));
        assert!(!err.contains("damaged"), "{err}");
        // What arrived since the last checkpoint comes again.
        repeats_max += unsaved;
    }
    stop.store(true, Ordering::Relaxed);
    let Writer { sent, rotations, .. } = thread.join().unwrap();
    let skald = bed.run();
    bed.wait_for(&sent);
    bed.adds_up();
    skald.stop_well();
    let found = sent.found(bed.loki.store());
    eprintln!(
        "{} lines, {rotations} rotations, {KILLS} kills: {found:?}, at most {repeats_max} repeats",
        sent.count()
    );
    assert!(2 < rotations && KILLS as u64 * 50 < sent.count(), "nothing happened");
    assert!(found.repeated <= repeats_max, "{found:?}, {repeats_max}");
    let disordered = found.disordered;
    assert_eq!(found, Found { repeated: found.repeated, disordered, ..EXACT });
}

#[test]
fn what_loki_never_answered_is_not_in_the_checkpoint() {
    let (bed, mut sent) = (Bed::new(), Sent::default());
    bed.loki.answers().add([always(Answer { delay_ms: 600_000, ..Answer::default() })]);
    bed.append("app.log", sent.lines("app", 5_000));
    let skald = bed.run();
    eventually("the read", || bed.metrics().sum("lines_read_total") == sent.count());
    eventually("a checkpoint", || {
        bed.metrics().get("checkpoint_saves_total") != 0 && bed.state("checkpoint").exists()
    });
    let saves = bed.metrics().get("checkpoint_saves_total");
    bed.append("app.log", sent.lines("app", 10));
    eventually("one more", || saves < bed.metrics().get("checkpoint_saves_total"));
    let metrics = bed.adds_up();
    assert_eq!(metrics.get("lines_delivered_total"), 0);
    skald.kill();
    let text = fs_err::read_to_string(bed.state("checkpoint")).unwrap();
    assert!(text.contains("app.log") && text.contains("\"offset\":0,"), "{text}");
    bed.loki.answers().clear();
    let skald = bed.run();
    bed.wait_for(&sent);
    skald.stop_well();
    assert_eq!(sent.found(bed.loki.store()), EXACT);
}

#[test]
fn a_damaged_checkpoint_costs_repeats_and_no_line() {
    let half = |bytes: &[u8]| bytes[..bytes.len() / 2].to_vec();
    let nuls = |bytes: &[u8]| vec![0; bytes.len()];
    let none = |_: &[u8]| Vec::new();
    let last = |bytes: &[u8]| bytes[..bytes.len() - 1].to_vec();
    let flip = |bytes: &[u8]| bytes.iter().map(|b| if *b == b'3' { b'4' } else { *b }).collect();
    type Damage = fn(&[u8]) -> Vec<u8>;
    let cases: [(&str, Damage, bool); 5] = [
        ("half", half, true),
        ("nuls", nuls, true),
        ("none", none, true),
        ("last", last, false),
        ("flip", flip, true),
    ];
    for (name, damage, is_told) in cases {
        let (bed, mut sent) = (Bed::new(), Sent::default());
        bed.append("a.log", sent.lines("a", 100));
        bed.append("b.log", sent.lines("b", 100));
        let skald = bed.run();
        bed.wait_for(&sent);
        skald.stop_well();
        let path = bed.state("checkpoint");
        fs_err::write(&path, damage(&fs_err::read(&path).unwrap())).unwrap();
        bed.append("a.log", sent.lines("a", 10));
        let skald = bed.run();
        bed.wait_for(&sent);
        bed.wait_until_idle(2);
        bed.adds_up();
        let err = skald.stop_well();
        let found = sent.found(bed.loki.store());
        assert_eq!(found, Found { repeated: found.repeated, ..EXACT }, "{name}");
        assert_eq!(found.repeated != 0, is_told, "{name}: {found:?}");
        assert_eq!(err.contains("damaged"), is_told, "{name}: {err}");
        // And the next start finds a sound one.
        let skald = bed.run();
        bed.append("a.log", sent.lines("a", 1));
        bed.wait_for(&sent);
        let err = skald.stop_well();
        assert!(!err.contains("damaged"), "{name}: {err}");
        assert_eq!(sent.found(bed.loki.store()), found, "{name}");
    }
}

/// What was written while no agent ran is not skipped because nobody knows any more where it began.
#[test]
fn a_damaged_checkpoint_leaves_no_gap_where_files_start_at_their_end() {
    let (mut bed, mut sent) = (Bed::new(), Sent::default());
    bed.source = "    start: end".to_owned();
    bed.append("a.log", "");
    let skald = bed.run();
    eventually("the file", || bed.metrics().get("files{state=\"following\"}") == 1);
    bed.append("a.log", sent.lines("a", 10));
    bed.wait_for(&sent);
    skald.stop_well();
    fs_err::write(bed.state("checkpoint"), "what is this\n").unwrap();
    bed.append("a.log", sent.lines("a", 10));
    let skald = bed.run();
    bed.append("a.log", sent.lines("a", 10));
    bed.wait_for(&sent);
    skald.stop_well();
    assert_eq!(sent.found(bed.loki.store()), Found { repeated: 10, ..EXACT });
}

/// An agent that does not start: exit code 2, and why.
#[track_caller]
fn refuses_to_start(bed: &Bed, why: &str) {
    let ended = bed.run().wait();
    assert_eq!(ended.code, Some(2), "{}", ended.err);
    assert!(ended.err.contains(why), "{}", ended.err);
    assert_eq!(bed.loki.copies(), 0);
}

#[test]
fn a_newer_checkpoint_is_left_alone() {
    let (bed, mut sent) = (Bed::new(), Sent::default());
    bed.append("a.log", sent.lines("a", 10));
    fs_err::create_dir(bed.path("state")).unwrap();
    let header = "skald checkpoint 2 shape=round";
    let crc = crc32fast::hash(header.as_bytes());
    let text = format!("{header} crc32={crc:08x}\nwhatever\n");
    fs_err::write(bed.state("checkpoint"), &text).unwrap();
    refuses_to_start(&bed, "has version 2");
    assert_eq!(fs_err::read_to_string(bed.state("checkpoint")).unwrap(), text);
}

#[test]
fn a_state_folder_that_cannot_be_used_is_named() {
    let (bed, mut sent) = (Bed::new(), Sent::default());
    bed.append("a.log", sent.lines("a", 10));
    fs_err::write(bed.path("state"), "a file").unwrap();
    refuses_to_start(&bed, &bed.path("state").display().to_string());
}

#[test]
fn a_checkpoint_that_cannot_be_saved_stops_nothing() {
    let (bed, mut sent) = (Bed::new(), Sent::default());
    bed.append("a.log", sent.lines("a", 10));
    let skald = bed.run();
    bed.wait_for(&sent);
    // The name of the temporary file is taken by a folder, root or not.
    let temp = bed.state("checkpoint.tmp");
    eventually("the folder in its way", || {
        let _ = fs_err::remove_file(&temp);
        std::fs::create_dir(&temp).is_ok()
    });
    bed.append("a.log", sent.lines("a", 10));
    bed.wait_for(&sent);
    eventually("the failure", || bed.metrics().get("checkpoint_failures_total") != 0);
    eventually("the message", || skald.err().contains("cannot save the checkpoint"));
    fs_err::remove_dir(Path::new(&temp)).unwrap();
    eventually("the recovery", || skald.err().contains("checkpoints can be saved again"));
    bed.adds_up();
    skald.stop_well();
    let skald = bed.run();
    bed.append("a.log", sent.lines("a", 10));
    bed.wait_for(&sent);
    skald.stop_well();
    assert_eq!(sent.found(bed.loki.store()), EXACT);
}

#[test]
fn two_agents_do_not_share_a_state_folder() {
    let (mut bed, mut sent) = (Bed::new(), Sent::default());
    bed.append("a.log", sent.lines("a", 10));
    let skald = bed.run();
    bed.wait_for(&sent);
    // Or the admin port would be what is in the way.
    bed.admin = super::support::address(9464);
    let ended = bed.run().wait();
    assert_eq!(ended.code, Some(2), "{}", ended.err);
    let owner = format!("(process {})", skald.pid());
    assert!(ended.err.contains(&owner), "{}", ended.err);
    skald.stop_well();
    assert_eq!(sent.found(bed.loki.store()), EXACT);
}
