//! The step of a reader thread: read a chunk of one file, take its lines, note how far it came.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::current::Setup;
use super::file_log::FileLog;
use super::joins::{Chain, Joins};
use super::pipeline::{From, Pipeline, Stop, Stretch, Text};
use super::registry::Registry;
use super::windows::{CLOSED, Windows};
use crate::model::{Counts, FileKey, Files, Mark, Now, SourceId, TenantId, UnixNanos};
use crate::parse::{Line, Piece};
use crate::tail::{Budget, Chunk, NewFile, News, Reader, Turn};

/// What the worker knows together with the rest of the agent.
#[derive(Debug, Clone)]
pub struct Shared {
    /// Every file.
    pub registry: Arc<Registry>,
    /// Line times of the files of a source.
    pub windows: Arc<Windows>,
}

/// What a turn came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Done {
    /// Lines were taken; there may be more.
    Lines,
    /// The file has to wait for a slower one of its source; others may go on.
    Held,
    /// There is no memory for any read. It comes back with Loki's answers.
    NoPermit,
    /// Enough batches wait for Loki.
    Busy,
    /// Nothing to read before this time since start.
    Idle(Duration),
}

/// Reads a share of the files.
#[derive(Debug)]
pub struct Worker<H> {
    reader: Reader<H>,
    /// Parsers and the open batch.
    pub pipeline: Pipeline,
    shared: Shared,
    log: FileLog,
    joins: Joins,
    buf: Vec<u8>,
    chunk_bytes: u64,
    /// Files that had to wait, in the turns since lines were last taken.
    held: usize,
    /// Files that are to be left when nothing of them is held any more.
    leaving: Vec<((u64, u64), Arc<()>)>,
}

impl<H> Worker<H> {
    /// A worker without files.
    #[must_use]
    pub fn new(
        options: crate::tail::Options,
        pipeline: Pipeline,
        shared: Shared,
        log: FileLog,
    ) -> Self {
        let chunk_bytes = options.chunk_bytes as u64;
        let joins = Joins::new(options.chunk_bytes);
        let reader = Reader::new(options);
        Self {
            reader,
            pipeline,
            shared,
            log,
            joins,
            buf: Vec::new(),
            chunk_bytes,
            held: 0,
            leaving: vec![],
        }
    }

    /// A file was found.
    pub fn found<D: Files<File = H>>(&mut self, new: NewFile, now: Now, files: &mut D) {
        let source = new.source;
        self.reader.found(new, now, files);
        self.tell(now);
        self.shared.windows.arrived(source);
    }

    /// A file has another name. If it could not be opened by the one before, this is found now.
    pub fn renamed<D: Files<File = H>>(
        &mut self,
        inode: (u64, u64),
        new: NewFile,
        now: Now,
        files: &mut D,
    ) {
        if self.reader.follows(inode, &new.path, now, files) {
            self.reader.renamed(inode, &new.path, &new.stem, now);
        } else {
            self.reader.found(new, now, files);
        }
        self.tell(now);
    }

    /// A file has no name in the globs any more.
    pub fn gone(&mut self, inode: (u64, u64), now: Now) {
        self.reader.gone(inode, now);
        self.tell(now);
    }

    /// A file is of no source any more, or another one's: it is read no further. `closed` is
    /// dropped when the registry knows that.
    pub fn leave(&mut self, inode: (u64, u64), closed: Arc<()>, now: Now) {
        self.leaving.push((inode, closed));
        self.leave_now(now);
    }

    /// A file need not wait any more for what is known of where it comes from.
    pub fn release(&mut self, inode: (u64, u64), now: Now) {
        self.reader.release(inode, now);
        self.tell(now);
    }

    /// Leaves those files of which nothing is held; what is held goes out first.
    fn leave_now(&mut self, now: Now) {
        for (inode, closed) in std::mem::take(&mut self.leaving) {
            if self.reader.key_of(inode).is_some_and(|file| self.joins.give_up(file)) {
                self.leaving.push((inode, closed));
            } else {
                self.reader.leave(inode, now);
                self.tell(now);
            }
        }
    }

    /// Goes on with another configuration, and so many open files.
    pub(super) fn adopt(&mut self, setup: &Setup, budget: Budget) {
        self.joins.give_up_of(|source| self.pipeline.would_part(source, setup));
        self.pipeline.adopt(setup);
        self.reader.set_budget(budget);
    }

    /// A file may have grown. `is_last`: nobody will tell of it for a while.
    pub fn hint<D: Files<File = H>>(
        &mut self,
        path: &Path,
        is_last: bool,
        now: Now,
        files: &mut D,
    ) {
        self.reader.hint(path, is_last, now, files);
        self.tell(now);
    }

    /// Reads the next chunk and takes its lines. Memory for it is taken before the read; files of
    /// a tenant without any wait, the others go on.
    pub fn turn<D: Files<File = H>>(&mut self, now: Now, files: &mut D) -> Done {
        let given_up = self.give_up(now, files);
        if !self.leaving.is_empty() {
            self.leave_now(now);
        }
        let (pipeline, bytes) = (&mut self.pipeline, self.chunk_bytes);
        // Nothing more of a tenant before what was read before.
        let (mut denied, mut passed): (Vec<(TenantId, Stop)>, _) = (Vec::from_iter(given_up), 0);
        let turn = self.reader.turn(now, files, &mut self.buf, |source| {
            let tenant = pipeline.tenant(source);
            if !denied.iter().any(|(other, _)| *other == tenant) {
                match pipeline.reserve(tenant, bytes, now) {
                    Ok(()) => return true,
                    Err(why) => denied.push((tenant, why)),
                }
            }
            passed += 1;
            false
        });
        self.tell(now);
        let done = match turn {
            Turn::Idle(until) if denied.is_empty() || until <= now.mono => match given_up {
                Some((_, stop)) => stopped(stop, false),
                None => Done::Idle(until.min(self.joins.wake_at())),
            },
            Turn::Idle(_) if denied.iter().all(|(_, why)| *why == Stop::Busy) => Done::Busy,
            Turn::Idle(_) => Done::NoPermit,
            Turn::Chunk(chunk) => {
                let done = self.take(&chunk, now);
                let is_stopped = matches!(done, Done::Busy | Done::NoPermit);
                if is_stopped && self.others_are_ready(chunk.source) { Done::Lines } else { done }
            }
        };
        let (pipeline, reader) = (&mut self.pipeline, &self.reader);
        let tenants = Arc::clone(pipeline.sources());
        let tenant = |source: SourceId| tenants[usize::from(source.0)].tenant;
        pipeline.settle_down(|more| reader.has_ready(|source| tenant(source) == more), now);
        self.held = if done == Done::Held { self.held + 1 + passed } else { 0 };
        done
    }

    /// Nothing more will be read.
    pub fn end(&mut self, now: Now) {
        self.reader.end(now);
        self.tell(now);
    }

    /// Whether files of other tenants than that of `source` wait to be read.
    fn others_are_ready(&self, source: SourceId) -> bool {
        let tenant = self.pipeline.tenant(source);
        self.reader.has_ready(|other| self.pipeline.tenant(other) != tenant)
    }

    /// Whether every file that could be read has to wait for a file of another worker.
    #[must_use]
    pub fn all_held(&self) -> bool {
        self.reader.ready() <= self.held
    }

    fn take(&mut self, chunk: &Chunk, now: Now) -> Done {
        let Shared { registry, windows } = &self.shared;
        let limit = windows.limit(chunk.source, chunk.file);
        if limit == CLOSED {
            // Not even parts, which have no time yet: an older generation may be on its way.
            self.reader.consumed(chunk, chunk.start, false);
            windows.at(chunk.source, chunk.file, time_of(chunk.start));
            return Done::Held;
        }
        let seq = registry.next_seq(chunk.file);
        let from = From { source: chunk.source, stretch: Some((chunk.file, seq)), limit };
        let again = self.joins.again(chunk.file);
        let mut chain = self.joins.take(chunk.file, seq == 0, registry);
        begin(&mut self.pipeline, registry, chunk.source, chunk.file, now);
        let (mut stamp, mut end, mut stop) = (chunk.start.stamp, chunk.start.offset, None);
        for line in chunk.lines(&self.buf) {
            let input = Counts { lines: 1, bytes: line.end.0 - end.0 };
            let text = Line { bytes: line.bytes, truncated_from: line.truncated_from };
            let piece = Piece { line: text, input, at: end };
            if end < again.offset {
                let held = again.held.offsets();
                self.pipeline.hold_again(chunk.source, piece, &mut chain.join, held, now);
            } else if let Err(why) =
                self.pipeline.line(from, Text::Piece(piece), &mut chain.join, &mut stamp, now)
            {
                stop = Some(why);
                break;
            }
            end = line.end;
        }
        let mut mark = if end == chunk.start.offset {
            chunk.start
        } else {
            Mark { offset: end, stamp, tail: chunk.tail(&self.buf, end), ..Mark::default() }
        };
        mark.held = chain.join.held().into();
        let Stretch { tickets, too_old } = self.pipeline.end(chunk.source);
        if 0 < too_old {
            self.log.too_old(chunk.file, too_old, || registry.path(chunk.file));
        }
        if chunk.start.offset.max(again.offset) < mark.offset {
            registry.issue(chunk.file, mark, tickets, now);
        }
        self.put(chunk.file, seq, chunk.source, chain, mark, now);
        let unread = self.reader.consumed(chunk, mark, stop.is_none());
        let Shared { registry, windows } = &self.shared;
        match (stop, unread) {
            (Some(Stop::Ahead(time)), _) => windows.at(chunk.source, chunk.file, Some(time)),
            (_, true) => windows.at(chunk.source, chunk.file, time_of(mark)),
            (_, false) => {
                windows.done(chunk.source, chunk.file);
                registry.has_no_line(chunk.file);
            }
        }
        stop.map_or(Done::Lines, |stop| stopped(stop, end != chunk.start.offset))
    }

    /// Sends what has begun and will not be ended. Returns whose could not be, and why not.
    fn give_up<D: Files<File = H>>(&mut self, now: Now, files: &mut D) -> Option<(TenantId, Stop)> {
        while let Some((file, source)) = self.joins.due(&self.shared.registry, now, files) {
            let tenant = self.pipeline.tenant(source);
            if let Err(why) = self.pipeline.reserve(tenant, self.chunk_bytes, now) {
                return Some((tenant, why));
            }
            let mut chain = self.joins.remove(file)?;
            let registry = &self.shared.registry;
            let mut mark = registry.read_to(file);
            let seq = registry.next_seq(file);
            let limit = UnixNanos(i64::MAX);
            let from = From { source, stretch: Some((file, seq)), limit };
            // Not the file's own: what is read on has to have the times that a replay will give.
            let mut stamp = mark.stamp;
            begin(&mut self.pipeline, registry, source, file, now);
            let stop = self.pipeline.unfinished(from, &mut chain.join, &mut stamp, now).err();
            mark.held = chain.join.held().into();
            let Stretch { tickets, .. } = self.pipeline.end(source);
            registry.issue(file, mark, tickets, now);
            self.put(file, seq, source, chain, mark, now);
            if let Some(stop) = stop {
                return Some((tenant, stop));
            }
        }
        None
    }

    fn put(
        &mut self,
        file: FileKey,
        seq: u64,
        source: SourceId,
        mut chain: Chain,
        mark: Mark,
        now: Now,
    ) {
        let registry = &self.shared.registry;
        chain.wait = self.pipeline.wait(source);
        let freed = self.joins.put(file, source, chain, mark, registry, now);
        if !freed.is_empty() {
            registry.release(freed, file, seq, now);
        }
    }

    /// Passes on what the reader has to say.
    fn tell(&mut self, now: Now) {
        let news = self.reader.news();
        if news.is_empty() {
            return;
        }
        self.shared.registry.note(&news, now);
        for news in &news {
            match news {
                // A file that waits for another one must not keep that one waiting.
                News::Opened { file, source, start, size, waits, .. } => {
                    self.joins.opened(*file, *start);
                    if start.offset.0 < *size && !waits {
                        self.shared.windows.at(*source, *file, None);
                    }
                }
                News::Truncated { old: file, .. } | News::Closed { file } => {
                    self.joins.closed(*file);
                    self.shared.windows.forget(*file);
                }
                News::SetAside { file } | News::NoLine { file } => {
                    self.shared.windows.forget(*file);
                }
                News::NotResumed { .. }
                | News::Head { .. }
                | News::Renamed { .. }
                | News::Rotated { .. }
                | News::Unrotated { .. }
                | News::Deleted { .. }
                | News::Lost { .. }
                | News::GivenUp { .. }
                | News::Skipped { .. }
                | News::Size { .. }
                | News::Back { .. }
                | News::Failed { .. }
                | News::Refused { .. } => {}
            }
            self.log.note(news, now);
        }
    }
}

/// Lines of `file` follow. A file that was rotated keeps the name that it had.
fn begin(pipeline: &mut Pipeline, registry: &Registry, source: SourceId, file: FileKey, now: Now) {
    pipeline.begin(source, now);
    if pipeline.wants_origin(source) {
        let lineage = registry.lineage(file);
        pipeline.set_path(
            source,
            lineage.as_ref().map_or_else(|| Path::new(""), |lineage| &lineage.stem),
        );
    }
}

/// What a turn came to that stopped, after it had taken lines or not.
fn stopped(stop: Stop, took: bool) -> Done {
    match stop {
        Stop::Ahead(_) | Stop::Paced if !took => Done::Held,
        Stop::Ahead(_) | Stop::Paced => Done::Lines,
        Stop::NoPermit => Done::NoPermit,
        Stop::Busy => Done::Busy,
    }
}

/// The time of the last line before `mark`.
fn time_of(mark: Mark) -> Option<UnixNanos> {
    let raw = mark.stamp.last_raw.get()?;
    Some(raw.plus(Duration::from_nanos(u64::from(mark.stamp.repeats))))
}
