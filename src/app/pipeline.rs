//! From a line to a sealed batch: what the workers for files and for standard input share.

mod adopt;
mod place;
mod variants;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use self::place::{Place, Taken};
use self::variants::Variants;
use super::origins::origin;
use super::outbox::Outbox;
use super::press::Press;
use super::sources::{Route, Source, Sources, observers, routes};
use super::wake::Doorbell;
use crate::batch::{Batcher, Options, Sealed};
use crate::model::{
    Counts, FileKey, FileOffset, Flag, Now, OUTPUTS, Origin, Pool, Reason, SourceId, Stamp,
    TenantId, UnixNanos,
};
use crate::parse::{Join, Parser, Piece, Verdict};
use crate::telemetry::{Metrics, Observer, SourceCounters};

/// Where a line comes from.
#[derive(Debug, Clone, Copy)]
pub struct From {
    /// Its source.
    pub source: SourceId,
    /// The stretch of the file it is part of; `None` on standard input.
    pub stretch: Option<(FileKey, u64)>,
    /// The latest line time that may be taken.
    pub limit: UnixNanos,
}

/// Why a line was not taken. It comes again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// Its time is this, beyond the limit.
    Ahead(UnixNanos),
    /// The memory budget is used up.
    NoPermit,
    /// Enough batches wait for Loki.
    Busy,
    /// A rule lets no more lines through for now.
    Paced,
}

/// What is taken.
#[derive(Debug, Clone, Copy)]
pub enum Text<'a> {
    /// A line of the input.
    Piece(Piece<'a>),
    /// What has begun on this output and will not go on.
    Unfinished(usize),
}

impl Text<'_> {
    fn input(self) -> Counts {
        match self {
            Self::Piece(piece) => piece.input,
            Self::Unfinished(_) => Counts::default(),
        }
    }
}

/// What the last lines were, to be counted together.
#[derive(Debug, Default)]
struct Tally {
    read: Counts,
    flagged: [u64; Flag::ALL.len()],
    dropped: [Counts; Reason::ALL.len()],
}

/// What became of the lines of one stretch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretch {
    /// How many batches answer for them.
    pub tickets: u32,
    /// How many were dropped because of their age.
    pub too_old: u64,
}

/// Parsers and the open batches of one worker.
#[derive(Debug)]
pub struct Pipeline {
    sources: Sources,
    /// As in [`Parser::new`].
    stamps_follow: bool,
    parsers: Vec<Parser>,
    variants: Variants,
    /// Whose lines there are and what they are called in batches, by source and
    /// `Entry::tenant`.
    routes: Vec<Vec<Route>>,
    counters: Vec<SourceCounters>,
    /// The metrics of rules, by source and place in `Plan::metrics`.
    observers: Vec<Vec<Observer>>,
    /// The guard's window of each source, see `Batcher::find`.
    epochs: Vec<u64>,
    batches: Press,
    pool: Pool,
    tally: Tally,
    metrics: Metrics,
    /// How many of the streams in the gauge are this worker's.
    streams: usize,
}

impl Pipeline {
    /// A pipeline without lines, for the tenants of `pool`. `stamps_follow` as in [`Parser::new`].
    #[must_use]
    pub fn new(
        sources: Sources,
        stamps_follow: bool,
        options: Options,
        pool: Pool,
        metrics: Metrics,
    ) -> Self {
        let (routes, bases) = routes(&sources);
        let parser = |source: &Arc<Source>| Parser::new(Arc::clone(&source.plan), stamps_follow);
        let tenants = pool.tenants();
        let batcher = Batcher::new(options, bases, &pool);
        Self {
            parsers: sources.iter().map(parser).collect(),
            counters: sources.iter().map(|source| metrics.source(&source.name)).collect(),
            observers: sources.iter().map(|source| observers(source, &metrics)).collect(),
            epochs: vec![0; sources.len()],
            variants: Variants::default(),
            routes,
            batches: Press::new(batcher, tenants),
            pool,
            sources,
            stamps_follow,
            tally: Tally::default(),
            metrics,
            streams: 0,
        }
    }

    /// From now on a thread of this name helps to compress and to seal, and rings `bell` when a
    /// sealed batch is to be taken.
    pub fn help(&mut self, name: String, bell: Doorbell) {
        self.batches.help(name, bell);
    }

    /// Lines of `source` follow: its guard may have moved a label, or begun to count anew.
    pub fn begin(&mut self, source: SourceId, now: Now) {
        let idx = usize::from(source.0);
        self.variants.put_back(idx, &mut self.parsers[idx]);
        self.meet(idx, now);
    }

    /// What the guard has moved is known to the parser.
    fn meet(&mut self, idx: usize, now: Now) {
        let mut guard = self.sources[idx].guard();
        self.epochs[idx] = guard.epoch(now);
        self.parsers[idx].set_demoted(guard.flags());
    }

    /// Whether it matters where lines of `source` come from.
    #[must_use]
    pub fn wants_origin(&self, source: SourceId) -> bool {
        let source = &self.sources[usize::from(source.0)];
        source.plan.wants_origin() || source.may_be_asked()
    }

    /// The lines of `source` that follow are from the file at `path`; after [`Pipeline::begin`].
    pub fn set_path(&mut self, source: SourceId, path: &Path) {
        let idx = usize::from(source.0);
        let of = &*self.sources[idx];
        let parser = &mut self.parsers[idx];
        if self.variants.choose(idx, of, path, self.stamps_follow, parser) {
            parser.set_demoted(of.guard().flags());
        }
        let known = of.pods.as_ref().map(|pods| &*pods.known);
        parser.set_origin(&origin(&of.place, path, known));
    }

    /// Where the lines of `source` that follow come from, if that is no file.
    pub fn set_origin(&mut self, source: SourceId, origin: &Origin) {
        self.parsers[usize::from(source.0)].set_origin(origin);
    }

    /// Takes one line into the open batch, or says why not; then `stamp` is as before. A part of a
    /// line is held in `join`, and taken with the last one.
    ///
    /// # Errors
    /// Why the line has to come again.
    pub fn line(
        &mut self,
        from: From,
        text: Text<'_>,
        join: &mut Join,
        stamp: &mut Stamp,
        now: Now,
    ) -> Result<(), Stop> {
        let idx = usize::from(from.source.0);
        let input = text.input();
        let mut tenant = self.sources[idx].tenant;
        let mut before = *stamp;
        loop {
            *stamp = before;
            let (batches, source, epoch) =
                (&mut self.batches, &self.sources[idx], self.epochs[idx]);
            let routes = &self.routes[idx];
            let then = |verdict: Verdict<'_>| match verdict {
                Verdict::Drop(reason) => Taken::Dropped(reason),
                Verdict::NotBefore(_) => Taken::Not(Stop::Paced),
                Verdict::Emit(entry) if from.limit < entry.time => {
                    Taken::Not(Stop::Ahead(entry.time))
                }
                Verdict::Emit(entry) => {
                    let route = routes[entry.tenant];
                    tenant = route.tenant;
                    Place { batches, source, epoch, route }.take(from, &entry, input, now)
                }
            };
            let parser = &mut self.parsers[idx];
            let taken = match text {
                Text::Piece(piece) => parser.piece(piece, join, stamp, now, then),
                Text::Unfinished(out) => parser.unfinished(out, join, stamp, now, then),
            };
            match taken {
                None => {
                    if let Some(out) = join.ended() {
                        // The lines before it are an entry of their own.
                        self.line(from, Text::Unfinished(out), join, stamp, now)?;
                        before = *stamp;
                        continue;
                    }
                    self.tally.read += input;
                    return Ok(());
                }
                Some(Taken::Dropped(reason)) => {
                    let tally = &mut self.tally.dropped[reason as usize];
                    *tally += input;
                    *tally += join.end();
                }
                Some(Taken::Moved) => {
                    self.tally.flagged[Flag::MovedIntoWindow as usize] += 1;
                    self.batches.batcher.add_to_last(tenant, join.end());
                }
                Some(Taken::Yes) => self.batches.batcher.add_to_last(tenant, join.end()),
                Some(Taken::Again) => {
                    self.meet(idx, now);
                    self.metrics.labels_demoted.inc();
                    continue;
                }
                Some(Taken::Not(stop)) => {
                    *stamp = before;
                    return Err(stop);
                }
            }
            break;
        }
        self.parsers[idx].taken();
        self.tally.read += input;
        for flag in self.parsers[idx].flags().iter() {
            self.tally.flagged[flag as usize] += 1;
        }
        if self.batches.batcher.is_full(tenant) && self.batches.outbox.is_clear(tenant) {
            self.batches.seal(tenant, now);
        }
        Ok(())
    }

    /// Takes what has begun in `join` and was given up there, as [`Pipeline::line`] does.
    ///
    /// # Errors
    /// Why what is left has to come again.
    pub fn unfinished(
        &mut self,
        from: From,
        join: &mut Join,
        stamp: &mut Stamp,
        now: Now,
    ) -> Result<(), Stop> {
        while let Some(out) = join.given_up() {
            self.line(from, Text::Unfinished(out), join, stamp, now)?;
        }
        Ok(())
    }

    /// Holds what an earlier run has held, see [`Parser::hold_again`].
    pub fn hold_again(
        &mut self,
        source: SourceId,
        piece: Piece<'_>,
        join: &mut Join,
        wanted: [Option<FileOffset>; OUTPUTS],
        now: Now,
    ) {
        if self.parsers[usize::from(source.0)].hold_again(piece, join, wanted, now) {
            self.tally.read += piece.input;
        }
    }

    /// The lines of a stretch were taken, as far as they could be: counts them, and returns how
    /// many batches answer for them.
    pub fn end(&mut self, source: SourceId) -> Stretch {
        let tally = std::mem::take(&mut self.tally);
        let counters = &self.counters[usize::from(source.0)];
        counters.lines_read.inc_by(tally.read.lines);
        counters.bytes_read.inc_by(tally.read.bytes);
        add_in_flight(&self.metrics, tally.read, 1);
        let observers = &self.observers[usize::from(source.0)];
        for seen in self.parsers[usize::from(source.0)].observed() {
            observers[seen.metric].observe(seen.value, seen.labels);
        }
        for (reason, counts) in Reason::ALL.into_iter().zip(tally.dropped) {
            if counts.lines != 0 {
                self.metrics.dropped(reason, counts);
                // It may have been read with an earlier stretch.
                add_in_flight(&self.metrics, counts, -1);
            }
        }
        for (flag, lines) in Flag::ALL.into_iter().zip(tally.flagged) {
            if lines != 0 {
                self.metrics.flagged(flag, lines);
            }
        }
        let streams = self.batches.batcher.streams();
        // Streams are only ever replaced by others.
        let more = i64::try_from(streams - self.streams).unwrap_or(i64::MAX);
        self.metrics.streams.inc_by(more);
        self.streams = streams;
        let too_old = tally.dropped[Reason::TooOld as usize].lines;
        Stretch { tickets: self.batches.batcher.new_tickets(), too_old }
    }

    /// Makes sure that lines of `tenant` can be taken and that there is memory for a read of
    /// `bytes`; seals what is open when there is not.
    ///
    /// # Errors
    /// Why nothing of `tenant` may be read now.
    pub fn reserve(&mut self, tenant: TenantId, bytes: u64, now: Now) -> Result<(), Stop> {
        let batches = &mut self.batches;
        if batches.outbox.is_stuck(tenant) {
            return Err(Stop::Busy);
        }
        if batches.batcher.reserve(tenant, bytes) {
            return Ok(());
        }
        // Sealing gives back what compression saves, and sends what only Loki can give back.
        batches.finish(tenant);
        if batches.outbox.has_room(tenant) {
            batches.seal(tenant, now);
            batches.finish(tenant);
        }
        if self.batches.batcher.reserve(tenant, bytes) { Ok(()) } else { Err(Stop::NoPermit) }
    }

    /// Gives back what was reserved and not used, and seals the batches whose time has come; of a
    /// tenant with `more` to read at once, that is only when it has reached its age.
    pub fn settle_down(&mut self, more: impl Fn(TenantId) -> bool, now: Now) {
        let batches = &mut self.batches;
        batches.collect();
        batches.batcher.release_spare();
        for tenant in batches.outbox.tenants() {
            let is_past = |at: Option<Duration>| at.is_some_and(|at| at <= now.mono);
            let (due, old) = (batches.batcher.due_at(tenant), batches.batcher.old_at(tenant));
            let is_time = is_past(due) && (is_past(old) || !more(tenant));
            if is_time && batches.outbox.is_clear(tenant) {
                batches.seal(tenant, now);
            }
        }
    }

    /// Seals the open batches, and waits until they are in the outbox.
    pub fn seal(&mut self, now: Now) {
        for tenant in self.batches.outbox.tenants() {
            self.batches.seal(tenant, now);
            self.batches.finish(tenant);
        }
    }

    /// When an open batch wants to be sealed and can be.
    #[must_use]
    pub fn due_at(&self) -> Option<Duration> {
        let outbox = &self.batches.outbox;
        let tenants = outbox.tenants().filter(|tenant| outbox.is_clear(*tenant));
        tenants.filter_map(|tenant| self.batches.batcher.due_at(tenant)).min()
    }

    /// The sealed batches, to be taken when the stretches they hold lines of were issued.
    pub fn outbox(&mut self) -> &mut Outbox {
        &mut self.batches.outbox
    }

    /// The next sealed batch, whoever's. To be called when the stretch it holds lines of was
    /// issued.
    pub fn take_sealed(&mut self) -> Option<Sealed> {
        let outbox = self.outbox();
        outbox.tenants().find_map(|tenant| outbox.take(tenant))
    }

    /// Whether sealed batches wait, or are being sealed.
    #[must_use]
    pub fn has_sealed(&self) -> bool {
        !self.batches.outbox.is_empty()
    }

    /// All sources.
    #[must_use]
    pub fn sources(&self) -> &Sources {
        &self.sources
    }

    /// How long lines of `source` wait for those that follow in the same entry.
    #[must_use]
    pub fn wait(&self, source: SourceId) -> Option<Duration> {
        self.parsers[usize::from(source.0)].wait()
    }

    /// Whose lines `source` has.
    #[must_use]
    pub fn tenant(&self, source: SourceId) -> TenantId {
        self.sources[usize::from(source.0)].tenant
    }

    /// Whether there is neither an open nor a sealed batch.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.batches.batcher.is_empty() && self.batches.outbox.is_empty()
    }
}

/// Adds to (`sign` 1) or takes from (-1) the lines that are neither delivered nor dropped.
pub(super) fn add_in_flight(metrics: &Metrics, counts: Counts, sign: i64) {
    let signed = |count: u64| sign * i64::try_from(count).unwrap_or(i64::MAX);
    metrics.lines_in_flight.inc_by(signed(counts.lines));
    metrics.bytes_in_flight.inc_by(signed(counts.bytes));
}
