//! The pages of a running agent, and `skald health`.

use std::process::Command;

use super::support::oracle::EXACT;
use super::support::{Answer, Bed, Sent, always, eventually, skald};

fn health(bed: &Bed, by_config: bool) -> (Option<i32>, String, String) {
    let mut command: Command = skald();
    command.stdout(std::process::Stdio::piped()).arg("health");
    if by_config {
        command.arg("-c").arg(bed.config());
    } else {
        command.args(["--admin", &bed.admin.to_string()]);
    }
    let out = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (out.status.code(), text(&out.stdout), text(&out.stderr))
}

#[test]
fn pages_tell_what_the_agent_does() {
    let (bed, mut sent) = (Bed::new(), Sent::default());
    bed.append("a.log", sent.lines("a", 10));
    bed.append("b.log", sent.lines("b", 20));
    bed.append("b.log", "half a li");
    let skald = bed.run();
    eventually("all whole lines", || bed.metrics().get("lines_delivered_total") == 30);
    let metrics = bed.adds_up();
    assert_eq!(metrics.get("lines_read_total{source=\"t\"}"), 30);
    assert_ne!(metrics.get("pushes_total{status=\"204\"}"), 0);
    assert_eq!(metrics.sum("lines_in_flight"), 0);
    // The rest is no line yet.
    eventually("a look", || bed.metrics().get("source_lag_bytes{source=\"t\"}") == 9);
    assert_eq!(bed.metrics().get("source_lag_seconds{source=\"t\"}"), 0);
    eventually("a walk", || bed.page("/ready").is_some_and(|page| page == (200, "ready\n".into())));
    assert_eq!(bed.page("/healthy").unwrap(), (200, "healthy\n".to_owned()));
    assert_eq!(bed.page("/nowhere").unwrap().0, 404);
    assert!(bed.page("/").unwrap().1.contains("/metrics"));
    let files: serde_json::Value = serde_json::from_str(&bed.page("/files").unwrap().1).unwrap();
    let names: Vec<_> = files.as_array().unwrap().iter().map(|f| f["path"].clone()).collect();
    let path = |name: &str| bed.log(name).display().to_string();
    assert_eq!(names, [path("a.log"), path("b.log")]);
    let size = fs_err::metadata(bed.log("b.log")).unwrap().len();
    assert_eq!((&files[1]["size"], &files[1]["settled"]), (&size.into(), &(size - 9).into()));
    assert_eq!(files[1]["lag_bytes"], 9);
    for by_config in [true, false] {
        let (code, out, err) = health(&bed, by_config);
        assert_eq!((code, out.as_str()), (Some(0), "ready\n"), "{err}");
    }
    let err = skald.stop_well();
    assert!(err.contains("delivered=30"), "{err}");
    let (code, out, err) = health(&bed, false);
    assert_eq!(code, Some(1), "{err}");
    assert!(out.contains("no answer from"), "{out}");
    assert_eq!(sent.found(bed.loki.store()), EXACT);
}

#[test]
fn a_loki_that_refuses_makes_the_agent_unready() {
    let (bed, mut sent) = (Bed::new(), Sent::default());
    let refusal = Answer { status: Some(401), body: "who are you".to_owned(), ..Answer::default() };
    bed.loki.answers().add([always(refusal)]);
    bed.append("a.log", sent.lines("a", 10));
    let skald = bed.run();
    eventually("a refusal", || bed.page("/ready").is_some_and(|(status, _)| status == 503));
    let (code, out, err) = health(&bed, true);
    assert_eq!(code, Some(1), "{err}");
    assert!(out.contains("who are you"), "{out}");
    // Restarting a healthy agent would help nobody.
    assert_eq!(bed.page("/healthy").unwrap().0, 200);
    bed.loki.answers().clear();
    bed.wait_for(&sent);
    eventually("ready", || health(&bed, true).0 == Some(0));
    bed.adds_up();
    let err = skald.stop_well();
    // It is said once, not at each try and not by each part of the agent.
    assert_eq!(err.matches("who are you").count(), 1, "{err}");
    assert_eq!(err.matches(" again\n").count(), 1, "{err}");
    assert_eq!(sent.found(bed.loki.store()), EXACT);
}

#[test]
fn a_source_says_how_far_behind_it_is() {
    let (mut bed, mut sent) = (Bed::new(), Sent::default());
    bed.top = "memory: {in_flight: 4MiB}".to_owned();
    bed.loki.answers().add([always(Answer { status: Some(503), ..Answer::default() })]);
    bed.append("a.log", sent.lines("a", 150_000));
    let skald = bed.run();
    let figure = |name: &str| bed.metrics().get(&format!("source_{name}{{source=\"t\"}}"));
    eventually("that it stops to read", || 1 < figure("lag_seconds"));
    let metrics = bed.metrics();
    assert_eq!(metrics.get("source_lag_bytes{source=\"t\"}"), metrics.get("lag_bytes"));
    assert_ne!(metrics.get("lag_bytes"), 0);
    let kept = || bed.page("/metrics").is_some_and(|page| page.1.contains("unread_kept_seconds{"));
    assert!(!kept(), "nobody knows yet");
    // Rotation could not be further ahead.
    fs_err::remove_file(bed.log("a.log")).unwrap();
    eventually("a warning", || kept() && skald.err().contains("only held open"));
    assert_eq!(figure("unread_kept_seconds"), 0);
    bed.loki.answers().clear();
    bed.wait_for(&sent);
    eventually("the end", || figure("lag_bytes") == 0 && figure("lag_seconds") == 0 && !kept());
    let err = skald.stop_well();
    assert_eq!(err.matches("only held open").count(), 1, "{err}");
    assert_eq!(sent.found(bed.loki.store()), EXACT);
}
