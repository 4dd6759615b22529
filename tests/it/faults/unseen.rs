//! Rotations that the agent could not see: while it slept, between two looks, while it did not run.

use std::time::Duration;

use rustix::process::Signal;

use super::needs;
use super::tools::{Kubelet, Mount, has_mounts};
use crate::support::bed::append;
use crate::support::oracle::EXACT;
use crate::support::{Bed, Sent, pause, settled};

/// The agent sleeps while the file is rotated: it finds the generations that it never saw.
#[test]
fn rotations_that_nobody_saw_lose_nothing() {
    let mut bed = Bed::new();
    bed.glob = "app.log".to_owned();
    let mut sent = Sent::default();
    bed.append("app.log", sent.lines("app", 100));
    let skald = bed.run();
    bed.wait_for(&sent);
    let shift = |last: u64| {
        for number in (1..last).rev() {
            let name = |number| bed.log(&format!("app.log.{number}"));
            fs_err::rename(name(number), name(number + 1)).unwrap();
        }
        fs_err::rename(bed.log("app.log"), bed.log("app.log.1")).unwrap();
    };
    skald.signal(Signal::STOP);
    for round in 1..=4 {
        bed.append("app.log", sent.lines("app", 500));
        shift(round);
    }
    bed.append("app.log", sent.lines("app", 10));
    skald.signal(Signal::CONT);
    bed.wait_for(&sent);
    // And again while it runs, faster than it looks.
    for round in 5..=10 {
        bed.append("app.log", sent.lines("app", 100));
        shift(round);
        pause(Duration::from_millis(10));
    }
    bed.append("app.log", sent.lines("app", 10));
    bed.wait_for(&sent);
    bed.adds_up();
    skald.stop_well();
    // And while it does not run at all.
    for round in 11..=13 {
        bed.append("app.log", sent.lines("app", 100));
        shift(round);
    }
    bed.append("app.log", sent.lines("app", 10));
    let skald = bed.run();
    bed.wait_for(&sent);
    bed.adds_up();
    skald.stop_well();
    assert_eq!(sent.found(bed.loki.store()), EXACT);
}

/// The kubelet has compressed what the agent has not read, while it slept, and while it did not
/// run: it goes on inside, oldest first.
#[test]
fn a_generation_that_was_compressed_is_read_on() {
    for restart in [false, true] {
        let mut bed = Bed::new();
        bed.glob = "*/0.log".to_owned();
        let mut sent = Sent::default();
        let mut kubelet = Kubelet::new(bed.log("pod"), 10);
        bed.append("pod/0.log", sent.lines("pod", 300));
        let skald = bed.run();
        bed.wait_for(&sent);
        bed.wait_until_idle(1);
        let mut skald = Some(skald);
        if restart {
            skald.take().unwrap().stop_well();
        } else {
            skald.as_ref().unwrap().signal(Signal::STOP);
        }
        for _ in 0..4 {
            bed.append("pod/0.log", sent.lines("pod", 500));
            kubelet.rotate();
        }
        bed.append("pod/0.log", sent.lines("pod", 10));
        match &skald {
            Some(skald) => skald.signal(Signal::CONT),
            None => skald = Some(bed.run()),
        }
        bed.wait_for(&sent);
        bed.append("pod/0.log", sent.lines("pod", 10));
        bed.wait_for(&sent);
        bed.adds_up();
        skald.unwrap().stop_well();
        assert_eq!(sent.found(bed.loki.store()), EXACT, "restart: {restart}");
    }
}

/// `mv` to another file system makes a copy with another inode.
#[test]
fn a_file_that_moves_to_another_file_system_is_read_on() {
    if !needs("right to mount", has_mounts()) {
        return;
    }
    let (bed, mut sent) = (Bed::new(), Sent::default());
    let _mount = Mount::tmpfs(&bed.log("other"), "16m");
    bed.append("a.log", sent.lines("a", 200));
    let skald = bed.run();
    bed.wait_for(&sent);
    fs_err::copy(bed.log("a.log"), bed.log("other/a.log")).unwrap();
    fs_err::remove_file(bed.log("a.log")).unwrap();
    append(&bed.log("other/a.log"), sent.lines("a", 20).as_bytes());
    bed.wait_for(&sent);
    let copies = settled(Duration::from_secs(3), || bed.loki.copies());
    assert_eq!(copies as u64, sent.count());
    bed.adds_up();
    skald.stop_well();
    assert_eq!(sent.found(bed.loki.store()), EXACT);
}
