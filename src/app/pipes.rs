//! Where lines come from that are no files: standard input, and the outputs of a service.

use std::fs::File;
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// What a pipe holds, and what is still read when it is cut.
const PIPE_BYTES: usize = 64 * 1024;

/// How often is looked whether it was cut.
const LOOK_EVERY: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// The name of standard input among pipes.
pub(super) const STDIN: &str = "stdin";

/// One way into the agent, of which the configuration has one source with `stdin: true`.
pub struct Pipe {
    /// `stdin`, or what rules call `$stream`.
    pub name: &'static str,
    /// Where the lines are.
    pub input: Box<dyn Read + Send>,
    /// Where they are copied to.
    pub copy: Option<Box<dyn Write + Send>>,
}

impl std::fmt::Debug for Pipe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pipe").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Pipe {
    /// Standard input, copied to standard output or not.
    #[must_use]
    pub fn stdin(tee: bool) -> Self {
        let copy = tee.then(|| Box::new(io::stdout()) as Box<dyn Write + Send>);
        Self { name: STDIN, input: Box::new(StandardInput), copy }
    }
}

/// Standard input as it is. That of the standard library takes one that cannot be read for an empty
/// one.
#[derive(Debug)]
struct StandardInput;

impl Read for StandardInput {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        Ok(rustix::io::read(rustix::stdio::stdin(), buf)?)
    }
}

/// An output of a service. When that has ended, others may still hold it open: then it can be cut.
#[derive(Debug)]
pub struct ChildPipe {
    file: File,
    cut: Arc<AtomicBool>,
    /// What may still be read when it is cut.
    left: usize,
}

impl ChildPipe {
    /// Ends where `file` does, or when `cut` is set and what was in the pipe then is read.
    #[must_use]
    pub fn new(file: File, cut: Arc<AtomicBool>) -> Self {
        Self { file, cut, left: PIPE_BYTES }
    }
}

impl Read for ChildPipe {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            let is_cut = self.cut.load(Ordering::Relaxed);
            let wait = if is_cut { Timespec { tv_sec: 0, tv_nsec: 0 } } else { LOOK_EVERY };
            let ready = match poll(&mut [PollFd::new(&self.file, PollFlags::IN)], Some(&wait)) {
                Ok(ready) => ready,
                Err(rustix::io::Errno::INTR) => continue,
                Err(err) => return Err(err.into()),
            };
            if ready == 0 && !is_cut {
                continue;
            }
            if is_cut && (ready == 0 || self.left == 0) {
                return Ok(0);
            }
            let len = if is_cut { buf.len().min(self.left) } else { buf.len() };
            let read = self.file.read(&mut buf[..len])?;
            if is_cut {
                self.left -= read;
            }
            return Ok(read);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipe_that_others_hold_is_cut_behind_what_is_in_it() {
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        let cut = Arc::new(AtomicBool::new(false));
        let mut pipe = ChildPipe::new(File::from(reader), Arc::clone(&cut));
        let mut writer = File::from(writer);
        writer.write_all(b"before").unwrap();
        let mut buf = [0; 16];
        assert_eq!(pipe.read(&mut buf).unwrap(), 6);
        writer.write_all(b"in it").unwrap();
        cut.store(true, Ordering::Relaxed);
        assert_eq!(pipe.read(&mut buf).unwrap(), 5);
        assert_eq!(pipe.read(&mut buf).unwrap(), 0, "the writer is still there");
        writer.write_all(&vec![b'x'; PIPE_BYTES - 5]).unwrap();
        let mut rest = vec![];
        pipe.read_to_end(&mut rest).unwrap();
        writer.write_all(b"more").unwrap();
        pipe.read_to_end(&mut rest).unwrap();
        assert_eq!(rest.len(), PIPE_BYTES - 5, "no more than a pipe holds");
    }
}
