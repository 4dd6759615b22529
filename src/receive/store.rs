//! What was received, in memory, with the checks of Loki's ingester.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::io::{self, Write as _};
use std::sync::{Arc, Mutex, MutexGuard};

use fs_err::File;
use serde::Serialize;
use serde_json::json;

use super::check::Checked;
use super::http::Refusal;
use super::ingester::{Fate, Push, Tenant};
use super::labels::Labels;
use super::logql::{Query, fields};
use super::message::{Entry, Pair};
use super::options::Options;
use super::shard::{Rates, Shard};
use super::tenant::user;
use super::weight::weight;
use crate::model::UnixNanos;

/// One copy of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// Its number in order of arrival, from 1.
    pub n: u64,
    /// `X-Scope-OrgID` of the push.
    pub tenant: Option<Arc<str>>,
    /// The labels of its stream.
    pub labels: Arc<Labels>,
    /// Its time.
    pub time: UnixNanos,
    /// The line, byte for byte.
    pub line: Vec<u8>,
    /// Structured metadata as Loki stores it: names are cleaned.
    pub metadata: Vec<(String, String)>,
    /// The `detected_level` that Loki adds; empty if it adds none.
    pub level: String,
    /// Whether Loki does not store this copy: its head block has an equal line, or the last line
    /// of the stream was equal.
    pub swallowed: bool,
}

impl Received {
    /// The line; invalid UTF-8 as U+FFFD.
    #[must_use]
    pub fn text(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.line)
    }

    /// What makes two copies equal to Loki 3.4: not their metadata.
    fn identity(&self) -> (&Labels, UnixNanos, &[u8]) {
        (&self.labels, self.time, &self.line)
    }

    /// Labels and metadata as a query shows them.
    #[must_use]
    pub fn fields(&self) -> BTreeMap<String, String> {
        let mut fields = fields(&self.labels, &self.metadata);
        if !self.level.is_empty() {
            let is_taken = self.labels.get("detected_level").is_some();
            let name = if is_taken { "detected_level_extracted" } else { "detected_level" };
            fields.insert(name.to_owned(), self.level.clone());
        }
        fields
    }

    /// As one line of JSON, with its newline.
    #[must_use]
    pub fn to_ndjson(&self) -> String {
        let metadata: BTreeMap<_, _> = self.metadata.iter().map(|(n, v)| (n, v)).collect();
        let (tenant, labels) = (json!(self.tenant.as_deref()), json!(*self.labels));
        let (line, metadata) = (json!(self.text()), json!(metadata));
        let start = format!("\"n\":{},\"tenant\":{tenant},\"labels\":{labels}", self.n);
        let end = format!("\"line\":{line},\"metadata\":{metadata}");
        let swallowed = if self.swallowed { ",\"swallowed\":true" } else { "" };
        format!("{{{start},\"time\":\"{}\",{end}{swallowed}}}\n", self.time.0)
    }
}

/// What a query looks at.
#[derive(Debug, Clone)]
pub struct Span {
    /// The first instant.
    pub start: UnixNanos,
    /// The first instant that is not looked at any more.
    pub end: UnixNanos,
    /// Most entries.
    pub limit: usize,
    /// Which entries come first.
    pub direction: Direction,
}

/// Which entries come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// The oldest.
    Forward,
    /// The newest.
    Backward,
}

/// Counters since the start.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Stats {
    /// Pushes by status; `reset` are those that got no answer.
    pub pushes: BTreeMap<String, u64>,
    /// Entries stored.
    pub entries: u64,
    /// Copies that were acknowledged and not stored, for Loki has an equal line at hand.
    pub swallowed: u64,
    /// Of the copies that are kept, how many differ in stream, time or line: Loki's queries show
    /// each of these once.
    pub distinct: u64,
    /// Copies that are forgotten because `keep` was reached.
    pub forgotten: u64,
    /// Streams, also those that are idle.
    pub streams: u64,
    /// Bytes of bodies, refused ones too.
    pub body_bytes: u64,
    /// The same before compression, of those that could be decoded.
    pub encoded_bytes: u64,
    /// Entries stored, by stream.
    pub per_stream: BTreeMap<String, u64>,
}

/// What was received. Clones share it.
#[derive(Debug, Clone)]
pub struct Store(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    options: Options,
    out: Option<File>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Invariant: sorted by `n`, at most `keep`.
    entries: VecDeque<Arc<Received>>,
    tenants: HashMap<Arc<str>, Tenant>,
    rates: Rates,
    /// Entries by user and stream.
    counts: HashMap<(Arc<str>, Arc<Labels>), u64>,
    stats: Stats,
}

impl Store {
    pub(super) fn new(options: &Options) -> io::Result<Self> {
        let append = |path| fs_err::OpenOptions::new().create(true).append(true).open(path);
        Ok(Self(Arc::new(Shared {
            options: options.clone(),
            out: options.out.as_ref().map(append).transpose()?,
            state: Mutex::default(),
        })))
    }

    /// Every copy that is kept, in order of arrival.
    #[must_use]
    pub fn entries(&self) -> Vec<Arc<Received>> {
        self.state().entries.iter().cloned().collect()
    }

    /// The counters.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let kept = self.entries();
        let distinct: HashSet<_> = kept.iter().map(|entry| entry.identity()).collect();
        let state = self.state();
        let (distinct, streams) = (distinct.len() as u64, state.counts.len() as u64);
        let mut stats = Stats { distinct, streams, ..state.stats.clone() };
        for ((_, labels), entries) in &state.counts {
            *stats.per_stream.entry(labels.to_string()).or_default() += entries;
        }
        stats
    }

    /// What `query` finds for `tenant`: equal copies once, in the order of `span`.
    #[must_use]
    pub fn find(&self, tenant: Option<&str>, query: &Query, span: &Span) -> Vec<Arc<Received>> {
        let entries = self.entries();
        let mut seen = HashSet::new();
        let mut found: Vec<&Arc<Received>> = entries
            .iter()
            .filter(|entry| !self.0.options.auth || entry.tenant.as_deref() == tenant)
            .filter(|entry| span.start <= entry.time && entry.time < span.end)
            .filter(|entry| query.finds(entry))
            .filter(|entry| seen.insert(entry.identity()))
            .collect();
        found.sort_by_key(|entry| (entry.time, entry.n));
        if span.direction == Direction::Backward {
            found.reverse();
        }
        found.into_iter().take(span.limit).cloned().collect()
    }

    /// Counts a push by its status or `reset`.
    pub(super) fn count(&self, answer: &str, body_bytes: usize) {
        let mut state = self.state();
        *state.stats.pushes.entry(answer.to_owned()).or_default() += 1;
        state.stats.body_bytes += body_bytes as u64;
    }

    pub(super) fn count_encoded(&self, bytes: usize) {
        self.state().stats.encoded_bytes += bytes as u64;
    }

    /// Stores what is left of a push at `now`, as Loki would. An error does not mean that nothing
    /// was stored.
    pub(super) fn append(
        &self,
        tenant: Option<&str>,
        checked: Checked,
        now: UnixNanos,
    ) -> Result<(), Refusal> {
        let options = &self.0.options;
        let user: Arc<str> = user(tenant, options.auth).into();
        let tenant: Option<Arc<str>> = tenant.map(Into::into);
        let mut state = self.state();
        let (rate, burst) = (options.ingestion_rate_bytes, options.ingestion_burst_bytes);
        if !state.tenant(&user).bucket.take(checked.charge(), rate, burst, now) {
            return Err(Refusal::too_many(rate_text(&user, &checked, rate)));
        }
        let shards = state.rates.shard(&user, checked.streams, options, now);
        let weight = weight(&shards, options);
        if weight > options.grpc_bytes_max {
            return Err(Refusal::internal(format!(
                "rpc error: code = ResourceExhausted desc = grpc: received message larger than \
                 max ({weight} vs. {})",
                options.grpc_bytes_max
            )));
        }
        let mut received = Vec::new();
        let mut answer = Ok(());
        for shard in shards {
            let push = Push { options, user: &user, now };
            let (bytes, fates, verdict) = state.tenant(&user).push(&shard, push);
            state.rates.record(&user, &shard, bytes);
            state.count(&user, &tenant, shard, fates, &mut received);
            // Loki's ingester keeps the answer of the last stream only.
            answer = verdict;
        }
        self.keep(&mut state, received)?;
        answer
    }

    /// Writes and keeps what came.
    fn keep(&self, state: &mut State, received: Vec<Received>) -> Result<(), Refusal> {
        if let Some(mut out) = self.0.out.as_ref() {
            let stored = received.iter().filter(|copy| !copy.swallowed);
            let text: String = stored.map(Received::to_ndjson).collect();
            out.write_all(text.as_bytes()).map_err(Refusal::internal)?;
        }
        state.entries.extend(received.into_iter().map(Arc::new));
        let surplus = state.entries.len().saturating_sub(self.0.options.keep);
        state.entries.drain(..surplus);
        state.stats.forgotten += surplus as u64;
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().expect("BUG: a thread panicked while it held the store")
    }
}

impl State {
    fn tenant(&mut self, user: &Arc<str>) -> &mut Tenant {
        self.tenants.entry(Arc::clone(user)).or_default()
    }

    fn count(
        &mut self,
        user: &Arc<str>,
        tenant: &Option<Arc<str>>,
        shard: Shard,
        fates: Vec<Fate>,
        received: &mut Vec<Received>,
    ) {
        for (mut entry, fate) in shard.entries.into_iter().zip(fates) {
            if fate == Fate::Refused {
                continue;
            }
            let swallowed = fate == Fate::Swallowed;
            match swallowed {
                true => self.stats.swallowed += 1,
                false => {
                    self.stats.entries += 1;
                    let key = (Arc::clone(user), Arc::clone(&shard.labels));
                    *self.counts.entry(key).or_default() += 1;
                }
            }
            received.push(Received {
                n: self.stats.entries + self.stats.swallowed,
                tenant: tenant.clone(),
                labels: Arc::clone(&shard.labels),
                time: entry.time().unix(),
                level: level(&mut entry),
                metadata: entry.metadata.iter().map(Pair::text).collect(),
                line: entry.line,
                swallowed,
            });
        }
    }
}

/// Takes the level that was added out of the metadata.
fn level(entry: &mut Entry) -> String {
    let level = entry.metadata.pop_if(|pair| pair.name == b"detected_level");
    level.map(|pair| pair.text().1).unwrap_or_default()
}

fn rate_text(user: &str, checked: &Checked, rate: usize) -> String {
    let rate = if rate == 0 { 4 * 1024 * 1024 } else { rate };
    format!(
        "Ingestion rate limit exceeded for user {user} (limit: {rate} bytes/sec) while \
         attempting to ingest '{}' lines totaling '{}' bytes, reduce log volume or contact your \
         Loki administrator to see if the limit can be increased",
        checked.lines(),
        checked.charge()
    )
}
