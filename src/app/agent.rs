//! Builds the agent from its configuration, runs it, and ends it in order.

use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::mpsc::SyncSender;
use std::thread::JoinHandle;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::build::{self, Builder, Extras, Reader};
use super::common::Common;
use super::control::{self, Call, Discovery};
use super::error::AppError;
use super::files::Disk;
use super::reload::{Reloads, Request};
use super::wake::{Doorbell, Told};
use crate::checkpoint::{self, Lock, State};
use crate::config::Config;
use crate::model::{Counts, Reason};
use crate::push::HttpTransport;
use crate::telemetry::Metrics;

/// What became of all lines when the agent ends: `read` is the sum of the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ended {
    /// What was read.
    pub read: Counts,
    /// What Loki has.
    pub delivered: Counts,
    /// What the rules asked to leave out, see [`Reason::is_wanted`].
    pub left_out: Counts,
    /// What was dropped for any other reason.
    pub dropped: Counts,
    /// What of files was read and not settled: it is read again by the next run.
    pub unsettled: Counts,
    /// Bytes that were gone before they could be read.
    pub lost: u64,
    /// An input that is no file could not be read to its end.
    pub input_failed: bool,
}

impl Ended {
    /// Whether all that was read was delivered, but for what the rules left out.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        let Self { dropped, unsettled, lost, input_failed, .. } = self;
        dropped.lines == 0 && unsettled.lines == 0 && *lost == 0 && !input_failed
    }
}

/// An agent that is built and runs.
pub struct Agent {
    pub(super) builder: Builder,
    pub(super) readers: Vec<Reader>,
    pipes: Vec<Reader>,
    stdin_ended: mpsc::Receiver<()>,
    pub(super) control: (SyncSender<Call>, JoinHandle<()>),
    /// Held while the agent lives.
    _lock: Option<Lock>,
}

impl fmt::Debug for Agent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Agent")
    }
}

impl Agent {
    /// Builds everything that can fail, then starts reading. To be called inside a runtime of
    /// tokio, which carries the pushes.
    ///
    /// # Errors
    /// [`AppError`] says what cannot work: the state folder, the way to Loki, a glob.
    pub fn start(config: Config, extras: Extras, metrics: Metrics) -> Result<Self, AppError> {
        build::raise_descriptor_limit();
        let (lock, saved, has_forgotten) = match &config.state_dir {
            Some(folder) => {
                let lock = checkpoint::lock(folder)?;
                let loaded = checkpoint::load(&mut Disk, folder)?;
                for damage in &loaded.damage {
                    warn!(damage, "part of the checkpoint is damaged; those files are read again");
                }
                (Some(lock), loaded.state, !loaded.damage.is_empty())
            }
            None => (None, State::default(), false),
        };
        let transport = HttpTransport::new(config.push.clone())?;
        let mut builder = Builder::new(config, extras, metrics, saved, transport);
        let setup = builder.common.current.setup();
        let scanner = build::scanner(&setup)?;
        let (calls, inbox) = control::calls();
        let readers = if scanner.is_some() { builder.readers(&setup)? } else { Vec::new() };
        let (ended, stdin_ended) = mpsc::channel(1);
        let pipes = builder.pipes(&setup, &ended)?;
        drop(ended);
        let discovery = scanner.map(|scanner| {
            let bells = readers.iter().map(|(bell, _)| Doorbell::clone(bell)).collect();
            Discovery::new(
                scanner,
                bells,
                builder.finder(&setup, has_forgotten),
                calls.clone(),
                builder.common.clock,
            )
        });
        let control = builder.control(discovery, inbox)?;
        builder.follow(&setup, &calls);
        builder.common.metrics.loaded(builder.common.clock.now().wall);
        Ok(Self { builder, readers, pipes, stdin_ended, control: (calls, control), _lock: lock })
    }

    /// What every part of the agent may look at.
    #[must_use]
    pub fn common(&self) -> &Common {
        &self.builder.common
    }

    /// Runs until `stop`, or until the end of standard input if that is the only source; then
    /// delivers what was read, saves, and says what is left.
    pub async fn run(mut self, stop: CancellationToken) -> Ended {
        let finite = self.readers.is_empty() || self.builder.extras.end_with_pipes;
        let told = loop {
            let reloads = self.builder.extras.reloads.as_mut();
            tokio::select! {
                biased;
                () = stop.cancelled() => break true,
                _ = self.stdin_ended.recv(), if !self.pipes.is_empty() => {
                    if finite {
                        break false;
                    }
                    info!("standard input has ended; files are read on");
                    self.pipes.clear();
                }
                Some(request) = wanted(reloads) => {
                    // Who has asked may be gone.
                    let _ = request.send(self.reload().await);
                }
            }
        };
        self.drain(told, stop).await
    }

    /// Delivers what was read: until the deadline of a shutdown, once `stop` says so; before, until
    /// that of standard input, if it has one.
    async fn drain(mut self, told: bool, stop: CancellationToken) -> Ended {
        let _ = self.control.0.try_send(Call::StopScanning);
        for (bell, _) in &self.readers {
            bell.tell(Told::Stop);
        }
        let deadline = async {
            if !told {
                let end = async {
                    match self.builder.extras.stdin_deadline {
                        Some(deadline) => tokio::time::sleep(deadline).await,
                        None => std::future::pending().await,
                    }
                };
                tokio::select! {
                    () = end => return,
                    () = stop.cancelled() => {}
                }
            }
            tokio::time::sleep(self.builder.config.shutdown_deadline).await;
        };
        let is_drained = tokio::select! {
            () = async { while self.builder.lanes.join_next().await.is_some() {} } => true,
            () = deadline => false,
        };
        if !is_drained {
            warn!("the deadline has passed; leaving what is not acknowledged");
            self.builder.ground.give_up.cancel();
            for (bell, _) in &self.pipes {
                bell.tell(Told::Stop);
            }
            while self.builder.lanes.join_next().await.is_some() {}
        }
        self.finish().await
    }

    async fn finish(self) -> Ended {
        let Self { builder: Builder { common, .. }, readers, pipes, control, .. } = self;
        let waits = tokio::task::spawn_blocking(move || {
            for (_, thread) in readers {
                let _ = thread.join();
            }
            // The thread for standard input may be stuck in a read that nothing ends.
            drop(pipes);
            let _ = control.0.send(Call::End);
            let _ = control.1.join();
        });
        let _ = waits.await;
        ended(&common)
    }
}

/// The next one who wants the configuration to be read again.
async fn wanted(reloads: Option<&mut Reloads>) -> Option<Request> {
    reloads?.requests.recv().await
}

fn ended(common: &Common) -> Ended {
    let sources = common.current.sources();
    let names: Vec<&str> = sources.iter().map(|source| source.name.as_str()).collect();
    let input_failed = common.input_failed.load(Ordering::Relaxed);
    Ended { input_failed, ..counted(&common.metrics, &names) }
}

/// What became of all that was read of `sources`.
pub(super) fn counted(metrics: &Metrics, sources: &[&str]) -> Ended {
    let mut ended = Ended::default();
    for source in sources {
        let counters = metrics.source(source);
        let (lines, bytes) = (counters.lines_read.get(), counters.bytes_read.get());
        ended.read += Counts { lines, bytes };
    }
    for reason in Reason::ALL {
        let lines = metrics.lines_dropped.get_or_create(&reason.into()).get();
        let bytes = metrics.bytes_dropped.get_or_create(&reason.into()).get();
        let sum = if reason.is_wanted() { &mut ended.left_out } else { &mut ended.dropped };
        *sum += Counts { lines, bytes };
    }
    let (lines, bytes) = (metrics.lines_delivered.get(), metrics.bytes_delivered.get());
    ended.delivered = Counts { lines, bytes };
    let unsettled = |gauge: i64| u64::try_from(gauge).unwrap_or(0);
    let (lines, bytes) = (metrics.lines_in_flight.get(), metrics.bytes_in_flight.get());
    ended.lost = metrics.bytes_lost();
    ended.unsettled = Counts { lines: unsettled(lines), bytes: unsettled(bytes) };
    ended
}
