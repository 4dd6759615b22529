//! A file that grows in any steps, read by chunks of any size, with failures and restarts, gives
//! the lines that splitting it at once gives.

use std::io;
use std::path::Path;
use std::time::Duration;

use skald::model::{
    FileStat, Files, Fingerprint, Identity, Kind, Mark, MaybeNanos, Now, SourceId, UnixNanos,
};
use skald::tail::{Budget, Chunk, Kin, NewFile, News, Options, Reader, Resume, Turn};

use super::bytes::Bytes;

/// A line: its bytes or their head, its full length when it was cut, the offset behind it.
type Line = (Vec<u8>, Option<u64>, u64);

/// The size of a chunk, the steps, and the file.
pub(crate) fn check(data: &[u8]) {
    let mut bytes = Bytes(data);
    let chunk_bytes = 1 + bytes.below(96);
    let steps = bytes.piece();
    let mut bench = Bench::new(chunk_bytes, bytes.0);
    for step in steps {
        bench.step(*step);
    }
    bench.disk.visible = bench.disk.content.len();
    (bench.disk.fail_in, bench.disk.read_max) = (None, usize::MAX);
    bench.end();
    let content = &bench.disk.content;
    assert_eq!(bench.lines, naive(content, chunk_bytes), "in chunks of {chunk_bytes}");
}

struct Bench {
    disk: Disk,
    reader: Reader<()>,
    chunk_bytes: usize,
    mark: Mark,
    head: Fingerprint,
    seconds: u64,
    lines: Vec<Line>,
    closed: bool,
}

impl Bench {
    fn new(chunk_bytes: usize, content: &[u8]) -> Self {
        let content = content.to_vec();
        let disk = Disk { content, visible: 0, links: 1, read_max: usize::MAX, fail_in: None };
        let (mark, head) = (Mark::default(), Fingerprint::default());
        let (reader, lines) = (reader(chunk_bytes), Vec::new());
        let mut bench =
            Self { disk, reader, chunk_bytes, mark, head, seconds: 0, lines, closed: false };
        bench.open(None);
        bench
    }

    fn now(&self) -> Now {
        Now { mono: Duration::from_secs(self.seconds), wall: UnixNanos(0) }
    }

    fn open(&mut self, resume: Option<Resume>) {
        let known = resume.into_iter().collect();
        let new = NewFile { known, ..NewFile::new(Path::new("/log"), SourceId(0)) };
        self.reader.found(new, self.now(), &mut self.disk);
    }

    fn step(&mut self, step: u8) {
        let size = usize::from(step % 32);
        match step / 32 {
            0 | 1 => self.disk.visible = (self.disk.visible + size).min(self.disk.content.len()),
            2 => self.turn(size),
            3 => self.turn(usize::MAX),
            4 => self.disk.read_max = 1 + size,
            5 => self.disk.fail_in = Some(size),
            6 => self.seconds += size as u64,
            _ => self.restart(),
        }
    }

    /// A turn, of whose lines at most so many are taken.
    fn turn(&mut self, most: usize) {
        let mut buf = Vec::new();
        if let Turn::Chunk(chunk) = self.reader.turn(self.now(), &mut self.disk, &mut buf, |_| true)
        {
            self.take(&chunk, &buf, most);
        }
        for news in self.reader.news() {
            let is_lost = matches!(news, News::Truncated { .. } | News::NotResumed { .. });
            assert!(!is_lost, "it only grew: {news:?}");
            self.closed |= matches!(news, News::Closed { .. });
            if let News::Head { head, .. } = news {
                self.head = head;
            }
        }
    }

    fn take(&mut self, chunk: &Chunk, buf: &[u8], most: usize) {
        if self.lines.is_empty() {
            // Behind the NULs that it begins with.
            self.mark = chunk.start;
        }
        assert_eq!(chunk.start, self.mark);
        let total = chunk.lines(buf).count();
        assert!(total > 0, "a chunk without lines");
        for line in chunk.lines(buf).take(most) {
            self.lines.push((line.bytes.to_vec(), line.truncated_from, line.end.0));
            let tail = chunk.tail(buf, line.end);
            self.mark = Mark { offset: line.end, tail, ..Mark::default() };
        }
        self.reader.consumed(chunk, self.mark, total <= most);
    }

    /// The next run goes on from where this one was.
    fn restart(&mut self) {
        // It waits until the disk is sound, as people would.
        self.disk.fail_in = None;
        self.reader = reader(self.chunk_bytes);
        let kin = Kin::Same { birth: MaybeNanos::NONE };
        let resume = Resume { head: self.head, mark: self.mark, kin };
        self.open((self.mark.offset.0 != 0).then_some(resume));
    }

    /// The file loses its name; what is left of it is read, and it is closed.
    fn end(&mut self) {
        self.disk.links = 0;
        for _ in 0..10_000 {
            if self.closed {
                return;
            }
            self.seconds += 1;
            self.reader.gone((1, 1), self.now());
            for _ in 0..=self.reader.ready() {
                self.turn(usize::MAX);
            }
        }
        panic!("it never ends; {} lines of {:?}", self.lines.len(), self.disk.content);
    }
}

fn reader(chunk_bytes: usize) -> Reader<()> {
    let second = Duration::from_secs(1);
    let (look_busy, look_idle, grace) = (second, second * 10, second * 10);
    let budget = Budget { open_files: 10, deleted_files: 10, deleted_bytes: 1 << 30 };
    let (look_hot, keys) = (second / 20, (1, 1));
    Reader::new(Options { chunk_bytes, grace, look_busy, look_idle, look_hot, keys, budget })
}

/// One line longer than a chunk is cut to it; NULs before the first one are no line.
fn naive(content: &[u8], chunk_bytes: usize) -> Vec<Line> {
    let nuls = content.iter().take_while(|byte| **byte == 0).count();
    let mut end = nuls as u64;
    let lines = content[nuls..].split_inclusive(|byte| *byte == b'\n').map(|whole| {
        end += whole.len() as u64;
        let line = whole.strip_suffix(b"\n").unwrap_or(whole);
        // A line fits with its newline.
        let is_long = chunk_bytes < whole.len();
        let cut = is_long.then_some(line.len() as u64);
        (line[..line.len().min(chunk_bytes)].to_vec(), cut, end)
    });
    lines.collect()
}

/// A log file of which more and more is there.
struct Disk {
    content: Vec<u8>,
    visible: usize,
    links: u64,
    /// What one read gives at most.
    read_max: usize,
    /// The operation that fails, counted from now.
    fail_in: Option<usize>,
}

impl Disk {
    fn operation(&mut self) -> io::Result<()> {
        match self.fail_in {
            Some(0) => {
                self.fail_in = None;
                Err(io::Error::other("EIO"))
            }
            Some(more) => {
                self.fail_in = Some(more - 1);
                Ok(())
            }
            None => Ok(()),
        }
    }
}

impl Files for Disk {
    type File = ();

    fn open(&mut self, _: &Path) -> io::Result<()> {
        self.operation()
    }

    fn stat(&mut self, (): &()) -> io::Result<FileStat> {
        self.operation()?;
        let identity = Identity { device: 1, inode: 1, birth: MaybeNanos::NONE };
        Ok(FileStat {
            identity,
            size: self.visible as u64,
            links: self.links,
            modified: UnixNanos(self.visible as i64),
            kind: Kind::File,
        })
    }

    fn read_at(&mut self, (): &(), buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.operation()?;
        let from = usize::try_from(offset).expect("the file is small").min(self.visible);
        let len = buf.len().min(self.read_max).min(self.visible - from);
        buf[..len].copy_from_slice(&self.content[from..from + len]);
        Ok(len)
    }

    fn read_all(&mut self, _: &Path) -> io::Result<Vec<u8>> {
        unreachable!("the reader writes nothing")
    }

    fn write(&mut self, _: &Path, _: &[u8]) -> io::Result<()> {
        unreachable!("the reader writes nothing")
    }

    fn append(&mut self, _: &Path, _: &[u8]) -> io::Result<()> {
        unreachable!("the reader writes nothing")
    }

    fn sync(&mut self, _: &Path) -> io::Result<()> {
        unreachable!("the reader writes nothing")
    }

    fn rename(&mut self, _: &Path, _: &Path) -> io::Result<()> {
        unreachable!("the reader writes nothing")
    }

    fn sync_folder(&mut self, _: &Path) -> io::Result<()> {
        unreachable!("the reader writes nothing")
    }
}
