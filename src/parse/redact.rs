//! Takes what should not be stored out of a text: addresses, tokens, card numbers.
//!
//! A JSON text is redacted value by value, as its strings read once they are unescaped: `\na@b.org`
//! has an address in it that does not begin with an `n`. So it stays JSON; where a number was, there
//! is a string then.

use core::net::Ipv6Addr;
use std::borrow::Cow;
use std::fmt::Write as _;
use std::ops::Range;

use aws_lc_rs::hmac;
use memchr::{memchr, memmem};
use regex::{Captures, Regex};
use secrecy::ExposeSecret as _;
use serde::de::IgnoredAny;

use super::rule::{Private, Redact};

/// Bytes of a hash that are shown: enough to tell values apart, and no more digits in a row than a
/// card number has.
const HASH_BYTES: usize = 6;

/// A compiled `rule::Redact`. Each parser has its own: threads that share a regular expression wait
/// for its caches.
#[derive(Debug, Clone)]
pub(super) struct Redactor {
    finders: Vec<Finder>,
    key: Option<hmac::Key>,
}

#[derive(Debug, Clone)]
struct Finder {
    what: Private,
    regex: Regex,
    with: String,
}

impl Redactor {
    pub(super) fn new(redact: &Redact) -> Self {
        let key = redact.hash.as_ref();
        let key = key.map(|key| hmac::Key::new(hmac::HMAC_SHA256, key.expose_secret().as_bytes()));
        let finder = |what: &Private| Finder {
            regex: what.regex(),
            with: redact.with.clone().unwrap_or_else(|| what.name().to_owned()),
            what: what.clone(),
        };
        Self { finders: redact.what.iter().map(finder).collect(), key }
    }

    /// `text` without what is looked for. `is_json`: it looks like JSON, and stays it if it is.
    pub(super) fn redact<'t>(&self, text: &'t str, is_json: bool) -> Cow<'t, str> {
        let mut redacted = Cow::Borrowed(text);
        for finder in &self.finders {
            if let Some(text) = self.pass(finder, &redacted, is_json) {
                redacted = Cow::Owned(text);
            }
        }
        redacted
    }

    fn pass(&self, finder: &Finder, text: &str, is_json: bool) -> Option<String> {
        // Behind a backslash it may be written in a way that only shows when it is read.
        let may_hide = is_json && memchr(b'\\', text.as_bytes()).is_some();
        let may_match = may_hide || finder.what.may_be_in(text) && finder.regex.is_match(text);
        if !may_match {
            return None;
        }
        if !is_json || serde_json::from_str::<IgnoredAny>(text).is_err() {
            return self.replace(finder, text, false);
        }
        let redacted = self.json(finder, text);
        let Private::Pattern(_) = finder.what else { return redacted };
        let across = self.replace(finder, redacted.as_deref().unwrap_or(text), true);
        across.or(redacted)
    }

    /// Redacts plain text; `across` are only those matches in JSON that no value holds alone.
    fn replace(&self, finder: &Finder, text: &str, across: bool) -> Option<String> {
        let (mut out, mut done) = (String::new(), 0);
        for captures in finder.regex.captures_iter(text) {
            if across && !captures[0].contains('"') {
                continue;
            }
            let Some(place) = finder.what.place(text, &captures) else { continue };
            let is_number = across && !is_in_string(&text[..place.start]);
            let quote = if is_number && !text[place.clone()].contains('"') { "\"" } else { "" };
            out.push_str(&text[done..place.start]);
            out.push_str(quote);
            self.write(&mut out, finder, &text[place.clone()]);
            out.push_str(quote);
            done = place.end;
            // What is left must not begin with half of `\"`.
            if across && is_escape_begun(&text[..done]) {
                done = text.ceil_char_boundary(done + 1);
            }
        }
        if done == 0 {
            return None;
        }
        out.push_str(&text[done..]);
        Some(out)
    }

    /// Redacts each string and number of a JSON text.
    fn json(&self, finder: &Finder, text: &str) -> Option<String> {
        let (mut out, mut rest, mut has_changed) = (String::new(), text, false);
        while !rest.is_empty() {
            let (token, after) = rest.split_at(token_len(rest));
            let redacted = self.token(finder, token);
            has_changed |= redacted.is_some();
            out.push_str(redacted.as_deref().unwrap_or(token));
            rest = after;
        }
        has_changed.then_some(out)
    }

    fn token(&self, finder: &Finder, token: &str) -> Option<String> {
        let value = match token.as_bytes().first()? {
            b'"' if !token.contains('\\') => Cow::Borrowed(token.trim_matches('"')),
            b'"' => Cow::Owned(serde_json::from_str(token).ok()?),
            // A part of a fraction is no card.
            b'0'..=b'9' | b'-'
                if !matches!(finder.what, Private::Card)
                    || token.bytes().all(|byte| byte.is_ascii_digit()) =>
            {
                Cow::Borrowed(token)
            }
            _ => return None,
        };
        if !finder.what.may_be_in(&value) {
            return None;
        }
        serde_json::to_string(&self.replace(finder, &value, false)?).ok()
    }

    /// `<email>`, or with a key `<email:3fa85f645717>`, by which equal values are known.
    fn write(&self, out: &mut String, finder: &Finder, value: &str) {
        let Some(key) = &self.key else {
            return write!(out, "<{}>", finder.with).expect("BUG: a String takes all");
        };
        write!(out, "<{}:", finder.with).expect("BUG: a String takes all");
        for byte in &hmac::sign(key, value.as_bytes()).as_ref()[..HASH_BYTES] {
            write!(out, "{byte:02x}").expect("BUG: a String takes all");
        }
        out.push('>');
    }
}

/// The length of the string, the number, or what is between those, that JSON begins with.
fn token_len(text: &str) -> usize {
    let is_number = |c: char| c.is_ascii_digit() || c == '-';
    let mut chars = text.char_indices();
    match chars.next() {
        Some((_, '"')) => {
            let mut is_escaped = false;
            let end = chars.find(|&(_, c)| {
                let is_end = c == '"' && !is_escaped;
                is_escaped = c == '\\' && !is_escaped;
                is_end
            });
            end.map_or(text.len(), |(at, _)| at + 1)
        }
        Some((_, c)) if is_number(c) => {
            let is_more = |c: char| is_number(c) || matches!(c, '.' | 'e' | 'E' | '+');
            text.find(|c| !is_more(c)).unwrap_or(text.len())
        }
        _ => text.find(|c| c == '"' || is_number(c)).unwrap_or(text.len()),
    }
}

/// Whether a string is open at the end of `json`.
fn is_in_string(json: &str) -> bool {
    let mut rest = json;
    while let Some(begin) = rest.find('"') {
        let string = &rest[begin..];
        let len = token_len(string);
        if len == 1 || !string[..len].ends_with('"') || is_escape_begun(&string[..len - 1]) {
            return true;
        }
        rest = &string[len..];
    }
    false
}

/// Whether `text` ends with a backslash that belongs to what follows.
fn is_escape_begun(text: &str) -> bool {
    text.bytes().rev().take_while(|byte| *byte == b'\\').count() % 2 == 1
}

impl Private {
    /// What it is called where it was.
    fn name(&self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::Bearer => "token",
            Self::Card => "card",
            Self::Ip => "ip",
            Self::Pattern(_) => "redacted",
        }
    }

    fn regex(&self) -> Regex {
        let pattern = match self {
            Self::Email => {
                r"[A-Za-z0-9][A-Za-z0-9._%+-]*@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,}"
            }
            Self::Bearer => {
                r"(?i:bearer|basic)\s+([A-Za-z0-9._~+/-]{8,}=*)|\b(eyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*)"
            }
            Self::Card => r"\b[2-6](?:[ -]?[0-9]){12,18}\b",
            Self::Ip => r"[0-9]+(?:\.[0-9]+){3,}|[0-9A-Fa-f]*:[0-9A-Fa-f:.]*:[0-9A-Fa-f.]*",
            Self::Pattern(regex) => return regex.clone(),
        };
        Regex::new(pattern).expect("BUG: a pattern of ours is wrong")
    }

    /// Quickly, whether it is worth to look.
    fn may_be_in(&self, text: &str) -> bool {
        let bytes = text.as_bytes();
        match self {
            Self::Email => memchr(b'@', bytes).is_some(),
            Self::Bearer => ["earer", "EARER", "asic", "ASIC", "eyJ"]
                .iter()
                .any(|part| memmem::find(bytes, part.as_bytes()).is_some()),
            Self::Card => may_have_card(bytes),
            Self::Pattern(_) => true,
            Self::Ip => may_have_ip(bytes),
        }
    }

    /// What of a match goes, if it is what it looks like.
    fn place(&self, text: &str, captures: &Captures<'_>) -> Option<Range<usize>> {
        let whole = captures.get(0)?.range();
        let place = captures.iter().skip(1).flatten().next().map_or(whole, |group| group.range());
        let found = &text[place.clone()];
        let is_it = match self {
            Self::Email | Self::Bearer | Self::Pattern(_) => !place.is_empty(),
            Self::Card => has_checksum(found) && !is_fraction(&text[..place.start]),
            Self::Ip => is_ip(text, &place),
        };
        is_it.then_some(place)
    }
}

/// Whether what follows `text` is behind the point of a decimal.
fn is_fraction(text: &str) -> bool {
    text.strip_suffix('.').is_some_and(|whole| whole.ends_with(|c: char| c.is_ascii_digit()))
}

/// Whether there are digits enough in a row, with at most one character between two.
fn may_have_card(bytes: &[u8]) -> bool {
    let (mut digits, mut gap) = (0, false);
    bytes.iter().any(|byte| {
        if byte.is_ascii_digit() {
            (digits, gap) = (digits + 1, false);
        } else if matches!(byte, b' ' | b'-') && !gap && 0 < digits {
            gap = true;
        } else {
            (digits, gap) = (0, false);
        }
        digits == 13
    })
}

/// Whether there are four numbers with points between, or colons as an address of version 6 has.
fn may_have_ip(bytes: &[u8]) -> bool {
    let (mut points, mut colons, mut last) = (0, 0, 0);
    bytes.iter().any(|&byte| {
        let follows_digit = u8::is_ascii_digit(&last);
        let is_double = byte == b':' && last == b':';
        last = byte;
        match byte {
            b'0'..=b'9' => {}
            b'.' if follows_digit => points += 1,
            b':' => (points, colons) = (0, colons + 1),
            b'a'..=b'f' | b'A'..=b'F' => points = 0,
            _ => (points, colons) = (0, 0),
        }
        is_double || colons == 7 || points == 3 && byte.is_ascii_digit()
    })
}

/// Luhn's, ISO/IEC 7812-1 annex B.
fn has_checksum(number: &str) -> bool {
    let digits = number.bytes().rev().filter(u8::is_ascii_digit).map(|byte| u32::from(byte - b'0'));
    let sum: u32 = digits
        .enumerate()
        .map(|(idx, digit)| match idx % 2 {
            0 => digit,
            _ => digit * 2 / 10 + digit * 2 % 10,
        })
        .sum();
    sum.is_multiple_of(10)
}

/// An address of version 4 or 6, and no version, time or path of a module.
fn is_ip(text: &str, place: &Range<usize>) -> bool {
    let is_word = |c: char| c.is_alphanumeric() || matches!(c, '_' | ':' | '.');
    let before = text[..place.start].chars().next_back();
    let after = text[place.end..].chars().next();
    if before.is_some_and(is_word) || after.is_some_and(|c| c.is_alphanumeric() || c == '_') {
        return false;
    }
    let found = &text[place.clone()];
    if !found.contains(':') {
        let parts = || found.split('.');
        return parts().count() == 4 && parts().all(|part| part.parse::<u8>().is_ok());
    }
    found.bytes().any(|byte| byte.is_ascii_digit()) && found.parse::<Ipv6Addr>().is_ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn redactor(what: &[Private], hash: Option<&str>) -> Redactor {
        let hash = hash.map(Into::into);
        Redactor::new(&Redact { what: what.to_vec(), with: None, places: vec![], hash })
    }

    fn all() -> Redactor {
        redactor(&[Private::Email, Private::Bearer, Private::Card, Private::Ip], None)
    }

    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(all().redact(text, text.starts_with('{')), expected);
    }

    #[test]
    fn addresses_go() {
        check("from a.b+c@mail.example.com, to <x@y.org>", "from <email>, to <<email>>");
        check("no@address and @decorator", "no@address and @decorator");
        check("10.0.0.1:8080 and 255.255.255.255", "<ip>:8080 and <ip>");
        check(
            "1.2.3 1.2.3.4.5 256.1.1.1 v1.2.3.4 1.2.3.4",
            "1.2.3 1.2.3.4.5 256.1.1.1 v1.2.3.4 <ip>",
        );
        check("[2001:db8::1]:443 fe80::1 ::1", "[<ip>]:443 <ip> <ip>");
        check("at 10:20:05 in std::fmt::Write a::b", "at 10:20:05 in std::fmt::Write a::b");
    }

    #[test]
    fn tokens_go() {
        check("Authorization: Bearer abcDEF123._-~+/=", "Authorization: Bearer <token>");
        check("basic dXNlcjpwYXNz", "basic <token>");
        check("basic facts, the bearer of", "basic facts, the bearer of");
        check("jwt=eyJhbGciOi.eyJzdWIi.c2ln", "jwt=<token>");
    }

    #[test]
    fn card_numbers_go_when_their_checksum_is_right() {
        check("4111 1111 1111 1111, 5500-0000-0000-0004", "<card>, <card>");
        check(
            "4111111111111112 1795342805000 12345678901234567890",
            "4111111111111112 1795342805000 12345678901234567890",
        );
        check(
            r#"{"card":4111111111111111,"n":[378282246310005]}"#,
            r#"{"card":"<card>","n":["<card>"]}"#,
        );
        check(r#"{"card":"4111111111111111"}"#, r#"{"card":"<card>"}"#);
    }

    #[test]
    fn json_stays_json() {
        check(r#"{"m":"x\na@b.org"}"#, r#"{"m":"x\n<email>"}"#);
        check(r#"{"m":"\u003ca@b.org\u003e"}"#, r#"{"m":"<<email>>"}"#);
        check(r#"{"m":"a\u0040b.org \u00e9@b.org"}"#, r#"{"m":"<email> é@b.org"}"#);
        check(r#"{"m":"\t4111111111111111\n10.0.0.1"}"#, r#"{"m":"\t<card>\n<ip>"}"#);
        check(r#"{"m":"of, 4111111111111111, it"}"#, r#"{"m":"of, <card>, it"}"#);
        let numbers = r#"{"n":[0.4111111111111111,-4111111111111111,4111111111111111.5]}"#;
        check(numbers, numbers);
        check("{at 4111 1111 1111 1111", "{at <card>");
        check("0.4111111111111111 no.4111111111111111", "0.4111111111111111 no.<card>");
    }

    #[test]
    fn patterns_across_values_of_json() {
        let seen = |pattern: &str, text| {
            let what = Private::Pattern(Regex::new(pattern).unwrap());
            redactor(&[what], None).redact(text, true).into_owned()
        };
        let password = r#""password":"([^"]*)""#;
        assert_eq!(
            seen(password, r#"{"password":"x","n":1}"#),
            r#"{"password":"<redacted>","n":1}"#
        );
        assert_eq!(seen(password, r#"{"password":"x\"y"}"#), r#"{"password":"<redacted>y"}"#);
        assert_eq!(seen(r#""pin":([0-9]+)"#, r#"{"pin":123}"#), r#"{"pin":"<redacted>"}"#);
        assert_eq!(seen("[0-9]{3}", r#"{"a\u0041":1234}"#), r#"{"a\u0041":"<redacted>4"}"#);
    }

    #[test]
    fn a_hash_tells_values_apart() {
        let keyed = redactor(&[Private::Email], Some("a key of some length"));
        let other = redactor(&[Private::Email], Some("another key"));
        let seen = keyed.redact("a@b.org c@d.org a@b.org", false).into_owned();
        let parts: Vec<&str> = seen.split(' ').collect();
        assert_eq!(parts[0], parts[2]);
        assert_ne!(parts[0], parts[1]);
        assert_ne!(other.redact("a@b.org", false), parts[0]);
        assert!(Regex::new("^<email:[0-9a-f]{12}>$").unwrap().is_match(parts[0]), "{seen}");
    }

    #[test]
    fn patterns_of_ones_own() {
        let group = Private::Pattern(Regex::new("password=([^ ]+)").unwrap());
        let whole = Private::Pattern(Regex::new("[0-9]{3}").unwrap());
        let seen = redactor(&[group, whole], None);
        assert_eq!(seen.redact("password=x1 123", false), "password=<redacted> <redacted>");
    }

    proptest! {
        /// Once is enough, and JSON stays JSON.
        #[test]
        fn redacted_is_redacted(
            values in prop::collection::vec(
                prop_oneof![
                    "[ -~é\n\t]{0,40}",
                    "[\n\té,\\[<\"\\\\]{0,3}(a@b[.]org|4111111111111111|10[.]0[.]0[.]1|Bearer abcdefgh)[,\\]\n\"]?",
                    prop::sample::select(vec![
                        "a@b.org", "Bearer abcdefgh12", "4111111111111111", "10.0.0.1", "::1",
                        "eyJhbGciOi.eyJzdWIi.c2ln",
                    ]).prop_map(str::to_owned),
                ],
                0..6,
            ),
            number: u64,
        ) {
            let redactor = all();
            let line = serde_json::json!({"values": values, "n": number, "card": 4_111_111_111_111_111_u64});
            let text = line.to_string();
            let once = redactor.redact(&text, true).into_owned();
            prop_assert!(serde_json::from_str::<serde_json::Value>(&once).is_ok(), "{}", once);
            prop_assert_eq!(redactor.redact(&once, true), once.clone());
        }
    }
}
