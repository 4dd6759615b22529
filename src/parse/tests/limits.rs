//! Bytes that are not text, and everything that is too long or too many.

use super::{
    Field, Format, Line, NOW, Rule, Verdict, field, first, flags, metadata, options, parser,
};
use crate::model::{LABEL_VALUE_BYTES_MAX, METADATA_BYTES_MAX, METADATA_PAIRS_MAX, Stamp};

/// Reads `bytes` with a limit of 8 bytes a line: the text, `truncated_from`, the flags.
fn check(bytes: &[u8], truncated_from: Option<u64>, text: &str, from: &str, expected: &str) {
    let mut options = options(Format::TEXT);
    options.line_bytes = 8;
    let mut parser = parser(&options);
    let line = Line { bytes, truncated_from };
    let seen = parser.line(line, &mut Stamp::default(), NOW, |verdict| match verdict {
        Verdict::Emit(entry) => {
            let pairs: Vec<_> =
                entry.metadata.iter().map(|pair| format!("{}={}", pair.name, pair.value)).collect();
            (entry.line.to_owned(), pairs.join(" "))
        }
        verdict @ (Verdict::Drop(_) | Verdict::NotBefore(_)) => panic!("{verdict:?}"),
    });
    let from = if from.is_empty() { String::new() } else { format!("truncated_from={from}") };
    assert_eq!(seen, (text.to_owned(), from), "{bytes:?}");
    let all = format!("{expected} no_timestamp");
    assert_eq!(flags(&parser), all.trim(), "{bytes:?}");
}

#[test]
fn bytes_become_text() {
    check(b"", None, "", "", "");
    check(b"\r", None, "", "", "");
    check(b"a\r\r", None, "a\r", "", "");
    check(b"\0\0\0", None, "\0\0\0", "", "");
    check(b"12345678", None, "12345678", "", "");
    check(b"12345678\r", None, "12345678", "", "");
    check("1234567é".as_bytes(), None, "1234567", "9", "truncated");
    check("12345é".as_bytes(), Some(100), "12345é", "100", "truncated");
    check(&"12345é".as_bytes()[..6], Some(100), "12345", "100", "truncated");
    check(b"1234567\r", Some(100), "1234567\r", "100", "truncated");
    check(b"123456789", Some(100), "12345678", "100", "truncated");
    check(&"1😀".as_bytes()[..4], Some(9), "1", "9", "truncated");
    check(b"a\xffb", None, "a\u{FFFD}b", "", "invalid_utf8");
    check(b"\xff", None, "\u{FFFD}", "", "invalid_utf8");
    check(b"ab\xe2\x82", None, "ab\u{FFFD}", "", "invalid_utf8");
    check(b"\xff\xff\xff", None, "\u{FFFD}\u{FFFD}", "3", "invalid_utf8 truncated");
    check(b"123456\xff", None, "123456", "7", "invalid_utf8 truncated");
    check(b"\xed\xa0\x80", None, "\u{FFFD}\u{FFFD}", "3", "invalid_utf8 truncated");
    check(b"\x80\x80\x80\x80", Some(9), "\u{FFFD}\u{FFFD}", "9", "invalid_utf8 truncated");
}

#[test]
fn a_cut_line_keeps_the_fields_before_the_cut() {
    let mut options = options(Format::JSON);
    options.line_bytes = 30;
    let line = br#"{"level":"info","user_id":"u1","trace_id":"t1"}"#;
    let (seen, flags) = first(&options, line, |entry| {
        let pairs: Vec<_> = entry.metadata.iter().map(|pair| (pair.name, pair.value)).collect();
        format!("{:?} {pairs:?} {}", entry.labels, entry.line)
    });
    let text = r#"{"level":"info","user_id":"u1""#;
    assert_eq!(
        seen,
        format!(r#"["info", ""] [("user_id", "u1"), ("truncated_from", "47")] {text}"#)
    );
    assert_eq!(flags, "truncated no_timestamp");
}

/// The label `level` and metadata `user_id` of a line in which both are `raw`.
fn values(raw: &[u8]) -> (String, String, String) {
    let mut line = br#"{"level":""#.to_vec();
    line.extend_from_slice(raw);
    line.extend_from_slice(br#"","user_id":""#);
    line.extend_from_slice(raw);
    line.extend_from_slice(br#"","ts":1795342805}"#);
    let mut options = options(Format::AUTO);
    options.line_bytes = 8 << 20;
    let ((label, pair), flags) = first(&options, &line, |entry| {
        let pair = entry.metadata.first().map_or("", |pair| pair.value);
        (entry.labels[0].to_owned(), pair.to_owned())
    });
    (label, pair, flags)
}

#[test]
fn values_are_what_loki_takes() {
    let check = |raw: &[u8], label: &str, pair: &str, flags: &str| {
        let expected = (label.to_owned(), pair.to_owned(), flags.to_owned());
        assert_eq!(values(raw), expected, "{:?}", String::from_utf8_lossy(raw));
    };
    check("é\u{7f}".as_bytes(), "é\u{7f}", "é\u{7f}", "");
    check(b"a\\u0000\\n", "a\0\n", "a\0\n", "");
    check("a\u{FFFD}b".as_bytes(), "a b", "a b", "label_cleaned");
    check(b"\\ufffd", " ", " ", "label_cleaned");
    check(b"a\xff\xfe", "a  ", "a  ", "invalid_utf8 label_cleaned");
    check(b"a\xe2\x82b", "a b", "a b", "invalid_utf8 label_cleaned");
    let long = "x".repeat(LABEL_VALUE_BYTES_MAX);
    check(long.as_bytes(), &long, &long, "");
    let longer = format!("{long}x");
    check(longer.as_bytes(), &long, &longer, "label_cleaned");
    let odd = format!("x{}", "é".repeat(1024));
    check(odd.as_bytes(), &odd[..2047], &odd, "label_cleaned");
    let invalid = "\u{FFFD}".repeat(2049);
    check(invalid.as_bytes(), &" ".repeat(2048), &" ".repeat(2049), "label_cleaned");
    let megabyte = "x".repeat(1 << 20);
    check(megabyte.as_bytes(), &long, "", "label_cleaned metadata_cut");
}

#[test]
fn metadata_stays_within_lokis_limits() {
    let names: Vec<_> = (0..200).map(|idx| format!("name{idx}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let mut options = options(Format::JSON);
    options.line_bytes = 1 << 20;
    options.rules = vec![metadata(&names)];
    for (len, pairs_min) in [(1, 125), (500, 125), (600, 100), (65_000, 1), (70_000, 0)] {
        let value = "é".repeat(len / 2) + &"x".repeat(len % 2);
        let fields: Vec<_> = names.iter().map(|name| format!("\"{name}\":\"{value}\"")).collect();
        let mut line = format!("{{{}}}", fields.join(","));
        if line.len() > 1 << 20 {
            line = format!("{{{}}}", fields[..10].join(","));
        }
        let ((pairs, bytes), flags) = first(&options, line.as_bytes(), |entry| {
            let sizes = entry.metadata.iter().map(|pair| pair.name.len() + pair.value.len());
            (entry.metadata.len(), sizes.sum::<usize>())
        });
        assert!(pairs_min <= pairs && pairs <= METADATA_PAIRS_MAX - 3, "{len}: {pairs}");
        assert!(bytes <= METADATA_BYTES_MAX - 256, "{len}: {bytes}");
        assert_eq!(flags, "metadata_cut no_timestamp");
    }
}

#[test]
fn a_value_too_large_leaves_room_for_the_next() {
    let mut options = options(Format::JSON);
    options.rules = vec![Rule::Metadata(vec![
        field("big", &["big"]),
        Field { default: Some("d".to_owned()), ..field("small", &["small"]) },
    ])];
    let line = format!("{{\"big\":\"{}\"}}", "x".repeat(METADATA_BYTES_MAX));
    let (pairs, flags) = first(&options, line.as_bytes(), |entry| {
        entry.metadata.iter().map(|pair| format!("{pair:?}")).collect::<Vec<_>>()
    });
    assert_eq!(pairs, [r#"Pair { name: "small", value: "d" }"#]);
    assert_eq!(flags, "metadata_cut no_timestamp");
}
