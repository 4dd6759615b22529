//! Where lines come from that are no files: standard input, and the outputs of a service.

use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::sync::Arc;

use rustix::event::{PollFd, PollFlags, poll};

/// What a pipe holds, and what is still read when it is cut.
const PIPE_BYTES: usize = 64 * 1024;

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
pub struct Output {
    pipe: PipeReader,
    cut: Arc<PipeReader>,
    /// What may still be read when it is cut.
    left: usize,
}

/// Cuts the outputs that were made with it, when it is dropped: what is in them then is read,
/// and no more.
#[derive(Debug)]
pub struct Cut {
    _writer: PipeWriter,
    reader: Arc<PipeReader>,
}

impl Cut {
    /// Nothing is cut yet.
    ///
    /// # Errors
    /// There are no more descriptors.
    pub fn new() -> io::Result<Self> {
        let (reader, writer) = io::pipe()?;
        Ok(Self { _writer: writer, reader: Arc::new(reader) })
    }

    /// What is read from `pipe`, until that ends or is cut.
    #[must_use]
    pub fn output(&self, pipe: PipeReader) -> Output {
        Output { pipe, cut: Arc::clone(&self.reader), left: PIPE_BYTES }
    }
}

impl Read for Output {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let mut fds =
            [PollFd::new(&self.pipe, PollFlags::IN), PollFd::new(&*self.cut, PollFlags::IN)];
        while let Err(err) = poll(&mut fds, None) {
            if err != rustix::io::Errno::INTR {
                return Err(err.into());
            }
        }
        let [is_ready, is_cut] = fds.map(|fd| !fd.revents().is_empty());
        if !is_cut {
            return self.pipe.read(buf);
        }
        if !is_ready {
            return Ok(0);
        }
        let len = buf.len().min(self.left);
        let read = self.pipe.read(&mut buf[..len])?;
        self.left -= read;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipe_that_others_hold_is_cut_behind_what_is_in_it() {
        let (reader, mut writer) = io::pipe().unwrap();
        let cut = Cut::new().unwrap();
        let mut pipe = cut.output(reader);
        writer.write_all(b"before").unwrap();
        let mut buf = [0; 16];
        assert_eq!(pipe.read(&mut buf).unwrap(), 6);
        writer.write_all(b"in it").unwrap();
        drop(cut);
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
