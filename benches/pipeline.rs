//! The whole step of a reader thread: a file's bytes to sealed batches that are settled at once.

mod common;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};

/// How often the log is repeated in the file.
const REPEATS: usize = 20;

fn pipeline(c: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a readable file system");
    let mut group = c.benchmark_group("pipeline");
    group.sample_size(20);
    for (name, log) in common::logs() {
        let log = log.repeat(REPEATS);
        let path = folder.path().join(name);
        fs_err::write(&path, &log).expect("a readable file system");
        let lines = log.iter().filter(|byte| **byte == b'\n').count();
        group.throughput(Throughput::Bytes(log.len() as u64));
        group.bench_function(name, |b| {
            b.iter(|| assert_eq!(common::turns::settle_all(&path, None), lines))
        });
    }
    group.finish();
}

criterion_group!(benches, pipeline);
criterion_main!(benches);
