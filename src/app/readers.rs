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
use super::wake::{Adopt, Doorbell, NewWays, Told};
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
    /// The ways of its batches.
    pub ways: Ways,
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
            if !self.ways.hand_over(&mut self.worker.pipeline) {
                return;
            }
        }
        let now = self.clock.now();
        self.worker.end(now);
        self.worker.pipeline.seal(now);
        self.ways.hand_over_all(&mut self.worker.pipeline, &self.inbox);
    }

    /// How long to wait after a turn that came to `done`.
    fn wait(&self, done: Done) -> Duration {
        match done {
            Done::Lines => Duration::ZERO,
            Done::Held if self.worker.all_held() => HELD_PAUSE,
            Done::Held => Duration::ZERO,
            Done::NoPermit => {
                self.bell.set_hungry();
                pause(&self.worker.pipeline, self.clock)
            }
            Done::Busy => pause(&self.worker.pipeline, self.clock),
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
                Told::Found(new) => self.worker.found(*new, now, &mut Disk),
                Told::Renamed(inode, new) => self.worker.renamed(inode, *new, now, &mut Disk),
                Told::Gone(inode) => self.worker.gone(inode, now),
                Told::Known(inode) => self.worker.release(inode, now),
                Told::Left(inode, closed) => self.worker.leave(inode, closed, now),
                Told::Adopt(adopt) => {
                    let Adopt { setup, ways, budget, _done } = *adopt;
                    self.worker.adopt(&setup, budget);
                    self.ways.add(ways);
                }
                Told::Data { path, is_last } => {
                    self.worker.hint(&path, is_last, now, &mut Disk);
                }
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
    /// The ways of its batches.
    pub ways: Ways,
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
                    until_due(self.worker.wake_at(), &self.worker.pipeline, self.clock)
                }
                StdinDone::Done(Done::NoPermit) => {
                    self.bell.set_hungry();
                    WAIT_MAX
                }
                StdinDone::Done(Done::Idle(until)) => {
                    until_due(until, &self.worker.pipeline, self.clock)
                }
                StdinDone::Done(Done::Busy) => pause(&self.worker.pipeline, self.clock),
                StdinDone::Done(Done::Lines | Done::Held) => Duration::ZERO,
            };
            match self.inbox.recv_timeout(wait) {
                Ok(Told::Input(bytes)) => {
                    self.worker.input(&bytes);
                    buf = bytes;
                }
                Ok(Told::EndOfInput) => self.worker.end_of_input(),
                Ok(Told::Adopt(adopt)) => {
                    let Adopt { setup, ways, _done, .. } = *adopt;
                    self.worker.adopt(&setup);
                    self.ways.add(ways);
                }
                Ok(Told::Stop) | Err(RecvTimeoutError::Disconnected) => break,
                Ok(_) | Err(RecvTimeoutError::Timeout) => {}
            }
            let now = self.clock.now();
            self.pulse.beat(now);
            done = self.worker.turn(now);
            if !self.ways.hand_over(&mut self.worker.pipeline) {
                break;
            }
        }
        self.worker.pipeline.seal(self.clock.now());
        self.ways.hand_over_all(&mut self.worker.pipeline, &self.inbox);
        while let Some(sealed) = self.worker.pipeline.take_sealed() {
            lane::abandon(&self.metrics, sealed.receipt.counts);
        }
        lane::abandon(&self.metrics, self.worker.held());
    }
}

/// Until there is something to read, or an open batch wants to go.
fn until_due(until: Duration, pipeline: &Pipeline, clock: Clock) -> Duration {
    let now = clock.now().mono;
    let due = pipeline.due_at().map_or(until, |due| due.min(until));
    // A thread that waits for ever cannot be told from a dead one.
    let most = if pipeline.has_sealed() { WAIT_MAX } else { Duration::from_secs(10) };
    due.saturating_sub(now).min(most)
}

/// Until memory or a lane may be free, or an open batch wants to go.
fn pause(pipeline: &Pipeline, clock: Clock) -> Duration {
    until_due(Duration::MAX, pipeline, clock).min(WAIT_MAX)
}

/// The ways of a worker's batches to its lanes, by tenant; `None` for one that has no lines here.
#[derive(Debug)]
pub(super) struct Ways(Vec<Option<mpsc::Sender<Sealed>>>);

impl Ways {
    /// These.
    pub(super) fn new(ways: NewWays) -> Self {
        let mut all = Self(Vec::new());
        all.add(ways);
        all
    }

    fn add(&mut self, ways: NewWays) {
        for (tenant, way) in ways {
            self.0.resize_with(self.0.len().max(tenant.idx() + 1), || None);
            self.0[tenant.idx()] = Some(way);
        }
    }

    /// Gives each lane what it takes. Returns whether the lanes are still there.
    fn hand_over(&self, pipeline: &mut Pipeline) -> bool {
        let outbox = pipeline.outbox();
        for (tenant, way) in outbox.tenants().zip(&self.0) {
            while !outbox.is_empty_for(tenant) {
                let way = way.as_ref().expect("BUG: lines of a tenant without a lane");
                match way.try_reserve() {
                    Ok(place) => outbox.take(tenant).map_or((), |sealed| place.send(sealed)),
                    Err(TrySendError::Full(())) => break,
                    Err(TrySendError::Closed(())) => return false,
                }
            }
        }
        true
    }

    /// Waits for the lanes to take everything, or to end. A lane rings when it has taken a batch.
    fn hand_over_all(&self, pipeline: &mut Pipeline, inbox: &Receiver<Told>) {
        while self.hand_over(pipeline) && pipeline.has_sealed() {
            if matches!(inbox.recv_timeout(WAIT_MAX), Err(RecvTimeoutError::Disconnected)) {
                return;
            }
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
