//! A batch taken apart: which bytes of the request are which entry, so that any run of entries
//! can be sent as a request of its own without decoding what is in them.
//!
//! Only cold paths come here: split, isolate, sending without metadata, and what Loki refused for
//! its time or its labels.

use std::ops::Range;

use prost::Message as _;

use crate::model::{Pair, UnixNanos};
use crate::wire::{self, EntryParts, push};

// Every field of a request, a stream and an entry is length-delimited, and every field number is
// below 16: a key is one byte.
const STREAM: u8 = 1 << 3 | 2;
const LABELS: u8 = 1 << 3 | 2;
const ENTRY: u8 = 2 << 3 | 2;
const METADATA: u8 = 3 << 3 | 2;

/// Entries by their position in the request, over all its streams.
pub(super) type Run = Range<usize>;

/// A decompressed push request and where its parts are. Costs the request and 8 bytes an entry.
#[derive(Debug)]
pub(super) struct Parts {
    request: Vec<u8>,
    streams: Vec<Stream>,
    /// Where each entry's content is, in the order of the request.
    entries: Vec<Span>,
}

#[derive(Debug, Clone, Copy)]
struct Span {
    start: u32,
    end: u32,
}

#[derive(Debug)]
struct Stream {
    labels: Span,
    entries: Run,
}

/// What to change in a request.
pub(super) struct Edit<'a> {
    /// Every entry, in the order they are to have.
    pub(super) order: &'a [usize],
    /// Other labels for a stream.
    pub(super) labels: &'a dyn Fn(&str) -> Option<String>,
    /// What to change in an entry, by its old position.
    pub(super) change: &'a dyn Fn(usize) -> Option<Change>,
}

/// What to change in an entry.
#[derive(Debug, Clone, Default)]
pub(super) struct Change {
    /// Another time.
    pub(super) time: Option<UnixNanos>,
    /// More structured metadata.
    pub(super) metadata: Vec<(String, String)>,
}

impl Parts {
    /// Takes a sealed body apart.
    ///
    /// # Panics
    /// If `body` is not a snappy block of a push request: we wrote it ourselves.
    pub(super) fn new(body: &[u8]) -> Self {
        Self::of(
            snap::raw::Decoder::new().decompress_vec(body).expect("BUG: a sealed body is snappy"),
        )
    }

    fn of(request: Vec<u8>) -> Self {
        let (mut streams, mut entries) = (Vec::new(), Vec::new());
        for (key, stream) in Fields::of(&request, Span::new(0, request.len())) {
            assert!(key == STREAM, "BUG: a sealed request has field {key:#x}");
            let (mut labels, start) = (Span::new(0, 0), entries.len());
            for (key, field) in Fields::of(&request, stream) {
                match key {
                    LABELS => labels = field,
                    ENTRY => entries.push(field),
                    _ => unreachable!("BUG: a sealed stream has field {key:#x}"),
                }
            }
            streams.push(Stream { labels, entries: start..entries.len() });
        }
        Self { request, streams, entries }
    }

    /// The same with `edit` made to it. The entries of a stream that are not next to each other in
    /// the new order become streams of their own.
    pub(super) fn edited(&self, edit: &Edit<'_>) -> Self {
        let (mut request, mut entries) = (Vec::with_capacity(self.request.len()), Vec::new());
        let mut order = edit.order.iter().copied().peekable();
        while let Some(first) = order.next() {
            let stream = self.stream_of(first);
            self.append(&mut entries, first, edit);
            while let Some(next) = order.next_if(|idx| stream.entries.contains(idx)) {
                self.append(&mut entries, next, edit);
            }
            let labels = self.labels(stream);
            let new = (edit.labels)(labels);
            wire::append_stream(&mut request, new.as_deref().unwrap_or(labels), &entries);
            entries.clear();
        }
        Self::of(request)
    }

    fn append(&self, out: &mut Vec<u8>, idx: usize, edit: &Edit<'_>) {
        let span = self.entries[idx];
        let Some(Change { time, metadata }) = (edit.change)(idx) else {
            return self.put(out, ENTRY, span);
        };
        let entry = self.decode(idx);
        let own = entry.structured_metadata.iter().map(|pair| (&pair.name, &pair.value));
        let more = metadata.iter().map(|(name, value)| (name, value));
        let pairs: Vec<_> = own.chain(more).map(|(name, value)| Pair { name, value }).collect();
        let parts = EntryParts {
            time: time.unwrap_or_else(|| time_of(&entry)),
            line: &entry.line,
            metadata: &pairs,
            extra: None,
        };
        wire::append_entry(out, &parts, wire::entry_len(&parts));
    }

    /// All entries.
    pub(super) fn all(&self) -> Run {
        0..self.entries.len()
    }

    /// The request that holds just `run`, as a snappy block; without structured metadata if
    /// `strip`.
    pub(super) fn body(&self, run: &Run, strip: bool) -> Vec<u8> {
        let mut request = Vec::with_capacity(self.run_bytes(run));
        for (stream, run) in self.streams_of(run) {
            let entries = &self.entries[run];
            let content = entries.iter().map(|entry| field_len(self.entry_len(*entry, strip)));
            let len = field_len(stream.labels.len()) + content.sum::<usize>();
            put_key(&mut request, STREAM, len);
            self.put(&mut request, LABELS, stream.labels);
            for entry in entries {
                put_key(&mut request, ENTRY, self.entry_len(*entry, strip));
                if !strip {
                    request.extend_from_slice(self.bytes(*entry));
                    continue;
                }
                for (key, field) in self.kept(*entry) {
                    self.put(&mut request, key, field);
                }
            }
        }
        let mut body = snap::raw::Encoder::new()
            .compress_vec(&request)
            .expect("BUG: a request is below 4 GiB");
        body.shrink_to_fit();
        body
    }

    /// `run` in two: at the entry that is nearest to half of its bytes.
    pub(super) fn halves(&self, run: &Run) -> [Run; 2] {
        assert!(1 < run.len(), "BUG: a single entry was split");
        let (start, end) = (self.entries[run.start].start, self.entries[run.end - 1].end);
        let half = start + (end - start) / 2;
        let entries = &self.entries[run.start + 1..run.end - 1];
        let middle = run.start + 1 + entries.partition_point(|entry| entry.start < half);
        [run.start..middle, middle..run.end]
    }

    /// `run` in pieces of at most `bytes`, as far as entries allow.
    pub(super) fn at_most(&self, run: &Run, bytes: u64) -> Vec<Run> {
        if run.len() < 2 || self.run_bytes(run) as u64 <= bytes {
            return vec![run.clone()];
        }
        self.halves(run).iter().flat_map(|half| self.at_most(half, bytes)).collect()
    }

    /// `run` by streams.
    pub(super) fn by_stream(&self, run: &Run) -> Vec<Run> {
        self.streams_of(run).map(|(_, run)| run).collect()
    }

    /// How many streams `run` is in.
    pub(super) fn count_streams(&self, run: &Run) -> usize {
        self.streams_of(run).count()
    }

    /// The labels of the stream of an entry.
    pub(super) fn labels_of(&self, idx: usize) -> &str {
        self.labels(self.stream_of(idx))
    }

    /// The times of the entries of `run`.
    pub(super) fn times(&self, run: &Run) -> Vec<UnixNanos> {
        run.clone().map(|idx| time_of(&self.decode(idx))).collect()
    }

    /// One entry with the labels of its stream.
    pub(super) fn entry(&self, idx: usize) -> (String, push::Entry) {
        (self.labels_of(idx).to_owned(), self.decode(idx))
    }

    /// One entry.
    pub(super) fn decode(&self, idx: usize) -> push::Entry {
        push::Entry::decode(self.bytes(self.entries[idx])).expect("BUG: a sealed entry is protobuf")
    }

    fn stream_of(&self, idx: usize) -> &Stream {
        let stream = self.streams.partition_point(|stream| stream.entries.end <= idx);
        &self.streams[stream]
    }

    fn labels(&self, stream: &Stream) -> &str {
        std::str::from_utf8(self.bytes(stream.labels)).expect("BUG: sealed labels are text")
    }

    fn streams_of(&self, run: &Run) -> impl Iterator<Item = (&Stream, Run)> {
        let Run { start, end } = *run;
        let first = self.streams.partition_point(|stream| stream.entries.end <= start);
        self.streams[first..]
            .iter()
            .take_while(move |stream| stream.entries.start < end)
            .map(move |part| (part, part.entries.start.max(start)..part.entries.end.min(end)))
            .filter(|(_, run)| !run.is_empty())
    }

    /// About as many bytes as the request of `run` will have.
    pub(super) fn run_bytes(&self, run: &Run) -> usize {
        let entries = &self.entries[run.clone()];
        let span = entries.first().zip(entries.last());
        span.map_or(0, |(first, last)| Self::request_bytes(usize_of(last.end - first.start)))
    }

    /// About as many bytes as a request with `entries` bytes of entries has.
    pub(super) fn request_bytes(entries: usize) -> usize {
        entries + 64
    }

    fn entry_len(&self, entry: Span, strip: bool) -> usize {
        if !strip {
            return entry.len();
        }
        self.kept(entry).map(|(_, field)| field_len(field.len())).sum()
    }

    /// The fields of an entry but for its structured metadata.
    fn kept(&self, entry: Span) -> impl Iterator<Item = (u8, Span)> {
        Fields::of(&self.request, entry).filter(|(key, _)| *key != METADATA)
    }

    fn put(&self, out: &mut Vec<u8>, key: u8, field: Span) {
        put_key(out, key, field.len());
        out.extend_from_slice(self.bytes(field));
    }

    fn bytes(&self, span: Span) -> &[u8] {
        &self.request[usize_of(span.start)..usize_of(span.end)]
    }
}

/// The time of an entry.
pub(super) fn time_of(entry: &push::Entry) -> UnixNanos {
    let time = entry.timestamp.unwrap_or_default();
    UnixNanos(time.seconds.saturating_mul(1_000_000_000).saturating_add(time.nanos.into()))
}

impl Span {
    fn new(start: usize, end: usize) -> Self {
        let u32_of = |at| u32::try_from(at).expect("BUG: a request is below 4 GiB");
        Self { start: u32_of(start), end: u32_of(end) }
    }

    fn len(self) -> usize {
        usize_of(self.end - self.start)
    }
}

/// The length-delimited fields in a stretch of the request, as key and content.
struct Fields<'a> {
    request: &'a [u8],
    at: usize,
    end: usize,
}

impl<'a> Fields<'a> {
    fn of(request: &'a [u8], span: Span) -> Self {
        Self { request, at: usize_of(span.start), end: usize_of(span.end) }
    }
}

impl Iterator for Fields<'_> {
    type Item = (u8, Span);

    fn next(&mut self) -> Option<Self::Item> {
        let (key, mut rest) = self.request[self.at..self.end].split_first()?;
        let len = prost::decode_length_delimiter(&mut rest).expect("BUG: a sealed length");
        let start = self.end - rest.len();
        self.at = start + len;
        assert!(self.at <= self.end, "BUG: a sealed field is cut off");
        Some((*key, Span::new(start, self.at)))
    }
}

fn put_key(out: &mut Vec<u8>, key: u8, len: usize) {
    out.push(key);
    prost::encode_length_delimiter(len, out).expect("BUG: a Vec grows");
}

/// Bytes of a field with `len` bytes of content.
fn field_len(len: usize) -> usize {
    1 + prost::length_delimiter_len(len) + len
}

fn usize_of(at: u32) -> usize {
    usize::try_from(at).expect("BUG: an offset fits memory")
}
