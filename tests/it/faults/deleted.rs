//! Files that are deleted before they were read.

use super::tools::deleted_open;
use crate::support::oracle::EXACT;
use crate::support::{Answer, Bed, Sent, eventually, times};

#[test]
fn a_burst_that_is_deleted_at_once_is_read_to_its_last_byte() {
    let (bed, mut sent) = (Bed::new(), Sent::default());
    let mut rng = fastrand::Rng::with_seed(12);
    bed.append("app.log", sent.lines("app", 10));
    bed.append("stays.log", sent.lines("stays", 10));
    let skald = bed.run();
    bed.wait_for(&sent);
    // A slow receiver, so that little of it was read when its name goes.
    bed.loki.answers().add([times(10, Answer { delay_ms: 200, ..Answer::default() })]);
    let mut burst: String = (0..6_000).map(|_| sent.noisy("app", &mut rng)).collect();
    burst.pop();
    bed.append("app.log", burst);
    fs_err::remove_file(bed.log("app.log")).unwrap();
    eventually("it is open without a name", || !deleted_open(&skald).is_empty());
    let arrived = sent.arrived(bed.loki.store());
    assert!(arrived < sent.count() / 2, "{arrived} had arrived before the end of its name");
    // Its name is taken again by another file.
    bed.append("app.log", sent.lines("app", 10));
    // All whole lines soon, and the one without an end when nobody can write to it any more.
    bed.wait_for(&sent);
    eventually("it is closed", || deleted_open(&skald).is_empty());
    let metrics = bed.adds_up();
    assert_eq!(metrics.sum("bytes_skipped_total"), 0, "{metrics:?}");
    bed.append("app.log", sent.lines("app", 10));
    bed.wait_for(&sent);
    skald.stop_well();
    let mut found = sent.found(bed.loki.store());
    // The line without an end waited for it, while the next file's lines went on.
    assert!(found.disordered <= 1, "{found:?}");
    found.disordered = 0;
    assert_eq!(found, EXACT);
}
