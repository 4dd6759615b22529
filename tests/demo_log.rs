//! The log that `skald demo` ships is what its generator writes, and what the demo relies on.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;

/// The demo moves the log to the present by replacing this.
const HOUR: &str = "2026-01-15T09:";

fn folder() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "config", "demo"].iter().collect()
}

#[test]
fn the_generator_writes_the_log() {
    let Ok(output) = Command::new("python3").arg(folder().join("generate.py")).output() else {
        return; // No Python here; CI has one.
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let log = fs_err::read(folder().join("veogen.log")).unwrap();
    assert!(output.stdout == log, "run config/demo/generate.py > config/demo/veogen.log");
}

#[test]
fn the_log_is_one_hour_of_a_service() {
    let log = fs_err::read_to_string(folder().join("veogen.log")).unwrap();
    assert!(log.ends_with('\n') && log.len() <= 900_000, "{} bytes", log.len());
    assert!((2000..=3000).contains(&log.lines().count()), "{} lines", log.lines().count());
    let mut stamps = Vec::new();
    let (mut kinds, mut requests, mut plain) = (BTreeSet::new(), BTreeSet::new(), 0);
    for line in log.lines() {
        let Ok(fields) = serde_json::from_str::<serde_json::Value>(line) else {
            plain += 1;
            continue;
        };
        let text = |name: &str| fields[name].as_str().unwrap_or_default().to_owned();
        stamps.push(text("timestamp"));
        kinds.insert(text("event_type"));
        requests.insert(text("request_id"));
        assert_eq!(text("trace_id").len(), 36, "{line}");
        assert_eq!(line.matches(HOUR).count(), 1, "{line}");
    }
    for stamp in &stamps {
        assert!(stamp.starts_with(HOUR) && stamp.ends_with("+00:00"), "{stamp}");
        assert_eq!(stamp.len(), "2026-01-15T09:00:00.000000+00:00".len(), "{stamp}");
    }
    assert!(stamps.is_sorted());
    let expected = ["", "error", "request_end", "request_error", "request_start", "user_action"];
    assert_eq!(kinds, expected.map(str::to_owned).into());
    assert_eq!((requests.len(), plain), (700, 10));
}
