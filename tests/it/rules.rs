//! What lines become on their way: times, labels, sources.

use std::io::Write as _;
use std::process::Stdio;

use super::support::oracle::{EXACT, out_of_time};
use super::support::{Bed, Sent, Skald, eventually, settled};
use std::time::Duration;

/// Whole seconds, so long ago.
fn ago(seconds: i64) -> String {
    let now = jiff::Timestamp::now().as_second();
    jiff::Timestamp::from_second(now - seconds).unwrap().to_string()
}

#[test]
fn files_with_an_old_backlog_advance_together() {
    const HOURS: i64 = 8;
    let (bed, mut sent) = (Bed::new(), Sent::default());
    // All share their streams, and Loki takes nothing that is an hour behind its stream. Each file
    // is more than one chunk.
    let padding = format!(",\"padding\":\"{}\"", "x".repeat(1000));
    for (src, from, to) in [("long", HOURS * 3600, 0), ("early", HOURS * 3600, 4 * 3600)] {
        for second in (to..from).rev().step_by(30) {
            bed.append(&format!("{src}.log"), sent.line_at(src, &ago(second), &padding));
        }
    }
    bed.append("now.log", sent.lines("now", 100));
    let skald = bed.run();
    bed.wait_for(&sent);
    let metrics = bed.adds_up();
    assert_eq!(metrics.flagged("moved_into_window"), 0, "{metrics:?}");
    assert_eq!(bed.loki.pushes("400"), 0);
    skald.stop_well();
    assert_eq!(sent.found(bed.loki.store()), EXACT);
    assert_eq!(out_of_time(bed.loki.store()), 0);
}

#[test]
fn a_line_far_behind_its_stream_is_moved_and_says_so() {
    let (bed, mut sent) = (Bed::new(), Sent::default());
    bed.append("a.log", sent.lines("a", 10));
    let skald = bed.run();
    bed.wait_for(&sent);
    bed.append("late.log", sent.line_at("late", &ago(5 * 3600), ""));
    bed.append("late.log", sent.lines("late", 10));
    bed.wait_for(&sent);
    eventually("the count", || bed.metrics().flagged("moved_into_window") != 0);
    bed.adds_up();
    assert_eq!(bed.loki.pushes("400"), 0);
    skald.stop_well();
    let found = sent.found(bed.loki.store());
    assert_eq!((found.lost, found.repeated, found.foreign), (0, 0, 0), "{found:?}");
    let moved = |name: &String| name == "original_timestamp";
    let entries = bed.loki.store().entries();
    let moved = entries.iter().filter(|e| e.metadata.iter().any(|(name, _)| moved(name))).count();
    assert_eq!(moved as u64, found.misdated, "{found:?}");
    assert_ne!(moved, 0);
}

#[test]
fn a_label_that_explodes_becomes_metadata_and_stays_it() {
    let (mut bed, mut sent) = (Bed::new(), Sent::default());
    bed.top = "guard: {values_max: 20}".to_owned();
    for user in 0..200 {
        let event = format!(",\"event_type\":\"login of user {user}\"");
        bed.append("a.log", sent.line("a", &event));
    }
    let skald = bed.run();
    bed.wait_for(&sent);
    assert_eq!(bed.adds_up().get("labels_demoted_total"), 1);
    let err = skald.stop_well();
    assert!(err.contains("event_type") && err.contains("login of user"), "{err}");
    let streams = bed.loki.store().stats().streams;
    assert!(streams <= 24, "{streams} streams");
    let skald = bed.run();
    bed.append("a.log", sent.line("a", ",\"event_type\":\"login of user 1000\""));
    bed.wait_for(&sent);
    skald.stop_well();
    let last = bed.loki.store().entries().pop().unwrap();
    assert_eq!(last.labels.to_string().matches("event_type").count(), 0, "{}", last.labels);
    let pair = ("event_type".to_owned(), "login of user 1000".to_owned());
    assert!(last.metadata.contains(&pair), "{:?}", last.metadata);
    assert_eq!(sent.found(bed.loki.store()), EXACT);
}

#[test]
fn standard_input_and_files_together() {
    let (mut bed, mut sent) = (Bed::new(), Sent::default());
    bed.source = "  - stdin: true\n    labels: {app: pipe}".to_owned();
    bed.append("a.log", sent.lines("a", 100));
    let mut command = bed.command();
    let mut skald = Skald::spawn(command.stdin(Stdio::piped()));
    let mut input = skald.stdin();
    input.write_all(sent.lines("in", 100).as_bytes()).unwrap();
    bed.wait_for(&sent);
    input.write_all(sent.lines("in", 10).trim_end().as_bytes()).unwrap();
    drop(input);
    bed.wait_for(&sent);
    eventually("the end of the input", || skald.err().contains("standard input has ended"));
    // The files go on.
    bed.append("a.log", sent.lines("a", 100));
    bed.wait_for(&sent);
    assert!(skald.is_running());
    bed.adds_up();
    skald.stop_well();
    assert_eq!(sent.found(bed.loki.store()), EXACT);
    let of_pipe = |labels: &str| labels.contains(r#"app="pipe""#);
    let stats = bed.loki.store().stats();
    let piped: u64 = stats.per_stream.iter().filter(|(l, _)| of_pipe(l)).map(|(_, n)| n).sum();
    assert_eq!(piped, 110, "{stats:?}");
}

#[test]
fn a_file_of_two_sources_belongs_to_the_first() {
    let (mut bed, mut sent) = (Bed::new(), Sent::default());
    let glob = bed.log("a*.log").display().to_string();
    bed.source = format!("  - name: second\n    files: [\"{glob}\"]\n    labels: {{app: second}}");
    bed.append("a.log", sent.lines("a", 100));
    bed.append("b.log", sent.lines("b", 100));
    let skald = bed.run();
    bed.wait_for(&sent);
    settled(Duration::from_millis(300), || bed.loki.copies());
    bed.adds_up();
    skald.stop_well();
    assert_eq!(sent.found(bed.loki.store()), EXACT);
    let stats = bed.loki.store().stats();
    assert!(stats.per_stream.keys().all(|labels| labels.contains(r#"app="t""#)), "{stats:?}");
}

#[test]
fn lines_that_are_too_old_are_counted_and_said_once_a_file() {
    let (bed, mut sent) = (Bed::new(), Sent::default());
    let old = "{\"timestamp\":\"2020-01-01T00:00:00Z\",\"message\":\"old\"}\n";
    let skald = bed.run();
    for times in 1..=3 {
        bed.append("a.log", old);
        bed.append("b.log", old);
        bed.append("b.log", sent.lines("b", 1));
        eventually("the drops", || bed.metrics().dropped("too_old") == 2 * times);
    }
    bed.wait_for(&sent);
    bed.adds_up();
    let ended = skald.stop();
    assert_eq!(ended.err.matches("older than `limits.age`").count(), 2, "{}", ended.err);
    assert_eq!(ended.code, Some(1), "{}", ended.err);
    assert_eq!(sent.found(bed.loki.store()), EXACT);
}
