//! Where a line's own time is, how it is written, and what is done when it says none or an odd one.

use std::ops::Range;

use jiff::tz::{Offset, TimeZone};

use super::super::raw::{Node, Value};
use super::super::report::Problem;
use super::super::section::Section;
use super::super::values::{choice, list, shown, text, wrong};
use super::{Named, Use};
use crate::parse::{Missing, Rule, TimeFormat};

type Problems = Vec<Problem>;

/// Formats that have a name of their own beside their directives.
const KNOWN: [(&str, &str); 3] =
    [("syslog", "%b %e %H:%M:%S"), ("nginx", "%d/%b/%Y:%H:%M:%S %z"), ("go", "%Y/%m/%d %H:%M:%S")];

pub(super) fn read(
    problems: &mut Problems,
    head: &Range<usize>,
    node: &Node,
    named: &mut Named<'_>,
) -> Option<Rule> {
    if let Some(first) = named.time.replace(head.clone()) {
        problems.push(
            Problem::error("two `timestamp` rules")
                .at(head, "again here")
                .also(&first, "first here")
                .hint("one rule can name many fields: `timestamp: [time, ts]`"),
        );
    }
    if !matches!(node.value, Value::Map(_)) {
        let from = named.paths(problems, node, Use::Value)?;
        return Some(Rule::Timestamp { from, formats: vec![] });
    }
    let section = Section::open(problems, "timestamp", head, node)?;
    if section.get("from").is_none() {
        let problem = Problem::error("`timestamp` without `from`").at(head, "from which field?");
        problems.push(problem.hint("write `timestamp: {from: [time], format: rfc3339}`"));
    }
    let (mut from, mut formats) = (vec![], vec![]);
    section.read(problems, "from", &mut from, |problems, node| {
        named.paths(problems, node, Use::Value)
    });
    section.read(problems, "format", &mut formats, |problems, node| {
        let nodes = list(problems, node);
        Some(nodes.iter().filter_map(|node| format(problems, node)).collect())
    });
    let of_all = ["missing", "too_old", "future"].into_iter().find_map(|key| section.entry(key));
    if let Some((key, _)) = of_all
        && named.is_inside
    {
        let problem = Problem::error(format!("`{}` inside of `when`", key.name));
        let hint = "it says what is done with all lines; give it to a rule outside";
        problems.push(problem.at(&key.span, "not for some lines only").hint(hint));
    }
    let times = &mut named.times;
    section
        .read(problems, "zone", &mut times.zone, |problems, node| zone(problems, node).map(Some));
    section.read(problems, "missing", &mut times.missing, |problems, node| {
        let words = [
            ("previous", Missing::Previous),
            ("read_time", Missing::ReadTime),
            ("drop", Missing::Drop),
        ];
        choice(problems, node, &words).map(Some)
    });
    section.read(problems, "too_old", &mut times.move_old, |problems, node| {
        choice(problems, node, &[("drop", false), ("read_time", true)])
    });
    section.read(problems, "future", &mut times.drop_future, |problems, node| {
        choice(problems, node, &[("read_time", false), ("drop", true)])
    });
    Some(Rule::Timestamp { from, formats })
}

fn format(problems: &mut Problems, node: &Node) -> Option<TimeFormat> {
    if let Value::Text(text) = &node.value
        && text.text.contains('%')
    {
        return strptime(problems, node, &text.text);
    }
    let known = KNOWN.map(|(name, format)| {
        (name, TimeFormat::strptime(format).expect("BUG: a format of ours is wrong"))
    });
    let words = [
        ("rfc3339", TimeFormat::Rfc3339),
        ("rfc2822", TimeFormat::Rfc2822),
        ("unix", TimeFormat::Unix),
        ("unix_ms", TimeFormat::UnixMs),
        ("unix_us", TimeFormat::UnixUs),
        ("unix_ns", TimeFormat::UnixNs),
    ];
    let words: Vec<_> = words.into_iter().chain(known).collect();
    choice(problems, node, &words)
}

fn strptime(problems: &mut Problems, node: &Node, format: &str) -> Option<TimeFormat> {
    match TimeFormat::strptime(format) {
        Ok(format) => Some(format),
        Err(why) => {
            let hint = "directives are those of strptime: `%Y-%m-%d %H:%M:%S%.f %z`";
            let message = format!("`{}` is not the format of a time", shown(text(problems, node)?));
            wrong(problems, node, message, &why, hint)
        }
    }
}

/// A name of the IANA database, or a fixed offset.
fn zone(problems: &mut Problems, node: &Node) -> Option<TimeZone> {
    let text = text(problems, node)?;
    if let Ok(zone) = TimeZone::get(&text.text) {
        return Some(zone);
    }
    offset(&text.text).or_else(|| {
        let message = format!("`{}` is not a time zone", shown(text));
        wrong(problems, node, message, "not known", "write `Europe/Berlin`, `UTC` or `+02:00`")
    })
}

/// What `+02:00` says.
fn offset(text: &str) -> Option<TimeZone> {
    let sign = match text.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let (hours, minutes) = text[1..].split_once(':')?;
    let two = |digits: &str| {
        let is_two = digits.len() == 2 && digits.bytes().all(|byte| byte.is_ascii_digit());
        digits.parse::<i32>().ok().filter(|_| is_two)
    };
    let (hours, minutes) = (two(hours)?, two(minutes).filter(|&minutes| minutes < 60)?);
    Some(Offset::from_seconds(sign * (hours * 3600 + minutes * 60)).ok()?.to_time_zone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_are_hours_and_minutes() {
        let seconds = |text| Some(offset(text)?.to_fixed_offset().ok()?.seconds());
        assert_eq!(seconds("+02:00"), Some(7200));
        assert_eq!(seconds("-05:30"), Some(-19_800));
        for text in ["", "+", "02:00", "+2:00", "+02:60", "+-2:00", "+99:00", "+999999999:00", "é"]
        {
            assert_eq!(seconds(text), None, "{text}");
        }
    }
}
