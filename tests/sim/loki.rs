//! A Loki with weather.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use prost::Message as _;
use skald::model::UnixNanos;
use skald::push::{Answer, Failure};
use skald::wire::push::{Entry, PushRequest};

use crate::knobs::{millis, pick};

/// How Loki feels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Weather {
    Fine,
    Slow,
    /// Nobody listens.
    Dead,
    /// It answers 503.
    Unwell,
    /// It answers anything.
    Flaky,
    /// Each push takes as long as any other.
    Steady,
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

    /// Whether it learns what of the push Loki has: all, or all but what is too far behind.
    pub(crate) fn has_verdict(&self) -> bool {
        let Answer::Status { code, body, .. } = &self.answer else { return false };
        *code == 204 || *code == 400 && body.contains("too far behind")
    }
}

/// A Loki that stores what it may and answers as it likes.
#[derive(Debug)]
pub(crate) struct Loki {
    rng: fastrand::Rng,
    weather: Weather,
    /// Its weather until the times that stand beside it; beyond them, by chance.
    pub(crate) forecast: Vec<(Duration, Weather)>,
    /// From here on it is well.
    pub(crate) healed: bool,
    /// How often each lane has tried while it was dead or unwell.
    pub(crate) probes: BTreeMap<usize, u64>,
    /// Lanes that have come through since.
    pub(crate) served: BTreeSet<usize>,
    /// The newest time of each stream.
    newest: HashMap<String, i64>,
    /// How often it gave which answer.
    pub(crate) answers: BTreeMap<&'static str, u64>,
}

/// How far behind the newest of its stream Loki takes a line.
const BEHIND: i64 = 3_600_000_000_000;

/// How long a push takes in steady weather.
const STEADY: Duration = Duration::from_millis(250);

pub(crate) fn time_of(entry: &Entry) -> UnixNanos {
    let time = entry.timestamp.unwrap_or_default();
    UnixNanos(time.seconds * 1_000_000_000 + i64::from(time.nanos))
}

impl Loki {
    pub(crate) fn new(rng: fastrand::Rng) -> Self {
        Self {
            rng,
            weather: Weather::Fine,
            forecast: Vec::new(),
            healed: false,
            probes: BTreeMap::new(),
            served: BTreeSet::new(),
            newest: HashMap::new(),
            answers: BTreeMap::new(),
        }
    }

    /// The weather changes. Returns after how long it does so again.
    pub(crate) fn change(&mut self, at: Duration) -> Duration {
        if let Some((until, weather)) = self.forecast.iter().find(|(until, _)| at < *until) {
            self.weather = *weather;
            return *until - at;
        }
        let all = [Weather::Fine, Weather::Slow, Weather::Dead, Weather::Flaky, Weather::Flaky];
        self.weather = pick(&mut self.rng, &all);
        millis(&mut self.rng, 500..15_000)
    }

    /// Takes a push of a lane.
    pub(crate) fn push(&mut self, lane: usize, body: &[u8]) -> Reply {
        if !self.healed && matches!(self.weather, Weather::Dead | Weather::Unwell) {
            *self.probes.entry(lane).or_default() += 1;
            self.served.remove(&lane);
        } else {
            self.served.insert(lane);
        }
        let bytes = snap::raw::Decoder::new().decompress_vec(body).expect("a snappy block");
        let request = PushRequest::decode(&*bytes).expect("a push request");
        let (mut taken, mut poison, mut behind) = (Vec::new(), None, None);
        for stream in request.streams {
            let labels = &stream.labels;
            let (bad, good): (Vec<_>, Vec<_>) = stream
                .entries
                .into_iter()
                .partition(|entry| memchr::memmem::find(&entry.line, b"\"poison\"").is_some());
            poison = poison.or_else(|| (!bad.is_empty()).then(|| "entry is poison".to_owned()));
            let floor = self.newest.get(labels).map_or(i64::MIN, |at| at.saturating_sub(BEHIND));
            let total = good.len();
            let (late, good): (Vec<_>, Vec<_>) =
                good.into_iter().partition(|entry| time_of(entry).0 < floor);
            if !late.is_empty() {
                behind = Some(behind_text(labels, &late, total, UnixNanos(floor)));
            }
            taken.extend(good.into_iter().map(|entry| (labels.clone(), entry)));
        }
        let is_behind = behind.is_some();
        // What an ingester says hides what the distributor has refused before.
        let refused = behind.or(poison);
        let entries = taken.len() + usize::from(refused.is_some());
        let (kind, delay, answer, stored) = self.roll(entries);
        let (kind, answer) = match refused {
            Some(text) if kind == "204" => {
                let kind = if is_behind { "400 behind" } else { "400" };
                (kind, status(400, &text, None))
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

    /// How often somebody has tried while it was dead or unwell.
    pub(crate) fn tries_in_vain(&self) -> u64 {
        self.probes.values().sum()
    }

    /// How many streams it has.
    pub(crate) fn streams(&self) -> usize {
        self.newest.len()
    }

    fn roll(&mut self, entries: usize) -> (&'static str, Duration, Answer, Stored) {
        let rng = &mut self.rng;
        let fine = |delay| ("204", delay, status(204, "", None), Stored::All);
        let failed = |kind, text| Answer::Failed { text: str::to_owned(text), kind };
        let quick = millis(rng, 1..30);
        if self.healed && self.weather != Weather::Steady {
            return fine(millis(rng, 1..5));
        }
        match self.weather {
            Weather::Fine => return fine(quick),
            Weather::Slow => return fine(millis(rng, 50..3000)),
            Weather::Dead => {
                let answer = failed(Failure::Connect, "connection refused");
                return ("refused", quick, answer, Stored::None);
            }
            Weather::Unwell => return ("503", quick, status(503, "", None), Stored::None),
            Weather::Steady => return fine(STEADY),
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

/// What Loki says of entries that are too far behind.
fn behind_text(labels: &str, late: &[Entry], total: usize, floor: UnixNanos) -> String {
    let second = |time: UnixNanos| UnixNanos(time.0 - time.0.rem_euclid(1_000_000_000)).to_string();
    let one = |entry: &Entry| {
        let time = time_of(entry);
        let go = time.to_string().replace('T', " ").replace('Z', " +0000 UTC");
        format!(
            "entry with timestamp {go} ignored, reason: 'entry too far behind, entry timestamp is: \
             {}, oldest acceptable timestamp is: {}',\n",
            second(time),
            second(floor),
        )
    };
    let first: String = late.iter().take(10).map(one).collect();
    let count = late.len();
    format!("{first}user 'fake', total ignored: {count} out of {total} for stream: {labels}")
}
