//! Loki's name: not known yet, with several addresses, and moved to another one.

use std::process::Command;

use super::super::support::oracle::EXACT;
use super::super::support::process::{after, wrap};
use super::super::support::{Bed, Loki, Sent, Skald, address, always, answer, eventually};
use super::needs;
use super::tools::works;

/// Whether a process can have names of its own.
fn can_name() -> bool {
    let script = "mount --bind /etc/hosts /etc/hosts && test -f /etc/nsswitch.conf";
    works(Command::new("unshare").args(["-m", "sh", "-c", script]))
}

#[test]
fn a_name_is_looked_up_again_when_loki_is_not_there_any_more() {
    if !needs("mount namespace", can_name()) {
        return;
    }
    let (mut bed, mut sent) = (Bed::new(), Sent::default());
    let (nobody, second) = (address(3100), Loki::start());
    bed.url = Some("http://loki.test:3100".to_owned());
    let (hosts, switch) = (bed.path("hosts"), bed.path("nsswitch.conf"));
    let named = |addresses: &[std::net::SocketAddr]| {
        let lines = addresses.iter().map(|address| format!("{} loki.test\n", address.ip()));
        // In place: it is mounted.
        fs_err::write(&hosts, lines.collect::<String>()).unwrap();
    };
    named(&[]);
    fs_err::write(&switch, "hosts: files\n").unwrap();
    let mount = format!(
        "mount --bind {} /etc/hosts && mount --bind {} /etc/nsswitch.conf",
        hosts.display(),
        switch.display()
    );
    let mut outer = Command::new("unshare");
    outer.arg("-m");
    bed.append("a.log", sent.lines("a", 100));
    let skald = Skald::spawn(&mut wrap(outer, &after(&mount, &bed.command())));
    eventually("tries", || 2 < bed.metrics().get("push_retries_total{why=\"connect\"}"));
    bed.adds_up();
    // Two addresses, one of them dead.
    named(&[nobody, bed.loki.addr()]);
    bed.wait_for(&sent);
    bed.append("a.log", sent.lines("a", 100));
    bed.wait_for(&sent);
    // It moves, and the old one lives on and takes nothing: its connection would do for ever.
    let first = bed.loki.copies();
    bed.loki.answers().add([always(answer(503, "Ingester is shutting down"))]);
    named(&[second.addr()]);
    let mut moved = Sent::default();
    bed.append("b.log", moved.lines("b", 100));
    eventually("the other address", || moved.arrived(second.store()) == 100);
    bed.append("b.log", moved.lines("b", 10));
    eventually("fresh lines", || moved.arrived(second.store()) == 110);
    assert_ne!(bed.loki.pushes("503"), 0, "the fault did not happen");
    bed.adds_up();
    skald.stop_well();
    assert_eq!(bed.loki.copies(), first);
    assert_eq!(sent.found(bed.loki.store()), EXACT);
    assert_eq!(moved.found(second.store()), EXACT);
}
