//! The shells of the workers: threads that wait, call a step, and obey its answer.

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tracing::error;

use super::clock::Clock;
use super::files::{Disk, LogFile};
use super::lane;
use super::pipeline::Pipeline;
use super::pulse::Pulse;
use super::stdin::{READ_BYTES, StdinDone, StdinWorker};
use super::wake::{Doorbell, Told};
use super::worker::{Done, Worker};
use crate::batch::Sealed;
use crate::telemetry::Metrics;

/// Waiting for memory, a lane or another file is cut short by a ring; this is for rings missed.
const WAIT_MAX: Duration = Duration::from_millis(100);

/// How much is heard between two turns.
const HEARD_MAX: usize = 1024;

/// A file that waits for a slower one of another worker is tried again after this.
const HELD_PAUSE: Duration = Duration::from_millis(20);

/// The thread of a worker for files.
#[derive(Debug)]
pub(super) struct FileShell {
    /// The step.
    pub worker: Worker<LogFile>,
    /// The way of its batches.
    pub batches: mpsc::Sender<Sealed>,
    /// What it is told.
    pub inbox: Receiver<Told>,
    /// The other end of `inbox`.
    pub bell: Doorbell,
    /// Reads the time.
    pub clock: Clock,
    /// Says that it lives.
    pub pulse: Pulse,
}

impl FileShell {
    /// Runs until it is told to stop, then hands over what is open.
    pub(super) fn run(mut self) {
        let mut done = Done::Lines;
        loop {
            let wait = self.wait(done);
            if self.hear(wait) {
                break;
            }
            let now = self.clock.now();
            self.pulse.beat(now);
            done = self.worker.turn(now, &mut Disk);
            if !hand_over(&mut self.worker.pipeline, &self.batches) {
                return;
            }
        }
        let now = self.clock.now();
        self.worker.end(now);
        self.worker.pipeline.seal(now);
        hand_over_all(&mut self.worker.pipeline, &self.batches);
    }

    /// How long to wait after a turn that came to `done`.
    fn wait(&self, done: Done) -> Duration {
        match done {
            Done::Lines => Duration::ZERO,
            Done::Held if self.worker.all_held() => HELD_PAUSE,
            Done::Held => Duration::ZERO,
            Done::NoPermit => {
                self.bell.set_hungry();
                WAIT_MAX
            }
            Done::Busy => WAIT_MAX,
            Done::Idle(until) => until_due(until, &self.worker.pipeline, self.clock),
        }
    }

    /// Waits for something to be told, and takes all of it. Returns whether to stop.
    fn hear(&mut self, wait: Duration) -> bool {
        let first = match wait {
            Duration::ZERO => self.inbox.try_recv().ok(),
            wait => match self.inbox.recv_timeout(wait) {
                Ok(told) => Some(told),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return true,
            },
        };
        let Some(first) = first else { return false };
        let now = self.clock.now();
        // Not all there is: hints may come faster than they are taken.
        let more: Vec<Told> = self.inbox.try_iter().take(HEARD_MAX).collect();
        for told in std::iter::once(first).chain(more) {
            match told {
                Told::Wake | Told::Input(_) | Told::EndOfInput => {}
                Told::Found(new) => self.worker.found(new, now, &mut Disk),
                Told::Renamed(inode, new) => self.worker.renamed(inode, new, now, &mut Disk),
                Told::Gone(inode) => self.worker.gone(inode, now),
                Told::Data(path) => self.worker.hint(&path, now, &mut Disk),
                Told::Stop => return true,
            }
        }
        false
    }
}

/// The thread of the worker for standard input.
#[derive(Debug)]
pub(super) struct StdinShell {
    /// The step.
    pub worker: StdinWorker,
    /// The way of its batches.
    pub batches: mpsc::Sender<Sealed>,
    /// What it is told.
    pub inbox: Receiver<Told>,
    /// The other end of `inbox`.
    pub bell: Doorbell,
    /// Gives the pump an empty buffer.
    pub asks: SyncSender<Vec<u8>>,
    /// Reads the time.
    pub clock: Clock,
    /// Counts what nobody will read again.
    pub metrics: Metrics,
    /// Says that it lives.
    pub pulse: Pulse,
}

impl StdinShell {
    /// Runs until the end of the input is taken, or until it is told to stop.
    pub(super) fn run(mut self) {
        let mut buf = Vec::with_capacity(READ_BYTES);
        let mut done = StdinDone::Done(Done::Lines);
        loop {
            let wait = match done {
                StdinDone::End => break,
                StdinDone::WantsInput => {
                    // The pump has ended if nobody takes it, and has said so.
                    let _ = self.asks.send(std::mem::take(&mut buf));
                    until_due(Duration::MAX, &self.worker.pipeline, self.clock)
                }
                StdinDone::Done(Done::NoPermit) => {
                    self.bell.set_hungry();
                    WAIT_MAX
                }
                StdinDone::Done(Done::Idle(until)) => {
                    until_due(until, &self.worker.pipeline, self.clock)
                }
                StdinDone::Done(Done::Busy) => WAIT_MAX,
                StdinDone::Done(Done::Lines | Done::Held) => Duration::ZERO,
            };
            match self.inbox.recv_timeout(wait) {
                Ok(Told::Input(bytes)) => {
                    self.worker.input(&bytes);
                    buf = bytes;
                }
                Ok(Told::EndOfInput) => self.worker.end_of_input(),
                Ok(Told::Stop) | Err(RecvTimeoutError::Disconnected) => break,
                Ok(_) | Err(RecvTimeoutError::Timeout) => {}
            }
            let now = self.clock.now();
            self.pulse.beat(now);
            done = self.worker.turn(now);
            if !hand_over(&mut self.worker.pipeline, &self.batches) {
                break;
            }
        }
        self.worker.pipeline.seal(self.clock.now());
        hand_over_all(&mut self.worker.pipeline, &self.batches);
        while let Some(sealed) = self.worker.pipeline.take_sealed() {
            lane::abandon(&self.metrics, sealed.receipt.counts);
        }
    }
}

/// Until there is something to read, or the open batch wants to go.
fn until_due(until: Duration, pipeline: &Pipeline, clock: Clock) -> Duration {
    let now = clock.now().mono;
    if pipeline.has_sealed() {
        return WAIT_MAX;
    }
    let due = pipeline.due_at().map_or(until, |due| due.min(until));
    // A thread that waits for ever cannot be told from a dead one.
    due.saturating_sub(now).min(Duration::from_secs(10))
}

/// Gives the lane what it takes. Returns whether the lane is still there.
fn hand_over(pipeline: &mut Pipeline, batches: &mpsc::Sender<Sealed>) -> bool {
    while let Some(sealed) = pipeline.take_sealed() {
        match batches.try_send(sealed) {
            Ok(()) => {}
            Err(TrySendError::Full(sealed)) => {
                pipeline.put_back(sealed);
                return true;
            }
            Err(TrySendError::Closed(sealed)) => {
                pipeline.put_back(sealed);
                return false;
            }
        }
    }
    true
}

/// Waits for the lane to take everything, or to end.
fn hand_over_all(pipeline: &mut Pipeline, batches: &mpsc::Sender<Sealed>) {
    while let Some(sealed) = pipeline.take_sealed() {
        if let Err(mpsc::error::SendError(sealed)) = batches.blocking_send(sealed) {
            pipeline.put_back(sealed);
            return;
        }
    }
}

/// Starts a thread. A panic in it is a bug: it ends the process, and the next run goes on from the
/// checkpoint.
pub(super) fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    let thread = std::thread::Builder::new().name(name.to_owned());
    thread.spawn(move || {
        if std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).is_err() {
            error!(
                "a thread of skald has panicked, which is a bug; ending, to start again from \
                    the checkpoint"
            );
            std::process::abort();
        }
    })
}
