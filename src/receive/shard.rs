//! Automatic stream sharding: what Loki's distributor knows of the rates of streams, and how it
//! spreads the entries of a hot one.

use std::collections::HashMap;
use std::sync::Arc;

use super::labels::Labels;
use super::message::Entry;
use super::options::Options;
use crate::model::UnixNanos;

/// Seconds after which the rate of a stream is forgotten.
const KEPT: u64 = 600;

/// A push a second, in [`Rate::pushes`].
const ONE: u64 = 1_000_000;

type Key = (Arc<str>, Arc<Labels>);

/// Rates of unsharded streams: moving averages of whole seconds.
#[derive(Debug, Default)]
pub(super) struct Rates {
    second: i64,
    /// By shard: its stream, bytes and pushes of this second.
    seen: HashMap<Key, (Arc<Labels>, u64, u64)>,
    rates: HashMap<Key, Rate>,
}

#[derive(Debug, Default)]
struct Rate {
    /// A second.
    bytes: u64,
    /// Millionths, a second.
    pushes: u64,
    /// Seconds since there was a push.
    idle: u64,
    next_shard: usize,
}

impl Rates {
    /// Spreads each hot stream over its shards, round-robin.
    pub(super) fn shard(
        &mut self,
        user: &Arc<str>,
        streams: Vec<(Arc<Labels>, Vec<Entry>)>,
        options: &Options,
        now: UnixNanos,
    ) -> Vec<Shard> {
        self.advance(now);
        let mut shards = Vec::with_capacity(streams.len());
        for (labels, entries) in streams {
            let rate = self.rates.get_mut(&(Arc::clone(user), Arc::clone(&labels)));
            let bytes = entries.iter().map(|entry| entry.line.len() as u64).sum();
            let count = rate.as_ref().map_or(1, |rate| rate.shards(bytes, options));
            match rate.filter(|_| options.shard_streams && count > 1) {
                None => shards.push(Shard { base: Arc::clone(&labels), labels, entries }),
                Some(rate) => spread(&labels, entries, count, &mut rate.next_shard, &mut shards),
            }
        }
        shards
    }

    /// Counts what came for a shard.
    pub(super) fn record(&mut self, user: &Arc<str>, shard: &Shard, bytes: usize) {
        let key = (Arc::clone(user), Arc::clone(&shard.labels));
        let seen = self.seen.entry(key).or_insert_with(|| (Arc::clone(&shard.base), 0, 0));
        seen.1 += bytes as u64;
        seen.2 += ONE;
    }

    /// Takes in the seconds that ended.
    fn advance(&mut self, now: UnixNanos) {
        let second = now.0.div_euclid(1_000_000_000);
        let ended = second.saturating_sub(std::mem::replace(&mut self.second, second));
        for _ in 0..u64::try_from(ended).unwrap_or(0).min(KEPT + 1) {
            let mut ended: HashMap<Key, (u64, u64)> = HashMap::new();
            for ((user, _), (base, bytes, pushes)) in self.seen.drain() {
                let sum = ended.entry((user, base)).or_default();
                *sum = (sum.0 + bytes, pushes.max(sum.1));
            }
            for (key, rate) in &mut self.rates {
                rate.idle += 1;
                let (bytes, pushes) =
                    ended.remove(key).inspect(|_| rate.idle = 0).unwrap_or((0, 0));
                rate.bytes = (2 * bytes + 3 * rate.bytes) / 5;
                rate.pushes = (2 * pushes + 3 * rate.pushes) / 5;
            }
            self.rates.retain(|_, rate| rate.idle < KEPT);
            let new = ended.into_iter();
            self.rates.extend(
                new.map(|(key, (bytes, pushes))| (key, Rate { bytes, pushes, ..Rate::default() })),
            );
        }
    }
}

impl Rate {
    /// How many shards a push of `bytes` is spread over.
    fn shards(&self, bytes: u64, options: &Options) -> usize {
        let pushed = bytes * self.pushes.min(ONE) / ONE;
        let shards = (self.bytes + pushed).div_ceil(options.shard_desired_rate_bytes.max(1) as u64);
        usize::try_from(shards).unwrap_or(usize::MAX)
    }
}

/// A stream on its way to the ingester.
#[derive(Debug)]
pub(super) struct Shard {
    /// The stream before it was sharded.
    pub(super) base: Arc<Labels>,
    pub(super) labels: Arc<Labels>,
    pub(super) entries: Vec<Entry>,
}

fn spread(
    base: &Arc<Labels>,
    entries: Vec<Entry>,
    count: usize,
    next: &mut usize,
    shards: &mut Vec<Shard>,
) {
    let used = count.min(entries.len());
    let first = shards.len();
    for number in *next..*next + used {
        let labels = Arc::new(base.with("__stream_shard__", &(number % count).to_string()));
        shards.push(Shard { base: Arc::clone(base), labels, entries: Vec::new() });
    }
    *next += used;
    for (idx, entry) in entries.into_iter().enumerate() {
        shards[first + idx % used].entries.push(entry);
    }
}
