//! A reader thread's turns over a file, in this thread: read, cut, parse, batch, seal, settle.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use skald::app::{
    Disk, Done, FileLog, LogFile, Pipeline, Registry, Shared, Source, Windows, Worker,
};
use skald::batch;
use skald::model::{Pool, SourceId, TenantId};
use skald::parse::{Guard, Plan};
use skald::tail::{self, NewFile};
use skald::telemetry::Metrics;

use super::{NOW, options, options_with};

/// Reads the file at `path` to its end and settles its batches at once. Returns the entries. One
/// more rule, in YAML, may follow the default ones.
pub(crate) fn settle_all(path: &Path, rule: Option<&str>) -> usize {
    let (mut worker, registry) = worker(rule);
    worker.found(NewFile::new(path, SourceId(0)), NOW, &mut Disk);
    let mut entries = 0;
    loop {
        let done = worker.turn(NOW, &mut Disk);
        if matches!(done, Done::Idle(_)) {
            worker.pipeline.seal(NOW);
        }
        while let Some(sealed) = worker.pipeline.take_sealed() {
            entries += sealed.entries;
            registry.settle(&sealed.receipt.tickets, NOW);
        }
        if matches!(done, Done::Idle(_)) {
            return entries;
        }
    }
}

fn worker(rule: Option<&str>) -> (Worker<LogFile>, Arc<Registry>) {
    let options = rule.map_or_else(options, options_with);
    let plan = Arc::new(Plan::compile(&options));
    let guard = Mutex::new(Guard::new(&plan));
    let sources = Arc::from([Arc::new(Source {
        name: options.source,
        tenant: TenantId(0),
        others: Vec::new(),
        place: skald::config::Place::default(),
        pods: None,
        plan,
        guard,
        values_max: 500,
    })]);
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
        look_hot: Duration::from_millis(50),
        keys: (0, 1),
        budget: tail::Budget { open_files: 10, deleted_files: 10, deleted_bytes: 1 << 30 },
    };
    let shared = Shared { registry: Arc::clone(&registry), windows };
    (Worker::new(options, pipeline, shared, FileLog::new(metrics)), registry)
}
