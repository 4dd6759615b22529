//! The tokens that label strings and LogQL share: names and quoted strings, with Prometheus'
//! lexer (`promql/parser/lex.go`) as the model.

/// Where a text stops being a label set or query.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("1:{column}: parse error: {what}")]
pub struct ParseError {
    /// The first byte of the token at fault, counted from 1.
    pub column: usize,
    /// What is wrong with it.
    pub what: String,
}

/// A cursor over a text.
#[derive(Debug, Clone)]
pub(super) struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    pub(super) fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    /// Goes past `token` if the text goes on with it.
    pub(super) fn eat(&mut self, token: &str) -> bool {
        let found = self.text[self.at..].starts_with(token);
        if found {
            self.at += token.len();
        }
        found
    }

    /// Goes past white space and comments.
    pub(super) fn skip_space(&mut self) {
        loop {
            let rest = self.text[self.at..].trim_start_matches([' ', '\t', '\n', '\r']);
            self.at = self.text.len() - rest.len();
            if !rest.starts_with('#') {
                return;
            }
            self.at += rest.find('\n').unwrap_or(rest.len());
        }
    }

    /// `[a-zA-Z_][a-zA-Z0-9_]*`, and with `colons` also `:`; empty if there is none.
    pub(super) fn name(&mut self, colons: bool) -> &'a str {
        let rest = &self.text[self.at..];
        let starts = |c: char| c.is_ascii_alphabetic() || c == '_' || colons && c == ':';
        if !rest.starts_with(starts) {
            return "";
        }
        let len = rest.find(|c| !(starts(c) || c.is_ascii_digit())).unwrap_or(rest.len());
        self.at += len;
        &rest[..len]
    }

    /// A quoted string, unescaped; `None` if there is no quote here.
    pub(super) fn string(&mut self) -> Result<Option<String>, ParseError> {
        let start = self.at;
        let Some(quote @ ('"' | '\'' | '`')) = self.peek() else { return Ok(None) };
        self.at += 1;
        let mut bytes = Vec::new();
        loop {
            match self.next() {
                Some(c) if c == quote => break,
                Some('\\') if quote != '`' => {
                    self.escape(quote, &mut bytes).map_err(|what| error(start, what))?;
                }
                Some('\n') if quote != '`' => return Err(error(start, UNTERMINATED)),
                None if quote == '`' => return Err(error(start, "unterminated raw string")),
                None => return Err(error(start, UNTERMINATED)),
                // Escaped it passes, and fails when Loki reads its own print of the set.
                Some(char::REPLACEMENT_CHARACTER) => return Err(error(start, INVALID)),
                Some(c) => bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        String::from_utf8(bytes).map(Some).map_err(|_| error(start, INVALID))
    }

    /// What stands behind a backslash.
    fn escape(&mut self, quote: char, bytes: &mut Vec<u8>) -> Result<(), String> {
        let (digits, base, max) = match self.next() {
            None => return Err("escape sequence not terminated".to_owned()),
            Some(c) => {
                if let Some(byte) = simple_escape(c, quote) {
                    bytes.push(byte);
                    return Ok(());
                }
                match c {
                    '0'..='7' => {
                        self.at -= 1;
                        (3, 8, 0xff)
                    }
                    'x' => (2, 16, 0xff),
                    'u' => (4, 16, 0x10_ffff),
                    'U' => (8, 16, 0x10_ffff),
                    _ => return Err(format!("unknown escape sequence {}", with_code(c))),
                }
            }
        };
        let mut value: u64 = 0;
        for _ in 0..digits {
            let Some(c) = self.next() else {
                return Err("escape sequence not terminated".to_owned());
            };
            let Some(digit) = c.to_digit(base) else {
                return Err(format!("illegal character {} in escape sequence", with_code(c)));
            };
            value = value * u64::from(base) + u64::from(digit);
        }
        let code = u32::try_from(value).ok().filter(|&code| code <= max).and_then(char::from_u32);
        let Some(c) = code else {
            return Err("escape sequence is an invalid Unicode code point".to_owned());
        };
        match u8::try_from(value) {
            Ok(byte) if max == 0xff => bytes.push(byte),
            _ => bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
        Ok(())
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += c.len_utf8();
        Some(c)
    }

    /// An error at the cursor.
    pub(super) fn error(&self, what: impl Into<String>) -> ParseError {
        error(self.at, what)
    }

    /// What is at the cursor, as errors show it.
    pub(super) fn found(&self) -> String {
        let mut ahead = self.clone();
        if ahead.peek().is_none() {
            return "end of input".to_owned();
        }
        for operator in ["!=", "=~", "!~"] {
            if ahead.eat(operator) {
                return format!("<op:{operator}>");
            }
        }
        let start = self.at;
        if ahead.string() == Ok(None) && ahead.name(true).is_empty() {
            ahead.next();
        }
        let token = &self.text[start..ahead.at];
        match token.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
            true => format!("identifier {token:?}"),
            false if token.len() > 1 => format!("string {token:?}"),
            false => format!("{token:?}"),
        }
    }
}

const INVALID: &str = "invalid UTF-8 rune";
const UNTERMINATED: &str = "unterminated quoted string";

fn error(at: usize, what: impl Into<String>) -> ParseError {
    ParseError { column: at + 1, what: what.into() }
}

fn simple_escape(c: char, quote: char) -> Option<u8> {
    Some(match c {
        'a' => 0x07,
        'b' => 0x08,
        'f' => 0x0c,
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        'v' => 0x0b,
        '\\' => b'\\',
        _ if c == quote => u8::try_from(quote).expect("BUG: quotes are ASCII"),
        _ => return None,
    })
}

/// Go's `%#U`.
fn with_code(c: char) -> String {
    format!("U+{:04X} '{c}'", u32::from(c))
}
