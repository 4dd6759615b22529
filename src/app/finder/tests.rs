//! What readers are told when files go from one source to another, or wait for their pods.

use std::time::Duration;

use super::*;
use crate::model::{FileKey, Identity, Mark, MaybeNanos, UnixNanos};
use crate::tail::News;

const NOW: Now = Now { mono: Duration::from_secs(1), wall: UnixNanos(0) };

struct Bench {
    finder: Finder,
    registry: Arc<Registry>,
    now: Now,
    /// What was told, with what the readers have not done yet.
    told: Vec<(u16, Told)>,
}

impl Bench {
    fn new() -> Self {
        let names = vec!["a".into(), "b".into()];
        let registry = Arc::new(Registry::new(names, Vec::new()));
        let windows = Arc::new(Windows::new(2));
        let finder = Finder::new(Arc::clone(&registry), windows, vec![false; 2], false);
        Self { finder, registry, now: NOW, told: Vec::new() }
    }

    fn pass_on(&mut self, changes: Changes) -> String {
        let told = &mut self.told;
        self.finder.pass_on(changes, self.now, |source, it| told.push((source.0, it)));
        let show = |(source, told): &(u16, Told)| {
            if let Told::Found(new) = told {
                format!("{source}+{}", new.path.display())
            } else if let Told::Left(inode, _) = told {
                format!("{source}!{}", inode.1)
            } else {
                format!("{source}?")
            }
        };
        self.told.iter().map(show).collect::<Vec<_>>().join(" ")
    }

    fn opened(&self, inode: u64, path: &str) {
        let path = shared(path);
        let opened = News::Opened {
            file: FileKey(inode),
            source: SourceId(0),
            stem: Arc::clone(&path),
            path,
            identity: Identity { device: 1, inode, birth: MaybeNanos::NONE },
            start: Mark::default(),
            size: 100,
            kin: None,
            waits: false,
        };
        self.registry.note(&[opened], NOW);
    }

    /// The highest rank that was given.
    fn rank(&self) -> i64 {
        let rank = |told: &Told| if let Told::Found(new) = told { Some(new.rank) } else { None };
        self.told.iter().filter_map(|(_, told)| rank(told)).max().expect("a file was found")
    }
}

fn node(inode: u64) -> Node {
    Node { device: 1, inode }
}

fn found(source: u16, inode: u64, path: &str) -> Found {
    let path = shared(path);
    let stem = shared(path.to_string_lossy().trim_end_matches(".1"));
    let (source, node) = (SourceId(source), node(inode));
    Found { path, source, node, stem, is_outside: false, birth: MaybeNanos::NONE }
}

fn shared(path: &str) -> Arc<Path> {
    Path::new(path).into()
}

fn appeared(found: Vec<Found>) -> Changes {
    Changes { appeared: found, ..Changes::default() }
}

/// Its generations may all be gone and still be read.
#[test]
fn a_new_file_is_behind_all_that_had_its_name() {
    let mut bench = Bench::new();
    bench.pass_on(appeared(vec![found(0, 1, "/a"), found(0, 2, "/a.1")]));
    let highest = bench.rank();
    bench.pass_on(Changes { gone: vec![node(1), node(2)], ..Changes::default() });
    bench.told.clear();
    bench.pass_on(appeared(vec![found(0, 3, "/a")]));
    assert!(highest < bench.rank(), "{highest} {}", bench.rank());
}

/// A node with many short pods has ever new names.
#[test]
fn a_name_that_no_file_has_is_forgotten_after_a_week() {
    let stem_of_rotated = |age: Duration| {
        let mut bench = Bench::new();
        // It was there before, for as long.
        for _ in 0..2 {
            bench.pass_on(appeared(vec![found(0, 1, "/a"), found(0, 2, "/b")]));
            bench.pass_on(Changes { gone: vec![node(1)], ..Changes::default() });
            bench.now.mono += age;
        }
        bench.pass_on(Changes { gone: vec![node(2)], ..Changes::default() });
        bench.told.clear();
        bench.pass_on(appeared(vec![found(0, 3, "/a.1")]));
        match &bench.told[..] {
            [(0, Told::Found(new))] => new.stem.display().to_string(),
            told => panic!("{told:?}"),
        }
    };
    let week = Duration::from_hours(7 * 24);
    assert_eq!(stem_of_rotated(week - Duration::from_secs(1)), "/a");
    assert_eq!(stem_of_rotated(week), "/a.1");
}

#[test]
fn a_file_goes_to_another_source_when_the_first_has_let_go_of_it() {
    let mut bench = Bench::new();
    assert_eq!(bench.pass_on(appeared(vec![found(0, 1, "/a"), found(0, 2, "/b")])), "0+/a 0+/b");
    bench.opened(1, "/a");
    bench.told.clear();
    bench.finder.adopt(vec![false; 2], vec![true; 2]);
    let changes = Changes { left: vec![node(1)], ..appeared(vec![found(1, 1, "/a")]) };
    assert_eq!(bench.pass_on(changes), "0!1");
    // A generation that was written behind it.
    let renamed = Renamed { node: node(1), path: shared("/a.1"), stem: shared("/a") };
    let changes = Changes { renamed: vec![renamed], ..appeared(vec![found(1, 3, "/a")]) };
    assert_eq!(bench.pass_on(changes), "0!1");
    assert!(bench.finder.is_waiting());
    // It is closed, but not settled.
    bench.told.clear();
    assert_eq!(bench.pass_on(Changes::default()), "");
    bench.registry.note(&[News::Closed { file: FileKey(1) }], NOW);
    assert_eq!(bench.pass_on(appeared(vec![found(1, 4, "/c")])), "1+/c 1+/a 1+/a.1");
    assert!(!bench.finder.is_waiting());
    bench.told.clear();
    // One that is gone before that is waited for no more.
    bench.opened(2, "/b");
    let changes = Changes { left: vec![node(2)], ..appeared(vec![found(1, 2, "/b")]) };
    assert_eq!(bench.pass_on(changes), "0!2");
    assert_eq!(bench.pass_on(Changes { gone: vec![node(2)], ..Changes::default() }), "0!2");
    assert!(!bench.finder.is_waiting());
}

/// A scan that misses a file under both of its names takes it for one that is gone.
#[test]
fn a_file_that_another_source_still_reads_is_taken_from_it() {
    let mut bench = Bench::new();
    bench.pass_on(appeared(vec![found(0, 1, "/a")]));
    bench.opened(1, "/a");
    bench.finder.adopt(vec![false; 2], vec![true; 2]);
    bench.pass_on(Changes { gone: vec![node(1)], ..Changes::default() });
    bench.told.clear();
    assert_eq!(bench.pass_on(appeared(vec![found(1, 1, "/a")])), "0!1");
}

/// A source that does not ask the API reads what its globs match, whatever pods ask others for.
#[test]
fn a_pod_is_left_out_by_a_source_that_asks_the_api() {
    use crate::config::Annotation;
    use crate::discover::kube::Object;

    let mut bench = Bench::new();
    let pods = Arc::<Pods>::default();
    let annotations = [("skald.dev/exclude".to_owned(), "true".to_owned())].into();
    let pod = Object { uid: "u".to_owned(), annotations, ..Object::default() };
    pods.set(pod, &[Annotation::Exclude]);
    bench.finder.set_pods(pods, vec![Some((Duration::ZERO, false)), None]);
    let (a, b) = ("/pods/ns_p_u/a/0.log", "/pods/ns_p_u/b/0.log");
    let told = bench.pass_on(appeared(vec![found(0, 1, a), found(1, 2, b)]));
    assert_eq!(told, format!("1+{b}"));
    bench.finder.pods_changed(NOW, |_, _| panic!("nothing has changed for either"));
}
