//! The scanner on real folders. `/` stands for the temporary folder.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::*;
use crate::model::{Now, SourceId, UnixNanos};

mod adopt;
mod changes;
mod hints;
mod links;

struct Tree(tempfile::TempDir);

impl Tree {
    fn new(files: &[&str]) -> Self {
        let tree = Self(tempfile::tempdir().unwrap());
        for file in files {
            tree.write(file);
        }
        tree
    }

    fn path(&self, path: &str) -> PathBuf {
        // The real path, as some systems keep their temporary folder behind a link.
        self.0.path().canonicalize().unwrap().join(path.trim_start_matches('/'))
    }

    fn write(&self, path: &str) {
        let path = self.path(path);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, "a line\n").unwrap();
    }

    fn rename(&self, from: &str, to: &str) {
        fs_err::rename(self.path(from), self.path(to)).unwrap();
    }

    fn remove(&self, path: &str) {
        fs_err::remove_file(self.path(path)).unwrap();
    }

    fn link(&self, from: &str, to: &str) {
        let to = if to.starts_with('/') { self.path(to) } else { to.into() };
        fs_err::create_dir_all(self.path(from).parent().unwrap()).unwrap();
        symlink(to, self.path(from)).unwrap();
    }

    fn globs(&self, source: u16, globs: &[&str]) -> SourceGlobs {
        let text = |glob: &&str| self.path(glob).to_str().unwrap().to_owned();
        SourceGlobs {
            source: SourceId(source),
            globs: globs.iter().map(text).collect(),
            exclude: Vec::new(),
            symlink_roots: Vec::new(),
        }
    }

    /// One source.
    fn scanner(&self, globs: &[&str]) -> Scanner {
        scanner([self.globs(0, globs)])
    }

    fn show(&self, path: &Path) -> String {
        format!("/{}", path.strip_prefix(self.path("")).unwrap().display())
    }

    /// The paths of all files, sorted.
    fn files(&self, scanner: &mut Scanner) -> Vec<String> {
        scanner.changes(now(0));
        let matches = scanner.files().filter(|found| !found.is_outside);
        let mut paths: Vec<String> = matches.map(|found| self.show(&found.path)).collect();
        paths.sort();
        paths
    }

    fn troubles(&self, scanner: &Scanner) -> String {
        scanner.troubles().join("\n").replace(&self.path("").display().to_string(), "/")
    }

    /// `+` appeared, `~` appeared as a rotated file, `>` renamed, `-` how many are gone, `!` how many
    /// are left.
    fn changes(&self, scanner: &mut Scanner) -> String {
        let Changes { appeared, renamed, gone, left } = scanner.changes(now(0));
        let mut shown: Vec<String> = Vec::new();
        shown.extend(appeared.iter().map(|found| {
            let sign = if found.is_outside { '~' } else { '+' };
            format!("{sign}{}", self.show(&found.path))
        }));
        shown.extend(renamed.iter().map(|renamed| format!(">{}", self.show(&renamed.path))));
        if !gone.is_empty() {
            shown.push(format!("-{}", gone.len()));
        }
        if !left.is_empty() {
            shown.push(format!("!{}", left.len()));
        }
        shown.join(" ")
    }
}

fn scanner(sources: impl Into<Vec<SourceGlobs>>) -> Scanner {
    Scanner::new(&Options { sources: sources.into() }).unwrap()
}

/// The wall clock stands before any change, so that no folder can pass for unchanged.
fn now(seconds: u64) -> Now {
    Now { mono: Duration::from_secs(seconds), wall: UnixNanos(0) }
}

#[test]
fn globs_match() {
    let tree = Tree::new(&[
        "/a.log",
        "/a.log.1",
        "/a.log.2.gz",
        "/b.json",
        "/.hidden.log",
        "/x/a.log",
        "/x/b.txt",
        "/x/y/a.log",
        "/x/y/z/b.log",
        "/w/y/a.log",
        "/w/y.tmp/a.log",
        "/w/[1]/a b.log",
    ]);
    let cases: [(&[&str], &[&str], &[&str]); 22] = [
        (&["a.log"], &[], &["/a.log"]),
        (&["/./x//a.log"], &[], &["/x/a.log"]),
        (&["*.log"], &[], &["/.hidden.log", "/a.log"]),
        (&["a.log*"], &[], &["/a.log", "/a.log.1"]),
        (&["a.log{,.1}"], &[], &["/a.log", "/a.log.1"]),
        (&["?.{log,json}"], &[], &["/a.log", "/b.json"]),
        (&["[!a].json"], &[], &["/b.json"]),
        (&["*/a.log"], &[], &["/x/a.log"]),
        (&["*/y/*.log"], &[], &["/w/y/a.log", "/x/y/a.log"]),
        (&["{x,w/y}/*.log"], &[], &["/w/y/a.log", "/x/a.log"]),
        (&["**/b.*"], &[], &["/b.json", "/x/b.txt", "/x/y/z/b.log"]),
        (&["x/**"], &[], &["/x/a.log", "/x/b.txt", "/x/y/a.log", "/x/y/z/b.log"]),
        (&["x/**/*.log"], &[], &["/x/a.log", "/x/y/a.log", "/x/y/z/b.log"]),
        (&["*/y/**/b.log"], &[], &["/x/y/z/b.log"]),
        (&["w/*/a.log"], &[], &["/w/y.tmp/a.log", "/w/y/a.log"]),
        (&["w/[[]1]/*"], &[], &["/w/[1]/a b.log"]),
        (&["w/\\[1\\]/*"], &[], &["/w/[1]/a b.log"]),
        (&["*.log", "*.json", "a.*"], &["a.*"], &["/.hidden.log", "/b.json"]),
        (&["x/**/*.log"], &["x/y/*"], &["/x/a.log", "/x/y/z/b.log"]),
        (&["x/**/*.log"], &["x/y/**"], &["/x/a.log"]),
        (&["a.log.2*"], &[], &[]),
        (&["none/*.log", "a.log/*"], &[], &[]),
    ];
    for (globs, exclude, expected) in cases {
        let mut source = tree.globs(0, globs);
        let whole = |glob: &&str| match glob.contains('/') {
            true => tree.path(glob).to_str().unwrap().to_owned(),
            false => (*glob).to_owned(),
        };
        source.exclude = exclude.iter().map(whole).collect();
        assert_eq!(tree.files(&mut scanner([source])), expected, "{globs:?} but {exclude:?}");
    }
}

#[test]
fn globs_are_refused() {
    let cases = [
        ("logs/*.log", "glob `logs/*.log` is not an absolute path"),
        ("", "glob `` is not an absolute path"),
        ("/", "glob `/` names no file"),
        ("/var/[a", "glob `/var/[a` is not valid: unclosed character class; missing ']'"),
        (
            "/var/*.gz",
            "glob `/var/*.gz` matches only compressed or temporary files, which are never read",
        ),
    ];
    for (glob, expected) in cases {
        assert_eq!(check_glob(glob).unwrap_err().to_string(), expected);
    }
    assert!(check_exclude("*.{a").is_err());
    check_exclude("*.gz").unwrap();
}

/// A walk looks only where a match can be.
#[test]
fn folders_are_those_of_the_glob() {
    let tree = Tree::new(&["/pods/a/app/0.log", "/pods/a/b/c/0.log", "/other/app/0.log"]);
    let cases: [(&str, &[&str]); 4] = [
        ("*.log", &["/"]),
        ("pods/*/app/*.log", &["/pods", "/pods/a", "/pods/a/app"]),
        ("pods/*/b/**/0.log", &["/pods", "/pods/a", "/pods/a/b", "/pods/a/b/c"]),
        ("*/app/*.log", &["/", "/other", "/other/app", "/pods"]),
    ];
    for (glob, expected) in cases {
        let mut scanner = tree.scanner(&[glob]);
        scanner.changes(now(0));
        let mut folders: Vec<String> = scanner.folders().map(|(path, _)| tree.show(path)).collect();
        folders.sort();
        assert_eq!(folders, expected, "{glob}");
    }
}

#[test]
fn what_is_no_file_is_named() {
    let tree = Tree::new(&["/a.log", "/folder.log/inner.txt", "/left.gz/a"]);
    let _socket = std::os::unix::net::UnixListener::bind(tree.path("socket.log")).unwrap();
    #[cfg(target_os = "linux")]
    rustix::fs::mknodat(
        rustix::fs::CWD,
        tree.path("fifo.log"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR,
        0,
    )
    .unwrap();
    let mut scanner = tree.scanner(&["*"]);
    assert_eq!(tree.files(&mut scanner), ["/a.log"]);
    let troubles = tree.troubles(&scanner);
    for path in ["/folder.log", "/socket.log"] {
        assert!(troubles.contains(&format!("{path} matches a glob, but is not")), "{troubles}");
    }
    assert_eq!(troubles.contains("/fifo.log"), cfg!(target_os = "linux"));
    assert!(!troubles.contains("left.gz"));
}

#[test]
fn a_path_need_not_be_text() {
    use std::os::unix::ffi::OsStrExt;
    let tree = Tree::new(&[]);
    let folder = tree.path("").join(std::ffi::OsStr::from_bytes(b"caf\xe9"));
    // Some file systems refuse such names: then there is nothing to find.
    if fs_err::create_dir(&folder).is_err() {
        return;
    }
    let file = folder.join(std::ffi::OsStr::from_bytes(b"\xff\xfe.log"));
    fs_err::write(&file, "").unwrap();
    for glob in ["*/*.log", "**/*.log", "caf?/*"] {
        let changes = tree.scanner(&[glob]).changes(now(0));
        assert_eq!(changes.appeared.len(), 1, "{glob}");
        assert_eq!(*changes.appeared[0].path, *file);
    }
}

#[test]
fn the_first_source_has_a_file() {
    let tree = Tree::new(&["/a.log", "/b.log"]);
    let sources = [tree.globs(3, &["b.*"]), tree.globs(7, &["*.log"])];
    let mut scanner = scanner(sources);
    let changes = scanner.changes(now(0));
    let owners: Vec<_> =
        changes.appeared.iter().map(|found| (tree.show(&found.path), found.source.0)).collect();
    assert_eq!(owners, [("/b.log".to_owned(), 3), ("/a.log".to_owned(), 7)]);
    assert_eq!(
        tree.troubles(&scanner),
        "/*.log matches files that another source has; each file is read once, by the first \
         (such as /b.log)"
    );
}
