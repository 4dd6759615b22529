//! What can be read as a time.

use proptest::prelude::*;

use super::TimeFormat::{self, Rfc3339, Unix, UnixMs, UnixNs, UnixUs};
use crate::parse::timestamp::{Reading, Times};

fn read(text: &str, formats: &[TimeFormat]) -> Option<Reading> {
    Times::new().read(text, formats)
}

/// `expected` is RFC 3339 in UTC, with a `!` when clamped.
fn check(text: &str, formats: &[TimeFormat], expected: Option<&str>) {
    let shown = read(text, formats)
        .map(|Reading { time, clamped }| format!("{time}{}", if clamped { "!" } else { "" }));
    assert_eq!(shown.as_deref(), expected, "{text} as {formats:?}");
}

#[test]
fn rfc3339_and_what_is_near_it() {
    for (text, expected) in [
        ("2026-11-22T10:20:05Z", "2026-11-22T10:20:05Z"),
        ("2026-11-22t10:20:05z", "2026-11-22T10:20:05Z"),
        ("2026-11-22 10:20:05", "2026-11-22T10:20:05Z"),
        ("2026-11-22T10:20:05.1", "2026-11-22T10:20:05.1Z"),
        ("2026-11-22 10:20:05,123", "2026-11-22T10:20:05.123Z"),
        ("2026-11-22T10:20:05.123456789123Z", "2026-11-22T10:20:05.123456789Z"),
        ("2026-11-22T10:20:05.000000001+05:30", "2026-11-22T04:50:05.000000001Z"),
        ("2026-11-22T10:20:05+0000", "2026-11-22T10:20:05Z"),
        ("2026-11-22T10:20:05-0800", "2026-11-22T18:20:05Z"),
        ("2026-11-22T10:20:05+02", "2026-11-22T08:20:05Z"),
        ("2026-11-22 10:20:05.5 +0100", "2026-11-22T09:20:05.5Z"),
        ("2026-11-22 10:20:05 UTC", "2026-11-22T10:20:05Z"),
        ("2016-12-31T23:59:60Z", "2017-01-01T00:00:00Z"),
        ("2024-02-29T00:00:00Z", "2024-02-29T00:00:00Z"),
        ("2000-02-29T00:00:00Z", "2000-02-29T00:00:00Z"),
        ("1970-01-01T00:00:00Z", "1970-01-01T00:00:00Z"),
        ("1970-01-01T00:00:00+00:01", "1970-01-01T00:00:00Z!"),
        ("1969-12-31T23:59:59.9Z", "1970-01-01T00:00:00Z!"),
        ("0000-01-01T00:00:00Z", "1970-01-01T00:00:00Z!"),
        ("2262-04-11T23:47:16.854775807Z", "2262-04-11T23:47:16.854775807Z"),
        ("2262-04-11T23:47:16.854775808Z", "2262-04-11T23:47:16.854775807Z!"),
        ("9999-12-31T23:59:59.999999999Z", "2262-04-11T23:47:16.854775807Z!"),
    ] {
        check(text, &[Rfc3339], Some(expected));
        check(text, &[], Some(expected));
    }
}

#[test]
fn what_is_no_time() {
    for text in [
        "",
        "-",
        ".",
        "2026-11-22",
        "2026-11-22T10:20",
        "2026-11-22T10:20:05.",
        "2026-11-22T10:20:05.Z",
        "2026-11-22T10:20:05 ",
        "2026-11-22T10:20:05Zx",
        "2026-11-22T10:20:05+1",
        "2026-11-22T10:20:05+24:00",
        "2026-11-22T10:20:05+00:60",
        "2026-11-22T24:00:00Z",
        "2026-11-22T10:60:05Z",
        "2026-11-22T10:20:61Z",
        "2026-13-22T10:20:05Z",
        "2026-00-22T10:20:05Z",
        "2026-11-31T10:20:05Z",
        "2026-11-00T10:20:05Z",
        "2026-02-29T10:20:05Z",
        "1900-02-29T10:20:05Z",
        "2026/11/22T10:20:05Z",
        "2026-11-22_10:20:05Z",
        "２026-11-22T10:20:05Z",
        "yesterday",
        "+1795342805",
        "1.7953e9",
        "1795342805.",
        "1795342805.5.5",
        ".5",
        "0",
        "0.25",
        "99999999",
        "-1795342805",
        "99999999999999999999999999",
    ] {
        check(text, &[], None);
    }
}

#[test]
fn unix_times() {
    for (text, format, expected) in [
        ("1795342805", Unix, "2026-11-22T10:20:05Z"),
        ("1795342805.123456", Unix, "2026-11-22T10:20:05.123456Z"),
        ("1795342805123", UnixMs, "2026-11-22T10:20:05.123Z"),
        ("1795342805123.4567", UnixMs, "2026-11-22T10:20:05.1234567Z"),
        ("1795342805123456", UnixUs, "2026-11-22T10:20:05.123456Z"),
        ("1795342805123456789", UnixNs, "2026-11-22T10:20:05.123456789Z"),
        ("1795342805123456789.9", UnixNs, "2026-11-22T10:20:05.123456789Z"),
    ] {
        check(text, std::slice::from_ref(&format), Some(expected));
        check(text, &[], Some(expected));
        check(text, &[Rfc3339, format], Some(expected));
        check(text, &[Rfc3339], None);
    }
    for (text, format, expected) in [
        ("0", Unix, "1970-01-01T00:00:00Z"),
        ("-0.0", Unix, "1970-01-01T00:00:00Z"),
        ("-1", Unix, "1970-01-01T00:00:00Z!"),
        ("12", UnixMs, "1970-01-01T00:00:00.012Z"),
        ("1795342805123", Unix, "2262-04-11T23:47:16.854775807Z!"),
        ("18446744073709551615", UnixNs, "2262-04-11T23:47:16.854775807Z!"),
    ] {
        check(text, &[format], Some(expected));
    }
    // The units meet without a gap.
    check("100000000", &[], Some("1973-03-03T09:46:40Z"));
    check("9999999999", &[], Some("2262-04-11T23:47:16.854775807Z!"));
    check("100000000000", &[], Some("1973-03-03T09:46:40Z"));
    check("100000000000000", &[], Some("1973-03-03T09:46:40Z"));
    check("100000000000000000", &[], Some("1973-03-03T09:46:40Z"));
}

/// What jiff makes of it, for the forms that both know.
fn naive(text: &str) -> Option<Reading> {
    let timestamp: jiff::Timestamp = text.parse().ok()?;
    let nanos = timestamp.as_nanosecond().clamp(0, i128::from(i64::MAX));
    let time = crate::model::UnixNanos(i64::try_from(nanos).unwrap());
    Some(Reading { time, clamped: nanos != timestamp.as_nanosecond() })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 5_000, ..ProptestConfig::default() })]

    #[test]
    fn equals_jiff(
        year in 0..=9998, month in 0..=13, day in 0..=32, hour in 0..=23, minute in 0..=59,
        second in 0..=59, fraction in "(\\.[0-9]{1,9})?",
        zone in "Z|[+-](0[0-9]|1[0-9]):[0-5][0-9]",
    ) {
        let text = format!(
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}{zone}"
        );
        prop_assert_eq!(read(&text, &[]), naive(&text), "{}", text);
    }

    #[test]
    fn the_line_before_changes_nothing(
        texts in prop::collection::vec(
            "2026-(11|13)-22[T ]10:2[0-1][:;][0-6][0-9](\\.[0-9]{0,10})?(Z|[+-]0[0-2]:[0-6]0)", 2..9),
    ) {
        let mut times = Times::new();
        for text in texts {
            prop_assert_eq!(times.read(&text, &[]), read(&text, &[]), "{}", text);
        }
    }

    #[test]
    fn never_panics(text in "\\PC{0,40}|[-0-9T:.,Z+ ]{0,40}") {
        for formats in [&[][..], &[Rfc3339], &[Unix], &[UnixMs], &[UnixUs], &[UnixNs]] {
            let _ = read(&text, formats);
        }
    }
}
