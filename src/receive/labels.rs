//! Label sets: read from a push's label string, printed as Loki prints them.

use std::fmt::{self, Write as _};

use serde::{Serialize, Serializer};

use super::scanner::{ParseError, Scanner};

/// The labels of a stream, sorted by name. No value is empty.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Labels(Vec<(String, String)>);

impl Labels {
    /// Reads a label string by Loki's grammar, e.g. `{app="veogen", level="info"}`. A label with
    /// an empty value is absent, and takes others of its name with it. Other duplicates stay.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let mut scan = Scanner::new(text);
        let mut pairs = Vec::new();
        scan.skip_space();
        let metric = scan.name(true);
        scan.skip_space();
        if scan.eat("{") {
            inside_braces(&mut scan, &mut pairs)?;
        }
        if !metric.is_empty() {
            pairs.retain(|(name, _)| name != "__name__");
            pairs.push(("__name__".to_owned(), metric.to_owned()));
        }
        scan.skip_space();
        if scan.peek() == Some('}') {
            return Err(scan.error("unexpected character: '}'"));
        }
        if scan.peek().is_some() {
            return Err(scan.error(format!("unexpected {}", scan.found())));
        }
        let absent: Vec<String> =
            pairs.iter().filter(|(_, v)| v.is_empty()).map(|(n, _)| n.clone()).collect();
        pairs.retain(|(name, _)| !absent.contains(name));
        Ok(Self::from_pairs(pairs))
    }

    /// The labels `pairs`, in any order.
    #[must_use]
    pub fn from_pairs(mut pairs: Vec<(String, String)>) -> Self {
        pairs.sort_by(|a, b| a.0.cmp(&b.0));
        Self(pairs)
    }

    /// The value of the label `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// Names and values, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// How many labels there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no label.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The same with one more label.
    pub(super) fn with(&self, name: &str, value: &str) -> Self {
        let mut pairs = self.0.clone();
        pairs.push((name.to_owned(), value.to_owned()));
        Self::from_pairs(pairs)
    }

    /// Whether `text`, in which these labels were sent or printed, can be read once more: U+FFFD
    /// in a value passes once, escaped, and never as Loki prints it.
    pub(super) fn reparse(&self, text: &str) -> Result<(), ParseError> {
        if !self.0.iter().any(|(_, value)| value.contains(char::REPLACEMENT_CHARACTER)) {
            return Ok(());
        }
        Self::parse(text).map(|_| ())
    }
}

/// The rest of a label set behind its `{`.
fn inside_braces(
    scan: &mut Scanner<'_>,
    pairs: &mut Vec<(String, String)>,
) -> Result<(), ParseError> {
    loop {
        known(scan)?;
        // A trailing comma is allowed, a leading one is not.
        if scan.eat("}") {
            return Ok(());
        }
        let name = scan.name(false);
        if name.is_empty() {
            return Err(unexpected(scan, "identifier or \"}\""));
        }
        known(scan)?;
        if !scan.eat("=") {
            return Err(unexpected(scan, "\"=\""));
        }
        known(scan)?;
        let Some(value) = scan.string()? else { return Err(unexpected(scan, "string")) };
        pairs.push((name.to_owned(), value));
        known(scan)?;
        if scan.eat(",") {
            continue;
        }
        if scan.eat("}") {
            return Ok(());
        }
        return Err(unexpected(scan, "\",\" or \"}\""));
    }
}

/// Goes to the next token and refuses what is none inside braces.
fn known(scan: &mut Scanner<'_>) -> Result<(), ParseError> {
    scan.skip_space();
    match scan.peek() {
        None => Err(scan.error("unexpected end of input inside braces")),
        Some('}' | ',' | '=' | '!' | '~' | '"' | '\'' | '`' | '_') => Ok(()),
        Some(c) if c.is_ascii_alphabetic() => Ok(()),
        Some(c) => Err(scan.error(format!("unexpected character inside braces: {c:?}"))),
    }
}

fn unexpected(scan: &Scanner<'_>, expected: &str) -> ParseError {
    scan.error(format!("unexpected {} in label set, expected {expected}", scan.found()))
}

/// Loki's own spelling: sorted, `", "` between pairs, values quoted as Go does it.
impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('{')?;
        for (n, (name, value)) in self.iter().enumerate() {
            let comma = if n == 0 { "" } else { ", " };
            write!(f, "{comma}{name}=")?;
            quote(f, value)?;
        }
        f.write_char('}')
    }
}

fn quote(f: &mut fmt::Formatter<'_>, value: &str) -> fmt::Result {
    f.write_char('"')?;
    for c in value.chars() {
        match c {
            '"' | '\\' => write!(f, "\\{c}")?,
            '\x07' => f.write_str("\\a")?,
            '\x08' => f.write_str("\\b")?,
            '\x0c' => f.write_str("\\f")?,
            '\n' => f.write_str("\\n")?,
            '\r' => f.write_str("\\r")?,
            '\t' => f.write_str("\\t")?,
            '\x0b' => f.write_str("\\v")?,
            _ if c.is_ascii_control() => write!(f, "\\x{:02x}", u32::from(c))?,
            _ if is_printable(c) => f.write_char(c)?,
            _ if u32::from(c) < 0x1_0000 => write!(f, "\\u{:04x}", u32::from(c))?,
            _ => write!(f, "\\U{:08x}", u32::from(c))?,
        }
    }
    f.write_char('"')
}

/// Go's `unicode.IsPrint`, which escapes what Rust's `Debug` of a text escapes.
fn is_printable(c: char) -> bool {
    c.is_ascii() || format!("a{c}").escape_debug().nth(1) == Some(c)
}

impl Serialize for Labels {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}
