//! Standard input: no file to read again, so nothing but Loki's faults, and a pipe that blocks.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use skald::app::{Board, Clock, Done, Ground, Pipeline, Registry, StdinDone, StdinWorker, settle};
use skald::batch::{self, Sealed};
use skald::model::{Now, Pool, SourceId, UnixNanos};
use skald::push::{Sender, Step};
use skald::telemetry::Metrics;

use crate::checks::{Check, Draft, Fate, Generation, Meaning, Result, Truth, ensure};
use crate::knobs::Knobs;
use crate::lane::store;
use crate::loki::{Loki, Reply};
use crate::settings::{push_options, sources};

/// The most that is read at once, as in `app::stdin`.
const READ_BYTES: usize = 64 * 1024;

const BEGINNING: i64 = 1_793_491_200_000_000_000;

/// A pipe of lines, the last one maybe without its newline.
fn input(rng: &mut fastrand::Rng, knobs: &Knobs, truth: &mut Truth) -> Vec<u8> {
    truth.generations.push(Generation::of(0, UnixNanos(0)));
    let lines = rng.u64(1..2000);
    for id in 0..lines {
        let pad: String = (0..rng.usize(0..200)).map(|_| rng.alphanumeric()).collect();
        let time = UnixNanos(BEGINNING + i64::try_from(id).expect("it fits") * 1_000_000);
        let text = format!(
            r#"{{"id":{id},"ts":"{time}","level":"info","event":"pay","rid":"r{id}","pad":"{pad}"}}"#
        );
        let mut stored = text.clone().into_bytes();
        stored.truncate(knobs.line_bytes);
        let meaning = (stored.len() == text.len()).then(|| Meaning {
            labels: r#"{app="s0", event_type="pay", level="info"}"#.to_owned(),
            metadata: vec![("request_id".to_owned(), format!("r{id}"))],
            time,
        });
        let start = truth.generations[0].content.len() as u64;
        truth.generations[0].content.extend_from_slice(text.as_bytes());
        if id + 1 < lines || rng.bool() {
            truth.generations[0].content.push(b'\n');
        }
        let draft = Draft { text: Vec::new(), stored, fate: Fate::Delivered, meaning };
        truth.wrote(0, start, draft);
    }
    truth.generations[0].content.clone()
}

fn ground(metrics: &Metrics, knobs: &Knobs) -> Ground {
    Ground {
        clock: Clock::start(),
        registry: Arc::new(Registry::new(Vec::new(), Vec::new())),
        metrics: metrics.clone(),
        dead_letters: None,
        health: Arc::new(Board::default()),
        give_up: tokio_util::sync::CancellationToken::new(),
        push: tokio::sync::watch::channel(Arc::new(push_options(knobs))).1,
    }
}

/// A turn of the worker and of the pump. Returns whether all was taken.
fn turn(worker: &mut StdinWorker, rest: &mut &[u8], rng: &mut fastrand::Rng, now: Now) -> bool {
    match worker.turn(now) {
        StdinDone::WantsInput if rest.is_empty() => worker.end_of_input(),
        StdinDone::WantsInput => {
            let (now, later) = rest.split_at(rng.usize(1..=READ_BYTES.min(rest.len())));
            worker.input(now);
            *rest = later;
        }
        StdinDone::End => {
            worker.pipeline.seal(now);
            return true;
        }
        StdinDone::Done(Done::Held | Done::Lines) => unreachable!("there is no other file"),
        StdinDone::Done(Done::NoPermit | Done::Busy | Done::Idle(_)) => {}
    }
    false
}

/// Runs one seed: everything comes, in order, and the pipe waits for memory.
pub(crate) fn run(seed: u64) -> Result {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut knobs = Knobs::new(&mut rng);
    knobs.in_flight += READ_BYTES as u64;
    let (mut truth, mut loki) = (Truth::default(), Loki::new(rng.fork()));
    let bytes = input(&mut rng, &knobs, &mut truth);
    let metrics = Metrics::new();
    let pool = Pool::new(knobs.in_flight, || {});
    let options = batch::Options {
        bytes_max: knobs.bytes_max,
        age_max: knobs.age_max,
        streams_max: knobs.streams_max,
        metadata: true,
    };
    let pipeline = Pipeline::new(sources(&knobs), false, options, pool.clone(), metrics.clone());
    let ground = ground(&metrics, &knobs);
    let mut worker = StdinWorker::new(SourceId(0), knobs.line_bytes, pipeline);
    let mut sender = Sender::new(&push_options(&knobs), rng.u64(..));
    let mut queue: VecDeque<Sealed> = VecDeque::new();
    let (mut rest, mut ended, mut flight): (&[u8], bool, Option<Reply>) = (&bytes, false, None);
    let (mut at, mut step_at, mut weather_at) = (Duration::ZERO, Duration::ZERO, Duration::ZERO);
    loop {
        at += Duration::from_micros(rng.u64(1..5000));
        loki.healed |= rest.is_empty();
        if weather_at <= at {
            weather_at = at + loki.change(at);
        }
        let now = Now { mono: at, wall: UnixNanos(BEGINNING).plus(at) };
        ended |= turn(&mut worker, &mut rest, &mut rng, now);
        if queue.is_empty() {
            queue.extend(worker.pipeline.take_sealed());
        }
        ensure(Check::Memory, pool.peak() <= pool.limit(), || format!("{pool:?}"))?;
        if at < step_at {
            continue;
        }
        if let Some(reply) = flight.take() {
            store(&reply, &mut loki, &mut truth)?;
            if reply.is_accepted() {
                for (_, entry) in &reply.stored {
                    truth.answered(truth.find(&entry.line)?);
                }
            }
            sender.answered(&reply.answer, now);
        }
        match sender.step(now) {
            Step::Idle => match queue.pop_front() {
                Some(sealed) => sender.offer(sealed),
                None if ended && worker.pipeline.is_empty() => break,
                None => {}
            },
            Step::Post(body) => {
                let reply = loki.push(0, &body);
                step_at = at + reply.delay;
                flight = Some(reply);
            }
            Step::Wait { until } => step_at = until,
            Step::Bury(letters) => {
                return ensure(Check::Lost, false, || format!("{letters:?} were buried"));
            }
            Step::Done(settled) => settle(settled, &ground, now),
        }
        ensure(Check::Progress, at < Duration::from_secs(3600), || "it never ends".to_owned())?;
    }
    truth.nothing_lost(Check::Lost)?;
    let (used, in_flight) = (pool.used(), metrics.lines_in_flight.get());
    ensure(Check::Sums, used == 0 && in_flight == 0, || format!("{used} bytes, {in_flight} lines"))
}
