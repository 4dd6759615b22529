//! The open batches, one for each tenant: entries grouped by stream, encoded as they come.

use std::time::Duration;

use super::Sealed;
use super::open::{Open, Part};
use super::streams::{Base, Found, StreamId, Streams};
use crate::ledger::Ticket;
use crate::model::{
    BEHIND_MAX, Counts, ENTRY_WEIGHT, Entry, FileKey, Now, ORIGINAL_TIMESTAMP, PUSH_BYTES_MAX,
    PUSH_WEIGHT_MAX, Pair, Pool, STREAM_WEIGHT, SourceId, TenantId, UnixNanos,
};
use crate::wire::{self, Compressor, EntryParts};

/// What the configuration says about batches.
#[derive(Debug, Clone)]
pub struct Options {
    /// Sealed when it holds this many encoded bytes and Loki is ready for more.
    pub bytes_max: usize,
    /// Sealed when its first entry is this old; see [`Batcher::due_at`].
    pub age_max: Duration,
    /// Most streams that are remembered.
    pub streams_max: usize,
    /// Whether structured metadata is sent at all.
    pub metadata: bool,
}

/// What an open stream costs beside its entries: its labels twice and its place in the batch.
const PART_BYTES: usize = 128;

/// Encoded buffers kept for the next batch take at most this many bytes together.
const SPARE_BYTES_MAX: usize = 2 * 1024 * 1024;

/// What became of an entry that was offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pushed {
    /// It is in the batch.
    Taken,
    /// It is in the batch, at a time inside Loki's window; its own is in its metadata.
    Moved,
    /// It does not fit: seal first.
    Full,
    /// The memory budget has no room for it: seal, and wait for answers.
    NoPermit,
}

/// Groups entries by stream and seals full or old batches. One for each worker.
#[derive(Debug)]
pub struct Batcher {
    options: Options,
    streams: Streams,
    /// By tenant.
    open: Vec<Open>,
    /// Most streams in one open batch, so that no tenant takes the whole table.
    parts_max: usize,
    /// Tickets made since [`Batcher::new_tickets`] was last asked.
    new_tickets: u32,
    spare: Vec<Vec<u8>>,
    request: Vec<u8>,
    compressor: Compressor,
}

impl Batcher {
    /// Empty batches, one for each tenant of `pool`. `bases` by source.
    #[must_use]
    pub fn new(options: Options, bases: Vec<Base>, pool: &Pool) -> Self {
        let tenants = pool.tenants();
        Self {
            streams: Streams::new(bases, options.streams_max.max(tenants)),
            open: TenantId::first(tenants).map(|tenant| Open::new(pool.of(tenant))).collect(),
            parts_max: (options.streams_max / tenants).max(1),
            options,
            new_tickets: 0,
            spare: Vec::new(),
            request: Vec::new(),
            compressor: Compressor::default(),
        }
    }

    /// Looks up the stream of a line by its label values.
    pub fn find(&mut self, source: SourceId, labels: &[&str], epoch: u64) -> Found {
        self.streams.find(source, labels, epoch)
    }

    /// Adds a stream that the guard admitted in `epoch`. `None`: the table is full of streams of
    /// open batches, seal that of the source's tenant first.
    pub fn insert(&mut self, source: SourceId, labels: &[&str], epoch: u64) -> Option<StreamId> {
        self.streams.insert(source, labels, epoch)
    }

    /// How many streams are known.
    #[must_use]
    pub fn streams(&self) -> usize {
        self.streams.len()
    }

    /// Makes sure that `bytes` more of `tenant` can be held, before they are read.
    #[must_use]
    pub fn reserve(&mut self, tenant: TenantId, bytes: u64) -> bool {
        self.open[tenant.idx()].reserve(bytes)
    }

    /// Gives back what was reserved and not used.
    pub fn release_spare(&mut self) {
        self.open.iter_mut().for_each(Open::release_spare);
    }

    /// Encodes an entry into its stream. `ticket` says which stretch of which file it came from;
    /// `input` is what it was there, newline and wrapper included.
    pub fn push(
        &mut self,
        stream: StreamId,
        entry: &Entry<'_>,
        ticket: Option<(FileKey, u64)>,
        input: Counts,
        now: Now,
    ) -> Pushed {
        let (time, moved) = self.time_in_window(stream, entry.time);
        let original = moved.then(|| entry.time.to_string());
        let extra = original.as_deref().map(|value| Pair { name: ORIGINAL_TIMESTAMP, value });
        let parts = EntryParts {
            time,
            line: entry.line.as_bytes(),
            metadata: if self.options.metadata { entry.metadata } else { &[] },
            extra: extra.filter(|_| self.options.metadata),
        };
        let len = wire::entry_len(&parts);
        if self.is_too_long(stream, time) {
            return Pushed::Full;
        }
        let new_part = self.part_cost(stream);
        let open = &mut self.open[self.streams.get(stream).tenant.idx()];
        let (encoded, weight) = (
            open.encoded + new_part + len.total(),
            open.weight + new_part + len.total() + ENTRY_WEIGHT,
        );
        let has_room = encoded <= PUSH_BYTES_MAX
            && weight <= PUSH_WEIGHT_MAX
            && (new_part == 0 || open.parts.len() < self.parts_max);
        if open.entries != 0 && !has_room {
            return Pushed::Full;
        }
        if !open.hold((len.total() + new_part) as u64) {
            return Pushed::NoPermit;
        }
        (open.encoded, open.weight) = (encoded, weight);
        let part = self.part(stream);
        part.oldest = part.oldest.min(time);
        wire::append_entry(&mut part.bytes, &parts, len);
        let remembered = self.streams.get(stream);
        remembered.newest = remembered.newest.max(time);
        if moved {
            remembered.moved_to = time;
        }
        let tenant = remembered.tenant;
        self.note(tenant, ticket, input, now);
        if moved { Pushed::Moved } else { Pushed::Taken }
    }

    /// Whether no open batch holds an entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.open.iter().all(|open| open.entries == 0)
    }

    /// Whether `tenant`'s batch has reached its size.
    #[must_use]
    pub fn is_full(&self, tenant: TenantId) -> bool {
        self.options.bytes_max <= self.open[tenant.idx()].encoded
    }

    /// When `tenant`'s batch wants to be sealed whatever its size: the first entries after a quiet
    /// `age_max` at once, then at most one unfilled batch in `age_max`. `None` when it is empty.
    #[must_use]
    pub fn due_at(&self, tenant: TenantId) -> Option<Duration> {
        let open = &self.open[tenant.idx()];
        if open.entries == 0 {
            return None;
        }
        let paced = open.unfilled_at.map_or(Duration::ZERO, |at| at + self.options.age_max);
        Some(paced.max(open.opened_at))
    }

    /// When the first entry of `tenant`'s batch has waited for `age_max`. `None` when it is empty.
    #[must_use]
    pub fn old_at(&self, tenant: TenantId) -> Option<Duration> {
        let open = &self.open[tenant.idx()];
        (open.entries != 0).then(|| open.opened_at + self.options.age_max)
    }

    /// Closes `tenant`'s batch and compresses it; `None` when it is empty. The permit shrinks to
    /// the compressed body.
    pub fn seal(&mut self, tenant: TenantId, now: Now) -> Option<Sealed> {
        let is_full = self.is_full(tenant);
        let open = &mut self.open[tenant.idx()];
        if open.entries == 0 {
            return None;
        }
        if !is_full {
            open.unfilled_at = Some(now.mono);
        }
        let (streams, entries) = (open.parts.len(), open.entries);
        self.assemble(tenant);
        let body = self.compressor.compress(&self.request);
        let receipt = self.open[tenant.idx()].receipt(&body);
        let encoded_bytes = self.request.len();
        Some(Sealed { tenant, body, encoded_bytes, entries, streams, receipt })
    }

    /// Writes the request: streams that Loki knows first, new ones last, so that its answer, which
    /// is about the last one, covers those that it may refuse.
    fn assemble(&mut self, tenant: TenantId) {
        self.request.clear();
        let parts = &mut self.open[tenant.idx()].parts;
        for established in [true, false] {
            for part in &*parts {
                let stream = self.streams.get(part.stream);
                if stream.established == established {
                    wire::append_stream(&mut self.request, &stream.labels, &part.bytes);
                }
            }
        }
        let mut spare_bytes: usize = self.spare.iter().map(Vec::capacity).sum();
        for mut part in parts.drain(..) {
            let stream = self.streams.get(part.stream);
            stream.established = true;
            stream.part = None;
            spare_bytes += part.bytes.capacity();
            if spare_bytes <= SPARE_BYTES_MAX {
                part.bytes.clear();
                self.spare.push(part.bytes);
            } else {
                spare_bytes -= part.bytes.capacity();
            }
        }
    }

    /// A line too far behind the newest of its stream is moved to the edge of Loki's window, each
    /// one a nanosecond behind the one before, so that they stay distinct and in order.
    fn time_in_window(&mut self, stream: StreamId, time: UnixNanos) -> (UnixNanos, bool) {
        let stream = self.streams.get(stream);
        let floor = stream.newest.minus(BEHIND_MAX);
        if floor <= time {
            return (time, false);
        }
        (floor.max(UnixNanos(stream.moved_to.0.saturating_add(1))), true)
    }

    /// Whether the open batch would span more of the stream than Loki's window: if its answer was
    /// lost, Loki would refuse the beginning of it when it comes again.
    fn is_too_long(&mut self, stream: StreamId, time: UnixNanos) -> bool {
        let stream = self.streams.get(stream);
        let Some(part) = stream.part else { return false };
        let oldest = self.open[stream.tenant.idx()].parts[part as usize].oldest.min(time);
        oldest < stream.newest.max(time).minus(BEHIND_MAX)
    }

    fn part_cost(&mut self, stream: StreamId) -> usize {
        let stream = self.streams.get(stream);
        if stream.part.is_some() { 0 } else { 2 * stream.labels.len() + PART_BYTES + STREAM_WEIGHT }
    }

    /// The entries of a stream in the open batch.
    fn part(&mut self, id: StreamId) -> &mut Part {
        let stream = self.streams.get(id);
        let parts = &mut self.open[stream.tenant.idx()].parts;
        let part = *stream.part.get_or_insert_with(|| {
            let (bytes, oldest) = (self.spare.pop().unwrap_or_default(), UnixNanos(i64::MAX));
            parts.push(Part { stream: id, bytes, oldest });
            u32::try_from(parts.len() - 1).expect("BUG: parts are streams")
        });
        &mut parts[part as usize]
    }

    fn note(&mut self, tenant: TenantId, ticket: Option<(FileKey, u64)>, input: Counts, now: Now) {
        let open = &mut self.open[tenant.idx()];
        if open.entries == 0 {
            open.opened_at = now.mono;
        }
        open.entries += 1;
        open.counts += input;
        let Some((file, seq)) = ticket else { return };
        // Lines of one stretch come together, so that its ticket is the last one.
        if open.tickets.last().is_none_or(|last| (last.file, last.seq) != (file, seq)) {
            open.tickets.push(Ticket { file, seq });
            self.new_tickets += 1;
        }
    }

    /// The last entry of `tenant` stands for more of the input than it was pushed with: it was
    /// joined.
    pub fn add_to_last(&mut self, tenant: TenantId, input: Counts) {
        self.open[tenant.idx()].counts += input;
    }

    /// How many tickets were made since this was last asked: as many batches, open or sealed,
    /// have lines of the stretch that was read meanwhile.
    pub fn new_tickets(&mut self) -> u32 {
        std::mem::take(&mut self.new_tickets)
    }
}
