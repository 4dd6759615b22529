//! A compressed log file, read as what it was before.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, BufReader, Read as _, Seek as _, SeekFrom};

use flate2::read::MultiGzDecoder;

/// How much is unpacked at once.
const STEP_BYTES: usize = 64 * 1024;

/// How much of what was read stays, so that a reader can go back a chunk without starting again.
const KEPT_BYTES: usize = 512 * 1024;

/// An open gzip file. Reading is quick as long as it goes forward, a little back at most: what was
/// read last is kept.
#[derive(Debug)]
pub struct Gzip {
    len: u64,
    place: RefCell<Place>,
}

#[derive(Debug)]
struct Place {
    unpacked: MultiGzDecoder<BufReader<File>>,
    /// Bytes that were taken out of `unpacked`.
    at: u64,
    /// The last of them: [`KEPT_BYTES`] at least, if there were so many, and twice that at most.
    last: Vec<u8>,
}

impl Gzip {
    /// Unpacks `file` once, to know that it is whole and how long it was.
    ///
    /// # Errors
    /// `UnexpectedEof` or `InvalidInput` when it is not whole, or those of `read(2)`.
    pub(super) fn new(file: File) -> io::Result<Self> {
        let mut place = Place::start(file)?;
        let len = io::copy(&mut place.unpacked, &mut io::sink())?;
        Ok(Self { len, place: RefCell::new(place.again()?) })
    }

    /// Bytes that it had before it was compressed.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// The compressed file.
    pub(super) fn file(&self) -> io::Result<std::fs::Metadata> {
        self.place.borrow().unpacked.get_ref().get_ref().metadata()
    }

    /// As `pread(2)` on the file before it was compressed.
    pub(super) fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut place = self.place.borrow_mut();
        if offset < place.at - place.last.len() as u64 {
            let file = place.unpacked.get_ref().get_ref().try_clone()?;
            *place = Place::start(file)?;
        }
        let end = offset.saturating_add(buf.len().min(KEPT_BYTES) as u64);
        while place.at < end && place.step()? {}
        let kept = place.from(offset);
        let len = kept.len().min(buf.len());
        buf[..len].copy_from_slice(&kept[..len]);
        Ok(len)
    }
}

impl Place {
    fn start(mut file: File) -> io::Result<Self> {
        file.seek(SeekFrom::Start(0))?;
        let unpacked = MultiGzDecoder::new(BufReader::new(file));
        Ok(Self { unpacked, at: 0, last: Vec::new() })
    }

    fn again(self) -> io::Result<Self> {
        Self::start(self.unpacked.into_inner().into_inner())
    }

    /// What is kept of the bytes at and behind `offset`.
    fn from(&self, offset: u64) -> &[u8] {
        let behind = usize::try_from(self.at.saturating_sub(offset)).unwrap_or(usize::MAX);
        &self.last[self.last.len().saturating_sub(behind)..]
    }

    /// Unpacks some more; false at the end.
    fn step(&mut self) -> io::Result<bool> {
        if 2 * KEPT_BYTES < self.last.len() + STEP_BYTES {
            self.last.drain(..self.last.len() - KEPT_BYTES);
        }
        let len = self.last.len();
        self.last.resize(len + STEP_BYTES, 0);
        let more = self.unpacked.read(&mut self.last[len..]);
        self.last.truncate(len + *more.as_ref().unwrap_or(&0));
        self.at += more.as_ref().map_or(0, |more| *more as u64);
        Ok(more? != 0)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    #[test]
    fn it_reads_as_the_file_before_wherever_one_reads() {
        let mut rng = fastrand::Rng::with_seed(7);
        let plain: Vec<u8> = (0..3_000_000).map(|_| rng.u8(b'a'..=b'z')).collect();
        let mut packed = Vec::new();
        // Two members, as appending makes them.
        for part in plain.chunks(2_000_000) {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(part).unwrap();
            packed.extend(encoder.finish().unwrap());
        }
        let open = |bytes: &[u8]| {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(bytes).unwrap();
            Gzip::new(file)
        };
        let gzip = open(&packed).unwrap();
        assert_eq!(gzip.len(), plain.len() as u64);
        let mut offset = 0;
        for _ in 0..300 {
            let mut buf = vec![0; rng.usize(0..50_000)];
            let len = gzip.read_at(&mut buf, offset as u64).unwrap();
            let expected = &plain[offset.min(plain.len())..(offset + buf.len()).min(plain.len())];
            assert_eq!(&buf[..len], expected, "at {offset}");
            offset = match rng.u8(0..8) {
                0 => rng.usize(0..3_100_000),
                1..4 => (offset + len).saturating_sub(rng.usize(0..60_000)),
                _ => offset + len,
            };
        }
        for cut in [0, 5, 1000, packed.len() - 1] {
            assert!(open(&packed[..cut]).is_err() || cut == 0, "{cut} bytes are not whole");
        }
    }
}
