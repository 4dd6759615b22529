//! Logs on disk, written once and read by many runs.

use std::collections::HashMap;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use fs_err::File;

use crate::corpus::{Corpus, Line, Shape, Times};
use crate::expect::{Digest, Rules};

/// Which log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Log {
    pub(crate) shape: Shape,
    pub(crate) rules: Rules,
    pub(crate) files: u16,
    /// See `Corpus::with_even_users`.
    pub(crate) even_users: u32,
    /// Of all files.
    pub(crate) bytes: u64,
}

/// A log that was written.
#[derive(Debug)]
pub(crate) struct Written {
    /// The pattern of its files.
    pub(crate) glob: String,
    pub(crate) paths: Vec<PathBuf>,
    pub(crate) bytes: u64,
    /// What is to arrive.
    pub(crate) digest: Digest,
}

/// How a log is to differ from what is said to be in it, to see that it is noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Fault {
    /// A line is not written.
    Lost,
    /// A line has one more byte.
    Wrong,
    /// A line is older than the one before.
    Disorder,
}

/// All logs.
#[derive(Debug)]
pub(crate) struct Library {
    pub(crate) folder: PathBuf,
    pub(crate) seed: u64,
    /// The time of the first line, in nanoseconds since 1970.
    pub(crate) start: i64,
    pub(crate) fault: Option<Fault>,
    /// How long there may be no push before a run has failed.
    pub(crate) patience: Duration,
    pub(crate) written: HashMap<Log, Rc<Written>>,
}

/// Whose file a line is in shows in its time: microseconds modulo the number of files.
pub(crate) fn times(start: i64, file: usize, files: usize) -> anyhow::Result<Times> {
    let (file, unit_micros) = (i64::try_from(file)?, i64::try_from(files)?);
    let start = start - start.rem_euclid(unit_micros * 1000) + file * 1000;
    // A millisecond a line, or ten a line of one of many files.
    let units_max = if files == 1 { 2000 } else { (20_000 / unit_micros).max(1) };
    Ok(Times { start, unit_micros, units_max })
}

impl Library {
    /// The log, written if it is not there yet, and read once so that it is in memory.
    pub(crate) fn get(&mut self, log: Log) -> anyhow::Result<Rc<Written>> {
        if let Some(written) = self.written.get(&log) {
            return Ok(Rc::clone(written));
        }
        let folder = self.folder.join(format!("log-{}", self.written.len()));
        fs_err::create_dir(&folder)?;
        let written = Rc::new(self.write(log, &folder)?);
        for path in &written.paths {
            std::io::copy(&mut File::open(path)?, &mut std::io::sink())?;
        }
        self.written.insert(log, Rc::clone(&written));
        Ok(written)
    }

    fn write(&self, log: Log, folder: &Path) -> anyhow::Result<Written> {
        let files = usize::from(log.files);
        let (mut paths, mut bytes, mut digest) = (Vec::new(), 0, Digest::default());
        let mut fault = self.fault;
        for file in 0..files {
            let path = folder.join(format!("{file}.log"));
            let mut out = BufWriter::new(File::create(&path)?);
            let times = times(self.start, file, files)?;
            let mut corpus = Corpus::new(log.shape, self.seed + file as u64, times)
                .with_even_users(log.even_users);
            let end = bytes + log.bytes / files as u64;
            let middle = bytes.midpoint(end);
            while bytes < end {
                let mut line = corpus.line();
                let fault = if bytes < middle { None } else { fault.take() };
                if fault == Some(Fault::Disorder) {
                    line = corpus.at(line.time - 1_000_000_000);
                }
                digest.add_line(&line, log.rules);
                bytes += put(&mut out, line, fault)?;
            }
            out.flush()?;
            paths.push(path);
        }
        let glob = folder.join("*.log").display().to_string();
        Ok(Written { glob, paths, bytes, digest })
    }
}

fn put(out: &mut impl std::io::Write, mut line: Line, fault: Option<Fault>) -> anyhow::Result<u64> {
    if fault == Some(Fault::Wrong) {
        line.bytes.push(b' ');
    }
    line.bytes.push(b'\n');
    if fault != Some(Fault::Lost) {
        out.write_all(&line.bytes)?;
    }
    Ok(line.bytes.len() as u64)
}
