//! The laws that libFuzzer tries to break (`fuzz/`), replayed: each seed once, then seeds with
//! random changes, the same ones in every run.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

#[path = "../fuzz/targets/mod.rs"]
mod targets;

use targets::bytes::unescape;
use targets::{ALL, Target};

/// Changed seeds a target; libFuzzer does a thousand times more in a minute.
const MUTATIONS: u64 = 3_000;

/// Longest input that is made.
const INPUT_BYTES_MAX: usize = 2048;

/// What changes put in besides bytes of seeds.
const WORDS: [&[u8]; 24] = [
    b"\"",
    b"\\",
    b"\n",
    b"{",
    b"}",
    b"[",
    b"]",
    b":",
    b",",
    b" ",
    b"\0",
    b"\xff",
    b"=",
    b"\r",
    b"\\u0061",
    b"\\ud83d",
    b"\xef\xbf\xbd",
    b"null",
    b"-",
    b".5",
    b"Z",
    b"${A}",
    b"http://u:p@h/",
    b"9223372036854775808",
];

#[test]
fn every_target_has_seeds_and_a_driver() {
    let manifest = fs_err::read_to_string(root().join("fuzz/Cargo.toml")).unwrap();
    for Target { name, .. } in ALL {
        assert!(!seeds(name).is_empty(), "no seeds for {name}");
        assert!(manifest.contains(&format!("path = \"bin/{name}.rs\"")), "{name} is not in fuzz/");
        let driver = fs_err::read_to_string(root().join(format!("fuzz/bin/{name}.rs"))).unwrap();
        assert!(driver.contains(&format!("\"{name}\"")), "the driver of {name} runs another");
    }
    let folders = fs_err::read_dir(root().join("fuzz/seeds")).unwrap().count();
    assert_eq!(folders, ALL.len(), "a folder of seeds without a target");
}

macro_rules! replay {
    ($($name:ident)*) => {
        $(#[test] fn $name() { replay(stringify!($name)); })*

        #[test]
        fn every_target_is_replayed() {
            let names: Vec<&str> = ALL.iter().map(|target| target.name).collect();
            assert_eq!(names, [$(stringify!($name)),*]);
        }
    };
}

replay! {
    accepted checkpoint checkpoint_damage config cutter encoder json labels logfmt query snappy tail timestamp wrapper
}

fn replay(name: &str) {
    let target = ALL.iter().find(|target| target.name == name).unwrap();
    let seeds = seeds(name);
    for (path, seed) in &seeds {
        run(target, seed, path);
    }
    for number in 0..MUTATIONS {
        let mut rng = fastrand::Rng::with_seed(number);
        let mut input = rng.choice(&seeds).unwrap().1.clone();
        for _ in 0..rng.usize(1..6) {
            change(&mut input, &seeds, &mut rng);
        }
        input.truncate(INPUT_BYTES_MAX);
        run(target, &input, &format!("mutation {number}"));
    }
}

fn run(target: &Target, input: &[u8], what: &str) {
    let outcome = catch_unwind(AssertUnwindSafe(|| (target.check)(input)));
    assert!(outcome.is_ok(), "{what} of {}, see above: b\"{}\"", target.name, input.escape_ascii());
}

fn change(input: &mut Vec<u8>, seeds: &[(String, Vec<u8>)], rng: &mut fastrand::Rng) {
    let at = rng.usize(0..=input.len());
    let end = rng.usize(at..=input.len().min(at + 32));
    match rng.u8(0..7) {
        0 if at < input.len() => input[at] ^= 1 << rng.u8(0..8),
        1 if at < input.len() => input[at] = rng.u8(..),
        2 => drop(input.splice(at..at, [rng.u8(..)])),
        3 => drop(input.drain(at..end)),
        4 => {
            let piece = input[at..end].to_vec();
            let to = rng.usize(0..=input.len());
            drop(input.splice(to..to, piece));
        }
        5 => {
            let word = *rng.choice(&WORDS).unwrap();
            drop(input.splice(at..at, word.iter().copied()));
        }
        _ => {
            let other = &rng.choice(seeds).unwrap().1;
            let from = rng.usize(0..=other.len());
            input.truncate(at);
            input.extend_from_slice(&other[from..]);
        }
    }
}

/// The committed inputs of a target and where they are, in the same order in every run.
fn seeds(name: &str) -> Vec<(String, Vec<u8>)> {
    let mut folders = vec![root().join("fuzz/seeds").join(name)];
    if name == "config" {
        folders.push(root().join("tests/golden/config"));
    }
    let files = folders.iter().flat_map(|folder| fs_err::read_dir(folder).unwrap());
    let mut paths: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_none_or(|extension| extension != "stderr"));
    paths.sort();
    let named = |path: PathBuf| (path.display().to_string(), fs_err::read(&path).unwrap());
    let found = fs_err::read_to_string(root().join(format!("fuzz/found/{name}.txt"))).unwrap();
    let found = found
        .lines()
        .enumerate()
        .map(|(idx, line)| (format!("line {} of fuzz/found/{name}.txt", idx + 1), unescape(line)));
    paths.into_iter().map(named).chain(found).collect()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
