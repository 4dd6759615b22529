//! Reads the time that a service wrote into its line.
//!
//! RFC 3339 and what is really written near it: `t` or a space for `T`, a comma for the point, any
//! number of digits behind it (beyond nanoseconds they are cut), `+0000` and `+00` for `+00:00`, a
//! space before the zone, `z` or `UTC` for `Z`, no zone (taken as UTC). A leap second `:60` is the
//! first second of the next minute, as POSIX time counts it.
//!
//! Unix times: decimals without exponent, as JSON numbers or as text. Where no format is given
//! the unit is told by the size: below 1e11 seconds, below 1e14 milliseconds, below 1e17
//! microseconds, else nanoseconds; that puts every unit between 1973-03-03 and 5138. What
//! is below 1e8 or negative is then no time (`"time": 0.25` is a duration).

use super::options::TimeFormat;
use crate::model::UnixNanos;

/// A time that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reading {
    pub(super) time: UnixNanos,
    /// It was outside 1970..2262 and is now the nearer end of that.
    pub(super) clamped: bool,
}

/// Reads times. Most lines have the minute and the zone of the line before.
#[derive(Debug)]
pub(super) struct Times {
    /// A minute, up to its second colon.
    minute: [u8; 17],
    /// When it began, in seconds from 1970 and the local time's zone.
    began: i64,
    zone: [u8; 6],
    /// What `zone` says.
    offset: i64,
}

impl Times {
    pub(super) fn new() -> Self {
        Self { minute: *b"1970-01-01T00:00:", began: 0, zone: *b"+00:00", offset: 0 }
    }

    /// Reads `text` in the first of `formats` that fits; no formats are all of them.
    #[inline]
    pub(super) fn read(&mut self, text: &str, formats: &[TimeFormat]) -> Option<Reading> {
        if !formats.is_empty() {
            return formats.iter().find_map(|format| self.read_as(text, format));
        }
        let reading = self.rfc3339(text.as_bytes());
        if reading.is_some() { reading } else { guess(text) }
    }

    #[inline(never)]
    fn read_as(&mut self, text: &str, format: &TimeFormat) -> Option<Reading> {
        Some(match format {
            TimeFormat::Rfc3339 => return self.rfc3339(text.as_bytes()),
            TimeFormat::Unix => decimal(text)?.times(SECOND),
            TimeFormat::UnixMs => decimal(text)?.times(MILLISECOND),
            TimeFormat::UnixUs => decimal(text)?.times(MICROSECOND),
            TimeFormat::UnixNs => decimal(text)?.times(NANOSECOND),
            // `Written` reads these.
            TimeFormat::Rfc2822 | TimeFormat::Strptime(_) => return None,
        })
    }

    /// Reads RFC 3339 and what is near it.
    #[inline]
    pub(super) fn rfc3339(&mut self, bytes: &[u8]) -> Option<Reading> {
        let (minute, rest) = bytes.split_first_chunk()?;
        if *minute != self.minute {
            (self.began, self.minute) = (began(minute)?, *minute);
        }
        let (second, rest) = rest.split_first_chunk::<2>()?;
        let second = two(second, 0).filter(|&second| second <= 60)?;
        let (nanos, rest) = match rest {
            [b'.' | b',', digits @ ..] => {
                let (nanos, rest) = billionths(digits);
                (nanos?, rest)
            }
            _ => (0, rest),
        };
        let seconds = self.began + second - self.offset(rest)?;
        if seconds < 0 {
            return Some(Reading { time: UnixNanos(0), clamped: true });
        }
        Some(clamp(seconds.checked_mul(SECOND), nanos))
    }

    /// The zone's offset in seconds.
    #[inline]
    fn offset(&mut self, zone: &[u8]) -> Option<i64> {
        let Ok(zone) = <&[u8; 6]>::try_from(zone) else { return offset(zone) };
        if *zone != self.zone {
            (self.offset, self.zone) = (offset(zone)?, *zone);
        }
        Some(self.offset)
    }
}

const SECOND: i64 = 1_000_000_000;
const MILLISECOND: i64 = 1_000_000;
const MICROSECOND: i64 = 1_000;
const NANOSECOND: i64 = 1;

/// Least number that is taken for a time when no format is given.
const GUESS_MIN: u64 = 100_000_000;
const SECONDS_MAX: u64 = 100_000_000_000;
const MILLISECONDS_MAX: u64 = SECONDS_MAX * 1_000;
const MICROSECONDS_MAX: u64 = MILLISECONDS_MAX * 1_000;

#[inline(never)]
fn guess(text: &str) -> Option<Reading> {
    let decimal = decimal(text)?;
    if decimal.negative || decimal.whole < GUESS_MIN {
        return None;
    }
    Some(decimal.times(match decimal.whole {
        ..SECONDS_MAX => SECOND,
        SECONDS_MAX..MILLISECONDS_MAX => MILLISECOND,
        MILLISECONDS_MAX..MICROSECONDS_MAX => MICROSECOND,
        _ => NANOSECOND,
    }))
}

/// A decimal without exponent.
#[derive(Clone, Copy)]
struct Decimal {
    negative: bool,
    whole: u64,
    /// The part behind the point, in billionths.
    billionths: i64,
}

impl Decimal {
    fn times(self, unit: i64) -> Reading {
        if self.negative && (self.whole, self.billionths) != (0, 0) {
            return Reading { time: UnixNanos(0), clamped: true };
        }
        let fraction = self.billionths / (SECOND / unit);
        clamp(i64::try_from(self.whole).ok().and_then(|whole| whole.checked_mul(unit)), fraction)
    }
}

fn decimal(text: &str) -> Option<Decimal> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    let (whole, fraction) = match digits.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (digits, None),
    };
    if !whole.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let billionths = match fraction.map(|fraction| billionths(fraction.as_bytes())) {
        Some((billionths, [])) => billionths?,
        Some(_) => return None,
        None => 0,
    };
    Some(Decimal { negative, whole: whole.parse().ok()?, billionths })
}

/// Reads digits to their end; those behind the ninth are passed over. `None` without a digit.
#[inline]
fn billionths(bytes: &[u8]) -> (Option<i64>, &[u8]) {
    let (len, eight) = match bytes.first_chunk() {
        Some(word) => first_eight(*word),
        None => {
            let mut word = [0; 8];
            word[..bytes.len()].copy_from_slice(bytes);
            first_eight(word)
        }
    };
    let (_, rest) = bytes.split_at(len);
    if len < 8 {
        return ((len > 0).then_some(eight * 10), rest);
    }
    let len = rest.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len());
    let (digits, rest) = rest.split_at(len);
    let ninth = digits.first().map_or(0, |digit| i64::from(digit - b'0'));
    (Some(eight * 10 + ninth), rest)
}

/// How many digits there are from the first on, and their number if zeros followed them. Pairs
/// are added to fours and fours to eight, all at once.
#[inline]
fn first_eight(word: [u8; 8]) -> (usize, i64) {
    const fn all(byte: u8) -> u64 {
        u64::from_ne_bytes([byte; 8])
    }
    let word = u64::from_le_bytes(word) ^ all(b'0');
    // The high bit of each byte that is over 9. Bytes behind such a one may be marked wrongly.
    let others = (word.wrapping_add(all(0x80 - 10)) | word) & all(0x80);
    let bits = others.trailing_zeros() & !7;
    let digits = word & 1_u64.checked_shl(bits).map_or(u64::MAX, |bit| bit - 1);
    let pairs = digits.wrapping_mul(10).wrapping_add(digits >> 8);
    let outer = (pairs & 0xFF_0000_00FF).wrapping_mul(100 + (1_000_000 << 32));
    let inner = ((pairs >> 16) & 0xFF_0000_00FF).wrapping_mul(1 + (10_000 << 32));
    let eight = outer.wrapping_add(inner) >> 32;
    (bits as usize / 8, i64::try_from(eight).unwrap_or(0))
}

/// When the minute begins that is written `2026-11-22T10:20:`, in seconds.
fn began(minute: &[u8; 17]) -> Option<i64> {
    let layout = [minute[4], minute[7], minute[13], minute[16]];
    if layout != *b"--::" || !matches!(minute[10], b'T' | b't' | b' ') {
        return None;
    }
    let year = two(minute, 0)? * 100 + two(minute, 2)?;
    let (month, day) = (two(minute, 5)?, two(minute, 8)?);
    let (hour, minute) = (two(minute, 11)?, two(minute, 14)?);
    if !(1..=12).contains(&month) || day < 1 || days_in(month, year) < day {
        return None;
    }
    if hour > 23 || minute > 59 {
        return None;
    }
    Some(days_since_1970(year, month, day) * 86_400 + hour * 3_600 + minute * 60)
}

/// `nanos` + `fraction`; `None` is beyond what fits.
fn clamp(nanos: Option<i64>, fraction: i64) -> Reading {
    match nanos.and_then(|nanos| nanos.checked_add(fraction)) {
        Some(nanos) => Reading { time: UnixNanos(nanos), clamped: false },
        None => Reading { time: UnixNanos(i64::MAX), clamped: true },
    }
}

/// The zone's offset in seconds.
fn offset(bytes: &[u8]) -> Option<i64> {
    let bytes = match bytes {
        [b' ', zone @ ..] if !zone.is_empty() => zone,
        _ => bytes,
    };
    let (sign, digits) = match bytes {
        [] | b"Z" | b"z" | b"UTC" => return Some(0),
        [b'+', digits @ ..] => (1, digits),
        [b'-', digits @ ..] => (-1, digits),
        _ => return None,
    };
    let (hours, minutes) = match *digits {
        [a, b] => ([a, b], *b"00"),
        [a, b, c, d] | [a, b, b':', c, d] => ([a, b], [c, d]),
        _ => return None,
    };
    let (hours, minutes) = (two(&hours, 0)?, two(&minutes, 0)?);
    (hours < 24 && minutes < 60).then_some(sign * (hours * 3_600 + minutes * 60))
}

#[inline]
fn two<const N: usize>(bytes: &[u8; N], at: usize) -> Option<i64> {
    let (tens, ones) = (bytes[at].wrapping_sub(b'0'), bytes[at + 1].wrapping_sub(b'0'));
    (tens < 10 && ones < 10).then(|| i64::from(tens * 10 + ones))
}

fn days_in(month: i64, year: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 in the proleptic Gregorian calendar, for years from 0 (Hinnant's
/// `days_from_civil`, <https://howardhinnant.github.io/date_algorithms.html>).
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let shifted = year - i64::from(month <= 2);
    let era = shifted.div_euclid(400);
    let year_of_era = shifted.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}
