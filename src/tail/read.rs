//! One read of one file, and what of it is whole lines.

use std::io;
use std::ops::Range;

use super::chunk::{Chunk, Slot};
use super::file::Tracked;
use super::identity;
use super::news::News;
use super::reader::Reader;
use crate::model::{FileOffset, Files, Fingerprint, Mark, Now};

/// What a look for the newline of a line that was begun found.
enum Scan {
    /// The line has this many bytes before its newline; the hash is of the last ones with it.
    Line(u64, Fingerprint),
    /// None in these bytes, but there are more.
    More,
    /// None before the end of the file.
    End,
}

/// What a read at the offset brought.
enum Filled {
    /// The bytes before the offset are not those that were read.
    Changed,
    /// Bytes from the offset on, at this place in the buffer; none at the end of the file.
    Bytes(Range<usize>),
}

impl<H> Reader<H> {
    /// One read of one file. `None` when there was nothing to hand out.
    pub(super) fn read<D: Files<File = H>>(
        &mut self,
        idx: usize,
        now: Now,
        files: &mut D,
        buf: &mut Vec<u8>,
    ) -> Option<Chunk> {
        self.slots[idx].as_mut()?.is_queued = false;
        if self.must_wait(idx, now) {
            let file = self.slots[idx].as_ref()?.key;
            self.news.push(News::NoLine { file });
            return None;
        }
        match self.wake(idx, now, files) {
            Ok(true) => {}
            Ok(false) => return self.at_end(idx),
            Err(error) => return self.set_aside(idx, &error, now),
        }
        let file = self.slots[idx].as_mut()?;
        let ended = file.is_gone()
            && file.partial != 0
            && !file.has_unseen()
            && self.options.grace <= now.mono.saturating_sub(file.grew_at.mono());
        let mut line = None;
        if file.partial != 0 && !ended {
            match scan(files, file, buf, self.options.chunk_bytes) {
                Ok(Scan::Line(len, tail)) => line = Some((len, tail)),
                Ok(Scan::More) => {
                    self.enqueue(idx);
                    return None;
                }
                Ok(Scan::End) => return self.at_end(idx),
                Err(error) => return self.set_aside(idx, &error, now),
            }
        }
        let partial = file.partial;
        match fill(files, file, buf, self.options.chunk_bytes) {
            Ok(Filled::Changed) => {
                let file = self.slots[idx].as_ref()?;
                let unread = file.size_before.saturating_sub(file.read.offset.0).max(partial);
                self.new_generation(idx, unread, now, files)
            }
            Ok(Filled::Bytes(range)) if ended => self.last_line(idx, range),
            Ok(Filled::Bytes(range))
                if line.is_none() && buf[range.clone()].first() == Some(&0) =>
            {
                self.skip_nuls(idx, range, now, files, buf)
            }
            Ok(Filled::Bytes(range)) => {
                let chunk = self.cut(idx, line, range, buf);
                self.grow_head(idx, files);
                chunk
            }
            Err(error) => self.set_aside(idx, &error, now),
        }
    }

    /// Hands out the whole lines in `buf[range]`, which begins at the file's offset. `line` is the
    /// length of the first one and the hash of its end, when that is known.
    fn cut(
        &mut self,
        idx: usize,
        line: Option<(u64, Fingerprint)>,
        range: Range<usize>,
        buf: &[u8],
    ) -> Option<Chunk> {
        let bytes = &buf[range.clone()];
        let full_buffer = bytes.len() == self.options.chunk_bytes;
        let file = self.slots[idx].as_mut()?;
        let chunk = match (memchr::memrchr(b'\n', bytes), line) {
            (Some(end), _) => chunk(idx, file, range.start..range.start + end + 1),
            (None, Some((len, long_tail))) if full_buffer => {
                file.partial = len + 1;
                Chunk { long: Some(len), long_tail, ..chunk(idx, file, range) }
            }
            (None, _) => {
                file.partial = bytes.len() as u64;
                if full_buffer {
                    self.enqueue(idx);
                    return None;
                }
                return self.at_end(idx);
            }
        };
        if chunk.long.is_none() {
            file.partial = bytes.len() as u64;
        }
        file.size = file.size.max(file.seen().0);
        if !file.has_unseen() {
            self.let_next_go(idx);
        }
        Some(chunk)
    }

    /// A line begins with NULs. Those of a hole, and those next to it, were never written: a writer
    /// went on at its old offset after somebody had truncated the file. They are no line.
    fn skip_nuls<D: Files<File = H>>(
        &mut self,
        idx: usize,
        range: Range<usize>,
        now: Now,
        files: &mut D,
        buf: &[u8],
    ) -> Option<Chunk> {
        let file = self.slots[idx].as_mut()?;
        let offset = file.read.offset.0;
        let handle = file.open();
        let data = files.data_from(handle, offset).min(file.size.max(offset));
        let nuls = buf[range.clone()].iter().take_while(|byte| **byte == 0).count() as u64;
        let is_start = file.read.tail.len == 0;
        let bytes = (data - offset).max(if is_start || offset < data { nuls } else { 0 });
        if bytes == 0 {
            // Somebody wrote them.
            let chunk = self.cut(idx, None, range, buf);
            self.grow_head(idx, files);
            return chunk;
        }
        // The bytes before the new offset are all the same, and no evidence of anything.
        let (offset, stamp) = (FileOffset(offset + bytes), file.read.stamp);
        (file.read, file.partial) = (Mark { offset, stamp, ..Mark::default() }, 0);
        self.look_ats[idx] = now.mono.into();
        self.news.push(News::Skipped { file: file.key, bytes });
        self.enqueue(idx);
        None
    }

    /// Hands out what is behind the last newline of a file that nobody writes to any more.
    fn last_line(&mut self, idx: usize, range: Range<usize>) -> Option<Chunk> {
        let file = self.slots[idx].as_mut()?;
        let is_long = (range.len() as u64) < file.partial;
        let long = is_long.then_some(file.partial);
        Some(Chunk { long, unterminated: true, ..chunk(idx, file, range) })
    }

    /// The hash of the head covers more as the file grows, so that short equal heads tell apart.
    fn grow_head<D: Files<File = H>>(&mut self, idx: usize, files: &mut D) {
        let Some(file) = self.slots[idx].as_mut() else { return };
        let len = usize::from(file.head.len);
        // What was hashed when the file was opened may have been truncated before it was read.
        let is_first = file.read.offset.0 == 0;
        if !is_first && (identity::HEAD_BYTES <= len || file.size <= len as u64) {
            return;
        }
        // A read that fails here fails again in the next turn, where it is told.
        if let Some(Ok(head)) = file.handle.as_ref().map(|handle| identity::head_of(files, handle))
        {
            self.set_head(idx, head);
        }
    }

    /// The end of the file was reached without a whole line: its successor may begin. Always
    /// `None`.
    fn at_end<T>(&mut self, idx: usize) -> Option<T> {
        let file = self.slots[idx].as_ref()?.key;
        self.news.push(News::NoLine { file });
        self.let_next_go(idx);
        None
    }
}

fn chunk<H>(idx: usize, file: &Tracked<H>, range: Range<usize>) -> Chunk {
    Chunk {
        slot: Slot(idx),
        file: file.key,
        source: file.source,
        start: file.read,
        range,
        long: None,
        long_tail: Fingerprint::default(),
        unterminated: false,
    }
}

/// Reads from just before the offset, to see that the file is still the one that was read.
fn fill<D: Files>(
    files: &mut D,
    file: &Tracked<D::File>,
    buf: &mut Vec<u8>,
    chunk_bytes: usize,
) -> io::Result<Filled> {
    let tail = usize::from(file.read.tail.len);
    buf.resize(identity::TAIL_BYTES + chunk_bytes, 0);
    let from = file.read.offset.0 - tail as u64;
    let handle = file.open();
    // What comes behind the size that was seen has a look of its own: no read to find the end.
    let enough = usize::try_from(file.size.saturating_sub(from)).unwrap_or(usize::MAX);
    let buf = &mut buf[..tail + chunk_bytes];
    let len = identity::read_enough(files, handle, buf, from, enough.max(tail + 1))?;
    if !identity::begins_with(&buf[..len], file.read.tail) {
        return Ok(Filled::Changed);
    }
    Ok(Filled::Bytes(tail..len))
}

/// Looks on for the newline of a line whose beginning was seen, without reading that again.
fn scan<D: Files>(
    files: &mut D,
    file: &mut Tracked<D::File>,
    buf: &mut Vec<u8>,
    chunk_bytes: usize,
) -> io::Result<Scan> {
    buf.resize(identity::TAIL_BYTES + chunk_bytes, 0);
    let handle = file.open();
    let len = files.read_at(handle, &mut buf[..chunk_bytes], file.seen().0)?;
    if len == 0 {
        return Ok(Scan::End);
    }
    if let Some(newline) = memchr::memchr(b'\n', &buf[..len]) {
        let tail = identity::tail_of(&buf[..=newline]);
        return Ok(Scan::Line(file.partial + newline as u64, tail));
    }
    file.partial += len as u64;
    file.size = file.size.max(file.seen().0);
    Ok(Scan::More)
}
