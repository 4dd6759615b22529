//! SIGTERM and SIGINT: an end within the deadline, and an exit code that is true.

use std::time::Duration;

use rustix::process::Signal;

use super::support::oracle::EXACT;
use super::support::{
    Answer, Bed, Found, Sent, address, always, answer, eventually, timed, within,
};

/// What the receiver does while the agent ends.
enum Way {
    Fast,
    Slow,
    Limiting,
    Silent,
    Dead,
}

impl Way {
    fn take(&self, bed: &mut Bed) {
        let limit = "Ingestion rate limit exceeded for user fake (limit: 4194304 bytes/sec)";
        let late = |delay_ms| Answer { delay_ms, ..Answer::default() };
        match self {
            Self::Fast => {}
            Self::Slow => bed.loki.answers().add([always(late(100))]),
            Self::Limiting => bed.loki.answers().add([always(answer(429, limit))]),
            Self::Silent => bed.loki.answers().add([always(late(600_000))]),
            Self::Dead => bed.url = Some(format!("http://{}", address(3100))),
        }
    }
}

#[test]
fn the_deadline_holds_and_the_exit_code_is_true() {
    let run = |name: &str, way: &Way, code: i32| {
        let (mut bed, mut sent) = (Bed::new(), Sent::default());
        bed.top = "shutdown: {deadline: 2s}".to_owned();
        way.take(&mut bed);
        bed.append("a.log", sent.lines("a", 3_000));
        let skald = bed.run();
        eventually("a read", || bed.metrics().sum("lines_read_total") == sent.count());
        bed.adds_up();
        let (ended, taken) = timed(|| skald.stop());
        assert!(taken < Duration::from_secs(6), "{name}: {taken:?}\n{}", ended.err);
        assert_eq!(ended.code, Some(code), "{name}: {}", ended.err);
        let found = sent.found(bed.loki.store());
        if code == 0 {
            assert_eq!(found, EXACT, "{name}");
        } else {
            let text = format!("unsettled={}", sent.count());
            assert!(ended.err.contains(&text), "{name}: {}", ended.err);
            assert!(Duration::from_millis(1900) < taken, "{name}: {taken:?}");
        }
        // Whatever was left comes with the next run.
        bed.loki.answers().clear();
        bed.url = None;
        let skald = bed.run();
        bed.wait_for(&sent);
        skald.stop_well();
        assert_eq!(sent.found(bed.loki.store()), EXACT, "{name}");
    };
    std::thread::scope(|scope| {
        for (name, way, code) in [
            ("fast", Way::Fast, 0),
            ("slow", Way::Slow, 0),
            ("limiting", Way::Limiting, 1),
            ("silent", Way::Silent, 1),
            ("dead", Way::Dead, 1),
        ] {
            scope.spawn(move || run(name, &way, code));
        }
    });
}

#[test]
fn a_busy_agent_ends_with_what_it_has_read() {
    for signal in [Signal::TERM, Signal::INT] {
        let (bed, mut sent) = (Bed::new(), Sent::default());
        for file in ["a", "b", "c"] {
            bed.append(&format!("{file}.log"), sent.lines(file, 6_000));
        }
        let skald = bed.run();
        eventually("the start", || bed.loki.copies() != 0);
        skald.signal(signal);
        let ended = skald.wait();
        assert_eq!(ended.code, Some(0), "{}", ended.err);
        let found = sent.found(bed.loki.store());
        assert_eq!(found, Found { lost: found.lost, ..EXACT });
        let text = format!("delivered={}", sent.count() - found.lost);
        assert!(ended.err.contains(&text), "{found:?}: {}", ended.err);
        let skald = bed.run();
        bed.wait_for(&sent);
        skald.stop_well();
        assert_eq!(sent.found(bed.loki.store()), EXACT);
    }
}

#[test]
fn a_second_signal_ends_at_once() {
    let (mut bed, mut sent) = (Bed::new(), Sent::default());
    bed.top = "shutdown: {deadline: 10m}".to_owned();
    bed.url = Some(format!("http://{}", address(3100)));
    bed.append("a.log", sent.lines("a", 100));
    let mut skald = bed.run();
    eventually("a read", || bed.metrics().sum("lines_read_total") == sent.count());
    skald.signal(Signal::TERM);
    eventually("the signal", || skald.err().contains("SIGTERM"));
    // It has reason to wait, and does.
    assert!(!within(Duration::from_millis(300), || !skald.is_running()), "{}", skald.err());
    skald.signal(Signal::INT);
    let ended = skald.wait_for(Duration::from_secs(5));
    assert_eq!(ended.code, Some(1), "{}", ended.err);
    bed.url = None;
    let skald = bed.run();
    bed.wait_for(&sent);
    skald.stop_well();
    assert_eq!(sent.found(bed.loki.store()), EXACT);
}
