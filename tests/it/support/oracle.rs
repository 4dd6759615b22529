//! Numbered lines, and what became of them.

use std::collections::{BTreeMap, HashMap};

use skald::model::UnixNanos;
use skald::receive::{Labels, Store};

/// What was written: per source, how many lines, numbered from 0.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sent(BTreeMap<String, u64>);

/// What arrived, compared with what was written.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// Lines that did not arrive.
    pub(crate) lost: u64,
    /// Copies beyond the first.
    pub(crate) repeated: u64,
    /// Copies of lines that were never written.
    pub(crate) foreign: u64,
    /// Lines whose first copy came after a later line of the same source and stream.
    pub(crate) disordered: u64,
    /// Copies with another time, other labels or another text than the first.
    pub(crate) changed: u64,
}

/// All is there, once and in order.
pub(crate) const EXACT: Found =
    Found { lost: 0, repeated: 0, foreign: 0, disordered: 0, changed: 0 };

impl Sent {
    /// The next `count` lines of `src`. Their stamps are whole seconds, so that most of them have
    /// a neighbour's stamp and depend on what the agent makes of that.
    pub(crate) fn lines(&mut self, src: &str, count: u64) -> String {
        (0..count).map(|_| self.line(src, "")).collect()
    }

    /// The next line of `src`, with more in it.
    pub(crate) fn line(&mut self, src: &str, more: &str) -> String {
        let stamp = now();
        self.line_at(src, &format!("\"{stamp}\""), more)
    }

    /// The next line of `src`, with a stamp of its own.
    pub(crate) fn line_at(&mut self, src: &str, stamp: &str, more: &str) -> String {
        let next = self.0.entry(src.to_owned()).or_default();
        let seq = std::mem::replace(next, *next + 1);
        let level = ["info", "warn"][usize::from(seq % 7 == 0)];
        format!(
            "{{\"timestamp\":{stamp},\"src\":\"{src}\",\"seq\":{seq},\"level\":\"{level}\"{more}}}\n"
        )
    }

    /// How many lines were written in all.
    pub(crate) fn count(&self) -> u64 {
        self.0.values().sum()
    }

    /// How many distinct lines of ours have arrived.
    pub(crate) fn arrived(&self, store: &Store) -> u64 {
        self.count() - self.found(store).lost
    }

    /// What became of them.
    pub(crate) fn found(&self, store: &Store) -> Found {
        let mut found = Found::default();
        let mut first: HashMap<(String, u64), (UnixNanos, Labels, Vec<u8>)> = HashMap::new();
        let mut newest: HashMap<(String, Labels), u64> = HashMap::new();
        for copy in store.entries() {
            let Some((src, seq)) = id(&copy.line) else {
                found.foreign += 1;
                continue;
            };
            if self.0.get(&src).is_none_or(|count| *count <= seq) {
                found.foreign += 1;
                continue;
            }
            let seen = (copy.time, Labels::clone(&copy.labels), copy.line.clone());
            if let Some(before) = first.get(&(src.clone(), seq)) {
                found.repeated += 1;
                found.changed += u64::from(*before != seen);
                continue;
            }
            first.insert((src.clone(), seq), seen);
            let newest = newest.entry((src, Labels::clone(&copy.labels))).or_default();
            found.disordered += u64::from(seq < *newest);
            *newest = seq.max(*newest);
        }
        found.lost = self.count() - first.len() as u64;
        found
    }
}

/// This second, as services write it.
pub(crate) fn now() -> String {
    let now = jiff::Timestamp::now();
    let second = jiff::Timestamp::from_second(now.as_second()).unwrap();
    second.to_string()
}

/// Source and number of a line.
pub(crate) fn id(line: &[u8]) -> Option<(String, u64)> {
    #[derive(serde::Deserialize)]
    struct Id {
        src: String,
        seq: u64,
    }
    let id: Id = serde_json::from_slice(line).ok()?;
    Some((id.src, id.seq))
}
