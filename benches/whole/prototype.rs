//! The same steps as a plain program, in this process and without a network: what a whole agent is
//! measured against. Lines, six fields of each by a borrowed struct, one protobuf append, snappy.

use std::borrow::Cow;
use std::io::Read as _;
use std::path::Path;
use std::time::Duration;

use fs_err::File;
use serde::Deserialize;

use crate::measure::Usage;

/// Protobuf bytes that are compressed together.
const BATCH_BYTES: usize = 1 << 20;

/// Bytes that are read at once.
const READ_BYTES: usize = 256 << 10;

/// A made-up time: reading a line's own is not one of the steps.
const TIME: [u8; 14] =
    [0x0a, 12, 0x08, 0x80, 0x80, 0x80, 0x80, 0x06, 0x10, 0x80, 0x80, 0x80, 0x80, 0x01];

#[derive(Deserialize)]
struct Picked<'a> {
    #[serde(borrow)]
    timestamp: Option<Cow<'a, str>>,
    #[serde(borrow)]
    level: Option<Cow<'a, str>>,
    #[serde(borrow)]
    event_type: Option<Cow<'a, str>>,
    #[serde(borrow)]
    request_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    user_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    trace_id: Option<Cow<'a, str>>,
}

/// Processor time for a file of JSON lines.
pub(crate) fn run(path: &Path) -> anyhow::Result<Duration> {
    let before = Usage::of_thread()?;
    let mut file = File::open(path)?;
    let (mut buf, mut len) = (vec![0; READ_BYTES], 0);
    let mut batch = Batch {
        protobuf: Vec::new(),
        body: Vec::new(),
        encoder: snap::raw::Encoder::new(),
        sent: 0,
        seen: 0,
    };
    loop {
        let read = file.read(&mut buf[len..])?;
        if read == 0 {
            break;
        }
        len += read;
        let mut start = 0;
        for end in memchr::memchr_iter(b'\n', &buf[..len]) {
            batch.line(&buf[start..end])?;
            start = end + 1;
        }
        buf.copy_within(start..len, 0);
        len -= start;
    }
    batch.seal()?;
    anyhow::ensure!(batch.sent > 0, "nothing was compressed");
    Ok((Usage::of_thread()? - before).cpu)
}

struct Batch {
    protobuf: Vec<u8>,
    body: Vec<u8>,
    encoder: snap::raw::Encoder,
    sent: usize,
    /// Keeps what was picked from being left out.
    seen: usize,
}

impl Batch {
    fn line(&mut self, line: &[u8]) -> anyhow::Result<()> {
        let picked: Picked<'_> = serde_json::from_slice(line)?;
        for label in [&picked.timestamp, &picked.level, &picked.event_type] {
            self.seen += label.as_ref().map_or(0, |label| label.len());
        }
        let ids = [
            ("request_id", &picked.request_id),
            ("user_id", &picked.user_id),
            ("trace_id", &picked.trace_id),
        ];
        let ids = ids.map(|(name, value)| (name, value.as_deref().unwrap_or_default()));
        let metadata = ids.map(|(name, value)| {
            let len = 2 + name.len() + 2 + value.len();
            1 + varint_len(len) + len
        });
        let len =
            TIME.len() + 1 + varint_len(line.len()) + line.len() + metadata.iter().sum::<usize>();
        tag(&mut self.protobuf, 2, len);
        self.protobuf.extend_from_slice(&TIME);
        tag(&mut self.protobuf, 2, line.len());
        self.protobuf.extend_from_slice(line);
        for (name, value) in ids {
            tag(&mut self.protobuf, 3, 4 + name.len() + value.len());
            tag(&mut self.protobuf, 1, name.len());
            self.protobuf.extend_from_slice(name.as_bytes());
            tag(&mut self.protobuf, 2, value.len());
            self.protobuf.extend_from_slice(value.as_bytes());
        }
        if self.protobuf.len() >= BATCH_BYTES { self.seal() } else { Ok(()) }
    }

    fn seal(&mut self) -> anyhow::Result<()> {
        self.body.resize(snap::raw::max_compress_len(self.protobuf.len()), 0);
        self.sent += self.encoder.compress(&self.protobuf, &mut self.body)?;
        self.protobuf.clear();
        std::hint::black_box(self.seen);
        Ok(())
    }
}

/// A field that has a length.
fn tag(out: &mut Vec<u8>, number: u8, len: usize) {
    out.push(number << 3 | 2);
    let mut rest = len;
    while rest >= 0x80 {
        out.push(u8::try_from(rest & 0x7f).unwrap_or(0) | 0x80);
        rest >>= 7;
    }
    out.push(u8::try_from(rest).unwrap_or(0));
}

fn varint_len(number: usize) -> usize {
    std::iter::successors(Some(number), |rest| Some(rest >> 7).filter(|rest| *rest > 0)).count()
}
