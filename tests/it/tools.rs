//! `skald try`, `test` and `suggest`, as people run them.

use std::path::PathBuf;
use std::process::{Output, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::support::skald;

struct Folder(TempDir);

impl Folder {
    fn new(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs_err::write(folder.path().join(name), text).unwrap();
        }
        Self(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    #[track_caller]
    fn run(&self, args: &[&str], code: i32) -> String {
        let Output { status, stdout, stderr } =
            skald().args(args).current_dir(self.0.path()).stdout(Stdio::piped()).output().unwrap();
        let (out, err) = (String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap());
        assert_eq!(status.code(), Some(code), "{out}{err}");
        out + &err
    }
}

const RULES: &str = "
loki: {url: http://loki}
sources:
  - files: /var/log/*.log
    multiline: {first: '^[{0-9]'}
    path: '/(?P<service>[a-z]+)\\.log$'
    rules:
      - timestamp: time
      - drop: {url: /health}
      - level: severity
      - when: {level: error}
        then: [{metadata: trace}]
      - label: [level, $service]
";

const LOG: &str = "\
{\"time\":\"2026-11-22T09:00:01Z\",\"severity\":\"ERR\",\"trace\":\"t-1\"}
{\"time\":\"2026-11-22T09:00:02Z\",\"url\":\"/health\"}
1 text
  goes on
";

#[test]
fn try_says_as_json_what_each_rule_did() {
    let folder = Folder::new(&[("skald.yaml", RULES), ("shop.log", LOG)]);
    let out = folder.run(&["try", "-c", "skald.yaml", "--json", "shop.log"], 0);
    let lines: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 4);
    assert_eq!(lines[0]["labels"], json!({"level": "error", "service": "shop"}));
    assert_eq!(lines[0]["metadata"], json!({"trace": "t-1"}));
    let did = |line: usize, rule: &str| {
        let rules = lines[line]["rules"].as_array().unwrap();
        rules.iter().find(|did| did["rule"] == *rule).unwrap()["did"].clone()
    };
    assert_eq!(did(0, "3"), json!(["field level=error"]));
    assert_eq!(did(0, "4 then 1"), json!(["metadata trace=t-1"]));
    assert_eq!(did(0, "5"), json!(["label level=error", "label service=shop"]));
    assert_eq!(lines[1]["dropped"], "dropped_by_rule");
    assert_eq!(did(1, "2"), json!(["dropped: dropped_by_rule"]));
    assert_eq!(lines[2]["line"], "1 text\n  goes on");
    let summary = &lines[3]["summary"];
    assert_eq!(summary["lines"], 4);
    assert_eq!(summary["dropped"], json!({"dropped_by_rule": 1}));
    assert_eq!(summary["label_values"], json!({"level": 1, "service": 1}));
}

#[test]
fn try_warns_where_a_label_explodes() {
    let line = |n: usize| format!("{{\"level\":\"l{n}\"}}\n");
    let log: String = (0..600).map(line).collect();
    let folder = Folder::new(&[("a.log", &log)]);
    let out = folder.run(&["try", "--summary", "a.log"], 0);
    assert!(out.contains("600 lines, 600 streams:\n"), "{out}");
    assert!(out.contains("and 580 more\n") && out.contains("lines a second\n"), "{out}");
    assert!(out.contains("600  values of `level` are over guard.values_max"), "{out}");
    assert!(out.lines().count() < 30, "{out}");
}

#[test]
fn test_compares_what_is_named() {
    let cases = "
config: skald.yaml
file: /var/log/shop.log
now: 2026-11-22T10:00:00Z
cases:
  - name: errors
    input: '{\"time\":\"2026-11-22T09:00:01Z\",\"severity\":\"ERR\",\"trace\":\"t-1\"}'
    expect:
      labels: {level: error, service: shop}
      metadata: {trace: t-1}
      time: 2026-11-22T09:00:01Z
      absent: [url]
  - name: entries of many lines
    input: |
      1 text
        goes on
      {\"url\":\"/health\"}
    expect: [{line: \"1 text\\n  goes on\", absent: level}, {dropped: dropped_by_rule}]
";
    let broken = cases.replace("service: shop", "service: pay").replace("goes on\\\"", "stops\\\"");
    let broken = broken.replace("{dropped: dropped_by_rule}", "{line: x}");
    let folder = Folder::new(&[
        ("skald.yaml", RULES),
        ("good.yaml", cases),
        ("bad.yaml", &broken),
        ("wrong.yaml", "cases: [{name: a, inputs: x}]"),
    ]);
    let out = folder.run(&["test", "good.yaml"], 0);
    assert!(out.ends_with("2 cases: 2 passed, 0 failed\n"), "{out}");
    let out = folder.run(&["test", "good.yaml", "bad.yaml"], 1);
    assert!(out.contains("label service: expected \"pay\", found \"shop\""), "{out}");
    assert!(
        out.contains("fate: expected \"an entry\", found \"dropped: dropped_by_rule\""),
        "{out}"
    );
    assert!(out.contains("4 cases: 2 passed, 2 failed"), "{out}");
    let out = folder.run(&["test", "wrong.yaml"], 1);
    assert!(out.contains("did you mean `input`?") && out.contains("wrong.yaml:1:"), "{out}");
    folder.run(&["test", "none.yaml"], 2);
}

/// What is suggested has no mistakes, and makes of the sample what one would expect.
fn suggested(log: &str, expected: &[&str]) -> String {
    let folder = Folder::new(&[("a.log", log)]);
    let yaml = folder.run(&["suggest", "a.log"], 0);
    for line in expected {
        assert!(yaml.lines().any(|other| other.trim() == *line), "no `{line}` in\n{yaml}");
    }
    fs_err::write(folder.path("s.yaml"), &yaml).unwrap();
    folder.run(&["check", "-c", "s.yaml"], 0);
    folder.run(&["try", "-c", "s.yaml", "--summary", "a.log"], 0)
}

#[test]
fn suggest_knows_a_log_of_json() {
    let line = |n: usize| {
        format!(
            "{{\"ts\":{},\"severity\":\"{}\",\"msg\":\"some words {n}\",\"http\":{{\"method\":\"{}\"}},\
             \"request_id\":\"{n:032x}\",\"took\":{n}.5}}\n",
            1_795_342_805_000_usize + n,
            ["INFO", "WARNING"][n % 2],
            ["GET", "PUT"][n % 2],
        )
    };
    let log: String = (0..200).map(line).collect();
    let expected = [
        "# 200 of 200 lines are json.",
        "format: json",
        "- timestamp: ts",
        "- level: severity",
        "- severity                     # 2 values in 200 lines",
        "- http.method                  # 2 values in 200 lines",
        "- request_id                   # 200 values in 200 lines",
    ];
    let out = suggested(&log, &expected);
    assert!(out.contains("200 lines, 2 streams:") && !out.contains("no_timestamp"), "{out}");
}

#[test]
fn suggest_knows_what_lies_in_a_wrapper() {
    let line =
        |n: u64| format!("2026-11-22T10:20:01Z stdout F level=info user_id=u{n} msg=\"a b\"\n");
    let log: String = (0..100).map(line).collect();
    suggested(
        &log,
        &["format: [cri, logfmt]", "- level                        # 1 values in 100 lines"],
    );
}

#[test]
fn suggest_knows_text_and_traces() {
    let line = |n: u64| {
        format!(
            "2026-11-22 10:20:0{},123 ERROR failed\nTraceback (most recent call last):\n  File \"a.py\", \
             line {n}, in f\nValueError: x\n2026-11-22 10:20:05,123 INFO next\n",
            n % 10
        )
    };
    let log: String = (0..20).map(line).collect();
    let out = suggested(&log, &["multiline: python", "- timestamp: time"]);
    assert!(out.contains("100 lines, 2 streams:") && !out.contains("no_timestamp"), "{out}");
    let nginx =
        "10.0.0.1 - - [22/Nov/2026:10:20:05 +0000] \"GET /a HTTP/1.1\" 200 12 \"-\" \"curl\"\n";
    let out = suggested(&nginx.repeat(60), &["- timestamp: {from: time, format: nginx}"]);
    assert!(!out.contains("no_timestamp"), "{out}");
}

#[test]
fn suggest_says_when_there_is_nothing_to_learn() {
    let folder = Folder::new(&[("a.log", "\n\n")]);
    let out = folder.run(&["suggest", "a.log"], 2);
    assert!(out.contains("no lines to learn from"), "{out}");
    assert!(
        suggested("words\nmore words\n", &["rules: []                      # there are no fields"])
            .contains("2 lines, 1 streams:")
    );
}
