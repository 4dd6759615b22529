//! Entries into protobuf, and streams of them into snappy blocks.

mod common;

use std::collections::BTreeMap;
use std::hint::black_box;

use common::corpus::Shape;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use prost::Message as _;
use skald::model::{Pair, UnixNanos};
use skald::wire::{Compressor, EntryParts, PIECE_BYTES_MAX, append_entry, entry_len, push};

fn encode(c: &mut Criterion) {
    let log = common::made(Shape::File400, 2000);
    let lines: Vec<&[u8]> = log.trim_ascii_end().split(|byte| *byte == b'\n').collect();
    let ids = common::ids(lines.len());
    let mut group = c.benchmark_group("encode");
    group.throughput(Throughput::Bytes(log.len() as u64));

    let mut entries = Vec::new();
    group.bench_function("append", |b| {
        b.iter(|| {
            entries.clear();
            for (line, ids) in lines.iter().zip(&ids) {
                let metadata = pairs(ids);
                let parts =
                    EntryParts { time: UnixNanos(1), line, metadata: &metadata, extra: None };
                append_entry(&mut entries, &parts, entry_len(&parts));
            }
            black_box(entries.len())
        });
    });
    group.bench_function("prost", |b| {
        b.iter(|| {
            let entries = lines.iter().zip(&ids).map(|(line, ids)| push::Entry {
                timestamp: Some(push::Timestamp { seconds: 0, nanos: 1 }),
                line: line.to_vec(),
                structured_metadata: pairs(ids)
                    .iter()
                    .map(|pair| push::LabelPair {
                        name: pair.name.to_owned(),
                        value: pair.value.to_owned(),
                    })
                    .collect(),
            });
            let stream = push::Stream { labels: "{}".to_owned(), entries: entries.collect() };
            black_box(stream.encode_to_vec())
        });
    });
    group.finish();
}

/// Streams as they are compressed, in pieces, by our encoder and by the library.
#[expect(clippy::print_stderr, reason = "the other half of the result")]
fn snappy(c: &mut Criterion) {
    let sets = [
        ("veogen", common::log()),
        ("file400", common::made(Shape::File400, 2000)),
        ("file220", common::made(Shape::File220, 3500)),
    ];
    let mut group = c.benchmark_group("snappy");
    for (name, log) in sets {
        let lines: Vec<&[u8]> = log.trim_ascii_end().split(|byte| *byte == b'\n').collect();
        let pieces = pieces(&lines);
        let (mut own, mut out) = (Compressor::default(), Vec::new());
        let mut append = |out: &mut Vec<u8>| {
            out.clear();
            pieces.iter().for_each(|piece| own.append(piece, out));
            out.len()
        };
        let mut library = snap::raw::Encoder::new();
        let mut space = vec![0; snap::raw::max_compress_len(PIECE_BYTES_MAX)];
        let mut encode = |out: &mut Vec<u8>| {
            out.clear();
            for piece in &pieces {
                let len = library.compress(piece, &mut space).expect("enough space");
                out.extend_from_slice(&space[..len]);
            }
            out.len()
        };
        eprintln!(
            "{name}: {} bytes of protobuf a line, {} compressed, {} by the library",
            pieces.iter().map(Vec::len).sum::<usize>() / lines.len(),
            append(&mut out) / lines.len(),
            encode(&mut out) / lines.len(),
        );
        group.throughput(Throughput::Elements(lines.len() as u64));
        group.bench_function(format!("{name}/own"), |b| b.iter(|| append(&mut out)));
        group.bench_function(format!("{name}/library"), |b| b.iter(|| encode(&mut out)));
    }
    group.finish();
}

/// The entries of each level and event type, in pieces.
fn pieces(lines: &[&[u8]]) -> Vec<Vec<u8>> {
    let mut streams: BTreeMap<_, Vec<Vec<u8>>> = BTreeMap::new();
    for (number, line) in (1..).zip(lines) {
        let field = |key| common::field(line, key);
        let pieces = streams.entry((field("level"), field("event_type"))).or_default();
        let names = ["request_id", "user_id", "trace_id"];
        let ids = names.map(|name| Pair { name, value: field(name) });
        let metadata: Vec<Pair<'_>> =
            ids.into_iter().filter(|pair| !pair.value.is_empty()).collect();
        let time = UnixNanos(1_768_467_600_000_000_000 + number * 987_654_321);
        let parts = EntryParts { time, line, metadata: &metadata, extra: None };
        let len = entry_len(&parts);
        if pieces.last().is_none_or(|piece| PIECE_BYTES_MAX < piece.len() + len.total()) {
            pieces.push(Vec::new());
        }
        append_entry(pieces.last_mut().expect("one"), &parts, len);
    }
    streams.into_values().flatten().collect()
}

fn pairs(ids: &[String; 3]) -> [Pair<'_>; 3] {
    [
        Pair { name: "request_id", value: &ids[0] },
        Pair { name: "user_id", value: &ids[1] },
        Pair { name: "trace_id", value: &ids[2] },
    ]
}

criterion_group!(benches, encode, snappy);
criterion_main!(benches);
