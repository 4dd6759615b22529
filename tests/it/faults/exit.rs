//! SIGTERM at any moment, SIGKILL behind it: the end is in time, what it says is true, and the
//! next run brings the rest.

use std::time::Duration;

use rustix::process::Signal;

use super::super::support::oracle::EXACT;
use super::super::support::{
    Answer, Bed, Ended, Found, Sent, address, always, answer, eventually, pause, timed, within,
};

const DEADLINE: Duration = Duration::from_secs(2);

/// How Loki is while the agent ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Loki {
    Fast,
    Slow,
    Limiting,
    Dead,
}

const ALL: [Loki; 4] = [Loki::Fast, Loki::Slow, Loki::Limiting, Loki::Dead];

/// A bed with a few files, where agents have a short deadline.
fn bed(loki: Loki, sent: &mut Sent) -> Bed {
    let mut bed = Bed::new();
    bed.top = "shutdown: {deadline: 2s}".to_owned();
    let padding = format!(",\"padding\":\"{}\"", "x".repeat(300));
    for _ in 0..3_000 {
        for src in ["a", "b"] {
            bed.append(&format!("{src}.log"), sent.line(src, &padding));
        }
    }
    set(&mut bed, loki);
    bed
}

fn set(bed: &mut Bed, loki: Loki) {
    let limit = "Ingestion rate limit exceeded for user fake (limit: 4194304 bytes/sec)";
    let late = Answer { delay_ms: 300, ..Answer::default() };
    bed.loki.answers().clear();
    bed.url = None;
    match loki {
        Loki::Fast => {}
        Loki::Slow => bed.loki.answers().add([always(late)]),
        Loki::Limiting => bed.loki.answers().add([always(answer(429, limit))]),
        Loki::Dead => bed.url = Some(format!("http://{}", address(3100))),
    }
}

/// A figure of the last line of a log.
fn figure(ended: &Ended, name: &str) -> u64 {
    let last = ended.err.lines().rfind(|line| line.contains("skald ends")).unwrap_or_default();
    let figure = last.split_once(&format!(" {name}=")).map_or("0", |(_, rest)| rest);
    let digits = figure.split(|c: char| !c.is_ascii_digit()).next().unwrap();
    digits.parse().unwrap_or_else(|_| panic!("no {name} in {}", ended.err))
}

#[test]
fn an_end_at_any_moment_is_in_time_and_says_what_is_left() {
    let run = |loki: Loki, seed: u64| {
        let (mut sent, mut rng) = (Sent::default(), fastrand::Rng::with_seed(seed));
        let mut bed = bed(loki, &mut sent);
        let skald = bed.run();
        // From before the first line to behind the last one.
        let (patience, lines) = (Duration::from_millis(rng.u64(..600)), rng.usize(..6_000));
        within(patience, || lines <= bed.loki.copies());
        let read = bed.metrics().sum("lines_read_total");
        let (ended, taken) = timed(|| skald.stop());
        let slack = Duration::from_secs(4);
        assert!(taken < DEADLINE + slack, "{loki:?}: {taken:?}\n{}", ended.err);
        let (delivered, unsettled) = (figure(&ended, "delivered"), figure(&ended, "unsettled"));
        let (before, arrived) = (bed.loki.copies(), sent.arrived(bed.loki.store()));
        eprintln!("{loki:?}: {delivered} delivered, {unsettled} left, {taken:?}");
        assert_eq!(ended.code, Some(i32::from(unsettled != 0)), "{loki:?}: {}", ended.err);
        assert!(delivered <= arrived && arrived <= delivered + unsettled, "{loki:?}: {arrived}");
        assert!(read <= delivered + unsettled, "{loki:?}: {read} read, {}", ended.err);
        match loki {
            Loki::Fast => assert_eq!(unsettled, 0, "{}", ended.err),
            Loki::Limiting | Loki::Dead => assert_eq!(delivered, 0, "{}", ended.err),
            Loki::Slow => {}
        }
        // What is left comes with the next run, and only that.
        set(&mut bed, Loki::Fast);
        let skald = bed.run();
        bed.wait_for(&sent);
        bed.append("a.log", sent.lines("a", 10));
        bed.wait_for(&sent);
        bed.adds_up();
        skald.stop_well();
        let found = sent.found(bed.loki.store());
        let repeated = before as u64 - delivered;
        assert_eq!(found, Found { repeated, ..EXACT }, "{loki:?}");
    };
    let mut seeds = 0..;
    for loki in ALL.into_iter().chain([Loki::Fast; 3]) {
        run(loki, seeds.next().unwrap());
    }
}

#[test]
fn sigkill_behind_sigterm_changes_nothing() {
    let run = |loki: Loki| {
        let mut sent = Sent::default();
        let mut bed = bed(loki, &mut sent);
        let mut rng = fastrand::Rng::with_seed(9);
        let mut killed = 0;
        for _ in 0..3 {
            let mut skald = bed.run();
            pause(Duration::from_millis(rng.u64(..300)));
            skald.signal(Signal::TERM);
            pause(Duration::from_millis(rng.u64(..100)));
            killed += u32::from(skald.is_running());
            skald.signal(Signal::KILL);
            skald.wait();
        }
        assert_ne!(killed, 0, "{loki:?}: it was always too late");
        set(&mut bed, Loki::Fast);
        let skald = bed.run();
        bed.wait_for(&sent);
        bed.append("a.log", sent.lines("a", 10));
        bed.wait_for(&sent);
        bed.adds_up();
        skald.stop_well();
        let found = sent.found(bed.loki.store());
        assert_eq!(found, Found { repeated: found.repeated, ..EXACT }, "{loki:?}");
        eventually("the count", || bed.loki.copies() as u64 == sent.count() + found.repeated);
    };
    std::thread::scope(|scope| {
        for loki in [Loki::Slow, Loki::Limiting, Loki::Dead] {
            scope.spawn(move || run(loki));
        }
    });
}
