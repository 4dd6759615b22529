//! How a file gets into a reader: opened, identified, and set to where reading starts.

use std::io;

use super::file::{State, Tracked};
use super::identity;
use super::reader::{NewFile, News, Reader, failed, retry_pause};
use crate::model::{FileOffset, FileStat, Files, Fingerprint, Kind, Mark, Now};

impl<H> Reader<H> {
    /// Opens a file that discovery found, now or when it can be.
    pub fn found<D: Files<File = H>>(&mut self, new: NewFile, now: Now, files: &mut D) {
        self.try_open(new, 0, now, files);
    }

    /// Tries the files again that could not be opened before.
    pub(super) fn open_waiting<D: Files<File = H>>(&mut self, now: Now, files: &mut D) {
        for (new, until, tries) in std::mem::take(&mut self.waiting) {
            if until <= now.mono {
                self.try_open(new, tries, now, files);
            } else {
                self.waiting.push((new, until, tries));
            }
        }
    }

    fn try_open<D: Files<File = H>>(&mut self, new: NewFile, tries: u32, now: Now, files: &mut D) {
        let opened = files.open(&new.path).and_then(|handle| {
            let stat = files.stat(&handle)?;
            Ok((handle, stat))
        });
        match opened {
            Ok((handle, stat)) if stat.kind == Kind::File => {
                if let Err(error) = self.track(&new, handle, &stat, now, files) {
                    self.wait(new, &error, tries, now);
                }
            }
            Ok(_) => self.news.push(News::Refused { path: new.path }),
            // It went between the scan and the open; the next scan knows more.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => self.wait(new, &error, tries, now),
        }
    }

    fn wait(&mut self, new: NewFile, error: &io::Error, tries: u32, now: Now) {
        self.news.push(failed(&new.path, error));
        self.waiting.push((new, now.mono + retry_pause(tries), tries + 1));
    }

    fn track<D: Files<File = H>>(
        &mut self,
        new: &NewFile,
        handle: H,
        stat: &FileStat,
        now: Now,
        files: &mut D,
    ) -> io::Result<()> {
        let inode = (stat.identity.device, stat.identity.inode);
        if self.by_inode.contains_key(&inode) {
            self.renamed(inode, &new.path, now);
            return Ok(());
        }
        let (read, resumed) = self.start_of(new, &handle, stat, files)?;
        let head = identity::head_of(files, &handle)?;
        let file = Tracked {
            handle,
            key: self.new_key(),
            source: new.source,
            path: new.path.clone(),
            identity: stat.identity,
            head,
            state: State::Following,
            read: begin(read),
            partial: 0,
            size: stat.size,
            grew_at: now.mono,
            look_at: now.mono + self.options.look_busy,
            queued: false,
            behind: self.holder_of(&new.path),
        };
        self.news.push(News::Opened {
            file: file.key,
            source: file.source,
            path: file.path.clone(),
            identity: file.identity,
            start: read,
            size: stat.size,
            resumed,
            waits: file.behind.is_some(),
        });
        self.news.push(News::Head { file: file.key, head });
        self.insert(file);
        Ok(())
    }

    /// Where reading starts, and whether that is a saved place.
    fn start_of<D: Files<File = H>>(
        &mut self,
        new: &NewFile,
        handle: &H,
        stat: &FileStat,
        files: &mut D,
    ) -> io::Result<(Mark, bool)> {
        let Some(resume) = new.resume else {
            let within = self.options.chunk_bytes;
            let start = if new.from_end {
                end_of_lines(files, handle, stat.size, within)?
            } else {
                Mark::default()
            };
            return Ok((start, false));
        };
        if let Some(mark) = identity::confirm(files, handle, stat, resume)? {
            return Ok((mark, true));
        }
        let saved = resume.mark.offset;
        self.news.push(News::NotResumed { path: new.path.clone(), saved });
        Ok((Mark::default(), false))
    }

    fn insert(&mut self, file: Tracked<H>) {
        let (key, behind) = (file.key, file.behind);
        let inode = (file.identity.device, file.identity.inode);
        let path = file.path.clone();
        let idx = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        self.slots[idx] = Some(file);
        self.by_inode.insert(inode, idx);
        self.by_path.insert(path, idx);
        if let Some((_, before)) = behind {
            assert!(key != before, "BUG: {key:?} would wait for itself");
            self.successors.insert(before, idx);
        }
        self.enqueue(idx);
    }
}

/// Where the first read of this run begins: what was held is read again. The bytes before that
/// place are not known; [`identity::confirm`] has looked at those before the mark.
fn begin(mark: Mark) -> Mark {
    let offset = mark.read_from();
    let tail = if offset == mark.offset { mark.tail } else { Fingerprint::default() };
    Mark { offset, tail, ..mark }
}

/// The offset behind the last newline of a file, which is searched in its last `within` bytes.
fn end_of_lines<D: Files>(
    files: &mut D,
    file: &D::File,
    size: u64,
    within: usize,
) -> io::Result<Mark> {
    let mut end = vec![0; within.min(usize::try_from(size).unwrap_or(within))];
    let from = size - end.len() as u64;
    let len = identity::read_full(files, file, &mut end, from)?;
    let lines = memchr::memrchr(b'\n', &end[..len]).map_or(len, |newline| newline + 1);
    let offset = FileOffset(from + lines as u64);
    Ok(Mark { offset, tail: identity::tail_of(&end[..lines]), ..Mark::default() })
}
