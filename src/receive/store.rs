//! What was received, in memory, with the checks of Loki's ingester.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::io::{self, Write as _};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use fs_err::File;
use serde::Serialize;
use serde_json::json;

use super::check::{seconds, time};
use super::http::Refusal;
use super::labels::Labels;
use super::logql::Query;
use super::options::Options;
use crate::model::UnixNanos;
use crate::wire::push::Entry;

/// Half of Loki's `max_chunk_age`: how far an entry may be behind the newest of its stream.
const BEHIND_MAX: Duration = Duration::from_secs(3600);

/// `max_returned_stream_errors`.
const ERRORS_MAX: usize = 10;

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
    /// Structured metadata, as it was sent.
    pub metadata: Vec<(String, String)>,
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

    /// As one line of JSON, with its newline.
    #[must_use]
    pub fn to_ndjson(&self) -> String {
        let metadata: BTreeMap<_, _> = self.metadata.iter().map(|(n, v)| (n, v)).collect();
        let (tenant, labels) = (json!(self.tenant.as_deref()), json!(*self.labels));
        let (line, metadata) = (json!(self.text()), json!(metadata));
        let start = format!("\"n\":{},\"tenant\":{tenant},\"labels\":{labels}", self.n);
        let end = format!("\"line\":{line},\"metadata\":{metadata}");
        format!("{{{start},\"time\":\"{}\",{end}}}\n", self.time.0)
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
    /// Entries stored, each copy.
    pub entries: u64,
    /// Of those that are kept, how many differ in stream, time or line: Loki's queries show each
    /// of these once.
    pub distinct: u64,
    /// Entries that are forgotten because `keep` was reached.
    pub forgotten: u64,
    /// Streams.
    pub streams: u64,
    /// Bytes of bodies, refused ones too.
    pub body_bytes: u64,
    /// The same before compression, of those that could be decoded.
    pub encoded_bytes: u64,
    /// Entries by stream.
    pub per_stream: BTreeMap<String, u64>,
}

/// What was received. Clones share it.
#[derive(Debug, Clone)]
pub struct Store(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    keep: usize,
    auth: bool,
    stream_limit: usize,
    out: Option<File>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Invariant: sorted by `n`, at most `keep`.
    entries: VecDeque<Arc<Received>>,
    streams: HashMap<(Option<Arc<str>>, Arc<Labels>), Stream>,
    stats: Stats,
}

#[derive(Debug, Clone, Copy)]
struct Stream {
    newest: UnixNanos,
    entries: u64,
}

impl Store {
    pub(super) fn new(options: &Options) -> io::Result<Self> {
        let append = |path| fs_err::OpenOptions::new().create(true).append(true).open(path);
        Ok(Self(Arc::new(Shared {
            keep: options.keep,
            auth: options.auth,
            stream_limit: options.stream_limit,
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
        let per_stream =
            state.streams.iter().map(|((_, labels), s)| (labels.to_string(), s.entries));
        let mut stats = Stats { distinct: distinct.len() as u64, ..state.stats.clone() };
        for (labels, entries) in per_stream {
            *stats.per_stream.entry(labels).or_default() += entries;
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
            .filter(|entry| !self.0.auth || entry.tenant.as_deref() == tenant)
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

    /// Stores what an ingester would. The error is that of the last stream, as Loki keeps no
    /// other.
    pub(super) fn append(
        &self,
        tenant: Option<&str>,
        streams: Vec<(Arc<Labels>, Vec<Entry>)>,
    ) -> Result<(), Refusal> {
        let tenant: Option<Arc<str>> = tenant.map(Into::into);
        let mut state = self.state();
        let mut received = Vec::new();
        let mut answer = Ok(());
        for (labels, entries) in streams {
            answer = state.stream(&self.0, tenant.clone(), &labels, entries, &mut received);
        }
        if let Some(mut out) = self.0.out.as_ref() {
            let text: String = received.iter().map(Received::to_ndjson).collect();
            out.write_all(text.as_bytes()).map_err(Refusal::internal)?;
        }
        state.entries.extend(received.into_iter().map(Arc::new));
        let surplus = state.entries.len().saturating_sub(self.0.keep);
        state.entries.drain(..surplus);
        state.stats.forgotten += surplus as u64;
        answer
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().expect("BUG: a thread panicked while it held the store")
    }
}

impl State {
    fn stream(
        &mut self,
        shared: &Shared,
        tenant: Option<Arc<str>>,
        labels: &Arc<Labels>,
        entries: Vec<Entry>,
        received: &mut Vec<Received>,
    ) -> Result<(), Refusal> {
        let user = tenant.clone().filter(|_| shared.auth);
        let name = user.as_deref().unwrap_or("fake").to_owned();
        let key = (user, Arc::clone(labels));
        if !self.streams.contains_key(&key) {
            let of_user = |(other, _): &&(Option<Arc<str>>, _)| *other == key.0;
            if self.streams.keys().filter(of_user).count() >= shared.stream_limit {
                return Err(Refusal::too_many(stream_limit_text(labels, &name)));
            }
            self.stats.streams += 1;
        }
        let newest = UnixNanos(i64::MIN);
        let stream = self.streams.entry(key).or_insert(Stream { newest, entries: 0 });
        let total = entries.len();
        let mut behind = Vec::new();
        for entry in entries {
            let time = time(&entry);
            let oldest = stream.newest.minus(BEHIND_MAX);
            if time < oldest {
                behind.push(behind_text(time, oldest));
                continue;
            }
            stream.newest = stream.newest.max(time);
            stream.entries += 1;
            self.stats.entries += 1;
            let metadata = entry.structured_metadata;
            received.push(Received {
                n: self.stats.entries,
                tenant: tenant.clone(),
                labels: Arc::clone(labels),
                time,
                line: entry.line,
                metadata: metadata.into_iter().map(|pair| (pair.name, pair.value)).collect(),
            });
        }
        if behind.is_empty() {
            return Ok(());
        }
        let ignored = behind.len();
        behind.truncate(ERRORS_MAX);
        let last = format!("total ignored: {ignored} out of {total} for stream: {labels}");
        Err(Refusal::bad_request(format!("{}user '{name}', {last}", behind.concat())))
    }
}

fn stream_limit_text(labels: &Labels, user: &str) -> String {
    format!(
        "Maximum active stream limit exceeded when trying to create stream {labels}, reduce the \
         number of active streams (reduce labels or reduce label values), or contact your Loki \
         administrator to see if the limit can be increased, user: '{user}'"
    )
}

fn behind_text(time: UnixNanos, oldest: UnixNanos) -> String {
    let go = time.to_string().replace('T', " ").replace('Z', " +0000 UTC");
    let (time, oldest) = (seconds(time), seconds(oldest));
    format!(
        "entry with timestamp {go} ignored, reason: 'entry too far behind, entry timestamp is: \
         {time}, oldest acceptable timestamp is: {oldest}',\n"
    )
}
