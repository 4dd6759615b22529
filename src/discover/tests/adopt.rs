//! Other globs for a scanner that has looked.

use std::sync::Arc;

use super::super::seen::{Name, Seen};
use super::*;

#[test]
fn other_globs_differ_by_what_they_match() {
    let tree = Tree::new(&["/a.log", "/b.log", "/c.log", "/d.log", "/d.log.1"]);
    let mut scanner = tree.scanner(&["a.log", "b.log", "d.log"]);
    assert_eq!(tree.changes(&mut scanner), "+/a.log +/b.log +/d.log ~/d.log.1");
    tree.remove("/b.log");
    tree.rename("/a.log", "/e.log");
    // What is gone is not left: it has to be read to its end.
    scanner.adopt(tree.scanner(&["c.log", "e.log"]));
    assert_eq!(tree.changes(&mut scanner), "+/c.log >/e.log -1 !2");
    assert_eq!(tree.changes(&mut scanner), "");
    // The same again, without a look between two of them.
    scanner.adopt(tree.scanner(&["d.log"]));
    scanner.adopt(tree.scanner(&["c.log", "e.log"]));
    assert_eq!(tree.changes(&mut scanner), "");
}

#[test]
fn a_file_goes_to_the_source_that_comes_first() {
    let tree = Tree::new(&["/a.log", "/b.log"]);
    let mut scanner = scanner([tree.globs(0, &["*.log"])]);
    assert_eq!(tree.changes(&mut scanner), "+/a.log +/b.log");
    // Whatever its number.
    scanner.adopt(super::scanner([tree.globs(1, &["a.log"]), tree.globs(0, &["*.log"])]));
    let changes = scanner.changes(now(0));
    let nodes = |found: &[Found]| found.iter().map(|found| found.node).collect::<Vec<_>>();
    assert_eq!((changes.left.clone(), changes.gone.len()), (nodes(&changes.appeared), 0));
    assert_eq!(changes.appeared.iter().map(|found| found.source.0).collect::<Vec<_>>(), [1]);
    scanner.adopt(super::scanner([tree.globs(0, &["*.log"]), tree.globs(1, &["a.log"])]));
    let changes = scanner.changes(now(0));
    assert_eq!(changes.appeared.iter().map(|found| found.source.0).collect::<Vec<_>>(), [0]);
}

/// Rotation deletes the oldest file, and the new one gets its number: nothing was renamed.
#[test]
fn the_number_of_a_deleted_file_may_be_a_new_ones() {
    let name = |path: &str, birth| {
        let path: Arc<Path> = Path::new(path).into();
        let (stem, source, birth) = (Arc::clone(&path), SourceId(0), Some(UnixNanos(birth)).into());
        Name { is_outside: false, order: 0, source, is_link: false, path, stem, birth }
    };
    let node = |inode| Node { device: 1, inode };
    let mut seen = Seen::default();
    seen.begin();
    assert_eq!(seen.admit(node(1), name("/a.log.2", 10)), None);
    assert_eq!(seen.admit(node(2), name("/a.log", 20)), None);
    assert_eq!(seen.finish().appeared.len(), 2);
    seen.begin();
    assert_eq!(seen.admit(node(1), name("/a.log", 30)), None);
    assert_eq!(seen.admit(node(2), name("/a.log.1", 20)), None);
    let changes = seen.finish();
    let paths = |found: &[Found]| found.iter().map(|found| found.path.clone()).collect::<Vec<_>>();
    assert_eq!((&changes.gone[..], changes.renamed.len()), (&[node(1)][..], 1));
    assert_eq!(paths(&changes.appeared), [Path::new("/a.log").into()]);
    assert_eq!(seen.files().count(), 2);
    // And when the globs have changed as well.
    let mut other = Seen::default();
    other.begin();
    assert_eq!(other.admit(node(2), name("/a.log", 40)), None);
    other.finish();
    let changes = other.since(seen);
    assert_eq!((changes.gone.len(), changes.renamed.len(), changes.left.len()), (2, 0, 0));
    assert_eq!(paths(&changes.appeared), [Path::new("/a.log").into()]);
}
