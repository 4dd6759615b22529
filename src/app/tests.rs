mod help;
mod joins;
mod pipeline;

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use prost::Message as _;

use super::*;
use crate::batch::{self, Sealed};
use crate::checkpoint::SavedFile;
use crate::config::Config;
use crate::model::{Counts, Now, PUSH_BYTES_MAX, Pool, SourceId, TenantId, UnixNanos};
use crate::parse::{Guard, Plan};
use crate::tail::{self, NewFile};
use crate::telemetry::Metrics;
use crate::wire::push::{self, PushRequest, Timestamp};

const NOW: Now = Now { mono: Duration::from_secs(1), wall: UnixNanos(1_768_500_000_000_000_000) };

/// A worker for one source with the default rules, over real files.
struct Bench {
    dir: tempfile::TempDir,
    worker: Worker<LogFile>,
    registry: Arc<Registry>,
    metrics: Metrics,
    /// What its batches stood for, as far as a test counts.
    taken: Counts,
}

impl Bench {
    fn new() -> Self {
        Self::at(tempfile::tempdir().unwrap(), Vec::new())
    }

    /// A worker that knows what an earlier one has saved.
    fn at(dir: tempfile::TempDir, saved: Vec<SavedFile>) -> Self {
        Self::with(dir, saved, &[0], Pool::new(8 << 20, || {}))
    }

    /// For as many sources as there are `tenants`, which share `pool`.
    fn of(tenants: &[u16], pool: Pool) -> Self {
        Self::with(tempfile::tempdir().unwrap(), Vec::new(), tenants, pool)
    }

    fn with(dir: tempfile::TempDir, saved: Vec<SavedFile>, tenants: &[u16], pool: Pool) -> Self {
        let source = |(idx, tenant): (usize, &u16)| {
            let name = if idx == 0 { "test".to_owned() } else { format!("test {idx}") };
            let options = Config::defaults("").parse_defaults(&name);
            let plan = Arc::new(Plan::compile(&options));
            let guard = Mutex::new(Guard::new(&plan));
            Arc::new(Source {
                name: options.source,
                tenant: TenantId(*tenant),
                others: vec![],
                place: crate::config::Place::default(),
                pods: None,
                plan,
                guard,
                values_max: 500,
            })
        };
        let sources: Sources = tenants.iter().enumerate().map(source).collect();
        let names = sources.iter().map(|source| source.name.as_str().into()).collect();
        let metrics = Metrics::new();
        let batch = batch::Options {
            bytes_max: 1 << 20,
            age_max: Duration::from_secs(1),
            streams_max: 100,
            metadata: true,
        };
        let pipeline = Pipeline::new(sources, true, batch, pool, metrics.clone());
        let registry = Arc::new(Registry::new(names, saved));
        let windows = Arc::new(Windows::new(tenants.len()));
        let shared = Shared { registry: Arc::clone(&registry), windows };
        let options = tail::Options {
            chunk_bytes: 300 * 1024,
            grace: Duration::from_secs(10),
            look_busy: Duration::from_secs(1),
            look_idle: Duration::from_secs(10),
            look_hot: Duration::from_millis(50),
            keys: (0, 1),
            budget: tail::Budget { open_files: 100, deleted_files: 100, deleted_bytes: 1 << 30 },
        };
        let worker = Worker::new(options, pipeline, shared, FileLog::new(metrics.clone()));
        Self { dir, worker, registry, metrics, taken: Counts::default() }
    }

    fn find(&mut self, name: &str, content: &str) {
        self.find_of(0, name, content);
    }

    fn find_of(&mut self, source: u16, name: &str, content: &str) {
        let path = self.dir.path().join(name);
        fs_err::write(&path, content).unwrap();
        self.found(source, &path);
    }

    fn found(&mut self, source: u16, path: &Path) {
        self.worker.found(NewFile::new(path, SourceId(source)), NOW, &mut Disk);
    }

    fn found_at(&mut self, path: &Path, stem: &Path, now: Now) {
        let meta = fs_err::metadata(path).ok();
        let resume =
            |meta: std::fs::Metadata| self.registry.resume((meta.dev(), meta.ino()), path, stem);
        let new = NewFile {
            stem: stem.into(),
            known: meta.map_or_else(Vec::new, resume),
            // The generations of these tests are numbered as they are rotated.
            rank: path.extension().and_then(|n| n.to_str()?.parse().ok()).unwrap_or(1000),
            ..NewFile::new(path, SourceId(0))
        };
        self.worker.found(new, now, &mut Disk);
    }

    /// A turn, after which the lane of `tenant` takes and settles what there is, and no other.
    /// Returns how many lines that are.
    fn turn_and_take(&mut self, tenant: TenantId) -> usize {
        let _ = self.worker.turn(NOW, &mut Disk);
        if let Some(due) = self.worker.pipeline.due_at() {
            let later = Now { mono: due.max(NOW.mono), ..NOW };
            self.worker.pipeline.settle_down(|_| false, later);
        }
        let mut taken = 0;
        while let Some(sealed) = self.worker.pipeline.outbox().take(tenant) {
            taken += sealed.entries;
            self.registry.settle(&sealed.receipt.tickets, NOW);
        }
        taken
    }

    /// Every line that is read now, in the order of the pushes, settled.
    fn lines(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        for sealed in self.sealed(NOW) {
            lines.extend(entries(&sealed).into_iter().map(|(_, line)| line));
            self.registry.settle(&sealed.receipt.tickets, NOW);
        }
        lines
    }

    /// Every batch of what is read `now`.
    fn sealed(&mut self, now: Now) -> Vec<Sealed> {
        let mut sealed = Vec::new();
        for _ in 0..1000 {
            let done = self.worker.turn(now, &mut Disk);
            sealed.extend(std::iter::from_fn(|| self.worker.pipeline.take_sealed()));
            if let Done::Idle(until) = done
                && now.mono < until
            {
                break;
            }
        }
        self.worker.pipeline.seal(now);
        sealed.extend(std::iter::from_fn(|| self.worker.pipeline.take_sealed()));
        sealed
    }
}

/// The entries of a batch: time and line.
fn entries(sealed: &Sealed) -> Vec<(UnixNanos, String)> {
    let request = snap::raw::Decoder::new().decompress_vec(&sealed.body).unwrap();
    let streams = PushRequest::decode(&request[..]).unwrap().streams;
    let entries = streams.into_iter().flat_map(|stream| stream.entries);
    let read = |entry: push::Entry| {
        let Timestamp { seconds, nanos } = entry.timestamp.unwrap();
        let time = UnixNanos(seconds * 1_000_000_000 + i64::from(nanos));
        (time, String::from_utf8(entry.line).unwrap())
    };
    entries.map(read).collect()
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

/// Tenant 0 never gets an answer, nor a place in its lane; tenant 1 does. What stops the first is
/// the memory that is not the other's, or the largest batch.
#[test]
fn a_tenant_that_is_stuck_leaves_memory_and_turns_to_the_others() {
    let share = 1536 << 10;
    for (limit, least) in [(4 << 20, 1 << 20), (6 << 20, 3 << 20)] {
        let pool = Pool::shared(limit, 2, share, || {});
        let mut bench = Bench::of(&[0, 1, 0], pool.clone());
        let mut rng = fastrand::Rng::with_seed(1);
        let mut noise = |lines: usize| -> String {
            let line = |_| (0..900).map(|_| rng.alphanumeric()).collect::<String>() + "\n";
            (0..lines).map(line).collect()
        };
        for file in 0..10 {
            bench.find_of(file % 2 * 2, &format!("stuck{file}"), &noise(500));
        }
        let (mut taken, mut most) = (0, 0);
        for round in 1..=10 {
            bench.find_of(1, &format!("free{round}"), &noise(500));
            for _ in 0..50 {
                taken += bench.turn_and_take(TenantId(1));
                most = most.max(pool.of(TenantId(0)).used_by_tenant());
            }
            assert_eq!(taken, round * 500, "lines of the other tenant");
        }
        assert!(least < most && most <= limit - share, "{most}");
        assert!(matches!(bench.worker.turn(NOW, &mut Disk), Done::NoPermit | Done::Busy));
        let rest: usize = (0..100).map(|_| bench.turn_and_take(TenantId(0))).sum();
        assert_eq!(rest, 5_000, "all of it comes when it can");
        assert_eq!(pool.used(), 0);
    }
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
    bench.found(0, &old);
    fs_err::write(&path, hours("a", 0..10)).unwrap();
    let meta = fs_err::metadata(&path).unwrap();
    let new = NewFile::new(path, SourceId(0));
    bench.worker.renamed((meta.dev(), meta.ino()), new.clone(), NOW, &mut Disk);
    assert_eq!(bench.lines().len(), 10);
    bench.worker.renamed((meta.dev(), meta.ino()), new, NOW, &mut Disk);
    assert!(bench.lines().is_empty(), "it is known");
}
