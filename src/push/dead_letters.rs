//! The file for entries that Loki refuses for ever.

use std::collections::BTreeMap;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use fs_err::os::unix::fs::OpenOptionsExt as _;
use serde::{Deserialize, Serialize};

use crate::model::{Reason, UnixNanos};

/// The name of the file under `state_dir`.
pub const FILE_NAME: &str = "dead-letters.jsonl";

/// An entry that Loki refused, and its reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// The time Loki would have stored.
    pub time: UnixNanos,
    /// As what it is counted.
    pub reason: Reason,
    /// The status of the answer.
    pub status: u16,
    /// The beginning of the answer's text.
    pub text: String,
    /// The tenant it was for.
    pub tenant: Option<String>,
    /// The stream, as Loki's label string.
    pub labels: String,
    /// Structured metadata, as names and values.
    pub metadata: Vec<(String, String)>,
    /// The line.
    pub line: Vec<u8>,
}

impl DeadLetter {
    /// Reads a line of the file.
    ///
    /// # Errors
    /// It is no JSON, or lacks what makes an entry: a time, labels, a line.
    pub fn parse(text: &str) -> Result<Self, serde_json::Error> {
        let read: Read = serde_json::from_str(text)?;
        let reason = Reason::ALL.into_iter().find(|reason| reason.name() == read.reason);
        Ok(Self {
            time: read.time.0,
            // One of another version: what counts is that it was refused.
            reason: reason.unwrap_or(Reason::RejectedByLoki),
            status: read.status,
            text: read.text,
            tenant: read.tenant,
            labels: read.labels,
            metadata: read.metadata.into_iter().collect(),
            line: read.line.into_bytes(),
        })
    }
}

/// Appends dead letters to a file, one JSON object a line.
#[derive(Debug)]
pub struct DeadLetters {
    path: PathBuf,
    bytes_max: u64,
}

/// Why a dead letter was not written.
#[derive(Debug, thiserror::Error)]
pub enum DeadLetterError {
    /// The file has reached its bound.
    #[error(
        "full: {} has {bytes} of {bytes_max} bytes; move it away, or raise \
         `dead_letters.bytes_max`",
        path.display()
    )]
    Full {
        /// The file.
        path: PathBuf,
        /// Its size.
        bytes: u64,
        /// `dead_letters.bytes_max`.
        bytes_max: u64,
    },
    /// The disk refused. The error names the path.
    #[error("cannot be written")]
    Io(#[from] io::Error),
}

impl DeadLetters {
    /// The file in `state_dir`. It is made with the first letter, and may be moved away at any
    /// time.
    #[must_use]
    pub fn new(state_dir: &Path, bytes_max: u64) -> Self {
        Self::at(&state_dir.join(FILE_NAME), bytes_max)
    }

    /// A file of any name.
    #[must_use]
    pub fn at(path: &Path, bytes_max: u64) -> Self {
        Self { path: path.to_owned(), bytes_max }
    }

    /// Appends `letters` and makes them durable: all of them, or none.
    ///
    /// # Errors
    /// [`DeadLetterError::Full`] when they would pass the bound; [`DeadLetterError::Io`] with
    /// what the disk said.
    pub fn append(&self, letters: &[DeadLetter]) -> Result<(), DeadLetterError> {
        let is_new = !self.path.exists();
        let mut options = fs_err::OpenOptions::new();
        let mut file = options.read(true).append(true).create(true).mode(0o600).open(&self.path)?;
        let bytes = file.metadata()?.len();
        let mut text = Vec::new();
        if !ends_a_line(&mut file, bytes)? {
            // The process died while it wrote.
            text.push(b'\n');
        }
        for letter in letters {
            serde_json::to_writer(&mut text, &Json::from(letter)).map_err(io::Error::from)?;
            text.push(b'\n');
        }
        if self.bytes_max < bytes + text.len() as u64 {
            let (path, bytes_max) = (self.path.clone(), self.bytes_max);
            return Err(DeadLetterError::Full { path, bytes, bytes_max });
        }
        if let Err(err) = file.write_all(&text).and_then(|()| file.sync_all()) {
            // What was written must not be half a line for the next one to continue. If this
            // fails as well, the first error is the one to tell.
            let _ = file.set_len(bytes);
            return Err(err.into());
        }
        if is_new && let Some(folder) = self.path.parent() {
            // That of a bare name is empty.
            let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
            fs_err::File::open(folder)?.sync_all()?;
        }
        Ok(())
    }
}

fn ends_a_line(file: &mut fs_err::File, bytes: u64) -> io::Result<bool> {
    if bytes == 0 {
        return Ok(true);
    }
    let mut last = [0];
    file.seek(SeekFrom::Start(bytes - 1))?;
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
}

impl DeadLetterError {
    /// The error with its causes on one line, as [`Sender::buried`](super::Sender::buried)
    /// wants it.
    #[must_use]
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut source = std::error::Error::source(self);
        while let Some(err) = source {
            text = format!("{text}: {err}");
            source = err.source();
        }
        text
    }
}

#[derive(Serialize)]
struct Json<'a> {
    time: Shown,
    reason: &'static str,
    status: u16,
    text: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<&'a str>,
    labels: &'a str,
    metadata: serde_json::Map<String, serde_json::Value>,
    line: std::borrow::Cow<'a, str>,
}

#[derive(Deserialize)]
struct Read {
    time: Shown,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    status: u16,
    #[serde(default)]
    text: String,
    tenant: Option<String>,
    labels: String,
    #[serde(default)]
    metadata: BTreeMap<String, String>,
    line: String,
}

struct Shown(UnixNanos);

impl<'de> Deserialize<'de> for Shown {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error as _;
        let text = String::deserialize(deserializer)?;
        let time: jiff::Timestamp = text.parse().map_err(D::Error::custom)?;
        time.try_into().map(Self).map_err(D::Error::custom)
    }
}

impl Serialize for Shown {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'a> From<&'a DeadLetter> for Json<'a> {
    fn from(letter: &'a DeadLetter) -> Self {
        let pairs = letter.metadata.iter();
        Self {
            time: Shown(letter.time),
            reason: letter.reason.name(),
            status: letter.status,
            text: &letter.text,
            tenant: letter.tenant.as_deref(),
            labels: &letter.labels,
            metadata: pairs.map(|(name, value)| (name.clone(), value.as_str().into())).collect(),
            line: String::from_utf8_lossy(&letter.line),
        }
    }
}
