//! What the keys mean.

use std::time::Duration;

use expect_test::{Expect, expect};
use secrecy::ExposeSecret;

use super::super::{Flags, Input, names};
use super::{Config, env, good};
use crate::parse::Rule;
use crate::push::{Auth, Proxy, Secret};

/// A file whose `loki` has `text` beside the URL.
fn loki(text: &str) -> Config {
    good(&format!("loki:\n  url: https://loki\n  {text}\nsources: {{stdin: true}}\n"))
}

/// The rules of a source, one a line.
fn rules(text: &str, expect: &Expect) {
    let config =
        good(&format!("loki: {{url: 'http://loki'}}\nsources:\n  stdin: true\n  rules:\n{text}"));
    let lines: Vec<String> = config.sources[0].parse.rules.iter().map(show).collect();
    expect.assert_eq(&lines.join("\n"));
}

fn show(rule: &Rule) -> String {
    let path = |path: &crate::parse::Path| path.0.join(" > ");
    if let Rule::Timestamp { from, formats } = rule {
        let from: Vec<String> = from.iter().map(path).collect();
        return format!("timestamp {} {formats:?}", from.join(", "));
    }
    let (Rule::Label(fields) | Rule::Metadata(fields)) = rule else {
        return format!("{rule:?}");
    };
    let kind = if matches!(rule, Rule::Label(_)) { "label" } else { "metadata" };
    let field = |field: &crate::parse::Field| {
        let from: Vec<String> = field.from.iter().map(path).collect();
        let mut shown = format!("{} <- {}", field.name, from.join(", "));
        shown.extend(field.regex.as_ref().map(|regex| format!(" /{regex}/")));
        shown.extend(field.map.iter().map(|(from, to)| format!(" {from}={to}")));
        shown.extend(field.default.as_ref().map(|default| format!(" else {default}")));
        shown
    };
    let fields: Vec<String> = fields.iter().map(field).collect();
    format!("{kind} {}", fields.join("; "))
}

#[test]
fn rules_have_a_short_and_a_long_form() {
    rules(
        "    - label: level\n    - metadata: [a.b, '\"x.y\".z', user-id]\n    - timestamp: time\n",
        &expect![[r#"
            label level <- level
            metadata a_b <- a > b; x_y_z <- x.y > z; user_id <- user-id
            timestamp time []"#]],
    );
    rules(
        "    label:\n      - a\n      - b: {}\n        c: {from: [d, e.f], regex: '(x)$', map: \
         {X: y, Z: ''}, default: 1}\n",
        &expect!["label a <- a; b <- b; c <- d, e > f /(x)$/ X=y Z= else 1"],
    );
    rules(
        "    - timestamp: {from: '\"@timestamp\"', format: unix_ms}\n",
        &expect!["timestamp @timestamp [UnixMs]"],
    );
    rules("    []\n", &expect![""]);
}

#[test]
fn aliases_stand_for_values() {
    let config = good(
        "loki: {url: 'http://loki'}\nsources:\n  - stdin: true\n    rules: &rules [label: a]\n  \
         - files: /var/log/*.log\n    rules: *rules\n",
    );
    assert_eq!(show(&config.sources[1].parse.rules[0]), "label a <- a");
}

#[test]
fn a_push_url_needs_no_path() {
    let check = |url: &str, expected: &str| {
        let config = good(&format!("loki: {{url: \"{url}\"}}\nsources: [stdin: true]\n"));
        assert_eq!(config.push.url, expected);
    };
    check("http://loki:3100", "http://loki:3100/loki/api/v1/push");
    check("https://loki/", "https://loki/loki/api/v1/push");
    check("http://[::1]:3100", "http://[::1]:3100/loki/api/v1/push");
    check("http://gate/prefix/push", "http://gate/prefix/push");
    check("http://${LOKI_HOST}", "http://loki.example.com/loki/api/v1/push");
    check("http://${NONE:-loki}:80", "http://loki/loki/api/v1/push");
}

#[test]
fn variables_expand_once_and_in_values_only() {
    let check = |written: &str, expected: &str| {
        let config = good(&format!(
            "loki: {{url: 'http://loki'}}\nlabels: {{a: '{written}'}}\nsources: [stdin: true]\n"
        ));
        assert_eq!(config.labels, [("a".to_owned(), expected.to_owned())], "{written}");
    };
    check("x-${LOKI_HOST}-y", "x-loki.example.com-y");
    check("${NONE:-d}${EMPTY:-e}", "de");
    check("${EMPTY}x", "x");
    check("$$ $${LOKI_HOST} $LOKI_HOST $", "$ ${LOKI_HOST} $LOKI_HOST $");
    // What a variable holds is not expanded again, and is not YAML.
    check("${DOLLAR}", "${PASSWORD}");
    check("${NONE:-{x: [}", "{x: [");
}

#[test]
fn secrets_are_not_in_debug_output() {
    let config = loki("basic_auth: {username: u, password: '${PASSWORD}'}");
    assert!(!format!("{config:?}").contains("hunter2"));
    let Auth::Basic { username, password: Secret::Value(password) } = config.push.auth else {
        panic!("no basic auth")
    };
    assert_eq!(
        (username.as_str(), password.expose_secret()),
        ("u", "hunter2-from-the-environment")
    );
}

#[test]
fn loki_has_all_its_keys() {
    let config =
        loki("bearer_token_file: /run/secrets/t\n  proxy: http://u:p@proxy:8080\n  timeout: 1m");
    assert!(matches!(config.push.auth, Auth::Bearer(Secret::File(path)) if path.ends_with("t")));
    assert_eq!(config.push.proxy, Proxy::Url("http://u:p@proxy:8080/".to_owned()));
    assert_eq!(config.push.timeout, Duration::from_secs(60));
    let config = loki("headers: {X-Team: a}\n  proxy: none\n  tenant: it's.(me)*!-_");
    assert_eq!(config.push.headers, [("X-Team".to_owned(), "a".to_owned())]);
    assert_eq!(config.push.proxy, Proxy::None);
    assert_eq!(config.push.tenant.as_deref(), Some("it's.(me)*!-_"));
}

#[test]
fn a_source_may_have_a_tenant_of_its_own() {
    let config = good(
        "loki: {url: 'http://loki', tenant: a}\nsources:\n  - {files: /1, tenant: b}\n  - files: /2\n  \
         - {files: /3, tenant: a}\n  - {files: /4, tenant: b}\n",
    );
    let tenants: Vec<_> = config.sources.iter().map(|source| source.tenant.as_deref()).collect();
    assert_eq!(tenants, [Some("b"), Some("a"), Some("a"), Some("b")]);
    assert_eq!(config.tenants(), [Some("b".to_owned()), Some("a".to_owned())]);
    assert_eq!(config.tenant_share(), (1 << 20) + (512 << 10));
}

#[test]
fn the_labels_of_a_source_win() {
    let config = good(
        "loki: {url: 'http://loki'}\nlabels: {a: 1, version: 1.10}\nsources:\n  - stdin: true\n    \
         labels: {b: yes, a: 0x2}\n",
    );
    let pairs = |labels: &[(String, String)]| {
        let pairs: Vec<String> =
            labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
        pairs.join(" ")
    };
    assert_eq!(pairs(&config.sources[0].parse.labels), "a=0x2 version=1.10 b=yes");
    assert_eq!(pairs(&config.labels), "a=1 version=1.10");
}

#[test]
fn sources_without_a_name_get_one() {
    let config = good(
        "loki: {url: 'http://loki'}\nsources:\n  - stdin: true\n  - files: /a/*.log\n  - files: \
         [/b/*.log, /c/*.log]\n  - {name: /d, files: /e}\n  - files: /d\n",
    );
    let names: Vec<&str> = config.sources.iter().map(|source| source.name.as_str()).collect();
    assert_eq!(names, ["stdin", "/a/*.log", "/b/*.log", "/d", "/d (2)"]);
}

#[test]
fn paths_of_fields() {
    let check = |text: &str, names: &[&str]| {
        assert_eq!(names::parse_path(text).unwrap().0, names, "{text}");
    };
    check("a", &["a"]);
    check("a.b.c", &["a", "b", "c"]);
    check("\"a.b\".c", &["a.b", "c"]);
    check("a.\"b\\\"c\\\\\"", &["a", "b\"c\\"]);
    check("@timestamp", &["@timestamp"]);
    check("größe.x y", &["größe", "x y"]);
}

fn flags(globs: &[&str]) -> Flags {
    Flags {
        url: "http://loki:3100".to_owned(),
        labels: vec![("app".to_owned(), "veogen".to_owned())],
        globs: globs.iter().map(|glob| (*glob).to_owned()).collect(),
        folder: "/home/[me]/logs".into(),
        state_dir: None,
        admin: None,
    }
}

#[test]
fn flags_make_a_configuration() {
    let (config, report) = Config::from_flags(&flags(&[]), &env).unwrap();
    assert!(report.problems().is_empty());
    assert_eq!((config.state_dir.as_ref(), config.admin_listen), (None, None));
    assert!(config.is_stdin_only());
    assert_eq!(config.sources[0].input, Input::Stdin);
    assert_eq!(config.sources[0].parse.labels, [("app".to_owned(), "veogen".to_owned())]);
    assert_eq!(config.push.url, "http://loki:3100/loki/api/v1/push");

    let home = |name: &str| (name == "HOME").then(|| "/home/me".to_owned());
    let files = flags(&["a/*.log", "./b.log", "../c.log", "/d.log"]);
    let (config, _) = Config::from_flags(&files, &home).unwrap();
    assert_eq!(config.state_dir.as_deref(), Some("/home/me/.local/state/skald".as_ref()));
    let Input::Files { globs, .. } = &config.sources[0].input else { panic!("no files") };
    let folder = "/home/[[]me[]]";
    let expected = [
        format!("{folder}/logs/a/*.log"),
        format!("{folder}/logs/b.log"),
        format!("{folder}/c.log"),
    ];
    assert_eq!(globs[..3], expected);
    assert_eq!(globs[3], "/d.log");

    let given = Flags { state_dir: Some("state".into()), admin: Some("[::1]:0".into()), ..files };
    let (config, _) = Config::from_flags(&given, &env).unwrap();
    assert_eq!(config.state_dir.as_deref(), Some("/home/[me]/logs/state".as_ref()));
    assert!(config.admin_listen.is_some());
}

#[test]
fn mistakes_in_flags_are_shown_in_the_command_line() {
    let wrong = Flags {
        url: "http://u:hunter2@l".to_owned(),
        labels: vec![("-".to_owned(), "\n".to_owned())],
        folder: "/".into(),
        admin: Some("1".to_owned()),
        ..flags(&["["])
    };
    let report = Config::from_flags(&wrong, &env).unwrap_err();
    expect![[r#"
        error: credentials in a URL
         --> the command line:1:13
          |
        1 | skald --url http://***@l --label -=  --admin 1 /[
          |             ^^^^^^^^^^^^ a name or password before the `@`
          |
        hint: use `basic_auth: {username: …, password_file: …}`: it is never shown

        error: `-` cannot be the name of a label
         --> the command line:1:34
          |
        1 | skald --url http://***@l --label -=  --admin 1 /[
          |                                  ^ not letters, digits and `_`, or a digit first
          |
        hint: write `_`

        error: `1` is not an address to listen on
         --> the command line:1:46
          |
        1 | skald --url http://***@l --label -=  --admin 1 /[
          |                                              ^ not `address:port`
          |
        hint: write an address and a port: `127.0.0.1:9464` or `[::1]:9464`

        error: `/[` is not a pattern of files
         --> the command line:1:48
          |
        1 | skald --url http://***@l --label -=  --admin 1 /[
          |                                                ^^ unclosed character class; missing ']'
          |
        hint: `*` is any name, `**` any folders, `{a,b}` either, `[ab]` one of them

        error: no folder to keep checkpoints in
        --> the command line
         |
        hint: give one with `--state-dir`: $HOME is not set

        error: 5 mistakes in the command line
    "#]]
    .assert_eq(&report.render(false));
}
