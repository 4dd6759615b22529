//! What people type.

use std::io::Write as _;
use std::net::TcpStream;
use std::process::Stdio;
use std::time::Duration;

use super::support::oracle::EXACT;
use super::support::{Bed, Loki, Sent, Skald, address, eventually, skald};

struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
}

/// Runs a command that ends by itself.
fn ran(args: &[&str], input: &str) -> Ran {
    let mut command = skald();
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // Most commands do not read it.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    let out = child.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let (code, out, err) = (out.status.code(), text(out.stdout), text(out.stderr));
    assert!(!err.contains("panicked"), "{err}");
    Ran { code, out, err }
}

#[test]
fn people_are_helped() {
    for (args, code, out, err) in [
        (vec!["--help"], 0, "my-service | skald --url", ""),
        (vec!["run", "--help"], 0, "Patterns of files", ""),
        (vec!["--version"], 0, env!("CARGO_PKG_VERSION"), ""),
        (vec!["completions", "bash"], 0, "complete -F _skald", ""),
        (vec!["completions", "zsh"], 0, "#compdef skald", ""),
        (vec!["completions", "fish"], 0, "complete -c skald", ""),
        (vec!["completions", "tcsh"], 2, "", "possible values"),
        (vec!["frobnicate"], 2, "", "unrecognized"),
        (vec![], 2, "", "--url"),
        (vec!["run"], 2, "", "-c FILE"),
        (vec!["run", "/tmp/*.log"], 2, "", "--url"),
        (vec!["run", "-c", "/nowhere.yaml"], 2, "", "/nowhere.yaml"),
        (vec!["check", "-c", "/nowhere.yaml"], 2, "", "/nowhere.yaml"),
        (vec!["try", "/nowhere.log"], 2, "", "/nowhere.log"),
        (vec!["--url", "http://127.0.0.1:1", "--label", "app"], 2, "", "NAME=VALUE"),
        (vec!["--url", "http://127.0.0.1:1", "--label", "__a=b"], 2, "", "__a"),
        (vec!["--url", "http://127.0.0.1:1", "--deadline", "soon"], 2, "", "30s"),
        (vec!["run", "-c", "a.yaml", "--url", "http://127.0.0.1:1"], 2, "", "`--url`"),
        (vec!["run", "-c", "a.yaml", "--label", "a=b"], 2, "", "`--label`"),
        (vec!["run", "-c", "a.yaml", "/tmp/*.log"], 2, "", "`GLOB`"),
        (vec!["health", "--admin", "nowhere"], 2, "", "nowhere"),
    ] {
        let ran = ran(&args, "");
        assert_eq!(ran.code, Some(code), "{args:?}: {}", ran.err);
        assert!(ran.out.contains(out), "{args:?}: {}", ran.out);
        assert!(ran.err.contains(err), "{args:?}: {}", ran.err);
    }
}

#[test]
fn try_shows_what_each_line_becomes() {
    let now = super::support::oracle::now();
    let input = format!(
        "{{\"timestamp\":\"{now}\",\"level\":\"warn\",\"request_id\":\"r-1\",\"msg\":\"hello\"}}\n\
         plain text\n{{\"broken\n{{\"timestamp\":\"1999-12-31T23:59:59Z\"}}\n"
    );
    let ran = ran(&["try"], &input);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    for words in [
        r#"{level="warn"}"#,
        "request_id=r-1",
        "plain text",
        "flagged not_json",
        "flagged no_timestamp",
        "dropped: too_old",
        "4 lines, 2 streams:",
    ] {
        assert!(ran.out.contains(words), "no {words:?} in {}", ran.out);
    }
}

#[test]
fn try_and_check_agree_with_run() {
    let (bed, mut sent) = (Bed::new(), Sent::default());
    bed.append("a.log", sent.lines("a", 20));
    let config = bed.config().display().to_string();
    let checked = ran(&["check", "-c", &config], "");
    assert_eq!(checked.code, Some(0), "{}", checked.err);
    assert!(checked.out.contains("is fine"), "{}", checked.out);
    let tried = ran(&["try", "-c", &config, &bed.log("a.log").display().to_string()], "");
    assert_eq!(tried.code, Some(0), "{}", tried.err);
    let skald = bed.run();
    bed.wait_for(&sent);
    skald.stop_well();
    let stats = bed.loki.store().stats();
    assert_eq!(stats.per_stream.len(), 2, "{stats:?}");
    for (labels, count) in &stats.per_stream {
        let line = format!("  {count:>8}  {labels}");
        assert!(tried.out.contains(&line), "no {line:?} in {}", tried.out);
    }
    for copy in bed.loki.store().entries() {
        let line = format!("{} {}", copy.time, copy.labels);
        assert!(tried.out.contains(&line), "no {line:?} in {}", tried.out);
    }
}

#[test]
fn files_are_shipped_without_a_configuration() {
    let (loki, mut sent) = (Loki::start(), Sent::default());
    let folder = tempfile::tempdir().unwrap();
    fs_err::write(folder.path().join("a.log"), sent.lines("a", 20)).unwrap();
    for round in 0..2 {
        let mut command = skald();
        command.current_dir(folder.path()).env("XDG_STATE_HOME", folder.path().join("xdg"));
        command.args(["run", "--url", &loki.url(), "--label", "app=t", "*.log"]);
        let skald = Skald::spawn(&mut command);
        eventually("every line", || sent.arrived(loki.store()) == sent.count());
        eventually("the start", || skald.err().contains("reading file"));
        skald.stop_well();
        assert!(folder.path().join("xdg/skald/checkpoint").exists(), "round {round}");
    }
    assert_eq!(sent.found(loki.store()), EXACT);
}

#[test]
fn receive_takes_what_the_agent_sends() {
    let (listen, mut sent) = (address(3100).to_string(), Sent::default());
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.ndjson");
    let mut command = skald();
    command.args(["receive", "--listen", &listen, "--out"]).arg(&out);
    let receiver = Skald::spawn(&mut command);
    eventually("the receiver", || TcpStream::connect(&listen).is_ok());
    let url = format!("http://{listen}");
    let ran = ran(&["--url", &url, "--label", "app=t"], &sent.lines("in", 50));
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let text = fs_err::read_to_string(&out).unwrap();
    assert_eq!(text.lines().count(), 50);
    assert!(text.contains(r#""app":"t""#), "{text}");
    let taken = skald().args(["receive", "--listen", &listen]).output().unwrap();
    assert_eq!(taken.status.code(), Some(2));
    let ended = receiver.stop();
    assert_eq!(ended.code, Some(0), "{}", ended.err);
}

#[test]
fn the_demo_ends_by_itself() {
    let mut command = skald();
    command.stdout(Stdio::piped()).arg("demo");
    let mut skald = Skald::spawn(&mut command);
    let mut out = String::new();
    std::io::Read::read_to_string(&mut skald.stdout(), &mut out).unwrap();
    let ended = skald.wait_for(Duration::from_secs(60));
    assert_eq!(ended.code, Some(0), "{}\n{out}", ended.err);
    for words in ["2132 lines in", "request_id=", "MB/s"] {
        assert!(out.contains(words), "no {words:?} in {out}");
    }
}

#[test]
fn json_logs_are_json() {
    let loki = Loki::start();
    let ran = ran(&["--url", &loki.url(), "--log-format", "json"], "a line\n");
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert!(ran.err.lines().count() >= 2, "{}", ran.err);
    for line in ran.err.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(line["level"].is_string(), "{line}");
    }
}
