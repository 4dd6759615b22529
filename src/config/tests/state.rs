//! Rules that remember, draw, or say something to others.

use std::sync::Arc;

use expect_test::expect;

use super::rules::{NOW, check, plan, run};
use crate::model::Stamp;
use crate::parse::{Line, Parser, Verdict};

#[test]
fn errors_are_always_sampled() {
    check(
        &["sample: 0"],
        &[
            r#"{"level":"ERROR"}"#,
            r#"{"levelname":"CRITICAL"}"#,
            r#"{"log":{"level":"E"}}"#,
            r#"{"level":50}"#,
            r#"{"level":"warn","event_type":"error"}"#,
        ],
        &expect![[r#"
            {} [] {"level":"ERROR"}
            {} [] {"levelname":"CRITICAL"}
            {} [] {"log":{"level":"E"}}
            {} [] {"level":50}
            dropped: sampled
        "#]],
    );
}

#[test]
fn metrics_hear_of_lines() {
    let rules = "      - metrics: {n_total: {by: [a]}, sum_total: {value: n}, len: {kind: gauge, value: \
                 $length}}\n      - drop: {a: x}\n      - metrics: {late_total: {}}\n";
    let plan = plan("json", rules);
    let mut parser = Parser::new(Arc::clone(&plan), true);
    let mut seen = |line: &str, taken: bool| {
        let line = Line { bytes: line.as_bytes(), truncated_from: None };
        parser.line(line, &mut Stamp::default(), NOW, |_| ());
        if taken {
            parser.taken();
        }
        let seen = parser.observed().map(|seen| {
            let name = &plan.metrics()[seen.metric].name;
            format!("{name}{:?}={}", seen.labels, seen.value)
        });
        seen.collect::<Vec<_>>().join(" ")
    };
    let all = r#"n_total["y"]=1 sum_total[]=2.5 len[]=17 late_total[]=1"#;
    assert_eq!(seen(r#"{"a":"y","n":2.5}"#, true), all);
    assert_eq!(seen(r#"{"a":"y","n":2.5}"#, false), "", "it comes again");
    assert_eq!(seen(r#"{"a":"x","n":-1}"#, true), r#"n_total["x"]=1 len[]=16"#);
    assert_eq!(seen("text", true), r#"n_total[""]=1 len[]=4 late_total[]=1"#);
}

#[test]
fn lines_may_be_of_other_tenants() {
    let rules = "      - tenant: {from: org, map: {acme: team-a, globex: team-b}}\n      - when: {org: \
                 audit}\n        then: [{tenant: audit}]\n";
    let plan = plan("json", rules);
    assert_eq!(plan.tenants(), ["team-a", "team-b", "audit"]);
    let mut parser = Parser::new(Arc::clone(&plan), true);
    let lines = [r#"{"org":"globex"}"#, r#"{"org":"none"}"#, r#"{"org":"audit"}"#, "{}"];
    let tenants = lines.map(|line| {
        let line = Line { bytes: line.as_bytes(), truncated_from: None };
        parser.line(line, &mut Stamp::default(), NOW, |verdict| match verdict {
            Verdict::Emit(entry) => entry.tenant,
            verdict @ (Verdict::Drop(_) | Verdict::NotBefore(_)) => panic!("{verdict:?}"),
        })
    });
    assert_eq!(tenants, [2, 0, 3, 0]);
}

#[test]
fn a_share_of_requests_is_whole() {
    let plan = plan("json", "      - sample: {rate: 0.25, by: id, always: {level: error}}\n");
    let lines: Vec<String> =
        (0..400).map(|n| format!("{{\"id\":\"{}\",\"n\":{n}}}", n / 4)).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let seen = run(&plan, &lines);
    let kept: Vec<bool> = seen.lines().map(|line| line.starts_with('{')).collect();
    for request in kept.chunks(4) {
        assert!(request.iter().all(|kept| *kept == request[0]), "{request:?}");
    }
    let share = kept.iter().filter(|kept| **kept).count();
    assert!((60..140).contains(&share), "{share} of 400");
    assert_eq!(seen, run(&plan, &lines), "a replay decides alike");
    let mut lines = seen.lines().map(|line| line.split(" {").next().unwrap());
    assert!(lines.all(|line| matches!(line, "dropped: sampled" | "{} [sample_rate=0.25]")));
    let error = r#"{"id":"1","level":"error"}"#;
    expect![[r#"
        {} [] {"id":"1","level":"error"}
        {} [] {"id":"1","level":"error"}
    "#]]
    .assert_eq(&run(&plan, &[error; 2]));
}

#[test]
fn lines_without_a_name_are_drawn_by_their_place() {
    let plan = plan("json", "      - sample: 0.5\n");
    let lines = ["{}"; 200];
    let seen = run(&plan, &lines);
    let kept = seen.lines().filter(|line| line.starts_with('{')).count();
    assert!((60..140).contains(&kept), "{kept} of 200 lines that are alike");
    assert_eq!(seen, run(&plan, &lines));
}

#[test]
fn a_pace_is_kept() {
    let lines = [r#"{"a":1}"#, r#"{"a":1}"#, r#"{"a":2}"#, r#"{"a":2}"#, "{}", "{}"];
    check(
        &["limit: {lines_per_second: 0.4, burst: 1, by: a}"],
        &lines,
        &expect![[r#"
            {} [] {"a":1}
            dropped: rate_limited
            {} [] {"a":2}
            dropped: rate_limited
            {} [] {}
            dropped: rate_limited
        "#]],
    );
    check(
        &["limit: {lines_per_second: 0.25, burst: 2, over: wait}"],
        &lines,
        &expect![[r#"
            {} [] {"a":1}
            {} [] {"a":1}
            not before 4s
            not before 4s
            {} [] {}
            not before 8s
        "#]],
    );
}
