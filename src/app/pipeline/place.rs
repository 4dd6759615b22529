//! The way of an entry into its stream.

use std::ops::ControlFlow;

use tracing::warn;

use super::super::press::Press;
use super::super::sources::{Route, Source};
use super::{From, Stop};
use crate::batch::{Found, Pushed};
use crate::model::{Counts, Entry, Now, Reason};
use crate::parse::Admit;

/// What became of an entry.
pub(super) enum Taken {
    Yes,
    Moved,
    Dropped(Reason),
    /// A label was demoted: the line is to be parsed anew.
    Again,
    Not(Stop),
}

/// Where an entry goes.
pub(super) struct Place<'a> {
    pub(super) batches: &'a mut Press,
    pub(super) source: &'a Source,
    pub(super) epoch: u64,
    pub(super) route: Route,
}

impl Place<'_> {
    pub(super) fn take(mut self, from: From, entry: &Entry<'_>, input: Counts, now: Now) -> Taken {
        let stream = match self.batches.batcher.find(self.route.base, entry.labels, self.epoch) {
            Found::Known(stream) => stream,
            Found::New => {
                if self.explodes(entry, now) {
                    return Taken::Again;
                }
                let mut make =
                    || self.batches.batcher.insert(self.route.base, entry.labels, self.epoch);
                match make() {
                    Some(stream) => stream,
                    None => {
                        // All streams that are remembered are in the open batch.
                        if let ControlFlow::Break(stop) = self.seal(now) {
                            return Taken::Not(stop);
                        }
                        return self.take(from, entry, input, now);
                    }
                }
            }
        };
        match self.batches.push(stream, entry, from.stretch, input, now) {
            Pushed::Taken => Taken::Yes,
            Pushed::Moved => Taken::Moved,
            Pushed::NoPermit => Taken::Not(Stop::NoPermit),
            Pushed::Full => match self.seal(now) {
                ControlFlow::Continue(()) => self.take(from, entry, input, now),
                ControlFlow::Break(stop) => Taken::Not(stop),
            },
        }
    }

    fn seal(&mut self, now: Now) -> ControlFlow<Stop> {
        let tenant = self.route.tenant;
        self.batches.finish(tenant);
        if !self.batches.outbox.is_empty_for(tenant) {
            self.batches.outbox.set_stuck(tenant);
            return ControlFlow::Break(Stop::Busy);
        }
        self.batches.seal(tenant, now);
        ControlFlow::Continue(())
    }

    /// Whether the guard took a label away because of this entry.
    fn explodes(&self, entry: &Entry<'_>, now: Now) -> bool {
        let Admit::Demote(demotion) = self.source.guard().admit(entry.labels, now) else {
            return false;
        };
        warn!(
            source = self.source.name,
            label = demotion.label,
            values = demotion.count,
            example = demotion.example,
            "a label has too many values and becomes structured metadata; list it under \
             `metadata` in the rules, or raise `guard.values_max`",
        );
        true
    }
}
