//! Which containers have lines that have begun and not ended, and when that is over.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::known::Lineage;
use super::registry::Registry;
use crate::model::{FileKey, Files, Mark, Now, OUTPUTS, SourceId};
use crate::parse::{Join, Older};

/// Parts that are held take this many bytes at most in each worker, or two lines if that is more;
/// beyond, what has rested longest is sent as it is.
const HELD_BYTES_MAX: usize = 1024 * 1024;

/// A line that has begun waits while this many bytes of other lines go by in its file.
const WAITED_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// How often the ends of containers are looked for, and how long a part is held at least.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// The lines of one container, in its newest generation that was read.
#[derive(Debug, Default)]
pub(super) struct Chain {
    pub(super) join: Join,
    /// When its file was last read.
    grew_at: Duration,
    place: Option<(SourceId, Arc<Path>)>,
    /// How long its lines wait for others of the same entry.
    pub(super) wait: Option<Duration>,
    /// When they have, and it is in [`Joins::timers`].
    timer: Option<Duration>,
}

/// All containers of one worker with lines that have begun. Mostly empty.
#[derive(Debug)]
pub(super) struct Joins {
    open: HashMap<FileKey, Chain>,
    /// Files whose parts are read again: up to here all else is settled.
    again: HashMap<FileKey, Mark>,
    /// When lines of a file have waited for others long enough.
    timers: BTreeSet<(Duration, FileKey)>,
    /// Files with lines that were given up.
    due: Vec<FileKey>,
    bytes: usize,
    bytes_max: usize,
    look_at: Duration,
}

impl Joins {
    /// Without parts. A line takes up to `line_bytes`.
    pub(super) fn new(line_bytes: usize) -> Self {
        Self {
            open: HashMap::new(),
            again: HashMap::new(),
            timers: BTreeSet::new(),
            due: Vec::new(),
            bytes: 0,
            bytes_max: HELD_BYTES_MAX.max(OUTPUTS * line_bytes),
            look_at: Duration::ZERO,
        }
    }

    /// A file was opened at `start`.
    pub(super) fn opened(&mut self, file: FileKey, start: Mark) {
        if start.read_from() != start.offset {
            self.again.insert(file, start);
        }
    }

    /// A file was closed: its container may have ended.
    pub(super) fn closed(&mut self, file: FileKey) {
        self.again.remove(&file);
        self.look_at = Duration::ZERO;
    }

    /// Up to where `file` is read again for its parts; the beginning when it is not.
    pub(super) fn again(&self, file: FileKey) -> Mark {
        self.again.get(&file).copied().unwrap_or_default()
    }

    /// Takes out the lines that have begun in `file`; of a file that is read for the `first` time
    /// in this run, also those of the generation before.
    pub(super) fn take(&mut self, file: FileKey, first: bool, registry: &Registry) -> Chain {
        if self.open.is_empty() {
            return Chain::default();
        }
        let mut chain = self.remove(file).unwrap_or_default();
        if first && let Some(Lineage { stem, goes_on, continues }) = registry.lineage(file) {
            let is_before =
                |chain: &Chain| chain.place.as_ref().is_some_and(|(_, other)| *other == stem);
            let before = self.open.iter().filter(|(_, chain)| is_before(chain));
            for before in before.map(|(before, _)| *before).collect::<Vec<_>>() {
                let Some(mut from) = self.remove(before) else { continue };
                if continues == Some(before) {
                    chain.join.take_over(&mut from.join, before);
                } else {
                    chain.join.inherit(&mut from.join, before, goes_on);
                }
                if !from.join.is_empty() {
                    // Its end was passed by an earlier run, or was never written.
                    from.join.give_up_all();
                    self.due.push(before);
                }
                self.put_back(before, from);
            }
        }
        chain
    }

    /// Puts back what has begun in `file`, which was read to `end`. Returns what older generations
    /// are free of.
    pub(super) fn put(
        &mut self,
        file: FileKey,
        source: SourceId,
        mut chain: Chain,
        end: Mark,
        registry: &Registry,
        now: Now,
    ) -> Vec<Older> {
        if self.again.get(&file).is_some_and(|again| again.offset <= end.offset) {
            self.again.remove(&file);
        }
        let freed = chain.join.freed();
        if chain.join.is_empty() {
            return freed;
        }
        chain.grew_at = now.mono;
        let lineage = || registry.lineage(file).map(|lineage| (source, lineage.stem));
        chain.place = chain.place.or_else(lineage);
        chain.join.give_up(end.offset, WAITED_BYTES_MAX);
        if chain.join.given_up().is_some() {
            self.due.push(file);
        }
        self.put_back(file, chain);
        if self.bytes_max < self.bytes {
            let rested = self.open.iter_mut().min_by_key(|(file, chain)| (chain.grew_at, **file));
            if let Some((file, chain)) = rested {
                chain.join.give_up_all();
                self.due.push(*file);
            }
        }
        freed
    }

    /// Lines of `file` that have begun will not be ended here. Returns whether there are any.
    pub(super) fn give_up(&mut self, file: FileKey) -> bool {
        let Some(chain) = self.open.get_mut(&file) else { return false };
        chain.join.give_up_all();
        self.due.push(file);
        true
    }

    /// The same for all files of these sources.
    pub(super) fn give_up_of(&mut self, is_one: impl Fn(SourceId) -> bool) {
        for (file, chain) in &mut self.open {
            if chain.place.as_ref().is_some_and(|(source, _)| is_one(*source)) {
                chain.join.give_up_all();
                self.due.push(*file);
            }
        }
    }

    pub(super) fn remove(&mut self, file: FileKey) -> Option<Chain> {
        let mut chain = self.open.remove(&file)?;
        self.bytes -= chain.join.bytes();
        if let Some(at) = chain.timer.take() {
            self.timers.remove(&(at, file));
        }
        Some(chain)
    }

    pub(super) fn put_back(&mut self, file: FileKey, mut chain: Chain) {
        if !chain.join.is_empty() {
            self.bytes += chain.join.bytes();
            chain.timer = chain.wait.and_then(|wait| chain.join.rests_until(wait));
            self.timers.extend(chain.timer.map(|at| (at, file)));
            self.open.insert(file, chain);
        }
    }

    /// When the next of the lines that wait for others have done so.
    pub(super) fn wake_at(&self) -> Duration {
        self.timers.first().map_or(Duration::MAX, |(at, _)| *at)
    }

    /// Gives up the lines that have waited for others long enough.
    fn rest(&mut self, now: Now) {
        while self.wake_at() <= now.mono
            && let Some((_, file)) = self.timers.pop_first()
        {
            let Some(chain) = self.open.get_mut(&file) else { continue };
            chain.timer = None;
            if chain.wait.is_some_and(|wait| chain.join.rest(wait, now)) {
                self.due.push(file);
            }
        }
    }

    /// A file whose lines will not be ended, and its source.
    pub(super) fn due<D: Files>(
        &mut self,
        registry: &Registry,
        now: Now,
        files: &mut D,
    ) -> Option<(FileKey, SourceId)> {
        if self.open.is_empty() {
            self.due.clear();
            return None;
        }
        self.rest(now);
        if self.look_at <= now.mono {
            self.look_at = now.mono + LOOK_EVERY;
            for (file, chain) in &mut self.open {
                let is_quiet = LOOK_EVERY <= now.mono.saturating_sub(chain.grew_at);
                if registry.is_over(*file)
                    || is_quiet && has_next(registry.read_out(*file).as_deref(), files)
                {
                    chain.join.give_up_all();
                    self.due.push(*file);
                }
            }
        }
        while let Some(file) = self.due.last() {
            let place = self.open.get(file).and_then(|chain| chain.place.as_ref());
            if let Some((source, _)) = place {
                return Some((*file, *source));
            }
            self.due.pop();
        }
        None
    }
}

/// Whether the container has been started again: kubelet numbers the logs of its instances.
fn has_next<D: Files>(path: Option<&Path>, files: &mut D) -> bool {
    path.and_then(next_instance).is_some_and(|next| files.open(&next).is_ok())
}

/// `…/1.log` behind `…/0.log`.
fn next_instance(path: &Path) -> Option<PathBuf> {
    let instance: u32 = path.file_name()?.to_str()?.strip_suffix(".log")?.parse().ok()?;
    Some(path.with_file_name(format!("{}.log", instance.checked_add(1)?)))
}
