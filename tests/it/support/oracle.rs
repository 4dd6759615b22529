//! Numbered lines, and what became of them.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::sync::Arc;

use skald::model::UnixNanos;
use skald::receive::{Labels, Received, Store};

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
    /// Copies that do not have the time that is written in them.
    pub(crate) misdated: u64,
}

/// All is there, once and in order.
pub(crate) const EXACT: Found =
    Found { lost: 0, repeated: 0, foreign: 0, disordered: 0, changed: 0, misdated: 0 };

impl Sent {
    /// The next `count` lines of `src`. Their stamps are whole seconds, so that most of them have
    /// a neighbour's stamp and depend on what the agent makes of that.
    pub(crate) fn lines(&mut self, src: &str, count: u64) -> String {
        (0..count).map(|_| self.line(src, "")).collect()
    }

    /// The next line of `src`, with more in it.
    pub(crate) fn line(&mut self, src: &str, more: &str) -> String {
        self.line_at(src, &now(), more)
    }

    /// The next line of `src`, with about a KiB that does not compress.
    pub(crate) fn noisy(&mut self, src: &str, rng: &mut fastrand::Rng) -> String {
        self.line(src, &format!(",\"noise\":\"{}\"", noise(rng)))
    }

    /// The next line of `src`, with a stamp of its own and more in it.
    pub(crate) fn line_at(&mut self, src: &str, stamp: &str, more: &str) -> String {
        let next = self.0.entry(src.to_owned()).or_default();
        let seq = std::mem::replace(next, *next + 1);
        let level = ["info", "warn"][usize::from(seq.is_multiple_of(7))];
        format!(
            "{{\"timestamp\":\"{stamp}\",\"src\":\"{src}\",\"seq\":{seq},\
             \"level\":\"{level}\"{more}}}\n"
        )
    }

    /// What was written by another one, to other sources.
    pub(crate) fn join(&mut self, other: Self) {
        self.0.extend(other.0);
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
        let mut first: HashMap<(String, u64), Arc<Received>> = HashMap::new();
        let mut newest: HashMap<(String, Arc<Labels>), u64> = HashMap::new();
        for copy in store.entries() {
            let ours = id(&copy.line).filter(|(src, seq)| self.0.get(src) > Some(seq));
            let Some((src, seq)) = ours else {
                found.foreign += 1;
                continue;
            };
            found.misdated += u64::from(!is_dated(&copy));
            if let Some(before) = first.get(&(src.clone(), seq)) {
                found.repeated += 1;
                let same = |a: &Received, b: &Received| {
                    a.time == b.time && a.labels == b.labels && a.line == b.line
                };
                found.changed += u64::from(!same(before, &copy));
                continue;
            }
            let newest = newest.entry((src.clone(), Arc::clone(&copy.labels))).or_default();
            found.disordered += u64::from(seq < *newest);
            *newest = seq.max(*newest);
            first.insert((src, seq), copy);
        }
        found.lost = self.count() - first.len() as u64;
        found
    }
}

/// How many lines do not have a later time than the line before, per source: on files each line
/// has a time of its own.
pub(crate) fn out_of_time(store: &Store) -> usize {
    let mut times: Vec<_> =
        store.entries().iter().filter_map(|e| Some((id(&e.line)?, e.time))).collect();
    times.sort();
    times.dedup();
    let late =
        |pair: &&[((String, u64), UnixNanos)]| pair[0].0.0 == pair[1].0.0 && pair[1].1 <= pair[0].1;
    times.windows(2).filter(late).count()
}

/// Text that does not compress.
fn noise(rng: &mut fastrand::Rng) -> String {
    let mut noise = String::with_capacity(960);
    (0..60).for_each(|_| write!(noise, "{:016x}", rng.u64(..)).unwrap());
    noise
}

/// This second, as services write it.
pub(crate) fn now() -> String {
    let now = jiff::Timestamp::now();
    let second = jiff::Timestamp::from_second(now.as_second()).unwrap();
    second.to_string()
}

/// Whether a line has the second that is written in it.
fn is_dated(copy: &Received) -> bool {
    let second = "2026-11-22T11:12:13".len();
    let own = copy.line.get(14..14 + second);
    own == copy.time.to_string().as_bytes().get(..second)
}

/// Source and number of a line. By hand, for it is asked often.
pub(crate) fn id(line: &[u8]) -> Option<(String, u64)> {
    let text = std::str::from_utf8(line).ok()?.strip_prefix("{\"timestamp\":")?;
    let (src, rest) = text.split_once("\"src\":\"")?.1.split_once("\",\"seq\":")?;
    let seq = rest.split(',').next()?.parse().ok()?;
    Some((src.to_owned(), seq))
}
