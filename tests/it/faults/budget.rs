//! Deleted files that nobody has read are kept within bounds, and what is given up is counted.

use super::tools::{deleted_open, is_open};
use crate::support::oracle::EXACT;
use crate::support::process::after;
use crate::support::{Bed, Found, Sent, Skald, always, answer, eventually};

/// Loki is away, and files are rotated and deleted until they hold more of the disk than they may.
#[test]
fn what_is_given_up_is_what_is_lost() {
    const ROUNDS: u64 = 20;
    let (mut bed, mut sent) = (Bed::new(), Sent::default());
    bed.glob = "app.log".to_owned();
    bed.top = "deleted: {bytes_max: 4MiB}".to_owned();
    let mut rng = fastrand::Rng::with_seed(18);
    bed.append("app.log", sent.lines("app", 10));
    let skald = Skald::spawn(&mut after("ulimit -n 64", &bed.command()));
    bed.wait_for(&sent);
    bed.loki.answers().add([always(answer(503, "away"))]);
    for _ in 0..ROUNDS {
        let text: String = (0..800).map(|_| sent.noisy("app", &mut rng)).collect();
        bed.append("app.log", text);
        fs_err::remove_file(bed.log("app.log")).unwrap();
        bed.append("app.log", sent.lines("app", 5));
        eventually("the new file is open", || is_open(&skald, &bed.log("app.log")));
    }
    let given_up = || bed.metrics().get("lines_skipped_total{why=\"given_up\"}");
    eventually("something is given up", || 0 < given_up());
    eventually("the bound holds", || bed.metrics().get("deleted_bytes") <= 4 << 20);
    bed.loki.answers().clear();
    let all = || sent.arrived(bed.loki.store()) + given_up() == sent.count();
    eventually("every line that was not given up", all);
    eventually("all are closed", || deleted_open(&skald).is_empty());
    bed.append("app.log", sent.lines("app", 5));
    let lost = given_up();
    eventually("a fresh line", || sent.arrived(bed.loki.store()) + lost == sent.count());
    bed.adds_up();
    let ended = skald.stop();
    eprintln!("{} lines, {lost} given up: {:?}", sent.count(), ended.code);
    assert_eq!(sent.found(bed.loki.store()), Found { lost, ..EXACT });
}
