//! The step of a reader thread: read a chunk of one file, take its lines, note how far it came.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::file_log::FileLog;
use super::pipeline::{From, Pipeline, Stop, Stretch};
use super::registry::Registry;
use super::windows::Windows;
use crate::model::{Counts, Files, Mark, Now, UnixNanos};
use crate::parse::Line;
use crate::tail::{Chunk, NewFile, News, Reader, Turn};

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
    /// There is no memory for a read. It comes back with Loki's answers.
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
    buf: Vec<u8>,
    chunk_bytes: u64,
    /// Turns in a row in which a file was held.
    held: usize,
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
        let reader = Reader::new(options);
        Self { reader, pipeline, shared, log, buf: Vec::new(), chunk_bytes, held: 0 }
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
        if self.reader.has(inode) {
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

    /// A file may have grown.
    pub fn hint<D: Files<File = H>>(&mut self, path: &Path, now: Now, files: &mut D) {
        self.reader.hint(path, now, files);
        self.tell(now);
    }

    /// Reads the next chunk and takes its lines. Memory for it is taken before the read.
    pub fn turn<D: Files<File = H>>(&mut self, now: Now, files: &mut D) -> Done {
        if !self.pipeline.reserve(self.chunk_bytes, now) {
            return Done::NoPermit;
        }
        let done = match self.reader.turn(now, files, &mut self.buf) {
            Turn::Idle(until) => {
                self.tell(now);
                Done::Idle(until)
            }
            Turn::Chunk(chunk) => {
                self.tell(now);
                self.take(&chunk, now)
            }
        };
        self.pipeline.settle_down(0 < self.reader.ready(), now);
        self.held = if done == Done::Held { self.held + 1 } else { 0 };
        done
    }

    /// Nothing more will be read.
    pub fn end(&mut self, now: Now) {
        self.reader.end(now);
        self.tell(now);
    }

    /// Whether every file that could be read has to wait for a file of another worker.
    #[must_use]
    pub fn all_held(&self) -> bool {
        self.reader.ready() <= self.held
    }

    fn take(&mut self, chunk: &Chunk, now: Now) -> Done {
        let Shared { registry, windows } = &self.shared;
        let from = From {
            source: chunk.source,
            stretch: Some((chunk.file, registry.next_seq(chunk.file))),
            limit: windows.limit(chunk.source, chunk.file),
        };
        self.pipeline.begin(chunk.source, now);
        let (mut stamp, mut end, mut stop) = (chunk.start.stamp, chunk.start.offset, None);
        for line in chunk.lines(&self.buf) {
            let input = Counts { lines: 1, bytes: line.end.0 - end.0 };
            let text = Line { bytes: line.bytes, truncated_from: line.truncated_from };
            if let Err(why) = self.pipeline.line(from, text, &mut stamp, input, now) {
                stop = Some(why);
                break;
            }
            end = line.end;
        }
        let mark = if end == chunk.start.offset {
            chunk.start
        } else {
            Mark { offset: end, stamp, tail: chunk.tail(&self.buf, end) }
        };
        let Stretch { tickets, too_old } = self.pipeline.end(chunk.source);
        if 0 < too_old {
            self.log.too_old(chunk.file, too_old, || registry.path(chunk.file));
        }
        if chunk.start.offset < mark.offset {
            registry.issue(chunk.file, mark, tickets, now);
        }
        let unread = self.reader.consumed(chunk, mark, stop.is_none());
        match (stop, unread) {
            (Some(Stop::Ahead(time)), _) => windows.at(chunk.source, chunk.file, Some(time)),
            (_, true) => windows.at(chunk.source, chunk.file, time_of(mark)),
            (_, false) => windows.done(chunk.source, chunk.file),
        }
        match stop {
            None => Done::Lines,
            Some(Stop::Ahead(_)) if end == chunk.start.offset => Done::Held,
            Some(Stop::Ahead(_)) => Done::Lines,
            Some(Stop::NoPermit) => Done::NoPermit,
            Some(Stop::Busy) => Done::Busy,
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
                News::Opened { file, source, start, size, waits: false, .. }
                    if start.offset.0 < *size =>
                {
                    self.shared.windows.at(*source, *file, None);
                }
                News::Truncated { old: file, .. }
                | News::GivenUp { file, .. }
                | News::Closed { file }
                | News::SetAside { file }
                | News::NoLine { file } => self.shared.windows.forget(*file),
                News::Opened { .. }
                | News::NotResumed { .. }
                | News::Head { .. }
                | News::Renamed { .. }
                | News::Rotated { .. }
                | News::Unrotated { .. }
                | News::Deleted { .. }
                | News::Lost { .. }
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

/// The time of the last line before `mark`.
fn time_of(mark: Mark) -> Option<UnixNanos> {
    let raw = mark.stamp.last_raw?;
    Some(raw.plus(Duration::from_nanos(u64::from(mark.stamp.repeats))))
}
