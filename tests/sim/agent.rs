//! One process: the steps that `skald run` calls, without its threads.

use std::collections::{HashMap, VecDeque};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use skald::app::{
    Board, Clock, FileLog, Finder, Ground, Pipeline, Registry, Shared, Sources, Told, Windows,
    Worker,
};
use skald::batch;
use skald::checkpoint::{SavedFile, State};
use skald::discover::{Changes, Found, Node, Renamed};
use skald::model::{Flag, Now, Pool, SourceId, UnixNanos};
use skald::push::Sender;
use skald::tail;
use skald::telemetry::Metrics;

use crate::disk::{Disk, Inode};
use crate::knobs::Knobs;
use crate::lane::Lane;
use crate::settings::{push_options, sources};
use crate::writer::is_in_globs;

/// Breaks the agent on purpose, to see that the checks notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mutation {
    /// None.
    None,
    /// Files move on when their lines are sealed, not when Loki has answered.
    SettleWhenRead,
    /// The checkpoint's content is not synced.
    SkipFsync,
    /// The checkpoint's folder is not synced.
    SkipFolderSync,
    /// Memory is given back when a batch is sealed.
    ReleaseEarly,
    /// A batch overtakes the one before it.
    Overtake,
    /// What was delivered is sent once more.
    SendTwice,
    /// A batch that fails ten times in a row counts as done.
    GiveUp,
    /// Loki is asked again at once.
    Hammer,
    /// After a failure it goes on slowly.
    Crawl,
    /// The files of a source are spread over the workers.
    SpreadFiles,
    /// Files that have left the globs are not looked for.
    Blind,
    /// A deleted file is not read on.
    DropDeleted,
    /// An opened file is not read on from where it was, but from its beginning.
    Forget,
}

/// A running agent. All times in it are since its start.
#[derive(Debug)]
pub(crate) struct Agent {
    pub(crate) registry: Arc<Registry>,
    pub(crate) metrics: Metrics,
    pub(crate) pool: Pool,
    pub(crate) sources: Sources,
    pub(crate) ground: Ground,
    pub(crate) lanes: Vec<Lane>,
    pub(crate) mutation: Mutation,
    pub(crate) rng: fastrand::Rng,
    /// What the last scan has found, by inode.
    found: HashMap<u64, Arc<Path>>,
    /// What it has brought, until that is passed on.
    changes: Changes,
    finder: Finder,
    /// `Knobs::wait_max`.
    pub(crate) wait_max: Duration,
    pub(crate) stopping: bool,
}

impl Agent {
    /// A process that goes on from `saved`.
    pub(crate) fn start(
        knobs: &Knobs,
        saved: Vec<SavedFile>,
        mut rng: fastrand::Rng,
        mutation: Mutation,
    ) -> Self {
        let sources = sources(knobs);
        let metrics = Metrics::new();
        let pool = Pool::new(knobs.in_flight, || {});
        let names = sources.iter().map(|source| source.name.as_str().into()).collect();
        let registry = Arc::new(Registry::new(names, saved));
        let windows = Arc::new(Windows::new(sources.len()));
        let ground = Ground {
            clock: Clock::start(),
            registry: Arc::clone(&registry),
            metrics: metrics.clone(),
            dead_letters: None,
            health: Arc::new(Board::default()),
            give_up: tokio_util::sync::CancellationToken::new(),
            push: tokio::sync::watch::channel(Arc::new(push_options(knobs))).1,
        };
        let lane = |idx| {
            let options = tail::Options {
                chunk_bytes: knobs.chunk_bytes,
                grace: Duration::from_secs(10),
                look_busy: Duration::from_secs(1),
                look_idle: Duration::from_secs(10),
                look_hot: Duration::from_millis(50),
                keys: (idx, knobs.workers as u64),
                budget: tail::Budget {
                    open_files: knobs.open_files,
                    deleted_files: 1000,
                    deleted_bytes: u64::MAX,
                },
            };
            let batches = batch::Options {
                bytes_max: knobs.bytes_max,
                age_max: knobs.age_max,
                streams_max: knobs.streams_max,
                metadata: true,
            };
            let pipeline =
                Pipeline::new(Arc::clone(&sources), true, batches, pool.clone(), metrics.clone());
            let shared = Shared { registry: Arc::clone(&registry), windows: Arc::clone(&windows) };
            let log = FileLog::new(metrics.clone());
            Lane {
                worker: Worker::new(options, pipeline, shared, log),
                hungry: false,
                turn_at: Duration::ZERO,
                queue: VecDeque::new(),
                sender: Sender::new(&push_options(knobs), rng.u64(..)),
                step_at: Duration::MAX,
                flight: None,
                failed: 0,
                bodies: VecDeque::new(),
            }
        };
        let lanes = (0..knobs.workers as u64).map(lane).collect();
        let from_end = vec![false; sources.len()];
        let finder = Finder::new(Arc::clone(&registry), windows, from_end, false);
        Self {
            registry,
            finder,
            metrics,
            pool,
            sources,
            ground,
            lanes,
            mutation,
            rng,
            found: HashMap::new(),
            changes: Changes::default(),
            wait_max: knobs.wait_max,
            stopping: false,
        }
    }

    /// Looks for files as `discover` does.
    pub(crate) fn scan(&mut self, knobs: &Knobs, disk: &Disk) {
        if !self.stopping {
            self.changes = self.look(knobs, disk);
        }
    }

    /// What a scan has brought is passed on as in `app::control`.
    pub(crate) fn pass_on(&mut self, now: Now, disk: &mut Disk) {
        let changes = std::mem::take(&mut self.changes);
        let (lanes, mutation) = (&mut self.lanes, self.mutation);
        self.finder.pass_on(changes, now, |source, told| {
            let spread = if mutation == Mutation::SpreadFiles { hash_of(&told) } else { 0 };
            let idx = (usize::from(source.0) + spread) % lanes.len();
            let worker = &mut lanes[idx].worker;
            match told {
                Told::Found(mut new) => {
                    if mutation == Mutation::Forget {
                        new.known.clear();
                    }
                    worker.found(*new, now, disk);
                }
                Told::Renamed(inode, new) => worker.renamed(inode, *new, now, disk),
                Told::Gone(inode) => worker.gone(inode, now),
                Told::Left(inode, closed) => worker.leave(inode, closed, now),
                Told::Known(inode) => worker.release(inode, now),
                Told::Adopt(_) => unreachable!("nobody reloads"),
                Told::Wake | Told::Data { .. } | Told::Input(_) | Told::EndOfInput | Told::Stop => {
                }
            }
        });
        for lane in &mut self.lanes {
            lane.turn_at = lane.turn_at.min(now.mono);
        }
    }

    /// notify tells of some of what is written, and of some files that it is the last time.
    pub(crate) fn hint(&mut self, one_in: usize, now: Now, disk: &mut Disk) {
        if self.stopping || one_in == 0 || disk.names.is_empty() {
            return;
        }
        let which = self.rng.usize(0..one_in * disk.names.len());
        let Some(path) = disk.names.keys().nth(which).cloned() else { return };
        if let Some(source) = self.finder.source_of(&path) {
            let idx = usize::from(source.0) % self.lanes.len();
            let lane = &mut self.lanes[idx];
            lane.worker.hint(&path, self.rng.bool(), now, disk);
            lane.turn_at = lane.turn_at.min(now.mono);
        }
    }

    /// What a scan brings.
    fn look(&mut self, knobs: &Knobs, disk: &Disk) -> Changes {
        let mut changes = Changes::default();
        let is_seen = |path: &Path| is_in_globs(path, knobs) || self.mutation != Mutation::Blind;
        let names = disk.names.iter().filter(|(path, _)| is_seen(path));
        let there: HashMap<u64, (Arc<Path>, usize, UnixNanos)> = names
            .map(|(path, inode)| (inode.number, (path.as_path().into(), inode.source, inode.born)))
            .collect();
        let node = |inode| Node { device: 1, inode };
        self.found.retain(|number, _| {
            let stays = there.contains_key(number);
            changes.gone.extend((!stays).then_some(node(*number)));
            stays
        });
        for (number, (path, source, born)) in there {
            let stem = stem(&path);
            match self.found.insert(number, Arc::clone(&path)) {
                Some(known) if known == path => {}
                Some(_) => changes.renamed.push(Renamed { node: node(number), path, stem }),
                None => changes.appeared.push(Found {
                    is_outside: !is_in_globs(&path, knobs),
                    path,
                    source: source_id(source),
                    node: node(number),
                    stem,
                    birth: Some(born).into(),
                }),
            }
        }
        changes.gone.sort();
        changes.renamed.sort_by(|a, b| a.path.cmp(&b.path));
        changes.appeared.sort_by(|a, b| (a.source, &a.path).cmp(&(b.source, &b.path)));
        changes
    }

    /// What the checkpoint has to say, if something changed.
    pub(crate) fn snapshot(&self, now: UnixNanos) -> Option<State> {
        let files = self.registry.snapshot(now)?.collect();
        Some(State { files, demoted: Vec::new() })
    }

    /// The last save failed.
    pub(crate) fn set_dirty(&self) {
        self.registry.set_dirty();
    }

    /// How far the newest generation of a file was read.
    pub(crate) fn read_to(&self, inode: &Inode) -> u64 {
        let files = self.registry.to_json();
        let birth = inode.born.to_string();
        let is_it = |file: &&serde_json::Value| {
            file["inode"] == inode.number && file["birth"] == birth && file["closed"] == false
        };
        let file = files.as_array().and_then(|files| files.iter().find(is_it));
        file.and_then(|file| file["read"].as_u64()).unwrap_or(0)
    }

    /// How many lines were moved into Loki's window.
    pub(crate) fn moved(&self) -> u64 {
        self.metrics.lines_flagged.get_or_create(&Flag::MovedIntoWindow.into()).get()
    }

    /// Reads no more, and delivers what it has.
    pub(crate) fn stop(&mut self, now: Now) {
        self.stopping = true;
        for idx in 0..self.lanes.len() {
            self.lanes[idx].worker.pipeline.seal(now);
            self.hand_over(idx, now);
            self.lanes[idx].step_at = self.lanes[idx].step_at.min(now.mono);
        }
    }

    /// Whether all that was read is settled.
    pub(crate) fn is_drained(&self) -> bool {
        self.lanes.iter().all(|lane| {
            lane.worker.pipeline.is_empty() && lane.queue.is_empty() && lane.sender.is_idle()
        })
    }

    /// Where everything stands, for people.
    pub(crate) fn describe(&self) -> String {
        let mut out = format!("\n{:?}; {}", self.pool, self.registry.to_json());
        for lane in &self.lanes {
            out += &format!(
                "\n{} queued, {:?}, {} unsettled, turn at {:?}, all held {}, due {:?}",
                lane.queue.len(),
                lane.sender.health(),
                lane.sender.unsettled(),
                lane.turn_at,
                lane.worker.all_held(),
                lane.worker.pipeline.due_at(),
            );
        }
        out
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping
    }
}

fn source_id(source: usize) -> SourceId {
    SourceId(u16::try_from(source).expect("it fits"))
}

/// The name that a file had before it was rotated.
pub(crate) fn stem(path: &Path) -> Arc<Path> {
    let name = path.to_string_lossy();
    let end = name.find(".log").map_or(name.len(), |at| at + ".log".len());
    Path::new(&name[..end]).into()
}

/// Spreads files by their name.
fn hash_of(told: &Told) -> usize {
    let (Told::Found(new) | Told::Renamed(_, new)) = told else { return 0 };
    new.stem.as_os_str().as_encoded_bytes().iter().map(|byte| usize::from(*byte)).sum()
}
