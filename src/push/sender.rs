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
//! each run has its outcome.

use std::time::Duration;

use bytes::Bytes;
use tracing::{info, warn};

use super::backoff::Backoff;
use super::dead_letters::DeadLetter;
use super::limiter::Limiter;
use super::outcome::{Answer, Facts, Outcome, SAME_500_MAX, is_about_the_entry, outcome};
use super::work::{Settled, Work};
use super::{Options, StructuredMetadata};
use crate::batch::Sealed;
use crate::model::{Now, Reason};

/// How long an endpoint that refused structured metadata is not offered any.
pub const METADATA_PROBE_AFTER: Duration = Duration::from_secs(3600);

/// After so many batches in a row of which Loki accepted nothing, its refusals are not believed
/// to be about the data.
const FRUITLESS_MAX: u32 = 2;

/// So many entries of a batch of which nothing was accepted are buried; from then on refusals are
/// not believed to be about the data.
const BURIED_MAX: u64 = 16;

/// How many entries are tried one by one before the next pause, while refusals are not believed.
const PROBES: usize = 16;

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
    backoff: Backoff,
    health: Health,
    /// Batches in a row of which entries were refused and none accepted.
    fruitless: u32,
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
            backoff: Backoff::new(options.retry, seed),
            health: Health::Fine,
            fruitless: 0,
            state: State::Idle,
        }
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

    /// What to do now.
    pub fn step(&mut self, now: Now) -> Step {
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
                let probe = self.probe_at.is_none_or(|at| at <= now.mono);
                if *sent == Sent::Fresh && !probe {
                    work.strip();
                }
                if *sent != Sent::Yes {
                    *sent = Sent::No;
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
            repeats,
            split_tried: work.split_tried,
            metadata: if work.stripped { StructuredMetadata::Off } else { self.metadata },
        };
        match outcome(answer, facts) {
            Outcome::Delivered => self.delivered(work),
            Outcome::Retry { why, not_before } => self.retry(work, why, not_before, now),
            Outcome::Split => {
                work.split_tried |= SAME_500_MAX <= repeats;
                work.split();
                self.post(work, Duration::ZERO);
            }
            Outcome::Isolate => {
                work.isolate();
                self.post(work, Duration::ZERO);
            }
            Outcome::Bury(reason) => self.refused(work, reason, answer, now),
            Outcome::Hold { why } => {
                let not_before = self.hold(why, now);
                self.post(work, not_before);
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
                self.go_on(work, more);
            }
            Err(why) => {
                let not_before = self.hold(format!("dead letters: {why}"), now);
                self.state = State::Bury { work, not_before, letter };
            }
        }
    }

    fn delivered(&mut self, mut work: Box<Work>) {
        self.well();
        if !work.stripped && self.probe_at.take().is_some() {
            info!("loki takes structured metadata again");
        }
        let more = work.deliver();
        self.go_on(work, more);
    }

    fn retry(&mut self, work: Box<Work>, why: String, wish: Option<Duration>, now: Now) {
        let not_before = now.mono + self.backoff.retry(wish);
        let (since, tries) = match &self.health {
            Health::Fine => (now.mono, 1),
            Health::Retrying { since, tries, .. } => (*since, tries.saturating_add(1)),
            Health::Holding { since, .. } => (*since, 1),
        };
        self.health = Health::Retrying { since, why, tries };
        self.post(work, not_before);
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

    /// One entry is refused for good, if refusals can be believed.
    fn refused(&mut self, mut work: Box<Work>, reason: Reason, answer: &Answer, now: Now) {
        work.refused = true;
        if is_about_the_entry(answer) {
            work.judge();
        }
        let doubtful = FRUITLESS_MAX <= self.fruitless || BURIED_MAX <= work.buried();
        if work.judged || !doubtful {
            let letter = work.letter(reason, self.tenant.as_deref(), answer);
            self.state = State::Bury { work, not_before: Duration::ZERO, letter };
            return;
        }
        let more = work.set_aside();
        let not_before = if more && !work.aside().is_multiple_of(PROBES) {
            Duration::ZERO
        } else {
            let why = match answer {
                Answer::Status { code, body, .. } => super::outcome::why(*code, body),
                Answer::Failed { text, .. } => text.clone(),
            };
            self.hold(format!("loki refuses everything, which no data can cause: {why}"), now)
        };
        self.post(work, not_before);
    }

    fn without_metadata(&mut self, mut work: Box<Work>, now: Now) {
        if self.probe_at.is_none() {
            warn!(
                "loki takes no structured metadata, so lines are sent without; set \
                 `allow_structured_metadata: true` in loki, or `structured_metadata: off` here"
            );
        }
        self.probe_at = Some(now.mono + METADATA_PROBE_AFTER);
        work.strip();
        self.post(work, Duration::ZERO);
    }

    /// Loki does what it should.
    fn well(&mut self) {
        self.backoff.reset();
        self.health = Health::Fine;
    }

    fn post(&mut self, work: Box<Work>, not_before: Duration) {
        self.state = State::Post { work, not_before, sent: Sent::No };
    }

    fn go_on(&mut self, work: Box<Work>, more: bool) {
        if more {
            self.post(work, Duration::ZERO);
        } else {
            self.state = State::Done(work);
        }
    }

    fn done(&mut self) -> Step {
        let State::Done(work) = self.take() else { unreachable!("BUG: not done") };
        let fruitless = work.refused && !work.judged;
        self.fruitless = if fruitless { self.fruitless.saturating_add(1) } else { 0 };
        self.state = State::Idle;
        Step::Done(work.settle())
    }

    fn take(&mut self) -> State {
        std::mem::replace(&mut self.state, State::Moving)
    }
}
