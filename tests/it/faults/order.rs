//! Order under retries: what is sent again must not overtake, nor be overtaken.

use std::fmt::Write as _;

use super::super::support::oracle::EXACT;
use super::super::support::{Answer, Bed, Found, Reset, Sent, answer, eventually};

const SOURCES: usize = 4;
const EVENTS: usize = 25;

/// One of the ways in which a push can fail or be late, and whether Loki has it all the same.
fn trouble(rng: &mut fastrand::Rng) -> Answer {
    match rng.u8(..20) {
        0 => answer(500, "empty ring"),
        1 => answer(503, "later"),
        2 => answer(429, "Per stream rate limit exceeded"),
        3 => Answer { reset: Some(Reset::Before), ..Answer::default() },
        4 => Answer { reset: Some(Reset::After), ..Answer::default() },
        5 => Answer { store: true, ..answer(500, "context deadline exceeded") },
        6 => Answer { delay_ms: 1500, ..Answer::default() },
        _ => Answer { delay_ms: rng.u64(..60), ..Answer::default() },
    }
}

#[test]
fn a_hundred_streams_keep_their_order_through_every_trouble() {
    let (mut bed, mut sent) = (Bed::new(), Sent::default());
    bed.loki_yaml = "  timeout: 1s".to_owned();
    bed.glob = "0/*.log".to_owned();
    for source in 1..SOURCES {
        let glob = bed.log(&format!("{source}/*.log")).display().to_string();
        writeln!(
            bed.source,
            "  - {{name: s{source}, files: [\"{glob}\"], labels: {{app: s{source}}}}}"
        )
        .unwrap();
    }
    let mut rng = fastrand::Rng::with_seed(22);
    bed.loki.answers().add((0..120).map(|_| trouble(&mut rng)));
    let round = |sent: &mut Sent| {
        for source in 0..SOURCES {
            for event in 0..EVENTS {
                let event_type = format!(",\"event_type\":\"e{event}\"");
                let line = sent.line(&source.to_string(), &event_type);
                bed.append(&format!("{source}/{}.log", event % 3), line);
            }
        }
    };
    round(&mut sent);
    let skald = bed.run();
    for _ in 0..50 {
        let pushes = bed.metrics().sum("pushes_total");
        eventually("a push", || pushes < bed.metrics().sum("pushes_total"));
        round(&mut sent);
    }
    bed.wait_for(&sent);
    let metrics = bed.adds_up();
    skald.stop_well();
    // Not the retries: a push of which a stream is refused may go on without it.
    for status in ["429", "500", "503", "failed"] {
        let pushes = metrics.get(&format!("pushes_total{{status=\"{status}\"}}"));
        assert_ne!(pushes, 0, "no {status}: {metrics:?}");
    }
    let (stats, found) = (bed.loki.store().stats(), sent.found(bed.loki.store()));
    eprintln!("order: {} streams, {:?}, {found:?}", stats.streams, stats.pushes);
    assert!(100 <= stats.streams, "{}", stats.streams);
    // What Loki had stored before it said that it had not.
    assert_eq!(found, Found { repeated: found.repeated, ..EXACT });
    assert_ne!(found.repeated, 0);
}
