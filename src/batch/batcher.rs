//! The open batches, one for each tenant: entries grouped by stream, encoded as they come.

use std::time::Duration;

use super::closed::{Closed, ClosedPart, keep};
use super::open::{Open, PIECE_BYTES, Part, Piece};
use super::streams::{Base, Found, StreamId, Streams};
use crate::ledger::Ticket;
use crate::model::{
    Counts, ENTRY_WEIGHT, Entry, FileKey, Now, ORIGINAL_TIMESTAMP, PUSH_BYTES_MAX, PUSH_WEIGHT_MAX,
    Pair, Pool, SourceId, TenantId,
};
use crate::wire::{self, EntryLen, EntryParts};

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
    /// Pieces that wait to be compressed.
    full: Vec<Piece>,
}

impl Batcher {
    /// Empty batches, one for each tenant of `pool`. `bases` by source.
    #[must_use]
    pub fn new(options: Options, bases: Vec<Base>, pool: &Pool) -> Self {
        let tenants = pool.tenants();
        Self {
            streams: Streams::new(bases, options.streams_max.max(tenants)),
            open: TenantId::first(tenants).map(|tenant| Open::new(pool.of(tenant))).collect(),
            parts_max: parts_max(&options, tenants),
            options,
            new_tickets: 0,
            spare: Vec::new(),
            full: Vec::new(),
        }
    }

    /// Goes on with other sources, maybe for more tenants of `pool`: `renumbered` says what a source
    /// is called now, and is `None` when its lines get other labels. What is open stays so.
    pub fn adopt(
        &mut self,
        metadata: bool,
        bases: Vec<Base>,
        pool: &Pool,
        renumbered: impl Fn(SourceId) -> Option<SourceId>,
    ) {
        self.options.metadata = metadata;
        let tenants = pool.tenants();
        let new = TenantId::first(tenants).skip(self.open.len());
        self.open.extend(new.map(|tenant| Open::new(pool.of(tenant))));
        self.parts_max = parts_max(&self.options, tenants);
        self.streams.adopt(bases, renumbered);
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
        let known = self.streams.get(stream);
        let (time, moved) = known.time_in_window(entry.time);
        let original = moved.then(|| entry.time.to_string());
        let extra = original.as_deref().map(|value| Pair { name: ORIGINAL_TIMESTAMP, value });
        let parts = EntryParts {
            time,
            line: entry.line.as_bytes(),
            metadata: if self.options.metadata { entry.metadata } else { &[] },
            extra: extra.filter(|_| self.options.metadata),
        };
        let len = wire::entry_len(&parts);
        let open = &mut self.open[known.tenant.idx()];
        let part = known.part.map(|idx| &open.parts[idx as usize]);
        if part.is_some_and(|part| known.is_too_long(part.oldest, time)) {
            return Pushed::Full;
        }
        let new_part = if part.is_some() { 0 } else { known.part_cost() };
        let encoded = open.encoded + new_part + len.total();
        let weight = open.weight + new_part + len.total() + ENTRY_WEIGHT;
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
        known.newest = known.newest.max(time);
        if moved {
            known.moved_to = time;
        }
        self.append(stream, &parts, len);
        self.note(stream, ticket, input, now);
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

    /// Whether `tenant`'s batch is less than a piece, so that no piece of it was taken out.
    #[must_use]
    pub fn is_small(&self, tenant: TenantId) -> bool {
        self.open[tenant.idx()].encoded <= PIECE_BYTES
    }

    /// A part of an open batch that is to be compressed now, before it is sealed, here or on
    /// another thread. It has to be [put](Batcher::put) back, for its memory.
    pub fn full_piece(&mut self) -> Option<Piece> {
        self.full.pop()
    }

    /// Takes back a piece that was compressed, which frees memory.
    pub fn put(&mut self, piece: Piece) {
        let open = &mut self.open[piece.tenant.idx()];
        // When its batch was closed meanwhile, the memory is in that one's permit.
        if open.batch == piece.batch {
            let packed = piece.packed.get().map_or(0, Vec::len);
            open.let_go(piece.bytes.len().saturating_sub(packed) as u64);
        }
        keep(&mut self.spare, piece.bytes);
    }

    /// Closes `tenant`'s batch, to be sealed by a [`super::Packer`]; `None` when it is empty. Its
    /// pieces need not be back.
    pub fn close(&mut self, tenant: TenantId, now: Now) -> Option<Closed> {
        let is_full = self.is_full(tenant);
        let Self { streams, open, .. } = self;
        let open = &mut open[tenant.idx()];
        if open.entries == 0 {
            return None;
        }
        if !is_full {
            open.unfilled_at = Some(now.mono);
        }
        let (mut parts, mut heads) = (Vec::with_capacity(open.parts.len()), Vec::new());
        for established in [true, false] {
            for part in &mut open.parts {
                let stream = streams.get(part.stream);
                if stream.established != established {
                    continue;
                }
                let (start, len) = (heads.len(), part.len());
                wire::append_stream_head(&mut heads, &stream.labels, len);
                parts.push(ClosedPart {
                    head_len: heads.len() - start,
                    len,
                    packed: std::mem::take(&mut part.packed),
                    bytes: std::mem::take(&mut part.bytes),
                });
            }
        }
        for part in open.parts.drain(..) {
            let stream = streams.get(part.stream);
            (stream.established, stream.part) = (true, None);
        }
        let entries = open.entries;
        Some(Closed { tenant, parts, heads, entries, receipt: open.receipt() })
    }

    /// Takes back the buffers of a batch that was sealed.
    pub fn take_back(&mut self, buffers: Vec<Vec<u8>>) {
        buffers.into_iter().for_each(|bytes| keep(&mut self.spare, bytes));
    }

    /// Encodes an entry to the end of its stream.
    fn append(&mut self, id: StreamId, entry: &EntryParts<'_>, len: EntryLen) {
        let stream = self.streams.get(id);
        let open = &mut self.open[stream.tenant.idx()];
        let idx = *stream.part.get_or_insert_with(|| {
            open.parts.push(Part::new(id, self.spare.pop().unwrap_or_default()));
            u32::try_from(open.parts.len() - 1).expect("BUG: parts are streams")
        });
        let part = &mut open.parts[idx as usize];
        part.oldest = part.oldest.min(entry.time);
        if part.is_full(len.total()) {
            let spare = self.spare.pop().unwrap_or_default();
            self.full.push(part.cut(stream.tenant, open.batch, spare));
        }
        wire::append_entry(&mut part.bytes, entry, len);
    }

    fn note(&mut self, id: StreamId, ticket: Option<(FileKey, u64)>, input: Counts, now: Now) {
        let open = &mut self.open[self.streams.get(id).tenant.idx()];
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

/// Most streams in one open batch, so that none of so many tenants takes the whole table.
fn parts_max(options: &Options, tenants: usize) -> usize {
    (options.streams_max / tenants).max(1)
}
