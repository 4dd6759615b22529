//! What differs from one look to the next.

use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;
use crate::discover::scan::EXACT_AGE_MAX;

#[test]
fn files_come_move_and_go() {
    let tree = Tree::new(&["/a.log", "/b.log"]);
    let mut scanner = tree.scanner(&["*.log*", "late/*"]);
    let mut check = |expected: &str| assert_eq!(tree.changes(&mut scanner), expected);
    check("+/a.log +/b.log");
    check("");
    tree.write("/c.log");
    check("+/c.log");
    // Rotation: rename and create.
    tree.rename("/a.log", "/a.log.1");
    tree.write("/a.log");
    check("+/a.log >/a.log.1");
    // Twice between two looks.
    tree.rename("/a.log.1", "/a.log.2");
    tree.rename("/a.log", "/a.log.1");
    tree.write("/a.log");
    check("+/a.log >/a.log.1 >/a.log.2");
    tree.rename("/b.log", "/b.gone");
    check("-1");
    tree.rename("/b.gone", "/b.log");
    check("+/b.log");
    // Replaced by a rename over it.
    tree.rename("/c.log", "/b.log");
    check(">/b.log -1");
    tree.remove("/b.log");
    check("-1");
    tree.write("/late/a");
    check("+/late/a");
    fs_err::remove_dir_all(tree.path("late")).unwrap();
    check("-1");
}

#[test]
fn what_was_rotated_out_of_the_globs_is_found() {
    let tree = Tree::new(&["/a.log", "/a.log.1.gz", "/b.txt.1", "/real/c.log"]);
    symlink(tree.path("real/c.log"), tree.path("c.log")).unwrap();
    let mut globs = tree.globs(0, &["*.log"]);
    globs.symlink_roots = vec![tree.path("real")];
    globs.exclude = vec!["*.err.1".to_owned()];
    let mut scanner = scanner([globs]);
    let mut check = |expected: &str| assert_eq!(tree.changes(&mut scanner), expected);
    check("+/a.log ~/a.log.1.gz +/c.log");
    // Twice between two looks: one was never seen under its first name.
    tree.rename("/a.log", "/a.log.2");
    tree.write("/a.log.1");
    tree.write("/a.log");
    check("+/a.log ~/a.log.1 >/a.log.2");
    tree.rename("/a.log.2", "/a.log.3");
    check(">/a.log.3");
    // Beside the file, not beside the link.
    tree.rename("/real/c.log", "/real/c.log.20261125-101010");
    tree.write("/real/c.log");
    check("+/c.log >/real/c.log.20261125-101010");
    tree.write("/a.err.log");
    tree.write("/a.err.1");
    tree.write("/a.log.tmp");
    check("+/a.err.log");
    tree.rename("/a.log.3", "/archive");
    check("-1");
}

#[test]
fn a_replaced_file_is_another() {
    let tree = Tree::new(&["/a.log"]);
    let mut scanner = tree.scanner(&["*.log"]);
    let before = scanner.changes(now(0)).appeared[0].node;
    tree.write("/other");
    tree.rename("/other", "/a.log");
    let changes = scanner.changes(now(0));
    assert_eq!(changes.gone, [before]);
    assert_eq!(changes.appeared.len(), 1);
    assert_ne!(changes.appeared[0].node, before);
}

#[test]
fn one_entry_for_a_file_with_two_names() {
    let tree = Tree::new(&["/b.log"]);
    fs_err::hard_link(tree.path("b.log"), tree.path("c.log")).unwrap();
    let mut scanner = tree.scanner(&["*.log"]);
    let mut check = |expected: &str| assert_eq!(tree.changes(&mut scanner), expected);
    check("+/b.log");
    // The name it has stays.
    fs_err::hard_link(tree.path("b.log"), tree.path("a.log")).unwrap();
    check("");
    tree.remove("/b.log");
    check(">/a.log");
    tree.remove("/a.log");
    check(">/c.log");
    tree.remove("/c.log");
    check("-1");
}

#[test]
fn a_folder_that_is_closed_for_a_while_loses_nothing() {
    let tree = Tree::new(&["/in/a.log", "/b.log"]);
    let mut scanner = tree.scanner(&["**/*.log"]);
    assert_eq!(tree.changes(&mut scanner), "+/b.log +/in/a.log");
    let folder = tree.path("in");
    fs_err::set_permissions(&folder, Permissions::from_mode(0o000)).unwrap();
    let is_closed = fs_err::read_dir(&folder).is_err();
    assert_eq!(tree.changes(&mut scanner), "");
    // Root reads it all the same.
    if is_closed {
        let troubles = tree.troubles(&scanner);
        assert!(troubles.contains("/in cannot be looked at; its files wait"), "{troubles}");
    }
    fs_err::set_permissions(&folder, Permissions::from_mode(0o755)).unwrap();
    assert_eq!(tree.changes(&mut scanner), "");
    assert_eq!(tree.troubles(&scanner), "");
}

/// What a scan cannot look at stays; what is gone is gone.
#[test]
fn blind_is_not_gone() {
    let tree = Tree::new(&["/in/a.log"]);
    let mut scanner = tree.scanner(&["in/*.log"]);
    scanner.changes(now(0));
    for (kind, gone) in [
        (std::io::ErrorKind::PermissionDenied, 0),
        (std::io::ErrorKind::Other, 0),
        (std::io::ErrorKind::NotFound, 1),
    ] {
        scanner.seen.begin();
        scanner.seen.failed(&tree.path("in"), &kind.into());
        assert_eq!(scanner.seen.finish().gone.len(), gone, "{kind:?}");
    }
}

#[test]
fn quiet_folders_are_not_read_again() {
    let tree = Tree::new(&["/a.log", "/in/a.log"]);
    let mut scanner = tree.scanner(&["**/*.log"]);
    // Far enough ahead that every change counts as settled.
    let at = |seconds| Now { mono: Duration::from_secs(seconds), wall: UnixNanos(i64::MAX) };
    scanner.changes(at(0));
    scanner.changes(at(1));
    assert_eq!(scanner.seen.turn, 1);
    // Within one step of its clock a folder's time may stay the same.
    let mut number = 0;
    while scanner.seen.turn == 1 {
        number += 1;
        tree.write(&format!("/in/{number}.log"));
        scanner.changes(at(2));
    }
    assert_eq!(scanner.files().count(), 2 + number);
    scanner.changes(at(3));
    assert_eq!(scanner.seen.turn, 2);
    scanner.changes(at(2 + EXACT_AGE_MAX.as_secs()));
    assert_eq!(scanner.seen.turn, 3);

    // A folder that has just changed is read again, whatever its time says.
    scanner.changes(now(2000));
    scanner.changes(now(2001));
    assert_eq!(scanner.seen.turn, 5);
}

#[test]
fn ten_thousand_files() {
    const FILES: usize = 10_000;
    let tree = Tree::new(&[]);
    let folder = tree.path("");
    for number in 0..FILES {
        fs_err::File::create(folder.join(format!("service-{number}.log"))).unwrap();
    }
    let mut scanner = tree.scanner(&["*.log"]);
    assert_eq!(scanner.changes(now(0)).appeared.len(), FILES);
    assert!(scanner.changes(now(1)).is_empty());
    tree.rename("service-77.log", "renamed.log");
    assert_eq!(tree.changes(&mut scanner), ">/renamed.log");
}
