//! A Loki that stores entries in memory, and a shell that drives a sender against it.

use std::collections::BTreeMap;
use std::time::Duration;

use prost::Message as _;

use super::parts::{compress, decompress};
use crate::batch::Sealed;
use crate::ledger::Receipt;
use crate::model::{Counts, Now, Pool, TenantId, UnixNanos};
use crate::push::{
    Answer, DeadLetter, Dropped, Failure, Options, Sender, Settled, Step, StructuredMetadata,
};
use crate::wire::push::{Entry, LabelPair, PushRequest, Stream, Timestamp};

/// 2026-01-15T09:00:00Z.
pub(super) const NINE: i64 = 1_768_467_600_000_000_000;

/// What is refused and how often there is trouble.
#[derive(Debug, Default)]
pub(super) struct Loki {
    /// Lines of each stream in the order they were stored, each once: identical resends count as
    /// duplicates, as in a head block.
    pub(super) stored: BTreeMap<String, Vec<String>>,
    pub(super) with_metadata: usize,
    /// Largest request in bytes of protobuf; 0 is no limit.
    pub(super) bytes_max: usize,
    /// Lines that hold "poison" are refused; the rest of the push is stored.
    pub(super) refuse_all: bool,
    pub(super) no_metadata: bool,
    /// Pushes of more entries are answered 500 without a reason; 0 is no limit.
    pub(super) entries_max: usize,
    /// How far behind the newest of its stream an entry may be, in nanoseconds; 0 is no limit.
    pub(super) window: i64,
    pub(super) newest: BTreeMap<String, i64>,
    /// Most streams; 0 is no limit.
    pub(super) streams_max: usize,
    /// Bytes a second of one stream, and its burst; 0 is no limit.
    pub(super) stream_rate: u64,
    /// What is left of each stream's burst, and when that was.
    pub(super) buckets: BTreeMap<String, (f64, Duration)>,
    pub(super) mono: Duration,
    /// The times of `stored`.
    pub(super) times: BTreeMap<String, Vec<i64>>,
    /// Lines that were stored once more at another time.
    pub(super) again: usize,
    /// Structured metadata that was stored.
    pub(super) pairs: Vec<(String, String)>,
    /// Of 100 pushes, how many meet trouble that passes.
    pub(super) trouble: u8,
    pub(super) rng: fastrand::Rng,
    pub(super) pushes: usize,
    /// What the distributor refuses of the push in hand.
    pub(super) invalid: Option<&'static str>,
}

pub(super) fn status(code: u16, body: &str) -> Answer {
    Answer::Status { code, body: body.to_owned(), retry_after: None }
}

impl Loki {
    /// The values of this metadata, as they were stored.
    pub(super) fn values(&self, name: &str) -> Vec<&str> {
        let pairs = self.pairs.iter().filter(|pair| pair.0 == name);
        pairs.map(|pair| pair.1.as_str()).collect()
    }

    pub(super) fn push(&mut self, body: &[u8]) -> Answer {
        self.pushes += 1;
        if self.rng.u8(0..100) >= self.trouble {
            return self.take(body);
        }
        let failed = |kind| Answer::Failed { text: "no answer".into(), kind };
        match self.rng.u8(0..6) {
            0 => failed(Failure::Connect),
            1 => {
                // It is stored, but nobody hears of it.
                self.take(body);
                failed(Failure::Timeout)
            }
            2 => status(503, "overload"),
            3 => status(429, ""),
            4 => status(401, "no org id"),
            _ => status(500, "empty ring"),
        }
    }

    fn take(&mut self, body: &[u8]) -> Answer {
        let request = decompress(body);
        let entries = request.streams.iter().map(|stream| stream.entries.len()).sum::<usize>();
        assert_ne!(entries, 0, "an empty push was sent");
        if self.bytes_max != 0 && self.bytes_max < request.encoded_len() {
            return if self.pushes.is_multiple_of(2) {
                status(413, "request body too large")
            } else {
                status(500, "grpc: received message larger than max (5 vs. 4)")
            };
        }
        if self.entries_max != 0 && self.entries_max < entries {
            return status(500, "panic");
        }
        let has = |text| {
            let mut entries = request.streams.iter().flat_map(|stream| &stream.entries);
            entries.any(|entry| String::from_utf8_lossy(&entry.line).contains(text))
        };
        if has("unparsable") {
            return status(400, "couldn't parse labels: 1:2: parse error: unexpected");
        }
        if has("unstorable") {
            return status(500, "rpc error: code = Unknown desc = label name is empty");
        }
        let mut refused = None;
        for stream in request.streams {
            refused = self.take_stream(stream).err().or(refused);
        }
        match (refused, self.invalid.take()) {
            // An ingester's refusal goes before the distributor's.
            (Some((code, text)), _) => status(code, &text),
            (None, Some(text)) => status(400, text),
            (None, None) => status(204, ""),
        }
    }

    fn take_stream(&mut self, stream: Stream) -> Result<(), (u16, String)> {
        let Stream { labels, entries } = stream;
        let known = self.stored.len();
        if self.streams_max != 0 && self.streams_max <= known && !self.stored.contains_key(&labels)
        {
            let text = "Maximum active stream limit exceeded when trying to create stream";
            return Err((429, format!("{text} {labels}, reduce the number")));
        }
        self.pass_rate(&labels, &entries)?;
        let total = entries.len();
        let mut behind = vec![];
        for entry in entries {
            let time = nanos(&entry);
            let newest = self.newest.get(&labels).copied().unwrap_or(time);
            if self.window != 0 && time < newest - self.window {
                behind.push(behind_text(time, newest - self.window));
                continue;
            }
            if self.store(&labels, entry) {
                self.newest.insert(labels.clone(), newest.max(time));
            }
        }
        if behind.is_empty() {
            return Ok(());
        }
        let ignored = behind.len();
        behind.truncate(10);
        let last = format!("total ignored: {ignored} out of {total} for stream: {labels}");
        Err((400, format!("{}user 'fake', {last}", behind.concat())))
    }

    fn pass_rate(&mut self, labels: &str, entries: &[Entry]) -> Result<(), (u16, String)> {
        if self.stream_rate == 0 {
            return Ok(());
        }
        let bytes: usize = entries.iter().map(|entry| entry.line.len()).sum();
        let (rate, now) = (self.stream_rate as f64, self.mono);
        let (left, at) = self.buckets.get(labels).copied().unwrap_or((rate, now));
        let left = (left + (now - at).as_secs_f64() * rate).min(rate);
        let passes = bytes as f64 <= left;
        let left = if passes { left - bytes as f64 } else { left };
        self.buckets.insert(labels.to_owned(), (left, now));
        if passes {
            return Ok(());
        }
        Err((
            429,
            format!(
                "entry with timestamp T ignored, reason: 'Per stream rate limit exceeded (limit: \
                 {}B/sec) while attempting to ingest for stream '{labels}' totaling {bytes}B'",
                self.stream_rate
            ),
        ))
    }

    /// Returns whether it is stored; the distributor's refusals are about the whole push.
    fn store(&mut self, labels: &str, entry: Entry) -> bool {
        let time = nanos(&entry);
        let line = String::from_utf8(entry.line).unwrap();
        if self.refuse_all || line.contains("poison") {
            let text = "1 errors like: entry for stream '{a=\"b\"}' has timestamp too old: T";
            self.invalid = Some(text);
            return false;
        }
        if self.no_metadata && !entry.structured_metadata.is_empty() {
            let text = "stream '{a=\"b\"}' includes structured metadata, but this feature is \
                        disallowed. Please see";
            self.invalid = Some(text);
            return false;
        }
        self.with_metadata += entry.structured_metadata.len();
        let lines = self.stored.entry(labels.to_owned()).or_default();
        let times = self.times.entry(labels.to_owned()).or_default();
        if let Some(idx) = lines.iter().position(|stored| *stored == line) {
            self.again += usize::from(times[idx] != time);
            return true;
        }
        let pairs = entry.structured_metadata.into_iter();
        self.pairs.extend(pairs.map(|pair| (pair.name, pair.value)));
        lines.push(line);
        times.push(time);
        true
    }
}

fn nanos(entry: &Entry) -> i64 {
    let Timestamp { seconds, nanos } = entry.timestamp.unwrap();
    seconds * 1_000_000_000 + i64::from(nanos)
}

/// As Loki words it: the entry's time in full, the floor in seconds.
fn behind_text(time: i64, floor: i64) -> String {
    let [time, floor] = [time, floor].map(UnixNanos);
    let go = time.to_string().replace('T', " ").replace('Z', " +0000 UTC");
    let seconds = |time: UnixNanos| format!("{}Z", &time.to_string()[..19]);
    format!(
        "entry with timestamp {go} ignored, reason: 'entry too far behind, entry timestamp is: {}, \
         oldest acceptable timestamp is: {}',\n",
        seconds(time),
        seconds(floor)
    )
}

/// A batch of these lines, as stream number and text, a nanosecond apart.
pub(super) fn sealed(lines: &[(u8, String)], metadata: bool) -> Sealed {
    let lines: Vec<_> =
        (0..).zip(lines).map(|(nanos, (stream, line))| (*stream, nanos, line.clone())).collect();
    sealed_at(&lines, metadata)
}

/// A batch of these lines, as stream number, nanoseconds since nine o'clock, and text.
pub(super) fn sealed_at(lines: &[(u8, i64, String)], metadata: bool) -> Sealed {
    let mut streams: Vec<Stream> = Vec::new();
    for (stream, time, line) in lines {
        let pair = LabelPair { name: "request_id".into(), value: "r1".into() };
        let time = NINE + time;
        let nanos = i32::try_from(time.rem_euclid(1_000_000_000)).unwrap();
        let entry = Entry {
            timestamp: Some(Timestamp { seconds: time.div_euclid(1_000_000_000), nanos }),
            line: line.clone().into_bytes(),
            structured_metadata: metadata.then_some(pair).into_iter().collect(),
        };
        let labels = format!("{{stream=\"{stream}\"}}");
        match streams.iter_mut().find(|stream| stream.labels == labels) {
            Some(stream) => stream.entries.push(entry),
            None => streams.push(Stream { labels, entries: vec![entry] }),
        }
    }
    let streams_len = streams.len();
    let request = PushRequest { streams };
    let counts = Counts { lines: lines.len() as u64, bytes: 0 };
    Sealed {
        tenant: TenantId::default(),
        body: compress(&request),
        encoded_bytes: request.encoded_len(),
        entries: lines.len(),
        streams: streams_len,
        receipt: Receipt { tickets: vec![], permit: Pool::new(0, || ()).empty(), counts },
    }
}

pub(super) fn options() -> Options {
    Options {
        url: "http://loki:3100/loki/api/v1/push".into(),
        tenant: Some("veogen".into()),
        auth: crate::push::Auth::None,
        tls: crate::push::Tls::default(),
        headers: vec![],
        proxy: crate::push::Proxy::None,
        timeout: Duration::from_secs(15),
        one_stream_per_push: false,
        structured_metadata: StructuredMetadata::Auto,
        retry: crate::push::Retry {
            delay_min: Duration::from_millis(500),
            delay_max: Duration::from_secs(30),
        },
        bytes_per_second: 0,
    }
}

/// The shell: does what the steps say, with a clock that jumps.
#[derive(Debug)]
pub(super) struct Shell {
    pub(super) sender: Sender,
    pub(super) loki: Loki,
    pub(super) buried: Vec<DeadLetter>,
    pub(super) mono: Duration,
    /// Of 100 burials, how many fail.
    pub(super) disk_trouble: u8,
    pub(super) delivered: u64,
    pub(super) dropped: Vec<Dropped>,
}

impl Shell {
    pub(super) fn new(options: &Options, loki: Loki) -> Self {
        Self {
            sender: Sender::new(options, 1),
            loki,
            buried: vec![],
            mono: Duration::ZERO,
            disk_trouble: 0,
            delivered: 0,
            dropped: vec![],
        }
    }

    pub(super) fn now(&self) -> Now {
        Now { mono: self.mono, wall: UnixNanos(0) }
    }

    /// One step. Returns what was settled.
    pub(super) fn turn(&mut self) -> Option<Settled> {
        match self.sender.step(self.now()) {
            Step::Idle => panic!("nothing was offered"),
            Step::Post(body) => {
                self.loki.mono = self.mono;
                let answer = self.loki.push(&body);
                self.sender.answered(&answer, self.now());
            }
            Step::Wait { until } => {
                assert!(self.mono < until, "a wait for the past");
                self.mono = until;
            }
            Step::Bury(letters) => {
                let fails = self.loki.rng.u8(0..100) < self.disk_trouble;
                let result = if fails { Err("full".to_owned()) } else { Ok(()) };
                if !fails {
                    self.buried.extend(letters);
                }
                self.sender.buried(result, self.now());
            }
            Step::Done(settled) => {
                self.delivered += settled.delivered;
                self.dropped.extend(&settled.dropped);
                return Some(settled);
            }
        }
        None
    }

    /// Brings a whole batch to its end.
    pub(super) fn ship(&mut self, batch: Sealed) -> Settled {
        self.sender.offer(batch);
        for _ in 0..100_000 {
            if let Some(settled) = self.turn() {
                return settled;
            }
        }
        panic!("no end: {:?}", self.sender.health());
    }
}
