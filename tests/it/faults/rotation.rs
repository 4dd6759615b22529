//! Rotation by renaming: writers that keep the old descriptor, rotations that nobody saw, old
//! generations that are compressed or deleted.

use std::io::Write as _;
use std::time::Duration;

use super::tools::Kubelet;
use crate::support::bed::append;
use crate::support::oracle::EXACT;
use crate::support::{Answer, Bed, Sent, always, eventually, pause, times};

/// Each generation has a writer of its own, which goes on for three seconds after the rename.
#[test]
fn a_writer_that_keeps_its_descriptor_loses_nothing() {
    const GENERATIONS: usize = 15;
    const BETWEEN: Duration = Duration::from_millis(200);
    const AFTER: u32 = 15;
    let mut bed = Bed::new();
    bed.glob = "app.log".to_owned();
    bed.loki.answers().add([times(100, Answer { delay_ms: 30, ..Answer::default() })]);
    bed.append("app.log", "");
    let skald = bed.run();
    let (name, mut sent) = (bed.log("app.log"), Sent::default());
    let mut open: Vec<(String, fs_err::File, u32)> = Vec::new();
    for turn in 0..GENERATIONS + AFTER as usize {
        if turn < GENERATIONS {
            let options = fs_err::OpenOptions::new().create(true).append(true).to_owned();
            open.push((format!("g{turn}"), options.open(&name).unwrap(), 0));
        }
        // Those that were renamed away are written to as well as the newest.
        for (src, file, age) in &mut open {
            file.write_all(sent.lines(src, 5).as_bytes()).unwrap();
            *age += 1;
        }
        open.retain(|(_, _, age)| *age <= AFTER);
        pause(BETWEEN);
        if turn < GENERATIONS {
            fs_err::rename(&name, bed.log(&format!("app.log.{turn}"))).unwrap();
        }
    }
    bed.append("app.log", sent.lines("last", 5));
    bed.wait_for(&sent);
    let metrics = bed.adds_up();
    assert_eq!(metrics.get("rotations_total"), GENERATIONS as u64, "{metrics:?}");
    skald.stop_well();
    assert_eq!(sent.found(bed.loki.store()), EXACT);
}

/// The receiver is silent while the kubelet rotates six times: each generation was opened in time.
#[test]
fn rotations_while_loki_is_silent_lose_nothing() {
    let mut bed = Bed::new();
    bed.glob = "*/*.log".to_owned();
    let mut sent = Sent::default();
    let mut kubelet = Kubelet::new(bed.log("pod"), 5);
    bed.append("pod/0.log", sent.lines("pod", 100));
    let skald = bed.run();
    bed.wait_for(&sent);
    bed.loki.answers().add([always(Answer { status: Some(503), ..Answer::default() })]);
    for round in 0..6 {
        bed.append("pod/0.log", sent.lines("pod", 2_000));
        kubelet.rotate();
        // The container writes on to the old file until it is told to open the new one.
        append(&kubelet.rotated(), sent.lines("pod", 50).as_bytes());
        bed.append("pod/0.log", sent.lines("pod", 50));
        eventually("the new file is open", || bed.metrics().get("rotations_total") == round + 1);
    }
    bed.loki.answers().clear();
    bed.wait_for(&sent);
    let metrics = bed.adds_up();
    assert_eq!(metrics.sum("bytes_skipped_total"), 0, "{metrics:?}");
    skald.stop_well();
    assert_eq!(sent.found(bed.loki.store()), EXACT);
}
