//! Builds the agent from its configuration, runs it, and ends it in order.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::board::Board;
use super::clock::Clock;
use super::control::{self, Call, Discovery};
use super::error::AppError;
use super::file_log::FileLog;
use super::lane::{Ground, Lane, TROUBLE_AFTER};
use super::pipeline::{Pipeline, Source};
use super::pulse::Pulses;
use super::readers::{self, FileShell, StdinShell};
use super::registry::Registry;
use super::stdin::StdinWorker;
use super::wake::{Doorbell, Told};
use super::windows::Windows;
use super::worker::{Shared, Worker};
use crate::batch::{self, Sealed};
use crate::checkpoint::{self, Lock, State};
use crate::config::{Config, Input, Start};
use crate::discover::{self, Scanner, SourceGlobs};
use crate::model::{Now, Pool};
use crate::parse::{Guard, Plan};
use crate::push::{DeadLetters, Health, HttpTransport, Sender, StructuredMetadata};
use crate::tail;
use crate::telemetry::Metrics;

/// Sealed batches between a worker and its lane: one, so that the next is ready when the answer
/// comes. More would only hold memory.
const LANE_MAX: usize = 1;

/// A reader's buffer takes the longest line and this much more, so that a read is worth its call.
const CHUNK_BYTES_MIN: usize = 256 * 1024;

/// A rotated or deleted file is closed when nobody has written to it for this long.
const ROTATE_GRACE: Duration = Duration::from_secs(10);

/// What the command line adds to the configuration.
#[derive(Debug, Clone, Default)]
pub struct Extras {
    /// Copy standard input to standard output.
    pub tee: bool,
    /// How long delivery may take after the end of standard input; `None` is for ever.
    pub stdin_deadline: Option<Duration>,
    /// Reader threads for files; `None` is as many as cores, at most four.
    pub readers: Option<usize>,
}

/// What every part of the agent may look at.
#[derive(Debug, Clone)]
pub struct Common {
    /// Reads the time.
    pub clock: Clock,
    /// Every file.
    pub registry: Arc<Registry>,
    /// Every source.
    pub sources: Arc<[Source]>,
    /// The memory budget.
    pub pool: Pool,
    /// All counters.
    pub metrics: Metrics,
    health: Arc<Board>,
    pulses: Arc<Pulses>,
}

impl Common {
    /// Why `/ready` says no; empty when it says yes.
    #[must_use]
    pub fn not_ready(&self, now: Now) -> Vec<String> {
        let trouble = |health: Health| match health {
            Health::Holding { why, .. } => Some(format!("loki refuses pushes: {why}")),
            Health::Retrying { since, why, .. }
                if TROUBLE_AFTER <= now.mono.saturating_sub(since) =>
            {
                Some(format!("loki does not answer: {why}"))
            }
            Health::Fine | Health::Retrying { .. } => None,
        };
        let mut reasons: Vec<String> = self.health.all().into_iter().filter_map(trouble).collect();
        reasons.dedup();
        reasons
    }

    /// Which threads have not been heard of lately.
    #[must_use]
    pub fn not_healthy(&self, now: Now) -> Vec<String> {
        self.pulses.silent(now)
    }

    pub(super) fn is_holding(&self) -> bool {
        self.health.all().iter().any(|health| matches!(health, Health::Holding { .. }))
    }
}

/// What is left when the agent ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ended {
    /// Lines that Loki has.
    pub delivered: u64,
    /// Lines dropped, for whatever reason.
    pub dropped: u64,
    /// Lines of files that were read and not settled: they are read again by the next run.
    pub unsettled: u64,
}

impl Ended {
    /// Whether all that was read was delivered.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.dropped == 0 && self.unsettled == 0
    }
}

/// An agent that is built and runs.
#[derive(Debug)]
pub struct Agent {
    common: Common,
    ground: Ground,
    lanes: JoinSet<()>,
    readers: Vec<(Doorbell, JoinHandle<()>)>,
    stdin: Option<(Doorbell, JoinHandle<()>)>,
    stdin_ended: mpsc::Receiver<()>,
    control: (SyncSender<Call>, JoinHandle<()>),
    shutdown_deadline: Duration,
    stdin_deadline: Option<Duration>,
    /// Held while the agent lives.
    _lock: Option<Lock>,
}

/// Where a worker puts its batches, its bell, and its inbox.
type Entrance = (mpsc::Sender<Sealed>, Doorbell, Receiver<Told>);

/// Parts on their way to an [`Agent`].
struct Builder {
    config: Config,
    extras: Extras,
    common: Common,
    ground: Ground,
    transport: Arc<HttpTransport>,
    windows: Arc<Windows>,
    lanes: JoinSet<()>,
    bells: Arc<std::sync::Mutex<Vec<Doorbell>>>,
}

impl Agent {
    /// Builds everything that can fail, then starts reading. To be called inside a runtime of
    /// tokio, which carries the pushes.
    ///
    /// # Errors
    /// [`AppError`] says what cannot work: the state folder, the way to Loki, a glob.
    pub fn start(mut config: Config, extras: Extras, metrics: Metrics) -> Result<Self, AppError> {
        raise_descriptor_limit();
        let (lock, saved) = match &config.state_dir {
            Some(folder) => {
                let lock = checkpoint::lock(folder)?;
                let loaded = checkpoint::load(&mut super::Disk, folder)?;
                for damage in &loaded.damage {
                    warn!(damage, "part of the checkpoint is damaged; those files are read again");
                }
                if !loaded.damage.is_empty() {
                    start_at_beginning(&mut config.sources);
                }
                (Some(lock), loaded.state)
            }
            None => (None, State::default()),
        };
        let transport = Arc::new(HttpTransport::new(config.push.clone())?);
        let mut builder = Builder::new(config, extras, metrics, saved, transport);
        let scanner = builder.scanner()?;
        let (calls, inbox) = control::calls();
        let readers = if scanner.is_some() { builder.readers()? } else { Vec::new() };
        let (ended, stdin_ended) = mpsc::channel(1);
        let stdin = builder.stdin(ended)?;
        let discovery = scanner.map(|scanner| {
            let bells = readers.iter().map(|(bell, _)| Doorbell::clone(bell)).collect();
            let windows = Arc::clone(&builder.windows);
            Discovery::new(scanner, bells, builder.are_from_end(), windows, calls.clone())
        });
        let control = builder.control(discovery, inbox)?;
        Ok(Self {
            common: builder.common,
            ground: builder.ground,
            lanes: builder.lanes,
            readers,
            stdin,
            stdin_ended,
            control: (calls, control),
            shutdown_deadline: builder.config.shutdown_deadline,
            stdin_deadline: builder.extras.stdin_deadline,
            _lock: lock,
        })
    }

    /// What every part of the agent may look at.
    #[must_use]
    pub fn common(&self) -> &Common {
        &self.common
    }

    /// Runs until `stop`, or until the end of standard input if that is the only source; then
    /// delivers what was read, saves, and says what is left.
    pub async fn run(mut self, stop: CancellationToken) -> Ended {
        let finite = self.readers.is_empty();
        let told = loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break true,
                _ = self.stdin_ended.recv(), if self.stdin.is_some() => {
                    if finite {
                        break false;
                    }
                    info!("standard input has ended; files are read on");
                    self.stdin = None;
                }
            }
        };
        let deadline = if told { Some(self.shutdown_deadline) } else { self.stdin_deadline };
        self.drain(deadline).await
    }

    async fn drain(mut self, deadline: Option<Duration>) -> Ended {
        let _ = self.control.0.try_send(Call::StopScanning);
        for (bell, _) in &self.readers {
            bell.tell(Told::Stop);
        }
        let lanes = async { while self.lanes.join_next().await.is_some() {} };
        match deadline {
            None => lanes.await,
            Some(deadline) => {
                if tokio::time::timeout(deadline, lanes).await.is_err() {
                    warn!(?deadline, "the deadline has passed; leaving what is not acknowledged");
                    self.ground.give_up.cancel();
                    if let Some((bell, _)) = &self.stdin {
                        bell.tell(Told::Stop);
                    }
                    while self.lanes.join_next().await.is_some() {}
                }
            }
        }
        self.finish().await
    }

    async fn finish(self) -> Ended {
        let Self { common, readers, stdin, control, .. } = self;
        let waits = tokio::task::spawn_blocking(move || {
            for (_, thread) in readers {
                let _ = thread.join();
            }
            // The thread for standard input may be stuck in a read that nothing ends.
            drop(stdin);
            let _ = control.0.send(Call::End);
            let _ = control.1.join();
        });
        let _ = waits.await;
        ended(&common)
    }
}

fn ended(common: &Common) -> Ended {
    let metrics = &common.metrics;
    let dropped = crate::model::Reason::ALL
        .into_iter()
        .map(|reason| metrics.lines_dropped.get_or_create(&reason.into()).get())
        .sum();
    let unsettled = metrics.lines_in_flight.get().max(0);
    Ended {
        delivered: metrics.lines_delivered.get(),
        dropped,
        unsettled: u64::try_from(unsettled).unwrap_or(0),
    }
}

impl Builder {
    fn new(
        config: Config,
        extras: Extras,
        metrics: Metrics,
        saved: State,
        transport: Arc<HttpTransport>,
    ) -> Self {
        let clock = Clock::start();
        let sources: Arc<[Source]> = config.sources.iter().map(|s| source(s, &saved)).collect();
        let bells: Arc<std::sync::Mutex<Vec<Doorbell>>> = Arc::default();
        let waiting = Arc::clone(&bells);
        let pool = Pool::new(config.memory.in_flight, move || {
            let bells = waiting.lock().expect("BUG: a thread panicked while it held the bells");
            bells.iter().for_each(Doorbell::fed);
        });
        let names = sources.iter().map(|source| source.name.as_str().into()).collect();
        let registry = Arc::new(Registry::new(names, saved.files));
        let health = Arc::new(Board::default());
        let dead_letters = config
            .state_dir
            .as_ref()
            .map(|folder| Arc::new(DeadLetters::new(folder, config.dead_letters.bytes_max)));
        let ground = Ground {
            clock,
            registry: Arc::clone(&registry),
            metrics: metrics.clone(),
            dead_letters,
            health: Arc::clone(&health),
            give_up: CancellationToken::new(),
        };
        let common =
            Common { clock, registry, sources, pool, metrics, health, pulses: Arc::default() };
        let windows = Arc::new(Windows::new(common.sources.len()));
        Self { config, extras, common, ground, transport, windows, lanes: JoinSet::new(), bells }
    }

    fn scanner(&self) -> Result<Option<Scanner>, AppError> {
        let sources: Vec<SourceGlobs> = self
            .config
            .sources
            .iter()
            .enumerate()
            .filter_map(|(idx, source)| match &source.input {
                Input::Files { globs, exclude, symlink_roots, .. } => Some(SourceGlobs {
                    source: control::numbered(idx),
                    globs: globs.clone(),
                    exclude: exclude.clone(),
                    symlink_roots: symlink_roots.clone(),
                }),
                Input::Stdin => None,
            })
            .collect();
        if sources.is_empty() {
            return Ok(None);
        }
        Ok(Some(Scanner::new(&discover::Options { sources })?))
    }

    fn are_from_end(&self) -> Vec<bool> {
        let is_end = |input: &Input| matches!(input, Input::Files { start: Start::End, .. });
        self.config.sources.iter().map(|source| is_end(&source.input)).collect()
    }

    fn pipeline(&self, stamps_follow: bool) -> Pipeline {
        let options = batch::Options {
            bytes_max: self.config.batch.bytes_max,
            age_max: self.config.batch.age_max,
            streams_max: self.config.memory.streams,
            metadata: self.config.push.structured_metadata != StructuredMetadata::Off,
        };
        let Common { sources, pool, metrics, .. } = &self.common;
        Pipeline::new(Arc::clone(sources), stamps_follow, options, pool.clone(), metrics.clone())
    }

    /// Starts the lane of one more worker. Returns its entrance, its bell and its inbox.
    fn lane(&mut self, is_stdin: bool) -> Entrance {
        let (batches, queue) = mpsc::channel(LANE_MAX);
        let (bell, inbox) = Doorbell::new();
        let number = self.ground.health.add();
        self.bells.lock().expect("BUG: nothing else runs yet").push(bell.clone());
        let sender = Sender::new(&self.config.push, fastrand::u64(..));
        let lane = Lane { number, batches: queue, worker: bell.clone(), sender, is_stdin };
        let (transport, ground) = (Arc::clone(&self.transport), self.ground.clone());
        self.lanes.spawn(async move { lane.run(&*transport, &ground).await });
        (batches, bell, inbox)
    }

    fn readers(&mut self) -> Result<Vec<(Doorbell, JoinHandle<()>)>, AppError> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let readers = self.extras.readers.unwrap_or_else(|| cores.min(4)).max(1);
        let line_bytes = usize::try_from(self.config.limits.line_bytes).unwrap_or(usize::MAX);
        let mut threads = Vec::new();
        for idx in 0..readers as u64 {
            let options = tail::Options {
                chunk_bytes: CHUNK_BYTES_MIN.max(line_bytes + 1),
                grace: ROTATE_GRACE,
                look_busy: Duration::from_secs(1),
                look_idle: Duration::from_secs(10),
                keys: (idx, readers as u64),
            };
            let registry = Arc::clone(&self.common.registry);
            let shared = Shared { registry, windows: Arc::clone(&self.windows) };
            let log = FileLog::new(self.common.metrics.clone());
            let worker = Worker::new(options, self.pipeline(true), shared, log);
            let (batches, bell, inbox) = self.lane(false);
            let (clock, name) = (self.common.clock, format!("skald-read-{idx}"));
            let pulse = self.common.pulses.add(&name, clock.now());
            let shell = FileShell { worker, batches, inbox, bell: bell.clone(), clock, pulse };
            let thread = spawn(&name, move || shell.run())?;
            threads.push((bell, thread));
        }
        Ok(threads)
    }

    fn stdin(
        &mut self,
        ended: mpsc::Sender<()>,
    ) -> Result<Option<(Doorbell, JoinHandle<()>)>, AppError> {
        let is_stdin = |source: &crate::config::Source| source.input == Input::Stdin;
        let Some(idx) = self.config.sources.iter().position(is_stdin) else { return Ok(None) };
        let line_bytes = usize::try_from(self.config.limits.line_bytes).unwrap_or(usize::MAX);
        let worker = StdinWorker::new(control::numbered(idx), line_bytes, self.pipeline(false));
        let (batches, bell, inbox) = self.lane(true);
        let (asks, asked) = sync_channel(1);
        let tee = if self.extras.tee {
            let output = io::stdout();
            let tee = super::stdin::Tee::start(output, self.common.metrics.clone());
            Some(tee.map_err(AppError::Thread)?)
        } else {
            None
        };
        let pump_bell = bell.clone();
        spawn("skald-stdin", move || {
            super::stdin::pump(io::stdin().lock(), &asked, &pump_bell, tee);
        })?;
        let (clock, metrics) = (self.common.clock, self.common.metrics.clone());
        let (pulse, own_bell) = (self.common.pulses.add("skald-lines", clock.now()), bell.clone());
        let shell =
            StdinShell { worker, batches, inbox, bell: own_bell, asks, clock, metrics, pulse };
        let thread = spawn("skald-lines", move || {
            shell.run();
            drop(ended);
        })?;
        Ok(Some((bell, thread)))
    }

    fn control(
        &self,
        discovery: Option<Discovery>,
        inbox: Receiver<Call>,
    ) -> Result<JoinHandle<()>, AppError> {
        let common = self.common.clone();
        let folder: Option<PathBuf> = self.config.state_dir.clone();
        let pulse = common.pulses.add("skald-control", common.clock.now());
        spawn("skald-control", move || {
            control::run(discovery, &common, folder.as_ref(), &inbox, &pulse);
        })
    }
}

fn source(source: &crate::config::Source, saved: &State) -> Source {
    let plan = Arc::new(Plan::compile(&source.parse));
    let mut guard = Guard::new(&plan);
    // A decision holds until the limit it was made by is raised.
    let demoted = saved.demoted.iter().filter(|demoted| {
        demoted.source == source.name && source.parse.guard_values <= demoted.values_max
    });
    guard.restore(&demoted.map(|demoted| demoted.label.clone()).collect::<Vec<_>>());
    Source {
        name: source.name.clone(),
        plan,
        guard: std::sync::Mutex::new(guard),
        values_max: source.parse.guard_values,
    }
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, AppError> {
    readers::spawn(name, run).map_err(AppError::Thread)
}

/// A file that the checkpoint has lost was read up to an unknown place: from its end there may be
/// a gap, from its beginning there are only repeats.
fn start_at_beginning(sources: &mut [crate::config::Source]) {
    for source in sources {
        if let Input::Files { start, .. } = &mut source.input {
            *start = Start::Beginning;
        }
    }
}

/// Each file is an open descriptor.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        warn!(%error, "cannot raise the limit on open files");
    }
}
