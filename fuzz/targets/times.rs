//! Times read slowly: the twin of the parser's.

use std::sync::LazyLock;

use jiff::civil::Date;
use regex::Regex;
use skald::parse::TimeFormat;

const SECOND: i128 = 1_000_000_000;

static RFC3339: LazyLock<Regex> = LazyLock::new(|| {
    let date = r"([0-9]{4})-([0-9]{2})-([0-9]{2})";
    let time = r"([0-9]{2}):([0-9]{2}):([0-9]{2})(?:[.,]([0-9]+))?";
    let zone = r"(?: ?(?:Z|z|UTC|([+-])([0-9]{2})(?::?([0-9]{2}))?))?";
    Regex::new(&format!("^{date}[Tt ]{time}{zone}$")).expect("the pattern is fixed")
});

static DECIMAL: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"^(-?)([0-9]+)(?:\.([0-9]+))?$").expect("the pattern is fixed"));

/// Nanoseconds since 1970, which may not fit.
pub(crate) fn read(text: &str, formats: &[TimeFormat]) -> Option<i128> {
    if formats.is_empty() {
        return rfc3339(text).or_else(|| guess(text));
    }
    formats.iter().find_map(|format| match format {
        TimeFormat::Rfc3339 => rfc3339(text),
        TimeFormat::Unix => unix(text, SECOND),
        TimeFormat::UnixMs => unix(text, SECOND / 1_000),
        TimeFormat::UnixUs => unix(text, SECOND / 1_000_000),
        TimeFormat::UnixNs => unix(text, 1),
        TimeFormat::Rfc2822 | TimeFormat::Strptime(_) => unreachable!("not asked for"),
    })
}

/// Inside what Loki keeps, and whether it had to be moved there.
pub(crate) fn clamp(nanos: i128) -> (i64, bool) {
    let clamped = nanos.clamp(0, i64::MAX.into());
    (i64::try_from(clamped).expect("it was clamped"), clamped != nanos)
}

pub(crate) fn rfc3339(text: &str) -> Option<i128> {
    let found = RFC3339.captures(text)?;
    let number = |group| found.get(group).map_or(Ok(0), |digits| digits.as_str().parse::<i16>());
    let number = |group| number(group).expect("at most four digits");
    let small = |group| i8::try_from(number(group)).expect("two digits");
    let date = Date::new(number(1), small(2), small(3)).ok()?;
    let (hour, minute, second) = (number(4), number(5), number(6));
    let (zone_hours, zone_minutes) = (number(9), number(10));
    if hour > 23 || minute > 59 || second > 60 || zone_hours > 23 || zone_minutes > 59 {
        return None;
    }
    let days = date.since(Date::new(1970, 1, 1).expect("a date")).expect("days fit").get_days();
    let sign = if found.get(8).is_some_and(|sign| sign.as_str() == "-") { -1 } else { 1 };
    let zone = sign * (i128::from(zone_hours) * 3600 + i128::from(zone_minutes) * 60);
    let seconds = i128::from(hour) * 3600 + i128::from(minute) * 60 + i128::from(second);
    let fraction = found.get(7).map_or(0, |digits| billionths(digits.as_str()));
    Some((i128::from(days) * 86_400 + seconds - zone) * SECOND + fraction)
}

fn guess(text: &str) -> Option<i128> {
    let found = DECIMAL.captures(text)?;
    let whole: u64 = found[2].parse().ok()?;
    let unit = match whole.to_string().len() {
        _ if !found[1].is_empty() => return None,
        ..9 => return None,
        9..=11 => SECOND,
        12..=14 => SECOND / 1_000,
        15..=17 => SECOND / 1_000_000,
        _ => 1,
    };
    unix(text, unit)
}

fn unix(text: &str, unit: i128) -> Option<i128> {
    let found = DECIMAL.captures(text)?;
    let whole: u64 = found[2].parse().ok()?;
    let fraction = found.get(3).map_or(0, |digits| billionths(digits.as_str()));
    let nanos = i128::from(whole) * unit + fraction * unit / SECOND;
    match &found[1] {
        // However near to 0: it was before 1970.
        "-" if (whole, fraction) != (0, 0) => Some(-nanos.max(1)),
        _ => Some(nanos),
    }
}

fn billionths(digits: &str) -> i128 {
    format!("{digits:0<9}")[..9].parse().expect("nine digits")
}
