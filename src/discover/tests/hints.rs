//! notify, live, and what is made of it.

use std::collections::BTreeSet;
use std::io::Write;
use std::sync::mpsc::{Receiver, channel};

use notify::event::{
    AccessKind, AccessMode, CreateKind, DataChange, Event, EventKind, Flag, MetadataKind,
    ModifyKind, RemoveKind, RenameMode,
};

use super::*;
use crate::discover::flood::Flood;
use crate::discover::hints::Pending;

#[test]
fn only_names_and_data_count() {
    let data = EventKind::Modify(ModifyKind::Data(DataChange::Any));
    let rename = EventKind::Modify(ModifyKind::Name(RenameMode::From));
    let cases = [
        (EventKind::Create(CreateKind::File), "look"),
        (EventKind::Remove(RemoveKind::File), "look lost"),
        (rename, "look lost"),
        (EventKind::Modify(ModifyKind::Name(RenameMode::To)), "look"),
        (data, "data"),
        (EventKind::Modify(ModifyKind::Metadata(MetadataKind::Any)), ""),
        (EventKind::Access(AccessKind::Open(AccessMode::Any)), ""),
        (EventKind::Access(AccessKind::Close(AccessMode::Write)), ""),
    ];
    for (kind, expected) in cases {
        let mut pending = Pending::default();
        let is_first = pending.note(Ok(Event::new(kind).add_path("/a".into())));
        let mut shown = Vec::new();
        shown.extend(pending.look.then_some("look"));
        shown.extend((!pending.data.is_empty()).then_some("data"));
        shown.extend((!pending.lost.is_empty()).then_some("lost"));
        assert_eq!(shown.join(" "), expected, "{kind:?}");
        assert_eq!(is_first, !expected.is_empty(), "{kind:?}");
        assert!(!pending.note(Ok(Event::new(data).add_path("/a".into()))) || expected.is_empty());
    }
    let mut pending = Pending::default();
    assert!(pending.note(Ok(Event::new(EventKind::Other).set_flag(Flag::Rescan))));
    assert!(pending.look, "an overflow");
    assert!(Pending::default().note(Err(notify::Error::generic("broken"))));
}

#[test]
fn a_folder_floods_above_a_thousand_a_second() {
    let mut flood = Flood::default();
    let folder = Path::new("/logs");
    let mut check = |hints: u64, millis: u64, is_calm: bool| {
        let now = Duration::from_millis(millis);
        assert_eq!(flood.note(folder, hints, now), is_calm, "{hints} at {millis} ms");
        assert_eq!(flood.is_flooded(folder, now), !is_calm);
    };
    check(1000, 0, true);
    check(900, 1000, true);
    check(900, 2000, true);
    check(200, 2000, true);
    check(1, 2000, false);
    check(1, 31_999, false);
    check(1, 32_000, true);
    // Many at once, but over a long time.
    check(5000, 40_000, true);
    check(1001, 40_000, false);

    // It has flooded twice within a minute: then it is polled for longer.
    check(1, 99_999, false);
    check(1, 100_000, true);

    flood.forget(Duration::from_secs(159));
    assert!(!format!("{flood:?}").contains("{}"), "its past counts");
    flood.forget(Duration::from_secs(161));
    assert!(format!("{flood:?}").contains("{}"));
}

/// Folders of which none has a thousand hints, but all together more than six thousand.
#[test]
fn many_folders_flood_together_and_the_quiet_ones_are_spared() {
    let mut flood = Flood::default();
    let folder = |number: u64| PathBuf::from(format!("/logs/{number}"));
    let mut flooded = BTreeSet::new();
    for milli in 0..10_000 {
        // Folder 0 has one hint a second, each of the others fifty.
        for number in 0..=200 {
            let has_hint = if number == 0 { milli % 1000 == 0 } else { milli % 20 == number % 20 };
            let now = Duration::from_millis(milli);
            if has_hint && !flooded.contains(&number) && !flood.note(&folder(number), 1, now) {
                flooded.insert(number);
            }
        }
    }
    assert!((170..=195).contains(&flooded.len()), "{}: so that 1,000 are left", flooded.len());
}

/// Hints of a real watcher.
struct Live {
    hints: Hints,
    woken: Receiver<()>,
}

impl Live {
    fn new(scanner: &Scanner) -> Self {
        let (wake, woken) = channel();
        let mut hints = Hints::start(move |is_first| {
            // After the test nobody listens.
            let _ = is_first.then(|| wake.send(()));
        });
        hints.watch(scanner.folders(), now(0));
        Self { hints, woken }
    }

    /// Drains until `last` comes.
    fn until(&mut self, last: &Hint) -> Vec<Hint> {
        let mut all = Vec::new();
        while !all.contains(last) {
            let woken = self.woken.recv_timeout(Duration::from_secs(20));
            assert!(woken.is_ok(), "no {last:?} among {all:?}");
            all.extend(self.hints.drain(now(0)));
        }
        all
    }
}

#[test]
fn a_real_folder_gives_hints_but_reading_gives_none() {
    let tree = Tree::new(&["/a.log", "/in/b.log"]);
    let mut scanner = tree.scanner(&["**/*.log"]);
    scanner.changes(now(0));
    let mut live = Live::new(&scanner);
    if !live.hints.is_active() {
        return; // No inotify here: polling is all there is.
    }
    let (a, b) = (tree.path("a.log"), tree.path("in/b.log"));
    let append = |path: &Path| {
        let mut file = fs_err::OpenOptions::new().append(true).open(path).unwrap();
        file.write_all(b"more\n").unwrap();
    };
    // Reading files and folders first; the write behind it shows that no hint was on its way.
    for _ in 0..10 {
        fs_err::read(&a).unwrap();
        scanner.changes(now(0));
    }
    append(&b);
    assert_eq!(live.until(&Hint::Data(b.clone())), [Hint::Data(b.clone())]);
    tree.write("/in/c.log");
    live.until(&Hint::Look);
    tree.rename("/in/c.log", "/in/d.log");
    live.until(&Hint::Look);

    // A folder that was removed and made again is watched again.
    fs_err::remove_dir_all(tree.path("in")).unwrap();
    live.until(&Hint::Look);
    tree.write("/in/b.log");
    live.until(&Hint::Look);
    scanner.changes(now(0));
    live.hints.watch(scanner.folders(), now(0));
    append(&b);
    live.until(&Hint::Data(b));
    assert!(live.hints.is_active());
}

#[test]
fn a_folder_that_floods_is_left_alone_for_a_while() {
    let tree = Tree::new(&["/a.log", "/in/b.log"]);
    let mut scanner = tree.scanner(&["**/*.log"]);
    scanner.changes(now(0));
    let mut live = Live::new(&scanner);
    if !live.hints.is_active() {
        return; // As above.
    }
    let (a, b) = (tree.path("a.log"), tree.path("in/b.log"));
    let mut file = fs_err::OpenOptions::new().append(true).open(&b).unwrap();
    // The kernel merges a hint with an equal one before it: alternate.
    let mut other = fs_err::OpenOptions::new().append(true).open(&a).unwrap();
    let mut hints = Vec::new();
    while live.hints.is_active() {
        file.write_all(b"x").unwrap();
        other.write_all(b"x").unwrap();
        hints = live.hints.drain(now(0));
    }
    let is_last = hints.iter().any(|hint| matches!(hint, Hint::Last(_)));
    assert!(is_last, "of what is left alone: {hints:?}");
    live.hints.watch(scanner.folders(), now(29));
    assert!(!live.hints.is_active());
    live.hints.watch(scanner.folders(), now(31));
    assert!(live.hints.is_active());
}
