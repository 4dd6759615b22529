//! The lines that services write, and what must become of each.

use skald::model::UnixNanos;

use crate::checks::{Draft, Fate, Meaning};
use crate::knobs::Knobs;

const SECOND: i64 = 1_000_000_000;
const DAY: i64 = 24 * 3600 * SECOND;

/// Draws lines.
#[derive(Debug)]
pub(crate) struct Lines {
    pub(crate) rng: fastrand::Rng,
    knobs: Knobs,
    next_id: u64,
    /// What lines are filled up with.
    padding: String,
}

/// Whose line it is.
#[derive(Debug)]
pub(crate) struct Whose<'a> {
    pub(crate) source: usize,
    /// Nanoseconds that it is behind the wall clock.
    pub(crate) behind: &'a mut i64,
    /// The last stamp of the file, and its repeats.
    pub(crate) stamp: &'a mut (i64, i64),
}

impl Lines {
    pub(crate) fn new(mut rng: fastrand::Rng, knobs: Knobs) -> Self {
        let most = 3 * knobs.chunk_bytes + 2 * knobs.line_bytes;
        let padding: String = (0..300).map(|_| rng.alphanumeric()).collect();
        let padding = padding.repeat(most.div_ceil(300));
        Self { rng, knobs, next_id: 0, padding }
    }

    /// The next line, with its newline; so many bytes long, if that can be.
    pub(crate) fn next(&mut self, whose: Whose<'_>, wall: UnixNanos, len: Option<usize>) -> Draft {
        let (rng, knobs) = (&mut self.rng, &self.knobs);
        let Whose { source, behind, stamp } = whose;
        self.next_id += 1;
        let id = self.next_id;
        let level = ["info", "info", "WARNING", "error"][rng.usize(0..4)];
        let event = match rng.usize(0..knobs.events) {
            0 => "login".to_owned(),
            1 => "pay".to_owned(),
            more => format!("event{more}"),
        };
        // The clock of a late file comes nearer to now.
        *behind = (*behind - rng.i64(0..10 * SECOND)).max(0);
        let raw = match rng.u8(0..20) {
            0..3 if stamp.0 != 0 => None,
            3 => Some(wall.0 - 10 * DAY),
            4..9 if stamp.0 != 0 => Some(stamp.0),
            _ => Some((wall.0 - *behind) / 1_000_000 * 1_000_000),
        };
        let effective = raw.unwrap_or(stamp.0);
        *stamp = (effective, if stamp.0 == effective { stamp.1 + 1 } else { 0 });
        let age = i64::try_from(knobs.limit_age.as_nanos()).expect("it fits");
        let poison = knobs.one_in_poison != 0 && rng.u64(0..knobs.one_in_poison) == 0;
        let fate = match (effective < wall.0 - age, poison) {
            (true, _) => Fate::TooOld,
            (_, true) => Fate::Poison,
            _ => Fate::Delivered,
        };
        let ts = raw.map_or(String::new(), |raw| format!(r#","ts":"{}""#, UnixNanos(raw)));
        let poison = if poison { r#","x":"poison""# } else { "" };
        let head = format!(
            r#"{{"id":"{id:020}"{ts}{poison},"level":"{level}","event":"{event}","rid":"r{id}","pad":""#
        );
        let pad = match (len, rng.u8(0..40)) {
            (Some(len), _) => len.saturating_sub(head.len() + 3),
            (_, 0) => rng.usize(0..2 * knobs.line_bytes),
            (_, 1) => rng.usize(0..3 * knobs.chunk_bytes),
            _ => rng.usize(0..100),
        };
        let from = rng.usize(0..=self.padding.len() - pad.min(self.padding.len()));
        let pad = &self.padding[from..(from + pad).min(self.padding.len())];
        let text = format!(r#"{head}{pad}"}}"#);
        let mut stored = text.clone();
        stored.truncate(knobs.line_bytes);
        let mut meaning = meaning(source, level, &event, id, UnixNanos(stamp.0 + stamp.1));
        if stored.len() < text.len() {
            meaning.metadata.push(("truncated_from".to_owned(), text.len().to_string()));
        }
        let text = (text + "\n").into_bytes();
        Draft { text, stored: stored.into_bytes(), fate, meaning: Some(meaning) }
    }

    /// The line that all files begin with, longer than what identifies them. It is too old to be
    /// sent.
    pub(crate) fn banner(&self, wall: UnixNanos, stamp: &mut (i64, i64)) -> Draft {
        let day = wall.0 / DAY * DAY - 10 * DAY;
        *stamp = (day, 0);
        let pad = "=".repeat(1100);
        let text = format!(r#"{{"ts":"{}","level":"info","pad":"{pad}"}}"#, UnixNanos(day));
        let stored = text.as_bytes()[..self.knobs.line_bytes.min(text.len())].to_vec();
        Draft { text: (text + "\n").into_bytes(), stored, fate: Fate::TooOld, meaning: None }
    }
}

/// What the rules of the sources make of a line; see `settings::sources`.
fn meaning(source: usize, level: &str, event: &str, id: u64, time: UnixNanos) -> Meaning {
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let rid = pair("request_id", &format!("r{id}"));
    let (labels, metadata) = if source.is_multiple_of(2) {
        (format!(r#"{{app="s{source}", event_type="{event}", level="{level}"}}"#), vec![rid])
    } else {
        let level = if level == "WARNING" { "warn" } else { level };
        (format!(r#"{{app="s{source}", level="{level}"}}"#), vec![rid, pair("event", event)])
    };
    Meaning { labels, metadata, time }
}
