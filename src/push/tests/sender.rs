//! The state machine against a Loki that refuses, forgets, lies and limits.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::model_loki::{Loki, Shell, options, sealed, status};
use crate::model::Reason;
use crate::push::{
    Answer, Dropped, Health, METADATA_PROBE_AFTER, Options, Step, StructuredMetadata, WAIT_MAX,
};

fn lines(range: std::ops::Range<usize>, streams: usize) -> Vec<(u8, String)> {
    range.map(|idx| (u8::try_from(idx % streams).unwrap(), format!("line {idx:05}"))).collect()
}

proptest! {
    /// Whatever the answers, each entry is stored or buried, once, in the order of its stream;
    /// what Loki takes is never buried, what it refuses is.
    #[test]
    fn every_entry_has_one_outcome(
        batches in prop::collection::vec(prop::collection::vec((0_u8..4, 0_u8..20), 1..40), 1..4),
        trouble in 0_u8..60,
        disk_trouble in 0_u8..50,
        bytes_max in prop::sample::select(vec![0, 60, 200, 1000]),
        no_metadata: bool,
        metadata: bool,
        seed: u64,
    ) {
        let rng = fastrand::Rng::with_seed(seed);
        let loki = Loki { trouble, bytes_max, no_metadata, rng, ..Loki::default() };
        let mut shell = Shell { disk_trouble, ..Shell::new(&options(), loki) };
        let (mut want_stored, mut want_buried) = (BTreeMap::<String, Vec<String>>::new(), vec![]);
        let mut seq = 0;
        for batch in &batches {
            let mut lines = vec![];
            for (stream, kind) in batch {
                seq += 1;
                let line = match kind {
                    0 => format!("{seq:05} poison"),
                    1 => format!("{seq:05} unparsable"),
                    2 => format!("{seq:05} unstorable"),
                    3 => format!("{seq:05} {}", "x".repeat(200)),
                    _ => format!("{seq:05}"),
                };
                let too_large = bytes_max != 0 && bytes_max <= 200 && *kind == 3;
                if *kind < 3 || too_large {
                    want_buried.push(line.clone());
                } else {
                    let labels = format!("{{stream=\"{stream}\"}}");
                    want_stored.entry(labels).or_default().push(line.clone());
                }
                lines.push((*stream, line));
            }
            // Stuck for ever is what a third batch of which nothing passes must be.
            prop_assume!(lines.iter().any(|(_, line)| !want_buried.contains(line)));
            let settled = shell.ship(sealed(&lines, metadata));
            let dropped = settled.dropped.iter().map(|dropped| dropped.entries).sum::<u64>();
            prop_assert_eq!(settled.delivered + dropped, lines.len() as u64);
        }
        let text = |line: &[u8]| String::from_utf8(line.to_vec()).unwrap();
        let mut buried: Vec<String> =
            shell.buried.iter().map(|letter| text(&letter.line)).collect();
        buried.sort();
        want_buried.sort();
        prop_assert_eq!(buried, want_buried);
        prop_assert_eq!(&shell.loki.stored, &want_stored);
        prop_assert!(!metadata || !no_metadata || shell.loki.with_metadata == 0);
        prop_assert_eq!(shell.sender.unsettled(), 0);
    }

    /// Pushes for `k` refused of `n` entries: two for each cut on the way down, whatever the streams.
    #[test]
    fn isolating_is_cheap(
        poison in prop::collection::btree_set(0_usize..300, 0..8),
        streams in 1_usize..8,
    ) {
        let mut lines = lines(0..300, streams);
        poison.iter().for_each(|idx| lines[*idx].1 = format!("poison {idx:03}"));
        let mut shell = Shell::new(&options(), Loki::default());
        let settled = shell.ship(sealed(&lines, false));
        prop_assert_eq!(settled.delivered, 300 - poison.len() as u64);
        let most = 1 + poison.len() * 2 * 9;
        prop_assert!(shell.loki.pushes <= most, "{} pushes, {most} expected", shell.loki.pushes);
    }
}

#[test]
fn a_refused_entry_is_buried_with_all_that_is_known() {
    let mut batch = lines(0..3, 1);
    batch[1].1 = "poison".into();
    let mut shell = Shell::new(&options(), Loki::default());
    let settled = shell.ship(sealed(&batch, true));
    let want = Dropped { reason: Reason::RejectedByLoki, entries: 1, line_bytes: 6 };
    assert_eq!((settled.delivered, settled.dropped), (2, vec![want]));
    let letter = &shell.buried[0];
    assert_eq!(letter.time.to_string(), "2026-01-15T09:00:00.000000001Z");
    assert_eq!((letter.labels.as_str(), letter.status), (r#"{stream="0"}"#, 400));
    assert_eq!(letter.metadata, [("request_id".to_owned(), "r1".to_owned())]);
    assert_eq!(letter.tenant.as_deref(), Some("veogen"));
    assert!(letter.text.contains("too old"), "{}", letter.text);
}

#[test]
fn an_entry_too_large_even_alone_is_buried_as_such() {
    let mut batch = lines(0..20, 1);
    batch[7].1 = "x".repeat(500);
    let loki = Loki { bytes_max: 300, ..Loki::default() };
    let mut shell = Shell::new(&options(), loki);
    let settled = shell.ship(sealed(&batch, false));
    let want = Dropped { reason: Reason::TooLarge, entries: 1, line_bytes: 500 };
    assert_eq!((settled.delivered, settled.dropped), (19, vec![want]));
}

/// Two batches of which nothing is accepted are believed, the third is not.
#[test]
fn refusals_of_everything_are_not_about_the_data() {
    let mut shell = Shell::new(&options(), Loki { refuse_all: true, ..Loki::default() });
    for batch in 0..2 {
        assert_eq!(shell.ship(sealed(&lines(batch * 5..batch * 5 + 5, 2), false)).delivered, 0);
    }
    assert_eq!(shell.buried.len(), 10);
    shell.sender.offer(sealed(&lines(100..150, 2), false));
    let (mut holds, begin) = (0, shell.loki.pushes);
    // In the middle of a round, with entries set aside.
    while holds < 18 {
        let before = shell.mono;
        assert!(shell.turn().is_none());
        if shell.mono != before {
            holds += 1;
            assert!(shell.mono - before <= WAIT_MAX);
            assert!(matches!(shell.sender.health(), Health::Holding { .. }));
        }
    }
    assert_eq!((shell.buried.len(), shell.sender.unsettled()), (10, 50));
    assert!(shell.loki.pushes - begin < 18 * 30, "slowly: {}", shell.loki.pushes - begin);
    shell.loki.refuse_all = false;
    while shell.turn().is_none() {}
    assert_eq!((shell.buried.len(), shell.delivered), (10, 50), "each entry gets its verdict");
    assert_eq!(shell.sender.health(), &Health::Fine);
    // Something was accepted, so the count begins again.
    shell.loki.refuse_all = true;
    let _ = shell.ship(sealed(&lines(200..205, 2), false));
    assert_eq!(shell.buried.len(), 15);
}

#[test]
fn a_batch_of_one_entry_can_be_set_aside() {
    let mut shell = Shell::new(&options(), Loki { refuse_all: true, ..Loki::default() });
    for batch in 0..2 {
        let _ = shell.ship(sealed(&lines(batch..batch + 1, 1), false));
    }
    shell.sender.offer(sealed(&lines(2..3, 1), false));
    for _ in 0..20 {
        assert!(shell.turn().is_none());
    }
    assert_eq!((shell.buried.len(), shell.sender.unsettled()), (2, 1));
}

/// Only the entry itself can cause this, so there is nothing to wait for.
#[test]
fn entries_too_far_behind_are_buried_however_many_there_are() {
    let mut shell = Shell::new(&options(), Loki::default());
    let answer = status(
        400,
        "entry with timestamp 2026-01-15 07:00:00 +0000 UTC ignored, reason: 'entry too far \
         behind, entry timestamp is: T, oldest acceptable timestamp is: T'",
    );
    for batch in 0..5 {
        shell.sender.offer(sealed(&lines(batch..batch + 1, 1), false));
        let settled = loop {
            match shell.sender.step(shell.now()) {
                Step::Post(_) => shell.sender.answered(&answer, shell.now()),
                Step::Bury(_) => shell.sender.buried(Ok(()), shell.now()),
                Step::Done(settled) => break settled,
                step @ (Step::Idle | Step::Wait { .. }) => panic!("{step:?}"),
            }
        };
        assert_eq!(settled.dropped.len(), 1);
    }
}

#[test]
fn a_hold_lasts_until_somebody_acts_and_drops_nothing() {
    let mut shell = Shell::new(&options(), Loki::default());
    shell.sender.offer(sealed(&lines(0..3, 1), false));
    let mut delays = vec![];
    while delays.len() < 12 {
        match shell.sender.step(shell.now()) {
            Step::Wait { until } => {
                delays.push(until - shell.mono);
                shell.mono = until;
            }
            Step::Post(_) => shell.sender.answered(&status(401, "no org id"), shell.now()),
            step @ (Step::Idle | Step::Bury(_) | Step::Done(_)) => panic!("{step:?}"),
        }
    }
    assert!(Duration::from_secs(15) <= delays[0] && delays[0] <= Duration::from_secs(30));
    assert!(delays[8..].iter().all(|delay| WAIT_MAX / 2 <= *delay && *delay <= WAIT_MAX));
    let want = Health::Holding { since: Duration::ZERO, why: "401: no org id".into() };
    assert_eq!(shell.sender.health(), &want);
    while shell.turn().is_none() {}
    assert_eq!((shell.delivered, shell.sender.health()), (3, &Health::Fine));
}

#[test]
fn retries_keep_count_and_the_servers_wish() {
    let mut shell = Shell::new(&options(), Loki::default());
    shell.sender.offer(sealed(&lines(0..1, 1), false));
    let Step::Post(body) = shell.sender.step(shell.now()) else { panic!("not posted") };
    assert!(matches!(shell.sender.step(shell.now()), Step::Post(again) if again == body));
    let retry_after = Some(Duration::from_secs(60));
    let answer = Answer::Status { code: 503, body: String::new(), retry_after };
    shell.sender.answered(&answer, shell.now());
    let Step::Wait { until } = shell.sender.step(shell.now()) else { panic!("no wait") };
    assert!(Duration::from_secs(60) <= until && until < Duration::from_secs(61));
    shell.mono = until;
    let Step::Post(again) = shell.sender.step(shell.now()) else { panic!("not posted") };
    assert_eq!(body, again, "the same bytes");
    shell.sender.answered(&status(503, ""), shell.now());
    let want = Health::Retrying { since: Duration::ZERO, why: "503".into(), tries: 2 };
    assert_eq!(shell.sender.health(), &want);
}

#[test]
fn metadata_is_left_out_and_probed_once_an_hour() {
    let mut shell = Shell::new(&options(), Loki { no_metadata: true, ..Loki::default() });
    let mut pushes = vec![];
    for batch in 0..4 {
        let before = shell.loki.pushes;
        let _ = shell.ship(sealed(&lines(batch * 5..batch * 5 + 5, 2), true));
        pushes.push(shell.loki.pushes - before);
        if batch == 2 {
            shell.mono += METADATA_PROBE_AFTER;
        }
    }
    assert_eq!((pushes, shell.loki.with_metadata), (vec![2, 1, 1, 2], 0));
    shell.loki.no_metadata = false;
    shell.mono += METADATA_PROBE_AFTER;
    for batch in 4..6 {
        let _ = shell.ship(sealed(&lines(batch * 5..batch * 5 + 5, 2), true));
    }
    assert_eq!((shell.delivered, shell.loki.with_metadata), (30, 10));
    assert!(shell.buried.is_empty());
}

#[test]
fn metadata_that_somebody_insists_on_is_held() {
    let options = Options { structured_metadata: StructuredMetadata::On, ..options() };
    let mut shell = Shell::new(&options, Loki { no_metadata: true, ..Loki::default() });
    shell.sender.offer(sealed(&lines(0..3, 1), true));
    assert!(shell.turn().is_none());
    assert!(matches!(shell.sender.health(), Health::Holding { .. }));
    assert_eq!(shell.sender.unsettled(), 3);
}

#[test]
fn equal_500s_of_what_is_too_much_end_with_a_split() {
    let mut shell = Shell::new(&options(), Loki { entries_max: 6, ..Loki::default() });
    assert_eq!(shell.ship(sealed(&lines(0..10, 1), false)).delivered, 10);
    assert_eq!(shell.loki.pushes, 5 + 2);
}

#[test]
fn what_cannot_be_buried_is_kept() {
    let mut shell = Shell { disk_trouble: 100, ..Shell::new(&options(), Loki::default()) };
    shell.sender.offer(sealed(&[(0, "poison".into())], false));
    for _ in 0..50 {
        assert!(shell.turn().is_none());
    }
    let Health::Holding { why, .. } = shell.sender.health() else { panic!("not held") };
    assert_eq!((why.as_str(), shell.loki.pushes), ("dead letters: full", 1));
    shell.disk_trouble = 0;
    while shell.turn().is_none() {}
    assert_eq!((shell.buried.len(), shell.sender.health()), (1, &Health::Fine));
}

#[test]
fn the_rate_limit_spreads_pushes() {
    let options = Options { bytes_per_second: 10_000, ..options() };
    let mut shell = Shell::new(&options, Loki::default());
    let mut rng = fastrand::Rng::with_seed(1);
    let mut bytes = 0;
    for idx in 0..40 {
        let line: String = (0..200_000).map(|_| rng.alphanumeric()).collect();
        let batch = sealed(&[(0, format!("{idx}{line}"))], false);
        bytes += batch.body.len();
        let _ = shell.ship(batch);
    }
    let want = (bytes - 3600 * 1024) / 10_000;
    assert!(want.abs_diff(usize::try_from(shell.mono.as_secs()).unwrap()) < 10, "{want}");
}

#[test]
fn each_push_holds_one_stream_where_that_is_wanted() {
    for (one_stream_per_push, pushes) in [(false, 1), (true, 3)] {
        let mut shell = Shell::new(&Options { one_stream_per_push, ..options() }, Loki::default());
        let settled = shell.ship(sealed(&lines(0..9, 3), true));
        assert_eq!((settled.delivered, shell.loki.pushes), (9, pushes));
        assert_eq!(settled.isolations, 0);
    }
}

/// A reload may be what ends the trouble: nothing waits for the end of a delay any more.
#[test]
fn other_options_are_tried_at_once() {
    for code in [401, 503] {
        let mut shell = Shell::new(&options(), Loki::default());
        shell.sender.offer(sealed(&lines(0..5, 2), false));
        assert!(matches!(shell.sender.step(shell.now()), Step::Post(_)));
        shell.sender.answered(&status(code, "no"), shell.now());
        // Jitter may be next to nothing.
        let later = Duration::from_nanos(1);
        assert!(matches!(shell.sender.step(shell.now()), Step::Wait { until } if later < until));
        shell.sender.adopt(&Options { one_stream_per_push: true, ..options() }, shell.now());
        assert!(matches!(shell.sender.step(shell.now()), Step::Post(_)), "{code}");
        shell.sender.answered(&status(204, ""), shell.now());
        assert!(matches!(shell.sender.step(shell.now()), Step::Done(_)));
        assert_eq!(shell.sender.health(), &Health::Fine);
    }
}
