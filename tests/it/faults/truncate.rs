//! Copy and truncate, with any growth afterwards, and heads that are holes.

use std::io::{Seek as _, SeekFrom, Write as _};
use std::time::Duration;

use rustix::process::Signal;

use crate::support::oracle::EXACT;
use crate::support::{Bed, Found, Sent, eventually, settled};

/// How the new content compares with the old offset when the agent looks again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Growth {
    Shorter,
    Equal,
    Longer,
}

#[derive(Debug, Clone, Copy)]
struct Case {
    growth: Growth,
    same_head: bool,
    /// Whether the copy is in the globs.
    in_glob: bool,
    /// Lines that the agent had not read when the file was copied.
    unread: u64,
}

const HEAD: &str = "# a banner that begins every generation of this file\n";

fn copytruncate(case: Case) {
    let (mut bed, mut sent) = (Bed::new(), Sent::default());
    bed.glob = if case.in_glob { "app.log*" } else { "app.log" }.to_owned();
    bed.append("app.log", HEAD);
    bed.append("app.log", sent.lines("app", 50));
    let skald = bed.run();
    bed.wait_for(&sent);
    bed.wait_until_idle(1);
    let offset = fs_err::metadata(bed.log("app.log")).unwrap().len();
    skald.signal(Signal::STOP);
    bed.append("app.log", sent.lines("app", case.unread));
    fs_err::copy(bed.log("app.log"), bed.log("app.log.1")).unwrap();
    fs_err::OpenOptions::new().write(true).truncate(true).open(bed.log("app.log")).unwrap();
    if case.same_head {
        bed.append("app.log", HEAD);
    }
    let size = || fs_err::metadata(bed.log("app.log")).unwrap().len();
    match case.growth {
        Growth::Shorter => bed.append("app.log", sent.lines("app", 10)),
        Growth::Longer => bed.append("app.log", sent.lines("app", 150)),
        Growth::Equal => {
            while size() + 400 < offset {
                bed.append("app.log", sent.lines("app", 1));
            }
            let empty = sent.clone().line("app", ",\"pad\":\"\"").len() as u64;
            let pad = "x".repeat(usize::try_from(offset - size() - empty).unwrap());
            bed.append("app.log", sent.line("app", &format!(",\"pad\":\"{pad}\"")));
            assert_eq!(size(), offset);
        }
    }
    skald.signal(Signal::CONT);
    bed.wait_for(&sent);
    bed.append("app.log", sent.lines("app", 10));
    bed.wait_for(&sent);
    // The copy is not a new file.
    settled(Duration::from_secs(3), || bed.loki.copies());
    bed.adds_up();
    skald.stop_well();
    let foreign = 1 + u64::from(case.same_head);
    let found = sent.found(bed.loki.store());
    assert_eq!(found, Found { foreign, ..EXACT }, "{case:?}");
}

#[test]
fn copy_and_truncate_with_any_growth() {
    std::thread::scope(|scope| {
        for growth in [Growth::Shorter, Growth::Equal, Growth::Longer] {
            for same_head in [false, true] {
                for in_glob in [false, true] {
                    for unread in [0, 20] {
                        let case = Case { growth, same_head, in_glob, unread };
                        scope.spawn(move || copytruncate(case));
                    }
                }
            }
        }
    });
}

/// A writer that does not append leaves a hole where its old lines were.
#[test]
fn a_head_that_is_a_hole_of_gigabytes_is_skipped() {
    const HOLE: u64 = 3 << 30;
    let (bed, mut sent) = (Bed::new(), Sent::default());
    let mut file = fs_err::File::create(bed.log("app.log")).unwrap();
    file.write_all(sent.lines("app", 20).as_bytes()).unwrap();
    let skald = bed.run();
    bed.wait_for(&sent);
    bed.wait_until_idle(1);
    file.seek(SeekFrom::Start(HOLE)).unwrap();
    for _ in 0..2 {
        file.set_len(0).unwrap();
        file.write_all(sent.lines("app", 20).as_bytes()).unwrap();
        bed.wait_for(&sent);
        file.write_all(sent.lines("app", 20).as_bytes()).unwrap();
        bed.wait_for(&sent);
    }
    let metrics = bed.adds_up();
    let skipped = metrics.sum("bytes_skipped_total");
    assert!((2 * HOLE..2 * HOLE + 100_000).contains(&skipped), "{skipped}");
    let peak = skald.status("VmHWM");
    assert!(peak < 64 << 10, "{peak} KiB");
    eventually("truncations", || bed.metrics().get("truncations_total") == 2);
    skald.stop_well();
    assert_eq!(sent.found(bed.loki.store()), EXACT);
}
