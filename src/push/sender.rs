//! Brings one batch after the other to Loki: a state machine without clock, network or disk.
//!
//! The shell asks for a [`Step`], does what it says, and reports with [`Sender::answered`] or
//! [`Sender::buried`]. A step is repeated until it is answered, so a shell may drop a try.
//!
//! | state  | step says                       | goes to                                         |
//! | ------ | ------------------------------- | ----------------------------------------------- |
//! | idle   | `Idle`                          | post, by [`Sender::offer`]                      |
//! | post   | `Wait` until it may, then `Post`| post (retry, hold, the next run), bury or done  |
//! | bury   | `Wait` until it may, then `Bury`| post (the next run), bury (not written) or done |
//! | done   | `Done`                          | idle                                            |
//!
//! One batch at a time keeps each stream in order. A batch that is too large, or that holds
//! entries which Loki refuses, is sent in runs of entries, in order; its receipt is settled when
//! each run has its outcome. A stream of which Loki has refused something is marked: for a while it
//! is sent in runs of its own, behind the others, no faster than Loki said, and not before the
//! oldest time that Loki said.

mod refused;

use std::time::Duration;

use bytes::Bytes;
use tracing::info;

use super::backoff::Backoff;
use super::dead_letters::DeadLetter;
use super::limiter::Limiter;
use super::marks::{Mark, Marks};
use super::outcome::{Answer, Facts, Outcome, SAME_500_MAX, outcome, refill};
use super::work::{Relabel, Settled, Work};
use super::{Options, StructuredMetadata};
use crate::batch::Sealed;
use crate::model::Now;

/// How long an endpoint that refused structured metadata is not offered any.
pub const METADATA_PROBE_AFTER: Duration = Duration::from_secs(3600);

/// Longest pause between two pushes of a stream for its rate.
const PACE_MAX: Duration = Duration::from_secs(30);

/// So often a rate limit is taken at its word before delays grow: others may use the same bucket.
const REFILLS_MAX: u32 = 4;

/// How long the size is kept to that a rate limit let pass.
const SMALLER_FOR: Duration = Duration::from_secs(600);

/// No push is made smaller than this because of a rate limit, in bytes.
const SMALLER_MIN: u64 = 64 * 1024;

/// What the shell does next.
#[derive(Debug)]
pub enum Step {
    /// Nothing: offer a batch.
    Idle,
    /// Post these bytes and report the answer.
    Post(Bytes),
    /// Nothing until this time since start (`Now::mono`).
    Wait {
        /// When to ask again.
        until: Duration,
    },
    /// Write these durably and report.
    Bury(Vec<DeadLetter>),
    /// Settle this; the sender is idle.
    Done(Settled),
}

/// How the way to Loki is, for `/ready`. Times are since start (`Now::mono`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// The last push was answered as it should be, or none was sent.
    Fine,
    /// Trouble that passes by itself.
    Retrying {
        /// When it began.
        since: Duration,
        /// The last answer.
        why: String,
        /// Tries without success.
        tries: u32,
    },
    /// Trouble that somebody has to end. Nothing is dropped; Loki is asked again now and then.
    Holding {
        /// When it began.
        since: Duration,
        /// The last answer.
        why: String,
    },
}

/// Brings batches to Loki, one at a time.
#[derive(Debug)]
pub struct Sender {
    tenant: Option<String>,
    metadata: StructuredMetadata,
    one_stream_per_push: bool,
    /// When metadata is offered again to an endpoint that refused it.
    probe_at: Option<Duration>,
    limiter: Limiter,
    /// The most bytes of a push that a rate limit lets pass, and until when this is kept to.
    smaller: Option<(u64, Duration)>,
    backoff: Backoff,
    health: Health,
    /// Batches in a row of which entries were refused and none accepted.
    fruitless: u32,
    marks: Marks,
    /// A stream that was one too many, to be told by [`Sender::crowded`].
    crowded: Option<String>,
    /// Since when there was one in each batch.
    crowded_since: Option<Duration>,
    state: State,
}

#[derive(Debug)]
enum State {
    Idle,
    Post {
        work: Box<Work>,
        not_before: Duration,
        sent: Sent,
    },
    Bury {
        work: Box<Work>,
        not_before: Duration,
        letter: DeadLetter,
    },
    Done(Box<Work>),
    /// Only while a transition is made.
    Moving,
}

/// What was done about the body of a [`State::Post`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sent {
    /// The batch was just offered.
    Fresh,
    /// It waits for its time, or for the rate limit.
    No,
    /// The shell has it.
    Yes,
}

impl Sender {
    /// A sender whose jitter follows from `seed`.
    #[must_use]
    pub fn new(options: &Options, seed: u64) -> Self {
        Self {
            tenant: options.tenant.clone(),
            metadata: options.structured_metadata,
            one_stream_per_push: options.one_stream_per_push,
            probe_at: None,
            limiter: Limiter::new(options.bytes_per_second),
            smaller: None,
            backoff: Backoff::new(options.retry, seed),
            health: Health::Fine,
            fruitless: 0,
            marks: Marks::new(seed),
            crowded: None,
            crowded_since: None,
            state: State::Idle,
        }
    }

    /// From now on as `options` say, of the same tenant. What is in hand is tried again at once: it
    /// may be what was wrong that has changed.
    pub fn adopt(&mut self, options: &Options, now: Now) {
        (self.metadata, self.one_stream_per_push) =
            (options.structured_metadata, options.one_stream_per_push);
        (self.probe_at, self.smaller) = (None, None);
        self.limiter = Limiter::new(options.bytes_per_second);
        self.backoff.adopt(options.retry);
        if let State::Post { not_before, .. } | State::Bury { not_before, .. } = &mut self.state {
            *not_before = (*not_before).min(now.mono);
        }
    }

    /// Whose batches it brings.
    #[must_use]
    pub fn tenant(&self) -> Option<&str> {
        self.tenant.as_deref()
    }

    /// Whether a batch can be offered.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        matches!(self.state, State::Idle)
    }

    /// How the way to Loki is.
    #[must_use]
    pub fn health(&self) -> &Health {
        &self.health
    }

    /// Entries of the batch in hand that have no outcome yet.
    #[must_use]
    pub fn unsettled(&self) -> usize {
        match &self.state {
            State::Post { work, .. } | State::Bury { work, .. } => work.left(),
            State::Idle | State::Done(_) | State::Moving => 0,
        }
    }

    /// Takes the next batch.
    ///
    /// # Panics
    /// If the sender is not idle.
    pub fn offer(&mut self, sealed: Sealed) {
        assert!(self.is_idle(), "BUG: a batch was offered to a busy sender");
        let by_stream = self.one_stream_per_push && 1 < sealed.streams;
        let mut work = Box::new(Work::new(sealed));
        if by_stream {
            work.by_stream();
        }
        self.state = State::Post { work, not_before: Duration::ZERO, sent: Sent::Fresh };
    }

    /// A stream that Loki refused with the last answer because it is one too many, and since when
    /// it does that.
    pub fn crowded(&mut self) -> Option<(String, Duration)> {
        self.crowded.take().zip(self.crowded_since)
    }

    /// Gives streams of the batch in hand other labels, and sends what is left of it at once.
    pub fn relabel(&mut self, new: &dyn Fn(&str) -> Option<Relabel>, now: Now) {
        if let State::Post { work, not_before, .. } = &mut self.state {
            work.relabel(new);
            (*not_before, self.crowded_since) = (now.mono, Some(now.mono));
        }
    }

    /// What to do now.
    pub fn step(&mut self, now: Now) -> Step {
        if let State::Post { sent: Sent::Fresh, .. } = self.state {
            self.prepare(now);
        }
        let until = match &self.state {
            State::Post { not_before, .. } | State::Bury { not_before, .. } => *not_before,
            State::Idle | State::Done(_) | State::Moving => Duration::ZERO,
        };
        if now.mono < until {
            return Step::Wait { until };
        }
        match &mut self.state {
            State::Idle => Step::Idle,
            State::Post { work, sent, .. } => {
                if *sent != Sent::Yes {
                    if let Err(until) = self.limiter.take(work.body.len(), now.mono) {
                        return Step::Wait { until };
                    }
                    *sent = Sent::Yes;
                }
                Step::Post(work.body.clone())
            }
            State::Bury { letter, .. } => Step::Bury(vec![letter.clone()]),
            State::Done(_) => self.done(),
            State::Moving => unreachable!("BUG: a transition was left half made"),
        }
    }

    /// Reports what came back for the last [`Step::Post`].
    ///
    /// # Panics
    /// If nothing was posted.
    pub fn answered(&mut self, answer: &Answer, now: Now) {
        let State::Post { mut work, sent: Sent::Yes, .. } = self.take() else {
            panic!("BUG: an answer to nothing");
        };
        let repeats = work.note(answer);
        let facts = Facts {
            entries: work.run.len(),
            streams: work.streams,
            repeats,
            split_tried: work.split_tried,
            metadata: if work.stripped { StructuredMetadata::Off } else { self.metadata },
        };
        match outcome(answer, facts) {
            Outcome::Delivered => self.delivered(work, now),
            Outcome::Retry { why, not_before } => {
                let refill = refill(answer).filter(|_| not_before.is_none());
                self.retry(work, why, not_before, refill, now);
            }
            Outcome::Split if matches!(answer, Answer::Status { code: 429, .. }) => {
                // This one, and the next batches: a bucket that is too small stays too small.
                let bytes = (work.run_bytes() * 2 / 3).max(SMALLER_MIN);
                self.smaller = Some((bytes, now.mono + SMALLER_FOR));
                work.at_most(bytes);
                self.backoff.reset();
                self.post(work, Duration::ZERO, now);
            }
            Outcome::Split => {
                work.split_tried |= SAME_500_MAX <= repeats;
                work.split();
                self.post(work, Duration::ZERO, now);
            }
            Outcome::Apart => {
                work.apart();
                self.post(work, Duration::ZERO, now);
            }
            Outcome::Isolate => {
                work.isolate();
                self.post(work, Duration::ZERO, now);
            }
            Outcome::Behind => self.behind(work, answer, now),
            Outcome::Slow { why, not_before, limit } => {
                let others = self.slow(&mut work, limit, now);
                if others {
                    self.post(work, Duration::ZERO, now);
                } else {
                    self.retry(work, why, not_before, None, now);
                }
            }
            Outcome::Bury(reason) => self.refused(work, reason, answer, now),
            Outcome::Hold { why } => {
                let not_before = self.hold(why, now);
                self.post(work, not_before, now);
            }
            Outcome::WithoutMetadata => self.without_metadata(work, now),
        }
    }

    /// Reports whether the last [`Step::Bury`] is durable, or why it is not.
    ///
    /// # Panics
    /// If nothing was to be buried.
    pub fn buried(&mut self, result: Result<(), String>, now: Now) {
        let State::Bury { mut work, letter, .. } = self.take() else {
            panic!("BUG: a report about nothing");
        };
        match result {
            Ok(()) => {
                self.well();
                let more = work.bury(&letter);
                self.go_on(work, more, now);
            }
            Err(why) => {
                let not_before = self.hold(format!("dead letters: {why}"), now);
                self.state = State::Bury { work, not_before, letter };
            }
        }
    }

    /// A batch that was just offered: without metadata if that is refused, with marked streams
    /// apart.
    fn prepare(&mut self, now: Now) {
        let State::Post { mut work, .. } = self.take() else {
            unreachable!("BUG: nothing is fresh")
        };
        if self.probe_at.is_some_and(|at| now.mono < at) {
            work.strip();
        }
        if self.marks.any(now.mono) && !self.one_stream_per_push {
            work.set_apart(|labels| self.marks.has(labels));
        }
        self.smaller = self.smaller.filter(|(_, until)| now.mono < *until);
        if let Some((bytes, _)) = self.smaller {
            work.at_most(bytes);
        }
        self.post(work, Duration::ZERO, now);
    }

    fn delivered(&mut self, mut work: Box<Work>, now: Now) {
        self.well();
        if let Some(mark) = self.mark(&mut work, now)
            && let Some(rate) = mark.rate
        {
            let seconds = work.run_bytes().div_ceil(rate.max(1));
            mark.not_before = now.mono + Duration::from_secs(seconds).min(PACE_MAX);
        }
        if !work.stripped && self.probe_at.take().is_some() {
            info!("loki takes structured metadata again");
        }
        let more = work.deliver();
        self.go_on(work, more, now);
    }

    /// Whether the own time of what is moved goes into its metadata.
    fn is_noted(&self) -> bool {
        self.metadata != StructuredMetadata::Off
    }

    /// The mark of the stream in hand, if it is one and has one.
    fn mark(&mut self, work: &mut Work, now: Now) -> Option<&mut Mark> {
        if work.streams != 1 || !self.marks.any(now.mono) {
            return None;
        }
        self.marks.get(&work.labels())
    }

    /// Sends the same again: after a random delay, or, the first few times that a rate limit
    /// refuses it, when its bucket has `refill`ed, if that is sooner.
    fn retry(
        &mut self,
        work: Box<Work>,
        why: String,
        wish: Option<Duration>,
        refill: Option<Duration>,
        now: Now,
    ) {
        let delay = self.backoff.retry(wish);
        let refill = refill.filter(|_| self.backoff.tries() <= REFILLS_MAX);
        let not_before = now.mono + refill.map_or(delay, |refill| refill.min(delay));
        let (since, tries) = match &self.health {
            Health::Fine => (now.mono, 1),
            Health::Retrying { since, tries, .. } => (*since, tries.saturating_add(1)),
            Health::Holding { since, .. } => (*since, 1),
        };
        self.health = Health::Retrying { since, why, tries };
        self.post(work, not_before, now);
    }

    /// Notes that somebody has to act. Returns when to try again.
    fn hold(&mut self, why: String, now: Now) -> Duration {
        let since = match &self.health {
            Health::Holding { since, .. } | Health::Retrying { since, .. } => *since,
            Health::Fine => now.mono,
        };
        self.health = Health::Holding { since, why };
        now.mono + self.backoff.hold()
    }

    /// Loki does what it should.
    fn well(&mut self) {
        self.backoff.reset();
        self.health = Health::Fine;
    }

    fn post(&mut self, mut work: Box<Work>, mut not_before: Duration, now: Now) {
        if let Some(mark) = self.mark(&mut work, now) {
            not_before = not_before.max(mark.not_before);
            if let Some(floor) = mark.floor {
                let labels = work.labels();
                let to = self.marks.place(&labels, floor, 0);
                if let Some(last) = work.move_below(floor, to, self.is_noted()) {
                    self.marks.moved(&labels, to, last);
                }
            }
        }
        self.state = State::Post { work, not_before, sent: Sent::No };
    }

    fn go_on(&mut self, work: Box<Work>, more: bool, now: Now) {
        if more {
            self.post(work, Duration::ZERO, now);
        } else {
            self.state = State::Done(work);
        }
    }

    fn done(&mut self) -> Step {
        let State::Done(work) = self.take() else { unreachable!("BUG: not done") };
        let fruitless = work.refused && !work.judged;
        if !work.crowded {
            self.crowded_since = None;
        }
        self.fruitless = if fruitless { self.fruitless.saturating_add(1) } else { 0 };
        self.state = State::Idle;
        Step::Done(work.settle())
    }

    fn take(&mut self) -> State {
        std::mem::replace(&mut self.state, State::Moving)
    }
}
