//! Symbolic links.

use super::*;

#[test]
fn links_stay_inside() {
    let tree = Tree::new(&["/in/real.log", "/in/sub/a.log", "/out/secret.log", "/pods/p.log"]);
    tree.link("/in/link.log", "real.log");
    tree.link("/in/out.log", "/out/secret.log");
    tree.link("/in/pod.log", "/pods/p.log");
    tree.link("/in/dangling.log", "nowhere");
    tree.link("/in/self.log", "self.log");
    tree.link("/in/folder.log", "sub");
    let mut scanner = tree.scanner(&["in/*.log"]);
    assert_eq!(tree.files(&mut scanner), ["/in/real.log"]);
    let troubles = tree.troubles(&scanner);
    for path in ["/in/out.log is a link", "/in/pod.log is a link", "/in/self.log cannot be"] {
        assert!(troubles.contains(path), "{troubles}");
    }
    assert!(troubles.contains("/in/folder.log matches a glob, but is not"), "{troubles}");
    assert!(!troubles.contains("dangling"), "{troubles}");

    let mut source = tree.globs(0, &["in/*.log"]);
    source.symlink_roots = vec![tree.path("pods"), tree.path("missing")];
    assert_eq!(tree.files(&mut super::scanner([source])), ["/in/pod.log", "/in/real.log"]);
}

/// The roots of one source open nothing to another.
#[test]
fn roots_belong_to_their_source() {
    let tree = Tree::new(&["/a/a.log", "/b/b.json"]);
    tree.link("/a/b.log", "/b/b.json");
    let mut scanner = scanner([tree.globs(0, &["a/*.log"]), tree.globs(1, &["b/*.log"])]);
    assert_eq!(tree.files(&mut scanner), ["/a/a.log"]);
}

#[test]
fn folders_behind_links() {
    let tree = Tree::new(&["/in/v1/a.log", "/out/b.log"]);
    tree.link("/in/current", "v1");
    tree.link("/in/v1/up", "/in");
    tree.link("/in/v1/also", "..");
    tree.link("/in/away", "/out");
    let mut deep = tree.scanner(&["in/**/*.log"]);
    assert_eq!(tree.files(&mut deep), ["/in/v1/a.log"]);
    let mut exact = tree.scanner(&["in/current/*.log"]);
    assert_eq!(tree.files(&mut exact), ["/in/current/a.log"]);
    let mut stars = tree.scanner(&["in/c*/*.log", "in/*/up/v1/*.log"]);
    assert_eq!(tree.files(&mut stars), ["/in/current/a.log"]);
}

/// The way of the kubelet: a link to a link whose target is replaced.
#[test]
fn a_link_is_followed_as_its_target_changes() {
    let tree = Tree::new(&["/pods/p/0.log"]);
    tree.link("/containers/p.log", "/pods/p/0.log");
    let mut source = tree.globs(0, &["containers/*.log"]);
    source.symlink_roots = vec![tree.path("pods")];
    let mut scanner = scanner([source]);
    let mut check = |expected: &str| assert_eq!(tree.changes(&mut scanner), expected);
    check("+/containers/p.log");
    check("");
    tree.rename("/pods/p/0.log", "/pods/p/0.log.1");
    check("-1");
    tree.write("/pods/p/0.log");
    check("+/containers/p.log ~/pods/p/0.log.1");
    // Retargeted by a rename over the link.
    tree.write("/pods/p/1.log");
    tree.link("/containers/new", "/pods/p/1.log");
    tree.rename("/containers/new", "/containers/p.log");
    check("+/containers/p.log -2");
}

/// Nothing changes in the folder that has the link.
#[test]
fn a_replaced_target_is_noticed_in_quiet_folders() {
    let tree = Tree::new(&["/pods/0.log"]);
    tree.link("/in/p.log", "/pods/0.log");
    let mut source = tree.globs(0, &["in/*.log"]);
    source.symlink_roots = vec![tree.path("pods")];
    let mut scanner = scanner([source]);
    let at = |seconds| Now { mono: Duration::from_secs(seconds), wall: UnixNanos(i64::MAX) };
    assert_eq!(scanner.changes(at(0)).appeared.len(), 1);
    assert!(scanner.changes(at(1)).is_empty());
    tree.write("/pods/new");
    tree.rename("/pods/new", "/pods/0.log");
    let changes = scanner.changes(at(2));
    assert_eq!((changes.appeared.len(), changes.gone.len()), (1, 1));
}
