use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::app::{Disk, LogFile};
use crate::model::{FileKey, FileOffset, Mark, MaybeNanos, Now, SourceId, UnixNanos};

mod generations;
mod hot;

const CHUNK: usize = 64;

/// A reader over real files, with a clock that only moves when told.
struct Bench {
    dir: tempfile::TempDir,
    reader: Reader<LogFile>,
    seconds: u64,
    news: Vec<News>,
    marks: Vec<Mark>,
}

impl Bench {
    fn new() -> Self {
        let options = Options {
            chunk_bytes: CHUNK,
            grace: Duration::from_secs(10),
            look_busy: Duration::from_secs(1),
            look_idle: Duration::from_secs(10),
            look_hot: Duration::from_millis(50),
            keys: (1, 1),
            budget: Budget { open_files: 1000, deleted_files: 1000, deleted_bytes: 1 << 20 },
        };
        let dir = tempfile::tempdir().unwrap();
        Self { dir, reader: Reader::new(options), seconds: 0, news: Vec::new(), marks: Vec::new() }
    }

    fn now(&self) -> Now {
        Now { mono: Duration::from_secs(self.seconds), wall: UnixNanos(0) }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn append(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let mut file = OpenOptions::new().append(true).create(true).open(self.path(name)).unwrap();
        file.write_all(bytes.as_ref()).unwrap();
    }

    fn inode(&self, name: &str) -> (u64, u64) {
        let meta = fs_err::metadata(self.path(name)).unwrap();
        (meta.dev(), meta.ino())
    }

    fn find(&mut self, name: &str, resume: Option<Resume>, from_end: bool) {
        let begin = if from_end { Begin::End } else { Begin::Start };
        self.find_as(name, name, resume, begin);
    }

    /// A file is found that was rotated from `stem`.
    fn find_as(&mut self, name: &str, stem: &str, resume: Option<Resume>, begin: Begin) {
        self.find_inode(None, name, stem, resume, begin);
    }

    fn find_inode(
        &mut self,
        inode: Option<(u64, u64)>,
        name: &str,
        stem: &str,
        resume: Option<Resume>,
        begin: Begin,
    ) {
        let stem = self.path(stem).into();
        let known = resume.into_iter().collect();
        // `a.2` is older than `a.1`.
        let rank = name.rsplit('.').find_map(|part| part.parse::<i64>().ok()).map_or(0, |age| -age);
        let new = NewFile::new(self.path(name), SourceId(0));
        let new = NewFile { inode, stem, known, begin, rank, ..new };
        let now = self.now();
        self.reader.found(new, now, &mut Disk);
    }

    fn rename(&mut self, from: &str, to: &str, stem: &str) {
        fs_err::rename(self.path(from), self.path(to)).unwrap();
        let (inode, now) = (self.inode(to), self.now());
        self.reader.renamed(inode, &self.path(to).into(), &self.path(stem).into(), now);
    }

    /// What of the file, as it was last told, identifies it.
    fn head(&self) -> crate::model::Fingerprint {
        let head = |news: &News| {
            let News::Head { head, .. } = news else { return None };
            Some(*head)
        };
        self.news.iter().rev().find_map(head).unwrap()
    }

    /// Where what was read would go on.
    fn resume(&self, kin: Kin) -> Resume {
        Resume { head: self.head(), mark: *self.marks.last().unwrap(), kin }
    }

    /// Everything that can be read now, after a second, as lines; `+` marks a long line's head.
    fn lines(&mut self) -> Vec<String> {
        self.seconds += 1;
        let (mut buf, mut lines) = (Vec::new(), Vec::new());
        let mut now = self.now();
        loop {
            let chunk = match self.reader.turn(now, &mut Disk, &mut buf, |_| true) {
                Turn::Chunk(chunk) => chunk,
                Turn::Idle(until) if until <= now.mono => continue,
                Turn::Idle(_) => {
                    let held =
                        self.reader.slots.iter().flatten().map(|file| file.not_before.mono());
                    let Some(until) = held.filter(|until| now.mono < *until).min() else { break };
                    self.seconds = until.as_secs() + 1;
                    now = self.now();
                    continue;
                }
            };
            let mut end = chunk.start.offset;
            for line in chunk.lines(&buf) {
                let more = line.truncated_from.map_or(String::new(), |full| format!("+{full}"));
                lines.push(String::from_utf8_lossy(line.bytes).into_owned() + &more);
                end = line.end;
            }
            let tail = chunk.tail(&buf, end);
            let mark = Mark { offset: end, tail, ..Mark::default() };
            self.marks.push(mark);
            self.reader.consumed(&chunk, mark, true);
        }
        self.news.extend(self.reader.news());
        lines
    }

    fn truncations(&self) -> usize {
        self.news.iter().filter(|news| matches!(news, News::Truncated { .. })).count()
    }

    fn lost(&self) -> Vec<(u64, Loss)> {
        let lost = |news: &News| {
            let News::Lost { bytes, why, .. } = news else { return None };
            Some((*bytes, *why))
        };
        self.news.iter().filter_map(lost).collect()
    }

    fn closed(&self) -> bool {
        self.news.iter().any(|news| matches!(news, News::Closed { .. }))
    }
}

#[test]
fn lines_are_followed_and_a_line_waits_for_its_newline() {
    let mut bench = Bench::new();
    bench.append("a", "one\ntwo\nthr");
    bench.find("a", None, false);
    assert_eq!(bench.lines(), ["one", "two"]);
    bench.append("a", "ee");
    assert_eq!(bench.lines(), [""; 0]);
    bench.append("a", "\n\nfive\n");
    assert_eq!(bench.lines(), ["three", "", "five"]);
}

#[test]
fn a_line_longer_than_the_buffer_is_cut_and_its_neighbours_are_whole() {
    let mut bench = Bench::new();
    let long = "x".repeat(1000);
    bench.append("a", format!("before\n{long}"));
    bench.find("a", None, false);
    assert_eq!(bench.lines(), ["before"]);
    bench.append("a", format!("{long}\nafter\n"));
    assert_eq!(bench.lines(), [format!("{}+2000", "x".repeat(CHUNK)), "after".to_owned()]);
    let exact = "y".repeat(CHUNK - 1);
    bench.append("a", format!("{exact}\n{exact}z\nend\n"));
    assert_eq!(bench.lines(), [exact.clone(), format!("{exact}z+{CHUNK}"), "end".to_owned()]);
}

#[test]
fn a_rotated_file_is_read_to_its_end_before_its_successor_and_then_closed() {
    let mut bench = Bench::new();
    bench.append("a", "1\n");
    bench.find("a", None, false);
    assert_eq!(bench.lines(), ["1"]);
    let inode = bench.inode("a");
    bench.append("a", "2\n");
    fs_err::rename(bench.path("a"), bench.path("a.1")).unwrap();
    bench.append("a", "4\n");
    bench.find("a", None, false);
    let now = bench.now();
    bench.reader.gone(inode, now);
    assert_eq!(bench.lines(), ["2", "4"]);
    bench.append("a.1", "3 by the old descriptor\nlast");
    assert_eq!(bench.lines(), ["3 by the old descriptor"]);
    bench.seconds += 8;
    assert_eq!(bench.lines(), [""; 0]);
    assert!(!bench.closed());
    bench.seconds += 2;
    assert_eq!((bench.lines(), bench.lines()), (vec!["last".to_owned()], vec![]));
    bench.seconds += 1;
    bench.lines();
    assert!(bench.closed());
    assert_eq!(bench.reader.open_files(), 1);
    bench.append("a", "5\n");
    assert_eq!(bench.lines(), ["5"]);
}

#[test]
fn a_deleted_file_is_read_to_its_end() {
    let mut bench = Bench::new();
    bench.append("a", "1\n2\n");
    bench.find("a", None, false);
    fs_err::remove_file(bench.path("a")).unwrap();
    assert_eq!(bench.lines(), ["1", "2"]);
    bench.lines();
    assert!(!bench.closed());
    bench.seconds += 9;
    bench.lines();
    assert!(bench.closed());
}

#[test]
fn a_truncated_file_begins_anew_whatever_it_grew_to() {
    for (regrown, seen) in
        [("", vec![]), ("b\n", vec!["b"]), ("x\ny\nz\n!\n", vec!["x", "y", "z", "!"])]
    {
        let mut bench = Bench::new();
        bench.append("a", "1\n2\n3\n");
        bench.find("a", None, false);
        assert_eq!(bench.lines(), ["1", "2", "3"]);
        fs_err::write(bench.path("a"), regrown).unwrap();
        assert_eq!(bench.lines(), seen, "{regrown:?}");
        assert_eq!(bench.truncations(), 1, "{regrown:?}");
        bench.append("a", "next\n");
        assert_eq!(bench.lines(), ["next"]);
    }
}

#[test]
fn reading_goes_on_at_the_saved_mark_if_the_file_is_the_same() {
    let mut bench = Bench::new();
    bench.append("a", "1\n2\n");
    bench.find("a", None, false);
    bench.lines();
    let resume = bench.resume(Kin::Same { birth: MaybeNanos::NONE });
    bench.append("a", "3\n");

    let again = |content: Option<&str>| {
        let mut other = Bench::new();
        let content = content.map_or_else(|| fs_err::read(bench.path("a")).unwrap(), Vec::from);
        other.append("a", content);
        other.find("a", Some(resume), true);
        (other.lines(), other.news.iter().any(|news| matches!(news, News::NotResumed { .. })))
    };
    assert_eq!(again(None), (vec!["3".to_owned()], false));
    assert_eq!(again(Some("other\n")), (vec!["other".to_owned()], true));
    assert_eq!(again(Some("1")), (vec![], true));
}

/// A file system gives the number of a deleted file to the next one.
#[test]
fn a_new_file_with_the_number_of_a_known_one_is_no_surprise() {
    let mut bench = Bench::new();
    bench.append("a", "1\n");
    bench.find("a", None, false);
    bench.lines();
    if fs_err::metadata(bench.path("a")).unwrap().created().is_err() {
        return; // No file here says when it was made: one that is not the same may be truncated.
    }
    let resume = bench.resume(Kin::Same { birth: Some(UnixNanos(1)).into() });
    let mut other = Bench::new();
    other.append("a", "2\n");
    other.find("a", Some(resume), true);
    assert_eq!(other.lines(), ["2"]);
    assert!(!other.news.iter().any(|news| matches!(news, News::NotResumed { .. })));
}

#[test]
fn the_head_is_of_what_was_read() {
    let other = "other ".repeat(400) + "\n";
    let mut bench = Bench::new();
    bench.append("a", "x".repeat(2000));
    bench.find("a", None, false);
    fs_err::write(bench.path("a"), &other).unwrap();
    bench.lines();
    let mut fresh = Bench::new();
    fresh.append("a", &other);
    fresh.find("a", None, false);
    fresh.lines();
    assert_eq!(bench.head(), fresh.head());
}

#[test]
fn a_truncation_behind_a_long_line_is_seen() {
    let mut bench = Bench::new();
    bench.append("a", "x".repeat(3 * CHUNK) + "\n");
    bench.find("a", None, false);
    assert_eq!(bench.lines().len(), 1);
    fs_err::write(bench.path("a"), "new\n".repeat(CHUNK)).unwrap();
    assert_eq!(bench.lines().len(), CHUNK);
}

#[test]
fn from_the_end_means_behind_the_last_whole_line() {
    let mut bench = Bench::new();
    bench.append("a", "1\n2\nhalf");
    bench.find("a", None, true);
    assert_eq!(bench.lines(), [""; 0]);
    bench.append("a", " line\n");
    assert_eq!(bench.lines(), ["half line"]);
}

#[test]
fn what_cannot_be_opened_is_told_and_a_folder_is_refused() {
    let mut bench = Bench::new();
    fs_err::create_dir(bench.path("folder")).unwrap();
    bench.find("folder", None, false);
    bench.find("absent", None, false);
    let too_long = "n".repeat(300);
    bench.find(&too_long, None, false);
    bench.lines();
    assert!(matches!(&bench.news[0], News::Refused { path } if path.ends_with("folder")));
    assert!(matches!(&bench.news[1], News::Failed { path, .. } if path.ends_with(&too_long)));
}

#[test]
fn lines_that_were_not_taken_come_again() {
    let mut bench = Bench::new();
    bench.append("a", "1\n2\n3\n");
    bench.find("a", None, false);
    let (mut buf, now) = (Vec::new(), bench.now());
    let Turn::Chunk(chunk) = bench.reader.turn(now, &mut Disk, &mut buf, |_| true) else {
        panic!()
    };
    let end = FileOffset(2);
    let tail = chunk.tail(&buf, end);
    bench.reader.consumed(&chunk, Mark { offset: end, tail, ..Mark::default() }, false);
    assert_eq!(bench.lines(), ["2", "3"]);
}

#[test]
fn a_renamed_file_keeps_its_place() {
    let mut bench = Bench::new();
    bench.append("a", "1\n");
    bench.find("a", None, false);
    bench.lines();
    bench.rename("a", "b", "b");
    bench.append("b", "2\n");
    assert_eq!(bench.lines(), ["2"]);
    assert!(bench.news.contains(&News::Size { file: FileKey(1), size: 4 }));
    assert_eq!(bench.reader.open_files(), 1);
}

/// The obvious way to cut lines.
fn naive_lines(input: &[u8], line_bytes: usize) -> Vec<(Vec<u8>, Option<u64>, u64)> {
    let mut lines: Vec<&[u8]> = input.split_inclusive(|byte| *byte == b'\n').collect();
    lines.retain(|line| !line.is_empty());
    let cut = |line: &[u8]| {
        let text = line.strip_suffix(b"\n").unwrap_or(line);
        let long = line_bytes < text.len();
        let head = text[..text.len().min(line_bytes)].to_vec();
        (head, long.then_some(text.len() as u64), line.len() as u64)
    };
    lines.into_iter().map(cut).collect()
}

proptest! {
    #[test]
    fn standard_input_is_cut_like_the_naive_way(
        input in prop::collection::vec(prop_oneof![4 => Just(b'a'), 1 => Just(b'\n'), 1 => any::<u8>()], 0..400),
        reads in prop::collection::vec(1usize..40, 1..50),
        lazy in prop::collection::vec(0usize..4, 1..20),
    ) {
        let (mut cutter, mut lines) = (Cutter::new(10, 16), Vec::new());
        let (mut rest, mut reads, mut lazy) = (&input[..], reads.iter().cycle(), lazy.iter().cycle());
        loop {
            let room = cutter.room();
            let len = room.len().min(rest.len()).min(*reads.next().unwrap());
            room[..len].copy_from_slice(&rest[..len]);
            let stuck = room.is_empty();
            cutter.filled(len);
            rest = &rest[len..];
            if rest.is_empty() {
                cutter.finish();
            }
            let take = if stuck || rest.is_empty() { usize::MAX } else { *lazy.next().unwrap() };
            for _ in 0..take {
                let Some(line) = cutter.line() else { break };
                lines.push((line.bytes.to_vec(), line.truncated_from, line.input_bytes));
                cutter.consume();
            }
            if rest.is_empty() && cutter.is_empty() {
                break;
            }
        }
        prop_assert_eq!(lines, naive_lines(&input, 10));
    }
}
