//! Loki's own view of a push: its `string` fields are not checked for UTF-8.

use crate::model::UnixNanos;

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Request {
    #[prost(message, repeated, tag = "1")]
    pub(super) streams: Vec<Stream>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Stream {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) labels: Vec<u8>,
    #[prost(message, repeated, tag = "2")]
    pub(super) entries: Vec<Entry>,
    /// What a client sends is not looked at.
    #[prost(uint64, tag = "3")]
    pub(super) hash: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Entry {
    #[prost(message, optional, tag = "1")]
    pub(super) timestamp: Option<Time>,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) line: Vec<u8>,
    #[prost(message, repeated, tag = "3")]
    pub(super) metadata: Vec<Pair>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Pair {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) name: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) value: Vec<u8>,
}

/// An instant of the years 1 to 9999.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, prost::Message)]
pub(super) struct Time {
    #[prost(int64, tag = "1")]
    pub(super) seconds: i64,
    #[prost(int32, tag = "2")]
    pub(super) nanos: i32,
}

impl Entry {
    /// Without a timestamp it is the first instant of year 1.
    pub(super) fn time(&self) -> Time {
        self.timestamp.unwrap_or(Time { seconds: -62_135_596_800, nanos: 0 })
    }

    /// Bytes of names and values; Loki's own level is not charged.
    pub(super) fn metadata_len(&self) -> usize {
        let charged = self.metadata.iter().filter(|pair| pair.name != b"detected_level");
        charged.map(|pair| pair.name.len() + pair.value.len()).sum()
    }

    /// What rate limits charge for it, in bytes.
    pub(super) fn charge(&self) -> usize {
        self.line.len() + self.metadata_len()
    }
}

impl Pair {
    pub(super) fn new(name: &str, value: &str) -> Self {
        Self { name: name.into(), value: value.into() }
    }

    pub(super) fn text(&self) -> (String, String) {
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        (text(&self.name), text(&self.value))
    }
}

impl From<UnixNanos> for Time {
    fn from(time: UnixNanos) -> Self {
        let nanos = i32::try_from(time.0.rem_euclid(1_000_000_000)).expect("BUG: below 1e9");
        Self { seconds: time.0.div_euclid(1_000_000_000), nanos }
    }
}

impl Time {
    /// Wrapping beyond 1677 to 2262, as Go's `UnixNano` does.
    pub(super) fn unix(self) -> UnixNanos {
        UnixNanos(self.seconds.wrapping_mul(1_000_000_000).wrapping_add(i64::from(self.nanos)))
    }

    /// RFC 3339, cut to seconds.
    pub(super) fn rfc3339(self) -> String {
        jiff::Timestamp::from_second(self.seconds)
            .map_or_else(|error| error.to_string(), |time| time.to_string())
    }

    /// Go's `Time.String`.
    pub(super) fn go(self) -> String {
        let seconds = self.rfc3339().replace('T', " ").replace('Z', "");
        let fraction = format!(".{:09}", self.nanos);
        let fraction = fraction.trim_end_matches('0').trim_end_matches('.');
        format!("{seconds}{fraction} +0000 UTC")
    }
}
