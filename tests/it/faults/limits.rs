//! Loki's limits: rates below the input, bursts below a batch, too many streams, and what its 204
//! hides.

use std::time::Duration;

use skald::receive::Options;

use super::super::support::oracle::EXACT;
use super::super::support::{Bed, Found, Loki, Sent, address, eventually, timed};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

fn bed(change: impl FnOnce(&mut Options)) -> Bed {
    Bed::at(Loki::with(address(3100), change))
}

/// Lines that do not compress, about as many KiB.
fn noisy(sent: &mut Sent, src: &str, lines: usize) -> String {
    let mut rng = fastrand::Rng::with_seed(15);
    (0..lines).map(|_| sent.noisy(src, &mut rng)).collect()
}

/// What of a rate is surely used: half as much again is lost when delays grow without need. Eight
/// runs on an idle machine used 0.89 to 0.94 of it; a busy one takes its part.
const MOST: f64 = 0.6;

/// Sends this many lines of a KiB through a bucket of `rate` bytes a second and `burst` bytes.
/// Returns which part of the rate was used.
fn through_bucket(bed: &Bed, lines: usize, rate: usize, burst: usize) -> f64 {
    let mut sent = Sent::default();
    let text = noisy(&mut sent, "a", lines);
    bed.append("a.log", &text);
    let skald = bed.run();
    // Without the last push, which may just have begun to wait.
    let ((), taken) = timed(|| {
        eventually("most of it", || (lines * 9 / 10) as u64 <= sent.arrived(bed.loki.store()));
    });
    bed.wait_for(&sent);
    bed.append("a.log", noisy(&mut sent, "a", 10));
    bed.wait_for(&sent);
    let metrics = bed.adds_up();
    assert_eq!(metrics.sum("lines_dropped_total"), 0, "{metrics:?}");
    assert_ne!(bed.loki.pushes("429"), 0, "the fault did not happen");
    skald.stop_well();
    assert_eq!(sent.found(bed.loki.store()), EXACT);
    let least = Duration::from_millis(((text.len() * 9 / 10 - burst) * 1000 / rate) as u64);
    let used = least.as_secs_f64() / taken.as_secs_f64();
    let (good, bad) = (bed.loki.pushes("204"), bed.loki.pushes("429"));
    eprintln!("{rate} B/s, burst {burst}: {used:.2} of it in {taken:?}, {good} and {bad} pushes");
    used
}

#[test]
fn a_rate_below_the_input_is_used() {
    // As Loki's defaults stand to each other, and with our own delays.
    let (rate, burst) = (2 * MIB, 3 * MIB);
    let mut bed = bed(|options| {
        (options.ingestion_rate_bytes, options.ingestion_burst_bytes) = (rate, burst);
    });
    bed.retry = "{delay_min: 500ms, delay_max: 30s}".to_owned();
    let used = through_bucket(&bed, 16 * KIB, rate, burst);
    assert!(MOST <= used, "{used}");
}

#[test]
fn a_burst_below_a_batch_is_met_by_smaller_pushes() {
    let (rate, burst) = (MIB, 256 * KIB);
    let bed = bed(|options| {
        (options.ingestion_rate_bytes, options.ingestion_burst_bytes) = (rate, burst);
    });
    let used = through_bucket(&bed, 5 * KIB, rate, burst);
    assert!(MOST <= used, "{used}");
}

#[test]
fn streams_beyond_the_limit_wait_until_there_is_room() {
    let bed = bed(|options| {
        (options.stream_limit, options.chunk_idle_period) = (10, Duration::from_secs(2));
    });
    let mut sent = Sent::default();
    let event = |event: u32| format!(",\"event_type\":\"e{event}\"");
    for stream in 0..10 {
        bed.append("a.log", sent.line("a", &event(stream)));
    }
    let skald = bed.run();
    bed.wait_for(&sent);
    for stream in 5..15 {
        bed.append("a.log", sent.line("a", &event(stream)));
    }
    bed.wait_for(&sent);
    bed.append("a.log", sent.line("a", &event(14)));
    bed.wait_for(&sent);
    let metrics = bed.adds_up();
    assert_eq!(metrics.sum("lines_dropped_total"), 0, "{metrics:?}");
    assert_ne!(bed.loki.pushes("429"), 0, "the fault did not happen");
    skald.stop_well();
    let found = sent.found(bed.loki.store());
    assert_eq!(found, Found { repeated: found.repeated, ..EXACT });
}

#[test]
fn a_label_that_explodes_meets_the_guard_before_the_limit() {
    let mut bed = bed(|options| options.stream_limit = 100);
    bed.top = "guard: {values_max: 50}".to_owned();
    bed.source = "    rules: [{label: request_id}, {timestamp: timestamp}]".to_owned();
    let mut sent = Sent::default();
    for request in 0..3000 {
        bed.append("a.log", sent.line("a", &format!(",\"request_id\":\"r{request}\"")));
    }
    let skald = bed.run();
    bed.wait_for(&sent);
    let metrics = bed.adds_up();
    assert_eq!(metrics.get("labels_demoted_total"), 1, "{metrics:?}");
    assert_eq!(bed.loki.pushes("429"), 0);
    skald.stop_well();
    assert_eq!(sent.found(bed.loki.store()), EXACT);
}

/// Loki answers for the last stream of a push alone. What it refuses of another is lost behind a
/// 204, and no agent can know; a push for each stream is the way to know.
#[test]
fn what_a_204_hides_is_lost_and_a_push_for_each_stream_hides_nothing() {
    for apart in [false, true] {
        let mut bed = bed(|options| {
            options.per_stream_rate_bytes = 64 * KIB;
            options.per_stream_burst_bytes = 128 * KIB;
        });
        bed.loki_yaml = format!("  one_stream_per_push: {apart}");
        bed.source = "    rules: [{label: event_type}, {timestamp: timestamp}]".to_owned();
        let mut sent = Sent::default();
        let small = |sent: &mut Sent| {
            sent.line("a", ",\"event_type\":\"a\"") + &sent.line("b", ",\"event_type\":\"b\"")
        };
        bed.append("a.log", small(&mut sent));
        let skald = bed.run();
        bed.wait_for(&sent);
        // More of the first stream than it may send at once; then some of the other.
        let huge = format!(",\"event_type\":\"a\",\"huge\":\"{}\"", "x".repeat(100 * KIB));
        let text = sent.line("a", &huge) + &sent.line("a", &huge) + &small(&mut sent);
        bed.append("a.log", text);
        eventually("everything acknowledged", || {
            bed.metrics().get("lines_delivered_total") == sent.count()
        });
        bed.adds_up();
        skald.stop_well();
        let found = sent.found(bed.loki.store());
        eprintln!("one stream a push: {apart}: {found:?}");
        if apart {
            // Of a stream that it refuses Loki stores the entries that fit, and swallows them when
            // they come again.
            let Found { repeated, disordered, .. } = found;
            assert_eq!(found, Found { repeated, disordered, ..EXACT });
            assert_eq!(bed.loki.store().stats().swallowed, repeated);
            assert_ne!(bed.loki.pushes("429"), 0, "the fault did not happen");
        } else {
            assert_ne!(found.lost, 0, "Loki hid nothing");
            assert_eq!(found, Found { lost: found.lost, ..EXACT });
        }
    }
}
