//! Entries into protobuf, and a request into a snappy block: made-up lines of 400 bytes.

mod common;

use std::hint::black_box;

use common::corpus::Shape;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use prost::Message as _;
use skald::model::{Pair, UnixNanos};
use skald::wire::{Compressor, EntryParts, append_entry, append_stream, entry_len, push};

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
    let mut request = Vec::new();
    append_stream(&mut request, r#"{app="veogen"}"#, &entries);
    let mut compressor = Compressor::default();
    group.bench_function("snappy", |b| b.iter(|| black_box(compressor.compress(&request))));
    group.finish();
}

fn pairs(ids: &[String; 3]) -> [Pair<'_>; 3] {
    [
        Pair { name: "request_id", value: &ids[0] },
        Pair { name: "user_id", value: &ids[1] },
        Pair { name: "trace_id", value: &ids[2] },
    ]
}

criterion_group!(benches, encode);
criterion_main!(benches);
