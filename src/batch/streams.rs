//! The table of known streams: from the values in a line to a stream's number, in bounded memory.

use std::hash::{BuildHasher as _, Hasher as _};

use foldhash::fast::FixedState;
use hashbrown::HashTable;

use crate::model::{BEHIND_MAX, STREAM_WEIGHT, SourceId, TenantId, UnixNanos};
use crate::wire;

/// What an open stream costs beside its entries: its labels twice and its place in the batch.
const PART_BYTES: usize = 128;

/// The source of streams that no line finds any more.
const NOBODY: SourceId = SourceId(u16::MAX);

/// An epoch that no guard has: it is asked again.
const NEVER: u64 = u64::MAX;

/// The labels that all streams of one source share, and the names of those that lines bring.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Base {
    /// Whose they are.
    pub tenant: TenantId,
    /// Labels of every stream.
    pub labels: Vec<(String, String)>,
    /// Names of a line's label values, in the order of `Entry::labels`.
    pub names: Vec<String>,
}

impl Base {
    /// The labels of the stream that a line with these values belongs to. A stream without any
    /// label gets a job.
    #[must_use]
    pub fn label_string(&self, values: &[&str]) -> String {
        let fixed = self.labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let brought = self.names.iter().map(String::as_str).zip(values.iter().copied());
        // A missing value leaves a fixed label of the same name in its place.
        let labels =
            wire::label_string(fixed.chain(brought.filter(|(_, value)| !value.is_empty())));
        if labels == "{}" { r#"{job="skald"}"#.to_owned() } else { labels }
    }
}

/// A stream, by its place in the table. Valid until the stream is forgotten, which never happens
/// while the open batch holds entries of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamId(u32);

impl StreamId {
    fn idx(self) -> usize {
        self.0 as usize
    }
}

/// What is remembered of a stream between batches.
#[derive(Debug)]
pub(super) struct Stream {
    source: SourceId,
    pub(super) tenant: TenantId,
    hash: u64,
    /// The line's label values, each behind its length.
    key: Box<[u8]>,
    /// What Loki gets.
    pub(super) labels: Box<str>,
    /// When the guard last saw it, see [`Streams::find`].
    epoch: u64,
    /// The newest time sent in it.
    pub(super) newest: UnixNanos,
    /// The last time that a late line was moved to.
    pub(super) moved_to: UnixNanos,
    /// It was part of a sealed batch before.
    pub(super) established: bool,
    /// Its place in its tenant's open batch.
    pub(super) part: Option<u32>,
    /// Used since the hand last passed, see [`Streams::forget_one`].
    used: bool,
}

/// What is known of a line's stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// Known, and seen by the guard in this epoch.
    Known(StreamId),
    /// Not known, or not seen by the guard in this epoch: ask it before `Batcher::insert`.
    New,
}

/// The table. At most `max` streams; the hand of a clock forgets what was not used for longest.
#[derive(Debug)]
pub(super) struct Streams {
    bases: Vec<Base>,
    max: usize,
    hasher: FixedState,
    table: HashTable<u32>,
    slots: Vec<Stream>,
    hand: usize,
    /// The stream of the line before: most lines are of the same.
    last: Option<StreamId>,
}

impl Streams {
    pub(super) fn new(bases: Vec<Base>, max: usize) -> Self {
        assert!(0 < max && u32::try_from(max).is_ok(), "BUG: a table of {max} streams");
        Self {
            bases,
            max,
            hasher: FixedState::default(),
            table: HashTable::new(),
            slots: Vec::new(),
            hand: 0,
            last: None,
        }
    }

    /// Other sources: `renumbered` says what one is called now, and is `None` when its lines get
    /// other labels. What is in open batches stays there.
    pub(super) fn adopt(
        &mut self,
        bases: Vec<Base>,
        renumbered: impl Fn(SourceId) -> Option<SourceId>,
    ) {
        assert!(bases.len() < usize::from(NOBODY.0), "BUG: too many sources");
        self.bases = bases;
        self.last = None;
        self.table.clear();
        for idx in 0..self.slots.len() {
            let stream = &self.slots[idx];
            let source = Some(stream.source).filter(|source| *source != NOBODY);
            let source = source.and_then(&renumbered).unwrap_or(NOBODY);
            let hash = self.hash(source, values(&stream.key));
            let stream = &mut self.slots[idx];
            (stream.source, stream.hash, stream.epoch) = (source, hash, NEVER);
            stream.used &= source != NOBODY;
            if source != NOBODY {
                let id = u32::try_from(idx).expect("BUG: the table is larger than its maximum");
                let slots = &self.slots;
                self.table.insert_unique(hash, id, |id| slots[*id as usize].hash);
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn get(&mut self, id: StreamId) -> &mut Stream {
        &mut self.slots[id.idx()]
    }

    /// Looks a stream up by a line's label values.
    pub(super) fn find(&mut self, source: SourceId, values: &[&str], epoch: u64) -> Found {
        let id = match self.last {
            Some(id) if self.slots[id.idx()].is(source, values) => Some(id),
            _ => self.lookup(source, values),
        };
        self.last = id.or(self.last);
        let Some(id) = id else { return Found::New };
        let stream = &mut self.slots[id.idx()];
        stream.used = true;
        if stream.epoch == epoch { Found::Known(id) } else { Found::New }
    }

    /// Adds a stream, or notes that the guard admitted it in `epoch`. Forgets another one when the
    /// table is full; `None` when all are in the open batch.
    pub(super) fn insert(
        &mut self,
        source: SourceId,
        values: &[&str],
        epoch: u64,
    ) -> Option<StreamId> {
        if let Some(id) = self.lookup(source, values) {
            self.slots[id.idx()].epoch = epoch;
            return Some(id);
        }
        let base = &self.bases[usize::from(source.0)];
        let stream = Stream {
            source,
            tenant: base.tenant,
            hash: self.hash(source, values.iter().map(|value| value.as_bytes())),
            key: key(values),
            labels: base.label_string(values).into(),
            epoch,
            newest: UnixNanos(i64::MIN),
            moved_to: UnixNanos(i64::MIN),
            established: false,
            part: None,
            used: true,
        };
        let hash = stream.hash;
        let idx = if self.slots.len() < self.max {
            self.slots.push(stream);
            self.slots.len() - 1
        } else {
            let idx = self.forget_one()?;
            self.slots[idx] = stream;
            idx
        };
        let id = u32::try_from(idx).expect("BUG: the table is larger than its maximum");
        let slots = &self.slots;
        self.table.insert_unique(hash, id, |id| slots[*id as usize].hash);
        Some(StreamId(id))
    }

    fn lookup(&self, source: SourceId, values: &[&str]) -> Option<StreamId> {
        let hash = self.hash(source, values.iter().map(|value| value.as_bytes()));
        let is_it = |id: &u32| self.slots[*id as usize].is(source, values);
        self.table.find(hash, is_it).map(|id| StreamId(*id))
    }

    /// Second chance: the first stream that is neither in the open batch nor used since the hand
    /// last passed makes room. Its memory of the newest time goes with it, which is safe for a
    /// stream that was quiet for a whole round.
    fn forget_one(&mut self) -> Option<usize> {
        for _ in 0..2 * self.slots.len() {
            let idx = self.hand;
            self.hand = (self.hand + 1) % self.slots.len();
            let stream = &mut self.slots[idx];
            if stream.part.is_some() {
                continue;
            }
            if std::mem::take(&mut stream.used) {
                continue;
            }
            let hash = stream.hash;
            if stream.source != NOBODY {
                let entry = self.table.find_entry(hash, |id| *id as usize == idx);
                entry.expect("BUG: a stream is not in the table").remove();
            }
            self.last = None;
            return Some(idx);
        }
        None
    }

    #[inline]
    fn hash<'a>(&self, source: SourceId, values: impl Iterator<Item = &'a [u8]>) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        hasher.write_u16(source.0);
        for value in values {
            hasher.write(value);
            hasher.write_u8(0xff);
        }
        hasher.finish()
    }
}

impl Stream {
    /// A line too far behind the newest of its stream is moved to the edge of Loki's window, each
    /// one a nanosecond behind the one before, so that they stay distinct and in order.
    pub(super) fn time_in_window(&self, time: UnixNanos) -> (UnixNanos, bool) {
        let floor = self.newest.minus(BEHIND_MAX);
        if floor <= time {
            return (time, false);
        }
        (floor.max(UnixNanos(self.moved_to.0.saturating_add(1))), true)
    }

    /// Whether a batch that holds entries from `oldest` on would with `time` span more of the
    /// stream than Loki's window: if its answer was lost, Loki would refuse the beginning of it
    /// when it comes again.
    pub(super) fn is_too_long(&self, oldest: UnixNanos, time: UnixNanos) -> bool {
        oldest.min(time) < self.newest.max(time).minus(BEHIND_MAX)
    }

    /// What it costs an open batch beside its entries, in bytes.
    pub(super) fn part_cost(&self) -> usize {
        2 * self.labels.len() + PART_BYTES + STREAM_WEIGHT
    }

    fn is(&self, source: SourceId, values: &[&str]) -> bool {
        let mut rest = &*self.key;
        self.source == source
            && values.iter().all(|value| {
                let Some((len, tail)) = rest.split_first_chunk() else { return false };
                let len = usize::from(u16::from_le_bytes(*len));
                let same = len == value.len() && tail.starts_with(value.as_bytes());
                rest = if same { &tail[len..] } else { &[] };
                same
            })
    }
}

/// Values are at most `LABEL_VALUE_BYTES_MAX` long, so that two bytes hold a length.
fn key(values: &[&str]) -> Box<[u8]> {
    let mut key = Vec::with_capacity(values.iter().map(|value| value.len() + 2).sum());
    for value in values {
        let len = u16::try_from(value.len()).expect("BUG: parse cuts label values to 2048 bytes");
        key.extend_from_slice(&len.to_le_bytes());
        key.extend_from_slice(value.as_bytes());
    }
    key.into_boxed_slice()
}

/// The values in a key.
fn values(mut key: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (len, rest) = key.split_first_chunk()?;
        let (value, rest) = rest.split_at(usize::from(u16::from_le_bytes(*len)));
        key = rest;
        Some(value)
    })
}
