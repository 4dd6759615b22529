//! The whole step of a reader thread: a file's bytes to sealed batches that are settled at once.

mod common;

use std::sync::{Arc, Mutex};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use skald::app::{
    Disk, Done, FileLog, LogFile, Pipeline, Registry, Shared, Source, Windows, Worker,
};
use skald::batch;
use skald::model::{Pool, SourceId};
use skald::parse::{Guard, Plan};
use skald::tail::{self, NewFile};
use skald::telemetry::Metrics;

use std::time::Duration;

/// How often the log is repeated in the file.
const REPEATS: usize = 20;

fn pipeline(c: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a readable file system");
    let path = folder.path().join("veogen.log");
    let log = common::log().repeat(REPEATS);
    fs_err::write(&path, &log).expect("a readable file system");

    let mut group = c.benchmark_group("pipeline");
    group.throughput(Throughput::Bytes(log.len() as u64));
    group.sample_size(20);
    group.bench_function("file to settled batches", |b| {
        b.iter(|| {
            let (mut worker, registry) = worker();
            let new = NewFile::new(path.as_path(), SourceId(0));
            worker.found(new, common::NOW, &mut Disk);
            let mut entries = 0;
            loop {
                let done = worker.turn(common::NOW, &mut Disk);
                if matches!(done, Done::Idle(_)) {
                    worker.pipeline.seal(common::NOW);
                }
                while let Some(sealed) = worker.pipeline.take_sealed() {
                    entries += sealed.entries;
                    registry.settle(&sealed.receipt.tickets, common::NOW);
                }
                if matches!(done, Done::Idle(_)) {
                    break;
                }
            }
            assert_eq!(entries, log.iter().filter(|byte| **byte == b'\n').count());
        });
    });
    group.finish();
}

fn worker() -> (Worker<LogFile>, Arc<Registry>) {
    let options = common::options();
    let plan = Arc::new(Plan::compile(&options));
    let guard = Mutex::new(Guard::new(&plan));
    let sources = Arc::from([Source { name: options.source, plan, guard, values_max: 500 }]);
    let batch = batch::Options {
        bytes_max: 1 << 20,
        age_max: Duration::from_secs(1),
        streams_max: 1000,
        metadata: true,
    };
    let metrics = Metrics::new();
    let pipeline = Pipeline::new(sources, true, batch, Pool::new(8 << 20, || {}), metrics.clone());
    let registry = Arc::new(Registry::new(vec!["veogen".into()], Vec::new()));
    let windows = Arc::new(Windows::new(1));
    let options = tail::Options {
        chunk_bytes: 256 * 1024 + 1,
        grace: Duration::from_secs(10),
        look_busy: Duration::from_secs(1),
        look_idle: Duration::from_secs(10),
        keys: (0, 1),
        budget: tail::Budget { open_files: 10, deleted_files: 10, deleted_bytes: 1 << 30 },
    };
    let shared = Shared { registry: Arc::clone(&registry), windows };
    (Worker::new(options, pipeline, shared, FileLog::new(metrics)), registry)
}

criterion_group!(benches, pipeline);
criterion_main!(benches);
