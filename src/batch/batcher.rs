//! The open batch: entries grouped by stream, encoded as they come.

use std::time::Duration;

use super::Sealed;
use super::streams::{Base, Found, StreamId, Streams};
use crate::ledger::{Receipt, Ticket};
use crate::model::{
    BEHIND_MAX, Counts, ENTRY_WEIGHT, Entry, FileKey, Now, PUSH_BYTES_MAX, PUSH_WEIGHT_MAX, Pair,
    Permit, Pool, STREAM_WEIGHT, SourceId, UnixNanos,
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

/// How many bytes the batch's permit grows by at once, so that the pool is not asked for each line.
const GROW_BYTES: u64 = 64 * 1024;

/// What an open stream costs beside its entries: its labels twice and its place in the batch.
const PART_BYTES: usize = 128;

/// Encoded buffers kept for the next batch take at most this many bytes together.
const SPARE_BYTES_MAX: usize = 2 * 1024 * 1024;

/// One stream's entries in the open batch.
#[derive(Debug)]
struct Part {
    stream: StreamId,
    bytes: Vec<u8>,
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
    pool: Pool,
    streams: Streams,
    parts: Vec<Part>,
    /// Bytes of the request so far, without what [`wire::stream_len`] adds for each stream.
    encoded: usize,
    /// What Loki will count the request as, see [`PUSH_WEIGHT_MAX`].
    weight: usize,
    /// Memory that the batch holds. Invariant: `held <= permit.bytes()`.
    held: u64,
    permit: Permit,
    entries: usize,
    counts: Counts,
    tickets: Vec<Ticket>,
    /// Tickets made since [`Batcher::new_tickets`] was last asked.
    new_tickets: u32,
    opened_at: Duration,
    /// When the last batch that was not full was sealed.
    unfilled_at: Option<Duration>,
    spare: Vec<Vec<u8>>,
    request: Vec<u8>,
    compressor: Compressor,
}

impl Batcher {
    /// An empty batch. `bases` by source.
    #[must_use]
    pub fn new(options: Options, bases: Vec<Base>, pool: Pool) -> Self {
        Self {
            streams: Streams::new(bases, options.streams_max),
            permit: pool.empty(),
            options,
            pool,
            parts: Vec::new(),
            encoded: 0,
            weight: 0,
            held: 0,
            entries: 0,
            counts: Counts::default(),
            tickets: Vec::new(),
            new_tickets: 0,
            opened_at: Duration::ZERO,
            unfilled_at: None,
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
    /// the open batch, seal it first.
    pub fn insert(&mut self, source: SourceId, labels: &[&str], epoch: u64) -> Option<StreamId> {
        self.streams.insert(source, labels, epoch)
    }

    /// How many streams are known.
    #[must_use]
    pub fn streams(&self) -> usize {
        self.streams.len()
    }

    /// Makes sure that `bytes` more can be held, before they are read.
    #[must_use]
    pub fn reserve(&mut self, bytes: u64) -> bool {
        let spare = self.permit.bytes() - self.held;
        bytes <= spare || self.permit.grow(bytes - spare)
    }

    /// Gives back what was reserved and not used.
    pub fn release_spare(&mut self) {
        self.permit.shrink_to(self.held);
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
        let extra = original.as_deref().map(|value| Pair { name: "original_timestamp", value });
        let parts = EntryParts {
            time,
            line: entry.line.as_bytes(),
            metadata: if self.options.metadata { entry.metadata } else { &[] },
            extra: extra.filter(|_| self.options.metadata),
        };
        let len = wire::entry_len(&parts);
        let new_part = self.part_cost(stream);
        let (encoded, weight) = (
            self.encoded + new_part + len.total(),
            self.weight + new_part + len.total() + ENTRY_WEIGHT,
        );
        if self.entries != 0 && (PUSH_BYTES_MAX < encoded || PUSH_WEIGHT_MAX < weight) {
            return Pushed::Full;
        }
        let cost = (len.total() + new_part) as u64;
        let fits = self.reserve(cost.max(GROW_BYTES)) || self.reserve(cost);
        if !fits {
            return Pushed::NoPermit;
        }
        self.held += cost;
        (self.encoded, self.weight) = (encoded, weight);
        let part = self.open_part(stream);
        wire::append_entry(&mut self.parts[part].bytes, &parts, len);
        let remembered = self.streams.get(stream);
        remembered.newest = remembered.newest.max(time);
        if moved {
            remembered.moved_to = time;
        }
        self.note(ticket, input, now);
        if moved { Pushed::Moved } else { Pushed::Taken }
    }

    /// The number of entries in the open batch.
    #[must_use]
    pub fn entries(&self) -> usize {
        self.entries
    }

    /// Encoded bytes in the open batch.
    #[must_use]
    pub fn encoded(&self) -> usize {
        self.encoded
    }

    /// Whether the batch has reached its size.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.options.bytes_max <= self.encoded
    }

    /// When the open batch wants to be sealed whatever its size: the first entries after a quiet
    /// `age_max` at once, then at most one unfilled batch in `age_max`. `None` when it is empty.
    #[must_use]
    pub fn due_at(&self) -> Option<Duration> {
        if self.entries == 0 {
            return None;
        }
        let paced = self.unfilled_at.map_or(Duration::ZERO, |at| at + self.options.age_max);
        Some(paced.max(self.opened_at))
    }

    /// When the first entry of the open batch has waited for `age_max`. `None` when it is empty.
    #[must_use]
    pub fn old_at(&self) -> Option<Duration> {
        (self.entries != 0).then(|| self.opened_at + self.options.age_max)
    }

    /// Closes the batch and compresses it; `None` when it is empty. The permit shrinks to the
    /// compressed body.
    pub fn seal(&mut self, now: Now) -> Option<Sealed> {
        if self.entries == 0 {
            return None;
        }
        if !self.is_full() {
            self.unfilled_at = Some(now.mono);
        }
        let streams = self.parts.len();
        self.assemble();
        let body = self.compressor.compress(&self.request);
        let mut permit = std::mem::replace(&mut self.permit, self.pool.empty());
        permit.shrink_to(permit.bytes().min(body.len() as u64));
        let receipt = Receipt {
            tickets: std::mem::take(&mut self.tickets),
            permit,
            counts: std::mem::take(&mut self.counts),
        };
        let entries = std::mem::take(&mut self.entries);
        (self.encoded, self.weight, self.held) = (0, 0, 0);
        Some(Sealed { body, encoded_bytes: self.request.len(), entries, streams, receipt })
    }

    /// Writes the request: streams that Loki knows first, new ones last, so that its answer, which
    /// is about the last one, covers those that it may refuse.
    fn assemble(&mut self) {
        self.request.clear();
        for established in [true, false] {
            for part in &self.parts {
                let stream = self.streams.get(part.stream);
                if stream.established == established {
                    wire::append_stream(&mut self.request, &stream.labels, &part.bytes);
                }
            }
        }
        let mut spare_bytes: usize = self.spare.iter().map(Vec::capacity).sum();
        for mut part in self.parts.drain(..) {
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

    fn part_cost(&mut self, stream: StreamId) -> usize {
        let stream = self.streams.get(stream);
        if stream.part.is_some() { 0 } else { 2 * stream.labels.len() + PART_BYTES + STREAM_WEIGHT }
    }

    fn open_part(&mut self, id: StreamId) -> usize {
        let stream = self.streams.get(id);
        if let Some(part) = stream.part {
            return part as usize;
        }
        stream.part = Some(u32::try_from(self.parts.len()).expect("BUG: parts are streams"));
        self.parts.push(Part { stream: id, bytes: self.spare.pop().unwrap_or_default() });
        self.parts.len() - 1
    }

    fn note(&mut self, ticket: Option<(FileKey, u64)>, input: Counts, now: Now) {
        if self.entries == 0 {
            self.opened_at = now.mono;
        }
        self.entries += 1;
        self.counts += input;
        let Some((file, seq)) = ticket else { return };
        // Lines of one stretch come together, so that its ticket is the last one.
        if self.tickets.last().is_none_or(|last| (last.file, last.seq) != (file, seq)) {
            self.tickets.push(Ticket { file, seq });
            self.new_tickets += 1;
        }
    }

    /// The last entry stands for more of the input than it was pushed with: it was joined.
    pub fn add_to_last(&mut self, input: Counts) {
        self.counts += input;
    }

    /// How many tickets were made since this was last asked: as many batches, open or sealed,
    /// have lines of the stretch that was read meanwhile.
    pub fn new_tickets(&mut self) -> u32 {
        std::mem::take(&mut self.new_tickets)
    }
}
