//! What must not be seen in an excerpt: the values of secret-like keys and credentials in URLs.

use std::ops::Range;
use std::sync::LazyLock;

use regex::Regex;

use super::raw::{Node, Value};

/// What stands in an excerpt instead of a secret.
const MASK: &str = "***";

/// A key that holds one of these, in any case, has a secret as its value, or is a section of
/// secrets: `bearer_token`, `basic_auth`, `headers`, `X-Api-Key`.
const SECRET_WORDS: [&str; 12] = [
    "pass",
    "pwd",
    "token",
    "secret",
    "auth",
    "bearer",
    "credential",
    "cookie",
    "header",
    "apikey",
    "api_key",
    "api-key",
];

/// Credentials in a URL, with and without a scheme, and what follows its `?`. All of Unicode's letters
/// and spaces would take 400 KiB, for as long as the process runs.
static IN_URL: LazyLock<Regex> = LazyLock::new(|| {
    let patterns = [
        r#"[A-Za-z][0-9A-Za-z_+.-]*://([^\t-\r "']*)@"#,
        r#"([^\t-\r /"'{}\[\],]+:[^\t-\r "']*)@"#,
        r#"://[^\t-\r "'?]*\?([^\t-\r "']+)"#,
    ];
    Regex::new(&patterns.join("|")).expect("BUG: the patterns are fixed")
});

/// What an expansion falls back on.
static DEFAULT: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"\$\{[^:}]*:-([^}]*)").expect("BUG: the pattern is fixed"));

/// What may be a key.
static KEY: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r#"([A-Za-z][^\t-\r "':,{}\[\]]*)["']?[ \t]*:"#).expect("BUG: the pattern is fixed")
});

/// A text without its secrets, and the way from places in the text to places in this one.
#[derive(Debug)]
pub(super) struct Masked {
    pub(super) text: String,
    /// Ranges of the original, in order, apart from each other.
    secrets: Vec<Range<usize>>,
}

impl Masked {
    pub(super) fn new(original: &str, mut secrets: Vec<Range<usize>>) -> Self {
        secrets.retain(|range| !range.is_empty() && original.get(range.clone()).is_some());
        secrets.sort_by_key(|range| range.start);
        secrets.dedup_by(|later, earlier| {
            let overlap = later.start <= earlier.end;
            if overlap {
                earlier.end = earlier.end.max(later.end);
            }
            overlap
        });
        let mut text = String::with_capacity(original.len());
        let mut done = 0;
        for range in &secrets {
            text.push_str(&original[done..range.start]);
            text.push_str(MASK);
            done = range.end;
        }
        text.push_str(&original[done..]);
        Self { text, secrets }
    }

    /// The same place in the masked text. One that touches a secret covers all of its mask.
    pub(super) fn span(&self, span: &Range<usize>) -> Range<usize> {
        self.place(span.start, false)..self.place(span.end, true)
    }

    fn place(&self, at: usize, is_end: bool) -> usize {
        let mut masked = at;
        for secret in self.secrets.iter().take_while(|secret| secret.start < at) {
            if at < secret.end {
                masked -= at - secret.start;
                return if is_end { masked + MASK.len() } else { masked };
            }
            masked = masked + MASK.len() - secret.len();
        }
        masked
    }
}

/// The secrets of a file that was understood.
pub(super) fn in_tree(text: &str, root: &Node) -> Vec<Range<usize>> {
    let mut secrets = anywhere(text);
    collect(root, false, &mut secrets);
    secrets
}

/// The secrets of a file that is not YAML, as far as a look at its lines tells; rather too much
/// than too little.
pub(super) fn by_sight(text: &str) -> Vec<Range<usize>> {
    let mut secrets = anywhere(text);
    let mut done = 0;
    for found in KEY.captures_iter(text) {
        let Some(key) = found.get(1).filter(|key| is_secret(key.as_str())) else { continue };
        if key.start() < done {
            continue;
        }
        let line_start = text[..key.start()].rfind('\n').map_or(0, |newline| newline + 1);
        let indent = indent_of(&text[line_start..]);
        let value = found.get_match().end();
        // A variable with its default, which is hidden anyway.
        if text[value..].starts_with('-') && text[..key.start()].ends_with("${") {
            continue;
        }
        done = text[value..].find('\n').map_or(text.len(), |len| value + len + 1);
        secrets.push(trimmed(text, value..done));
        // A value of many lines is indented.
        for line in text[done..].split_inclusive('\n') {
            if !line.trim().is_empty() && indent_of(line) <= indent {
                break;
            }
            secrets.push(trimmed(text, done..done + line.len()));
            done += line.len();
        }
    }
    secrets
}

fn indent_of(line: &str) -> usize {
    line.len() - line.trim_start_matches([' ', '\t']).len()
}

fn trimmed(text: &str, range: Range<usize>) -> Range<usize> {
    let part = &text[range.clone()];
    let start = range.start + (part.len() - part.trim_start().len());
    start..start + part.trim().len()
}

/// What is a secret wherever it stands: credentials in URLs, and what `${VAR:-default}` says.
fn anywhere(text: &str) -> Vec<Range<usize>> {
    let group = |found: regex::Captures<'_>| found.iter().flatten().nth(1).map(|m| m.range());
    IN_URL.captures_iter(text).chain(DEFAULT.captures_iter(text)).filter_map(group).collect()
}

/// A key or value as it was written, for a message. Where a quote was forgotten, it holds what
/// were keys with their values.
pub(super) fn written(text: &str) -> String {
    Masked::new(text, by_sight(text)).text
}

fn collect(node: &Node, secret: bool, secrets: &mut Vec<Range<usize>>) {
    match &node.value {
        Value::Text(_) | Value::Broken if secret => secrets.push(node.span.clone()),
        Value::Null | Value::Text(_) | Value::Broken => {}
        Value::List(items) => items.iter().for_each(|item| collect(item, secret, secrets)),
        Value::Map(entries) => {
            for (key, value) in entries {
                match key.name.as_str() {
                    "rules" => of_rules(value, secrets),
                    "username" => collect(value, false, secrets),
                    name if name.ends_with("_file") => collect(value, false, secrets),
                    name => collect(value, secret || is_secret(name), secrets),
                }
            }
        }
    }
}

/// Rules name fields and labels, which are no secrets whatever they are called, but for one key.
fn of_rules(node: &Node, secrets: &mut Vec<Range<usize>>) {
    match &node.value {
        Value::Null | Value::Text(_) | Value::Broken => {}
        Value::List(items) => items.iter().for_each(|item| of_rules(item, secrets)),
        Value::Map(entries) => {
            for (key, value) in entries {
                match key.name.as_str() {
                    "hash_secret" => collect(value, true, secrets),
                    _ => of_rules(value, secrets),
                }
            }
        }
    }
}

fn is_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    !key.ends_with("_file") && SECRET_WORDS.iter().any(|word| key.contains(word))
}
