//! What must arrive, as sums that do not depend on the order of the lines.

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::corpus::Line;

/// How many lines, and the sum of a hash over everything in each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Digest {
    pub(crate) lines: u64,
    /// Of the lines as they are sent.
    pub(crate) bytes: u64,
    sum: u64,
}

impl Digest {
    pub(crate) fn add(&mut self, stream: u64, time: i64, line: &[u8], metadata: u64) {
        let mut all = [0; 32];
        let parts = [stream, time.cast_unsigned(), xxh3_64(line), metadata];
        for (place, part) in all.as_chunks_mut().0.iter_mut().zip(parts) {
            *place = part.to_le_bytes();
        }
        self.lines += 1;
        self.bytes += line.len() as u64;
        self.sum = self.sum.wrapping_add(xxh3_64(&all));
    }

    /// What Skald is to make of `line` by `rules`.
    pub(crate) fn add_line(&mut self, line: &Line, rules: Rules) {
        let (labels, metadata) = rules.apply(line);
        let stream = pairs(labels.iter().copied().chain([("app", "veogen")]));
        self.add(stream, line.time, &line.bytes[line.sent.clone()], pairs(metadata));
    }
}

/// A hash of names and values in any order; of those without a value, none.
pub(crate) fn pairs<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> u64 {
    let present = pairs.into_iter().filter(|(_, value)| !value.is_empty());
    present.map(|(name, value)| pair(name.as_bytes(), value.as_bytes())).fold(0, u64::wrapping_add)
}

/// A hash of a name and its value.
pub(crate) fn pair(name: &[u8], value: &[u8]) -> u64 {
    xxh3_64_with_seed(value, xxh3_64(name))
}

/// What the configuration says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Rules {
    /// Two labels, three ids as structured metadata, the line's own time.
    Default,
    /// The level alone is a label: five streams.
    Level,
    /// The user's id alone is a label: a stream for each user.
    User,
}

type Pairs<'a> = Vec<(&'static str, &'a str)>;

impl Rules {
    /// As they are written.
    pub(crate) fn yaml(self) -> &'static str {
        match self {
            Self::Default => {
                "[{label: [level, event_type]}, {metadata: [request_id, user_id, trace_id]}, \
                 {timestamp: timestamp}]"
            }
            Self::Level => {
                "[{label: level}, {metadata: [request_id, trace_id]}, {timestamp: timestamp}]"
            }
            Self::User => {
                "[{label: user_id}, {metadata: [request_id, trace_id]}, {timestamp: timestamp}]"
            }
        }
    }

    /// Labels and metadata of a line.
    fn apply(self, line: &Line) -> (Pairs<'_>, Pairs<'_>) {
        let ids = vec![("request_id", &*line.request_id), ("trace_id", &*line.trace_id)];
        let user = ("user_id", &*line.user_id);
        match self {
            Self::Default => {
                let labels = vec![("level", &*line.level), ("event_type", &*line.event_type)];
                (labels, [ids, vec![user]].concat())
            }
            Self::Level => (vec![("level", &*line.level)], ids),
            Self::User => (vec![user], ids),
        }
    }
}
