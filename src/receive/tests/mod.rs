//! Tests over real HTTP, and of the label parser. Statuses, texts and what was stored are those
//! that Loki 3.4.6 was seen to give.

mod distributor;
mod faults;
mod headers;
mod ingester;
mod labels;
mod query;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use prost::Message as _;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

use super::{Clock, Options, Receiver};
use crate::model::UnixNanos;
use crate::wire::push::{Entry, LabelPair, PushRequest, Stream, Timestamp};

/// 2026-01-15T09:00:00Z.
const NOW: i64 = 1_768_467_600_000_000_000;
const SECOND: i64 = 1_000_000_000;
const HOUR: i64 = 3600 * SECOND;
const PUSH: &str = "/loki/api/v1/push";

/// A receiver at [`NOW`] and a client.
struct Bench {
    receiver: Receiver,
    http: reqwest::Client,
    now: Arc<AtomicI64>,
}

impl Bench {
    async fn new(change: impl FnOnce(&mut Options)) -> Self {
        Self::with(Options::new, change).await
    }

    /// With all of Loki's defaults.
    async fn loki(change: impl FnOnce(&mut Options)) -> Self {
        Self::with(Options::loki, change).await
    }

    async fn with(options: fn(Clock) -> Options, change: impl FnOnce(&mut Options)) -> Self {
        let now = Arc::new(AtomicI64::new(NOW));
        let read = Arc::clone(&now);
        let mut options = options(Clock::new(move || UnixNanos(read.load(Ordering::Relaxed))));
        change(&mut options);
        let receiver = Receiver::start(([127, 0, 0, 1], 0).into(), options).await.unwrap();
        Self { receiver, http: reqwest::Client::new(), now }
    }

    /// Lets nanoseconds pass.
    fn pass(&self, nanos: i64) {
        self.now.fetch_add(nanos, Ordering::Relaxed);
    }

    /// Pushes, and expects `204`, or a status and text, of which `…` leaves out the rest.
    async fn expect(&self, streams: Vec<Stream>, expected: &str) {
        let (status, text) = self.push(streams).await;
        let got = format!("{status} {text}");
        match expected.strip_suffix('…') {
            Some(start) => assert!(got.starts_with(start), "{got}\n  expected {expected}"),
            None => assert_eq!(got.trim_end(), expected),
        }
    }

    /// The lines that are stored, in order of arrival.
    fn stored(&self) -> Vec<String> {
        let entries = self.receiver.store().entries();
        let stored = entries.iter().filter(|entry| !entry.swallowed);
        stored.map(|entry| entry.text().into_owned()).collect()
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.receiver.addr())
    }

    /// Pushes as Skald does. The answer's text is without its newline.
    async fn push(&self, streams: Vec<Stream>) -> (u16, String) {
        self.post(PUSH, &[], snap(&PushRequest { streams }.encode_to_vec())).await
    }

    async fn post(&self, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> (u16, String) {
        let mut map = HeaderMap::new();
        map.insert("content-type", HeaderValue::from_static("application/x-protobuf"));
        for (name, value) in headers {
            let name: HeaderName = name.parse().unwrap();
            match *value {
                "" => map.remove(name),
                value => map.insert(name, value.parse().unwrap()),
            };
        }
        let answer = self.http.post(self.url(path)).headers(map).body(body).send().await.unwrap();
        let status = answer.status().as_u16();
        (status, answer.text().await.unwrap().trim_end().to_owned())
    }

    async fn get(&self, path: &str, pairs: &[(&str, &str)], headers: &[(&str, &str)]) -> Value {
        let (status, text) = self.get_text(path, pairs, headers).await;
        assert_eq!(status, 200, "{text}");
        serde_json::from_str(&text).unwrap()
    }

    async fn get_text(
        &self,
        path: &str,
        pairs: &[(&str, &str)],
        headers: &[(&str, &str)],
    ) -> (u16, String) {
        let escape =
            |text: &str| -> String { text.bytes().map(|byte| format!("%{byte:02X}")).collect() };
        let query: Vec<String> =
            pairs.iter().map(|(n, v)| format!("{}={}", escape(n), escape(v))).collect();
        let mut request = self.http.get(self.url(&format!("{path}?{}", query.join("&"))));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap().trim_end().to_owned())
    }

    /// Every copy in order of arrival.
    fn lines(&self) -> Vec<String> {
        let entries = self.receiver.store().entries();
        entries.iter().map(|entry| entry.text().into_owned()).collect()
    }
}

fn snap(bytes: &[u8]) -> Vec<u8> {
    snap::raw::Encoder::new().compress_vec(bytes).unwrap()
}

fn stream(labels: &str, entries: Vec<Entry>) -> Stream {
    Stream { labels: labels.to_owned(), entries }
}

/// An entry at [`NOW`] + `offset` nanoseconds.
fn entry(offset: i64, line: impl AsRef<[u8]>) -> Entry {
    let time = NOW + offset;
    Entry {
        timestamp: Some(Timestamp {
            seconds: time.div_euclid(SECOND),
            nanos: time.rem_euclid(SECOND).try_into().unwrap(),
        }),
        line: line.as_ref().to_vec(),
        structured_metadata: Vec::new(),
    }
}

fn with(mut entry: Entry, metadata: &[(&str, &str)]) -> Entry {
    for (name, value) in metadata {
        let (name, value) = ((*name).to_owned(), (*value).to_owned());
        entry.structured_metadata.push(LabelPair { name, value });
    }
    entry
}
