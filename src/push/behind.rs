//! Reads out of Loki's answer which entries are too far behind the newest of their stream.
//!
//! `entry with timestamp 2026-01-15 07:00:00.18282 +0000 UTC ignored, reason: 'entry too far behind,
//! entry timestamp is: 2026-01-15T07:00:00Z, oldest acceptable timestamp is: 2026-01-15T08:00:00Z',`
//! for at most ten of them, then `total ignored: 12 out of 100 for stream: {…}`.

use std::collections::BTreeSet;

use super::Answer;
use super::outcome::outside_labels;
use crate::model::UnixNanos;

/// What a refusal says about the entries of a push of one stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Behind {
    /// Everything before this is too far behind. Loki cuts it to seconds, so it may be a little
    /// less than what is.
    pub(super) floor: UnixNanos,
    /// The times of the first refused entries, at least one.
    listed: BTreeSet<UnixNanos>,
    /// How many were refused, of how many.
    ignored: Option<(usize, usize)>,
}

impl Behind {
    /// `None` if the answer says something else, or says it in other words.
    pub(super) fn read(answer: &Answer) -> Option<Self> {
        let Answer::Status { code: 400, body, .. } = answer else { return None };
        let text = outside_labels(body);
        let after = |words: &str| text.split_once(words).map(|(_, rest)| rest);
        let floor = after("oldest acceptable timestamp is: ")?;
        let floor = time(floor.split(['\'', ',', '\n', ' ']).next()?)?;
        let mut listed = BTreeSet::new();
        for rest in text.split("entry with timestamp ").skip(1) {
            let (time, reason) = rest.split_once(" ignored, reason: ")?;
            if reason.trim_start_matches('\'').starts_with("entry too far behind") {
                listed.insert(go_time(time)?);
            }
        }
        let ignored = after("total ignored: ").and_then(|rest| {
            let (ignored, rest) = rest.split_once(" out of ")?;
            let total = rest.split(' ').next()?;
            Some((ignored.parse().ok()?, total.parse().ok()?))
        });
        (!listed.is_empty()).then_some(Self { floor, listed, ignored })
    }

    /// Which of the entries with these `times` were surely refused, and whether surely no other
    /// was.
    pub(super) fn refused(&self, times: &[UnixNanos]) -> (Vec<bool>, bool) {
        let counted = self.ignored.filter(|(_, total)| *total == times.len());
        if counted.is_some_and(|(ignored, _)| ignored == self.listed.len()) {
            return (times.iter().map(|time| self.listed.contains(time)).collect(), true);
        }
        // The floor only rises from entry to entry, so none before the first one was refused; that
        // one was, and so were all later ones with its time or less.
        let first = times.iter().position(|time| self.listed.contains(time));
        let least = first.map(|first| times[first]);
        let is_refused = |(idx, time): (usize, &UnixNanos)| {
            first.is_some_and(|first| first <= idx)
                && (*time < self.floor || least.is_some_and(|least| *time <= least))
        };
        let refused: Vec<bool> = times.iter().enumerate().map(is_refused).collect();
        let found = refused.iter().filter(|refused| **refused).count();
        let is_exact = counted.is_some_and(|(ignored, _)| ignored == found);
        (refused, is_exact)
    }
}

/// A time as Go prints it: `2026-01-15 07:00:00.18282 +0000 UTC`.
fn go_time(text: &str) -> Option<UnixNanos> {
    let mut words = text.split(' ');
    let (date, time, zone) = (words.next()?, words.next()?, words.next()?);
    let (hours, minutes) = zone.split_at_checked(3)?;
    self::time(&format!("{date}t{time}{hours}:{minutes}"))
}

fn time(text: &str) -> Option<UnixNanos> {
    text.parse::<jiff::Timestamp>().ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000_000_000;
    /// 2026-01-15T08:00:00Z.
    const FLOOR: i64 = 1_768_464_000_000_000_000;

    fn answer(listed: &[&str], total: &str) -> Answer {
        let one = |time: &&str| {
            format!(
                "entry with timestamp 2026-01-15 {time} +0000 UTC ignored, reason: 'entry too far \
                 behind, entry timestamp is: 2026-01-15T07:00:00Z, oldest acceptable timestamp is: \
                 2026-01-15T08:00:00Z',\n"
            )
        };
        let all: String = listed.iter().map(one).collect();
        let body = format!("{all}user 'fake', total ignored: {total} for stream: {{a=\"b\"}}\n");
        Answer::Status { code: 400, body, retry_after: None }
    }

    fn at(nanos: i64) -> UnixNanos {
        UnixNanos(FLOOR + nanos)
    }

    #[test]
    fn what_loki_says_is_read() {
        let behind = Behind::read(&answer(&["07:00:00.18282", "07:00:01"], "2 out of 5")).unwrap();
        assert_eq!(behind.floor, at(0));
        let listed: Vec<_> = behind.listed.iter().copied().collect();
        assert_eq!(listed, [at(182_820_000 - HOUR), at(1_000_000_000 - HOUR)]);
        assert_eq!(behind.ignored, Some((2, 5)));
        let lower = |code| Answer::Status { code, body: "later".into(), retry_after: None };
        assert_eq!(Behind::read(&lower(400)), None);
        let cut = "entry with timestamp 2026-01-15 07:00:00 +0000 UTC ignored, reason: 'entry too \
                   far behind, entry timestamp is: T, oldest acceptable timestamp is: T'";
        let cut = Answer::Status { code: 400, body: cut.into(), retry_after: None };
        assert_eq!(Behind::read(&cut), None);
    }

    #[test]
    fn only_what_was_surely_refused_is_named() {
        // Two are listed, and they are all there are.
        let behind = Behind::read(&answer(&["07:00:00", "07:00:01"], "2 out of 4")).unwrap();
        let times = [at(HOUR), at(-HOUR), at(-HOUR + 1_000_000_000), at(-1)];
        assert_eq!(behind.refused(&times), (vec![false, true, true, false], true));
        // The first ten of three are not all of them; those before it were stored.
        let behind = Behind::read(&answer(&["07:00:00"], "3 out of 5")).unwrap();
        let times = [at(-2 * HOUR), at(-HOUR), at(HOUR), at(-5), at(-1)];
        assert_eq!(behind.refused(&times), (vec![false, true, false, true, true], true));
        // One more was refused than can be told.
        let behind = Behind::read(&answer(&["07:00:00"], "4 out of 5")).unwrap();
        assert_eq!(behind.refused(&times), (vec![false, true, false, true, true], false));
        // Within the second that Loki cuts off.
        let behind = Behind::read(&answer(&["08:00:00.5"], "2 out of 3")).unwrap();
        let times = [at(500_000_000), at(400_000_000), at(600_000_000)];
        assert_eq!(behind.refused(&times), (vec![true, true, false], true));
        // A shard of the stream.
        let behind = Behind::read(&answer(&["07:00:00"], "1 out of 2")).unwrap();
        assert_eq!(behind.refused(&[at(-HOUR), at(-1), at(0)]), (vec![true, true, false], false));
    }
}
