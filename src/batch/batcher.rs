//! The open batches, one for each tenant: entries grouped by stream, encoded as they come.

use std::time::Duration;

use super::Sealed;
use super::open::{Open, PIECE_BYTES, Part, Piece, pack};
use super::streams::{Base, Found, StreamId, Streams};
use crate::ledger::Ticket;
use crate::model::{
    Counts, ENTRY_WEIGHT, Entry, FileKey, Now, ORIGINAL_TIMESTAMP, PUSH_BYTES_MAX, PUSH_WEIGHT_MAX,
    Pair, Pool, SourceId, TenantId,
};
use crate::wire::{self, Compressor, EntryLen, EntryParts};

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

/// Streams whose entries are fewer bytes than this are compressed together with their neighbours,
/// which costs a copy of them.
const ALONE_BYTES: usize = 16 * 1024;

/// Most buffers of at most two pieces each that are kept for the next entries.
const SPARES_MAX: usize = 24;

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
    compressor: Compressor,
    /// Scratch of sealing: what is not compressed yet, and the body.
    rest: Vec<u8>,
    body: Vec<u8>,
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
            full: Vec::new(),
            compressor: Compressor::default(),
            rest: Vec::new(),
            body: Vec::new(),
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

    /// A part of an open batch that can be compressed now, before it is sealed, here or on another
    /// thread. It has to be [put](Batcher::put) back.
    pub fn full_piece(&mut self) -> Option<Piece> {
        let piece = self.full.pop()?;
        self.open[piece.tenant.idx()].out += 1;
        Some(piece)
    }

    /// Makes pieces of what is left in `tenant`'s batch, before it is sealed by several threads.
    pub fn cut(&mut self, tenant: TenantId) {
        for (idx, part) in (0..).zip(&mut self.open[tenant.idx()].parts) {
            if ALONE_BYTES <= part.bytes.len() {
                self.full.push(part.cut(tenant, idx, Vec::new()));
            }
        }
    }

    /// Takes back a piece that was compressed, which frees memory.
    pub fn put(&mut self, piece: Piece) {
        let open = &mut self.open[piece.tenant.idx()];
        open.out -= 1;
        open.let_go(piece.bytes.len().saturating_sub(piece.packed.len()) as u64);
        open.parts[piece.part as usize].packed[piece.number] = piece.packed;
        keep(&mut self.spare, piece.bytes);
    }

    /// Closes `tenant`'s batch and compresses it; `None` when it is empty. The permit shrinks to
    /// the compressed body.
    ///
    /// # Panics
    /// If a piece of it was not put back.
    pub fn seal(&mut self, tenant: TenantId, now: Now) -> Option<Sealed> {
        let is_full = self.is_full(tenant);
        let open = &mut self.open[tenant.idx()];
        if open.entries == 0 {
            return None;
        }
        assert!(open.out == 0, "BUG: {} pieces are not put back", open.out);
        if !is_full {
            open.unfilled_at = Some(now.mono);
        }
        while let Some(mut piece) = self.full_piece() {
            piece.pack(&mut self.compressor);
            self.put(piece);
        }
        let open = &self.open[tenant.idx()];
        let (streams, entries) = (open.parts.len(), open.entries);
        let encoded_bytes = self.assemble(tenant);
        self.recycle(tenant);
        let body = self.body.as_slice().to_vec();
        let receipt = self.open[tenant.idx()].receipt(&body);
        Some(Sealed { tenant, body, encoded_bytes, entries, streams, receipt })
    }

    /// Makes the body: streams that Loki knows first, new ones last, so that its answer, which
    /// is about the last one, covers those that it may refuse. Returns the length of the request.
    fn assemble(&mut self, tenant: TenantId) -> usize {
        let Self { streams, open, compressor, rest, body, .. } = self;
        let parts = &open[tenant.idx()].parts;
        let len = |part: &Part| wire::stream_len(&streams.get(part.stream).labels, part.len());
        let request_len = parts.iter().map(len).sum();
        body.clear();
        Compressor::append_len(request_len, body);
        for established in [true, false] {
            for part in parts {
                let stream = streams.get(part.stream);
                if stream.established != established {
                    continue;
                }
                wire::append_stream_head(rest, &stream.labels, part.len());
                if part.packed.is_empty() && part.bytes.len() < ALONE_BYTES {
                    rest.extend_from_slice(&part.bytes);
                    if PIECE_BYTES - ALONE_BYTES < rest.len() {
                        pack(rest, compressor, body);
                        rest.clear();
                    }
                    continue;
                }
                pack(rest, compressor, body);
                rest.clear();
                part.packed.iter().for_each(|piece| body.extend_from_slice(piece));
                pack(&part.bytes, compressor, body);
            }
        }
        pack(rest, compressor, body);
        rest.clear();
        request_len
    }

    /// Keeps the memory of what was sealed for the next batch.
    fn recycle(&mut self, tenant: TenantId) {
        for part in self.open[tenant.idx()].parts.drain(..) {
            let stream = self.streams.get(part.stream);
            stream.established = true;
            stream.part = None;
            keep(&mut self.spare, part.bytes);
        }
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
            self.full.push(part.cut(stream.tenant, idx, self.spare.pop().unwrap_or_default()));
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

/// Keeps the memory of `bytes` for the next batch, if it is not too much.
fn keep(spare: &mut Vec<Vec<u8>>, mut bytes: Vec<u8>) {
    if bytes.capacity() != 0 && bytes.capacity() <= 2 * PIECE_BYTES && spare.len() < SPARES_MAX {
        bytes.clear();
        spare.push(bytes);
    }
}
