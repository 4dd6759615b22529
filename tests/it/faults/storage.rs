//! Disks that fail: under the checkpoint, and under the logs. Lines are shipped all the while, and
//! after it healed a SIGKILL loses nothing.

use std::io::Write as _;
use std::time::Duration;

use super::needs;
use super::tools::{Mount, covered_and_stored, has_mounts, has_strace, straced};
use crate::support::oracle::EXACT;
use crate::support::{Bed, Found, Metrics, Sent, Skald, eventually, settled};

/// The fault is on: lines arrive all the same.
#[track_caller]
fn still_ships(bed: &Bed, sent: &mut Sent) {
    for src in ["a", "b"] {
        bed.append(&format!("{src}.log"), sent.lines(src, 20));
    }
    bed.wait_for(sent);
}

#[track_caller]
fn fails_to_save(bed: &Bed) {
    eventually("a failure", || 0 < bed.metrics().get("checkpoint_failures_total"));
}

/// It has healed: the checkpoint catches up, and a SIGKILL afterwards costs nothing.
#[track_caller]
fn healed(bed: &Bed, sent: &mut Sent, skald: Skald, what: &str) {
    still_ships(bed, sent);
    eventually("a checkpoint of everything", || covered_and_stored(bed, &bed.loki) == sent.count());
    bed.adds_up();
    let before = sent.found(bed.loki.store());
    skald.kill();
    let skald = bed.run();
    still_ships(bed, sent);
    bed.adds_up();
    skald.stop_well();
    let found = sent.found(bed.loki.store());
    assert_eq!(found, Found { repeated: before.repeated, ..EXACT }, "{what}");
}

#[test]
fn a_full_disk_under_the_checkpoint() {
    if !needs("right to mount", has_mounts()) {
        return;
    }
    let (bed, mut sent) = (Bed::new(), Sent::default());
    let _mount = Mount::tmpfs(&bed.path("state"), "1m");
    let skald = bed.run();
    still_ships(&bed, &mut sent);
    eventually("a checkpoint", || covered_and_stored(&bed, &bed.loki) == sent.count());
    let filler = bed.state("filler");
    let mut file = fs_err::File::create(&filler).unwrap();
    while file.write_all(&[b'x'; 1024]).is_ok() {}
    drop(file);
    still_ships(&bed, &mut sent);
    fails_to_save(&bed);
    // The last good checkpoint is still there, and a run that begins now begins with it.
    assert_eq!(covered_and_stored(&bed, &bed.loki), 40);
    skald.kill();
    let skald = bed.run();
    still_ships(&bed, &mut sent);
    fails_to_save(&bed);
    let repeated = sent.found(bed.loki.store()).repeated;
    assert_eq!(repeated, 40, "what came after the last checkpoint");
    fs_err::remove_file(&filler).unwrap();
    healed(&bed, &mut sent, skald, "full disk");
}

#[test]
fn a_state_folder_that_becomes_read_only() {
    if !needs("right to mount", has_mounts()) {
        return;
    }
    let (bed, mut sent) = (Bed::new(), Sent::default());
    let skald = bed.run();
    still_ships(&bed, &mut sent);
    eventually("a checkpoint", || covered_and_stored(&bed, &bed.loki) == sent.count());
    let mount = Mount::read_only(&bed.path("state"));
    still_ships(&bed, &mut sent);
    fails_to_save(&bed);
    eventually("the words", || skald.err().to_lowercase().contains("read-only file system"));
    drop(mount);
    healed(&bed, &mut sent, skald, "read-only");
}

/// What strace makes fail, on which file, and what counts it.
struct Case {
    file: &'static str,
    inject: &'static str,
    counter: &'static str,
}

const CASES: [Case; 9] = [
    case("state/checkpoint.tmp", "openat:error=EACCES:when=3..6", SAVES),
    case("state/checkpoint.tmp", "write:error=EIO:when=1..2", SAVES),
    case("state/checkpoint.tmp", "write:error=EDQUOT:when=2", SAVES),
    case("state/checkpoint.tmp", "fsync:error=EIO:when=1..2", SAVES),
    case("state/checkpoint.tmp", "rename:error=EROFS:when=1..2", SAVES),
    case("state", "fsync:error=EIO:when=1", SAVES),
    case("logs/a.log", "pread64:error=EIO:when=4..5", "files_unreadable_total{why=\"io\"}"),
    case("logs/a.log", "pread64:error=ESTALE:when=4..5", "files_unreadable_total{why=\"stale\"}"),
    case("logs/a.log", "statx:error=ESTALE:when=3", "files_unreadable_total{why=\"stale\"}"),
];
const SAVES: &str = "checkpoint_failures_total";

const fn case(file: &'static str, inject: &'static str, counter: &'static str) -> Case {
    Case { file, inject, counter }
}

#[test]
fn system_calls_that_fail_for_a_while() {
    if !needs("strace", has_strace()) {
        return;
    }
    let run = |case: &Case| {
        let (bed, mut sent) = (Bed::new(), Sent::default());
        let what = format!("{}: {}", case.file, case.inject);
        let call = case.inject.split(':').next().unwrap();
        let path = bed.path(case.file).display().to_string();
        let (trace, inject) = (format!("trace={call}"), format!("inject={}", case.inject));
        let options = ["-o", "/dev/null", "-P", &path, "-e", &trace, "-e", &inject];
        bed.append("a.log", sent.lines("a", 20));
        bed.append("b.log", sent.lines("b", 20));
        let skald = Skald::spawn(&mut straced(&bed.command(), &options));
        bed.wait_for(&sent);
        let mut metrics = Metrics::default();
        eventually(&what, || {
            bed.append("a.log", sent.lines("a", 1));
            bed.append("b.log", sent.lines("b", 1));
            settled(Duration::from_millis(300), || bed.loki.copies());
            metrics = bed.metrics();
            0 < metrics.get(case.counter)
        });
        healed(&bed, &mut sent, skald, &what);
    };
    std::thread::scope(|scope| {
        for case in &CASES {
            scope.spawn(|| run(case));
        }
    });
}
