//! Damage, faults and the lock.

use std::collections::HashMap;
use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::model::{
    FileOffset, FileStat, Files, Fingerprint, Identity, Mark, OUTPUTS, Stamp, UnixNanos,
};

const FOLDER: &str = "/state";
const CHECKPOINT: &str = "/state/checkpoint";

/// Files in memory; operation number `fail_at` fails half done.
#[derive(Default, Clone)]
struct Fake {
    files: HashMap<PathBuf, Vec<u8>>,
    operations: u32,
    fail_at: Option<u32>,
    read_error: Option<io::ErrorKind>,
}

impl Fake {
    fn holding(bytes: &[u8]) -> Self {
        let files = HashMap::from([(CHECKPOINT.into(), bytes.to_vec())]);
        Self { files, ..Self::default() }
    }

    fn fails(&mut self) -> bool {
        self.operations += 1;
        self.fail_at == Some(self.operations)
    }

    fn step(&mut self) -> io::Result<()> {
        if self.fails() { Err(io::Error::other("injected")) } else { Ok(()) }
    }
}

impl Files for Fake {
    type File = ();

    fn open(&mut self, _: &Path) -> io::Result<()> {
        unreachable!("a checkpoint is read whole")
    }

    fn stat(&mut self, (): &()) -> io::Result<FileStat> {
        unreachable!("a checkpoint is read whole")
    }

    fn read_at(&mut self, (): &(), _: &mut [u8], _: u64) -> io::Result<usize> {
        unreachable!("a checkpoint is read whole")
    }

    fn read_all(&mut self, path: &Path) -> io::Result<Vec<u8>> {
        if let Some(kind) = self.read_error {
            return Err(kind.into());
        }
        self.files.get(path).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn write(&mut self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let fails = self.fails();
        let written = if fails { &bytes[..bytes.len() / 2] } else { bytes };
        self.files.insert(path.to_owned(), written.to_vec());
        if fails { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn append(&mut self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let fails = self.fails();
        let written = if fails { &bytes[..bytes.len() / 2] } else { bytes };
        self.files.get_mut(path).ok_or(io::ErrorKind::NotFound)?.extend_from_slice(written);
        if fails { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn sync(&mut self, _: &Path) -> io::Result<()> {
        self.step()
    }

    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        self.step()?;
        let bytes = self.files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        self.files.insert(to.to_owned(), bytes);
        Ok(())
    }

    fn sync_folder(&mut self, _: &Path) -> io::Result<()> {
        self.step()
    }
}

/// The whole file for `state`.
fn encode(state: &State) -> Vec<u8> {
    let mut bytes = Vec::new();
    let put = |piece: &[u8]| -> Result<(), ()> {
        bytes.extend_from_slice(piece);
        Ok(())
    };
    format::encode(state.files.iter(), &state.demoted, put).unwrap();
    bytes
}

fn a_file(number: u64) -> SavedFile {
    let fingerprint = |hash| Fingerprint { len: 64, hash };
    SavedFile {
        path: PathBuf::from(format!("/var/log/veogen/app-{number}.log")).into(),
        source: "veogen".into(),
        identity: Identity { device: 42, inode: 1000 + number, birth: Some(UnixNanos(7)).into() },
        head: fingerprint(u64::MAX - number),
        mark: Mark {
            offset: FileOffset(10_000 + number * 1117),
            stamp: Stamp { last_raw: Some(UnixNanos(1_700_000_000)).into(), repeats: 3 },
            tail: fingerprint(number.wrapping_mul(0x9E37_79B9_7F4A_7C15)),
            held: [(number == 19).then_some(FileOffset(9_000)), None].into(),
        },
        stem: PathBuf::from(format!("/var/log/veogen/app-{number}.log")).into(),
        size: 20_000,
        seen: UnixNanos(1_800_000_000),
        rotated: number.is_multiple_of(2),
        former: false,
    }
}

fn a_state(files: u64) -> State {
    let demoted =
        Demoted { source: "veogen".to_owned(), label: "user_id".to_owned(), values_max: 500 };
    State { files: (0..files).map(a_file).collect(), demoted: vec![demoted] }
}

fn load_bytes(bytes: &[u8]) -> Result<Loaded, CheckpointError> {
    load(&mut Fake::holding(bytes), Path::new(FOLDER))
}

/// Whatever survives is exactly what was saved, and whatever does not is spoken of.
fn check_damaged(original: &State, bytes: &[u8], what: &str) -> Loaded {
    let loaded = load_bytes(bytes).unwrap_or_else(|err| panic!("{what}: {err}"));
    for file in &loaded.state.files {
        assert!(original.files.contains(file), "{what}: {file:?}");
    }
    for demoted in &loaded.state.demoted {
        assert!(original.demoted.contains(demoted), "{what}: {demoted:?}");
    }
    let is_whole = loaded.state == *original;
    assert!(is_whole || !loaded.damage.is_empty(), "{what}: loss in silence");
    loaded
}

#[test]
fn every_prefix_loads() {
    let state = a_state(20);
    let bytes = encode(&state);
    for len in 0..bytes.len() {
        check_damaged(&state, &bytes[..len], &format!("prefix of {len}"));
    }
    assert_eq!(load_bytes(&bytes).unwrap(), Loaded { state, damage: Vec::new() });
}

#[test]
fn every_bit_flip_loads_and_costs_at_most_two_lines() {
    // Lines are read one by one: more files make this slower, not stronger.
    let state = a_state(6);
    let mut bytes = encode(&state);
    for bit in 0..bytes.len() * 8 {
        bytes[bit / 8] ^= 1 << (bit % 8);
        let what = format!("bit {bit}");
        let loaded = check_damaged(&state, &bytes, &what);
        assert!(!loaded.damage.is_empty(), "{what}: not noticed");
        assert!(loaded.state.files.len() + loaded.state.demoted.len() >= 5, "{what}");
        bytes[bit / 8] ^= 1 << (bit % 8);
    }
}

#[test]
fn odd_content_is_damage() {
    let state = a_state(20);
    let whole = encode(&state);
    let lines: Vec<&[u8]> = whole.split_inclusive(|&byte| byte == b'\n').collect();
    let cases: [(&str, Vec<u8>, usize); 8] = [
        ("empty", Vec::new(), 0),
        ("NULs", vec![0; 5000], 0),
        ("newlines", vec![b'\n'; 5000], 0),
        ("NULs at the end", [&whole[..3000], &[0; 500]].concat(), 11),
        ("no header", lines[1..].concat(), 19),
        ("a line is missing", [&lines[..5], &lines[6..]].concat().concat(), 19),
        ("Promtail's file", b"positions:\n  /var/log/a.log: \"12\"\n".to_vec(), 0),
        ("CRLF", String::from_utf8(whole.clone()).unwrap().replace('\n', "\r\n").into(), 0),
    ];
    for (what, bytes, files) in cases {
        let loaded = check_damaged(&state, &bytes, what);
        assert_eq!(loaded.state.files.len(), files, "{what}");
        assert!((1..=11).contains(&loaded.damage.len()), "{what}: {:?}", loaded.damage);
    }
}

#[test]
fn unreadable_and_foreign_files() {
    let folder = Path::new(FOLDER);
    let mut fake = Fake::default();
    assert_eq!(load(&mut fake, folder).unwrap(), Loaded::default());
    fake.read_error = Some(io::ErrorKind::IsADirectory);
    assert_eq!(load(&mut fake, folder).unwrap().damage, ["/state/checkpoint is a folder"]);
    fake.read_error = Some(io::ErrorKind::PermissionDenied);
    let text = load(&mut fake, folder).unwrap_err().to_string();
    assert_eq!(text, "cannot read /state/checkpoint");

    for header in ["skald checkpoint 2 whatever comes=1", "skald checkpoint 0 lines=0"] {
        let crc = crc32fast::hash(header.as_bytes());
        let text = load_bytes(format!("{header} crc32={crc:08x}\nx\n").as_bytes());
        let text = text.unwrap_err().to_string();
        assert!(text.contains("and this skald reads version 1; run the release"), "{text}");
    }
}

#[test]
fn the_file_is_readable_by_people() {
    let text = String::from_utf8(encode(&a_state(1))).unwrap();
    expect_test::expect![[r#"
        skald checkpoint 1 lines=2 crc32=331fe43d
        dbef0b1e {"file":{"path":"/var/log/veogen/app-0.log","source":"veogen","device":42,"inode":1000,"birth":7,"head":[64,18446744073709551615],"offset":10000,"tail":[64,0],"last_raw":1700000000,"repeats":3,"seen":1800000000,"rotated":true,"size":20000}}
        dd65b294 {"demoted":{"source":"veogen","label":"user_id","values_max":500}}
    "#]]
    .assert_eq(&text);
}

#[test]
fn old_or_new_whichever_operation_fails() {
    // Write, sync, rename, sync of the folder; a larger file is written in two pieces.
    for (files, operations) in [(5, 4), (400, 5)] {
        let folder = Path::new(FOLDER);
        let (old, new) = (a_state(3), a_state(files));
        let mut saved = Fake::default();
        save(&mut saved, folder, &old.files, &old.demoted).unwrap();
        let mut failures = 0;
        for fail_at in 1.. {
            let mut fake = Fake { operations: 0, fail_at: Some(fail_at), ..saved.clone() };
            let outcome = save(&mut fake, folder, &new.files, &new.demoted);
            let loaded = load(&mut fake, folder).unwrap();
            assert_eq!(loaded.damage, Vec::<String>::new());
            if outcome.is_ok() {
                assert_eq!(loaded.state, new);
                break;
            }
            failures += 1;
            assert!(loaded.state == old || loaded.state == new, "operation {fail_at}");
            fake.fail_at = None;
            save(&mut fake, folder, &new.files, &new.demoted).unwrap();
            assert_eq!(load(&mut fake, folder).unwrap().state, new, "a second try");
        }
        assert_eq!(failures, operations);
    }
}

#[test]
fn ten_thousand_files_are_a_few_megabytes() {
    let state = a_state(10_000);
    let bytes = encode(&state);
    assert!(bytes.len() < 4 * 1024 * 1024, "{} bytes", bytes.len());
    assert_eq!(load_bytes(&bytes).unwrap().state, state);
}

#[test]
fn a_second_agent_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("var/lib/skald");
    let held = lock(&folder).unwrap();
    let mode = fs_err::metadata(&folder).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    let text = lock(&folder).unwrap_err().to_string();
    let pid = std::process::id();
    assert!(
        text.contains(&format!("{} is in use by another skald (process {pid})", folder.display()))
    );
    drop(held);
    drop(lock(&folder).unwrap());

    let in_the_way = root.path().join("a file");
    fs_err::write(&in_the_way, "").unwrap();
    let text = lock(&in_the_way).unwrap_err().to_string();
    assert_eq!(text, format!("cannot write to the state folder {}", in_the_way.display()));
}

fn any_fingerprint() -> impl Strategy<Value = Fingerprint> {
    (any::<u16>(), any::<u64>()).prop_map(|(len, hash)| Fingerprint { len, hash })
}

fn any_mark() -> impl Strategy<Value = Mark> {
    let held = any::<[Option<u64>; OUTPUTS]>();
    (any::<u64>(), any::<Option<i64>>(), any::<u32>(), any_fingerprint(), held).prop_map(
        |(offset, raw, repeats, tail, held)| Mark {
            offset: FileOffset(offset),
            stamp: Stamp { last_raw: raw.map(UnixNanos).into(), repeats },
            tail,
            held: held.map(|held| held.map(FileOffset)).into(),
        },
    )
}

prop_compose! {
    fn any_file()(
        path in prop::collection::vec(any::<u8>(), 0..40),
        source in any::<String>(),
        (device, inode, birth) in any::<(u64, u64, Option<i64>)>(),
        head in any_fingerprint(),
        mark in any_mark(),
        seen in any::<i64>(),
        (rotated, former, size) in any::<(bool, bool, u64)>(),
        stem in prop::option::of(prop::collection::vec(any::<u8>(), 0..40)),
    ) -> SavedFile {
        let path: Arc<Path> = PathBuf::from(OsString::from_vec(path)).into();
        let stem = stem.map_or_else(|| Arc::clone(&path), |stem| PathBuf::from(OsString::from_vec(stem)).into());
        SavedFile {
            path,
            stem,
            size,
            former,
            source: source.into(),
            identity: Identity { device, inode, birth: birth.map(UnixNanos).into() },
            head,
            mark,
            seen: UnixNanos(seen),
            rotated,
        }
    }
}

prop_compose! {
    fn any_demoted()(source in any::<String>(), label in any::<String>(), values_max in any::<u32>())
        -> Demoted
    {
        Demoted { source, label, values_max }
    }
}

proptest! {
    #[test]
    fn what_is_saved_is_loaded(
        files in prop::collection::vec(any_file(), 0..10),
        demoted in prop::collection::vec(any_demoted(), 0..3),
    ) {
        let state = State { files, demoted };
        let mut fake = Fake::default();
        save(&mut fake, Path::new(FOLDER), &state.files, &state.demoted).unwrap();
        let loaded = load(&mut fake, Path::new(FOLDER)).unwrap();
        prop_assert_eq!(loaded, Loaded { state, damage: Vec::new() });
    }

    #[test]
    fn any_bytes_load(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        check_damaged(&State::default(), &bytes, "noise");
    }
}
