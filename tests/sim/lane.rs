//! A worker, its sender, and how they are called.

use std::collections::VecDeque;
use std::time::Duration;

use skald::app::{Done, Worker, settle};
use skald::batch::Sealed;
use skald::model::{Now, ORIGINAL_TIMESTAMP, Reason, UnixNanos};
use skald::push::{Answer, DeadLetter, Sender, Step};

use crate::agent::{Agent, Mutation};
use crate::checks::{Check, Fate, Meaning, Result, Truth, ensure};
use crate::disk::{Disk, Handle};
use crate::loki::{Loki, Reply, time_of};

/// Sealed batches between a worker and its lane, as in `app::agent`.
const LANE_MAX: usize = 1;

/// A worker and its way to Loki.
#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) worker: Worker<Handle>,
    pub(crate) hungry: bool,
    /// When the worker takes its next turn.
    pub(crate) turn_at: Duration,
    pub(crate) queue: VecDeque<Sealed>,
    pub(crate) sender: Sender,
    /// When the sender is asked for its next step.
    pub(crate) step_at: Duration,
    /// A push that is under way.
    pub(crate) flight: Option<Reply>,
    /// Failures in a row.
    pub(crate) failed: u32,
    /// Bytes of the bodies that left the worker and are not settled, the oldest first.
    pub(crate) bodies: VecDeque<u64>,
}

impl Agent {
    /// When the next worker or sender is to be called.
    pub(crate) fn next_at(&self) -> Duration {
        let turns = self.lanes.iter().map(|lane| lane.turn_at);
        let steps = self.lanes.iter().map(|lane| lane.step_at);
        steps.chain(turns.filter(|_| !self.stopping)).min().unwrap_or(Duration::MAX)
    }

    /// The latest time that a sender waits for by itself.
    pub(crate) fn waits_until(&self) -> Duration {
        let steps = self.lanes.iter().map(|lane| lane.step_at);
        steps.filter(|at| *at != Duration::MAX).max().unwrap_or_default()
    }

    /// Calls one worker or sender that is due.
    pub(crate) fn step(
        &mut self,
        now: Now,
        disk: &mut Disk,
        loki: &mut Loki,
        truth: &mut Truth,
    ) -> Result {
        let first = self.rng.usize(0..self.lanes.len());
        for offset in 0..self.lanes.len() {
            let idx = (first + offset) % self.lanes.len();
            if self.lanes[idx].turn_at <= now.mono && !self.stopping {
                self.turn(idx, now, disk);
                return self.sums();
            }
            if self.lanes[idx].step_at <= now.mono {
                self.bring(idx, now, loki, truth)?;
                return self.sums();
            }
        }
        Ok(())
    }

    /// A turn of a worker, as `app::readers` takes it.
    fn turn(&mut self, idx: usize, now: Now, disk: &mut Disk) {
        let lane = &mut self.lanes[idx];
        let done = lane.worker.turn(now, disk);
        lane.hungry = done == Done::NoPermit;
        let took = Duration::from_micros(self.rng.u64(1..500));
        let pause = match done {
            Done::Lines => Duration::ZERO,
            Done::Held if lane.worker.all_held() => Duration::from_millis(20),
            Done::Held => Duration::ZERO,
            Done::NoPermit | Done::Busy => self.wait_max,
            Done::Idle(_) if lane.worker.pipeline.has_sealed() => self.wait_max,
            Done::Idle(until) => {
                let due = lane.worker.pipeline.due_at().map_or(until, |due| due.min(until));
                due.saturating_sub(now.mono).min(Duration::from_secs(10))
            }
        };
        lane.turn_at = now.mono + took + pause;
        self.hand_over(idx, now);
    }

    /// Gives the lane what it takes.
    pub(crate) fn hand_over(&mut self, idx: usize, now: Now) {
        let lane = &mut self.lanes[idx];
        let most = LANE_MAX + usize::from(self.mutation == Mutation::Overtake);
        while lane.queue.len() < most
            && let Some(mut sealed) = lane.worker.pipeline.take_sealed()
        {
            if self.mutation == Mutation::SettleWhenRead {
                self.registry.settle(&std::mem::take(&mut sealed.receipt.tickets), now);
            }
            if self.mutation == Mutation::ReleaseEarly {
                sealed.receipt.permit.shrink_to(0);
            }
            lane.bodies.push_back(sealed.body.len() as u64);
            if self.mutation == Mutation::Overtake {
                lane.queue.push_front(sealed);
            } else {
                lane.queue.push_back(sealed);
            }
            if lane.sender.is_idle() {
                lane.step_at = lane.step_at.min(now.mono);
            }
        }
    }

    /// A step of a lane, as `app::lane` takes it.
    fn bring(&mut self, idx: usize, now: Now, loki: &mut Loki, truth: &mut Truth) -> Result {
        if let Some(reply) = self.lanes[idx].flight.take() {
            self.answered(idx, &reply, now, loki, truth)?;
        }
        let lane = &mut self.lanes[idx];
        match lane.sender.step(now) {
            Step::Idle => {
                lane.step_at = Duration::MAX;
                let Some(sealed) = lane.queue.pop_front() else { return Ok(()) };
                lane.turn_at = lane.turn_at.min(now.mono);
                lane.sender.offer(sealed);
                lane.step_at = now.mono;
                self.hand_over(idx, now);
            }
            Step::Post(body) => {
                let reply = loki.push(idx, &body);
                if reply.at_once {
                    store(&reply, loki, truth)?;
                }
                if self.mutation == Mutation::SendTwice && reply.is_accepted() {
                    store(&reply, loki, truth)?;
                }
                let crawls = self.mutation == Mutation::Crawl && 0 < loki.tries_in_vain();
                lane.step_at = now.mono + reply.delay * if crawls { 4 } else { 1 };
                lane.flight = Some(reply);
            }
            Step::Wait { .. } if self.mutation == Mutation::Hammer => {
                lane.step_at = now.mono + Duration::from_secs(1);
                let mut later = now;
                later.mono += Duration::from_secs(3600);
                if let Step::Post(body) = lane.sender.step(later) {
                    lane.flight = Some(loki.push(idx, &body));
                }
            }
            Step::Wait { until } => lane.step_at = until,
            Step::Bury(letters) => {
                let fails = !loki.healed && self.rng.u8(0..4) == 0;
                if !fails {
                    letters.iter().try_for_each(|letter| bury(letter, truth))?;
                }
                let result = if fails { Err("no space".to_owned()) } else { Ok(()) };
                lane.sender.buried(result, now);
                lane.step_at = now.mono;
            }
            Step::Done(settled) => {
                let dropped: u64 = settled.dropped.iter().map(|dropped| dropped.entries).sum();
                let lines = settled.receipt.counts.lines;
                ensure(Check::Sums, settled.delivered + dropped == lines, || {
                    format!("{} + {dropped} of {lines}", settled.delivered)
                })?;
                settle(settled, &self.ground, now);
                lane.bodies.pop_front();
                lane.step_at = now.mono;
                for lane in self.lanes.iter_mut().filter(|lane| lane.hungry) {
                    lane.turn_at = lane.turn_at.min(now.mono);
                }
            }
        }
        Ok(())
    }

    /// The answer to a push is there.
    fn answered(
        &mut self,
        idx: usize,
        reply: &Reply,
        now: Now,
        loki: &mut Loki,
        truth: &mut Truth,
    ) -> Result {
        let lane = &mut self.lanes[idx];
        if !reply.at_once {
            store(reply, loki, truth)?;
        }
        if reply.has_verdict() {
            for (_, entry) in &reply.stored {
                truth.answered(truth.find(&entry.line)?);
            }
        }
        lane.failed = if reply.is_accepted() { 0 } else { lane.failed + 1 };
        let done = Answer::Status { code: 204, body: String::new(), retry_after: None };
        let gives_up = self.mutation == Mutation::GiveUp && 10 <= lane.failed;
        lane.sender.answered(if gives_up { &done } else { &reply.answer }, now);
        Ok(())
    }

    /// What must hold after every step.
    fn sums(&self) -> Result {
        let held: u64 = self.lanes.iter().flat_map(|lane| &lane.bodies).sum();
        let (used, peak, limit) = (self.pool.used(), self.pool.peak(), self.pool.limit());
        ensure(Check::Memory, held <= used && peak <= limit, || {
            format!("batches hold {held}, permits {used}; at most {peak} of {limit}")
        })?;
        let read: u64 = self
            .sources
            .iter()
            .map(|source| self.metrics.source(&source.name).lines_read.get())
            .sum();
        let dropped =
            |reason: Reason| self.metrics.lines_dropped.get_or_create(&reason.into()).get();
        let dropped: u64 = Reason::ALL.into_iter().map(dropped).sum();
        let delivered = self.metrics.lines_delivered.get();
        let in_flight = self.metrics.lines_in_flight.get();
        let sum = i64::try_from(delivered + dropped).expect("it fits") + in_flight;
        ensure(Check::Sums, 0 <= in_flight && i64::try_from(read).expect("it fits") == sum, || {
            format!("read {read}, delivered {delivered}, dropped {dropped}, in flight {in_flight}")
        })
    }
}

/// A line becomes a dead letter, which is right only for one that Loki never takes.
fn bury(letter: &DeadLetter, truth: &mut Truth) -> Result {
    let number = truth.find(&letter.line)?;
    if truth.lines[number].fate != Fate::Poison {
        let is_behind = letter.text.contains("behind");
        let check = if is_behind { Check::Behind } else { Check::Lost };
        return ensure(check, false, || format!("{letter:?} was buried"));
    }
    truth.answered(number);
    Ok(())
}

/// Loki stores what it has taken of a push.
pub(crate) fn store(reply: &Reply, loki: &mut Loki, truth: &mut Truth) -> Result {
    for (labels, entry) in &reply.stored {
        let number = truth.find(&entry.line)?;
        loki.keep(labels, time_of(entry));
        // What was refused, and moved, comes after what Loki took.
        let is_moved = entry.structured_metadata.iter().any(|pair| pair.name == ORIGINAL_TIMESTAMP);
        truth.stored(number, meaning(labels, entry), !reply.is_accepted(), is_moved)?;
    }
    Ok(())
}

/// What an entry says, wherever it was moved to.
fn meaning(labels: &str, entry: &skald::wire::push::Entry) -> Meaning {
    let (mut time, mut metadata) = (time_of(entry), Vec::new());
    for pair in &entry.structured_metadata {
        if pair.name == ORIGINAL_TIMESTAMP {
            let own: jiff::Timestamp = pair.value.parse().expect("RFC 3339");
            time = UnixNanos(i64::try_from(own.as_nanosecond()).expect("it fits"));
        } else {
            metadata.push((pair.name.clone(), pair.value.clone()));
        }
    }
    Meaning { labels: labels.to_owned(), metadata, time }
}
