//! One process: the steps that `skald run` calls, without its threads.

use std::collections::{HashMap, VecDeque};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use skald::app::{
    Board, Clock, Done, FileLog, Finder, Ground, Pipeline, Registry, Shared, Source, Told, Windows,
    Worker, settle,
};
use skald::batch::{self, Sealed};
use skald::checkpoint::{SavedFile, State};
use skald::discover::{Changes, Found, Node, Renamed};
use skald::model::{Now, Pool, Reason, SourceId, UnixNanos};
use skald::parse;
use skald::push::{Sender, Step};
use skald::tail;
use skald::telemetry::Metrics;

use crate::checks::{Check, Fate, Meaning, Result, Truth, ensure};
use crate::disk::{Disk, Handle};
use crate::faults::{Knobs, Loki, Reply, time_of};
use crate::settings::{push_options, sources};

/// Breaks the agent on purpose, to see that the checks notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mutation {
    /// None.
    None,
    /// Files move on when their lines are sealed, not when Loki has answered.
    SettleWhenRead,
    /// The checkpoint's content is not synced.
    SkipFsync,
    /// Memory is given back when a batch is sealed.
    ReleaseEarly,
}

/// Sealed batches between a worker and its lane, as in `app::agent`.
const LANE_MAX: usize = 1;

/// A wait that a ring would cut short, as in `app::readers`.
const WAIT_MAX: Duration = Duration::from_millis(100);

/// A worker and its way to Loki.
#[derive(Debug)]
struct Lane {
    worker: Worker<Handle>,
    hungry: bool,
    /// When the worker takes its next turn.
    turn_at: Duration,
    queue: VecDeque<Sealed>,
    sender: Sender,
    /// When the sender is asked for its next step.
    step_at: Duration,
    /// A push that is under way.
    flight: Option<Reply>,
    /// Bytes of the bodies that left the worker and are not settled, the oldest first.
    bodies: VecDeque<u64>,
}

/// A running agent. All times in it are since its start.
#[derive(Debug)]
pub(crate) struct Agent {
    registry: Arc<Registry>,
    metrics: Metrics,
    pool: Pool,
    sources: Arc<[Source]>,
    ground: Ground,
    lanes: Vec<Lane>,
    mutation: Mutation,
    rng: fastrand::Rng,
    /// What the last scan has found, by inode.
    found: HashMap<u64, Arc<Path>>,
    finder: Finder,
    stopping: bool,
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
        };
        let lane = |idx| {
            let options = tail::Options {
                chunk_bytes: knobs.chunk_bytes,
                grace: Duration::from_secs(10),
                look_busy: Duration::from_secs(1),
                look_idle: Duration::from_secs(10),
                keys: (idx, knobs.workers as u64),
                budget: tail::Budget {
                    open_files: 1000,
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
                bodies: VecDeque::new(),
            }
        };
        let lanes = (0..knobs.workers as u64).map(lane).collect();
        let from_end = vec![false; sources.len()];
        let finder = Finder::new(Arc::clone(&registry), windows, from_end, false);
        Self {
            registry,
            metrics,
            pool,
            sources,
            ground,
            lanes,
            mutation,
            rng,
            found: HashMap::new(),
            finder,
            stopping: false,
        }
    }

    /// When the next worker or sender is to be called.
    pub(crate) fn next_at(&self) -> Duration {
        let turns = self.lanes.iter().map(|lane| lane.turn_at);
        let steps = self.lanes.iter().map(|lane| lane.step_at);
        steps.chain(turns.filter(|_| !self.stopping)).min().unwrap_or(Duration::MAX)
    }

    /// The latest time that a sender waits for by itself.
    pub(crate) fn waits_until(&self) -> Duration {
        let steps = self.lanes.iter().map(|lane| lane.step_at);
        steps.filter(|at| *at != Duration::MAX).max().unwrap_or_default()
    }

    /// Calls one worker or sender that is due.
    pub(crate) fn step(
        &mut self,
        now: Now,
        disk: &mut Disk,
        loki: &mut Loki,
        truth: &mut Truth,
    ) -> Result {
        let first = self.rng.usize(0..self.lanes.len());
        for offset in 0..self.lanes.len() {
            let idx = (first + offset) % self.lanes.len();
            if self.lanes[idx].turn_at <= now.mono && !self.stopping {
                self.turn(idx, now, disk);
                return self.sums();
            }
            if self.lanes[idx].step_at <= now.mono {
                self.bring(idx, now, loki, truth)?;
                return self.sums();
            }
        }
        Ok(())
    }

    /// A turn of a worker, as `app::readers` takes it.
    fn turn(&mut self, idx: usize, now: Now, disk: &mut Disk) {
        let lane = &mut self.lanes[idx];
        let done = lane.worker.turn(now, disk);
        lane.hungry = done == Done::NoPermit;
        let took = Duration::from_micros(self.rng.u64(1..500));
        let pause = match done {
            Done::Lines => Duration::ZERO,
            Done::Held if lane.worker.all_held() => Duration::from_millis(20),
            Done::Held => Duration::ZERO,
            Done::NoPermit | Done::Busy => WAIT_MAX,
            Done::Idle(_) if lane.worker.pipeline.has_sealed() => WAIT_MAX,
            Done::Idle(until) => {
                let due = lane.worker.pipeline.due_at().map_or(until, |due| due.min(until));
                due.saturating_sub(now.mono).min(Duration::from_secs(10))
            }
        };
        lane.turn_at = now.mono + took + pause;
        self.hand_over(idx, now);
    }

    /// Gives the lane what it takes.
    fn hand_over(&mut self, idx: usize, now: Now) {
        let lane = &mut self.lanes[idx];
        while lane.queue.len() < LANE_MAX
            && let Some(mut sealed) = lane.worker.pipeline.take_sealed()
        {
            match self.mutation {
                Mutation::SettleWhenRead => {
                    self.registry.settle(&std::mem::take(&mut sealed.receipt.tickets), now);
                }
                Mutation::ReleaseEarly => sealed.receipt.permit.shrink_to(0),
                Mutation::None | Mutation::SkipFsync => {}
            }
            lane.bodies.push_back(sealed.body.len() as u64);
            lane.queue.push_back(sealed);
            if lane.sender.is_idle() {
                lane.step_at = lane.step_at.min(now.mono);
            }
        }
    }

    /// A step of a lane, as `app::lane` takes it.
    fn bring(&mut self, idx: usize, now: Now, loki: &mut Loki, truth: &mut Truth) -> Result {
        let lane = &mut self.lanes[idx];
        if let Some(reply) = lane.flight.take() {
            if !reply.at_once {
                store(&reply, loki, truth)?;
            }
            if reply.is_accepted() {
                for (_, entry) in &reply.stored {
                    truth.answered(truth.find(&entry.line)?);
                }
            }
            lane.sender.answered(&reply.answer, now);
        }
        match lane.sender.step(now) {
            Step::Idle => {
                lane.step_at = Duration::MAX;
                let Some(sealed) = lane.queue.pop_front() else { return Ok(()) };
                lane.turn_at = lane.turn_at.min(now.mono);
                lane.sender.offer(sealed);
                lane.step_at = now.mono;
                self.hand_over(idx, now);
            }
            Step::Post(body) => {
                let reply = loki.push(&body);
                if reply.at_once {
                    store(&reply, loki, truth)?;
                }
                lane.step_at = now.mono + reply.delay;
                lane.flight = Some(reply);
            }
            Step::Wait { until } => lane.step_at = until,
            Step::Bury(letters) => {
                let fails = !loki.healed && self.rng.u8(0..4) == 0;
                if !fails {
                    for letter in letters {
                        let number = truth.find(&letter.line)?;
                        ensure(
                            Check::Lost,
                            truth.lines[number].fate == Fate::Poison
                                || letter.text.contains("behind"),
                            || format!("{letter:?} was buried"),
                        )?;
                        truth.answered(number);
                    }
                }
                let result = if fails { Err("no space".to_owned()) } else { Ok(()) };
                lane.sender.buried(result, now);
                lane.step_at = now.mono;
            }
            Step::Done(settled) => {
                let dropped: u64 = settled.dropped.iter().map(|dropped| dropped.entries).sum();
                let lines = settled.receipt.counts.lines;
                ensure(Check::Sums, settled.delivered + dropped == lines, || {
                    format!("{} + {dropped} of {lines}", settled.delivered)
                })?;
                settle(settled, &self.ground, now);
                lane.bodies.pop_front();
                lane.step_at = now.mono;
                for lane in self.lanes.iter_mut().filter(|lane| lane.hungry) {
                    lane.turn_at = lane.turn_at.min(now.mono);
                }
            }
        }
        Ok(())
    }

    /// What must hold after every step.
    fn sums(&self) -> Result {
        let held: u64 = self.lanes.iter().flat_map(|lane| &lane.bodies).sum();
        let (used, peak, limit) = (self.pool.used(), self.pool.peak(), self.pool.limit());
        ensure(Check::Memory, held <= used && peak <= limit, || {
            format!("batches hold {held}, permits {used}; at most {peak} of {limit}")
        })?;
        let read: u64 = self
            .sources
            .iter()
            .map(|source| self.metrics.source(&source.name).lines_read.get())
            .sum();
        let dropped =
            |reason: Reason| self.metrics.lines_dropped.get_or_create(&reason.into()).get();
        let dropped: u64 = Reason::ALL.into_iter().map(dropped).sum();
        let delivered = self.metrics.lines_delivered.get();
        let in_flight = self.metrics.lines_in_flight.get();
        let sum = i64::try_from(delivered + dropped).expect("it fits") + in_flight;
        ensure(Check::Sums, 0 <= in_flight && i64::try_from(read).expect("it fits") == sum, || {
            format!("read {read}, delivered {delivered}, dropped {dropped}, in flight {in_flight}")
        })
    }

    /// Looks for files as `discover` does; what that brings is passed on as in `app::control`.
    pub(crate) fn scan(&mut self, globs_find: impl Fn(&Path) -> bool, now: Now, disk: &mut Disk) {
        if self.stopping {
            return;
        }
        let mut changes = Changes::default();
        let names = disk.names.iter().filter(|(path, _)| globs_find(path));
        let there: HashMap<u64, (Arc<Path>, usize)> = names
            .map(|(path, inode)| (inode.number, (path.as_path().into(), inode.source)))
            .collect();
        let node = |inode| Node { device: 1, inode };
        self.found.retain(|number, _| {
            let stays = there.contains_key(number);
            changes.gone.extend((!stays).then_some(node(*number)));
            stays
        });
        for (number, (path, source)) in there {
            let stem = Arc::clone(&path);
            match self.found.insert(number, Arc::clone(&path)) {
                Some(known) if known == path => {}
                Some(_) => changes.renamed.push(Renamed { node: node(number), path, stem }),
                None => changes.appeared.push(Found {
                    path,
                    source: source_id(source),
                    node: node(number),
                    stem,
                    is_outside: false,
                }),
            }
        }
        changes.gone.sort();
        changes.renamed.sort_by(|a, b| a.path.cmp(&b.path));
        changes.appeared.sort_by(|a, b| (a.source, &a.path).cmp(&(b.source, &b.path)));
        let lanes = &mut self.lanes;
        self.finder.pass_on(changes, now, |source, told| {
            let idx = usize::from(source.0) % lanes.len();
            let worker = &mut lanes[idx].worker;
            match told {
                Told::Found(new) => worker.found(new, now, disk),
                Told::Renamed(inode, new) => worker.renamed(inode, new, now, disk),
                Told::Gone(inode) => worker.gone(inode, now),
                Told::Wake | Told::Data(_) | Told::Input(_) | Told::EndOfInput | Told::Stop => {}
            }
        });
        for lane in &mut self.lanes {
            lane.turn_at = lane.turn_at.min(now.mono);
        }
    }

    /// What the checkpoint has to say, if something changed.
    pub(crate) fn snapshot(&self, now: UnixNanos) -> Option<State> {
        let files = self.registry.snapshot(now)?;
        Some(State { files, demoted: Vec::new() })
    }

    /// The last save failed.
    pub(crate) fn set_dirty(&self) {
        self.registry.set_dirty();
    }

    /// How far the open file with this inode number was read.
    pub(crate) fn read_to(&self, inode: u64) -> u64 {
        let files = self.registry.to_json();
        let is_it = |file: &&serde_json::Value| file["inode"] == inode && file["closed"] == false;
        let file = files.as_array().and_then(|files| files.iter().find(is_it));
        file.and_then(|file| file["read"].as_u64()).unwrap_or(0)
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

/// Loki stores what it has taken of a push.
pub(crate) fn store(reply: &Reply, loki: &mut Loki, truth: &mut Truth) -> Result {
    for (labels, entry) in &reply.stored {
        let number = truth.find(&entry.line)?;
        loki.keep(labels, time_of(entry));
        truth.stored(number, meaning(labels, entry), !reply.is_accepted())?;
    }
    Ok(())
}

/// What an entry says, wherever it was moved to.
fn meaning(labels: &str, entry: &skald::wire::push::Entry) -> Meaning {
    let (mut time, mut metadata) = (time_of(entry), Vec::new());
    for pair in &entry.structured_metadata {
        if pair.name == parse::ORIGINAL_TIMESTAMP {
            let own: jiff::Timestamp = pair.value.parse().expect("RFC 3339");
            time = UnixNanos(i64::try_from(own.as_nanosecond()).expect("it fits"));
        } else {
            metadata.push((pair.name.clone(), pair.value.clone()));
        }
    }
    Meaning { labels: labels.to_owned(), metadata, time }
}
