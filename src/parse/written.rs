//! Times in other writings than RFC 3339 and Unix's, and of zones that they do not say.

use std::sync::Arc;
use std::time::Duration;

use jiff::civil::DateTime;
use jiff::fmt::rfc2822;
use jiff::fmt::strtime::BrokenDownTime;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

use super::options::TimeFormat;
use super::timestamp::{Reading, Times};
use crate::model::{Now, UnixNanos};

/// What has to be known to read such times.
#[derive(Debug, Clone)]
pub(super) struct Written {
    /// The zone of times that say none.
    zone: TimeZone,
}

impl Written {
    /// `None` when all of `formats` and no `zone` are read by [`Times`] alone.
    pub(super) fn of(formats: &[TimeFormat], zone: Option<&TimeZone>) -> Option<Self> {
        let is_other =
            |format: &TimeFormat| matches!(format, TimeFormat::Rfc2822 | TimeFormat::Strptime(_));
        (zone.is_some() || formats.iter().any(is_other))
            .then(|| Self { zone: zone.cloned().unwrap_or(TimeZone::UTC) })
    }

    /// Reads `text` in the first of `formats` that fits; no formats are all that [`Times`] knows.
    #[inline(never)]
    pub(super) fn read(
        &self,
        times: &mut Times,
        text: &str,
        formats: &[TimeFormat],
        now: Now,
    ) -> Option<Reading> {
        if formats.is_empty() {
            let reading = self.rfc3339(times, text);
            return reading.or_else(|| times.read(text, formats));
        }
        formats.iter().find_map(|format| match format {
            TimeFormat::Rfc3339 => self.rfc3339(times, text),
            TimeFormat::Rfc2822 => Some(reading(rfc2822::parse(text).ok()?.timestamp())),
            TimeFormat::Strptime(format) => self.strptime(text, format, now),
            TimeFormat::Unix | TimeFormat::UnixMs | TimeFormat::UnixUs | TimeFormat::UnixNs => {
                times.read(text, std::slice::from_ref(format))
            }
        })
    }

    fn rfc3339(&self, times: &mut Times, text: &str) -> Option<Reading> {
        let read = times.rfc3339(text.as_bytes())?;
        // Behind the minute there are a second and its fraction only.
        let has_zone = text.get(17..)?.contains(['Z', 'z', '+', '-', 'U']);
        if has_zone || read.clamped {
            return Some(read);
        }
        let utc = Timestamp::from_nanosecond(i128::from(read.time.0)).ok()?;
        self.here(TimeZone::UTC.to_datetime(utc))
    }

    fn here(&self, time: DateTime) -> Option<Reading> {
        Some(reading(self.zone.to_timestamp(time).ok()?))
    }

    fn strptime(&self, text: &str, format: &str, now: Now) -> Option<Reading> {
        let mut time = BrokenDownTime::parse(format, text).ok()?;
        if let Ok(timestamp) = time.to_timestamp() {
            return Some(reading(timestamp));
        }
        if time.year().is_some() {
            return self.of_parts(&time);
        }
        // The year is the one that puts it nearest to now: December, read in January, is past.
        let now = now.wall;
        let today = Timestamp::from_nanosecond(i128::from(now.0)).ok()?;
        let year = self.zone.to_datetime(today).year();
        let candidates = (year - 1..=year + 1).filter_map(|year| {
            time.set_year(Some(year)).ok()?;
            self.of_parts(&time)
        });
        candidates.min_by_key(|reading| reading.time.0.abs_diff(now.0))
    }

    fn of_parts(&self, time: &BrokenDownTime) -> Option<Reading> {
        match time.to_timestamp() {
            Ok(timestamp) => Some(reading(timestamp)),
            Err(_) => self.here(time.to_datetime().ok()?),
        }
    }
}

fn reading(timestamp: Timestamp) -> Reading {
    let nanos = timestamp.as_nanosecond();
    let clamped = nanos.clamp(0, i128::from(i64::MAX));
    let time = UnixNanos(i64::try_from(clamped).unwrap_or(i64::MAX));
    Reading { time, clamped: clamped != nanos }
}

impl TimeFormat {
    /// A format in the manner of `strptime`, such as `%d/%b/%Y:%H:%M:%S %z`.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn strptime(format: &str) -> Result<Self, String> {
        let format: Arc<str> = format.into();
        let sample: Zoned = "2026-11-22T10:20:05.123+00:00[UTC]".parse().expect("BUG: a sample");
        let text = jiff::fmt::strtime::format(&*format, &sample).map_err(|err| err.to_string())?;
        let wall = UnixNanos(1_795_342_805_000_000_000);
        let now = Now { wall, mono: Duration::ZERO };
        let written = Written { zone: TimeZone::UTC };
        match written.strptime(&text, &format, now) {
            Some(_) => Ok(Self::Strptime(format)),
            None => Err("does not say the day".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(format: &str, zone: &str, now: &str, text: &str, expected: Option<&str>) {
        let formats = match format {
            "" => vec![],
            "rfc2822" => vec![TimeFormat::Rfc2822],
            "rfc3339" => vec![TimeFormat::Rfc3339],
            format => vec![TimeFormat::strptime(format).unwrap()],
        };
        let zone = (!zone.is_empty()).then(|| TimeZone::get(zone).unwrap());
        let now: Timestamp = now.parse().unwrap();
        let wall = UnixNanos(i64::try_from(now.as_nanosecond()).unwrap());
        let written = Written::of(&formats, zone.as_ref()).unwrap();
        let now = Now { wall, mono: Duration::ZERO };
        let seen = written.read(&mut Times::new(), text, &formats, now);
        let seen = seen.map(|reading| reading.time.to_string());
        assert_eq!(seen.as_deref(), expected, "{text} as {format}");
    }

    const NOW: &str = "2026-11-22T12:00:00Z";

    #[test]
    fn what_servers_write() {
        let apache = "%d/%b/%Y:%H:%M:%S %z";
        check(apache, "", NOW, "22/Nov/2026:10:20:05 +0100", Some("2026-11-22T09:20:05Z"));
        check(apache, "", NOW, "22/Nov/2026", None);
        check("rfc2822", "", NOW, "Sun, 22 Nov 2026 10:20:05 -0800", Some("2026-11-22T18:20:05Z"));
        let python = "%Y-%m-%d %H:%M:%S,%f";
        check(python, "", NOW, "2026-11-22 10:20:05,123", Some("2026-11-22T10:20:05.123Z"));
        check("%Y/%m/%d %H:%M:%S", "", NOW, "2026/11/22 10:20:05", Some("2026-11-22T10:20:05Z"));
        check(
            "%a %b %e %H:%M:%S %Y",
            "",
            NOW,
            "Sun Nov 22 10:20:05 2026",
            Some("2026-11-22T10:20:05Z"),
        );
        check("%s", "", NOW, "1795342805", Some("2026-11-22T10:20:05Z"));
        check(
            "%d.%m.%Y %H:%M:%S%.f",
            "",
            NOW,
            "22.11.2026 10:20:05.25",
            Some("2026-11-22T10:20:05.25Z"),
        );
    }

    #[test]
    fn zones_that_are_not_said() {
        let berlin = "Europe/Berlin";
        check("", berlin, NOW, "2026-11-22 10:20:05", Some("2026-11-22T09:20:05Z"));
        check("", berlin, NOW, "2026-07-22 10:20:05,5", Some("2026-07-22T08:20:05.5Z"));
        check("rfc3339", berlin, NOW, "2026-11-22T10:20:05Z", Some("2026-11-22T10:20:05Z"));
        check("rfc3339", berlin, NOW, "2026-11-22T10:20:05-05:00", Some("2026-11-22T15:20:05Z"));
        check("", berlin, NOW, "1795342805", Some("2026-11-22T10:20:05Z"));
        check(
            "%Y-%m-%d %H:%M:%S",
            berlin,
            NOW,
            "2026-11-22 10:20:05",
            Some("2026-11-22T09:20:05Z"),
        );
        // An hour that is there twice is the first, one that is not there is moved behind the gap.
        check("", berlin, NOW, "2026-10-25 02:30:00", Some("2026-10-25T00:30:00Z"));
        check("", berlin, NOW, "2026-03-29 02:30:00", Some("2026-03-29T01:30:00Z"));
    }

    #[test]
    fn years_that_are_not_said() {
        let syslog = "%b %e %H:%M:%S";
        check(syslog, "", NOW, "Nov 22 10:20:05", Some("2026-11-22T10:20:05Z"));
        check(syslog, "", NOW, "Nov  2 10:20:05", Some("2026-11-02T10:20:05Z"));
        check(syslog, "", "2027-01-01T00:10:00Z", "Dec 31 23:59:59", Some("2026-12-31T23:59:59Z"));
        check(syslog, "", "2026-12-31T23:59:00Z", "Jan  1 00:00:01", Some("2027-01-01T00:00:01Z"));
        check(syslog, "", "2028-03-01T00:00:00Z", "Feb 29 10:20:05", Some("2028-02-29T10:20:05Z"));
    }

    #[test]
    fn formats_that_say_too_little_are_refused() {
        for format in ["%H:%M:%S", "%Y-%m", "%Q %", "no directive", "%Y-%m-%d %H:%M:%S %"] {
            assert!(TimeFormat::strptime(format).is_err(), "{format}");
        }
    }
}
