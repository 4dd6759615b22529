//! What rules do with lines: from the text of a configuration to what is sent.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use expect_test::{Expect, expect};

use super::good;
use crate::model::{FileOffset, Now, Origin, Stamp, UnixNanos};
use crate::parse::{Join, Line, Parser, Piece, Plan, Verdict};

/// 2026-11-22T10:20:05Z.
pub(super) const NOW: Now =
    Now { mono: Duration::ZERO, wall: UnixNanos(1_795_342_805_000_000_000) };

/// The plan of a source with `rules`, a list in YAML's short form.
pub(super) fn plan(format: &str, rules: &str) -> Arc<Plan> {
    let config = good(&format!(
        "loki: {{url: 'http://loki'}}\nsources:\n  - files: /var/log/a.log\n    format: {format}\n    \
         rules:\n{rules}"
    ));
    Arc::new(Plan::compile(&config.sources[0].parse))
}

/// What becomes of each of `lines`, one a second.
pub(super) fn run(plan: &Arc<Plan>, lines: &[&str]) -> String {
    let mut parser = Parser::new(Arc::clone(plan), true);
    parser.set_origin(&Origin::from_iter([("filename", "/var/log/a.log")]));
    let (mut stamp, mut join, mut out) = (Stamp::default(), Join::default(), String::new());
    for (second, line) in (0..).zip(lines) {
        let mono = Duration::from_secs(second);
        let now = Now { mono, wall: NOW.wall.plus(mono) };
        let line = Line { bytes: line.as_bytes(), truncated_from: None };
        let piece = Piece { line, at: FileOffset(second * 100), ..Piece::default() };
        parser.piece(piece, &mut join, &mut stamp, now, |verdict| show(&mut out, plan, verdict));
        parser.taken();
        join.end();
    }
    out
}

fn show(out: &mut String, plan: &Plan, verdict: Verdict<'_>) {
    let entry = match verdict {
        Verdict::Emit(entry) => entry,
        Verdict::Drop(reason) => return writeln!(out, "dropped: {}", reason.name()).unwrap(),
        Verdict::NotBefore(at) => return writeln!(out, "not before {at:?}").unwrap(),
    };
    let labels = plan.label_names().iter().zip(entry.labels);
    let labels: Vec<_> = labels
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let pairs: Vec<_> =
        entry.metadata.iter().map(|pair| format!("{}={}", pair.name, pair.value)).collect();
    writeln!(out, "{{{}}} [{}] {}", labels.join(", "), pairs.join(", "), entry.line).unwrap();
}

/// `rules` are lines of YAML, without their dashes.
pub(super) fn check(rules: &[&str], lines: &[&str], expect: &Expect) {
    let rules: String = rules.iter().map(|rule| format!("      - {rule}\n")).collect();
    expect.assert_eq(&run(&plan("json", &rules), lines));
}

#[test]
fn fields_are_made_of_others() {
    check(
        &[
            "set: {route: '{method} {url}', who: '{user.name,user.id:-nobody}'}",
            "set: {none: '{absent}', brace: '{{x}}'}",
            "label: {route: {}}",
            "metadata: [who, none, brace]",
        ],
        &[
            r#"{"method":"GET","url":"/a\"b","user":{"id":7}}"#,
            r#"{"method":"GET","user":{"name":"","id":null}}"#,
            "{}",
            "not JSON",
        ],
        &expect![[r#"
            {route=GET /a"b} [who=7, brace={x}] {"method":"GET","url":"/a\"b","user":{"id":7}}
            {route=GET } [who=nobody, brace={x}] {"method":"GET","user":{"name":"","id":null}}
            {} [who=nobody, brace={x}] {}
            {} [who=nobody, brace={x}] not JSON
        "#]],
    );
}

#[test]
fn later_rules_see_what_earlier_ones_made() {
    check(
        &[
            "regex: {message: 'user=(?P<user>\\w+)(?: took (?P<took>[0-9.]+) s)?'}",
            "lowercase: user",
            "map: {user: {admin: root}}",
            "replace: {took: {pattern: '(\\d+)\\.\\d+', with: '$1'}}",
            "metadata: [user, took]",
            "set: {user: 'again {user}'}",
            "metadata: {late: {from: user}}",
        ],
        &[
            r#"{"message":"user=ADMIN took 12.75 s"}"#,
            r#"{"message":"user=Ümit"}"#,
            r#"{"message":"nobody","user":"BOB"}"#,
        ],
        &expect![[r#"
            {} [user=root, took=12, late=again root] {"message":"user=ADMIN took 12.75 s"}
            {} [user=ümit, late=again ümit] {"message":"user=Ümit"}
            {} [user=bob, late=again bob] {"message":"nobody","user":"BOB"}
        "#]],
    );
}

#[test]
fn elements_and_members_are_found() {
    check(
        &[
            "metadata: {first: {from: items.0.id}, second: {from: items.1}}",
            "metadata: ['context.*', 'ctx_*', 'a.b.x*z']",
            "metadata: id",
        ],
        &[
            r#"{"items":[{"id":"i-1"},"two"],"context":{"a":1,"b":"x\ny","c":{"d":[1]},"e":null,"f":""}}"#,
            r#"{"ctx_a":1,"ctx_b":true,"ct":2,"a":{"b":{"xz":"short","xyz":"long","xy":0}},"id":3}"#,
            r#"{"context":"no object","items":{}}"#,
            r#"{"context":{"a.b":1,"a_b":2,"é":3},"ctx_":4,"ctx_x.y":5,"ctx_x-y":6}"#,
        ],
        &expect![[r#"
            {} [first=i-1, second=two, context_a=1, context_b=x
            y, context_c={"d":[1]}] {"items":[{"id":"i-1"},"two"],"context":{"a":1,"b":"x\ny","c":{"d":[1]},"e":null,"f":""}}
            {} [id=3, ctx_a=1, ctx_b=true, a_b_xz=short, a_b_xyz=long] {"ctx_a":1,"ctx_b":true,"ct":2,"a":{"b":{"xz":"short","xyz":"long","xy":0}},"id":3}
            {} [] {"context":"no object","items":{}}
            {} [context_a_b=1, context__=3, ctx_=4, ctx_x_y=5] {"context":{"a.b":1,"a_b":2,"é":3},"ctx_":4,"ctx_x.y":5,"ctx_x-y":6}
        "#]],
    );
}

#[test]
fn lines_are_dropped_by_condition() {
    check(
        &[
            "drop: {level: [debug, trace], logger: {not: keep}}",
            "drop: {any: [{url: {contains: health}}, {url: {regex: '^/m'}}, {n: {gt: 5, le: 7.5}}]}",
            "drop: {$length: {gt: 60}}",
            "drop: {all: [{gone: {exists: false}}, {not: {ok: true}}]}",
        ],
        &[
            r#"{"ok":true,"level":"debug"}"#,
            r#"{"ok":true,"level":"debug","logger":"keep"}"#,
            r#"{"ok":true,"url":"/healthz"}"#,
            r#"{"ok":true,"url":"/metrics"}"#,
            r#"{"ok":true,"n":5}"#,
            r#"{"ok":true,"n":"5.1"}"#,
            r#"{"ok":true,"n":7.5}"#,
            r#"{"ok":true,"n":8}"#,
            r#"{"ok":true,"text":"0123456789012345678901234567890123456789"}"#,
            r#"{"ok":false}"#,
            r#"{"gone":1}"#,
        ],
        &expect![[r#"
            dropped: dropped_by_rule
            {} [] {"ok":true,"level":"debug","logger":"keep"}
            dropped: dropped_by_rule
            dropped: dropped_by_rule
            {} [] {"ok":true,"n":5}
            dropped: dropped_by_rule
            dropped: dropped_by_rule
            {} [] {"ok":true,"n":8}
            dropped: dropped_by_rule
            dropped: dropped_by_rule
            {} [] {"gone":1}
        "#]],
    );
}

#[test]
fn some_lines_have_rules_of_their_own() {
    check(
        &[
            "label: level",
            "when: {level: error}\n        then: [{metadata: [trace]}, {label: {kind: {from: type, default: other}}}]\n        else: [{when: {a: 1}, then: [{drop: {}}], else: [{line: '{message}'}]}]",
            "metadata: id",
        ],
        &[
            r#"{"level":"error","trace":"t","message":"m","id":1,"type":"io"}"#,
            r#"{"level":"error","id":2}"#,
            r#"{"level":"info","a":1}"#,
            r#"{"level":"info","a":2,"message":"the \u0041 message","trace":"t","id":3}"#,
            r#"{"level":"info"}"#,
        ],
        &expect![[r#"
            {level=error, kind=io} [trace=t, id=1] {"level":"error","trace":"t","message":"m","id":1,"type":"io"}
            {level=error, kind=other} [id=2] {"level":"error","id":2}
            dropped: dropped_by_rule
            {level=info} [id=3] the A message
            {level=info} [] {"level":"info"}
        "#]],
    );
}

#[test]
fn another_line_is_sent() {
    let lines = [
        r#"{"message":"said \"hi\"","n":1.50,"o":{"k":[1,"x"]},"s":"a b","e":"","z":null,"t":true}"#,
        "not JSON",
    ];
    check(
        &["line: logfmt"],
        &lines,
        &expect![[r#"
        {} [] message="said \"hi\"" n=1.50 o="{\"k\":[1,\"x\"]}" s="a b" e= t=true
        {} [] not JSON
    "#]],
    );
    check(
        &["line: '{n:-?} {message}'"],
        &lines,
        &expect![[r#"
        {} [] 1.50 said "hi"
        {} [] not JSON
    "#]],
    );
    check(
        &["replace: {$line: {pattern: 'said', with: did}}", "drop: {$line: {contains: said}}"],
        &lines,
        &expect![[r#"
            {} [] {"message":"did \"hi\"","n":1.50,"o":{"k":[1,"x"]},"s":"a b","e":"","z":null,"t":true}
            {} [] not JSON
        "#]],
    );
}

#[test]
fn where_a_line_comes_from_cannot_be_forged() {
    check(
        &["label: $filename", "metadata: {own: {from: '\"$filename\"'}, out: {from: $stream}}"],
        &[r#"{"$filename":"forged","filename":"forged"}"#],
        &expect![[r#"
            {filename=/var/log/a.log} [own=forged] {"$filename":"forged","filename":"forged"}
        "#]],
    );
    let rules = "      - label: $stream\n      - drop: {$age: {gt: 1h}}\n";
    let lines = [
        "2026-11-22T10:20:01.5Z stderr F a",
        "2026-11-22T10:20:01.5Z stdout P b",
        "2026-11-22T10:20:02Z stdout F c",
        "2026-11-22T09:20:01Z stdout F old",
        "plain",
    ];
    expect![[r#"
        {stream=stderr} [] a
        {stream=stdout} [] bc
        dropped: dropped_by_rule
        {} [] plain
    "#]]
    .assert_eq(&run(&plan("cri", rules), &lines));
}

#[test]
fn formats_lie_inside_each_other() {
    let rules = "      - metadata: [user, level]\n";
    expect![[r#"
        {} [user=x y, level=info] user="x y" level=info a.b=1
        {} [] user=z
    "#]]
    .assert_eq(&run(
        &plan("[cri, logfmt]", rules),
        &["2026-11-22T10:20:01.5Z stderr F user=\"x y\" level=info a.b=1", "user=z"],
    ));
    expect![[r#"
        {} [user=bob, level=WARN] WARN bob
        {} [] INFO eve
    "#]]
    .assert_eq(&run(
        &plan("[docker, {regex: '^(?P<level>[A-Z]+) (?P<user>\\S+)'}]", rules),
        &[r#"{"log":"WARN bob\n","stream":"stdout","time":"2026-11-22T10:20:01.5Z"}"#, "INFO eve"],
    ));
    expect![[r#"
        {} [user=eve, level=INFO] INFO eve
        {} [level=INFO] INFO 
        {} [] nothing
    "#]]
    .assert_eq(&run(
        &plan("{regex: '^(?P<level>[A-Z]+) (?P<user>\\S+)?'}", rules),
        &["INFO eve", "INFO ", "nothing"],
    ));
}

#[test]
fn times_are_read_as_they_are_written() {
    let of = |rule: &str, line: &str| {
        let plan = plan("json", &format!("      - timestamp: {rule}\n"));
        let mut parser = Parser::new(plan, true);
        let line = Line { bytes: line.as_bytes(), truncated_from: None };
        parser.line(line, &mut Stamp::default(), NOW, |verdict| match verdict {
            Verdict::Emit(entry) => {
                let pairs =
                    entry.metadata.iter().map(|pair| format!(" {}={}", pair.name, pair.value));
                format!("{}{}", entry.time, pairs.collect::<String>())
            }
            Verdict::Drop(reason) => reason.name().to_owned(),
            Verdict::NotBefore(_) => panic!("no limit"),
        })
    };
    let syslog = r#"{"t":"Nov 22 10:20:01"}"#;
    assert_eq!(of("{from: t, format: syslog}", syslog), "2026-11-22T10:20:01Z");
    let zoned = of("{from: t, format: [rfc3339, syslog], zone: '+02:00'}", syslog);
    assert_eq!(zoned, "2026-11-22T08:20:01Z");
    let own = of("{from: t, format: '%d.%m.%Y %H:%M'}", r#"{"t":"22.11.2026 10:20"}"#);
    assert_eq!(own, "2026-11-22T10:20:00Z");
    assert_eq!(of("{from: t, missing: drop}", "{}"), "no_time");
    let dropped = of("{from: t, missing: drop}\n      - drop: {a: 1}", r#"{"a":1}"#);
    assert_eq!(dropped, "dropped_by_rule");
    assert_eq!(of("{from: t, missing: read_time}", "{}"), "2026-11-22T10:20:05Z");
    let old = r#"{"t":"2025-11-22T10:20:05Z"}"#;
    assert_eq!(of("{from: t}", old), "too_old");
    let moved = "2026-11-22T10:20:05Z original_timestamp=2025-11-22T10:20:05Z";
    assert_eq!(of("{from: t, too_old: read_time}", old), moved);
    let future = r#"{"t":"2027-11-22T10:20:05Z"}"#;
    assert_eq!(of("{from: t, future: drop}", future), "in_future");
    let moved = "2026-11-22T10:20:05Z original_timestamp=2027-11-22T10:20:05Z";
    assert_eq!(of("{from: t}", future), moved);
}

#[test]
fn levels_have_one_spelling() {
    check(
        &[
            "level: [severity, level]",
            "drop: {level: debug}",
            "label: level",
            "metadata: {bad: {from: level, regex: '^(error|fatal)$'}}",
        ],
        &[
            r#"{"severity":"WARNING"}"#,
            r#"{"severity":"odd","level":40}"#,
            r#"{"level":"DBG"}"#,
            r#"{"level":"odd"}"#,
            r#"{"severity":3}"#,
        ],
        &expect![[r#"
            {level=warn} [] {"severity":"WARNING"}
            {level=warn} [] {"severity":"odd","level":40}
            dropped: dropped_by_rule
            {level=odd} [] {"level":"odd"}
            {level=error} [bad=error] {"severity":3}
        "#]],
    );
    check(
        &["level: {from: n, numbers: otel}", "keep: {level: {at_least: warn}}", "label: level"],
        &[r#"{"n":9}"#, r#"{"n":13}"#, r#"{"n":21}"#],
        &expect![[r#"
            dropped: dropped_by_rule
            {level=warn} [] {"n":13}
            {level=fatal} [] {"n":21}
        "#]],
    );
}

#[test]
fn private_things_leave_in_no_way() {
    check(
        &[
            "set: {early: 'to {user}'}",
            "metadata: [user, 'n']",
            "metadata: 'context.*'",
            "redact: [email, card]",
            "metadata: [early, card]",
            "label: {host: {from: host}}",
        ],
        &[
            r#"{"user":"a@b.org","n":1,"context":{"to":"c@d.org"},"card":4111111111111111,"host":"h"}"#,
        ],
        &expect![[r#"
            {host=h} [user=<email>, n=1, early=to <email>, card=<card>, context_to=<email>] {"user":"<email>","n":1,"context":{"to":"<email>"},"card":"<card>","host":"h"}
        "#]],
    );
    check(
        &[
            "redact: {what: {pattern: 'p=(\\w+)'}, in: message, with: pw}",
            "metadata: message",
            "redact: {what: ip, in: $line}",
        ],
        &[r#"{"message":"p=x1 10.0.0.1","n":"10.0.0.2"}"#],
        &expect![[r#"
            {} [message=p=<pw> 10.0.0.1] {"message":"p=x1 <ip>","n":"<ip>"}
        "#]],
    );
}

#[test]
fn colours_are_taken_out_before_all_else() {
    let config = good(
        "loki: {url: 'http://loki'}\nsources:\n  - files: /var/log/a.log\n    strip_ansi: true\n    \
         format: logfmt\n    rules: [label: level]\n",
    );
    let plan = Arc::new(Plan::compile(&config.sources[0].parse));
    let lines = ["\u{1b}[32mlevel\u{1b}[0m=info msg=x", "level=warn"];
    expect![[r#"
        {level=info} [] level=info msg=x
        {level=warn} [] level=warn
    "#]]
    .assert_eq(&run(&plan, &lines));
}
