//! The thread that finds files, saves checkpoints and keeps the gauges.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use tokio::sync::mpsc;
use tracing::{error, info};

use super::behind::{Retention, Watch};
use super::clock::Clock;
use super::common::Common;
use super::files::Disk;
use super::finder::Finder;
use super::pods::Pods;
use super::pulse::Pulse;
use super::wake::{Adopt, Doorbell, Told};
use crate::checkpoint::{self, CheckpointError, Demoted};
use crate::discover::{Changes, Hint, Hints, Scanner};
use crate::model::{Now, SourceId, TenantId};
use crate::telemetry::{FileState, Tenant};

/// How often checkpoints are saved and gauges are set.
const TICK: Duration = Duration::from_secs(1);

/// How often all folders are walked while hints work, and while they do not.
const SCAN_HINTED: Duration = Duration::from_secs(2);
const SCAN_POLLED: Duration = Duration::from_secs(1);

/// A look costs a stat of each folder: with many, there are fewer looks. Where notify tells of each
/// change they are only for what it may have missed.
const FOLDER_PAUSE_HINTED: Duration = Duration::from_millis(3);
const FOLDER_PAUSE_POLLED: Duration = Duration::from_micros(200);
const SCAN_MAX: Duration = Duration::from_secs(60);

/// After it has told something, notify rests for so long, unless it has rested just before.
const HINT_REST: Duration = Duration::from_millis(5);
const HINT_WORK: Duration = Duration::from_millis(1);

/// How often is looked whether a file can go on to its new source.
const WAITING: Duration = Duration::from_millis(50);

/// A scan that a hint asks for waits this long for others to join it.
const SCAN_PAUSE: Duration = Duration::from_millis(50);

/// What wakes the control thread.
pub(super) enum Call {
    /// There are hints.
    Hints,
    /// The API of Kubernetes has told of something.
    Pods,
    /// The configuration has changed.
    Adopt(Box<Change>),
    /// Look for new files no more; go on with the rest.
    StopScanning,
    /// Save a last time and end.
    End,
}

/// What a reload changes for the control thread.
pub(super) struct Change {
    /// One that has the globs of now.
    pub(super) scanner: Option<Scanner>,
    /// By source: its files that were there before are read from their ends.
    pub(super) from_end: Vec<bool>,
    /// By source: whether its files were not looked for before.
    pub(super) fresh: Vec<bool>,
    /// By source, what its files wait for.
    pub(super) waits: Vec<Option<(Duration, bool)>>,
    /// What the API of Kubernetes says.
    pub(super) pods: Arc<Pods>,
    /// Readers that were started.
    pub(super) readers: Vec<Doorbell>,
    /// What each worker is told first.
    pub(super) adopts: Vec<(Doorbell, Adopt)>,
    /// Dropped when it is done.
    pub(super) _done: mpsc::Sender<()>,
}

/// Files and where they are read.
pub(super) struct Discovery {
    scanner: Scanner,
    hints: Hints,
    workers: Vec<Doorbell>,
    finder: Finder,
    retention: Retention,
    scan_at: Duration,
    /// This thread waits for that of notify, for each folder that is new.
    is_watching: Arc<AtomicBool>,
}

impl Discovery {
    /// Discovery for `workers`; rings `bell` when there are hints.
    #[must_use]
    pub(super) fn new(
        scanner: Scanner,
        workers: Vec<Doorbell>,
        finder: Finder,
        bell: SyncSender<Call>,
        clock: Clock,
    ) -> Self {
        let is_watching = Arc::new(AtomicBool::new(false));
        let (is_awaited, mut rested_at) = (Arc::clone(&is_watching), Duration::ZERO);
        let hints = Hints::start(move |is_first| {
            if is_first {
                let _ = bell.try_send(Call::Hints);
            }
            if rested_at + HINT_WORK <= clock.now().mono && !is_awaited.load(Ordering::Relaxed) {
                rest(HINT_REST);
                rested_at = clock.now().mono;
            }
        });
        let (retention, scan_at) = (Retention::default(), Duration::ZERO);
        Self { scanner, hints, workers, finder, retention, scan_at, is_watching }
    }

    /// Looks with other globs, at once.
    fn adopt(&mut self, change: Change, now: Now) {
        self.workers.extend(change.readers);
        self.finder.adopt(change.from_end, change.fresh);
        self.finder.set_pods(Arc::clone(&change.pods), change.waits);
        if let Some(scanner) = change.scanner {
            self.scanner.adopt(scanner);
            self.scan(now);
        }
    }

    /// Files that waited for others to let go of them.
    fn pass_on_waiting(&mut self, now: Now) {
        let workers = &self.workers;
        let tell = |source, told| worker(workers, source).tell(told);
        self.finder.pods_changed(now, tell);
        if self.finder.is_waiting() {
            self.finder.pass_on(Changes::default(), now, tell);
        }
    }

    fn scan(&mut self, now: Now) {
        let changes = self.scanner.changes(now);
        self.retention.learn(&changes, now);
        let mut pause = self.pause();
        if !(self.scanner.may_rest() && self.hints.is_active()) {
            self.is_watching.store(true, Ordering::Relaxed);
            let is_new = self.hints.watch(self.scanner.folders(), now);
            self.is_watching.store(false, Ordering::Relaxed);
            pause = if is_new { SCAN_PAUSE } else { self.pause() };
        }
        self.scan_at = now.mono + pause;
        if self.finder.is_first() && changes.appeared.is_empty() {
            info!("no file matches yet; looking on");
        }
        let workers = &self.workers;
        self.finder.pass_on(changes, now, |source, told| worker(workers, source).tell(told));
    }

    /// Until the next look that nobody asks for.
    fn pause(&self) -> Duration {
        let folders = u32::try_from(self.scanner.folder_count()).unwrap_or(u32::MAX).min(100_000);
        if !self.hints.is_active() {
            (folders * FOLDER_PAUSE_POLLED).max(SCAN_POLLED)
        } else if self.scanner.may_rest() {
            (folders * FOLDER_PAUSE_HINTED).clamp(SCAN_HINTED, SCAN_MAX)
        } else {
            SCAN_HINTED
        }
    }

    fn take_hints(&mut self, now: Now) {
        for hint in self.hints.drain(now) {
            match hint {
                Hint::Look => self.scan_at = self.scan_at.min(now.mono + SCAN_PAUSE),
                Hint::Data(path) => self.tell_of_data(path, false),
                Hint::Last(path) => self.tell_of_data(path, true),
            }
        }
    }

    fn tell_of_data(&self, path: PathBuf, is_last: bool) {
        if let Some(source) = self.finder.source_of(&path) {
            worker(&self.workers, source).tell(Told::Data { path, is_last });
        }
    }
}

/// What has come to the notify thread meanwhile costs less together.
#[expect(clippy::disallowed_methods, reason = "nothing else waits for this thread")]
fn rest(time: Duration) {
    std::thread::sleep(time);
}

fn worker(workers: &[Doorbell], source: SourceId) -> &Doorbell {
    &workers[reader_of(usize::from(source.0), workers.len())]
}

/// Which of so many readers has the files of a source. They share streams, and Loki refuses what is
/// an hour behind its stream: only batches of one lane come to Loki in the order they were read. So
/// does a rotated file before its successor.
pub(super) fn reader_of(source: usize, readers: usize) -> usize {
    source % readers
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
    let mut watch = Watch::new();
    let mut tick_at = Duration::ZERO;
    loop {
        let now = common.clock.now();
        pulse.beat(now);
        if let Some(discovery) = &mut discovery {
            discovery.take_hints(now);
            if discovery.scan_at <= now.mono {
                discovery.scan(now);
            }
            discovery.pass_on_waiting(now);
        }
        if tick_at <= now.mono {
            keeper.save(common, now);
            say_lost(common, now);
            watch.look(common, discovery.as_ref().map(|discovery| &discovery.retention), now);
            set_gauges(common, &keeper, now);
            tick_at = now.mono + TICK;
        }
        let scan_at = discovery.as_ref().map_or(Duration::MAX, |discovery| discovery.scan_at);
        let is_waiting = |discovery: &Discovery| discovery.finder.is_waiting();
        let most = if discovery.as_ref().is_some_and(is_waiting) { WAITING } else { TICK };
        let wait = tick_at.min(scan_at).saturating_sub(now.mono).min(most);
        match calls.recv_timeout(wait) {
            Ok(Call::Hints | Call::Pods) | Err(RecvTimeoutError::Timeout) => {}
            Ok(Call::Adopt(mut change)) => {
                // Before they hear of files that the change brings.
                for (bell, adopt) in std::mem::take(&mut change.adopts) {
                    bell.tell(Told::Adopt(Box::new(adopt)));
                }
                if let Some(discovery) = &mut discovery {
                    discovery.adopt(*change, common.clock.now());
                }
                common.registry.set_dirty();
            }
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
        let Some(files) = common.registry.snapshot(now.wall) else {
            // Nothing has changed, so what is saved is as good as new.
            self.saved_at = self.saved_at.map(|_| now.mono);
            return;
        };
        match checkpoint::save(&mut Disk, folder, files, &demoted(common)) {
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

/// The labels that the guards have moved.
pub(super) fn demoted(common: &Common) -> Vec<Demoted> {
    common.current.sources().iter().flat_map(|source| source.demoted()).collect()
}

/// Bytes of an earlier run's files that nobody will read.
fn say_lost(common: &Common, now: Now) {
    for (path, bytes) in common.registry.lost(now) {
        common.metrics.skipped("vanished", bytes);
        error!(
            path = %path.display(),
            bytes,
            "a file is gone that an earlier run had not read to its end: at least so many bytes \
             are lost; keep rotated files longer than skald may be away",
        );
    }
}

fn set_gauges(common: &Common, keeper: &Keeper, now: Now) {
    let (metrics, lag) = (&common.metrics, common.registry.lag(now));
    metrics.set_files(FileState::Following, lag.following);
    metrics.set_files(FileState::Rotated, lag.rotated);
    metrics.set_files(FileState::SetAside, lag.set_aside);
    metrics.lag_bytes.set(signed(lag.unread_bytes));
    metrics.deleted_bytes.set(signed(lag.deleted_bytes));
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
    for (tenant, id) in common.current.tenants().iter().zip(0..) {
        let tenant = Tenant { tenant: tenant.clone().unwrap_or_default() };
        let used = common.pool.of(TenantId(id)).used_by_tenant();
        metrics.tenant_memory_bytes.get_or_create(&tenant).set(signed(used));
    }
    metrics.push_holding.set(i64::from(common.is_holding()));
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
