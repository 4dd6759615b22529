//! What came in: counted, hashed, and looked at for its order. Cheap enough to be done for each line
//! of each run, on a core that the agent does not use.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use skald::receive::Labels;

use crate::expect::{self, Digest};
use crate::measure;
use crate::reading::{Fields, Value};

/// Counts of one run.
#[derive(Debug)]
pub(crate) struct Tally {
    pub(crate) digest: Digest,
    pub(crate) pushes: u64,
    /// Streams of all pushes.
    pub(crate) streams_pushed: u64,
    /// Bytes of bodies.
    pub(crate) wire_bytes: u64,
    /// The first thing that was wrong.
    pub(crate) wrong: Option<String>,
    /// Microseconds from a line's own time to its arrival, if they are asked for.
    pub(crate) latencies: Option<Vec<i64>>,
    /// When nine tenths of the lines were here, and their bytes. The last ones may wait for others.
    pub(crate) most: Option<(Instant, u64)>,
    /// When the last line came, and what was known of the agent then.
    pub(crate) end: Option<(Instant, measure::Status)>,
    /// The lines that are waited for.
    pub(crate) target: u64,
    /// The agent.
    pub(crate) pid: u32,
    /// A line's file is its time in microseconds modulo this.
    files: usize,
    streams: HashMap<Vec<u8>, Stream>,
    protobuf: Vec<u8>,
}

#[derive(Debug)]
struct Stream {
    hash: u64,
    /// The last time of each file.
    last: Vec<i64>,
}

impl Tally {
    pub(crate) fn new(target: u64, files: usize) -> Self {
        Self {
            digest: Digest::default(),
            pushes: 0,
            streams_pushed: 0,
            wire_bytes: 0,
            wrong: None,
            latencies: None,
            most: None,
            end: None,
            target,
            pid: 0,
            files,
            streams: HashMap::new(),
            protobuf: Vec::new(),
        }
    }

    /// Takes a push that came `at` this time. If that is now, it looks at the agent while that still
    /// waits for the last answer.
    pub(crate) fn push(&mut self, body: &[u8], at: Instant, wall: Duration) {
        self.pushes += 1;
        self.wire_bytes += body.len() as u64;
        if let Err(wrong) = self.request(body, wall) {
            self.wrong.get_or_insert(wrong);
        }
        if self.most.is_none() && self.digest.lines >= self.target / 10 * 9 {
            self.most = Some((at, self.digest.bytes));
        }
        self.look();
    }

    /// Makes `lines` those that are waited for.
    pub(crate) fn expect(&mut self, lines: u64) {
        (self.target, self.end) = (lines, None);
        self.look();
    }

    fn look(&mut self) {
        if self.end.is_none() && self.digest.lines >= self.target {
            self.end = Some((Instant::now(), measure::Status::of(self.pid)));
        }
    }

    fn request(&mut self, body: &[u8], wall: Duration) -> Result<(), String> {
        let mut protobuf = std::mem::take(&mut self.protobuf);
        let len = snap::raw::decompress_len(body).map_err(|error| error.to_string())?;
        protobuf.resize(len, 0);
        snap::raw::Decoder::new()
            .decompress(body, &mut protobuf)
            .map_err(|error| error.to_string())?;
        for field in Fields(&protobuf) {
            match field? {
                (1, Value::Bytes(stream)) => self.stream(stream, wall)?,
                other => return Err(format!("a request with {other:?}")),
            }
        }
        self.protobuf = protobuf;
        Ok(())
    }

    fn stream(&mut self, bytes: &[u8], wall: Duration) -> Result<(), String> {
        self.streams_pushed += 1;
        let mut fields = Fields(bytes);
        let Some(Ok((1, Value::Bytes(labels)))) = fields.next() else {
            return Err("a stream without labels".to_owned());
        };
        if !self.streams.contains_key(labels) {
            let text = String::from_utf8_lossy(labels);
            let parsed = Labels::parse(&text).map_err(|error| error.to_string())?;
            let hash = expect::pairs(parsed.iter());
            let last = vec![i64::MIN; self.files];
            self.streams.insert(labels.to_vec(), Stream { hash, last });
        }
        let stream = self.streams.get_mut(labels).expect("BUG: it was just put there");
        for field in fields {
            let (2, Value::Bytes(entry)) = field? else {
                return Err("a stream with something else than entries".to_owned());
            };
            let time = stream.entry(entry, &mut self.digest)?;
            if let Some(latencies) = &mut self.latencies {
                latencies.push(i64::try_from(wall.as_micros()).unwrap_or(0) - time / 1000);
            }
        }
        Ok(())
    }
}

impl Stream {
    /// Adds an entry and returns its time.
    fn entry(&mut self, bytes: &[u8], digest: &mut Digest) -> Result<i64, String> {
        let (mut time, mut line, mut metadata) = (0_i64, &[][..], 0_u64);
        for field in Fields(bytes) {
            match field? {
                (1, Value::Bytes(bytes)) => time = nanos(bytes)?,
                (2, Value::Bytes(bytes)) => line = bytes,
                (3, Value::Bytes(bytes)) => metadata = metadata.wrapping_add(pair(bytes)?),
                other => return Err(format!("an entry with {other:?}")),
            }
        }
        let file = (time / 1000).unsigned_abs() % self.last.len() as u64;
        let last = &mut self.last[usize::try_from(file).map_err(|error| error.to_string())?];
        if time <= *last {
            return Err(format!("out of order at {time}: {}", String::from_utf8_lossy(line)));
        }
        *last = time;
        digest.add(self.hash, time, line, metadata);
        Ok(time)
    }
}

fn nanos(bytes: &[u8]) -> Result<i64, String> {
    let (mut seconds, mut nanos) = (0, 0);
    for field in Fields(bytes) {
        match field? {
            (1, Value::Number(number)) => seconds = number.cast_signed(),
            (2, Value::Number(number)) => nanos = number.cast_signed(),
            other => return Err(format!("a time with {other:?}")),
        }
    }
    Ok(seconds * 1_000_000_000 + nanos)
}

fn pair(bytes: &[u8]) -> Result<u64, String> {
    let (mut name, mut value) = (&[][..], &[][..]);
    for field in Fields(bytes) {
        match field? {
            (1, Value::Bytes(bytes)) => name = bytes,
            (2, Value::Bytes(bytes)) => value = bytes,
            other => return Err(format!("a pair with {other:?}")),
        }
    }
    Ok(expect::pair(name, value))
}
