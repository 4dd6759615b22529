//! Which file is which: inodes used again, equal heads, empty and tiny files, moves.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::needs;
use super::tools::{Mount, deleted_open, has_loop_mounts};
use crate::support::bed::append;
use crate::support::oracle::EXACT;
use crate::support::{Bed, Found, Sent, Skald, eventually};

/// Lines that no oracle numbered, the same at the head of every file. Longer than what is hashed
/// of a head.
fn banner() -> String {
    "# the same words at the head of every file\n".repeat(40)
}

const BANNER_LINES: u64 = 40;

/// A new file at `name` with the inode `wanted`. Returns whether the file system gave it back.
fn again(name: &Path, wanted: u64) -> bool {
    let file = fs_err::File::create(name).unwrap();
    let is_again = file.metadata().unwrap().ino() == wanted;
    if !is_again {
        fs_err::remove_file(name).unwrap();
    }
    is_again
}

/// A new file has the inode of one that was deleted, and its head, and is shorter, as long or
/// longer; while the agent was away, or after it has closed the old one.
#[test]
fn an_inode_that_is_used_again_is_another_file() {
    if !needs("right to mount a file system in a file", has_loop_mounts()) {
        return;
    }
    let run = |lines: u64, same_head: bool, away: bool| {
        let what = format!("{lines} lines, same head: {same_head}, away: {away}");
        let (bed, mut sent) = (Bed::new(), Sent::default());
        let _mount = Mount::ext4(&bed.path("logs"), &bed.path("image")).unwrap();
        let head = |is_there: bool| if is_there { banner() } else { String::new() };
        bed.append("x.log", head(true));
        bed.append("x.log", sent.lines("old", 20));
        let inode = fs_err::metadata(bed.log("x.log")).unwrap().ino();
        let mut skald = Some(bed.run());
        bed.wait_for(&sent);
        bed.wait_until_idle(1);
        if away {
            skald.take().map(Skald::stop_well);
            fs_err::remove_file(bed.log("x.log")).unwrap();
        } else {
            fs_err::remove_file(bed.log("x.log")).unwrap();
            let skald = skald.as_ref().unwrap();
            eventually("a rotation", || bed.metrics().get("rotations_total") == 1);
            eventually("the old file is closed", || deleted_open(skald).is_empty());
        }
        assert!(again(&bed.log("x.log"), inode), "{what}: the inode is another one");
        bed.append("x.log", head(same_head));
        bed.append("x.log", sent.lines("new", lines));
        let skald = skald.unwrap_or_else(|| bed.run());
        bed.wait_for(&sent);
        bed.append("x.log", sent.lines("new", 5));
        bed.wait_for(&sent);
        bed.adds_up();
        skald.stop_well();
        let foreign = BANNER_LINES * (1 + u64::from(same_head));
        assert_eq!(sent.found(bed.loki.store()), Found { foreign, ..EXACT }, "{what}");
    };
    // Twenty lines of `new` are as long as twenty of `old`.
    std::thread::scope(|scope| {
        for lines in [3, 20, 60] {
            for same_head in [true, false] {
                scope.spawn(move || run(lines, same_head, true));
            }
            scope.spawn(move || run(lines, true, false));
        }
    });
}

#[test]
fn files_with_the_same_head_and_files_of_one_line_are_all_read() {
    let (bed, mut sent) = (Bed::new(), Sent::default());
    let write = |name: String, text: String| fs_err::write(bed.log(&name), text).unwrap();
    let mut unfinished = Vec::new();
    let long = banner().repeat(3);
    for idx in 0..300 {
        write(format!("same{idx}.log"), long.clone() + &sent.lines(&format!("same{idx}"), 2));
        write(format!("one{idx}.log"), sent.lines(&format!("one{idx}"), 1));
        write(format!("empty{idx}.log"), String::new());
    }
    for idx in 0..20 {
        let mut line = sent.lines(&format!("open{idx}"), 1);
        unfinished.push(line.split_off(line.len() - 1));
        write(format!("open{idx}.log"), line);
    }
    let grow = |sent: &mut Sent, kind: &str| {
        (0..300).for_each(|idx| {
            let src = format!("{kind}{idx}");
            bed.append(&format!("{src}.log"), sent.lines(&src, 1));
        });
    };
    let skald = bed.run();
    eventually("all whole lines", || sent.arrived(bed.loki.store()) == sent.count() - 20);
    grow(&mut sent, "empty");
    eventually("the empty ones", || sent.arrived(bed.loki.store()) == sent.count() - 20);
    skald.stop_well();
    grow(&mut sent, "same");
    grow(&mut sent, "one");
    for (idx, end) in unfinished.iter().enumerate() {
        bed.append(&format!("open{idx}.log"), end);
    }
    let skald = bed.run();
    bed.wait_for(&sent);
    bed.adds_up();
    skald.stop_well();
    let foreign = 300 * 3 * BANNER_LINES;
    assert_eq!(sent.found(bed.loki.store()), Found { foreign, ..EXACT });
}

/// The first of two names goes; the other one is the file.
#[test]
fn a_second_name_of_a_file_is_the_same_file() {
    let (bed, mut sent) = (Bed::new(), Sent::default());
    bed.append("a.log", sent.lines("a", 20));
    fs_err::hard_link(bed.log("a.log"), bed.log("b.log")).unwrap();
    let skald = bed.run();
    bed.wait_for(&sent);
    fs_err::remove_file(bed.log("a.log")).unwrap();
    append(&bed.log("b.log"), sent.lines("a", 20).as_bytes());
    bed.wait_for(&sent);
    fs_err::hard_link(bed.log("b.log"), bed.log("c.log")).unwrap();
    // A name that is taken again is another file.
    bed.append("a.log", sent.lines("a2", 20));
    append(&bed.log("c.log"), sent.lines("a", 20).as_bytes());
    bed.wait_for(&sent);
    bed.adds_up();
    skald.stop_well();
    fs_err::remove_file(bed.log("b.log")).unwrap();
    append(&bed.log("c.log"), sent.lines("a", 20).as_bytes());
    let skald = bed.run();
    bed.wait_for(&sent);
    skald.stop_well();
    assert_eq!(sent.found(bed.loki.store()), EXACT);
}

/// As in Kubernetes: names link to names that link to the runtime's files, the globs match both
/// levels, and a link is replaced by another while the old file is still written to.
#[test]
fn links_that_lead_elsewhere_all_at_once() {
    let (mut bed, mut sent) = (Bed::new(), Sent::default());
    let runtime = bed.path("runtime");
    fs_err::create_dir_all(bed.log("containers")).unwrap();
    fs_err::create_dir_all(bed.log("pods/web")).unwrap();
    bed.source = format!("    symlink_roots: [{}]", runtime.display());
    let file = |name: &str| runtime.join(name).join("json.log");
    let link = |target: &Path| {
        let temp = bed.log("pods/web/.new");
        std::os::unix::fs::symlink(target, &temp).unwrap();
        fs_err::rename(&temp, bed.log("pods/web/0.log")).unwrap();
    };
    std::os::unix::fs::symlink(bed.log("pods/web/0.log"), bed.log("containers/web.log")).unwrap();
    append(&file("one"), sent.lines("one", 20).as_bytes());
    link(&file("one"));
    let skald = bed.run();
    bed.wait_for(&sent);
    append(&file("two"), sent.lines("two", 20).as_bytes());
    link(&file("two"));
    append(&file("one"), sent.lines("one", 20).as_bytes());
    append(&file("two"), sent.lines("two", 20).as_bytes());
    bed.wait_for(&sent);
    // A link may be there before its file is.
    link(&file("three"));
    append(&file("two"), sent.lines("two", 20).as_bytes());
    bed.wait_for(&sent);
    append(&file("three"), sent.lines("three", 20).as_bytes());
    bed.wait_for(&sent);
    bed.adds_up();
    skald.stop_well();
    assert_eq!(sent.found(bed.loki.store()), EXACT);
}
