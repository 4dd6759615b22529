//! The picker against its naive twin: serde_json builds the tree, the paths are looked up in it.

use proptest::prelude::*;
use serde_json::Value;

use super::path;
use crate::parse::fields::{Picked, Wanted};
use crate::parse::json::Picker;

const PATHS: [&str; 9] = ["a", "b", "a.b", "a.b.c", "b.a", "é", "", "level", "a.level"];

/// What a picker gives for one path: the text of a string, or the JSON of anything else.
#[derive(Debug, PartialEq)]
enum Field {
    Text(String),
    Json(Value),
}

fn picked(text: &str, paths: &[&str]) -> (bool, Vec<Option<Field>>) {
    picked_by(&mut Picker::new(), text, paths)
}

fn picked_by(picker: &mut Picker, text: &str, paths: &[&str]) -> (bool, Vec<Option<Field>>) {
    let mut wanted = Wanted::new();
    let slots: Vec<_> = paths.iter().map(|dotted| wanted.slot(&path(dotted))).collect();
    let mut picked = Picked::default();
    let ok = picker.pick(text, &wanted, &mut picked);
    let field = |slot: usize| {
        let found = picked.found[slot]?;
        let value = picked.get(found, text);
        // A string's span is inside its quotes: nothing else can follow a quote.
        let quoted = text.as_bytes()[..found.start.min(text.len())].ends_with(b"\"");
        let made = found.place == crate::parse::fields::Place::Made;
        Some(if !found.nested && (quoted || made) {
            Field::Text(value.to_owned())
        } else {
            Field::Json(serde_json::from_str(value).unwrap_or(Value::Null))
        })
    };
    (ok, slots.into_iter().map(field).collect())
}

fn naive(text: &str, paths: &[&str]) -> Option<Vec<Option<Field>>> {
    let value: Value = serde_json::from_str(text).ok()?;
    value.as_object()?;
    let field = |dotted: &&str| {
        let found = path(dotted).0.iter().try_fold(&value, |value, name| value.get(name));
        match found? {
            Value::Null => None,
            Value::String(text) => Some(Field::Text(text.clone())),
            Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
                Some(Field::Json(found?.clone()))
            }
        }
    };
    Some(paths.iter().map(field).collect())
}

fn check(text: &str) {
    let (ok, fields) = picked(text, &PATHS);
    if let Some(expected) = naive(text, &PATHS) {
        assert!(ok, "serde_json takes it: {text}");
        assert_eq!(fields, expected, "{text}");
    }
}

/// What `picker` finds is what it would find as the first line.
fn check_next(picker: &mut Picker, text: &str) {
    let (ok, fields) = picked_by(picker, text, &PATHS);
    assert_eq!((ok, fields), picked(text, &PATHS), "{text}");
    check(text);
}

/// For lines that serde_json refuses: that the picker sees it too, and what it has by then.
fn check_fault(text: &str, a: Option<&str>) {
    assert_eq!(naive(text, &PATHS), None, "{text}");
    let (ok, fields) = picked(text, &["a"]);
    assert!(!ok, "{text}");
    assert_eq!(fields[0], a.map(|a| Field::Text(a.to_owned())), "{text}");
}

#[test]
fn picks_what_serde_json_reads() {
    for text in [
        r#"{}"#,
        r#" { } "#,
        r#"{"a":1}"#,
        r#"{"a":-0.0e+10,"b":12345678901234567890123}"#,
        r#"{"a":"x","a":"y"}"#,
        r#"{"a":"x","a":null}"#,
        r#"{"a":{"b":1,"level":2},"a":{"b":{"c":3}}}"#,
        r#"{"a":{"b":{"c":3}},"a":5}"#,
        r#"{"a":{"b":{"c":3}},"a":{"b":null}}"#,
        r#"{"a":[{"b":1}],"b":{"a":[[]]}}"#,
        r#"{"\u0061":1,"l\u0065vel":"\u00e9\ud83d\ude00\/\b\f\n\r\t\\\"","\u00e9":true}"#,
        r#"{"":"","x":{"a":"\\"},"b":"}\"{","a":false}"#,
        r#"{"x":"\\","y":["]","\"]"],"a":"é\u0000"}"#,
        "\t{\"a\"\n:\r1 ,\"b\" :\"\u{0}\u{7f}\"}\n",
    ] {
        check(text);
    }
}

#[test]
fn sees_faults_in_what_it_reads() {
    for (text, a) in [
        ("", None),
        ("x", None),
        ("[]", None),
        ("{", None),
        (r#"{"a""#, None),
        (r#"{"a":"x"#, None),
        (r#"{"a":"x\"#, None),
        (r#"{"a":12"#, None),
        (r#"{"a":tru}"#, None),
        (r#"{"a":nulll}"#, None),
        (r#"{"a":}"#, None),
        (r#"{"a":"x"}}"#, Some("x")),
        (r#"{"a":"x","#, Some("x")),
        (r#"{"a":"x",}"#, Some("x")),
        (r#"{"a":"x" "b":1}"#, Some("x")),
        (r#"{"a":"x","b":[1}"#, Some("x")),
        (r#"{"a":"\ud800"}"#, None),
        (r#"{"a":"\ud800\u0041"}"#, None),
        (r#"{"a":"\udc00"}"#, None),
        (r#"{"a":"\u12"}"#, None),
        (r#"{"a":"\u+123"}"#, None),
        (r#"{"a":"\x"}"#, None),
    ] {
        check_fault(text, a);
    }
}

#[test]
fn depth_costs_no_stack() {
    for (open, close) in [("[", "]"), (r#"{"a":"#, "}"), (r#"{"x":"#, "}")] {
        let nested = format!("{}1{}", open.repeat(10_000), close.repeat(10_000));
        let text = format!(r#"{{"a":{nested},"level":"info"}}"#);
        let (ok, fields) = picked(&text, &["level"]);
        assert!(ok);
        assert_eq!(fields, [Some(Field::Text("info".to_owned()))]);
    }
}

#[test]
fn ten_thousand_fields() {
    let fields: Vec<_> = (0..10_000).map(|idx| format!(r#""key{idx}":"{idx}""#)).collect();
    let text = format!("{{{}}}", fields.join(","));
    let (ok, fields) = picked(&text, &["key0", "key9999", "key10000"]);
    assert!(ok);
    let expected = ["0", "9999"].map(|text| Some(Field::Text(text.to_owned())));
    assert_eq!(fields[..2], expected);
    assert_eq!(fields[2], None);
}

/// More keys than are remembered, in any order, and then again the same lines.
#[test]
fn lines_without_habits() {
    let mut rng = fastrand::Rng::with_seed(1);
    let mut picker = Picker::new();
    for round in 0..200 {
        let mut keys: Vec<_> = (0..30).map(|_| format!("key{}", rng.u32(..200))).collect();
        keys[3] = "a".to_owned();
        keys[9] = "level".to_owned();
        rng.shuffle(&mut keys[1..]);
        let fields: Vec<_> = keys.iter().map(|key| format!("\"{key}\": {round}")).collect();
        check_next(&mut picker, &format!("{{{}}}", fields.join(", ")));
        check_next(&mut picker, r#"{"level": "info", "message": "x", "a": {"b": 1}, "level": 2}"#);
    }
}

/// Lines that begin like one that was seen.
#[test]
fn habits_do_not_change_what_is_found() {
    let mut picker = Picker::new();
    for text in [
        r#"{"a": "x", "b": "y", "level": "info"}"#,
        r#"{"a": "x", "b": "y", "level": "info"}"#,
        r#"{"a": 1, "b": null, "level": {"a": "x", "b": 2}}"#,
        r#"{"a":"x","b":"y","level":"info"}"#,
        r#"{"a":  "x","b":	"y", "level": "info"}"#,
        r#"{"a": {"b": "x"}, "a": "x", "b": "y", "b": {"a": "x"}}"#,
        r#"{"a": "x", "b": {"a": "x"}, "level": "info", "b": "y"}"#,
        r#"{"a": "x", "b": "y"} "#,
        r#"{"a": "x", "b": "y", }"#,
        r#"{"a": "x" "b": "y", "level": "info"}"#,
        r#"{"a": "x", "b": "y", "level": "info""#,
        r#"{"a": "x", "b": "y", "level": "#,
        r#"{"a": "x", "b": "y", "level": "\""#,
        r#"{"a": "x", "b": "y", "level": tru}"#,
        r#"{"a key that is too long to be remembered": 1, "b": "y", "a": "x"}"#,
        r#", "b": "y", "a": "x"}"#,
        r#"{"a key that is too long to be remembered": 1{"a": "x", "b": "y"}"#,
        r#"{"a": "x}", "b": "\"y\\", "l\u0065vel": "\u0069nfo"}"#,
        r#"{"a": "x}", "b": "\"y\\", "l\u0065vel": "\u0069nfo"}"#,
        r#"{"a": "x", "b": "y", "level": "info"}}"#,
        r#"{"a": "x", "b": "y", "level": "info"}"#,
    ] {
        check_next(&mut picker, text);
    }
}

fn any_string() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => prop::sample::select(vec!["a", "b", "c", "é", "", "level", "other"])
            .prop_map(|name| format!("\"{name}\"")),
        2 => prop::collection::vec(
            prop::sample::select(vec![
                "x", "é", " ", "{", "}", "]", ",", ":", "\\\"", "\\\\", "\\n", "\\u0061",
                "\\ud83d\\ude00", "some longer text", "\u{1F600}",
            ]), 0..12).prop_map(|parts| format!("\"{}\"", parts.concat())),
    ]
}

fn any_space() -> impl Strategy<Value = &'static str> {
    prop_oneof![8 => Just(""), 1 => Just(" "), 1 => Just("\t\r ")]
}

/// JSON as text, with duplicate keys, escapes and white space.
fn any_json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        any_string(),
        prop::sample::select(vec!["null", "true", "false", "0", "-1.5", "12e3", "1E-2"])
            .prop_map(str::to_owned),
        any::<i64>().prop_map(|number| number.to_string()),
    ];
    leaf.prop_recursive(5, 48, 6, |inner| {
        prop_oneof![
            3 => any_object(inner.clone()),
            1 => prop::collection::vec(inner, 0..4)
                .prop_map(|items| format!("[{}]", items.join(", "))),
        ]
    })
}

fn any_object(value: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    prop::collection::vec((any_space(), any_string(), any_space(), value), 0..6).prop_map(|pairs| {
        let pairs: Vec<_> = pairs
            .into_iter()
            .map(|(before, key, space, value)| {
                format!("{before}{key}{space}:{space}{value}{before}")
            })
            .collect();
        format!("{{{}}}", pairs.join(","))
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn equals_the_tree(text in any_object(any_json())) {
        prop_assert!(naive(&text, &PATHS).is_some(), "the generator makes JSON: {}", text);
        check(&text);
    }

    /// Broken lines: never a panic, never another field than serde_json's where it takes them.
    #[test]
    fn survives_mutation(
        text in any_object(any_json()),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = text.into_bytes();
        for (index, byte) in changes {
            let len = bytes.len();
            bytes[index.index(len)] = byte;
        }
        check(&String::from_utf8_lossy(&bytes));
        bytes.truncate(cut.index(bytes.len() + 1));
        check(&String::from_utf8_lossy(&bytes));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    /// Lines with fields of one kind, some broken: what one taught changes nothing for the others.
    fn one_line_teaches_nothing_wrong(
        fields in prop::collection::vec((any_string(), any_space()), 1..6),
        lines in prop::collection::vec(
            prop::collection::vec((any::<prop::sample::Index>(), any_json()), 0..6), 1..8),
        changes in prop::collection::vec(
            (any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        let mut lines: Vec<Vec<u8>> = lines
            .into_iter()
            .map(|line| {
                let field = |(idx, (which, value)): (usize, (prop::sample::Index, String))| {
                    // Mostly in the same order.
                    let which = if which.index(8) == 0 { which.index(fields.len()) } else { idx };
                    let (key, space) = &fields[which % fields.len()];
                    format!("{key}:{space}{value}")
                };
                let fields: Vec<_> = line.into_iter().enumerate().map(field).collect();
                format!("{{{}}}", fields.join(", ")).into_bytes()
            })
            .collect();
        for (line, at, byte) in changes {
            let count = lines.len();
            let line = &mut lines[line.index(count)];
            let len = line.len();
            line[at.index(len)] = byte;
        }
        let mut picker = Picker::new();
        for line in lines.iter().chain(&lines) {
            check_next(&mut picker, &String::from_utf8_lossy(line));
        }
    }
}
