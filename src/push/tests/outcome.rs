//! Every row of the push contract's sections 4, 9 and 11 that has an answer.

use crate::model::Reason;
use crate::push::outcome::refill;
use crate::push::{Answer, Facts, Failure, Outcome, StreamLimit, StructuredMetadata, outcome};

/// An outcome without its texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    Delivered,
    Retry,
    Split,
    Apart,
    Isolate,
    Behind,
    Slow,
    Rejected,
    TooLarge,
    Hold,
    Without,
}
use Shape::{
    Apart, Behind, Delivered, Hold, Isolate, Rejected, Retry, Slow, Split, TooLarge, Without,
};

fn shape(outcome: &Outcome) -> Shape {
    match outcome {
        Outcome::Delivered => Delivered,
        Outcome::Retry { .. } => Retry,
        Outcome::Split => Split,
        Outcome::Apart => Apart,
        Outcome::Isolate => Isolate,
        Outcome::Behind => Behind,
        Outcome::Slow { .. } => Slow,
        Outcome::Bury(Reason::TooLarge) => TooLarge,
        Outcome::Bury(_) => Rejected,
        Outcome::Hold { .. } => Hold,
        Outcome::WithoutMetadata => Without,
    }
}

const MANY: Facts = Facts {
    entries: 10,
    streams: 3,
    repeats: 1,
    split_tried: false,
    metadata: StructuredMetadata::Auto,
};

fn status(code: u16, body: &str) -> Answer {
    Answer::Status { code, body: body.to_owned(), retry_after: None }
}

/// As Loki 3.4.6 words it, in lower case as newer ones do, and with the newline of `http.Error`.
fn check(code: u16, body: &str, facts: Facts, want: Shape) {
    let last = format!("{body}\n");
    for text in [body, &body.to_lowercase(), &last] {
        let got = outcome(&status(code, text), facts);
        assert_eq!(shape(&got), want, "{code} {text} {facts:?}: {got:?}");
    }
}

/// For a push of many streams, for one of one stream, and for one of a single entry.
fn check_all(code: u16, body: &str, [many, stream, single]: [Shape; 3]) {
    check(code, body, MANY, many);
    check(code, body, Facts { streams: 1, ..MANY }, stream);
    check(code, body, Facts { entries: 1, streams: 1, ..MANY }, single);
}

/// The same for many entries, of however many streams, and for a single one.
fn check_both(code: u16, body: &str, many: Shape, single: Shape) {
    check_all(code, body, [many, many, single]);
}

const STREAM: &str = r#"{app="shop", service_name="shop"}"#;
const RATE: &str = "Ingestion rate limit exceeded for user fake (limit: 4194304 bytes/sec) while \
                    attempting to ingest '7168' lines totaling '7282688' bytes, reduce log volume \
                    or contact your Loki administrator to see if the limit can be increased";
const DISALLOWED: &str = "stream '{app=\"a\"}' includes structured metadata, but this feature is \
                          disallowed. Please see `limits_config.allow_structured_metadata` or \
                          contact your Loki administrator to enable it.";
const GRPC: &str = "rpc error: code = ResourceExhausted desc = grpc: received message larger \
                    than max (5442626 vs. 4194304)";

#[test]
fn refusals_of_data_are_isolated() {
    let rows = [
        "snappy: corrupt input",
        "unexpected EOF",
        "proto: wrong wireType = 0 for field Streams",
        "proto: PushRequest: illegal tag 0 (wire type 0)",
        "mime: no media type",
        "Content-Encoding \"zstd\" not supported",
        "readObjectStart: expect { or n, but found \u{fffd}",
        "couldn't parse labels: 1:19: parse error: invalid UTF-8 rune",
        "couldn't parse labels: 1:20: parse error: unexpected character inside braces: '.'",
        "couldn't parse labels: 1:20: parse error: unknown escape sequence U+002F '/'",
        "unexpected string \"\\\"a.b\\\"\" in label set, expected identifier or \"}\"",
        "Error parsing labels '{a=\"\u{fffd}\"}' with error: 1:4: parse error: invalid UTF-8 rune",
        "error at least one label pair is required per stream",
        "entry for stream '{app=\"a\"}' has 16 label names; limit 15",
        "stream '{app=\"a\"}' has label name too long: 'nnn...'",
        "stream '{app=\"a\"}' has label value too long: 'vvv...'",
        "stream '{app=\"a\"}' has duplicate label name: 'a'",
        "1 errors like: entry for stream '{app=\"a\"}' has timestamp too old: T, oldest acceptable \
         timestamp is: T; 1 errors like: Max entry size '262144' bytes exceeded for stream \
         '{app=\"a\"}' while adding an entry with length '262145' bytes; 1 errors like: entry for \
         stream '{app=\"a\"}' has timestamp too new: T",
        "stream '{app=\"a\"}' has structured metadata too large: '65537' bytes, limit: '65536' \
         bytes. Please see `limits_config.max_structured_metadata_size`",
        "stream '{app=\"a\"}' has too many structured metadata labels: '129', limit: '128'.",
        "timestamp: &types.Timestamp{Seconds: 1768467600,\nNanos: 1000000000,\n}: nanos not in \
         range [0, 1e9)",
        "timestamp: &types.Timestamp{Seconds: -62135596801,\n} before 0001-01-01",
        "",
    ];
    for body in rows {
        check_both(400, body, Isolate, Rejected);
    }
    for text in ["label name is empty", "label name cannot be empty"] {
        check_both(500, &format!("rpc error: code = Unknown desc = {text}"), Isolate, Rejected);
    }
    check_both(422, "cannot use this", Isolate, Rejected);
}

/// What an ingester refuses is not all in its answer: it is asked stream by stream.
#[test]
fn verdicts_that_hide_others_are_asked_for_stream_by_stream() {
    let ignored = |reason: &str| {
        format!(
            "entry with timestamp 2026-01-15 07:00:00.18282 +0000 UTC ignored, reason: '{reason}',\n\
             user 'fake', total ignored: 1 out of 10 for stream: {{app=\"a\"}}"
        )
    };
    let behind = "entry too far behind, entry timestamp is: T, oldest acceptable timestamp is: T";
    check_all(400, &ignored(behind), [Apart, Behind, Behind]);
    check_all(400, &ignored("entry out of order"), [Apart, Isolate, Rejected]);
    check_all(400, "1:4: parse error: invalid UTF-8 rune", [Apart, Isolate, Rejected]);
    let no_schema = "rpc error: code = Unknown desc = failed to create stream: no schema config found for time 5";
    check_all(500, no_schema, [Apart, Isolate, Rejected]);
    let count =
        "Maximum active stream limit exceeded when trying to create stream {a=\"b\"}, reduce";
    check_all(429, count, [Apart, Slow, Slow]);
    let rate = |limit: &str| {
        ignored(&format!(
            "Per stream rate limit exceeded (limit: {limit}/sec) while attempting to ingest for \
             stream '{STREAM}' totaling 500B, consider splitting a stream"
        ))
    };
    check_all(429, &rate("3MB"), [Apart, Slow, Slow]);
    for (text, want) in [
        ("500B", Some(500)),
        ("1KB", Some(1024)),
        ("1.5KB", Some(1536)),
        ("3MB", Some(3 << 20)),
        ("1GB", Some(1 << 30)),
        ("-1B", None),
        ("much", None),
    ] {
        let facts = Facts { streams: 1, ..MANY };
        let got = outcome(&status(429, &rate(text)), facts);
        let Outcome::Slow { limit: StreamLimit::Rate(got), .. } = got else { panic!("{got:?}") };
        assert_eq!(got, want, "{text}");
    }
}

#[test]
fn a_rate_limit_says_when_its_bucket_has_room() {
    let after = |code, body: &str| {
        let answer = Answer::Status { code, body: body.to_owned(), retry_after: None };
        refill(&answer)
    };
    let ms = |ms| Some(std::time::Duration::from_millis(ms));
    assert_eq!(after(429, RATE), ms(7_282_688 * 1000 / 4_194_304));
    assert_eq!(after(429, "Per stream rate limit exceeded (limit: 3MB/sec)"), None);
    assert_eq!(after(500, RATE), None);
}

#[test]
fn what_is_too_large_is_split() {
    check_both(500, GRPC, Split, TooLarge);
    check_both(400, "received message larger than max (4294967295 vs 2147483647)", Split, TooLarge);
    for body in ["request body too large: 104857601", "<html>413 Request Entity Too Large</html>"] {
        check_both(413, body, Split, TooLarge);
    }
    check_both(429, RATE, Retry, Retry);
    let again = Facts { repeats: 2, ..MANY };
    check(429, RATE, again, Split);
    check(429, RATE, Facts { entries: 1, ..again }, Retry);
    let within = RATE.replace("7282688", "4194304");
    check(429, &within, Facts { repeats: 3, ..MANY }, Retry);
    check(429, &within, Facts { repeats: 4, ..MANY }, Split);
}

#[test]
fn what_passes_by_itself_is_tried_again() {
    let rows = [
        (408, ""),
        (429, ""),
        (499, ""),
        (500, "empty ring"),
        (500, "at least 2 live replicas required, could only find 1"),
        (500, "Ingester is shutting down"),
        (500, "rpc error: code = DeadlineExceeded desc = context deadline exceeded"),
        (500, "context canceled"),
        (502, "<html>502 Bad Gateway</html>"),
        (503, "The server cannot accept more requests at this time."),
        (503, "circuit breaker open, request denied"),
        (503, "ingestion blocked for user b until '2026-01-15T14:00:00Z' with status code '503'"),
        (504, ""),
        (529, ""),
    ];
    for (code, body) in rows {
        check_both(code, body, Retry, Retry);
    }
    for kind in [Failure::Connect, Failure::Timeout, Failure::Broken] {
        let answer = Answer::Failed { text: "cannot connect to loki:3100".into(), kind };
        assert_eq!(shape(&outcome(&answer, MANY)), Retry);
    }
}

#[test]
fn equal_500s_are_split_once() {
    for (repeats, split_tried, want) in [(4, false, Retry), (5, false, Split), (5, true, Retry)] {
        check(500, "panic", Facts { repeats, split_tried, ..MANY }, want);
    }
    check(500, "panic", Facts { entries: 1, repeats: 5, ..MANY }, Retry);
    check(503, "panic", Facts { repeats: 5, ..MANY }, Retry);
}

#[test]
fn what_somebody_must_fix_is_held() {
    let blocked = "ingestion blocked for user b260 until 'T' with status code '260'";
    let rows = [
        (260, blocked),
        (201, ""),
        (202, ""),
        (206, ""),
        (301, ""),
        (302, ""),
        (308, ""),
        (400, "no org id"),
        (400, "multiple org IDs present"),
        (400, "tenant ID 'a b' contains unsupported character ' '"),
        (400, "tenant ID is too long: max 150 characters"),
        (400, "tenant ID is '.' or '..'"),
        (400, "missing required labels env,team for user enf"),
        (400, "3 errors like: missing required labels team for user enf"),
        (401, "no org id"),
        (402, ""),
        (403, "forbidden"),
        (404, "404 page not found"),
        (405, ""),
        (410, ""),
        (422, "error at least one valid stream is required for ingestion"),
        (431, ""),
        (501, ""),
        (100, ""),
        (999, ""),
    ];
    for (code, body) in rows {
        check_both(code, body, Hold, Hold);
    }
    let setup =
        Answer::Failed { text: "cannot read /run/secrets/loki".into(), kind: Failure::Setup };
    assert_eq!(
        outcome(&setup, MANY),
        Outcome::Hold { why: "cannot read /run/secrets/loki".into() }
    );
}

#[test]
fn only_200_and_204_are_delivered() {
    check_both(200, "", Delivered, Delivered);
    check_both(204, "", Delivered, Delivered);
}

#[test]
fn metadata_that_is_disallowed_is_left_out() {
    let setting = |metadata| Facts { metadata, ..MANY };
    check(400, DISALLOWED, setting(StructuredMetadata::Auto), Without);
    check(400, DISALLOWED, setting(StructuredMetadata::On), Hold);
    check(400, DISALLOWED, setting(StructuredMetadata::Off), Isolate);
    check_both(400, &format!("30 errors like: {DISALLOWED}; 1 errors like: x"), Without, Without);
}

/// Whoever logs chooses label values. None of them may stop or change how lines are shipped.
#[test]
fn texts_inside_label_sets_count_for_nothing() {
    let texts = [
        "includes structured metadata, but this feature is disallowed",
        "missing required labels",
        "received message larger than max",
        "entry too far behind, 'a' ignored, reason: maximum active stream limit exceeded",
        r#"\" } missing required labels"#,
        r"\\\\",
    ];
    for text in texts {
        let value = format!("{{a=\"{text}\", b=\"{{}}}}\"}}");
        check_both(
            400,
            &format!("entry for stream '{value}' has timestamp too old: T"),
            Isolate,
            Rejected,
        );
        check_both(
            400,
            &format!("total ignored: 1 out of 1 for stream: {value}"),
            Isolate,
            Rejected,
        );
        let long = format!("stream '{STREAM}' has label value too long: '{text}");
        check_both(400, &long, Isolate, Rejected);
        check_both(500, &format!("failed for {value}"), Retry, Retry);
        check_both(429, &format!("too much of {value}"), Retry, Retry);
    }
    check_both(400, "an open {brace missing required labels", Isolate, Rejected);
}

#[test]
fn the_reason_is_one_short_line() {
    let answer = status(503, &format!("first\nsecond {}", "é".repeat(1000)));
    let Outcome::Retry { why, .. } = outcome(&answer, MANY) else { panic!("not a retry") };
    assert!(why.starts_with("503: first second é") && why.len() <= 310, "{why}");
}

#[test]
fn the_servers_wish_is_passed_on() {
    let wish = Some(std::time::Duration::from_secs(7));
    for code in [429, 503] {
        let answer = Answer::Status { code, body: String::new(), retry_after: wish };
        let got = outcome(&answer, MANY);
        assert!(matches!(got, Outcome::Retry { not_before, .. } if not_before == wish));
    }
}
