//! The hot encoder writes what prost writes, and the compressed block holds it.

use prost::Message as _;
use skald::model::{Pair, UnixNanos};
use skald::wire::push::{Entry, LabelPair, PushRequest, Stream, Timestamp};
use skald::wire::{Compressor, EntryParts, append_entry, append_stream, entry_len, stream_len};

use super::bytes::Bytes;

pub(crate) fn check(data: &[u8]) {
    let mut bytes = Bytes(data);
    let (mut request, mut reference) = (Vec::new(), PushRequest::default());
    while !bytes.is_empty() {
        let labels = bytes.text();
        let (mut entries, mut reference_entries) = (Vec::new(), Vec::new());
        for _ in 0..bytes.below(4) {
            reference_entries.push(entry(&mut bytes, &mut entries));
        }
        let before = request.len();
        append_stream(&mut request, &labels, &entries);
        assert_eq!(request.len() - before, stream_len(&labels, entries.len()));
        let labels = labels.into_owned();
        reference.streams.push(Stream { labels, entries: reference_entries });
    }
    assert_eq!(request, reference.encode_to_vec());
    assert_eq!(PushRequest::decode(&*request), Ok(reference));

    let mut compressor = Compressor::default();
    let first = compressor.compress(&request);
    assert_eq!(snap::raw::Decoder::new().decompress_vec(&first), Ok(request.clone()));
    assert_eq!(compressor.compress(&request), first, "nothing is left of a request");
}

/// Appends an entry, and gives it as prost has it.
fn entry(bytes: &mut Bytes<'_>, out: &mut Vec<u8>) -> Entry {
    let time = UnixNanos(bytes.number().cast_signed());
    // Lengths of one, two and three bytes as a varint.
    let line = bytes.piece().repeat([1, 1, 2, 100][bytes.below(4)]);
    let metadata: Vec<_> = (0..bytes.below(4)).map(|_| (bytes.text(), bytes.text())).collect();
    let pairs: Vec<Pair<'_>> = metadata.iter().map(|(name, value)| Pair { name, value }).collect();
    // The last pair goes as the extra one, which must make no difference.
    let (extra, first) = match pairs.split_last() {
        Some((last, first)) if bytes.below(2) == 0 => (Some(*last), first),
        _ => (None, &*pairs),
    };
    let parts = EntryParts { time, line: &line, metadata: first, extra };
    let (before, len) = (out.len(), entry_len(&parts));
    append_entry(out, &parts, len);
    assert_eq!(out.len() - before, len.total());
    let nanos = i32::try_from(time.0.rem_euclid(1_000_000_000)).expect("below 1e9");
    Entry {
        timestamp: Some(Timestamp { seconds: time.0.div_euclid(1_000_000_000), nanos }),
        line: line.clone(),
        structured_metadata: pairs
            .iter()
            .map(|pair| LabelPair { name: pair.name.to_owned(), value: pair.value.to_owned() })
            .collect(),
    }
}
