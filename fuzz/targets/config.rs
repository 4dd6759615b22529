//! Whatever a configuration says: never a panic, every problem has its place, and no excerpt
//! shows a secret.

use std::sync::LazyLock;

use regex::Regex;
use skald::config::{Loaded, load};

const NAME: &str = "fuzz.yaml";

/// Stands in the file, and is not to be seen.
const WRITTEN: &str = "hunter2";

/// Stands in the environment, and is not to be seen.
const EXPANDED: &str = "correct-horse-battery-staple";

/// Problems of the file as a whole.
const WITHOUT_PLACE: [&str; 4] =
    ["nothing in this file", "not a text file", "bytes are too many", "is missing"];

/// As many as are shown.
const SHOWN_MAX: usize = 100;

/// Where an excerpt says where it is from.
static PLACE: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(?m)^ *--> fuzz\.yaml(?::(\d+):\d+)?$").expect("the pattern is fixed")
});

/// A file, or two pieces of one around a password, apart by 0xFF.
pub(crate) fn check(data: &[u8]) {
    check_file(data);
    if let Some(apart) = data.iter().position(|byte| *byte == 0xFF) {
        let (before, after) = (&data[..apart], &data[apart + 1..]);
        let secret = format!("\nloki:\n  basic_auth:\n    password: {WRITTEN}\n    username: u\n");
        check_file(&[before, secret.as_bytes(), after].concat());
    }
}

fn check_file(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let loaded = load(bytes, NAME, &|name| (name != "EMPTY").then(|| EXPANDED.to_owned()));
    let shown = loaded.report.render(false);
    assert_eq!(loaded.config.is_none(), loaded.report.errors() != 0, "{text}");
    assert_eq!(shown.is_empty(), loaded.report.problems().is_empty(), "{text}");
    places(&loaded, &text, &shown);
    if !text.contains(EXPANDED) {
        assert!(!shown.contains(EXPANDED), "{text}\n{shown}");
    }
    // Where it stands once, it is the password.
    if text.matches(WRITTEN).count() == 1 && text.contains("    password: hunter2\n") {
        assert!(!shown.contains(WRITTEN), "{text}\n{shown}");
    }
}

fn places(loaded: &Loaded, text: &str, shown: &str) {
    let problems = loaded.report.problems();
    let lines = 1..=text.matches('\n').count() + 1;
    let mut places = PLACE.captures_iter(shown);
    for problem in problems.iter().take(SHOWN_MAX) {
        let place = places.next().unwrap_or_else(|| panic!("no place: {problem:?}\n{text}"));
        let is_placed = match place.get(1) {
            Some(line) => line.as_str().parse().is_ok_and(|line: usize| lines.contains(&line)),
            None => WITHOUT_PLACE.iter().any(|whole| problem.message.contains(whole)),
        };
        assert!(is_placed, "{}: {problem:?}\n{text}", &place[0]);
    }
}
