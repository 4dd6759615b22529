//! The parts of a body against prost's own idea of them.

use proptest::prelude::*;
use prost::Message as _;

use crate::model::UnixNanos;
use crate::push::parts::{Change, Edit, Parts};
use crate::wire::push::{Entry, LabelPair, PushRequest, Stream, Timestamp};

pub(super) fn compress(request: &PushRequest) -> Vec<u8> {
    snap::raw::Encoder::new().compress_vec(&request.encode_to_vec()).unwrap()
}

pub(super) fn decompress(body: &[u8]) -> PushRequest {
    let request = snap::raw::Decoder::new().decompress_vec(body).unwrap();
    PushRequest::decode(request.as_slice()).unwrap()
}

fn entry() -> impl Strategy<Value = Entry> {
    let pair = ("[a-z]{1,3}", ".{0,5}").prop_map(|(name, value)| LabelPair { name, value });
    let timestamp = (any::<i64>(), 0..1_000_000_000)
        .prop_map(|(seconds, nanos)| Some(Timestamp { seconds, nanos }));
    (timestamp, prop::collection::vec(any::<u8>(), 0..300), prop::collection::vec(pair, 0..3))
        .prop_map(|(timestamp, line, structured_metadata)| Entry {
            timestamp,
            line,
            structured_metadata,
        })
}

fn request() -> impl Strategy<Value = PushRequest> {
    let stream = ("\\{a=\"[a-z]{0,9}\"\\}", prop::collection::vec(entry(), 1..6))
        .prop_map(|(labels, entries)| Stream { labels, entries });
    prop::collection::vec(stream, 1..6).prop_map(|streams| PushRequest { streams })
}

/// The same with decoded values.
fn naive(request: &PushRequest, run: &std::ops::Range<usize>, strip: bool) -> PushRequest {
    let mut idx = 0;
    let mut kept = PushRequest::default();
    for stream in &request.streams {
        let mut entries = Vec::new();
        for entry in &stream.entries {
            let mut entry = entry.clone();
            if strip {
                entry.structured_metadata.clear();
            }
            if run.contains(&idx) {
                entries.push(entry);
            }
            idx += 1;
        }
        if !entries.is_empty() {
            kept.streams.push(Stream { labels: stream.labels.clone(), entries });
        }
    }
    kept
}

proptest! {
    #[test]
    fn a_run_is_what_prost_says(
        request in request(),
        from: prop::sample::Index,
        to: prop::sample::Index,
        strip: bool,
    ) {
        let parts = Parts::new(&compress(&request));
        let total: usize = request.streams.iter().map(|stream| stream.entries.len()).sum();
        prop_assert_eq!(parts.all(), 0..total);
        let (from, to) = (from.index(total), to.index(total));
        let run = from.min(to)..from.max(to) + 1;
        let want = naive(&request, &run, strip);
        prop_assert_eq!(decompress(&parts.body(&run, strip)), want.clone());
        if run.len() > 1 {
            let [one, two] = parts.halves(&run);
            prop_assert!(!one.is_empty() && !two.is_empty());
            prop_assert_eq!((one.start, one.end, two.end), (run.start, two.start, run.end));
        }
        let runs = parts.by_stream(&run);
        prop_assert_eq!((runs.len(), parts.count_streams(&run)), (want.streams.len(), runs.len()));
        prop_assert_eq!((runs[0].start, runs[runs.len() - 1].end), (run.start, run.end));
        prop_assert!(runs.windows(2).all(|pair| pair[0].end == pair[1].start));
        let (labels, entry) = parts.entry(run.start);
        let first = naive(&request, &(run.start..run.start + 1), false);
        let stream = &first.streams[0];
        prop_assert_eq!((&labels, &entry), (&stream.labels, &stream.entries[0]));
    }
}

proptest! {
    /// Another order, other labels and other entries, as prost would have it.
    #[test]
    fn an_edit_is_what_prost_says(
        request in request(),
        picked in prop::collection::vec(any::<bool>(), 36),
        time in any::<i64>(),
    ) {
        let parts = Parts::new(&compress(&request));
        let all = parts.all();
        // The picked entries of each stream go behind the others of it, at another time.
        let (mut order, mut want) = (vec![], PushRequest::default());
        for (stream, run) in request.streams.iter().zip(parts.by_stream(&all)) {
            let (mut kept, mut moved) = (vec![], vec![]);
            for (idx, entry) in run.zip(&stream.entries) {
                let mut entry = entry.clone();
                if picked[idx] {
                    let name = ("new".to_owned(), "é".to_owned());
                    entry.structured_metadata.push(LabelPair { name: name.0, value: name.1 });
                    let nanos = i32::try_from(time.rem_euclid(1_000_000_000)).unwrap();
                    let seconds = time.div_euclid(1_000_000_000);
                    entry.timestamp = Some(Timestamp { seconds, nanos });
                    moved.push((idx, entry));
                } else {
                    kept.push((idx, entry));
                }
            }
            kept.extend(moved);
            order.extend(kept.iter().map(|(idx, _)| *idx));
            let labels = stream.labels.replace("{a=\"b", "{c=\"d");
            let entries = kept.into_iter().map(|(_, entry)| entry).collect();
            want.streams.push(Stream { labels, entries });
        }
        let edit = Edit {
            order: &order,
            labels: &|labels| labels.starts_with("{a=\"b").then(|| labels.replace("{a=\"b", "{c=\"d")),
            change: &|idx| picked[idx].then(|| Change {
                time: Some(UnixNanos(time)),
                metadata: vec![("new".to_owned(), "é".to_owned())],
            }),
        };
        let edited = parts.edited(&edit);
        prop_assert_eq!(decompress(&edited.body(&all, false)), want);
        prop_assert_eq!(edited.all(), all);
    }
}

#[test]
fn halves_are_equal_in_bytes_not_in_entries() {
    let line = |len| Entry { line: vec![b'x'; len], ..Entry::default() };
    let mut entries = vec![line(1000)];
    entries.extend((0..10).map(|_| line(10)));
    let request = PushRequest { streams: vec![Stream { labels: r#"{a="b"}"#.into(), entries }] };
    let parts = Parts::new(&compress(&request));
    assert_eq!(parts.halves(&parts.all()), [0..1, 1..11]);
}
