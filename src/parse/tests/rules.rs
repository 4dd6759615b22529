//! What the rules make of fields, and how the plan resolves their conflicts.

use regex::Regex;

use super::{Field, Format, Options, Rule, field, first, label, metadata, options, parser, path};
use super::{Line, NOW, Plan, Verdict};
use crate::model::Stamp;

/// The labels and metadata of a JSON line.
fn check(options: &Options, line: &str, expected: &str) {
    let plan = Plan::compile(options);
    let (seen, _) = first(options, line.as_bytes(), |entry| {
        let labels = plan.label_names().iter().zip(entry.labels);
        let labels = labels.filter(|(_, value)| !value.is_empty());
        let labels: Vec<_> = labels.map(|(name, value)| format!("{name}={value}")).collect();
        let pairs = entry.metadata.iter();
        let pairs: Vec<_> = pairs.map(|pair| format!("{}={}", pair.name, pair.value)).collect();
        format!("{{{}}} [{}]", labels.join(" "), pairs.join(" "))
    });
    assert_eq!(seen, expected, "{line}");
}

fn with_rules(rules: Vec<Rule>) -> Options {
    Options { rules, ..options(Format::JSON) }
}

fn with_regex(name: &str, regex: &str) -> Options {
    let field = Field { regex: Some(Regex::new(regex).unwrap()), ..field(name, &["a", "b"]) };
    with_rules(vec![Rule::Metadata(vec![field])])
}

#[test]
fn the_first_candidate_with_a_value_is_taken() {
    let options = with_rules(vec![Rule::Label(vec![field("level", &["level", "severity.text"])])]);
    check(&options, r#"{"level":"a","severity":{"text":"b"}}"#, "{level=a} []");
    check(&options, r#"{"level":"","severity":{"text":"b"}}"#, "{level=b} []");
    check(&options, r#"{"level":null,"severity":{"text":"b"}}"#, "{level=b} []");
    check(&options, r#"{"level":[1],"severity":{"text":"b"}}"#, "{level=b} []");
    check(&options, r#"{"severity":{"text":"b","text":"c"}}"#, "{level=c} []");
    check(&options, r#"{"severity":{"text":"b"},"severity":{}}"#, "{} []");
    check(&options, r#"{"severity.text":"b"}"#, "{} []");
}

#[test]
fn quoted_dots_are_part_of_a_name() {
    let dotted = Field {
        from: vec![super::Path(vec!["a".to_owned(), "b.c".to_owned()])],
        ..field("x", &[])
    };
    let options = with_rules(vec![Rule::Label(vec![dotted])]);
    check(&options, r#"{"a":{"b.c":1,"b":{"c":2}}}"#, "{x=1} []");
    assert_ne!(path("a.b.c"), super::Path(vec!["a".to_owned(), "b.c".to_owned()]));
}

#[test]
fn regex_takes_the_best_group() {
    let line = r#"{"a":"key=v1 other=v2","b":"key=v3"}"#;
    check(&with_regex("x", r"key=\w+"), line, "{} [x=key=v1]");
    check(&with_regex("x", r"(\w+)=(\w+)"), line, "{} [x=key]");
    check(&with_regex("x", r"(\w+)=(?<y>\w+)"), line, "{} [x=v1]");
    check(&with_regex("x", r"(?<y>\w+)=(?<x>\w+)"), line, "{} [x=v1]");
    check(&with_regex("x", r"nothing"), line, "{} []");
    check(&with_regex("x", r"(v3)"), line, "{} [x=v3]");
    check(&with_regex("x", r"key(z)?"), line, "{} []");
    check(&with_regex("x", r"\d"), r#"{"a":"\u0061\n7"}"#, "{} [x=7]");
}

#[test]
fn map_and_default() {
    let level = Field {
        map: [("WARNING", "warn"), ("none", "")].map(|(a, b)| (a.to_owned(), b.to_owned())).into(),
        default: Some("info".to_owned()),
        ..field("level", &["level", "lvl"])
    };
    let options = with_rules(vec![Rule::Label(vec![level])]);
    check(&options, r#"{"level":"WARNING"}"#, "{level=warn} []");
    check(&options, r#"{"level":"warning"}"#, "{level=warning} []");
    check(&options, r#"{"level":"none","lvl":"x"}"#, "{level=x} []");
    check(&options, r#"{"level":"none"}"#, "{level=info} []");
    check(&options, "text", "{level=info} []");
}

#[test]
fn rules_win_over_base_labels() {
    let mut options = with_rules(vec![label(&["app", "x"])]);
    options.labels = [("b", "1"), ("app", "base"), ("a", "\u{FFFD}")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
    let plan = Plan::compile(&options);
    let base = [("a", " "), ("b", "1")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(plan.base_labels(), base);
    assert_eq!(plan.label_names(), ["app", "x"]);
    check(&options, r#"{"app":"line"}"#, "{app=line} []");
    check(&options, r#"{"x":"y"}"#, "{app=base x=y} []");
}

#[test]
fn one_name_is_one_thing() {
    let options = with_rules(vec![
        metadata(&["a", "b"]),
        label(&["a"]),
        Rule::Label(vec![field("a", &["c"])]),
        Rule::Metadata(vec![field("b", &["d"])]),
    ]);
    check(&options, r#"{"a":1,"b":2,"c":3,"d":4}"#, "{a=1} [b=2]");
    check(&options, r#"{"c":3,"d":4}"#, "{a=3} [b=4]");
    let warnings: Vec<_> =
        Plan::compile(&options).warnings().iter().map(|w| w.to_string()).collect();
    assert_eq!(warnings, ["`a` is a label; the metadata rule of that name does nothing"]);
}

#[test]
fn labels_over_the_limit_become_metadata() {
    let names: Vec<_> = (0..20).map(|idx| format!("l{idx}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let mut options = with_rules(vec![metadata(&["m"]), label(&names), label(&["service_name"])]);
    options.labels = vec![("base".to_owned(), "b".to_owned()), ("l15".to_owned(), "d".to_owned())];
    let plan = Plan::compile(&options);
    assert_eq!(plan.label_names()[..14], names[..14]);
    assert_eq!(plan.label_names()[14..], ["service_name"]);
    check(
        &options,
        r#"{"m":1,"l0":2,"l14":3,"l19":4,"service_name":"s"}"#,
        "{l0=2 service_name=s} [l14=3 l15=d l19=4 m=1]",
    );
    assert_eq!(plan.warnings().len(), 6);

    options.labels = (0..17).map(|idx| (format!("b{idx:02}"), format!("{idx}"))).collect();
    options.rules = vec![label(&["l"])];
    let plan = Plan::compile(&options);
    assert_eq!(plan.base_labels().len(), 15);
    check(&options, r#"{"l":1}"#, "{} [b15=15 b16=16 l=1]");
}

#[test]
fn demoted_labels_are_metadata() {
    let mut parser = parser(&with_rules(vec![metadata(&["m"]), label(&["a", "b"])]));
    let mut read = |demoted: &[bool]| {
        parser.set_demoted(demoted);
        let line = Line { bytes: br#"{"a":1,"b":2,"m":3}"#, truncated_from: None };
        parser.line(line, &mut Stamp::default(), NOW, |verdict| match verdict {
            Verdict::Emit(entry) => {
                let pairs =
                    entry.metadata.iter().map(|pair| format!("{}={}", pair.name, pair.value));
                (entry.labels.join("|"), pairs.collect::<Vec<_>>().join(" "))
            }
            verdict @ (Verdict::Drop(_) | Verdict::NotBefore(_)) => panic!("{verdict:?}"),
        })
    };
    let pair = |labels: &str, metadata: &str| (labels.to_owned(), metadata.to_owned());
    assert_eq!(read(&[false, false]), pair("1|2", "m=3"));
    assert_eq!(read(&[true, false]), pair("|2", "a=1 m=3"));
    assert_eq!(read(&[true, true]), pair("|", "a=1 b=2 m=3"));
    assert_eq!(read(&[false, false]), pair("1|2", "m=3"));
}
