//! Standard input: a pump thread that reads, a worker's step that takes lines, and `--tee`.

use std::io::{self, Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use tracing::{error, warn};

use super::current::Setup;
use super::pipeline::{From, Pipeline, Stop, Stretch, Text};
use super::wake::{Doorbell, Told};
use super::worker::Done;
use crate::model::{Counts, FileOffset, Now, Origin, SourceId, Stamp, UnixNanos};
use crate::parse::{Join, Line, Piece};
use crate::tail::Cutter;
use crate::telemetry::Metrics;

/// Bytes of one read: what a pipe holds.
pub(super) const READ_BYTES: usize = 64 * 1024;

/// Chunks that wait to be copied to standard output.
const TEE_CHUNKS_MAX: usize = 16;

/// Standard input waits for a slow standard output for so long at most, then goes on without it.
const TEE_WAIT_MAX: Duration = Duration::from_secs(1);

/// The step of the worker for standard input.
#[derive(Debug)]
pub struct StdinWorker {
    cutter: Cutter,
    /// Parsers and the open batch.
    pub pipeline: Pipeline,
    source: SourceId,
    /// What rules know of where the lines come from.
    origin: Origin,
    stamp: Stamp,
    /// How much of the input was taken: where the next line begins.
    at: FileOffset,
    /// Parts of lines that have not ended.
    join: Join,
    /// The pump has an empty buffer and will send it back filled.
    asked: bool,
    ended: bool,
    /// Lines were dropped because of their age, which was said.
    had_too_old: bool,
}

/// What a turn of standard input came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StdinDone {
    /// As for files.
    Done(Done),
    /// There is room and memory for a read: give the pump a buffer.
    WantsInput,
    /// All was taken, nothing more will come.
    End,
}

impl StdinWorker {
    /// A worker for `source`, whose lines are cut at `line_bytes`.
    #[must_use]
    pub fn new(source: SourceId, line_bytes: usize, pipeline: Pipeline) -> Self {
        let cutter = Cutter::new(line_bytes, READ_BYTES);
        Self {
            cutter,
            pipeline,
            source,
            origin: Origin::default(),
            stamp: Stamp::default(),
            at: FileOffset(0),
            join: Join::default(),
            asked: false,
            ended: false,
            had_too_old: false,
        }
    }

    /// The lines come from there.
    pub(super) fn set_origin(&mut self, origin: Origin) {
        self.pipeline.set_origin(self.source, &origin);
        self.origin = origin;
    }

    /// Goes on with another configuration.
    pub(super) fn adopt(&mut self, setup: &Setup) {
        if self.pipeline.would_part(self.source, setup) {
            self.join.give_up_all();
        }
        self.pipeline.adopt(setup);
        self.pipeline.set_origin(self.source, &self.origin);
    }

    /// The pump has read these.
    pub fn input(&mut self, bytes: &[u8]) {
        self.asked = false;
        let room = self.cutter.room();
        room[..bytes.len()].copy_from_slice(bytes);
        self.cutter.filled(bytes.len());
    }

    /// The pump has met the end.
    pub fn end_of_input(&mut self) {
        self.ended = true;
        self.cutter.finish();
    }

    /// What is neither taken nor left in the input: parts of lines that have not ended.
    #[must_use]
    pub fn held(&self) -> Counts {
        self.join.counts()
    }

    /// Takes the lines that are there, then asks for more.
    pub fn turn(&mut self, now: Now) -> StdinDone {
        let tenant = self.pipeline.tenant(self.source);
        let ready = self.pipeline.reserve(tenant, READ_BYTES as u64, now);
        let stop = ready.err().or_else(|| self.take(now));
        self.pipeline.settle_down(|_| false, now);
        match stop {
            Some(Stop::NoPermit) => StdinDone::Done(Done::NoPermit),
            Some(Stop::Busy | Stop::Ahead(_) | Stop::Paced) => StdinDone::Done(Done::Busy),
            None if self.ended => StdinDone::End,
            None if self.asked || self.cutter.room().len() < READ_BYTES => {
                StdinDone::Done(Done::Idle(self.wake_at()))
            }
            None => {
                self.asked = true;
                StdinDone::WantsInput
            }
        }
    }

    /// When a turn is wanted though nothing was read.
    #[must_use]
    pub fn wake_at(&self) -> Duration {
        let wait = self.pipeline.wait(self.source);
        wait.and_then(|wait| self.join.rests_until(wait)).unwrap_or(Duration::MAX)
    }

    fn take(&mut self, now: Now) -> Option<Stop> {
        self.pipeline.begin(self.source, now);
        let from = From { source: self.source, stretch: None, limit: UnixNanos(i64::MAX) };
        let (join, stamp) = (&mut self.join, &mut self.stamp);
        let mut stop = self.pipeline.unfinished(from, join, stamp, now).err();
        while stop.is_none()
            && let Some(line) = self.cutter.line()
        {
            let input = Counts { lines: 1, bytes: line.input_bytes };
            let text = Line { bytes: line.bytes, truncated_from: line.truncated_from };
            let text = Text::Piece(Piece { line: text, input, at: self.at });
            stop = self.pipeline.line(from, text, &mut self.join, &mut self.stamp, now).err();
            if stop.is_some() {
                break;
            }
            self.at.0 += input.bytes;
            self.cutter.consume();
        }
        if self.ended && stop.is_none() {
            self.join.give_up_all();
        } else if let Some(wait) = self.pipeline.wait(self.source) {
            self.join.rest(wait, now);
        }
        let stop = stop
            .or_else(|| self.pipeline.unfinished(from, &mut self.join, &mut self.stamp, now).err());
        let Stretch { too_old, .. } = self.pipeline.end(self.source);
        if 0 < too_old && !std::mem::replace(&mut self.had_too_old, true) {
            warn!(
                lines = too_old,
                "lines of standard input are older than `limits.age` and are dropped as \
                 `too_old`; this is said once, and `skald_lines_dropped_total` counts",
            );
        }
        stop
    }
}

/// Reads `input` into buffers as they are asked for, and copies it to `tee`.
pub(super) fn pump(
    mut input: impl Read,
    asked: &Receiver<Vec<u8>>,
    worker: &Doorbell,
    mut tee: Option<Tee>,
    name: &str,
    failed: &AtomicBool,
) {
    while let Ok(mut buf) = asked.recv() {
        buf.resize(READ_BYTES, 0);
        let len = loop {
            match input.read(&mut buf) {
                Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
                Err(err) => {
                    error!(input = name, error = %err, "cannot read on; taking it as its end");
                    failed.store(true, Ordering::Relaxed);
                    break 0;
                }
                Ok(len) => break len,
            }
        };
        if len == 0 {
            break;
        }
        buf.truncate(len);
        if let Some(tee) = &mut tee {
            tee.copy(&buf);
        }
        worker.tell(Told::Input(buf));
    }
    if let Some(tee) = tee {
        tee.finish();
    }
    worker.tell(Told::EndOfInput);
}

/// Copies standard input to standard output without ever stopping it for long.
#[derive(Debug)]
pub(super) struct Tee {
    chunks: SyncSender<Vec<u8>>,
    written: Receiver<()>,
    metrics: Metrics,
    skipping: bool,
}

impl Tee {
    /// Starts the thread that writes to `output`.
    ///
    /// # Errors
    /// When no thread can be started.
    pub(super) fn start(output: impl Write + Send + 'static, metrics: Metrics) -> io::Result<Self> {
        let (chunks, queue) = sync_channel::<Vec<u8>>(TEE_CHUNKS_MAX);
        let (done, written) = sync_channel(TEE_CHUNKS_MAX + 1);
        std::thread::Builder::new()
            .name("skald-tee".to_owned())
            .spawn(move || write_all(output, &queue, &done))?;
        Ok(Self { chunks, written, metrics, skipping: false })
    }

    fn copy(&mut self, bytes: &[u8]) {
        while self.written.try_recv().is_ok() {}
        let mut chunk = bytes.to_vec();
        loop {
            match self.chunks.try_send(chunk) {
                Ok(()) => {
                    self.skipping = false;
                    return;
                }
                Err(TrySendError::Full(back)) if !self.skipping => {
                    chunk = back;
                    if self.written.recv_timeout(TEE_WAIT_MAX).is_err() {
                        self.skip(chunk.len(), "standard output is blocked");
                        return;
                    }
                }
                Err(TrySendError::Full(_)) => return self.count(bytes.len()),
                Err(TrySendError::Disconnected(_)) => {
                    return self.skip(bytes.len(), "standard output is closed");
                }
            }
        }
    }

    fn skip(&mut self, bytes: usize, why: &str) {
        if !self.skipping {
            warn!("{why}: the input is shipped and not copied; `skald_tee_skipped_bytes` counts");
        }
        self.skipping = true;
        self.count(bytes);
    }

    fn count(&self, bytes: usize) {
        self.metrics.tee_skipped_bytes.inc_by(bytes as u64);
    }

    /// Waits for what is queued, as long as standard output takes it.
    fn finish(self) {
        drop(self.chunks);
        while self.written.recv_timeout(TEE_WAIT_MAX).is_ok() {}
    }
}

fn write_all(mut output: impl Write, queue: &Receiver<Vec<u8>>, done: &SyncSender<()>) {
    for chunk in queue {
        if output.write_all(&chunk).and_then(|()| output.flush()).is_err() {
            return;
        }
        let _ = done.try_send(());
    }
}
