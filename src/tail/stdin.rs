//! Lines of a stream that cannot be read twice: standard input.

/// Cuts what comes into lines, in one buffer. What a caller does not consume stays.
#[derive(Debug)]
pub struct Cutter {
    buf: Vec<u8>,
    /// The first byte that was not consumed.
    start: usize,
    /// The end of what was filled. Invariant: `start <= end && end <= buf.len()`.
    end: usize,
    /// Bytes of an over-long line that were thrown away behind its head, which is at `start`.
    cut: u64,
    /// Its newline has come.
    cut_ended: bool,
    finished: bool,
    line_bytes: usize,
}

/// A line of standard input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StdinLine<'a> {
    /// The line without its newline, or the head of a long one.
    pub bytes: &'a [u8],
    /// The full length, when `bytes` is only the head.
    pub truncated_from: Option<u64>,
    /// The bytes of the line in the input, newline included.
    pub input_bytes: u64,
}

impl Cutter {
    /// A cutter for lines of up to `line_bytes`, with room for `chunk_bytes` beside the longest.
    #[must_use]
    pub fn new(line_bytes: usize, chunk_bytes: usize) -> Self {
        Self {
            buf: vec![0; line_bytes + chunk_bytes],
            start: 0,
            end: 0,
            cut: 0,
            cut_ended: false,
            finished: false,
            line_bytes,
        }
    }

    /// Where the next bytes go; empty when lines must be consumed first.
    pub fn room(&mut self) -> &mut [u8] {
        if 0 < self.start {
            self.buf.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        &mut self.buf[self.end..]
    }

    /// `len` bytes were written to [`Cutter::room`].
    pub fn filled(&mut self, len: usize) {
        self.end += len;
        assert!(self.end <= self.buf.len(), "BUG: more was filled than there was room");
        self.cut_long_line();
    }

    /// Nothing more will come: what is left is the last line.
    pub fn finish(&mut self) {
        self.finished = true;
    }

    /// The next line, if it is whole.
    #[must_use]
    pub fn line(&self) -> Option<StdinLine<'_>> {
        let rest = &self.buf[self.start..self.end];
        if 0 < self.cut {
            let bytes = &rest[..self.line_bytes];
            let full = self.line_bytes as u64 + self.cut;
            let newline = u64::from(self.cut_ended);
            let line = StdinLine { bytes, truncated_from: Some(full), input_bytes: full + newline };
            return (self.cut_ended || self.finished).then_some(line);
        }
        let (bytes, newline) = match memchr::memchr(b'\n', rest) {
            Some(newline) => (&rest[..newline], 1),
            None if self.finished && !rest.is_empty() => (rest, 0),
            None => return None,
        };
        Some(StdinLine { bytes, truncated_from: None, input_bytes: bytes.len() as u64 + newline })
    }

    /// The line that [`Cutter::line`] showed was taken.
    pub fn consume(&mut self) {
        let Some(line) = self.line() else { return };
        let used = if line.truncated_from.is_some() {
            self.line_bytes
        } else {
            usize::try_from(line.input_bytes).expect("BUG: a line in the buffer fits memory")
        };
        self.start += used;
        (self.cut, self.cut_ended) = (0, false);
        self.cut_long_line();
    }

    /// Whether nothing is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Throws away what is behind the head of an over-long line, so that it never fills the buffer.
    fn cut_long_line(&mut self) {
        if self.cut_ended {
            return;
        }
        let head = self.start + if 0 < self.cut { self.line_bytes } else { 0 };
        let rest = &self.buf[head..self.end];
        let newline = memchr::memchr(b'\n', rest);
        let surplus = if 0 < self.cut {
            newline.unwrap_or(rest.len())
        } else {
            newline.unwrap_or(rest.len()).saturating_sub(self.line_bytes)
        };
        if surplus == 0 && self.cut == 0 {
            return;
        }
        let from = self.start + self.line_bytes;
        self.cut += surplus as u64;
        self.cut_ended = newline.is_some();
        let next = from + surplus + usize::from(self.cut_ended);
        self.buf.copy_within(next..self.end, from);
        self.end -= next - from;
    }
}
