//! Streams of which Loki refuses something: for their time, their rate or their number.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::model_loki::{Loki, NINE, Shell, options, sealed, sealed_at, status};
use crate::model::UnixNanos;
use crate::push::{Health, Options, Relabel, Step, StructuredMetadata};

const SECOND: i64 = 1_000_000_000;
const HOUR: i64 = 3600 * SECOND;

fn behind_loki() -> Loki {
    Loki { window: HOUR, ..Loki::default() }
}

/// Lines of streams from a time on, a second apart.
fn from(stream: u8, time: i64, count: i64, name: &str) -> Vec<(u8, i64, String)> {
    (0..count).map(|idx| (stream, time + idx * SECOND, format!("{name} {idx:05}"))).collect()
}

fn times(shell: &Shell, stream: u8) -> &[i64] {
    &shell.loki.times[&format!("{{stream=\"{stream}\"}}")]
}

/// Another run has sent until ten hours later; this one does not know that.
#[test]
fn what_is_too_far_behind_is_moved_inside_and_nothing_is_buried() {
    let mut shell = Shell::new(&options(), behind_loki());
    let _ = shell.ship(sealed_at(&from(1, 10 * HOUR, 10, "before"), true));
    let mut batch = from(0, 0, 50, "other");
    // A file that appears late, and one that is where the stream is; line by line.
    let (late, on_time) = (from(1, 0, 200, "late"), from(1, 10 * HOUR + 5 * SECOND, 200, "now"));
    batch.extend(late.into_iter().zip(on_time).flat_map(|(late, now)| [late, now]));
    batch.extend(from(2, 0, 50, "third"));
    let before = shell.loki.pushes;
    let settled = shell.ship(sealed_at(&batch, true));
    assert_eq!((settled.delivered, settled.moved, shell.buried.len()), (500, 200, 0));
    assert_eq!(shell.loki.pushes - before, 1 + 3 + 1, "whole, by stream, what was moved");
    assert_eq!(shell.loki.again, 0, "nothing that was stored was moved");
    let times = times(&shell, 1);
    let moved = &times[210..];
    let inside = NINE + 9 * HOUR + (5 + 199 + 300) * SECOND;
    assert_eq!(moved.len(), 200);
    assert!((inside..inside + 60 * SECOND).contains(&moved[0]), "five minutes inside: {moved:?}");
    assert!(moved.windows(2).all(|pair| pair[1] == pair[0] + 1));
    let originals = shell.loki.values("original_timestamp");
    assert_eq!((originals.len(), originals[1]), (200, "2026-01-15T09:00:01Z"));
    // What is learnt holds for the next batches: they are sent apart, and moved before.
    let before = shell.loki.pushes;
    let mut batch = from(1, HOUR, 100, "later");
    batch.extend(from(0, HOUR, 100, "other later"));
    let settled = shell.ship(sealed_at(&batch, true));
    assert_eq!((settled.delivered, settled.moved), (200, 100));
    assert_eq!(shell.loki.pushes - before, 2);
    let lines = &shell.loki.stored["{stream=\"1\"}"];
    assert!(lines[410..].iter().is_sorted() && lines[410].starts_with("later"));
    assert!(self::times(&shell, 1)[210..].is_sorted_by(|a, b| a < b));
    // And is forgotten when nothing was refused for ten minutes.
    shell.mono += Duration::from_secs(601);
    let before = shell.loki.pushes;
    let mut batch = from(1, 11 * HOUR, 5, "again");
    batch.extend(from(0, HOUR, 5, "other again"));
    let _ = shell.ship(sealed_at(&batch, true));
    assert_eq!(shell.loki.pushes - before, 1);
}

#[test]
fn without_metadata_the_own_time_is_not_noted() {
    let options = Options { structured_metadata: StructuredMetadata::Off, ..options() };
    let mut shell = Shell::new(&options, behind_loki());
    let _ = shell.ship(sealed_at(&from(0, 10 * HOUR, 1, "before"), false));
    let settled = shell.ship(sealed_at(&from(0, 0, 30, "late"), false));
    assert_eq!((settled.delivered, settled.moved), (30, 30));
    assert!(shell.loki.pairs.is_empty());
}

/// Whatever it is moved to, it is refused: then there is an end, and it is known where it is.
#[test]
fn what_stays_behind_is_buried_after_a_few_moves() {
    let mut shell = Shell::new(&options(), Loki::default());
    shell.sender.offer(sealed_at(&from(0, 0, 8, "late"), true));
    let (mut posts, mut buried) = (0, 0);
    let settled = loop {
        match shell.sender.step(shell.now()) {
            Step::Post(body) => {
                posts += 1;
                let request = super::parts::decompress(&body);
                let first = request.streams[0].entries[0].timestamp.unwrap();
                let time = UnixNanos(first.seconds * SECOND + i64::from(first.nanos));
                let go = time.to_string().replace('T', " ").replace('Z', " +0000 UTC");
                let floor = time.plus(Duration::from_secs(3600));
                let answer = format!(
                    "entry with timestamp {go} ignored, reason: 'entry too far behind, entry \
                     timestamp is: T, oldest acceptable timestamp is: {}Z', user 'fake', total \
                     ignored: {n} out of {n} for stream: {{a=\"b\"}}",
                    &floor.to_string()[..19],
                    n = request.streams[0].entries.len(),
                );
                shell.sender.answered(&status(400, &answer), shell.now());
            }
            Step::Bury(letters) => {
                buried += letters.len();
                assert_eq!(letters[0].metadata.last().unwrap().0, "original_timestamp");
                shell.sender.buried(Ok(()), shell.now());
            }
            Step::Done(settled) => break settled,
            step @ (Step::Idle | Step::Wait { .. }) => panic!("{step:?}"),
        }
    };
    assert_eq!((buried, settled.delivered, settled.dropped[0].entries), (8, 0, 8));
    assert_eq!(posts, 1 + 4 + 14, "the first, the moves, and by halves");
}

#[test]
fn a_stream_that_is_too_fast_is_sent_behind_the_others_and_no_faster_than_it_may() {
    let mut shell = Shell::new(&options(), Loki { stream_rate: 1000, ..Loki::default() });
    let mut batch = from(0, 0, 10, "one");
    batch.extend(from(1, 0, 200, &"x".repeat(94)));
    batch.extend(from(2, 0, 10, "three"));
    shell.sender.offer(sealed_at(&batch, true));
    while shell.mono == Duration::ZERO {
        assert!(shell.turn().is_none());
    }
    assert_eq!((times(&shell, 0).len(), times(&shell, 2).len()), (10, 10));
    while shell.turn().is_none() {}
    assert_eq!((shell.delivered, shell.sender.health()), (220, &Health::Fine));
    assert!(shell.loki.stored["{stream=\"1\"}"].is_sorted());
    // 200 lines of 100 bytes; a second's worth goes at once.
    let took = shell.mono.as_secs();
    assert!((18..60).contains(&took), "{took} s for 20 kB at 1 kB a second");
    assert!(shell.loki.pushes < 120, "{} pushes", shell.loki.pushes);
}

#[test]
fn a_stream_too_many_gets_other_labels_when_somebody_says_so() {
    let mut shell = Shell::new(&options(), Loki { streams_max: 3, ..Loki::default() });
    let _ = shell.ship(sealed(&[(0, "zero".into())], true));
    let lines: Vec<_> = (0..40_u8).map(|idx| (idx % 8, format!("line {idx:02}"))).collect();
    shell.sender.offer(sealed(&lines, true));
    let relabel = |labels: &str| {
        let value = labels.strip_prefix("{stream=\"")?.strip_suffix("\"}")?;
        (value != "0").then(|| Relabel {
            labels: "{stream=\"0\"}".to_owned(),
            metadata: vec![("stream".to_owned(), value.to_owned())],
        })
    };
    let (labels, since) = loop {
        assert!(shell.turn().is_none(), "it cannot be done");
        if let Some(crowded) = shell.sender.crowded()
            && Duration::from_secs(60) <= shell.mono - crowded.1
        {
            break crowded;
        }
    };
    assert!(labels.starts_with("{stream=") && since == Duration::ZERO, "{labels} {since:?}");
    assert!(matches!(shell.sender.health(), Health::Retrying { .. }));
    let stored: usize = shell.loki.stored.values().map(Vec::len).sum();
    assert_eq!((stored, shell.sender.unsettled()), (1 + 15, 25), "the others are there");
    let before = shell.loki.pushes;
    shell.sender.relabel(&relabel, shell.now());
    while shell.turn().is_none() {}
    assert_eq!((shell.delivered, shell.loki.pushes - before), (41, 1));
    assert_eq!(shell.loki.stored["{stream=\"0\"}"].len(), 1 + 5 + 25);
    let mut values = shell.loki.values("stream");
    values.sort_unstable();
    assert_eq!((values.len(), values[0]), (25, "3"));
    assert_eq!(shell.loki.stored.len(), 3);
}

proptest! {
    /// Many streams, trouble, poison, rates, windows: each stream is stored in the order it came,
    /// every line once, at one time.
    #[test]
    fn the_order_of_a_stream_is_kept(
        batches in prop::collection::vec(prop::collection::vec((0_u8..12, 0_u8..30), 1..60), 1..6),
        trouble in 0_u8..70,
        stream_rate in prop::sample::select(vec![0, 300, 1000]),
        bytes_max in prop::sample::select(vec![0, 400]),
        window in prop::sample::select(vec![0, HOUR]),
        one_stream_per_push: bool,
        seed: u64,
    ) {
        let rng = fastrand::Rng::with_seed(seed);
        let loki = Loki { trouble, stream_rate, bytes_max, window, rng, ..Loki::default() };
        let mut shell = Shell::new(&Options { one_stream_per_push, ..options() }, loki);
        if window != 0 {
            // So that everything is too far behind in some streams.
            let newest = (0..4_u8).map(|stream| (format!("{{stream=\"{stream}\"}}"), NINE + 5 * HOUR));
            shell.loki.newest = newest.collect();
        }
        let (mut seq, mut want) = (0, BTreeMap::<String, Vec<String>>::new());
        for batch in &batches {
            let mut lines = vec![];
            for (stream, kind) in batch {
                seq += 1;
                let text = if *kind == 0 { "poison" } else { "" };
                lines.push((*stream, seq * 1_000_000, format!("{seq:05} {text}")));
                if *kind != 0 {
                    let labels = format!("{{stream=\"{stream}\"}}");
                    want.entry(labels).or_default().push(format!("{seq:05} {text}"));
                }
            }
            prop_assume!(batch.iter().any(|(_, kind)| *kind != 0));
            let _ = shell.ship(sealed_at(&lines, true));
        }
        prop_assert_eq!(&shell.loki.stored, &want);
        prop_assert_eq!(shell.loki.again, 0);
        for (labels, times) in &shell.loki.times {
            prop_assert!(times.is_sorted_by(|a, b| a < b), "{}: {:?}", labels, times);
        }
    }
}
