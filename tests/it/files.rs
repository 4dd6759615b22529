//! Files: found, followed, rotated, truncated, deleted; many of them, and odd names.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::symlink;
use std::time::Duration;

use super::support::bed::append;
use super::support::oracle::{EXACT, out_of_time};
use super::support::process::timed;
use super::support::{Bed, Sent, eventually};

#[test]
fn files_are_found_at_start_and_later() {
    let (mut bed, mut sent) = (Bed::new(), Sent::default());
    bed.source = "    exclude: [\"*.old.log\"]".to_owned();
    bed.append("a.log", sent.lines("a", 100));
    bed.append("deep/er/b.log", sent.lines("b", 100));
    bed.append("a.old.log", Sent::default().lines("excluded", 5));
    bed.append("a.txt", Sent::default().lines("unmatched", 5));
    let skald = bed.run();
    bed.wait_for(&sent);
    // The folder is walked each ten seconds: sooner than half of that is the hint's doing.
    let (_, taken) = timed(|| {
        bed.append("c.log", sent.lines("c", 10));
        bed.wait_for(&sent);
        bed.append("new/folder/d.log", sent.lines("d", 10));
        bed.wait_for(&sent);
    });
    eprintln!("a new file and a new folder: {taken:?}");
    assert!(taken < Duration::from_secs(6), "{taken:?}: without hints");
    let (_, taken) = timed(|| {
        bed.append("a.log", sent.lines("a", 1));
        bed.wait_for(&sent);
    });
    eprintln!("a line in a known file: {taken:?}");
    assert!(taken < Duration::from_secs(3), "{taken:?}");
    bed.adds_up();
    skald.stop_well();
    assert_eq!(sent.found(bed.loki.store()), EXACT);
    assert_eq!(out_of_time(bed.loki.store()), 0);
}

#[test]
fn a_restart_goes_on_from_the_checkpoint() {
    let (bed, mut sent) = (Bed::new(), Sent::default());
    for round in 0..4 {
        bed.append("a.log", sent.lines("a", 50));
        bed.append("b.log", sent.lines("b", round));
        // The end of the file is in the middle of a line, each time.
        let line = sent.line("c", "");
        let (start, rest) = line.split_at(20);
        bed.append("c.log", start);
        let skald = bed.run();
        eventually("all whole lines", || sent.arrived(bed.loki.store()) == sent.count() - 1);
        bed.adds_up();
        skald.stop_well();
        bed.append("c.log", rest);
    }
    let skald = bed.run();
    bed.wait_for(&sent);
    skald.stop_well();
    assert_eq!(sent.found(bed.loki.store()), EXACT);
}

#[test]
fn rotation_by_renaming_loses_and_repeats_nothing() {
    let (bed, mut sent) = (Bed::new(), Sent::default());
    bed.append("app.log", sent.lines("app", 10));
    let skald = bed.run();
    bed.wait_for(&sent);
    for round in 0..10 {
        bed.append("app.log", sent.lines("app", 200));
        // The old name leaves the glob; what is unread has to be read all the same.
        fs_err::rename(bed.log("app.log"), bed.log(&format!("app.log.{round}"))).unwrap();
        bed.append(&format!("app.log.{round}"), sent.lines("app", 3));
        bed.append("app.log", sent.lines("app", 5));
        // A generation that comes and goes between two looks was never in the glob for us.
        bed.wait_for(&sent);
    }
    let metrics = bed.adds_up();
    assert_eq!(metrics.get("rotations_total"), 10, "{metrics:?}");
    skald.stop_well();
    assert_eq!(sent.found(bed.loki.store()), EXACT);
}

#[test]
fn truncation_starts_the_file_anew() {
    let (bed, mut sent) = (Bed::new(), Sent::default());
    let skald = bed.run();
    for round in 1..=3 {
        bed.append("app.log", sent.lines("app", 100));
        // What is truncated before it was read is gone, so everything is read first.
        bed.wait_for(&sent);
        fs_err::copy(bed.log("app.log"), bed.log(&format!("app.log.{round}"))).unwrap();
        fs_err::OpenOptions::new().write(true).truncate(true).open(bed.log("app.log")).unwrap();
        bed.append("app.log", sent.lines("app", 7));
        bed.wait_for(&sent);
        eventually("the truncation", || bed.metrics().get("truncations_total") == round);
    }
    bed.adds_up();
    skald.stop_well();
    assert_eq!(sent.found(bed.loki.store()), EXACT);
}

#[test]
fn a_deleted_file_is_read_to_its_end() {
    let (bed, mut sent) = (Bed::new(), Sent::default());
    bed.append("app.log", sent.lines("app", 10));
    bed.append("stays.log", sent.lines("stays", 10));
    let skald = bed.run();
    bed.wait_for(&sent);
    for round in 0..3 {
        let mut text = sent.lines("app", 2_000);
        if round == 2 {
            // Its last line has no end, and never will.
            text.pop();
        }
        bed.append("app.log", text);
        fs_err::remove_file(bed.log("app.log")).unwrap();
        bed.append("app.log", sent.lines("app", 10));
        let whole = sent.count() - 1;
        eventually("all whole lines", || whole <= sent.arrived(bed.loki.store()));
    }
    // A file without a name is given up when it was quiet for ten seconds, and its last line then.
    bed.wait_for(&sent);
    bed.adds_up();
    skald.stop_well();
    let found = sent.found(bed.loki.store());
    assert_eq!((found.lost, found.repeated, found.foreign), (0, 0, 0), "{found:?}");
}

#[test]
fn start_end_ships_only_what_is_new() {
    let (mut bed, mut sent) = (Bed::new(), Sent::default());
    bed.source = "    start: end".to_owned();
    bed.append("a.log", Sent::default().lines("old", 100));
    let skald = bed.run();
    eventually("the file", || bed.metrics().get("files{state=\"following\"}") == 1);
    bed.append("a.log", sent.lines("a", 10));
    // A file that comes later is new as a whole.
    bed.append("b.log", sent.lines("b", 10));
    bed.wait_for(&sent);
    bed.adds_up();
    skald.stop_well();
    // And after a restart the checkpoint counts, not the setting.
    bed.append("a.log", sent.lines("a", 10));
    let skald = bed.run();
    bed.wait_for(&sent);
    skald.stop_well();
    assert_eq!(sent.found(bed.loki.store()), EXACT);
}

#[test]
fn thousands_of_files_have_no_thread_each() {
    let (bed, mut sent) = (Bed::new(), Sent::default());
    for idx in 0..2_000 {
        let src = format!("f{idx}");
        let text = sent.lines(&src, 3);
        fs_err::write(bed.log(&format!("{src}.log")), text).unwrap();
    }
    let skald = bed.run();
    bed.wait_for(&sent);
    let (threads, peak) = (skald.threads(), skald.status("VmHWM"));
    eprintln!("2,000 files: {threads} threads, peak {peak} KiB");
    assert!(threads < 16, "{threads} threads");
    assert!(peak < 64 * 1024, "{peak} KiB");
    bed.adds_up();
    eventually("the gauge", || bed.metrics().get("files{state=\"following\"}") == 2_000);
    skald.stop_well();
    assert_eq!(sent.found(bed.loki.store()), EXACT);
}

#[test]
fn odd_names_and_links() {
    let (bed, mut sent) = (Bed::new(), Sent::default());
    let name = OsStr::from_bytes(b"caf\xe9 \n.log");
    fs_err::write(bed.path("logs").join(name), sent.lines("odd", 10)).unwrap();
    bed.append("real.log", sent.lines("real", 10));
    // A second name of a file that is read anyway: read once.
    symlink(bed.log("real.log"), bed.log("link.log")).unwrap();
    fs_err::hard_link(bed.log("real.log"), bed.log("hard.log")).unwrap();
    // Out of the globs' folders, where nobody said that it may go.
    fs_err::write(bed.path("secret"), Sent::default().lines("secret", 10)).unwrap();
    symlink(bed.path("secret"), bed.log("out.log")).unwrap();
    let skald = bed.run();
    bed.wait_for(&sent);
    bed.append("real.log", sent.lines("real", 10));
    bed.wait_for(&sent);
    bed.adds_up();
    skald.stop_well();
    let skald = bed.run();
    append(&bed.path("logs").join(name), sent.lines("odd", 10).as_bytes());
    bed.wait_for(&sent);
    skald.stop_well();
    assert_eq!(sent.found(bed.loki.store()), EXACT);
}
