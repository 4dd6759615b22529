//! The knobs of a run, and a Loki with weather.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use prost::Message as _;
use skald::model::UnixNanos;
use skald::push::{Answer, Failure};
use skald::wire::push::{Entry, PushRequest};

/// One of many, the later ones are rarer.
fn pick<T: Copy>(rng: &mut fastrand::Rng, choices: &[T]) -> T {
    choices[rng.usize(0..choices.len())]
}

fn millis(rng: &mut fastrand::Rng, range: std::ops::Range<u64>) -> Duration {
    Duration::from_millis(rng.u64(range))
}

/// What is drawn anew for every seed.
#[derive(Debug, Clone)]
pub(crate) struct Knobs {
    pub(crate) workers: usize,
    pub(crate) sources: usize,
    pub(crate) files: usize,
    pub(crate) line_bytes: usize,
    pub(crate) chunk_bytes: usize,
    pub(crate) bytes_max: usize,
    pub(crate) in_flight: u64,
    pub(crate) age_max: Duration,
    pub(crate) streams_max: usize,
    pub(crate) retry_min: Duration,
    pub(crate) retry_max: Duration,
    pub(crate) one_in_poison: u64,
    /// Rotated files keep a name that the globs find.
    pub(crate) globs_find_rotated: bool,
    pub(crate) copytruncate: bool,
    /// The services' lines come between these pauses.
    pub(crate) write_pause: u64,
    /// How long services write.
    pub(crate) duration: Duration,
    /// Mean time between ends of the process; `None` is never.
    pub(crate) life: Option<u64>,
    /// One in so many ends is a power cut, and one in so many an orderly stop.
    pub(crate) one_in_cut: u64,
    pub(crate) log_faults: u64,
    pub(crate) state_faults: u64,
    pub(crate) inode_reuse: u64,
    /// Scans in which new names are found: each so often.
    pub(crate) scan: Duration,
}

impl Knobs {
    pub(crate) fn new(rng: &mut fastrand::Rng) -> Self {
        let line_bytes = rng.usize(300..3000);
        let chunk_bytes = (line_bytes + 1).max(pick(rng, &[1024, 4096, 16_384]));
        let bytes_max = pick(rng, &[1, 600, 4096, 16_384]);
        // What `check` asks for: a batch, and a chunk for each of the most readers there can be.
        let least = (bytes_max + 4 * chunk_bytes) as u64;
        Self {
            workers: rng.usize(1..=3),
            sources: rng.usize(1..=2),
            files: rng.usize(1..=6),
            line_bytes,
            chunk_bytes,
            bytes_max,
            in_flight: least + pick(rng, &[0, 0, 1000, 1_000_000]),
            age_max: millis(rng, 10..3000),
            streams_max: pick(rng, &[1, 2, 5, 1000, 1000, 1000]),
            retry_min: millis(rng, 50..500),
            retry_max: millis(rng, 500..4000),
            one_in_poison: pick(rng, &[0, 100, 300]),
            globs_find_rotated: rng.bool(),
            copytruncate: rng.u8(0..3) == 0,
            write_pause: pick(rng, &[50, 100, 400]),
            duration: millis(rng, 10_000..50_000),
            life: pick(rng, &[None, Some(4000), Some(8000), Some(16_000)]),
            one_in_cut: pick(rng, &[1, 2]),
            log_faults: pick(rng, &[0, 0, 40, 400]),
            state_faults: pick(rng, &[0, 0, 5, 30]),
            inode_reuse: pick(rng, &[0, 1, 3]),
            scan: millis(rng, 50..3000),
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Weather {
    Fine,
    Slow,
    Dead,
    Flaky,
}

/// What becomes of a push.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) delay: Duration,
    pub(crate) answer: Answer,
    /// What is stored of it.
    pub(crate) stored: Vec<(String, Entry)>,
    /// Whether that happens when the push is sent, not when it is answered.
    pub(crate) at_once: bool,
}

impl Reply {
    /// Whether the agent learns that Loki has the push.
    pub(crate) fn is_accepted(&self) -> bool {
        matches!(self.answer, Answer::Status { code: 204, .. })
    }
}

/// A Loki that stores what it may and answers as it likes.
#[derive(Debug)]
pub(crate) struct Loki {
    rng: fastrand::Rng,
    weather: Weather,
    /// From here on it is well.
    pub(crate) healed: bool,
    /// The newest time of each stream.
    newest: HashMap<String, i64>,
    /// How often it gave which answer.
    pub(crate) answers: BTreeMap<&'static str, u64>,
}

/// How far behind the newest of its stream Loki takes a line.
const BEHIND: i64 = 3_600_000_000_000;
const BEHIND_TEXT: &str = "entry too far behind";

pub(crate) fn time_of(entry: &Entry) -> UnixNanos {
    let time = entry.timestamp.unwrap_or_default();
    UnixNanos(time.seconds * 1_000_000_000 + i64::from(time.nanos))
}

impl Loki {
    pub(crate) fn new(rng: fastrand::Rng) -> Self {
        let (newest, answers) = (HashMap::new(), BTreeMap::new());
        Self { rng, weather: Weather::Fine, healed: false, newest, answers }
    }

    /// The weather changes. Returns after how long it does so again.
    pub(crate) fn change(&mut self) -> Duration {
        let all = [Weather::Fine, Weather::Slow, Weather::Dead, Weather::Flaky, Weather::Flaky];
        self.weather = pick(&mut self.rng, &all);
        millis(&mut self.rng, 500..15_000)
    }

    /// Takes a push.
    pub(crate) fn push(&mut self, body: &[u8]) -> Reply {
        let bytes = snap::raw::Decoder::new().decompress_vec(body).expect("a snappy block");
        let request = PushRequest::decode(&*bytes).expect("a push request");
        let (mut taken, mut refused) = (Vec::new(), None);
        for stream in request.streams {
            for entry in stream.entries {
                match self.refuses(&stream.labels, &entry) {
                    Some(text) => refused = Some(text),
                    None => taken.push((stream.labels.clone(), entry)),
                }
            }
        }
        let entries = taken.len() + usize::from(refused.is_some());
        let (kind, delay, answer, stored) = self.roll(entries);
        let (kind, answer) = match refused {
            Some(text) if kind == "204" => {
                let kind = if text == BEHIND_TEXT { "400 behind" } else { "400" };
                (kind, status(400, text, None))
            }
            _ => (kind, answer),
        };
        *self.answers.entry(kind).or_default() += 1;
        match stored {
            Stored::All => {}
            Stored::None => taken.clear(),
            Stored::Some => taken.retain(|(labels, _)| labels.len().is_multiple_of(2)),
        }
        Reply { delay, answer, stored: taken, at_once: self.rng.bool() }
    }

    /// An entry is stored.
    pub(crate) fn keep(&mut self, labels: &str, time: UnixNanos) {
        let newest = self.newest.entry(labels.to_owned()).or_insert(i64::MIN);
        *newest = time.0.max(*newest);
    }

    fn refuses(&self, labels: &str, entry: &Entry) -> Option<&'static str> {
        if entry.line.windows(8).any(|bytes| bytes == b"\"poison\"") {
            return Some("entry is poison");
        }
        let newest = self.newest.get(labels)?;
        let behind = time_of(entry).0 < newest.saturating_sub(BEHIND);
        behind.then_some(BEHIND_TEXT)
    }

    fn roll(&mut self, entries: usize) -> (&'static str, Duration, Answer, Stored) {
        let rng = &mut self.rng;
        let fine = |delay| ("204", delay, status(204, "", None), Stored::All);
        let failed = |kind, text| Answer::Failed { text: str::to_owned(text), kind };
        let quick = millis(rng, 1..30);
        if self.healed {
            return fine(millis(rng, 1..5));
        }
        match self.weather {
            Weather::Fine => return fine(quick),
            Weather::Slow => return fine(millis(rng, 50..3000)),
            Weather::Dead => {
                let answer = failed(Failure::Connect, "connection refused");
                return ("refused", quick, answer, Stored::None);
            }
            Weather::Flaky => {}
        }
        let long = Duration::from_secs(5);
        let wish = Some(Duration::from_secs(rng.u64(1..6)));
        let answer = |code, text| status(code, text, None);
        match rng.u8(0..100) {
            0..8 => ("429", quick, answer(429, "limit"), Stored::None),
            8..16 => ("429 later", quick, status(429, "limit", wish), Stored::None),
            16..24 => ("429 partial", quick, answer(429, "per stream rate limit"), Stored::Some),
            24..30 => ("500", quick, answer(500, "oops"), Stored::None),
            30..36 => ("500 stored", quick, answer(500, "context canceled"), Stored::All),
            36..42 => ("503", quick, answer(503, ""), Stored::None),
            42..48 => ("timeout", long, failed(Failure::Timeout, "timeout"), Stored::None),
            48..54 => ("timeout stored", long, failed(Failure::Timeout, "timeout"), Stored::All),
            54..60 => ("broken stored", quick, failed(Failure::Broken, "reset"), Stored::All),
            60..64 if 1 < entries => ("413", quick, answer(413, "too large"), Stored::None),
            64..66 => ("401", quick, answer(401, "who?"), Stored::None),
            _ => fine(quick),
        }
    }
}

enum Stored {
    All,
    Some,
    None,
}

fn status(code: u16, body: &str, retry_after: Option<Duration>) -> Answer {
    Answer::Status { code, body: body.to_owned(), retry_after }
}
