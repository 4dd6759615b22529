//! Logs from a seed, each line with what an agent is to find in it. The same seed, shape and start
//! give the same bytes on every machine.

use std::fmt::Write as _;
use std::ops::Range;

use fastrand::Rng;

use super::words;

/// What the lines look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Shape {
    /// As a VeoGen backend writes them: 14 fields, 400 bytes on average.
    File400,
    /// The six fields that the default rules pick, without spaces: 220 bytes.
    File220,
    /// Four fields: 100 bytes.
    Bytes100,
    /// `File400` with a text: 2 KB.
    Bytes2k,
    /// The same with a longer one: 16 KB.
    Bytes16k,
    /// Objects and lists that hold keys of the same names, before those that count.
    Nested,
    /// In one line of twenty the message and the user's id have escapes and letters outside ASCII.
    Escapes,
    /// One line of a hundred is cut off or is no JSON.
    Malformed,
    /// The keys in another order in each line.
    Shuffled,
    /// `File400` as a container runtime wraps it.
    Cri,
}

/// A line and what is to be found in it. An empty text is a field that is not there.
#[derive(Debug, Default, Clone)]
pub(crate) struct Line {
    /// What is in the file, without the newline.
    pub(crate) bytes: Vec<u8>,
    /// What of it is sent.
    pub(crate) sent: Range<usize>,
    /// Its time in nanoseconds since 1970.
    pub(crate) time: i64,
    pub(crate) level: String,
    pub(crate) event_type: String,
    pub(crate) request_id: String,
    pub(crate) user_id: String,
    pub(crate) trace_id: String,
}

/// Where lines get their times from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    /// Before the first, in nanoseconds since 1970.
    pub(crate) start: i64,
    /// The steps between lines are multiples of this.
    pub(crate) unit_micros: i64,
    /// The longest step.
    pub(crate) units_max: i64,
}

/// How many users there are.
pub(crate) const USERS: u32 = 50_000;

/// Requests that are open at the same time, so that their lines interleave.
const OPEN: usize = 8;

/// An endless log.
#[derive(Debug)]
pub(crate) struct Corpus {
    shape: Shape,
    rng: Rng,
    times: Times,
    lines: u64,
    open: Vec<Request>,
    /// The text of the second that lines are in.
    second: (i64, String),
    fields: Vec<(&'static str, String)>,
    /// The time that was drawn last.
    next: i64,
    /// The time of the line before.
    last: i64,
    /// Users are drawn evenly from so many; 0 is as in life, few of `USERS` do most.
    even_users: u32,
}

#[derive(Debug, Clone, Default)]
struct Request {
    request_id: String,
    trace_id: String,
    user_id: String,
    address: String,
    agent: usize,
    lines_left: u8,
}

impl Corpus {
    pub(crate) fn new(shape: Shape, seed: u64, times: Times) -> Self {
        Self {
            shape,
            rng: Rng::with_seed(seed),
            times,
            lines: 0,
            open: vec![Request::default(); OPEN],
            second: (-1, String::new()),
            fields: Vec::new(),
            next: times.start,
            last: times.start,
            even_users: 0,
        }
    }

    /// Draws users evenly from `users`.
    pub(crate) fn with_even_users(self, users: u32) -> Self {
        Self { even_users: users, ..self }
    }

    /// The next line at its turn.
    pub(crate) fn line(&mut self) -> Line {
        let Times { unit_micros, units_max, .. } = self.times;
        self.next += self.rng.i64(1..=units_max) * unit_micros * 1000;
        self.at(self.next)
    }

    /// The next line at a time of the caller's choice, not before the last one's.
    pub(crate) fn at(&mut self, time: i64) -> Line {
        self.lines += 1;
        let request = self.request();
        let kind = words::kind(&mut self.rng);
        let mut line = Line {
            time,
            level: kind.level.to_owned(),
            event_type: kind.event_type.to_owned(),
            request_id: request.request_id.clone(),
            user_id: request.user_id.clone(),
            trace_id: request.trace_id.clone(),
            ..Line::default()
        };
        self.fill(&mut line, kind, &request);
        self.write(&mut line);
        self.spoil(&mut line);
        self.last = line.time;
        line
    }

    /// One of the open requests, for one more of its lines.
    fn request(&mut self) -> Request {
        let rng = &mut self.rng;
        let idx = rng.usize(0..OPEN);
        if self.open[idx].lines_left == 0 {
            let user = match self.even_users {
                // Its square prefers the small ones.
                0 => (f64::from(USERS) * rng.f64().powi(2)).floor(),
                users => f64::from(rng.u32(0..users)),
            };
            self.open[idx] = Request {
                request_id: uuid(rng),
                trace_id: uuid(rng),
                user_id: format!("user_{user:05.0}"),
                address: format!("203.0.113.{}", rng.u8(1..250)),
                agent: rng.usize(0..words::AGENTS.len()),
                lines_left: rng.u8(1..=6),
            };
        }
        self.open[idx].lines_left -= 1;
        self.open[idx].clone()
    }

    /// The fields of a line in their usual order.
    fn fill(&mut self, line: &mut Line, kind: &words::Kind, request: &Request) {
        let stamp = self.stamp(line.time);
        self.fields.clear();
        self.text("timestamp", &stamp);
        self.text("level", kind.level);
        if self.shape == Shape::Bytes100 {
            self.text("event_type", kind.event_type);
            (line.request_id, line.trace_id) = (String::new(), String::new());
            return self.text("user_id", &request.user_id);
        }
        if self.shape == Shape::File220 {
            return self.ids(kind, request);
        }
        self.text("logger", kind.logger);
        if self.shape == Shape::Nested {
            let decoys = words::nested(&mut self.rng);
            self.raw("context", decoys);
        }
        self.message(line, kind);
        self.ids(kind, request);
        self.details(kind, request);
        self.padding();
    }

    fn ids(&mut self, kind: &words::Kind, request: &Request) {
        self.text("event_type", kind.event_type);
        self.text("request_id", &request.request_id);
        self.text("trace_id", &request.trace_id);
        // With escapes the message has written it.
        if self.fields.iter().all(|(key, _)| *key != "user_id") {
            self.text("user_id", &request.user_id);
        }
    }

    fn message(&mut self, line: &mut Line, kind: &words::Kind) {
        let text = words::message(kind, &mut self.rng);
        if self.shape != Shape::Escapes || !self.lines.is_multiple_of(20) {
            return self.text("message", &text);
        }
        let written = format!(r#""Caf\u00e9 \"{text}\"\n\tüber 雨の京都 \\ \ud83d\udea4""#);
        self.raw("message", written);
        self.raw("user_id", format!(r#""{}\u00fc\"é""#, line.user_id));
        line.user_id.push_str("ü\"é");
    }

    fn details(&mut self, kind: &words::Kind, request: &Request) {
        if kind.is_request {
            let method = words::one(&mut self.rng, &words::METHODS);
            self.text("method", method);
            let url = words::url(&mut self.rng);
            self.text("url", &url);
        }
        if kind.event_type == "request_start" {
            self.text("user_agent", words::AGENTS[request.agent]);
            self.text("ip_address", &request.address);
        } else {
            let (status, duration) = (self.status(), self.rng.u32(1000..2_000_000));
            self.raw("status_code", status);
            self.raw("duration", format!("{}.{:06}", duration / 1_000_000, duration % 1_000_000));
        }
    }

    fn padding(&mut self) {
        let len = if self.shape == Shape::Bytes2k { 1600 } else { 15_900 };
        if matches!(self.shape, Shape::Bytes2k | Shape::Bytes16k) {
            let text = words::text(&mut self.rng, len);
            self.text("exc_info", &text);
        }
    }

    fn status(&mut self) -> String {
        let status = words::one(&mut self.rng, &words::STATUS);
        status.to_owned()
    }

    fn text(&mut self, key: &'static str, value: &str) {
        self.fields.push((key, format!("\"{value}\"")));
    }

    fn raw(&mut self, key: &'static str, value: String) {
        self.fields.push((key, value));
    }

    /// The fields into bytes.
    fn write(&mut self, line: &mut Line) {
        if self.shape == Shape::Shuffled {
            self.rng.shuffle(&mut self.fields);
        }
        let compact = matches!(self.shape, Shape::File220 | Shape::Bytes100);
        let (comma, colon) = if compact { (",", ":") } else { (", ", ": ") };
        let mut text = String::with_capacity(512);
        if self.shape == Shape::Cri {
            let stream = if self.rng.u8(0..10) == 0 { "stderr" } else { "stdout" };
            let at = self.stamp(line.time).replace("+00:00", "");
            let _ = write!(text, "{at}{:03}Z {stream} F ", self.rng.u16(0..1000));
        }
        let start = text.len();
        for (idx, (key, value)) in self.fields.iter().enumerate() {
            let before = if idx == 0 { "{" } else { comma };
            let _ = write!(text, "{before}\"{key}\"{colon}{value}");
        }
        text.push('}');
        line.bytes = text.into_bytes();
        line.sent = start..line.bytes.len();
    }

    /// Cuts off one line of two hundred within its message, and puts text for another.
    fn spoil(&mut self, line: &mut Line) {
        if self.shape != Shape::Malformed {
            return;
        }
        let none = Line { time: line.time, ..Line::default() };
        match self.lines % 200 {
            50 => {
                let message = line.bytes.windows(11).position(|part| part == b"\"message\": ");
                let cut = message.expect("BUG: each line has a message") + 15;
                let bytes = line.bytes[..cut].to_vec();
                *line = Line { bytes, level: std::mem::take(&mut line.level), ..none };
            }
            150 => {
                let bytes = b"WARNING:  Invalid HTTP request received.".to_vec();
                *line = Line { bytes, time: self.last + 1, ..none };
            }
            _ => return,
        }
        line.sent = 0..line.bytes.len();
    }

    /// `2026-01-15T09:00:02.159162+00:00`
    fn stamp(&mut self, time: i64) -> String {
        let second = time.div_euclid(1_000_000_000);
        if self.second.0 != second {
            let at = jiff::Timestamp::from_second(second).expect("BUG: a time of this century");
            self.second = (second, at.strftime("%Y-%m-%dT%H:%M:%S").to_string());
        }
        let micros = time.rem_euclid(1_000_000_000) / 1000;
        format!("{}.{micros:06}+00:00", self.second.1)
    }
}

/// A random one, of version 4.
fn uuid(rng: &mut Rng) -> String {
    let (high, low) = (rng.u64(..), rng.u64(..) & 0x3fff_ffff_ffff_ffff | 1 << 63);
    let (a, b, c) = (high >> 32, high >> 16 & 0xffff, high & 0xfff);
    format!("{a:08x}-{b:04x}-4{c:03x}-{:04x}-{:012x}", low >> 48, low & 0xffff_ffff_ffff)
}
