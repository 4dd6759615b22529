//! Files that nobody writes by hand: none may panic, hang, or fill memory or screen.

use std::fmt::Write as _;

use expect_test::expect;
use proptest::prelude::*;

use super::{env, load, load_text};

fn check(text: &str, first_line: &str) {
    let loaded = load_text(text);
    assert!(loaded.config.is_none());
    let rendered = loaded.report.render(false);
    assert!(rendered.len() < 100_000, "{} bytes", rendered.len());
    let first = rendered.lines().next().unwrap_or_default();
    assert_eq!(first, first_line);
}

#[test]
fn nesting_has_an_end() {
    let levels = "error: too many levels";
    check(&"[".repeat(10_000), levels);
    check(&"- ".repeat(10_000), levels);
    check(&"a: {".repeat(10_000), levels);
    check(&"? ".repeat(10_000), levels);
    let mut steps = String::new();
    for step in 0..1_000 {
        writeln!(steps, "{:step$}a:", "").unwrap();
    }
    check(&steps, levels);
}

#[test]
fn aliases_cannot_explode() {
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..20 {
        let below = vec![format!("*a{}", level - 1); 10].join(", ");
        writeln!(bomb, "a{level}: &a{level} [{below}]").unwrap();
    }
    check(&bomb, "error: aliases that make too large a file");
}

#[test]
fn sizes_have_an_end() {
    check(
        &"x".repeat(2 * 1024 * 1024),
        "error: 2097152 bytes are too many for a configuration; at most 1048576",
    );
    check(&format!("a: {}", "x".repeat(1024 * 1024 - 3)), "error: unknown key `a`");
    check(&format!("[{}]", "x,".repeat(300_000)), "error: too large a file");
    let mut many = String::new();
    for key in 0..3_000 {
        writeln!(many, "key_{key}: 1").unwrap();
    }
    check(&many, "error: unknown key `key_0`");
    let inline = "password: ".repeat(20_000);
    check(&inline, "error: a second `:` in a value");
    check(&format!("{many}key_0: 2"), "error: unknown key `key_0`");
    let sources = "- stdin: true\n".repeat(2_000);
    check(
        &format!("loki: {{url: 'http://loki'}}\nsources:\n{sources}"),
        "error: more than 1000 sources",
    );
}

#[test]
fn line_ends_and_marks_of_windows_do_not_matter() {
    let text = "\u{feff}loki: {url: 'http://loki'}\r\nsources:\r\n  - stdin: yes\r\n";
    let rendered = load_text(text).report.render(false);
    expect![[r#"
        error: `yes` is not known here
         --> skald.yaml:3:12
          |
        3 |   - stdin: yes
          |            ^^^ not one of: true, false
          |
        hint: write true or false

        error: 1 mistake in skald.yaml
    "#]]
    .assert_eq(&rendered);
}

/// A value then holds what were keys and values.
#[test]
fn a_forgotten_quote_shows_no_password() {
    let text = r#"sources: [{files: "log/app.log}]
loki:
  basic_auth:
    username: u
    password: hunter2
labels: {app: "}]"#;
    let rendered = load_text(text).report.render(false);
    let first = rendered.lines().next().unwrap_or_default();
    assert_eq!(first, "error: `log/app.log}] loki: basic_auth: *** ` is a relative path");
    assert!(!rendered.contains("hunter2"), "{rendered}");
}

/// Pieces that make trouble together.
const PIECES: [&str; 40] = [
    "loki:",
    "url: http://loki",
    "sources:",
    "- ",
    "  ",
    "\n",
    "\n",
    "\n  ",
    "\n    ",
    "stdin: true",
    "files: [",
    "]",
    "{",
    "}",
    ", ",
    ": ",
    "\"",
    "'",
    "&a ",
    "*a",
    "!t ",
    "<<: ",
    "|\n",
    ">-\n",
    "# ",
    "\t",
    "\r\n",
    "é",
    "\u{1F600}",
    "\u{FFFD}",
    "${",
    "${HOME}",
    "$$",
    "---\n",
    "...\n",
    "%YAML 1.2\n",
    "password: ",
    "rules: [label: {a: {regex: '(é'}}]",
    "http://u:p@h/?q",
    "\u{feff}",
];

proptest! {
    #[test]
    fn any_text_gives_a_report(pieces in proptest::collection::vec(0..PIECES.len(), 0..40)) {
        let text: String = pieces.into_iter().map(|piece| PIECES[piece]).collect();
        let loaded = load_text(&text);
        let rendered = loaded.report.render(true);
        prop_assert_eq!(rendered.is_empty(), loaded.report.problems().is_empty());
        prop_assert_eq!(loaded.config.is_none(), loaded.report.errors() != 0);
    }

    #[test]
    fn any_bytes_give_a_report(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let loaded = load(&bytes, "skald.yaml", &env);
        prop_assert_eq!(loaded.report.render(false).is_empty(), loaded.config.is_some());
    }

    #[test]
    fn a_password_is_never_shown(
        before in proptest::collection::vec(0..PIECES.len(), 0..5),
        after in proptest::collection::vec(0..PIECES.len(), 0..20),
        quote in 0..3_usize,
        key in 0..5_usize,
    ) {
        let quote = ["", "'", "\""][quote];
        let key = ["password", "bearer_token", "X-Api-Key", "\"secret\"", "Authorization"][key];
        let text = |pieces: Vec<usize>| pieces.into_iter().map(|i| PIECES[i]).collect::<String>();
        let text = format!(
            "{}\nloki:\n  basic_auth:\n    {key}: {quote}hunter2{quote}\n    username: u\n{}",
            text(before), text(after),
        );
        let rendered = load_text(&text).report.render(false);
        prop_assert!(!rendered.contains("hunter2"), "{}\n{}", text, rendered);
    }
}
