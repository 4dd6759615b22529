//! Rules at work in a real agent: entries of many lines, drops, paces, tenants, metrics.

use std::process::Command;
use std::time::Duration;

use super::support::oracle::EXACT;
use super::support::{Bed, Sent, eventually, pause, settled};

/// The lines that came, in the order of their times.
fn came(bed: &Bed) -> Vec<String> {
    let mut entries = bed.loki.store().entries();
    entries.sort_by_key(|entry| entry.time);
    entries.iter().map(|entry| String::from_utf8_lossy(&entry.line).into_owned()).collect()
}

fn source(yaml: &str) -> Bed {
    let mut bed = Bed::new();
    bed.source = format!("    {yaml}");
    bed
}

/// A service that logs as most do, with tracebacks.
const SERVICE: &str = r#"
import logging, sys
logging.basicConfig(filename=sys.argv[1], format="%(asctime)s %(levelname)s %(message)s")
for n in range(50):
    logging.warning("before %d", n)
    try:
        {}[n]
    except KeyError:
        logging.exception("request %d failed", n)
"#;

#[test]
fn tracebacks_of_a_service_are_whole() {
    let bed = source("multiline: {traces: python, wait: 200ms}");
    let skald = bed.run();
    let mut python = Command::new("python3");
    let status = python.arg("-c").arg(SERVICE).arg(bed.log("a.log")).status().unwrap();
    assert!(status.success());
    eventually("all entries", || bed.loki.copies() == 100);
    bed.adds_up();
    assert_eq!(skald.stop().code, Some(0));
    let came = came(&bed);
    assert_eq!(came.join("\n") + "\n", fs_err::read_to_string(bed.log("a.log")).unwrap());
    for (n, pair) in came.chunks(2).enumerate() {
        assert!(pair[0].ends_with(&format!("before {n}")), "{}", pair[0]);
        assert!(pair[1].contains("Traceback") && pair[1].ends_with(&format!("KeyError: {n}")));
    }
}

/// An entry that has begun is unsettled: kill, rotation and restart leave it whole.
#[test]
fn an_entry_survives_a_kill_and_a_rotation() {
    let mut bed = source("multiline: {first: '^[0-9]', wait: 60s}");
    bed.glob = "a.log*".to_owned();
    bed.append("a.log", "1 a\nb\n2 c\n");
    let skald = bed.run();
    eventually("the first entry", || bed.loki.copies() == 1);
    eventually("what is settled", || {
        let (_, files) = bed.page("/files").unwrap_or_default();
        let files: serde_json::Value = serde_json::from_str(&files).unwrap_or_default();
        files[0]["settled"] == 6
    });
    eventually("the checkpoint", || {
        let saved = fs_err::read(bed.state("checkpoint")).unwrap_or_default();
        String::from_utf8_lossy(&saved).contains("\"held\":[6,null]")
    });
    skald.kill();
    bed.append("a.log", "d\n");
    let skald = bed.run();
    eventually("the rest is read", || bed.metrics().get("lines_read_total{source=\"t\"}") >= 2);
    fs_err::rename(bed.log("a.log"), bed.log("a.log.1")).unwrap();
    bed.append("a.log", "e\n3 f\n");
    eventually("the second entry", || bed.loki.copies() == 2);
    settled(Duration::from_millis(300), || bed.loki.copies());
    let ended = skald.stop();
    assert_eq!(ended.code, Some(1), "the last entry may go on: {}", ended.err);
    assert_eq!(came(&bed), ["1 a\nb", "2 c\nd\ne"]);
    // Nobody will go on with it any more.
    bed.source = "    multiline: {first: '^[0-9]', wait: 100ms}".to_owned();
    let skald = bed.run();
    eventually("the last entry", || bed.loki.copies() == 3);
    skald.stop_well();
    assert_eq!(came(&bed)[2], "3 f");
}

#[test]
fn a_rule_that_is_taken_away_loses_no_entry_that_had_begun() {
    let mut bed = source("multiline: {first: '^[0-9]', wait: 60s}");
    bed.append("a.log", "1 a\nb\n2 c\nd\n");
    let skald = bed.run();
    eventually("the first entry", || bed.loki.copies() == 1);
    assert_eq!(skald.stop().code, Some(1));
    bed.source = String::new();
    let skald = bed.run();
    eventually("the second entry", || bed.loki.copies() == 2);
    bed.append("a.log", "e\n");
    eventually("the next line", || bed.loki.copies() == 3);
    skald.stop_well();
    assert_eq!(came(&bed), ["1 a\nb", "2 c\nd", "e"]);
}

#[test]
fn what_rules_leave_out_is_counted_and_no_loss() {
    let bed = source(
        "rules:\n      - drop: {level: debug}\n      - keep: {message: {exists: true}}\n      - \
         sample: {rate: 0, always: {level: error}}",
    );
    let line = |level: &str| format!("{{\"level\":\"{level}\",\"message\":\"m\"}}\n");
    bed.append("a.log", [line("debug"), line("info"), line("error"), "{}\n".to_owned()].concat());
    let skald = bed.run();
    eventually("the error", || bed.loki.copies() == 1);
    let metrics = bed.adds_up();
    assert_eq!((metrics.dropped("dropped_by_rule"), metrics.dropped("sampled")), (2, 1));
    let err = skald.stop_well();
    assert!(err.contains("left_out=3"), "{err}");
    assert_eq!(came(&bed), [line("error").trim_end()]);
}

#[test]
fn a_pace_makes_lines_wait_and_loses_none() {
    let bed =
        source("rules:\n      - limit: {lines_per_second: 200, burst: 20, over: wait, by: src}");
    let mut sent = Sent::default();
    bed.append("a.log", sent.lines("a", 150));
    bed.append("b.log", sent.lines("b", 150));
    let (skald, start) = (bed.run(), std::time::Instant::now());
    bed.wait_for(&sent);
    // 150 of each, of which 20 may come at once: 130 at 200 a second.
    assert!(Duration::from_millis(600) < start.elapsed(), "{:?}", start.elapsed());
    bed.adds_up();
    skald.stop_well();
    assert_eq!(sent.found(bed.loki.store()), EXACT);
}

#[test]
fn a_pace_drops_what_is_over() {
    let bed = source("rules:\n      - limit: {lines_per_second: 0.001, burst: 10}");
    bed.append("a.log", "{\"n\":1}\n".repeat(100));
    let skald = bed.run();
    eventually("all lines", || bed.metrics().dropped("rate_limited") == 90);
    bed.adds_up();
    skald.stop_well();
    assert_eq!(bed.loki.copies(), 10);
}

#[test]
fn lines_of_one_file_go_to_their_tenants() {
    let mut bed = source(
        "rules:\n      - tenant: {from: org, map: {acme: team-a, globex: team-b}, default: rest}\n      \
         - when: {audit: true}\n        then: [{tenant: audit}]",
    );
    bed.loki_yaml = "  tenant: own".to_owned();
    let orgs = ["acme", "globex", "none", "acme"];
    let line = |(n, org): (usize, &&str)| format!("{{\"org\":\"{org}\",\"n\":{n}}}\n");
    let lines: String = orgs.iter().cycle().take(400).enumerate().map(line).collect();
    bed.append("a.log", lines + "{\"org\":\"acme\",\"audit\":true}\n");
    let skald = bed.run();
    eventually("all lines", || bed.loki.copies() == 401);
    bed.adds_up();
    skald.stop_well();
    for entry in bed.loki.store().entries() {
        let line = String::from_utf8_lossy(&entry.line).into_owned();
        let expected = match line.as_str() {
            line if line.contains("audit") => "audit",
            line if line.contains("acme") => "team-a",
            line if line.contains("globex") => "team-b",
            _ => "rest",
        };
        assert_eq!(entry.tenant.as_deref(), Some(expected), "{line}");
    }
}

#[test]
fn metrics_of_rules_are_on_the_page() {
    let bed = source(
        "rules:\n      - metrics:\n          http_requests_total: {by: method}\n          \
         http_seconds: {kind: histogram, value: duration, buckets: [0.1, 1]}\n      - drop: \
         {method: GET}",
    );
    let line = |method: &str, took: &str| {
        format!("{{\"method\":\"{method}\",\"duration\":{took},\"message\":\"m\"}}\n")
    };
    bed.append("a.log", [line("GET", "0.05"), line("PUT", "2"), line("GET", "0.5")].concat());
    let skald = bed.run();
    let has = |page: &str, line: &str| page.lines().any(|other| other == line);
    let expected = [
        "http_requests_total{method=\"GET\"} 2.0",
        "http_requests_total{method=\"PUT\"} 1.0",
        "http_seconds_bucket{le=\"1.0\"} 2",
        "http_seconds_count{} 3",
    ];
    eventually("the counts", || {
        let (_, page) = bed.page("/metrics").unwrap_or_default();
        expected.iter().all(|line| has(&page, line))
    });
    eventually("the line", || bed.loki.copies() == 1);
    skald.stop_well();
}

/// Entries of many lines, through kills, rotations and a slow writer: each arrives, and whole.
#[test]
fn entries_of_many_lines_outlive_kills() {
    const ENTRIES: usize = 400;
    let mut bed = source("multiline: {first: '^[0-9]', wait: 60s}");
    bed.glob = "a.log*".to_owned();
    let mut rng = fastrand::Rng::with_seed(0x6e7);
    let log = bed.log("a.log");
    let mut expected: Vec<String> = vec![];
    let (mut rotations, mut skald) = (0, Some(bed.spawn()));
    for entry in 0..ENTRIES {
        let lines = rng.usize(1..5);
        let rest = (1..lines).map(|line| format!("\n  {line} of {entry}"));
        let text = format!("{entry} begins{}", rest.collect::<String>());
        // A reader or a rotation may come in the middle of an entry, and a reader also of a line.
        let mut rest = &*text;
        if let Some((first, others)) = text.split_once('\n').filter(|_| rng.u8(..) < 16) {
            bed.append("a.log", format!("{first}\n"));
            rotations += 1;
            fs_err::rename(&log, bed.log(&format!("a.log.{}", 1000 - rotations))).unwrap();
            rest = others;
        }
        let (head, tail) = rest.split_at(rng.usize(1..rest.len()));
        bed.append("a.log", head);
        if rng.u8(..) < 8 && skald.is_some() {
            skald.take().map(super::support::Skald::kill);
        }
        bed.append("a.log", format!("{tail}\n"));
        expected.push(text.clone());
        if rng.u8(..) < 8 {
            rotations += 1;
            fs_err::rename(&log, bed.log(&format!("a.log.{}", 1000 - rotations))).unwrap();
        }
        if skald.is_none() && rng.u8(..) < 64 {
            skald = Some(bed.spawn());
        }
        pause(Duration::from_millis(rng.u64(0..4)));
    }
    bed.append("a.log", "the end\n");
    drop(skald.take().map(super::support::Skald::kill));
    bed.source = "    multiline: {first: '^[0-9]', wait: 300ms}".to_owned();
    let skald = bed.run();
    *expected.last_mut().unwrap() += "\nthe end";
    eventually("every entry", || {
        let came: std::collections::BTreeSet<String> = came(&bed).into_iter().collect();
        expected.iter().all(|entry| came.contains(entry))
    });
    skald.stop_well();
    for entry in came(&bed) {
        assert!(expected.contains(&entry), "an entry that nobody wrote: {entry:?}");
    }
}
