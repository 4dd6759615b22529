//! Builds the parts of the agent from its configuration and starts their threads.

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::board::Board;
use super::clock::Clock;
use super::common::Common;
use super::control::{self, Call, Discovery};
use super::crowd::Crowd;
use super::error::AppError;
use super::file_log::FileLog;
use super::finder::Finder;
use super::lane::{Ground, Lane};
use super::pipeline::Pipeline;
use super::pipes::{Pipe, STDIN};
use super::readers::{self, FileShell, StdinShell, Ways};
use super::registry::Registry;
use super::sources::Source;
use super::stdin::StdinWorker;
use super::wake::{Doorbell, Told};
use super::windows::Windows;
use super::worker::{Shared, Worker};
use crate::batch::{self, Sealed};
use crate::checkpoint::State;
use crate::config::{Config, Input, READERS_MAX, Start};
use crate::discover::{self, Scanner, SourceGlobs};
use crate::model::{Origin, Pool, TenantId};
use crate::parse::{Guard, Plan};
use crate::push::{self, DeadLetters, HttpTransport, StructuredMetadata};
use crate::tail;
use crate::telemetry::Metrics;

/// Sealed batches between a worker and its lane: one, so that the next is ready when the answer
/// comes. More would only hold memory.
const LANE_MAX: usize = 1;

/// A reader's buffer takes the longest line and this much more, so that a read is worth its call.
const CHUNK_BYTES_MIN: usize = 256 * 1024;

/// A rotated or deleted file is closed when nobody has written to it for this long.
const ROTATE_GRACE: Duration = Duration::from_secs(10);

/// Descriptors that are not for log files: the state folder, notify, the runtime, connections.
const DESCRIPTORS_KEPT: usize = 40;

/// What the command line adds to the configuration.
#[derive(Debug, Default)]
pub struct Extras {
    /// What the source with `stdin: true` reads; none is standard input.
    pub pipes: Vec<Pipe>,
    /// The agent ends with them, even if there are files.
    pub end_with_pipes: bool,
    /// How long delivery may take after the end of standard input; `None` is for ever.
    pub stdin_deadline: Option<Duration>,
}

/// Where a worker puts its batches, its bell, and its inbox.
type Entrance = (Ways, Doorbell, Receiver<Told>);

/// Parts on their way to an agent.
pub(super) struct Builder {
    pub(super) config: Config,
    pub(super) extras: Extras,
    pub(super) common: Common,
    pub(super) ground: Ground,
    transport: Arc<HttpTransport>,
    pub(super) windows: Arc<Windows>,
    pub(super) lanes: JoinSet<()>,
    bells: Arc<Mutex<Vec<Doorbell>>>,
}

impl Builder {
    pub(super) fn new(
        config: Config,
        extras: Extras,
        metrics: Metrics,
        saved: State,
        transport: Arc<HttpTransport>,
    ) -> Self {
        let clock = Clock::start();
        let tenants: Arc<[Option<String>]> = config.tenants().into();
        let sources = config.sources.iter().map(|s| source(s, &tenants, &saved)).collect();
        let bells: Arc<Mutex<Vec<Doorbell>>> = Arc::default();
        let waiting = Arc::clone(&bells);
        let (limit, share) = (config.memory.in_flight, config.tenant_share());
        let pool = Pool::shared(limit, tenants.len(), share, move || {
            let bells = waiting.lock().expect("BUG: a thread panicked while it held the bells");
            bells.iter().for_each(Doorbell::fed);
        });
        let names = config.sources.iter().map(|source| source.name.as_str().into()).collect();
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
        let pulses = Arc::default();
        let input_failed = Arc::default();
        let common = Common {
            clock,
            registry,
            sources,
            tenants,
            pool,
            metrics,
            health,
            pulses,
            input_failed,
        };
        let windows = Arc::new(Windows::new(common.sources.len()));
        Self { config, extras, common, ground, transport, windows, lanes: JoinSet::new(), bells }
    }

    pub(super) fn scanner(&self) -> Result<Option<Scanner>, AppError> {
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

    pub(super) fn finder(&self, has_forgotten: bool) -> Finder {
        let is_end = |input: &Input| matches!(input, Input::Files { start: Start::End, .. });
        let from_end = self.config.sources.iter().map(|source| is_end(&source.input)).collect();
        let (registry, windows) = (Arc::clone(&self.common.registry), Arc::clone(&self.windows));
        Finder::new(registry, windows, from_end, has_forgotten)
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

    /// Starts the lanes of one more worker, one for each tenant of its sources. Returns their
    /// entrances, its bell and its inbox.
    fn lanes(&mut self, sources: &[usize], is_stdin: bool) -> Entrance {
        let (bell, inbox) = Doorbell::new();
        self.bells.lock().expect("BUG: nothing else runs yet").push(bell.clone());
        let tenants = Arc::clone(&self.common.tenants);
        let all = Arc::clone(&self.common.sources);
        let mut way = |(id, tenant): (usize, &Option<String>)| {
            let of_tenant = |idx: &&usize| all[**idx].tenants().any(|tenant| tenant.idx() == id);
            let own: Vec<usize> = sources.iter().filter(of_tenant).copied().collect();
            let crowd = Crowd::new(Arc::clone(&all), own.iter().copied());
            (!own.is_empty()).then(|| self.lane(tenant.as_deref(), crowd, &bell, is_stdin))
        };
        (Ways(tenants.iter().enumerate().map(&mut way).collect()), bell, inbox)
    }

    /// Starts a lane of `tenant` for the worker behind `bell`.
    fn lane(
        &mut self,
        tenant: Option<&str>,
        crowd: Crowd,
        bell: &Doorbell,
        is_stdin: bool,
    ) -> mpsc::Sender<Sealed> {
        let (entrance, batches) = mpsc::channel(LANE_MAX);
        let push = push::Options { tenant: tenant.map(str::to_owned), ..self.config.push.clone() };
        let health = &self.ground.health;
        let lane = Lane::new(&push, batches, bell.clone(), crowd, health, is_stdin);
        let (transport, ground) = (Arc::clone(&self.transport), self.ground.clone());
        self.lanes.spawn(async move { lane.run(&*transport, &ground).await });
        entrance
    }

    pub(super) fn readers(&mut self) -> Result<Vec<(Doorbell, JoinHandle<()>)>, AppError> {
        let cores = cores();
        let readers = cores.min(READERS_MAX).min(self.common.sources.len());
        let line_bytes = usize::try_from(self.config.limits.line_bytes).unwrap_or(usize::MAX);
        let budget = self.budget(readers);
        let mut threads = Vec::new();
        for reader in 0..readers {
            let idx = reader as u64;
            let options = tail::Options {
                chunk_bytes: CHUNK_BYTES_MIN.max(line_bytes + 1),
                grace: ROTATE_GRACE,
                look_busy: Duration::from_secs(1),
                look_idle: Duration::from_secs(10),
                keys: (idx, readers as u64),
                budget,
            };
            let registry = Arc::clone(&self.common.registry);
            let shared = Shared { registry, windows: Arc::clone(&self.windows) };
            let log = FileLog::new(self.common.metrics.clone());
            let is_own = |idx: &usize| control::reader_of(*idx, readers) == reader;
            let own: Vec<usize> = (0..self.common.sources.len()).filter(is_own).collect();
            let (ways, bell, inbox) = self.lanes(&own, false);
            let mut pipeline = self.pipeline(true);
            if 2 * readers <= cores {
                pipeline.help(format!("skald-press-{idx}"), bell.clone());
            }
            let worker = Worker::new(options, pipeline, shared, log);
            let (clock, name) = (self.common.clock, format!("skald-read-{idx}"));
            let pulse = self.common.pulses.add(&name, clock.now());
            let shell = FileShell { worker, ways, inbox, bell: bell.clone(), clock, pulse };
            let thread = spawn(&name, move || shell.run())?;
            threads.push((bell, thread));
        }
        Ok(threads)
    }

    /// What each of so many readers may keep open.
    fn budget(&self, readers: usize) -> tail::Budget {
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        let limit = usize::try_from(limit.unwrap_or(u64::MAX)).unwrap_or(usize::MAX);
        let readers = readers.max(1);
        let deleted = self.config.deleted;
        tail::Budget {
            open_files: (limit.saturating_sub(DESCRIPTORS_KEPT) / readers).max(1),
            deleted_files: (deleted.files_max / readers).max(1),
            deleted_bytes: deleted.bytes_max / readers as u64,
        }
    }

    /// Starts the workers of the source that is no files. Each drops its `ended` at its end.
    pub(super) fn pipes(
        &mut self,
        ended: &mpsc::Sender<()>,
    ) -> Result<Vec<(Doorbell, JoinHandle<()>)>, AppError> {
        let is_stdin = |source: &crate::config::Source| source.input == Input::Stdin;
        let Some(idx) = self.config.sources.iter().position(is_stdin) else { return Ok(vec![]) };
        let mut pipes = std::mem::take(&mut self.extras.pipes);
        if pipes.is_empty() {
            pipes.push(Pipe::stdin(false));
        }
        pipes.into_iter().map(|pipe| self.pipe(idx, pipe, ended.clone())).collect()
    }

    fn pipe(
        &mut self,
        idx: usize,
        pipe: Pipe,
        ended: mpsc::Sender<()>,
    ) -> Result<(Doorbell, JoinHandle<()>), AppError> {
        let Pipe { name, input, copy } = pipe;
        let line_bytes = usize::try_from(self.config.limits.line_bytes).unwrap_or(usize::MAX);
        let (ways, bell, inbox) = self.lanes(&[idx], true);
        let mut pipeline = self.pipeline(false);
        if 2 <= cores() {
            pipeline.help("skald-press-in".to_owned(), bell.clone());
        }
        let source = control::numbered(idx);
        if name != STDIN {
            pipeline.set_origin(source, &Origin::from_iter([("stream", name)]));
        }
        let worker = StdinWorker::new(source, line_bytes, pipeline);
        let (asks, asked) = sync_channel(1);
        let tee = copy.map(|copy| super::stdin::Tee::start(copy, self.common.metrics.clone()));
        let tee = tee.transpose().map_err(AppError::Thread)?;
        let (pump_bell, failed) = (bell.clone(), Arc::clone(&self.common.input_failed));
        spawn(&format!("skald-{name}"), move || {
            super::stdin::pump(input, &asked, &pump_bell, tee, name, &failed);
        })?;
        let (clock, metrics) = (self.common.clock, self.common.metrics.clone());
        let (pulse, own_bell) = (self.common.pulses.add("skald-lines", clock.now()), bell.clone());
        let shell = StdinShell { worker, ways, inbox, bell: own_bell, asks, clock, metrics, pulse };
        let thread = spawn("skald-lines", move || {
            shell.run();
            drop(ended);
        })?;
        Ok((bell, thread))
    }

    pub(super) fn control(
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

fn source(source: &crate::config::Source, tenants: &[Option<String>], saved: &State) -> Source {
    let id = |name: Option<&str>| {
        let idx = tenants.iter().position(|tenant| tenant.as_deref() == name);
        TenantId(idx.and_then(|idx| u16::try_from(idx).ok()).expect("BUG: no tenant"))
    };
    let plan = Arc::new(Plan::compile(&source.parse));
    let mut guard = Guard::new(&plan);
    // A decision holds until the limit it was made by is raised.
    let demoted = saved.demoted.iter().filter(|demoted| {
        demoted.source == source.name && source.parse.guard_values <= demoted.values_max
    });
    guard.restore(&demoted.map(|demoted| demoted.label.clone()).collect::<Vec<_>>());
    Source {
        name: source.name.clone(),
        tenant: id(source.tenant.as_deref()),
        place: source.place.clone(),
        others: plan.tenants().iter().map(|name| id(Some(name))).collect(),
        plan,
        guard: Mutex::new(guard),
        values_max: source.parse.guard_values,
    }
}

/// How many threads can run at once.
fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, AppError> {
    readers::spawn(name, run).map_err(AppError::Thread)
}

/// Each file is an open descriptor.
pub(super) fn raise_descriptor_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        warn!(%error, "cannot raise the limit on open files");
    }
}
