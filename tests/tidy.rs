//! The rules that no compiler keeps, checked as data: who imports whom, how long a file may be,
//! what a front door says, and that the documents are in step with the code.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use regex::Regex;

#[path = "tidy/docs.rs"]
mod docs;
#[path = "tidy/examples.rs"]
mod examples;

/// What each room may import. A new arrow is one changed line here.
const ARROWS: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("telemetry", &["model"]),
    ("parse", PURE),
    ("wire", PURE),
    ("ledger", PURE),
    ("batch", &["model", "telemetry", "wire", "ledger"]),
    ("discover", EDGE),
    ("tail", EDGE),
    ("push", EDGE),
    ("checkpoint", EDGE),
    ("receive", &["model", "wire"]),
    ("config", CONFIG),
    ("admin", ALL_BELOW),
    ("app", ALL_BELOW),
    (
        "cli",
        &[
            "app",
            "admin",
            "receive",
            "config",
            "discover",
            "tail",
            "push",
            "checkpoint",
            "parse",
            "batch",
            "wire",
            "ledger",
            "telemetry",
            "model",
        ],
    ),
];
const PURE: &[&str] = &["model", "telemetry"];
const EDGE: &[&str] = &["parse", "batch", "wire", "ledger", "telemetry", "model"];
const CONFIG: &[&str] = &[
    "discover",
    "tail",
    "push",
    "checkpoint",
    "parse",
    "batch",
    "wire",
    "ledger",
    "telemetry",
    "model",
];
const ALL_BELOW: &[&str] = &[
    "config",
    "discover",
    "tail",
    "push",
    "checkpoint",
    "parse",
    "batch",
    "wire",
    "ledger",
    "telemetry",
    "model",
];

/// Rooms without a world, and what they must not name.
const PURE_ROOMS: [&str; 5] = ["model", "parse", "batch", "wire", "ledger"];
const WORLD: [&str; 9] = [
    "std::fs",
    "fs_err",
    "std::net",
    "std::thread",
    "std::env",
    "std::process",
    "tokio",
    "Instant::now",
    "SystemTime::now",
];

/// What no product code says, and why.
const NEVER: [(&str, &str); 4] = [
    ("unbounded_channel", "every channel has a bound, and the bound a sentence"),
    ("mpsc::channel()", "every channel has a bound, and the bound a sentence"),
    ("fetch_sub", "a permit lives in the value that uses the memory; nobody counts down"),
    ("#[allow(", "write #[expect(.., reason = \"..\")]"),
];

/// What no test says, and why.
const NEVER_IN_TESTS: [(&str, &str); 3] = [
    (concat!("#[", "ignore"), "a test that may not run is no test: assert what is, and say why"),
    (concat!("thread::", "sleep("), "give the time, or wait for a condition with a deadline"),
    (concat!("time::", "sleep("), "give the time, or wait for a condition with a deadline"),
];

/// The tests that may wait after all, each with a deadline.
const WAITS: &[(&str, &str)] = &[
    ("tests/service.rs", "for a real service to listen"),
    ("tests/it/support/mod.rs", "for a real process: `eventually`"),
    ("tests/it/crash.rs", "a writer beside a real process that is killed at any moment"),
    ("tests/deploy/image.rs", "for a real process in a chroot"),
];

const FILE_LINES_MAX: usize = 500;
const FRONT_DOOR_LINES_MAX: usize = 80;

/// Front doors that are longer.
const LONG_FRONT_DOORS: &[(&str, &str)] =
    &[("src/ledger/mod.rs", "the whole room is one struct, and splitting it would hide it")];

/// Files that a program has written.
const GENERATED: [&str; 1] = ["src/wire/push.rs"];

#[test]
fn rooms_import_only_to_the_right() {
    check(|problems| {
        for (path, text) in sources("src") {
            if is_test(&path) {
                continue;
            }
            let text = product(&text);
            let room = room(&path);
            let allowed = match room.as_str() {
                "lib" => continue,
                "main" => &["cli"][..],
                room => match ARROWS.iter().find(|(name, _)| *name == room) {
                    Some((_, allowed)) => allowed,
                    None => return note(problems, &path, 1, &format!("no arrows for `{room}`")),
                },
            };
            for (number, line) in code(&text) {
                for name in imported(line) {
                    if name != room && !allowed.contains(&name.as_str()) {
                        note(problems, &path, number, &format!("`{room}` imports `{name}`"));
                    }
                }
                if up_and_out(&path, line) {
                    note(problems, &path, number, "reaches another room through `super`");
                }
            }
        }
    });
}

#[test]
fn rooms_of_the_table_are_the_folders() {
    let mut folders: Vec<String> = rooms();
    let mut table: Vec<&str> = ARROWS.iter().map(|(room, _)| *room).collect();
    folders.sort();
    table.sort_unstable();
    assert_eq!(folders, table);
}

#[test]
fn pure_rooms_do_not_name_the_world() {
    check(|problems| {
        for (path, text) in sources("src") {
            if is_test(&path) || !PURE_ROOMS.contains(&room(&path).as_str()) {
                continue;
            }
            for (number, line) in code(&product(&text)) {
                for word in WORLD.iter().filter(|word| line.contains(**word)) {
                    note(problems, &path, number, &format!("`{word}` in a pure room"));
                }
            }
        }
    });
}

#[test]
fn files_are_short() {
    check(|problems| {
        for (path, text) in
            ["src", "tests", "benches", "fuzz/targets"].into_iter().flat_map(sources)
        {
            let lines = text.lines().count();
            if FILE_LINES_MAX < lines && !GENERATED.contains(&path.as_str()) {
                note(problems, &path, lines, &format!("over {FILE_LINES_MAX} lines"));
            }
        }
    });
}

#[test]
fn front_doors_say_what_a_room_may_touch() {
    check(|problems| {
        for room in rooms() {
            let path = format!("src/{room}/mod.rs");
            let text = read(&path);
            let doc: Vec<&str> = text.lines().map_while(|line| line.strip_prefix("//!")).collect();
            let doc = doc.join(" ");
            for part in ["May touch: ", "Must not: "] {
                if !doc.contains(part) {
                    note(problems, &path, 1, &format!("no \"{part}\" in the module's text"));
                }
            }
            let lines = text.lines().count();
            let is_long = LONG_FRONT_DOORS.iter().any(|(long, _)| *long == path);
            if (FRONT_DOOR_LINES_MAX < lines) != is_long {
                note(problems, &path, lines, &format!("a door has {FRONT_DOOR_LINES_MAX} lines"));
            }
        }
    });
}

#[test]
fn some_words_are_never_said() {
    check(|problems| {
        for (path, text) in sources("src") {
            let text = if is_test(&path) { String::new() } else { product(&text) };
            words(problems, &path, &text, &NEVER);
        }
        for (path, text) in sources("tests") {
            if !WAITS.iter().any(|(file, _)| *file == path) {
                words(problems, &path, &text, &NEVER_IN_TESTS);
            }
        }
    });
}

fn words(problems: &mut String, path: &str, text: &str, never: &[(&str, &str)]) {
    for (number, line) in code(text) {
        for (word, why) in never.iter().filter(|(word, _)| line.contains(word)) {
            note(problems, path, number, &format!("`{word}`: {why}"));
        }
    }
}

/// Runs a check that notes problems, and fails with all of them.
fn check(run: impl FnOnce(&mut String)) {
    let mut problems = String::new();
    run(&mut problems);
    assert!(problems.is_empty(), "\n{problems}");
}

fn note(problems: &mut String, path: &str, line: usize, what: &str) {
    writeln!(problems, "{path}:{line}: {what}").expect("a String takes every text");
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs_err::read_to_string(root().join(path)).unwrap()
}

/// Every Rust file below `folder`, with its path from the root.
fn sources(folder: &str) -> Vec<(String, String)> {
    let top = root().join(folder);
    let mut all: Vec<_> = walkdir::WalkDir::new(top)
        .into_iter()
        .filter_map(Result::ok)
        .filter(|entry| entry.path().extension().is_some_and(|kind| kind == "rs"))
        .map(|entry| {
            let path = entry.path().strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
            let text = read(&path);
            (path, text)
        })
        .collect();
    all.sort();
    all
}

fn rooms() -> Vec<String> {
    let entries = fs_err::read_dir(root().join("src")).unwrap();
    let folders = entries.map(Result::unwrap).filter(|entry| entry.path().is_dir());
    folders.map(|entry| entry.file_name().into_string().unwrap()).collect()
}

/// `src/<room>/…`, or the name of a file in `src`.
fn room(path: &str) -> String {
    let name = Path::new(path).components().nth(1).unwrap().as_os_str().to_str().unwrap();
    name.trim_end_matches(".rs").to_owned()
}

fn is_test(path: &str) -> bool {
    path.contains("/tests/") || path.ends_with("/tests.rs")
}

/// The text without the unit tests at its end.
fn product(text: &str) -> String {
    text.split("\n#[cfg(test)]\nmod tests {").next().unwrap_or_default().to_owned()
}

/// Lines with their numbers, without comments.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text.lines().enumerate().map(|(idx, line)| (idx + 1, line));
    lines.filter(|(_, line)| !line.trim_start().starts_with("//"))
}

/// The rooms that a line names. A group gives the name `{`, so that no arrow can hide in one.
fn imported(line: &str) -> impl Iterator<Item = String> {
    static PATH: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"\b(?:crate|skald)::(\w+|\{)").unwrap());
    PATH.captures_iter(line).map(|found| found[1].to_owned())
}

/// In `src/room/mod.rs` a `super` leads out of the room, in `src/room/file.rs` the second one.
fn up_and_out(path: &str, line: &str) -> bool {
    let depth = Path::new(path).components().count() - 2 - usize::from(path.ends_with("/mod.rs"));
    line.contains(&"super::".repeat(depth + 1))
}
