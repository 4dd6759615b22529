//! What the distributor refuses, adds and cleans: rows 3, 5, 9 to 12, 14, 15 and 17 to 24 of the
//! contract.

use super::*;

const ADVICE: &str = "or contact your Loki administrator to";

fn good() -> Stream {
    stream("{good=\"1\"}", vec![entry(0, "good")])
}

fn ab(entries: Vec<Entry>) -> Stream {
    stream("{a=\"b\"}", entries)
}

impl Bench {
    /// Pushes a stream with a good one beside it: what is refused leaves the good one stored.
    async fn beside(&self, labels: &str, entry: Entry, expected: &str) {
        let before = self.lines().len();
        self.expect(vec![stream(labels, vec![entry]), good()], expected).await;
        let arrived = if expected == "204" { 2 } else { 1 };
        assert_eq!(self.lines().len() - before, arrived, "{labels}");
    }
}

#[tokio::test]
async fn row_03a_a_raw_replacement_character_refuses_the_push() {
    let bench = Bench::loki(|_| ()).await;
    let text = "400 couldn't parse labels: 1:4: parse error: invalid UTF-8 rune";
    bench.expect(vec![good(), stream("{a=\"x\u{fffd}\"}", vec![entry(0, "x")])], text).await;
    assert_eq!(bench.stored(), [""; 0]);
}

#[tokio::test]
async fn row_03b_an_escaped_one_refuses_its_stream() {
    let bench = Bench::loki(|_| ()).await;
    let text = "400 Error parsing labels '{a=\"x\u{fffd}y\", service_name=\"unknown_service\"}' \
                with error: 1:4: parse error: invalid UTF-8 rune";
    bench.beside("{a=\"x\\ufffdy\"}", entry(0, "x"), text).await;
    bench.beside("{a=\"x\\xef\\xbf\\xbdy\"}", entry(0, "x"), text).await;
}

#[tokio::test]
async fn row_03c_beside_a_service_name_it_can_be_masked() {
    let bench = Bench::loki(|_| ()).await;
    let bad = || stream("{a=\"\\ufffd\", service_name=\"s\"}", vec![entry(0, "x")]);
    bench.expect(vec![good(), bad()], "400 1:4: parse error: invalid UTF-8 rune").await;
    bench.expect(vec![bad(), good()], "204").await;
    assert_eq!(bench.stored(), ["good"]);
}

#[tokio::test]
async fn row_05_entries_are_refused_one_by_one() {
    let bench = Bench::loki(|_| ()).await;
    let labels = r#"{a="b", service_name="unknown_service"}"#;
    let text = format!(
        "400 1 errors like: Max entry size '262144' bytes exceeded for stream '{labels}' while \
         adding an entry with length '262145' bytes; 2 errors like: entry for stream '{labels}' \
         has timestamp too new: 2026-01-15T09:10:01Z; 1 errors like: entry for stream '{labels}' \
         has timestamp too old: 2026-01-08T08:59:59Z, oldest acceptable timestamp is: \
         2026-01-08T09:00:00Z"
    );
    for _ in 0..2 {
        let old = entry(-168 * HOUR - 1, "old");
        let (long, new) = (entry(0, "x".repeat(262_145)), || entry(601 * SECOND, "new"));
        let push = vec![ab(vec![entry(0, "1"), old, long, new(), new(), entry(1, "2")])];
        bench.expect(push, &text).await;
    }
    assert_eq!(bench.stored(), ["1", "2"]);
    // The ingester's refusal hides the distributor's.
    let both = vec![ab(vec![entry(601 * SECOND, "new"), entry(-2 * HOUR, "late")])];
    bench.expect(both, "400 entry with timestamp 2026-01-15 07:00:00 +0000 UTC ignored…").await;
}

#[tokio::test]
async fn row_09_metadata_names_are_cleaned_but_for_the_empty_one() {
    let bench = Bench::loki(|_| ()).await;
    let names = ["", "a.b", "1a", "_a", ".a", "__a", "é", "a-b c"];
    let pairs: Vec<_> = names.iter().map(|name| (*name, "\u{fffd}v\u{1}")).collect();
    bench.expect(vec![ab(vec![with(entry(0, "x"), &pairs)])], "204").await;
    let entry = &bench.receiver.store().entries()[0];
    let got: Vec<_> = entry.metadata.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(got, ["", "a_b", "key_1a", "key_a", "key_a", "__a", "é", "a_b_c"]);
    assert!(entry.metadata.iter().all(|(_, value)| value == " v\u{1}"));
}

#[tokio::test]
async fn row_10_labels_and_lines_have_limits() {
    let bench = Bench::loki(|_| ()).await;
    let names = |count: usize| {
        let pairs: Vec<String> = (0..count).map(|n| format!("l{n:02}=\"v\"")).collect();
        format!("{{{}}}", pairs.join(", "))
    };
    let served =
        |labels: &str, name: &str| labels.replace('}', &format!(", service_name=\"{name}\"}}"));
    let (n, v) = (|len| "n".repeat(len), |len| "v".repeat(len));
    let pair = |name: usize, value: usize| format!("{{{}=\"{}\"}}", n(name), v(value));
    let unknown = |labels: &str| served(labels, "unknown_service");
    let sixteen = |labels| format!("400 entry for stream '{labels}' has 16 label names; limit 15");
    let own = served(&names(16), "s");
    let name =
        format!("400 stream '{}' has label name too long: '{}'", unknown(&pair(1025, 1)), n(1025));
    let value =
        format!("400 stream '{}' has label value too long: '{}'", unknown(&pair(1, 2049)), v(2049));
    for (labels, expected) in [
        (names(15), "204"),
        (names(16), &sixteen(unknown(&names(16)))),
        (served(&names(15), "s"), "204"),
        (own.clone(), &sixteen(own)),
        (pair(1024, 2048), "204"),
        (pair(1025, 1), &name),
        (pair(1, 2049), &value),
        (format!("{{a=\"{}\"}}", "\\\"".repeat(2048)), "204"),
    ] {
        bench.beside(&labels, entry(0, "x"), expected).await;
    }
    let long = "400 Max entry size '262144' bytes exceeded for stream '{a=\"b\", …";
    let line = |len| with(entry(0, "x".repeat(len)), &[("m", &"v".repeat(60_000))]);
    bench.beside("{a=\"b\"}", line(262_144), "204").await;
    bench.beside("{a=\"b\"}", line(262_145), long).await;
}

#[tokio::test]
async fn row_11_and_15_an_impossible_time_refuses_the_push() {
    let bench = Bench::loki(|_| ()).await;
    for (seconds, nanos, fault) in [
        (1_768_467_600, 1_000_000_000, ": nanos not in range [0, 1e9)"),
        (0, -1, ": nanos not in range [0, 1e9)"),
        (-62_135_596_801, 0, " before 0001-01-01"),
        (253_402_300_800, 0, " after 10000-01-01"),
    ] {
        let timestamp = Some(Timestamp { seconds, nanos });
        let bad = ab(vec![Entry { timestamp, ..entry(0, "x") }]);
        let shown = format!("&types.Timestamp{{Seconds: {seconds},\nNanos: {nanos},\n}}");
        bench.expect(vec![good(), bad], &format!("400 timestamp: {shown}{fault}")).await;
    }
    assert_eq!(bench.stored(), [""; 0]);
}

#[tokio::test]
async fn row_12_ingestion_is_blocked_until() {
    let text = |status| {
        let until = "until '2026-01-15T14:00:00Z' with status code";
        format!("{status} ingestion blocked for user fake {until} '{status}'")
    };
    for (status, expected) in
        [(260, &*text(260)), (200, "204"), (204, "204"), (429, &text(429)), (503, &text(503))]
    {
        let bench = Bench::loki(|options| {
            options.set("block_ingestion_until", "2026-01-15T14:00:00Z").unwrap();
            options.block_ingestion_status_code = status;
        })
        .await;
        bench.expect(vec![good()], expected).await;
        bench.expect(vec![ab(vec![])], "204").await;
        bench.expect(vec![ab(vec![entry(601 * SECOND, "new")])], "400 entry for stream…").await;
        assert_eq!(bench.stored(), [""; 0]);
        bench.pass(5 * HOUR);
        bench.expect(vec![good()], "204").await;
    }
}

#[tokio::test]
async fn row_13_and_14_times_too_old_and_too_new() {
    let bench = Bench::loki(|_| ()).await;
    let old = |labels: &str, time: &str| {
        let stream = labels.replace('}', ", service_name=\"unknown_service\"}");
        let oldest = "oldest acceptable timestamp is: 2026-01-08T09:00:00Z";
        format!("400 entry for stream '{stream}' has timestamp too old: {time}, {oldest}")
    };
    let at = |seconds| Entry { timestamp: Some(Timestamp { seconds, nanos: 0 }), ..entry(0, "x") };
    let none = Entry { timestamp: None, ..entry(0, "x") };
    let new = "400 entry for stream '{n=\"1\", service_name=\"unknown_service\"}' has timestamp \
               too new: 2026-01-15T09:10:00Z";
    for (labels, entry, expected) in [
        ("{o=\"1\"}", entry(-168 * HOUR, "x"), "204"),
        ("{o=\"1\"}", entry(-168 * HOUR - 1, "x"), &*old("{o=\"1\"}", "2026-01-08T08:59:59Z")),
        ("{n=\"1\"}", entry(600 * SECOND, "x"), "204"),
        ("{n=\"1\"}", entry(600 * SECOND + 1, "x"), new),
        ("{a=\"b\"}", none, &old("{a=\"b\"}", "0001-01-01T00:00:00Z")),
        ("{a=\"b\"}", at(0), &old("{a=\"b\"}", "1970-01-01T00:00:00Z")),
        ("{a=\"b\"}", at(-1), &old("{a=\"b\"}", "1969-12-31T23:59:59Z")),
        ("{a=\"b\"}", at(10_413_792_000), &old("{a=\"b\"}", "2300-01-01T00:00:00Z")),
        ("{a=\"b\"}", at(-11_676_096_000), "400 entry for stream '{a=\"b\", service_name=\"unkno…"),
    ] {
        bench.beside(labels, entry, expected).await;
    }
}

#[tokio::test]
async fn row_17_metadata_has_limits() {
    let bench = Bench::loki(|_| ()).await;
    let pairs = |count| with(entry(0, "x"), &vec![("m", "v"); count]);
    let bytes = |len: usize| with(entry(0, "x"), &[("m", &*"v".repeat(len - 1))]);
    let refused = |what, setting| {
        let see = format!("Please see `limits_config.{setting}` {ADVICE} increase it.");
        let labels = r#"{a="b", service_name="unknown_service"}"#;
        format!("400 stream '{labels}' has {what}. {see}")
    };
    let count = "too many structured metadata labels: '129', limit: '128'";
    let size = "structured metadata too large: '65537' bytes, limit: '65536' bytes";
    for (entry, expected) in [
        (pairs(128), "204"),
        (pairs(129), &*refused(count, "max_structured_metadata_entries_count")),
        (bytes(65_536), "204"),
        (bytes(65_537), &refused(size, "max_structured_metadata_size")),
    ] {
        bench.beside("{a=\"b\"}", entry, expected).await;
    }
}

#[tokio::test]
async fn row_18_metadata_switched_off() {
    let bench = Bench::loki(|options| options.allow_structured_metadata = false).await;
    let entries = vec![with(entry(0, "with"), &[("m", "v")]), entry(0, "without")];
    let start = "400 stream '{app=\"shop\", service_name=\"shop\"}' includes structured metadata, \
                 but this feature is disallowed. Please see `limits_config.";
    let text = format!("{start}allow_structured_metadata` {ADVICE} enable it.");
    bench.expect(vec![stream("{app=\"shop\"}", entries)], &text).await;
    assert_eq!(bench.stored(), ["without"]);
    assert_eq!(bench.receiver.store().entries()[0].level, "", "no level is detected");
}

#[tokio::test]
async fn row_19_to_21_what_labels_may_hold() {
    let bench = Bench::loki(|_| ()).await;
    for (labels, fault) in [
        ("{a.b=\"v\"}", "1:3: parse error: unexpected character inside braces: '.'"),
        ("{a=\"\\/\"}", "1:4: parse error: unknown escape sequence U+002F '/'"),
    ] {
        let text = format!("400 couldn't parse labels: {fault}");
        bench.expect(vec![good(), stream(labels, vec![])], &text).await;
    }
    assert_eq!(bench.stored(), [""; 0], "more of them: `labels.rs`");
    for value in ["\0", "\x01", "\r", "\x7f", "\u{feff}", "\u{ffff}"] {
        bench.expect(vec![stream(&format!("{{v=\"{value}\"}}"), vec![entry(0, "x")])], "204").await;
        let last = bench.receiver.store().entries().pop().unwrap();
        assert_eq!(last.labels.get("v"), Some(value));
    }
}

#[tokio::test]
async fn row_22_duplicate_labels() {
    let bench = Bench::loki(|_| ()).await;
    let text = "400 stream '{a=\"1\", a=\"2\", service_name=\"unknown_service\"}' has duplicate \
                label name: 'a'";
    bench.beside("{a=\"1\", a=\"2\"}", entry(0, "x"), text).await;
    let text = "400 stream '{service_name=\"s\",a=\"1\",a=\"1\"}' has duplicate label name: 'a'";
    bench.beside("{service_name=\"s\",a=\"1\",a=\"1\"}", entry(0, "x"), text).await;
    bench.expect(vec![stream("{a=\"\", a=\"2\", b=\"3\"}", vec![entry(0, "x")])], "204").await;
    let last = bench.receiver.store().entries().pop().unwrap();
    assert_eq!(last.labels.to_string(), r#"{b="3", service_name="unknown_service"}"#);
}

#[tokio::test]
async fn row_23_a_stream_without_labels() {
    let bench = Bench::loki(|_| ()).await;
    bench.expect(vec![stream("{}", vec![entry(0, "x")])], "204").await;
    let last = bench.receiver.store().entries().pop().unwrap();
    assert_eq!(last.labels.to_string(), r#"{service_name="unknown_service"}"#);
    let bench = Bench::loki(|options| options.set("discover_service_name", "[]").unwrap()).await;
    let text = "400 error at least one label pair is required per stream";
    bench.beside("{}", entry(0, "x"), text).await;
}

#[tokio::test]
async fn row_24_enforced_labels() {
    let enforced = |options: &mut Options| options.set("enforced_labels", "good,team").unwrap();
    let bench = Bench::loki(enforced).await;
    let missing = |names| format!("400 missing required labels {names} for user fake");
    bench.expect(vec![ab(vec![entry(0, "none")])], &missing("good,team")).await;
    bench.expect(vec![good()], &missing("team")).await;
    bench.expect(vec![stream("{good=\"1\",team=\"t\"}", vec![entry(0, "x")])], "204").await;
    assert_eq!(bench.stored(), ["x"]);
}

#[tokio::test]
async fn levels_are_detected() {
    let bench = Bench::loki(|_| ()).await;
    let cases = [
        ("plain", "unknown"),
        ("an error with info", "info"),
        ("ERROR x", "error"),
        ("warn x", "unknown"),
        ("WARN: x", "warn"),
        ("fatal", "unknown"),
        ("critical: x", "critical"),
        ("debug: x", "debug"),
        (r#" {"lvl": "ERR", "LEVEL": "trc"} "#, "trace"),
        (r#"{"level": "banana", "x": "error"}"#, "error"),
        (r#"{"a": {"level": "warn"}}"#, "unknown"),
        (r#"msg="level=warn x" LVL=fatal"#, "fatal"),
        (r#"lvl=info severity="Wrn""#, "warn"),
        ("a=b error", "error"),
    ];
    let lines = cases.iter().zip(0..).map(|((line, _), n)| entry(n, line)).collect();
    bench.expect(vec![ab(lines)], "204").await;
    bench.expect(vec![stream("{level=\"Banana\"}", vec![entry(0, "error")])], "204").await;
    let by_metadata = [("lvl", "Own"), ("severity_number", "18"), ("severity_number", "x")];
    let by_metadata = by_metadata.iter().zip(0..).map(|(m, n)| with(entry(n, "x"), &[*m]));
    bench.expect(vec![stream("{m=\"1\"}", by_metadata.collect())], "204").await;
    let entries = bench.receiver.store().entries();
    let got: Vec<_> = entries.iter().map(|entry| entry.level.as_str()).collect();
    let expected = cases.iter().map(|(_, level)| *level);
    assert_eq!(got, expected.chain(["Banana", "Own", "error", "info"]).collect::<Vec<_>>());
}

#[tokio::test]
async fn settings_have_loki_s_names_and_values() {
    let mut options = Options::new(Clock::new(|| UnixNanos(NOW)));
    for (name, value) in [
        ("auth_enabled", "true"),
        ("max_global_streams_per_user", "7"),
        ("ingestion_rate_mb", "0.5"),
        ("ingestion_burst_size_mb", "2"),
        ("per_stream_rate_limit", "3MB"),
        ("shard_streams.enabled", "true"),
        ("shard_streams.desired_rate", "1536KB"),
        ("reject_old_samples_max_age", "48h"),
        ("creation_grace_period", "1m"),
        ("max_chunk_age", "4h"),
        ("chunk_idle_period", "8s"),
        ("grpc_server_max_recv_msg_size", "1024"),
    ] {
        options.set(name, value).unwrap();
    }
    let sizes = (options.ingestion_rate_bytes, options.ingestion_burst_bytes);
    assert_eq!(sizes, (524_288, 2_097_152));
    let sizes = (options.per_stream_rate_bytes, options.shard_desired_rate_bytes);
    assert_eq!(sizes, (3_145_728, 1_572_864));
    assert_eq!(options.chunk_idle_period.as_secs(), 8);
    for (name, value) in [
        ("x", "1"),
        ("auth_enabled", "maybe"),
        ("per_stream_rate_limit", "1XB"),
        ("max_chunk_age", "-1s"),
    ] {
        let error = options.set(name, value).unwrap_err();
        assert!(error.starts_with(&format!("{name}: {value:?}: ")), "{error}");
    }
}
