//! What each format makes of a line.

use expect_test::{Expect, expect};

use super::{Format, options, render};

fn check(format: Format, input: &str, expect: Expect) {
    expect.assert_eq(&render(&options(format), input.as_bytes()));
}

#[test]
fn json_lines_give_fields() {
    check(
        Format::JSON,
        concat!(
            r#"{"timestamp":"2026-11-22T10:20:01.5Z","level":"info","event_type":"login","user_id":42}"#,
            "\n",
            r#" { "ts" : 1795342802 , "level" : "wa\u0072n" , "user_id" : null, "trace_id" : "" } "#,
            "\n",
            r#"{"level":{"a":1},"event_type":[1],"request_id":{"a": [1, "]"]},"trace_id":true}"#,
        ),
        expect![[r#"
            2026-11-22T10:20:01.5Z {level="info", event_type="login"} [user_id="42"] "{\"timestamp\":\"2026-11-22T10:20:01.5Z\",\"level\":\"info\",\"event_type\":\"login\",\"user_id\":42}"
            2026-11-22T10:20:02Z {level="warn"} [] " { \"ts\" : 1795342802 , \"level\" : \"wa\\u0072n\" , \"user_id\" : null, \"trace_id\" : \"\" } "
            2026-11-22T10:20:02.000000001Z {} [request_id="{\"a\": [1, \"]\"]}", trace_id="true"] "{\"level\":{\"a\":1},\"event_type\":[1],\"request_id\":{\"a\": [1, \"]\"]},\"trace_id\":true}" !no_timestamp
        "#]],
    );
}

#[test]
fn json_demands_objects() {
    check(
        Format::JSON,
        "hello\n[1]\n\n{\"level\":\"info\"\n{\"level\":\"info\"} x\n{'level':'info'}",
        expect![[r#"
            2026-11-22T10:20:05Z {} [] "hello" !not_json no_timestamp
            2026-11-22T10:20:05.000000001Z {} [] "[1]" !not_json no_timestamp
            2026-11-22T10:20:05.000000002Z {} [] "" !not_json no_timestamp
            2026-11-22T10:20:05.000000003Z {level="info"} [] "{\"level\":\"info\"" !not_json no_timestamp
            2026-11-22T10:20:05.000000004Z {level="info"} [] "{\"level\":\"info\"} x" !not_json no_timestamp
            2026-11-22T10:20:05.000000005Z {} [] "{'level':'info'}" !not_json no_timestamp
        "#]],
    );
}

#[test]
fn auto_takes_each_line_as_it_is() {
    check(
        Format::AUTO,
        concat!(
            "plain text level=info\n",
            "\n",
            "{\"level\":\"info\"}\n",
            "  {\"level\": oops}\n",
            "{not json}\n",
            "2026-11-22T10:20:02.123456789Z stdout F {\"level\":\"warn\"}\n",
            "2026-11-22T10:20:03+01:00 stderr P:x part\n",
            "2026-11-22T10:20:03Z stdout F \n",
            "2026-11-22T10:20:03Z stdout F {\"time\":\"2026-11-22T10:20:04Z\",\"user_id\":\"u\"}\n",
            "2026-11-22T10:20:03Z stdout Full\n",
            "2026-11-22T10:20:03 stdout F no zone\n",
            r#"{"log":"{\"level\":\"error\"}\r\n","stream":"stderr","time":"2026-11-22T10:20:05.1Z"}"#,
            "\n",
            r#"{"log":"text\n","stream":"stderr","time":"2026-11-22T10:20:05.2Z","attrs":{}}"#,
            "\n",
            r#"{"log":"not docker","level":"info"}"#,
        ),
        expect![[r#"
            2026-11-22T10:20:05Z {} [] "plain text level=info" !no_timestamp
            2026-11-22T10:20:05.000000001Z {} [] "" !no_timestamp
            2026-11-22T10:20:05.000000002Z {level="info"} [] "{\"level\":\"info\"}" !no_timestamp
            2026-11-22T10:20:05.000000003Z {} [] "  {\"level\": oops}" !not_json no_timestamp
            2026-11-22T10:20:05.000000004Z {} [] "{not json}" !not_json no_timestamp
            2026-11-22T10:20:02.123456789Z {level="warn"} [] "{\"level\":\"warn\"}"
            2026-11-22T09:20:03Z {} [] "part"
            2026-11-22T10:20:03Z {} [] ""
            2026-11-22T10:20:04Z {} [user_id="u"] "{\"time\":\"2026-11-22T10:20:04Z\",\"user_id\":\"u\"}"
            2026-11-22T10:20:04.000000001Z {} [] "2026-11-22T10:20:03Z stdout Full" !no_timestamp
            2026-11-22T10:20:04.000000002Z {} [] "2026-11-22T10:20:03 stdout F no zone" !no_timestamp
            2026-11-22T10:20:05.1Z {level="error"} [] "{\"level\":\"error\"}"
            2026-11-22T10:20:05.2Z {} [] "text"
            2026-11-22T10:20:05.200000001Z {level="info"} [] "{\"log\":\"not docker\",\"level\":\"info\"}" !no_timestamp
        "#]],
    );
}

#[test]
fn wrappers_can_be_demanded() {
    check(
        Format::CRI,
        "2026-11-22T10:20:02Z stdout F text\n2026-11-22T10:20:02Z stdin F text\n{\"level\":\"info\"}",
        expect![[r#"
            2026-11-22T10:20:02Z {} [] "text"
            2026-11-22T10:20:02.000000001Z {} [] "2026-11-22T10:20:02Z stdin F text" !not_in_format no_timestamp
            2026-11-22T10:20:02.000000002Z {} [] "{\"level\":\"info\"}" !not_in_format no_timestamp
        "#]],
    );
    check(
        Format::DOCKER,
        concat!(
            r#"{ "time":"2026-11-22T10:20:05.1Z", "stream":"stdout", "log":"a\u0001" }"#,
            "\n",
            r#"{"stream":"stdout","log":"a"}"#,
            "\ntext"
        ),
        expect![[r#"
            2026-11-22T10:20:05.1Z {} [] "a\u{1}"
            2026-11-22T10:20:05.100000001Z {} [] "{\"stream\":\"stdout\",\"log\":\"a\"}" !not_in_format no_timestamp
            2026-11-22T10:20:05.100000002Z {} [] "text" !not_in_format no_timestamp
        "#]],
    );
}

#[test]
fn text_has_no_fields() {
    check(
        Format::TEXT,
        "{\"level\":\"info\"}\r\na\r\r",
        expect![[r#"
        2026-11-22T10:20:05Z {} [] "{\"level\":\"info\"}" !no_timestamp
        2026-11-22T10:20:05.000000001Z {} [] "a\r" !no_timestamp
    "#]],
    );
}

#[test]
fn logfmt_lines_give_fields() {
    check(
        Format::LOGFMT,
        concat!(
            "ts=2026-11-22T10:20:01Z level=info event_type=\"a \\\"b\\\" \\u00e9\" bare user_id=a=b\n",
            "level=info level=warn user_id=\n",
            "  x=\"C:\\Users\"   level=info  \n",
            "level=info user_id=\"open\n",
            "level=info user_id=\"\\q\" trace_id=t\n",
            "=x level=info\n",
            "no pairs here\n",
        ),
        expect![[r#"
            2026-11-22T10:20:01Z {level="info", event_type="a \"b\" é"} [user_id="a=b"] "ts=2026-11-22T10:20:01Z level=info event_type=\"a \\\"b\\\" \\u00e9\" bare user_id=a=b"
            2026-11-22T10:20:01.000000001Z {level="warn"} [] "level=info level=warn user_id=" !no_timestamp
            2026-11-22T10:20:01.000000002Z {level="info"} [] "  x=\"C:\\Users\"   level=info  " !no_timestamp
            2026-11-22T10:20:01.000000003Z {level="info"} [] "level=info user_id=\"open" !not_in_format no_timestamp
            2026-11-22T10:20:01.000000004Z {level="info"} [] "level=info user_id=\"\\q\" trace_id=t" !not_in_format no_timestamp
            2026-11-22T10:20:01.000000005Z {} [] "=x level=info" !not_in_format no_timestamp
            2026-11-22T10:20:01.000000006Z {} [] "no pairs here" !not_in_format no_timestamp
            2026-11-22T10:20:01.000000007Z {} [] "" !not_in_format no_timestamp
        "#]],
    );
}
