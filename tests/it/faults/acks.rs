//! The checkpoint follows Loki's answers, whatever was read and sent.

use std::time::Duration;

use super::tools::covered_and_stored;
use crate::support::oracle::EXACT;
use crate::support::{
    Answer, Bed, Found, Reset, Sent, always, answer, eventually, settled, within,
};

/// More than `memory.in_flight`, so that reading has to stop.
const LINES: u64 = 9_000;

#[test]
fn the_checkpoint_is_never_ahead_of_loki() {
    let (mut bed, mut sent) = (Bed::new(), Sent::default());
    // Three sources have three lanes, whose answers come in any order.
    bed.glob = "a*.log".to_owned();
    for name in ["b", "c"] {
        let logs = bed.path("logs");
        let files = format!("{}/{name}*.log", logs.display());
        bed.source += &format!("  - {{name: {name}, files: \"{files}\", labels: {{app: t}}}}\n");
    }
    let mut rng = fastrand::Rng::with_seed(2);
    for src in ["a1", "a2", "b1", "b2", "c1", "c2"] {
        let text: String = (0..LINES / 6).map(|_| sent.noisy(src, &mut rng)).collect();
        bed.append(&format!("{src}.log"), text);
    }
    bed.loki.answers().add([always(Answer { delay_ms: 600_000, ..Answer::default() })]);
    let skald = bed.run();
    // It reads as far as its memory goes, and waits.
    let read = || bed.metrics().sum("lines_read_total");
    eventually("the first lines", || read() != 0);
    settled(Duration::from_millis(500), read);
    let saves = bed.metrics().get("checkpoint_saves_total");
    bed.append("a1.log", sent.lines("a1", 1));
    eventually("a checkpoint", || saves < bed.metrics().get("checkpoint_saves_total"));
    let metrics = bed.adds_up();
    assert!(metrics.sum("lines_read_total") < LINES, "{metrics:?}");
    assert_eq!(metrics.get("lines_delivered_total"), 0);
    skald.kill();
    assert_eq!(covered_and_stored(&bed, &bed.loki), 0);

    // Late answers, failures and lost answers, and two kills among them.
    let mut before = 0;
    let mut repeats_max = 0;
    for _ in 0..2 {
        let late = |ms| Answer { delay_ms: ms, ..Answer::default() };
        let lost = Answer { reset: Some(Reset::After), ..Answer::default() };
        bed.loki.answers().clear();
        bed.loki.answers().add((0..200).map(|n| match n % 8 {
            0 => answer(503, "not now"),
            1 => lost.clone(),
            _ => late(rng.u64(0..120)),
        }));
        let skald = bed.run();
        within(Duration::from_millis(2_500), || {
            covered_and_stored(&bed, &bed.loki);
            false
        });
        skald.kill();
        let kept = covered_and_stored(&bed, &bed.loki);
        assert!(before <= kept, "the checkpoint went back from {before} to {kept}");
        before = kept;
        repeats_max += bed.loki.copies() as u64;
    }
    bed.loki.answers().clear();
    let skald = bed.run();
    bed.wait_for(&sent);
    bed.append("a1.log", sent.lines("a1", 1));
    bed.wait_for(&sent);
    bed.adds_up();
    skald.stop_well();
    let found = sent.found(bed.loki.store());
    eprintln!("{} lines, 3 kills: {found:?}; the checkpoint had {before} of them", sent.count());
    assert!(0 < bed.loki.pushes("reset") && 0 < found.repeated, "{found:?}");
    assert!(found.repeated <= repeats_max, "{found:?}");
    assert_eq!(found, Found { repeated: found.repeated, ..EXACT });
    assert_eq!(covered_and_stored(&bed, &bed.loki), sent.count());
}
