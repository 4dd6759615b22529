//! The label parser: tables, and what must hold for any text.

use proptest::prelude::*;

use super::super::Labels;

#[track_caller]
fn check(text: &str, expected: Result<&str, &str>) {
    let got = Labels::parse(text).map(|l| l.to_string()).map_err(|e| e.to_string());
    assert_eq!(got, expected.map(str::to_owned).map_err(str::to_owned), "{text}");
}

#[test]
fn sets_are_sorted_and_quoted_anew() {
    check("{}", Ok("{}"));
    check("", Ok("{}"));
    check(r#"{b="2", a="1"}"#, Ok(r#"{a="1", b="2"}"#));
    check("{ \tb = '2' ,\n a=`1`, } # end", Ok(r#"{a="1", b="2"}"#));
    check("{# comment }\na=\"1\"}", Ok(r#"{a="1"}"#));
    check(r#"foo{a="b", __name__="x"}"#, Ok(r#"{__name__="foo", a="b"}"#));
    check(r#"{a=""}"#, Ok("{}"));
    check(r#"{a="", a="2", b="3"}"#, Ok(r#"{b="3"}"#));
    check(r#"{a="1", a="2"}"#, Ok(r#"{a="1", a="2"}"#));
}

#[test]
fn escapes_are_those_of_go() {
    check(r#"{a="\a\b\f\n\r\t\v\\\""}"#, Ok(r#"{a="\a\b\f\n\r\t\v\\\""}"#));
    check(r#"{a='\'"'}"#, Ok(r#"{a="'\""}"#));
    check("{a=`\\n\n`}", Ok(r#"{a="\\n\n"}"#));
    check(r#"{a="\101\x41\u0041\U00000041é"}"#, Ok(r#"{a="AAAAé"}"#));
    check(r#"{a="\xc3\xa9"}"#, Ok(r#"{a="é"}"#));
    check("{a=\"\0\x01\r\x7f\u{feff}\u{ffff}\"}", Ok(r#"{a="\x00\x01\r\x7f\ufeff\uffff"}"#));
    check("{a=\"\u{85}\u{a0}\u{301}\u{f0000}\"}", Ok("{a=\"\\u0085\\u00a0\u{301}\\U000f0000\"}"));
    check(r#"{a="\ufffd"}"#, Ok("{a=\"\u{fffd}\"}"));
}

#[test]
fn what_loki_cannot_parse_is_refused() {
    let at = |column, what| format!("1:{column}: parse error: {what}");
    let inside = |c| format!("unexpected character inside braces: {c}");
    for (text, error) in [
        (r#"{a.b="v"}"#, at(3, &*inside("'.'"))),
        (r#"{1a="v"}"#, at(2, &inside("'1'"))),
        (r#"{é="v"}"#, at(2, &inside("'é'"))),
        (r#"{a:b="v"}"#, at(3, &inside("':'"))),
        (
            r#"{"a.b"="v"}"#,
            at(2, r#"unexpected string "\"a.b\"" in label set, expected identifier or "}""#),
        ),
        (r#"{="v"}"#, at(2, r#"unexpected "=" in label set, expected identifier or "}""#)),
        (r#"{a="v",,}"#, at(8, r#"unexpected "," in label set, expected identifier or "}""#)),
        (
            r#"{a="v" b="w"}"#,
            at(8, r#"unexpected identifier "b" in label set, expected "," or "}""#),
        ),
        (r#"{a}"#, at(3, r#"unexpected "}" in label set, expected "=""#)),
        (r#"{a=b}"#, at(4, r#"unexpected identifier "b" in label set, expected string"#)),
        (r#"{a="v""#, at(7, "unexpected end of input inside braces")),
        (r#"{a="v"} x"#, at(9, r#"unexpected identifier "x""#)),
        (r#"{a="\/"}"#, at(4, "unknown escape sequence U+002F '/'")),
        (r#"{a="\'"}"#, at(4, "unknown escape sequence U+0027 '''")),
        ("{a=\"x\ny\"}", at(4, "unterminated quoted string")),
        (r#"{a="x"#, at(4, "unterminated quoted string")),
        (r#"{a="\ud83d"}"#, at(4, "escape sequence is an invalid Unicode code point")),
        (r#"{a="\400"}"#, at(4, "escape sequence is an invalid Unicode code point")),
        (r#"{a="\0"}"#, at(4, "illegal character U+0022 '\"' in escape sequence")),
        (r#"{a="\"#, at(4, "escape sequence not terminated")),
        ("{a=\"x\u{fffd}\"}", at(4, "invalid UTF-8 rune")),
        (r#"{a!="v"}"#, at(3, r#"unexpected <op:!=> in label set, expected "=""#)),
        (r#"{a="v"}}"#, at(8, "unexpected character: '}'")),
        (r#"{a="\xff"}"#, at(4, "invalid UTF-8 rune")),
    ] {
        check(text, Err(&error));
    }
}

proptest! {
    /// Whatever a set holds, its print is read back as the same set.
    #[test]
    fn a_printed_set_is_read_back(
        pairs in prop::collection::btree_map("[a-zA-Z_][a-zA-Z0-9_]{0,5}", "[^\u{fffd}]{1,9}", 0..5)
    ) {
        let labels = Labels::from_pairs(pairs.into_iter().collect());
        prop_assert_eq!(Labels::parse(&labels.to_string()), Ok(labels));
    }

    /// Nothing makes the parser panic, and what it takes it prints in a way that it takes again.
    #[test]
    fn any_text_is_read_or_refused(text in "[{}a=\"'`,\\\\#\n u0fé\u{fffd}.]{0,24}") {
        if let Ok(labels) = Labels::parse(&text) {
            prop_assert_eq!(Labels::parse(&labels.to_string()), Ok(labels));
        }
    }
}
