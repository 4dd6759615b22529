//! One worker's way to Loki for one tenant: takes its sealed batches in order and settles what
//! became of them.

mod exchange;

pub(super) use self::exchange::Exchange;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::Receiver;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use super::board::Board;
use super::clock::Clock;
use super::crowd::{CROWDED_FOR, Crowd};
use super::pipeline::add_in_flight;
use super::registry::Registry;
use super::wake::Doorbell;
use crate::batch::Sealed;
use crate::ledger::Receipt;
use crate::model::{Counts, Flag, Now, Reason};
use crate::push::{
    self, Answer, DeadLetter, DeadLetters, Failure, Health, Sender, Settled, Step, Transport,
};
use crate::telemetry::{Metrics, Throttle};

/// What all lanes share.
#[derive(Debug, Clone)]
pub struct Ground {
    /// Reads the time.
    pub clock: Clock,
    /// Where files are settled.
    pub registry: Arc<Registry>,
    /// Where outcomes are counted.
    pub metrics: Metrics,
    /// Where refused entries go; `None` without a state folder: into the log.
    pub dead_letters: Option<Arc<DeadLetters>>,
    /// How each lane is, for `/ready`.
    pub health: Arc<Board>,
    /// The deadline has passed: leave what is not answered.
    pub give_up: CancellationToken,
    /// How Loki is spoken to, of whatever tenant.
    pub push: watch::Receiver<Arc<push::Options>>,
}

/// How often the log says that Loki refuses lines.
const REFUSALS_EVERY: Duration = Duration::from_secs(10);

/// One lane, of one worker and one tenant.
#[derive(Debug)]
pub struct Lane {
    /// How it speaks to Loki, and what will be said when that changes.
    push: watch::Receiver<Arc<push::Options>>,
    /// Its place on the board.
    number: usize,
    batches: Receiver<Sealed>,
    worker: Doorbell,
    sender: Sender,
    crowd: Crowd,
    /// Says now and then that Loki refuses lines.
    refusals: Throttle<()>,
    is_stdin: bool,
}

impl Lane {
    /// A lane of `tenant` for sealed `batches` of `worker`, which hears when there is
    /// room for the next one. `crowd` is what can be done when Loki takes no more streams.
    /// `is_stdin` says that its lines cannot be read again: what is given up is lost.
    #[must_use]
    pub fn new(
        tenant: Option<&str>,
        batches: Receiver<Sealed>,
        worker: Doorbell,
        crowd: Crowd,
        ground: &Ground,
        is_stdin: bool,
    ) -> Self {
        let number = ground.health.add(tenant);
        let mut push = ground.push.clone();
        let options = push.borrow_and_update().as_ref().clone();
        let options = push::Options { tenant: tenant.map(str::to_owned), ..options };
        let sender = Sender::new(&options, fastrand::u64(..));
        let refusals = Throttle::new(REFUSALS_EVERY);
        Self { push, number, batches, worker, sender, crowd, refusals, is_stdin }
    }

    /// Brings batches to Loki until the worker has ended and all is settled, or it is time to give
    /// up. What is left then stays unsettled.
    pub async fn run(mut self, transport: &impl Transport, ground: &Ground) {
        loop {
            let sealed = tokio::select! {
                biased;
                () = ground.give_up.cancelled() => break,
                sealed = self.batches.recv() => sealed,
            };
            let Some(sealed) = sealed else { return };
            self.worker.ring();
            count_body(&ground.metrics, &sealed);
            let counts = sealed.receipt.counts;
            self.sender.offer(sealed);
            let is_settled = tokio::select! {
                biased;
                () = ground.give_up.cancelled() => false,
                () = self.bring(transport, ground) => true,
            };
            if !is_settled {
                self.leave(counts, ground);
                break;
            }
        }
        self.batches.close();
        while let Ok(sealed) = self.batches.try_recv() {
            self.leave(sealed.receipt.counts, ground);
        }
    }

    fn leave(&self, counts: Counts, ground: &Ground) {
        if self.is_stdin {
            abandon(&ground.metrics, counts);
        }
    }

    async fn bring(&mut self, transport: &impl Transport, ground: &Ground) {
        loop {
            let now = ground.clock.now();
            self.hear(now);
            match self.sender.step(now) {
                Step::Idle => return,
                Step::Post(body) => {
                    let bytes = body.len();
                    let answer = transport.post(body, self.sender.tenant(), now).await;
                    count_answer(&ground.metrics, bytes, &answer, now, ground.clock.now());
                    self.sender.answered(&answer, ground.clock.now());
                    self.make_room(ground);
                    if let Health::Retrying { .. } = self.sender.health() {
                        ground.metrics.push_retried(cause(&answer));
                    }
                }
                Step::Wait { until } => {
                    let until = tokio::time::sleep_until(ground.clock.instant(until).into());
                    // Where nothing can change any more, the time passes.
                    let mut push = self.push.clone();
                    let mut changed = async || match push.changed().await {
                        Ok(()) => (),
                        Err(_) => std::future::pending().await,
                    };
                    tokio::select! {
                        () = until => {}
                        () = changed() => {}
                    }
                }
                Step::Bury(letters) => {
                    let result = bury(&letters, &mut self.refusals, ground, now);
                    self.sender.buried(result, ground.clock.now());
                }
                Step::Done(settled) => settle(settled, ground, ground.clock.now()),
            }
            ground.health.set(self.number, self.sender.health());
        }
    }
}

impl Lane {
    /// Takes in what a reload has changed.
    fn hear(&mut self, now: Now) {
        if self.push.has_changed().unwrap_or(false) {
            let options = Arc::clone(&self.push.borrow_and_update());
            self.sender.adopt(&options, now);
        }
    }

    /// If Loki has just refused a stream because it is one too many: gives it the labels that the
    /// guard leaves it, and lets the guard take one when this has lasted.
    fn make_room(&mut self, ground: &Ground) {
        let Some((labels, since)) = self.sender.crowded() else { return };
        let now = ground.clock.now();
        let lasts = CROWDED_FOR <= now.mono.saturating_sub(since);
        if self.crowd.relabel(&labels).is_none() && !(lasts && self.take_label(&labels, ground)) {
            return;
        }
        self.sender.relabel(&|labels| self.crowd.relabel(labels), now);
    }

    fn take_label(&self, labels: &str, ground: &Ground) -> bool {
        let is_taken = self.crowd.make_room(labels).is_some();
        if is_taken {
            ground.metrics.labels_demoted.inc();
            ground.registry.set_dirty();
        }
        is_taken
    }
}

/// Notes the outcome of a batch: counts it, moves its files on, and gives its memory back.
pub fn settle(settled: Settled, ground: &Ground, now: Now) {
    let Settled { receipt, delivered: _, dropped, moved, isolations } = settled;
    ground.metrics.flagged(Flag::MovedIntoWindow, moved);
    ground.metrics.isolations.inc_by(isolations);
    let Receipt { tickets, permit, counts } = receipt;
    let mut delivered = counts;
    for dropped in dropped {
        let bytes = dropped.line_bytes.min(delivered.bytes);
        let counts = Counts { lines: dropped.entries, bytes };
        ground.metrics.dropped(dropped.reason, counts);
        delivered.lines -= counts.lines;
        delivered.bytes -= counts.bytes;
    }
    ground.metrics.delivered(delivered);
    add_in_flight(&ground.metrics, counts, -1);
    ground.registry.settle(&tickets, now);
    // Last, so that memory comes back when the files have moved on.
    drop(permit);
}

/// Refused entries go to the dead-letter file; without one, what they were is only in the log.
fn bury(
    letters: &[DeadLetter],
    said: &mut Throttle<()>,
    ground: &Ground,
    now: Now,
) -> Result<(), String> {
    if let Some(file) = &ground.dead_letters {
        file.append(letters).map_err(|err| err.chain())?;
        ground.metrics.dead_letters.inc_by(letters.len() as u64);
    }
    let (Some(before), Some(letter)) = (said.pass(&(), now), letters.first()) else {
        return Ok(());
    };
    if ground.dead_letters.is_some() {
        let text = &letter.text;
        warn!(text, before, "loki refuses lines; they are in the dead-letter file");
    } else {
        error!(?letter, before, "loki refuses lines, and without a state folder they are lost");
    }
    Ok(())
}

fn count_body(metrics: &Metrics, sealed: &Sealed) {
    metrics.push_encoded_bytes.inc_by(sealed.encoded_bytes as u64);
    metrics.push_entries.inc_by(sealed.entries as u64);
}

fn count_answer(metrics: &Metrics, bytes: usize, answer: &Answer, from: Now, to: Now) {
    let status = match answer {
        Answer::Status { code, .. } => Some(*code),
        Answer::Failed { .. } => None,
    };
    metrics.pushed(status);
    metrics.push_body_bytes.inc_by(bytes as u64);
    metrics.push_seconds.observe((to.mono - from.mono).as_secs_f64());
}

/// Why a push is sent again, as the label of a metric.
fn cause(answer: &Answer) -> &'static str {
    match answer {
        Answer::Status { code: 429, .. } => "rate_limit",
        Answer::Status { code: 500.., .. } => "server_error",
        Answer::Status { .. } => "other_status",
        Answer::Failed { kind: Failure::Connect, .. } => "connect",
        Answer::Failed { kind: Failure::Timeout, .. } => "timeout",
        Answer::Failed { kind: Failure::Broken, .. } => "broken",
        Answer::Failed { kind: Failure::Setup, .. } => "setup",
    }
}

/// Lines that nobody will read again: standard input, after the deadline.
pub(super) fn abandon(metrics: &Metrics, counts: Counts) {
    metrics.dropped(Reason::ShutdownDeadline, counts);
    add_in_flight(metrics, counts, -1);
}
