//! Builds the parts of the agent from its configuration and starts their threads.

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::board::Board;
use super::clock::Clock;
use super::common::Common;
use super::control::{self, Call, Discovery};
use super::crowd::Crowd;
use super::current::{Current, Setup, numbered};
use super::error::AppError;
use super::file_log::FileLog;
use super::finder::Finder;
use super::lane::{Exchange, Ground, Lane};
use super::pipeline::Pipeline;
use super::pipes::{Pipe, STDIN};
use super::pods::kube::{Follower, What};
use super::readers::{self, FileShell, StdinShell, Ways};
use super::registry::Registry;
use super::reload::Reloads;
use super::stdin::StdinWorker;
use super::wake::{Doorbell, NewWays, Told};
use super::windows::Windows;
use super::worker::{Shared, Worker};
use crate::batch::{self, Sealed};
use crate::checkpoint::State;
use crate::config::{self, Api, Config, Input, READERS_MAX, Start};
use crate::discover::{self, Scanner, SourceGlobs};
use crate::model::{Origin, Pool, SourceId, TenantId};
use crate::push::{self, DeadLetters, HttpTransport};
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

/// A file that grows fast is looked at once in `batch.age_max`, within these.
const LOOK_HOT_MIN: Duration = Duration::from_millis(10);
const LOOK_HOT_MAX: Duration = Duration::from_millis(50);

/// What the command line adds to the configuration.
#[derive(Debug, Default)]
pub struct Extras {
    /// What the source with `stdin: true` reads; none is standard input.
    pub pipes: Vec<Pipe>,
    /// The agent ends with them, even if there are files.
    pub end_with_pipes: bool,
    /// How long delivery may take after the end of standard input; `None` is for ever.
    pub stdin_deadline: Option<Duration>,
    /// Who wants the configuration to be read again, and how that is done.
    pub reloads: Option<Reloads>,
}

/// Which sources a worker has.
#[derive(Debug, Clone, Copy)]
pub(super) enum Share {
    /// Those of the reader of this number, of so many as there may be.
    Reader(usize),
    /// The one that is no files.
    Pipe(SourceId),
}

/// A thread that has sources, and what leads to and from it.
pub(super) struct Staff {
    pub(super) bell: Doorbell,
    pub(super) share: Share,
    /// By tenant, whether it has a lane.
    pub(super) lanes: Vec<bool>,
}

/// A thread that reads, and its bell.
pub(super) type Reader = (Doorbell, JoinHandle<()>);

const POISONED: &str = "BUG: a thread panicked while it held the bells";

/// The parts of an agent, and how more of them are made.
pub(super) struct Builder {
    pub(super) config: Config,
    pub(super) extras: Extras,
    pub(super) common: Common,
    pub(super) ground: Ground,
    pub(super) transport: Arc<Exchange>,
    pub(super) push: watch::Sender<Arc<push::Options>>,
    pub(super) windows: Arc<Windows>,
    pub(super) lanes: JoinSet<()>,
    bells: Arc<Mutex<Vec<Doorbell>>>,
    /// All workers: those that read files first.
    pub(super) staff: Vec<Staff>,
    /// What is followed of the API of Kubernetes.
    followed: Vec<(Api, String, What)>,
    followers: JoinSet<()>,
}

impl Builder {
    pub(super) fn new(
        config: Config,
        extras: Extras,
        metrics: Metrics,
        saved: State,
        transport: HttpTransport,
    ) -> Self {
        let clock = Clock::start();
        let setup = Setup::first(&config, &saved.demoted);
        let bells: Arc<Mutex<Vec<Doorbell>>> = Arc::default();
        let waiting = Arc::clone(&bells);
        let (limit, share) = (config.memory.in_flight, config.tenant_share());
        let pool = Pool::shared(limit, setup.tenants.len(), share, move || {
            let bells = waiting.lock().expect(POISONED);
            bells.iter().for_each(Doorbell::fed);
        });
        let registry = Arc::new(Registry::new(setup.names(), saved.files));
        let windows = Arc::new(Windows::new(setup.sources.len()));
        let push = watch::Sender::new(Arc::new(config.push.clone()));
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
            push: push.subscribe(),
        };
        let pulses = Arc::default();
        let input_failed = Arc::default();
        let common = Common {
            clock,
            registry,
            current: Current::new(setup),
            pool,
            metrics,
            health,
            pulses,
            input_failed,
        };
        Self {
            config,
            extras,
            common,
            ground,
            transport: Arc::new(Exchange::new(transport)),
            push,
            windows,
            lanes: JoinSet::new(),
            bells,
            staff: Vec::new(),
            followed: Vec::new(),
            followers: JoinSet::new(),
        }
    }

    /// Whether the API of `setup` is the one that is followed, if one is.
    pub(super) fn can_follow(&self, setup: &Setup) -> Result<(), String> {
        let own = setup.api();
        let is_another = |(api, node, _): &(Api, String, What)| {
            own.is_some_and(|own| own != (api, node.as_str()))
        };
        match self.followed.iter().any(is_another) {
            true => Err("only a restart changes this: kubernetes.api, kubernetes.node".to_owned()),
            false => Ok(()),
        }
    }

    /// Follows the API of Kubernetes, as far as rules ask for what it says.
    pub(super) fn follow(&mut self, setup: &Setup, control: &SyncSender<Call>) {
        let Some((api, node)) = setup.api() else { return };
        let waits: Vec<_> = setup.waits().into_iter().flatten().collect();
        let needs_node = waits.iter().any(|(_, needs_node)| *needs_node);
        for (what, is_wanted) in [(What::Pods, !waits.is_empty()), (What::Node, needs_node)] {
            let followed = (api.clone(), node.to_owned(), what);
            if !is_wanted || self.followed.contains(&followed) {
                continue;
            }
            self.followed.push(followed);
            let follower = Follower {
                api: api.clone(),
                node: node.to_owned(),
                what,
                pods: Arc::clone(&setup.pods),
                control: control.clone(),
                clock: self.common.clock,
                metrics: self.common.metrics.clone(),
            };
            self.followers.spawn(follower.run());
        }
    }

    pub(super) fn finder(&self, setup: &Setup, has_forgotten: bool) -> Finder {
        let from_end = from_end(setup);
        let (registry, windows) = (Arc::clone(&self.common.registry), Arc::clone(&self.windows));
        let mut finder = Finder::new(registry, windows, from_end, has_forgotten);
        finder.set_pods(Arc::clone(&setup.pods), setup.waits());
        finder
    }

    fn pipeline(&self, setup: &Setup, stamps_follow: bool) -> Pipeline {
        let options = batch::Options {
            bytes_max: self.config.batch.bytes_max,
            age_max: self.config.batch.age_max,
            streams_max: self.config.memory.streams,
            metadata: setup.metadata,
        };
        let Common { pool, metrics, .. } = &self.common;
        let sources = Arc::clone(&setup.sources);
        Pipeline::new(sources, stamps_follow, options, pool.clone(), metrics.clone())
    }

    /// One more worker, which has lanes when they are [opened](Self::open_lanes).
    fn hire(&mut self, share: Share) -> (Doorbell, Receiver<Told>) {
        let (bell, inbox) = Doorbell::new();
        self.bells.lock().expect(POISONED).push(bell.clone());
        self.staff.push(Staff { bell: bell.clone(), share, lanes: Vec::new() });
        (bell, inbox)
    }

    /// Starts the lanes that a worker does not have yet, one for each tenant of its sources.
    pub(super) fn open_lanes(&mut self, worker: usize, setup: &Setup) -> NewWays {
        let Staff { bell, share, lanes } = &mut self.staff[worker];
        lanes.resize(setup.tenants.len().max(lanes.len()), false);
        let (bell, share) = (bell.clone(), *share);
        let own = setup.order.iter().filter(|source| share.has(**source));
        let own: Vec<_> = own.map(|source| &setup.sources[usize::from(source.0)]).collect();
        let mut ways = Vec::new();
        for tenant in TenantId::first(setup.tenants.len()) {
            let has_lines = own.iter().any(|source| source.tenants().any(|it| it == tenant));
            let has_lane = &mut self.staff[worker].lanes[tenant.idx()];
            if has_lines && !std::mem::replace(has_lane, true) {
                let name = setup.tenants[tenant.idx()].as_deref();
                ways.push((tenant, self.lane(tenant, name, share, &bell)));
            }
        }
        ways
    }

    /// Starts a lane of a tenant for the worker behind `bell`.
    fn lane(
        &mut self,
        tenant: TenantId,
        name: Option<&str>,
        share: Share,
        bell: &Doorbell,
    ) -> mpsc::Sender<Sealed> {
        let (entrance, batches) = mpsc::channel(LANE_MAX);
        let current = self.common.current.clone();
        let crowd = Crowd::new(current.clone(), move |idx| {
            let is_of_tenant = || current.sources()[idx].tenants().any(|other| other == tenant);
            share.has(numbered(idx)) && is_of_tenant()
        });
        let is_stdin = matches!(share, Share::Pipe(_));
        let lane = Lane::new(name, batches, bell.clone(), crowd, &self.ground, is_stdin);
        let (transport, ground) = (Arc::clone(&self.transport), self.ground.clone());
        self.lanes.spawn(async move { lane.run(&*transport, &ground).await });
        entrance
    }

    /// Starts the readers that these sources need and that are not there yet.
    pub(super) fn readers(&mut self, setup: &Setup) -> Result<Vec<Reader>, AppError> {
        let there = self.readers_count();
        let wanted = readers_max().min(setup.sources.len()).max(there);
        (there..wanted).map(|reader| self.reader(reader, wanted, setup)).collect()
    }

    /// How many readers there are.
    pub(super) fn readers_count(&self) -> usize {
        self.staff.iter().filter(|staff| matches!(staff.share, Share::Reader(_))).count()
    }

    fn reader(&mut self, idx: usize, readers: usize, setup: &Setup) -> Result<Reader, AppError> {
        let line_bytes = usize::try_from(self.config.limits.line_bytes).unwrap_or(usize::MAX);
        let options = tail::Options {
            chunk_bytes: CHUNK_BYTES_MIN.max(line_bytes + 1),
            grace: ROTATE_GRACE,
            look_busy: Duration::from_secs(1),
            look_idle: Duration::from_secs(10),
            look_hot: self.config.batch.age_max.clamp(LOOK_HOT_MIN, LOOK_HOT_MAX),
            keys: (idx as u64, READERS_MAX as u64),
            budget: self.budget(readers),
        };
        let registry = Arc::clone(&self.common.registry);
        let shared = Shared { registry, windows: Arc::clone(&self.windows) };
        let log = FileLog::new(self.common.metrics.clone());
        let (bell, inbox) = self.hire(Share::Reader(idx));
        let ways = Ways::new(self.open_lanes(self.staff.len() - 1, setup));
        let mut pipeline = self.pipeline(setup, true);
        if 2 * readers <= cores() {
            pipeline.help(format!("skald-press-{idx}"), bell.clone());
        }
        let worker = Worker::new(options, pipeline, shared, log);
        let (clock, name) = (self.common.clock, format!("skald-read-{idx}"));
        let pulse = self.common.pulses.add(&name, clock.now());
        let shell = FileShell { worker, ways, inbox, bell: bell.clone(), clock, pulse };
        let thread = spawn(&name, move || shell.run())?;
        Ok((bell, thread))
    }

    /// What each of so many readers may keep open.
    pub(super) fn budget(&self, readers: usize) -> tail::Budget {
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
        setup: &Setup,
        ended: &mpsc::Sender<()>,
    ) -> Result<Vec<Reader>, AppError> {
        let mut configured = setup.configured();
        let Some((source, _)) = configured.find(|(_, source)| source.input == Input::Stdin) else {
            return Ok(vec![]);
        };
        let mut pipes = std::mem::take(&mut self.extras.pipes);
        if pipes.is_empty() {
            pipes.push(Pipe::stdin(false));
        }
        pipes.into_iter().map(|pipe| self.pipe(source, pipe, setup, ended.clone())).collect()
    }

    fn pipe(
        &mut self,
        source: SourceId,
        pipe: Pipe,
        setup: &Setup,
        ended: mpsc::Sender<()>,
    ) -> Result<Reader, AppError> {
        let Pipe { name, input, copy } = pipe;
        let line_bytes = usize::try_from(self.config.limits.line_bytes).unwrap_or(usize::MAX);
        let (bell, inbox) = self.hire(Share::Pipe(source));
        let ways = Ways::new(self.open_lanes(self.staff.len() - 1, setup));
        let mut pipeline = self.pipeline(setup, false);
        if 2 <= cores() {
            pipeline.help("skald-press-in".to_owned(), bell.clone());
        }
        let mut worker = StdinWorker::new(source, line_bytes, pipeline);
        if name != STDIN {
            worker.set_origin(Origin::from_iter([("stream", name)]));
        }
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

/// Looks for the files of all sources; `None` where none has files.
pub(super) fn scanner(setup: &Setup) -> Result<Option<Scanner>, AppError> {
    let globs = |(source, own): (SourceId, &config::Source)| match &own.input {
        Input::Files { globs, exclude, symlink_roots, .. } => Some(SourceGlobs {
            source,
            globs: globs.clone(),
            exclude: exclude.clone(),
            symlink_roots: symlink_roots.clone(),
        }),
        Input::Stdin => None,
    };
    let sources: Vec<SourceGlobs> = setup.configured().filter_map(globs).collect();
    if sources.is_empty() {
        return Ok(None);
    }
    Ok(Some(Scanner::new(&discover::Options { sources })?))
}

/// By source, whether files that are there already are read from their ends.
pub(super) fn from_end(setup: &Setup) -> Vec<bool> {
    let is_end = |source: Option<&config::Source>| {
        source.is_some_and(|own| matches!(own.input, Input::Files { start: Start::End, .. }))
    };
    (0..setup.sources.len()).map(|idx| is_end(setup.of(numbered(idx)))).collect()
}

impl Share {
    fn has(self, source: SourceId) -> bool {
        match self {
            Self::Reader(own) => control::reader_of(usize::from(source.0), readers_max()) == own,
            Self::Pipe(own) => own == source,
        }
    }
}

/// How many readers there are at most: a source is the same one's, however many there are.
fn readers_max() -> usize {
    cores().min(READERS_MAX)
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
