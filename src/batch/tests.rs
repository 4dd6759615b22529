use std::time::Duration;

use proptest::prelude::*;
use prost::Message as _;

use super::*;
use crate::model::{Counts, Entry, FileKey, Now, Pair, Pool, SourceId, TenantId, UnixNanos};
use crate::wire::push;

const SOURCE: SourceId = SourceId(0);
const TENANT: TenantId = TenantId(0);

fn at(millis: u64) -> Now {
    Now { mono: Duration::from_millis(millis), wall: UnixNanos(0) }
}

fn batcher(bytes_max: usize, streams_max: usize, pool: &Pool) -> Batcher {
    let options =
        Options { bytes_max, age_max: Duration::from_secs(1), streams_max, metadata: true };
    let base = Base {
        tenant: TENANT,
        labels: vec![("app".to_owned(), "veogen".to_owned())],
        names: vec!["level".to_owned(), "event_type".to_owned()],
    };
    let bare = Base { tenant: TENANT, labels: Vec::new(), names: vec!["level".to_owned()] };
    Batcher::new(options, vec![base, bare], pool)
}

fn pool() -> Pool {
    Pool::new(8 << 20, || {})
}

fn put(batcher: &mut Batcher, labels: &[&str], time: i64, line: &str) -> Pushed {
    let id = match batcher.find(SOURCE, labels, 0) {
        Found::Known(id) => id,
        Found::New => batcher.insert(SOURCE, labels, 0).unwrap(),
    };
    let metadata = [Pair { name: "request_id", value: "r1" }];
    let entry = Entry { time: UnixNanos(time), line, labels, metadata: &metadata, tenant: 0 };
    let input = Counts { lines: 1, bytes: line.len() as u64 + 1 };
    batcher.push(id, &entry, Some((FileKey(1), 0)), input, at(0))
}

/// Seals what is open on this thread.
fn seal(batcher: &mut Batcher, now: Now) -> Option<Sealed> {
    seal_late(batcher, &mut Vec::new(), now)
}

/// Closes before the pieces that are out are compressed, and puts them back late, not in the order
/// in which they were taken out.
fn seal_late(batcher: &mut Batcher, pieces: &mut Vec<Piece>, now: Now) -> Option<Sealed> {
    let mut packer = Packer::default();
    pieces.extend(std::iter::from_fn(|| batcher.full_piece()));
    let closed = batcher.close(TENANT, now);
    for piece in pieces.drain(..).rev() {
        packer.pack(&piece);
        batcher.put(piece);
    }
    let (sealed, spare) = packer.seal(closed?);
    batcher.take_back(spare);
    Some(sealed)
}

fn decode(sealed: &Sealed) -> push::PushRequest {
    let bytes = snap::raw::Decoder::new().decompress_vec(&sealed.body).unwrap();
    assert_eq!(bytes.len(), sealed.encoded_bytes);
    push::PushRequest::decode(&bytes[..]).unwrap()
}

fn labels_of(sealed: &Sealed) -> Vec<String> {
    decode(sealed).streams.into_iter().map(|stream| stream.labels).collect()
}

#[test]
fn entries_are_grouped_by_stream_and_new_streams_go_last() {
    let pool = pool();
    let mut batcher = batcher(1 << 20, 10, &pool);
    put(&mut batcher, &["info", ""], 1, "a");
    put(&mut batcher, &["error", "request_error"], 2, "b");
    put(&mut batcher, &["info", ""], 3, "c");
    let sealed = seal(&mut batcher, at(0)).unwrap();
    assert_eq!((sealed.entries, sealed.streams), (3, 2));
    assert_eq!(sealed.receipt.counts, Counts { lines: 3, bytes: 6 });
    assert_eq!(sealed.receipt.tickets.len(), 1);
    assert_eq!(sealed.receipt.permit.bytes(), sealed.body.len() as u64);
    let request = decode(&sealed);
    assert_eq!(request.streams[0].labels, r#"{app="veogen", level="info"}"#);
    let lines: Vec<_> = request.streams[0].entries.iter().map(|entry| &entry.line[..]).collect();
    assert_eq!(lines, [b"a", b"c"]);
    assert_eq!(request.streams[0].entries[0].structured_metadata[0].value, "r1");

    put(&mut batcher, &["debug", ""], 4, "new");
    put(&mut batcher, &["info", ""], 5, "old");
    assert_eq!(
        labels_of(&seal(&mut batcher, at(0)).unwrap()),
        [r#"{app="veogen", level="info"}"#, r#"{app="veogen", level="debug"}"#]
    );
    drop(sealed);
    assert_eq!(pool.used(), 0);
}

#[test]
fn a_stream_without_labels_gets_a_job() {
    let mut batcher = batcher(1 << 20, 10, &pool());
    let id = batcher.insert(SourceId(1), &[""], 0).unwrap();
    let entry = Entry { time: UnixNanos(1), line: "x", labels: &[""], metadata: &[], tenant: 0 };
    batcher.push(id, &entry, None, Counts::default(), at(0));
    assert_eq!(labels_of(&seal(&mut batcher, at(0)).unwrap()), [r#"{job="skald"}"#]);
}

#[test]
fn late_lines_are_moved_to_the_edge_of_the_window_and_stay_distinct() {
    let mut batcher = batcher(1 << 20, 10, &pool());
    let hour = 3_600_000_000_000;
    assert_eq!(put(&mut batcher, &["", ""], 10 * hour, "now"), Pushed::Taken);
    assert_eq!(put(&mut batcher, &["", ""], hour, "late"), Pushed::Moved);
    assert_eq!(put(&mut batcher, &["", ""], hour, "late"), Pushed::Moved);
    assert_eq!(put(&mut batcher, &["", ""], 10 * hour - hour / 2, "inside"), Pushed::Taken);
    let request = decode(&seal(&mut batcher, at(0)).unwrap());
    let entries = &request.streams[0].entries;
    let time = |idx: usize| {
        let stamp = entries[idx].timestamp.unwrap();
        stamp.seconds * 1_000_000_000 + i64::from(stamp.nanos)
    };
    let floor = 10 * hour - 55 * 60 * 1_000_000_000;
    assert_eq!((time(1), time(2), time(3)), (floor, floor + 1, 10 * hour - hour / 2));
    let original = entries[1].structured_metadata.last().unwrap();
    assert_eq!((&*original.name, &*original.value), ("original_timestamp", "1970-01-01T01:00:00Z"));
}

#[test]
fn the_first_line_after_quiet_goes_at_once_and_the_next_waits() {
    let mut batcher = batcher(1 << 20, 10, &pool());
    assert_eq!(batcher.due_at(TENANT), None);
    put(&mut batcher, &["", ""], 1, "first");
    assert_eq!(batcher.due_at(TENANT), Some(Duration::ZERO));
    seal(&mut batcher, at(5)).unwrap();
    put(&mut batcher, &["", ""], 2, "second");
    assert_eq!(batcher.due_at(TENANT), Some(Duration::from_millis(1005)));
}

#[test]
fn no_permit_no_entry_and_nothing_is_lost() {
    let pool = Pool::new(100 * 1024, || {});
    let mut batcher = batcher(1 << 20, 10, &pool);
    let line = "x".repeat(30 * 1024);
    let mut taken = 0;
    while put(&mut batcher, &["", ""], 1, &line) == Pushed::Taken {
        taken += 1;
    }
    assert_eq!(taken, 3);
    assert!(pool.used() <= pool.limit());
    let sealed = seal(&mut batcher, at(0)).unwrap();
    assert_eq!(sealed.entries, 3);
    drop(sealed);
    assert_eq!(put(&mut batcher, &["", ""], 1, &line), Pushed::Taken);
}

#[test]
fn a_compressed_piece_frees_memory() {
    let pool = pool();
    let mut batcher = batcher(1 << 20, 10, &pool);
    let line = "x".repeat(1000);
    let piece = loop {
        put(&mut batcher, &["", ""], 1, &line);
        if let Some(piece) = batcher.full_piece() {
            break piece;
        }
    };
    batcher.release_spare();
    let before = pool.used();
    assert!(60_000 < before, "{before}");
    Packer::default().pack(&piece);
    batcher.put(piece);
    batcher.release_spare();
    assert!(pool.used() + 50_000 < before, "{before} {}", pool.used());
    assert_eq!(decode(&seal(&mut batcher, at(0)).unwrap()).streams.len(), 1);
}

#[test]
fn the_next_batch_is_open_while_the_one_before_is_sealed() {
    let pool = pool();
    let mut batcher = batcher(1 << 20, 10, &pool);
    let piece = loop {
        put(&mut batcher, &["info", ""], 1, &"x".repeat(1000));
        if let Some(piece) = batcher.full_piece() {
            break piece;
        }
    };
    let closed = batcher.close(TENANT, at(0)).unwrap();
    let held = pool.used();
    assert!(60_000 < held, "its memory is held until it is compressed: {held}");
    assert!(batcher.is_empty() && batcher.is_small(TENANT));
    put(&mut batcher, &["debug", ""], 2, "new");
    put(&mut batcher, &["info", ""], 2, &"y".repeat(5000));
    let mut packer = Packer::default();
    packer.pack(&piece);
    batcher.put(piece);
    batcher.release_spare();
    assert!(held + 5000 < pool.used(), "that piece was not of the batch that is open");
    let (first, _) = packer.seal(closed);
    assert_eq!(labels_of(&first), [r#"{app="veogen", level="info"}"#]);
    let second = seal(&mut batcher, at(0)).unwrap();
    let established = [r#"{app="veogen", level="info"}"#, r#"{app="veogen", level="debug"}"#];
    assert_eq!((labels_of(&second), second.entries), (established.map(str::to_owned).to_vec(), 2));
    assert_eq!(pool.used(), (first.body.len() + second.body.len()) as u64);
    drop((first, second));
    assert_eq!(pool.used(), 0);
}

#[test]
fn a_full_table_forgets_quiet_streams_but_none_of_the_open_batch() {
    let mut batcher = batcher(1 << 20, 2, &pool());
    put(&mut batcher, &["a", ""], 1, "x");
    put(&mut batcher, &["b", ""], 1, "x");
    assert_eq!(batcher.insert(SOURCE, &["c", ""], 0), None);
    seal(&mut batcher, at(0)).unwrap();
    put(&mut batcher, &["c", ""], 1, "x");
    assert_eq!(batcher.streams(), 2);
    assert!(matches!(batcher.find(SOURCE, &["c", ""], 0), Found::Known(_)));
    assert_eq!(batcher.find(SOURCE, &["c", ""], 1), Found::New, "the guard has a new epoch");
}

proptest! {
    /// What goes in comes out: every entry once, in order in its stream, and no push is too large.
    #[test]
    fn entries_and_counts_are_conserved(
        lines in prop::collection::vec(
            (prop_oneof![0usize..3, 0usize..30], prop_oneof![0usize..20_000, 60_000usize..70_000]),
            1..80,
        ),
        bytes_max in 1_000usize..2_000_000,
    ) {
        let pool = Pool::new(16 << 20, || {});
        let mut batcher = batcher(bytes_max, 10, &pool);
        let (mut sealed, mut pieces) = (Vec::new(), Vec::new());
        for (idx, (stream, len)) in lines.iter().enumerate() {
            let level = format!("level{stream}");
            let line = format!("{idx} {}", "y".repeat(*len));
            let labels = [level.as_str(), ""];
            if idx % 3 != 0 {
                pieces.extend(batcher.full_piece());
            }
            let known = match batcher.find(SOURCE, &labels, 0) {
                Found::Known(id) => Some(id),
                Found::New => batcher.insert(SOURCE, &labels, 0),
            };
            if known.is_none() {
                sealed.extend(seal_late(&mut batcher, &mut pieces, at(0)));
            }
            while put(&mut batcher, &labels, 1, &line) == Pushed::Full {
                sealed.extend(seal_late(&mut batcher, &mut pieces, at(0)));
            }
            if batcher.is_full(TENANT) {
                sealed.extend(seal_late(&mut batcher, &mut pieces, at(0)));
            }
        }
        sealed.extend(seal_late(&mut batcher, &mut pieces, at(0)));
        let mut seen = std::collections::BTreeMap::<String, Vec<usize>>::new();
        let mut counts = Counts::default();
        for batch in &sealed {
            prop_assert!(batch.encoded_bytes <= crate::model::PUSH_BYTES_MAX);
            counts += batch.receipt.counts;
            for stream in decode(batch).streams {
                for entry in stream.entries {
                    let text = String::from_utf8(entry.line).unwrap();
                    let idx = text.split(' ').next().unwrap().parse().unwrap();
                    seen.entry(stream.labels.clone()).or_default().push(idx);
                }
            }
        }
        prop_assert_eq!(counts.lines, lines.len() as u64);
        prop_assert_eq!(seen.values().map(Vec::len).sum::<usize>(), lines.len());
        for order in seen.values() {
            prop_assert!(order.is_sorted());
        }
        drop(sealed);
        prop_assert_eq!(pool.used(), 0);
    }
}

/// What is open goes on under other sources: streams whose labels are the same are known, those of
/// others are new, and none of them is mixed up.
#[test]
fn other_sources_find_their_own_streams() {
    let pool = pool();
    let mut batcher = batcher(1 << 20, 10, &pool);
    put(&mut batcher, &["info", ""], 1, "a");
    put(&mut batcher, &["error", ""], 2, "b");
    let base = |tenant, app: &str| Base {
        tenant: TenantId(tenant),
        labels: vec![("app".to_owned(), app.to_owned())],
        names: vec!["level".to_owned(), "event_type".to_owned()],
    };
    let bare = batcher.insert(SourceId(1), &["info"], 0).unwrap();
    let entry =
        Entry { time: UnixNanos(3), line: "x", labels: &["info"], metadata: &[], tenant: 0 };
    assert_eq!(batcher.push(bare, &entry, None, Counts::default(), at(0)), Pushed::Taken);
    pool.share_out(vec![1 << 20, 1 << 20]);
    let bare = Base { names: vec!["level".to_owned()], ..base(0, "bare") };
    let bases = vec![base(0, "other"), bare, base(0, "veogen"), base(1, "veogen")];
    batcher.adopt(true, bases, &pool, |source| (source == SOURCE).then_some(SourceId(2)));
    let labels = ["info", ""];
    assert_eq!(batcher.find(SourceId(0), &labels, 0), Found::New);
    assert_eq!(batcher.find(SourceId(2), &labels, 0), Found::New, "its guard is asked again");
    let new = batcher.insert(SourceId(1), &["info"], 0).unwrap();
    assert_eq!(batcher.push(new, &entry, None, Counts::default(), at(0)), Pushed::Taken);
    let push = |batcher: &mut Batcher, source, line: &str| {
        let id = batcher.insert(SourceId(source), &labels, 0).unwrap();
        let entry = Entry { time: UnixNanos(3), line, labels: &labels, metadata: &[], tenant: 0 };
        batcher.push(id, &entry, None, Counts::default(), at(0))
    };
    for (source, line) in [(2, "c"), (0, "d"), (3, "e")] {
        assert_eq!(push(&mut batcher, source, line), Pushed::Taken);
    }
    let sealed = decode(&seal(&mut batcher, at(0)).unwrap());
    let streams = sealed.streams.iter().map(|stream| (&*stream.labels, stream.entries.len()));
    assert_eq!(
        streams.collect::<Vec<_>>(),
        [
            (r#"{app="veogen", level="info"}"#, 2),
            (r#"{app="veogen", level="error"}"#, 1),
            (r#"{level="info"}"#, 1),
            (r#"{app="bare", level="info"}"#, 1),
            (r#"{app="other", level="info"}"#, 1),
        ]
    );
    let closed = batcher.close(TenantId(1), at(0)).unwrap();
    assert_eq!(Packer::default().seal(closed).0.entries, 1);
    // Those that nobody finds make room for others.
    let names = |n: usize| [format!("level {n}"), String::new()];
    for n in 0..30 {
        let values = names(n);
        let values: Vec<&str> = values.iter().map(String::as_str).collect();
        batcher.insert(SourceId(2), &values, 0).expect("nothing is open");
    }
    assert_eq!(batcher.streams(), 10);
}
