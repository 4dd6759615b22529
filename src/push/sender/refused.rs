//! What is done about what Loki refuses of the run in hand, as [`outcome`](super::outcome) has it.

use std::time::Duration;

use tracing::warn;

use super::{METADATA_PROBE_AFTER, Sender, State};
use crate::model::{Now, Reason};
use crate::push::behind::Behind;
use crate::push::marks::MOVES_MAX;
use crate::push::outcome::{Answer, StreamLimit, is_about_the_entry, why};
use crate::push::work::Work;

/// How many entries are tried one by one before the next pause, while refusals are not believed.
const PROBES: usize = 16;

/// After so many batches in a row of which Loki accepted nothing, its refusals are not believed
/// to be about the data.
const FRUITLESS_MAX: u32 = 2;

/// So many entries of a batch of which nothing was accepted are buried; from then on refusals are
/// not believed to be about the data.
const BURIED_MAX: u64 = 16;

impl Sender {
    /// Entries of the stream in hand are too far behind its newest: they are moved.
    pub(super) fn behind(&mut self, mut work: Box<Work>, answer: &Answer, now: Now) {
        work.judge();
        work.stays_behind |= work.moves == MOVES_MAX;
        if let Some(behind) = Behind::read(answer).filter(|_| !work.stays_behind) {
            let labels = work.labels();
            let mark = self.marks.mark(&labels, now.mono);
            mark.floor = mark.floor.max(Some(behind.floor));
            let to = self.marks.place(&labels, behind.floor, work.moves);
            if let Some(last) = work.move_refused(&behind, to, self.is_noted()) {
                self.marks.moved(&labels, to, last);
                return self.post(work, Duration::ZERO, now);
            }
        }
        if work.run.len() == 1 {
            return self.refused(work, Reason::RejectedByLoki, answer, now);
        }
        work.isolate();
        self.post(work, Duration::ZERO, now);
    }

    /// The stream in hand is limited. Returns whether another one can be sent meanwhile.
    pub(super) fn slow(&mut self, work: &mut Work, limit: StreamLimit, now: Now) -> bool {
        let labels = work.labels();
        let mark = self.marks.mark(&labels, now.mono);
        match limit {
            StreamLimit::Rate(rate) => {
                mark.rate = rate.or(mark.rate);
                if 1 < work.run.len() && rate.is_some_and(|rate| rate < work.run_bytes()) {
                    work.split();
                }
            }
            StreamLimit::Count => {
                work.crowded = true;
                self.crowded = Some(labels);
                self.crowded_since.get_or_insert(now.mono);
            }
        }
        work.postpone()
    }

    /// One entry is refused for good, if refusals can be believed.
    pub(super) fn refused(
        &mut self,
        mut work: Box<Work>,
        reason: Reason,
        answer: &Answer,
        now: Now,
    ) {
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
                Answer::Status { code, body, .. } => why(*code, body),
                Answer::Failed { text, .. } => text.clone(),
            };
            self.hold(format!("loki refuses everything, which no data can cause: {why}"), now)
        };
        self.post(work, not_before, now);
    }

    pub(super) fn without_metadata(&mut self, mut work: Box<Work>, now: Now) {
        if self.probe_at.is_none() {
            warn!(
                "loki takes no structured metadata, so lines are sent without; set \
                 `allow_structured_metadata: true` in loki, or `structured_metadata: off` here"
            );
        }
        self.probe_at = Some(now.mono + METADATA_PROBE_AFTER);
        work.strip();
        self.post(work, Duration::ZERO, now);
    }
}
