//! Files that grow while they are watched: written here line by line, at a pace, each line with
//! the time at which it is written.

use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use fs_err::{File, OpenOptions};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::agent::{APART, Agent, Config, Start};
use crate::corpus::{Corpus, Shape};
use crate::expect::{Digest, Rules};
use crate::files::{Library, times};
use crate::measure::{Status, pin, threads_cpu};
use crate::sink::{Sink, When, wall};
use crate::table::Figures;
use crate::tally::Tally;
use crate::workload::Live;

/// Files of one folder.
const FOLDER_FILES: usize = 100;

/// How long the writer sleeps between lines that are due.
const TICK: Duration = Duration::from_millis(5);

/// Runs it once.
pub(crate) fn run(library: &Library, binary: &Path, live: Live) -> anyhow::Result<Figures> {
    match live {
        Live::Growing { files, lines_per_second, time } => {
            let mut bed = Bed::start(library, binary, files, Duration::from_secs(1))?;
            let (bytes, cpu, start) = (bed.bytes, bed.cpu(), Instant::now());
            bed.pace(lines_per_second, time)?;
            bed.settle()?;
            let mut figures = Figures::default();
            let megabytes = (bed.bytes - bytes) as f64 / 1e6;
            let cpu = (bed.cpu() - cpu).as_secs_f64();
            figures.add("MB/s", megabytes / start.elapsed().as_secs_f64());
            figures.add("MB/CPU-s", megabytes / cpu);
            bed.finish(figures)
        }
        Live::Idle { files, quiet, time } => {
            let mut bed = Bed::start(library, binary, files, Duration::from_secs(1))?;
            std::thread::sleep(quiet);
            let cpu = bed.cpu();
            std::thread::sleep(time);
            let mut figures = Figures::default();
            let millis = (bed.cpu() - cpu).as_secs_f64() * 1000.0;
            figures.add("CPU ms/s", millis / time.as_secs_f64());
            bed.sink.tally().latencies = Some(Vec::new());
            bed.line()?;
            bed.settle()?;
            figures.add("reaction ms", bed.latency(1.0));
            bed.finish(figures)
        }
        Live::Latency { lines_per_second, age_max, time } => {
            let mut bed = Bed::start(library, binary, 1, age_max)?;
            bed.sink.tally().latencies = Some(Vec::new());
            let (pushes, cpu, start) = (bed.sink.tally().pushes, bed.cpu(), Instant::now());
            bed.pace(lines_per_second, time)?;
            bed.settle()?;
            let seconds = start.elapsed().as_secs_f64();
            let mut figures = Figures::default();
            figures.add("CPU ms/s", (bed.cpu() - cpu).as_secs_f64() * 1000.0 / seconds);
            figures.add("p50 ms", bed.latency(0.5));
            figures.add("p99 ms", bed.latency(0.99));
            figures.add("p99.9 ms", bed.latency(0.999));
            figures.add("pushes/s", (bed.sink.tally().pushes - pushes) as f64 / seconds);
            bed.finish(figures)
        }
    }
}

/// Files, and an agent that has read them.
struct Bed {
    files: Vec<File>,
    /// The file of the next line.
    next: usize,
    corpus: Corpus,
    digest: Digest,
    bytes: u64,
    agent: Agent,
    sink: Sink,
    _folder: TempDir,
}

impl Bed {
    /// Begins with a line in each file.
    fn start(
        library: &Library,
        binary: &Path,
        count: usize,
        age_max: Duration,
    ) -> anyhow::Result<Self> {
        pin(APART.rest)?;
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
        let folder = tempfile::tempdir_in(&library.folder)?;
        let logs = folder.path().join("logs");
        let mut files = Vec::new();
        for file in 0..count {
            let within = logs.join((file / FOLDER_FILES).to_string());
            fs_err::create_dir_all(&within)?;
            let path = within.join(format!("{file}.log"));
            files.push(OpenOptions::new().create(true).append(true).open(path)?);
        }
        let sink = Sink::start(
            Tally::new(u64::MAX, count),
            When::AtOnce,
            Duration::ZERO,
            library.patience,
        )?;
        let config = Config {
            loki: sink.addr,
            admin: None,
            glob: &logs.join("*/*.log").display().to_string(),
            rules: Rules::Default.yaml(),
            age_max,
            streams: 100_000,
        };
        let args = config.write(folder.path())?;
        let corpus = Corpus::new(Shape::File400, library.seed, times(0, 0, count)?);
        let agent = Agent::start(binary, &args, folder.path(), APART, &Start::default())?;
        sink.tally().pid = agent.pid();
        let (digest, bytes) = (Digest::default(), 0);
        let mut bed = Self { files, next: 0, corpus, digest, bytes, agent, sink, _folder: folder };
        (0..count).try_for_each(|_| bed.line())?;
        bed.settle()?;
        Ok(bed)
    }

    /// Writes a line into the next file.
    fn line(&mut self) -> anyhow::Result<()> {
        let count = self.files.len();
        let now = i64::try_from(wall().as_nanos())?;
        let mut line = self.corpus.at(times(now, self.next, count)?.start);
        self.digest.add_line(&line, Rules::Default);
        line.bytes.push(b'\n');
        self.files[self.next].write_all(&line.bytes)?;
        self.bytes += line.bytes.len() as u64;
        self.next = (self.next + 1) % count;
        Ok(())
    }

    /// Writes lines as they are due.
    fn pace(&mut self, lines_per_second: u32, time: Duration) -> anyhow::Result<()> {
        let (start, mut written) = (Instant::now(), 0);
        while start.elapsed() < time {
            let due = start.elapsed().as_secs_f64() * f64::from(lines_per_second);
            while f64::from(written) < due {
                self.line()?;
                written += 1;
            }
            let next = Duration::from_secs(1) / lines_per_second;
            std::thread::sleep(next.min(TICK));
        }
        Ok(())
    }

    /// Waits until all lines have come.
    fn settle(&self) -> anyhow::Result<()> {
        self.sink.expect(self.digest.lines);
        self.sink.wait().map_err(|error| self.agent.explain(&error))
    }

    fn cpu(&self) -> Duration {
        threads_cpu(self.agent.pid())
    }

    /// Milliseconds within which the share `quantile` of the lines came.
    fn latency(&self, quantile: f64) -> f64 {
        let mut latencies = self.sink.tally().latencies.clone().unwrap_or_default();
        latencies.sort_unstable();
        let place = (1..)
            .zip(&latencies)
            .find(|(rank, _)| f64::from(*rank) >= latencies.len() as f64 * quantile);
        place.map_or(f64::NAN, |(_, micros)| *micros as f64 / 1000.0)
    }

    /// Adds the memory and checks all that came.
    fn finish(self, mut figures: Figures) -> anyhow::Result<Figures> {
        let status = Status::of(self.agent.pid());
        figures.add("peak MiB", f64::from(status.peak_kib) / 1024.0);
        figures.add("resident MiB", f64::from(status.resident_kib) / 1024.0);
        self.agent.stop(Some(Signal::TERM))?;
        self.sink.check(&self.digest)?;
        Ok(figures)
    }
}
