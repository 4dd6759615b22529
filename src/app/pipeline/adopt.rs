//! Other sources for a pipeline that has lines.

use std::sync::Arc;

use super::super::current::Setup;
use super::super::sources::{Route, observers, routes};
use super::Pipeline;
use crate::model::SourceId;
use crate::parse::Parser;

impl Pipeline {
    /// Whether what is held of `source` is an entry of many lines that `setup` has other rules for.
    pub(in super::super) fn would_part(&self, source: SourceId, setup: &Setup) -> bool {
        let idx = usize::from(source.0);
        let old = self.sources.get(idx).filter(|old| old.plan.wait().is_some());
        old.is_some_and(|old| !Arc::ptr_eq(old, &setup.sources[idx]))
    }

    /// Goes on with other sources. Those that are the same keep what is known of their lines, and
    /// the streams of those whose lines get the same labels stay.
    pub(in super::super) fn adopt(&mut self, setup: &Setup) {
        let sources = Arc::clone(&setup.sources);
        for (idx, source) in sources.iter().enumerate() {
            if self.sources.get(idx).is_some_and(|old| Arc::ptr_eq(old, source)) {
                continue;
            }
            let parser = Parser::new(Arc::clone(&source.plan), self.stamps_follow);
            self.variants.forget(idx);
            replace(&mut self.parsers, idx, parser);
            replace(&mut self.counters, idx, self.metrics.source(&source.name));
            replace(&mut self.observers, idx, observers(source, &self.metrics));
            replace(&mut self.epochs, idx, 0);
        }
        let (new_routes, bases) = routes(&sources);
        let (_, old_bases) = routes(&self.sources);
        let old_routes = std::mem::replace(&mut self.routes, new_routes);
        let mut renumbered = vec![None; old_bases.len()];
        for (old, new) in old_routes.iter().zip(&self.routes) {
            for old in old {
                let idx = usize::from(old.base.0);
                let is_it = |new: &&Route| bases[usize::from(new.base.0)] == old_bases[idx];
                renumbered[idx] = new.iter().find(is_it).map(|new| new.base);
            }
        }
        let renumbered = |base: SourceId| renumbered[usize::from(base.0)];
        self.batches.adopt(setup.metadata, bases, &self.pool, renumbered);
        self.sources = sources;
    }
}

/// Puts something at a place of its own, or the next one.
fn replace<T>(all: &mut Vec<T>, idx: usize, new: T) {
    match all.get_mut(idx) {
        Some(old) => *old = new,
        None => all.push(new),
    }
}
