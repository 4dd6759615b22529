use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use prost::Message as _;

use super::*;
use crate::batch;
use crate::config::Config;
use crate::model::{Now, PUSH_BYTES_MAX, Pool, SourceId, UnixNanos};
use crate::parse::{Guard, Plan};
use crate::tail::{self, NewFile};
use crate::telemetry::Metrics;
use crate::wire::push::PushRequest;

const NOW: Now = Now { mono: Duration::from_secs(1), wall: UnixNanos(1_768_500_000_000_000_000) };

/// A worker for one source with the default rules, over real files.
struct Bench {
    dir: tempfile::TempDir,
    worker: Worker<LogFile>,
    registry: Arc<Registry>,
}

impl Bench {
    fn new() -> Self {
        let options = Config::defaults("").parse_defaults("test");
        let plan = Arc::new(Plan::compile(&options));
        let guard = Mutex::new(Guard::new(&plan));
        let sources = Arc::from([Source { name: options.source, plan, guard, values_max: 500 }]);
        let metrics = Metrics::new();
        let batch = batch::Options {
            bytes_max: 1 << 20,
            age_max: Duration::from_secs(1),
            streams_max: 100,
            metadata: true,
        };
        let pool = Pool::new(8 << 20, || {});
        let pipeline = Pipeline::new(sources, true, batch, pool, metrics.clone());
        let registry = Arc::new(Registry::new(vec!["test".into()], Vec::new()));
        let windows = Arc::new(Windows::new(1));
        let shared = Shared { registry: Arc::clone(&registry), windows };
        let options = tail::Options {
            chunk_bytes: 300 * 1024,
            grace: Duration::from_secs(10),
            look_busy: Duration::from_secs(1),
            look_idle: Duration::from_secs(10),
            keys: (0, 1),
            budget: tail::Budget { open_files: 100, deleted_files: 100, deleted_bytes: 1 << 30 },
        };
        let worker = Worker::new(options, pipeline, shared, FileLog::new(metrics));
        Self { dir: tempfile::tempdir().unwrap(), worker, registry }
    }

    fn find(&mut self, name: &str, content: &str) {
        let path = self.dir.path().join(name);
        fs_err::write(&path, content).unwrap();
        self.found(&path);
    }

    fn found(&mut self, path: &Path) {
        self.worker.found(NewFile::new(path, SourceId(0)), NOW, &mut Disk);
    }

    /// Every line that is read now, in the order of the pushes, settled.
    fn lines(&mut self) -> Vec<String> {
        for _ in 0..1000 {
            if let Done::Idle(until) = self.worker.turn(NOW, &mut Disk)
                && NOW.mono < until
            {
                break;
            }
        }
        self.worker.pipeline.seal(NOW);
        let mut lines = Vec::new();
        while let Some(sealed) = self.worker.pipeline.take_sealed() {
            let request = snap::raw::Decoder::new().decompress_vec(&sealed.body).unwrap();
            let streams = PushRequest::decode(&request[..]).unwrap().streams;
            let entries = streams.into_iter().flat_map(|stream| stream.entries);
            lines.extend(entries.map(|entry| String::from_utf8(entry.line).unwrap()));
            self.registry.settle(&sealed.receipt.tickets, NOW);
        }
        lines
    }
}

#[test]
fn with_a_backlog_a_batch_grows_to_three_mebibytes_and_then_reading_stops() {
    let mut bench = Bench::new();
    bench.find("a", &hours(&"x".repeat(300), 0..1).repeat(30_000));
    let done = (0..100).map(|_| bench.worker.turn(NOW, &mut Disk)).collect::<Vec<_>>();
    assert_eq!(done.last(), Some(&Done::Busy), "{done:?}");
    let first = bench.worker.pipeline.take_sealed().unwrap();
    let just_full = (1 << 20) - 1000..(1 << 20) + 1000;
    assert!(just_full.contains(&first.encoded_bytes), "{}", first.encoded_bytes);
    assert!(bench.worker.pipeline.take_sealed().is_none());
    assert_eq!(bench.worker.turn(NOW, &mut Disk), Done::Lines, "the lane has taken one");
    let second = bench.worker.pipeline.take_sealed().unwrap();
    let grown = PUSH_BYTES_MAX - 1000..=PUSH_BYTES_MAX;
    assert!(grown.contains(&second.encoded_bytes), "{}", second.encoded_bytes);
}

/// A line at a minute of the day, so that files can be far apart in line time.
fn at(minute: u32) -> String {
    format!("{{\"timestamp\":\"2026-01-15T{:02}:{:02}:00Z\"}}\n", minute / 60, minute % 60)
}

fn hours(name: &str, minutes: std::ops::Range<u32>) -> String {
    minutes.map(|minute| at(minute).replace('}', &format!(",\"file\":\"{name}\"}}"))).collect()
}

#[test]
fn files_of_a_source_advance_together() {
    let mut bench = Bench::new();
    bench.find("a", &hours("a", 0..300));
    bench.find("b", &hours("b", 0..300));
    let lines = bench.lines();
    assert_eq!(lines.len(), 600);
    let mut newest = [0, 0];
    for line in lines {
        let time: jiff::Timestamp = line[14..34].parse().unwrap();
        newest[usize::from(line.contains("\"b\""))] = time.as_second();
        if newest[0] != 0 && newest[1] != 0 {
            assert!((newest[0] - newest[1]).abs() <= 31 * 60, "{line}");
        }
    }
}

#[test]
fn nobody_waits_for_a_file_without_a_whole_line_or_for_a_successor() {
    let mut bench = Bench::new();
    bench.find("a", &hours("a", 0..100));
    bench.find("half", "no newline");
    bench.find("empty", "");
    let path = bench.dir.path().join("a");
    fs_err::rename(&path, bench.dir.path().join("a.1")).unwrap();
    let inode = fs_err::metadata(bench.dir.path().join("a.1")).unwrap();
    bench.worker.gone((inode.dev(), inode.ino()), NOW);
    bench.find("a", &hours("a", 100..300));
    assert_eq!(bench.lines().len(), 300);
}

#[test]
fn a_file_that_was_renamed_before_it_was_opened_is_read() {
    let mut bench = Bench::new();
    let (old, path) = (bench.dir.path().join("a"), bench.dir.path().join("a.1"));
    bench.found(&old);
    fs_err::write(&path, hours("a", 0..10)).unwrap();
    let meta = fs_err::metadata(&path).unwrap();
    let new = NewFile::new(path, SourceId(0));
    bench.worker.renamed((meta.dev(), meta.ino()), new.clone(), NOW, &mut Disk);
    assert_eq!(bench.lines().len(), 10);
    bench.worker.renamed((meta.dev(), meta.ino()), new, NOW, &mut Disk);
    assert!(bench.lines().is_empty(), "it is known");
}
