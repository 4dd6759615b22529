//! The thread that finds files, saves checkpoints and keeps the gauges.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use tracing::{error, info};

use super::common::Common;
use super::files::Disk;
use super::pulse::Pulse;
use super::wake::{Doorbell, Told};
use super::windows::Windows;
use crate::checkpoint::{self, CheckpointError, Demoted, State};
use crate::discover::{Changes, Hint, Hints, Node, Scanner};
use crate::model::{Now, SourceId, TenantId};
use crate::tail::NewFile;
use crate::telemetry::{FileState, Tenant};

/// How often checkpoints are saved and gauges are set.
const TICK: Duration = Duration::from_secs(1);

/// How often all folders are walked while hints work, and while they do not.
const SCAN_HINTED: Duration = Duration::from_secs(2);
const SCAN_POLLED: Duration = Duration::from_secs(1);

/// A scan that a hint asks for waits this long for others to join it.
const SCAN_PAUSE: Duration = Duration::from_millis(50);

/// What wakes the control thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    /// There are hints.
    Hints,
    /// Look for new files no more; go on with the rest.
    StopScanning,
    /// Save a last time and end.
    End,
}

/// A file that was found.
struct Known {
    source: SourceId,
    path: Arc<Path>,
}

/// Files and where they are read.
pub(super) struct Discovery {
    scanner: Scanner,
    hints: Hints,
    workers: Vec<Doorbell>,
    /// Sources whose files, as found by the first scan, are read from their end.
    from_end: Vec<bool>,
    windows: Arc<Windows>,
    by_node: HashMap<Node, Known>,
    by_path: HashMap<Arc<Path>, SourceId>,
    is_first: bool,
    scan_at: Duration,
}

impl Discovery {
    /// Discovery for `workers`; rings `bell` when there are hints.
    #[must_use]
    pub(super) fn new(
        scanner: Scanner,
        workers: Vec<Doorbell>,
        from_end: Vec<bool>,
        windows: Arc<Windows>,
        bell: SyncSender<Call>,
    ) -> Self {
        let hints = Hints::start(move || {
            let _ = bell.try_send(Call::Hints);
        });
        Self {
            scanner,
            hints,
            workers,
            from_end,
            windows,
            by_node: HashMap::new(),
            by_path: HashMap::new(),
            is_first: true,
            scan_at: Duration::ZERO,
        }
    }

    fn scan(&mut self, common: &Common, now: Now) {
        let changes = self.scanner.changes(now);
        self.hints.watch(self.scanner.folders(), now);
        let pause = if self.hints.is_active() { SCAN_HINTED } else { SCAN_POLLED };
        self.scan_at = now.mono + pause;
        if self.is_first && changes.appeared.is_empty() {
            info!("no file matches yet; looking on");
        }
        self.pass_on(changes, common);
        self.is_first = false;
    }

    fn pass_on(&mut self, changes: Changes, common: &Common) {
        // Names that are not taken again at once need not be remembered.
        let mut left = Vec::new();
        for node in changes.gone {
            if let Some(known) = self.by_node.remove(&node) {
                self.worker(known.source).tell(Told::Gone((node.device, node.inode)));
                left.push(known.path);
            }
        }
        for (node, path) in changes.renamed {
            if let Some(known) = self.by_node.get_mut(&node) {
                left.push(std::mem::replace(&mut known.path, Arc::clone(&path)));
                let source = known.source;
                let inode = (node.device, node.inode);
                let resume = common.registry.resume(inode, &path);
                let new = NewFile { path: path.to_path_buf(), source, resume, from_end: false };
                self.by_path.insert(path, source);
                self.worker(source).tell(Told::Renamed(inode, new));
            }
        }
        // Before the first of them is read: any may be the slowest.
        changes.appeared.iter().for_each(|found| self.windows.expect(found.source));
        for found in changes.appeared {
            let path = Arc::clone(&found.path);
            self.by_node.insert(found.node, Known { source: found.source, path });
            self.by_path.insert(Arc::clone(&found.path), found.source);
            left.retain(|path| *path != found.path);
            let inode = (found.node.device, found.node.inode);
            let new = NewFile {
                path: found.path.to_path_buf(),
                source: found.source,
                resume: common.registry.resume(inode, &found.path),
                from_end: self.is_first && self.from_end[usize::from(found.source.0)],
            };
            self.worker(found.source).tell(Told::Found(new));
        }
        for path in left {
            self.by_path.remove(&path);
        }
    }

    /// A source's files go to one worker. They share streams, and Loki refuses what is an hour
    /// behind its stream: only batches of one lane come to Loki in the order they were read. So
    /// does a rotated file before its successor.
    fn worker(&self, source: SourceId) -> &Doorbell {
        &self.workers[usize::from(source.0) % self.workers.len()]
    }

    fn take_hints(&mut self, now: Now) {
        for hint in self.hints.drain(now) {
            match hint {
                Hint::Look => self.scan_at = self.scan_at.min(now.mono + SCAN_PAUSE),
                Hint::Data(path) => {
                    if let Some(&source) = self.by_path.get(path.as_path()) {
                        self.worker(source).tell(Told::Data(path));
                    }
                }
            }
        }
    }
}

/// A way to call the control thread, and its inbox.
#[must_use]
pub(super) fn calls() -> (SyncSender<Call>, Receiver<Call>) {
    sync_channel(16)
}

/// Runs until [`Call::End`], then saves a last time.
pub(super) fn run(
    mut discovery: Option<Discovery>,
    common: &Common,
    state_dir: Option<&PathBuf>,
    calls: &Receiver<Call>,
    pulse: &Pulse,
) {
    let mut keeper = Keeper::new(state_dir.cloned());
    let mut tick_at = Duration::ZERO;
    loop {
        let now = common.clock.now();
        pulse.beat(now);
        if let Some(discovery) = &mut discovery {
            discovery.take_hints(now);
            if discovery.scan_at <= now.mono {
                discovery.scan(common, now);
            }
        }
        if tick_at <= now.mono {
            keeper.save(common, now);
            set_gauges(common, &keeper, now);
            tick_at = now.mono + TICK;
        }
        let scan_at = discovery.as_ref().map_or(Duration::MAX, |discovery| discovery.scan_at);
        let wait = tick_at.min(scan_at).saturating_sub(now.mono);
        match calls.recv_timeout(wait) {
            Ok(Call::Hints) | Err(RecvTimeoutError::Timeout) => {}
            Ok(Call::StopScanning) => discovery = None,
            Ok(Call::End) | Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    let now = common.clock.now();
    keeper.save(common, now);
    set_gauges(common, &keeper, now);
}

/// Saves checkpoints.
struct Keeper {
    folder: Option<PathBuf>,
    saved_at: Option<Duration>,
    failing: bool,
}

impl Keeper {
    fn new(folder: Option<PathBuf>) -> Self {
        Self { folder, saved_at: None, failing: false }
    }

    fn save(&mut self, common: &Common, now: Now) {
        let Some(folder) = &self.folder else { return };
        let Some(state) = state(common, now) else {
            // Nothing has changed, so what is saved is as good as new.
            self.saved_at = self.saved_at.map(|_| now.mono);
            return;
        };
        match checkpoint::save(&mut Disk, folder, &state) {
            Ok(()) => {
                common.metrics.checkpoint_saves.inc();
                self.saved_at = Some(now.mono);
                if std::mem::take(&mut self.failing) {
                    info!("checkpoints can be saved again");
                }
            }
            Err(error) => self.failed(common, &error),
        }
    }

    fn failed(&mut self, common: &Common, error: &CheckpointError) {
        common.metrics.checkpoint_failures.inc();
        common.registry.set_dirty();
        if !std::mem::replace(&mut self.failing, true) {
            let cause = std::error::Error::source(error).map(ToString::to_string);
            error!(
                %error,
                cause,
                "cannot save the checkpoint; lines are still shipped, and after a restart those \
                 since the last one are sent again",
            );
        }
    }
}

/// What the checkpoint has to say, if something changed.
fn state(common: &Common, now: Now) -> Option<State> {
    let files = common.registry.snapshot(now.wall)?;
    let demoted = common.sources.iter().flat_map(|source| {
        let labels = source.guard().demoted().into_iter();
        labels.map(|label| Demoted {
            source: source.name.clone(),
            label,
            values_max: source.values_max,
        })
    });
    Some(State { files, demoted: demoted.collect() })
}

fn set_gauges(common: &Common, keeper: &Keeper, now: Now) {
    let (metrics, lag) = (&common.metrics, common.registry.lag(now));
    metrics.set_files(FileState::Following, lag.following);
    metrics.set_files(FileState::Rotated, lag.rotated);
    metrics.set_files(FileState::SetAside, lag.set_aside);
    metrics.lag_bytes.set(signed(lag.unread_bytes));
    metrics.oldest_unsettled_seconds.set(lag.oldest_unsettled.map_or(0.0, |age| age.as_secs_f64()));
    metrics.memory_in_flight_bytes.set(signed(common.pool.used()));
    metrics.memory_peak_bytes.set(signed(common.pool.peak()));
    metrics.memory_limit_bytes.set(signed(common.pool.limit()));
    let age = keeper.saved_at.map_or(0.0, |at| now.mono.saturating_sub(at).as_secs_f64());
    metrics.checkpoint_age_seconds.set(age);
    metrics.ready.set(i64::from(common.not_ready(now).is_empty()));
    for (tenant, ready) in common.tenants_ready(now) {
        metrics.tenant_ready.get_or_create(&Tenant { tenant }).set(i64::from(ready));
    }
    for (tenant, id) in common.tenants.iter().zip(0..) {
        let tenant = Tenant { tenant: tenant.clone().unwrap_or_default() };
        let used = common.pool.of(TenantId(id)).used_by_tenant();
        metrics.tenant_memory_bytes.get_or_create(&tenant).set(signed(used));
    }
    metrics.push_holding.set(i64::from(common.is_holding()));
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// The id of the source at this place of the configuration.
#[must_use]
pub(super) fn numbered(idx: usize) -> SourceId {
    SourceId(u16::try_from(idx).expect("BUG: more sources than a configuration can hold"))
}
