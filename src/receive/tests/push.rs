//! What is accepted, what is refused, and what is stored all the same.

use super::*;

#[tokio::test]
async fn headers_decide_how_a_body_is_read() {
    let bench = Bench::new(|_| ()).await;
    let request = PushRequest { streams: vec![stream("{a=\"b\"}", vec![entry(0, "x")])] };
    let proto = request.encode_to_vec();
    let good = snap(&proto);
    let json = br#"{"streams":[{"stream":{"a":"b"},"values":[["1768467600000000000","x"]]}]}"#;
    let mut framed = snap::write::FrameEncoder::new(Vec::new());
    std::io::Write::write_all(&mut framed, &proto).unwrap();
    let framed = framed.into_inner().unwrap();
    let (kind, encoding) = ("content-type", "content-encoding");
    for (headers, body, status, text) in [
        (&[][..], &good, 204, ""),
        (&[(encoding, "snappy")], &good, 204, ""),
        (&[(kind, "foo")], &good, 204, ""),
        (&[(kind, "text/plain; a=b;")], &good, 204, ""),
        (&[(kind, "")], &good, 400, "mime: no media type"),
        (&[(kind, "a/b/c")], &good, 400, "mime: unexpected content after media subtype"),
        (&[(kind, "x/y; ;")], &good, 400, "mime: invalid media parameter"),
        (&[(encoding, "zstd")], &good, 400, r#"Content-Encoding "zstd" not supported"#),
        (&[(encoding, "Snappy")], &good, 400, r#"Content-Encoding "Snappy" not supported"#),
        (&[], &framed, 400, "snappy: corrupt input"),
        (&[], &proto, 400, "snappy: corrupt input"),
        (&[], &Vec::new(), 400, "snappy: corrupt input"),
        (&[], &vec![0xff, 0xff, 0xff, 0xff, 0x07], 400, "snappy: corrupt input"),
        (
            &[],
            &vec![0xff, 0xff, 0xff, 0xff, 0x0f],
            400,
            "received message larger than max (4294967295 vs 2147483647)",
        ),
        (&[(kind, "Application/JSON; charset=utf-8")], &json.to_vec(), 204, ""),
        (&[(kind, "application/json"), (encoding, "snappy")], &json.to_vec(), 204, ""),
    ] {
        let answer = bench.post(PUSH, headers, body.clone()).await;
        assert_eq!(answer, (status, text.to_owned()), "{headers:?}");
    }
    assert_eq!(bench.post("/api/prom/push", &[], good).await.0, 204);
    let stats = bench.receiver.store().stats();
    assert_eq!((stats.entries, stats.streams), (7, 1));
    assert_eq!(stats.pushes, [("204".to_owned(), 7), ("400".to_owned(), 10)].into());
    assert_eq!(stats.per_stream, [("{a=\"b\"}".to_owned(), 7)].into());
}

#[tokio::test]
async fn json_that_is_no_push_is_refused_whole() {
    let bench = Bench::new(|_| ()).await;
    let wrap =
        |values: &str| format!(r#"{{"streams":[{{"stream":{{"a":"b"}},"values":{values}}}]}}"#);
    for (body, status, text) in [
        (wrap(r#"[["1768467600000000000","x",{"m":"v"}]]"#), 204, ""),
        (wrap(r#"[[1768467600000000000,"x"]]"#), 400, "a value's time is not a string"),
        (wrap(r#"[["1.5","x"]]"#), 400, "time \"1.5\" is not in nanoseconds"),
        (wrap(r#"[["1768467600000000000",7]]"#), 400, "a value's line is not a string"),
        (wrap(r#"[["1768467600000000000","x",{"m":7}]]"#), 400, "metadata \"m\" is not a string"),
        (r#"{"streams":7}"#.to_owned(), 400, "streams is not a list"),
        ("{}".to_owned(), 422, "error at least one valid stream is required for ingestion"),
    ] {
        let headers = [("content-type", "application/json")];
        let answer = bench.post(PUSH, &headers, body.clone().into_bytes()).await;
        assert_eq!(answer, (status, text.to_owned()), "{body}");
    }
    assert_eq!(bench.receiver.store().entries()[0].metadata, [("m".to_owned(), "v".to_owned())]);
}

impl Bench {
    /// Pushes `entry` with a good one beside it. `refused` is the answer's text, if it is a 400.
    async fn check(&self, labels: &str, entry: Entry, refused: Option<String>) {
        let before = self.lines().len();
        let good = stream("{good=\"1\"}", vec![self::entry(0, "good")]);
        let answer = self.push(vec![stream(labels, vec![entry]), good]).await;
        let (status, stored) = if refused.is_some() { (400, 1) } else { (204, 2) };
        assert_eq!(answer, (status, refused.unwrap_or_default()));
        assert_eq!(self.lines().len() - before, stored, "{labels}: the rest is stored");
    }
}

#[tokio::test]
async fn times_and_lengths_of_lines() {
    let bench = Bench::new(|_| ()).await;
    let old = |time| {
        let oldest = "oldest acceptable timestamp is: 2026-01-08T09:00:00Z";
        let text = "entry for stream '{a=\"b\"}' has timestamp too old";
        Some(format!("{text}: {time}, {oldest}"))
    };
    let new = "entry for stream '{a=\"b\"}' has timestamp too new: 2026-01-15T09:10:01Z";
    let long = "Max entry size '262144' bytes exceeded for stream '{a=\"b\"}' while adding an \
                entry with length '262145' bytes";
    for (labels, entry, refused) in [
        ("{a=\"b\"}", entry(0, "x"), None),
        ("{a=\"b\"}", entry(0, ""), None),
        ("{o=\"1\"}", entry(-168 * HOUR, "x"), None),
        ("{a=\"b\"}", entry(-168 * HOUR - 1, "x"), old("2026-01-08T08:59:59Z")),
        ("{a=\"b\"}", Entry { timestamp: None, ..entry(0, "") }, old("0001-01-01T00:00:00Z")),
        ("{n=\"1\"}", entry(600 * SECOND, "x"), None),
        ("{a=\"b\"}", entry(601 * SECOND, "x"), Some(new.to_owned())),
        ("{a=\"b\"}", entry(0, "x".repeat(262_144)), None),
        ("{a=\"b\"}", entry(0, "x".repeat(262_145)), Some(long.to_owned())),
    ] {
        bench.check(labels, entry, refused).await;
    }
}

#[tokio::test]
async fn counts_and_lengths_of_labels() {
    let bench = Bench::new(|_| ()).await;
    let names = |count: usize| {
        let pairs: Vec<String> = (0..count).map(|n| format!("l{n:02}=\"v\"")).collect();
        format!("{{{}}}", pairs.join(", "))
    };
    let long = |len: usize| "n".repeat(len);
    let pair = |name: usize, value: usize| format!("{{{}=\"{}\"}}", long(name), long(value));
    let sixteen = format!("entry for stream '{}' has 16 label names; limit 15", names(16));
    let name = format!("stream '{}' has label name too long: '{}'", pair(1025, 1), long(1025));
    let value = format!("stream '{}' has label value too long: '{}'", pair(1, 2049), long(2049));
    let twice = "stream '{a=\"1\", a=\"2\"}' has duplicate label name: 'a'";
    for (labels, refused) in [
        (names(15), None),
        (names(16), Some(&*sixteen)),
        (names(15).replace('}', ", service_name=\"s\"}"), None),
        (pair(1024, 2048), None),
        (pair(1025, 1), Some(&name)),
        (pair(1, 2049), Some(&value)),
        ("{a=\"1\", a=\"2\"}".to_owned(), Some(twice)),
        ("{a=\"\", a=\"2\", b=\"3\"}".to_owned(), None),
        ("{}".to_owned(), Some("error at least one label pair is required per stream")),
    ] {
        bench.check(&labels, entry(0, "x"), refused.map(str::to_owned)).await;
    }
}

#[tokio::test]
async fn counts_and_lengths_of_metadata() {
    let bench = Bench::new(|_| ()).await;
    let pairs = |count| with(entry(0, "x"), &vec![("m", "v"); count]);
    let bytes = |len: usize| with(entry(0, "x"), &[("m", &*"v".repeat(len - 1))]);
    let refused = |what, setting| {
        let advice = "contact your Loki administrator to increase it.";
        let see = format!("Please see `limits_config.{setting}` or {advice}");
        Some(format!("stream '{{a=\"b\"}}' has {what}. {see}"))
    };
    let count = "too many structured metadata labels: '129', limit: '128'";
    let size = "structured metadata too large: '65537' bytes, limit: '65536' bytes";
    for (entry, refused) in [
        (pairs(128), None),
        (pairs(129), refused(count, "max_structured_metadata_entries_count")),
        (bytes(65_536), None),
        (bytes(65_537), refused(size, "max_structured_metadata_size")),
    ] {
        bench.check("{a=\"b\"}", entry, refused).await;
    }
}

#[tokio::test]
async fn refusals_are_grouped() {
    let bench = Bench::new(|_| ()).await;
    let new = || entry(601 * SECOND, "new");
    let (_, text) = bench.push(vec![stream("{a=\"b\"}", vec![new(), new(), entry(0, "x")])]).await;
    let new_text = "entry for stream '{a=\"b\"}' has timestamp too new: 2026-01-15T09:10:01Z";
    assert_eq!(text, format!("2 errors like: {new_text}"));
    let duplicate = stream("{a=\"1\", a=\"2\"}", vec![entry(0, "x")]);
    let (_, text) = bench.push(vec![stream("{a=\"b\"}", vec![new()]), duplicate]).await;
    let duplicate_text = "stream '{a=\"1\", a=\"2\"}' has duplicate label name: 'a'";
    assert_eq!(text, format!("1 errors like: {new_text}; 1 errors like: {duplicate_text}"));
    assert_eq!(bench.push(vec![stream("{a=\"b\"}", vec![])]).await, (204, String::new()));
    assert_eq!(bench.lines(), ["x"]);
}

#[tokio::test]
async fn one_unreadable_stream_refuses_the_whole_push() {
    let bench = Bench::new(|_| ()).await;
    let good = || stream("{good=\"1\"}", vec![entry(0, "good")]);
    let labels = |text: &str| stream(text, vec![]);
    for (bad, text) in [
        (labels("{k8s.pod=\"x\"}"), "1:5: parse error: unexpected character inside braces: '.'"),
        (labels("{a=\"\u{fffd}\"}"), "1:4: parse error: invalid UTF-8 rune"),
    ] {
        let text = format!("couldn't parse labels: {text}");
        assert_eq!(bench.push(vec![good(), bad]).await, (400, text));
    }
    for (seconds, nanos, fault) in [
        (1_768_467_600, 1_000_000_000, ": nanos not in range [0, 1e9)"),
        (0, -1, ": nanos not in range [0, 1e9)"),
        (-62_135_596_801, 0, " before 0001-01-01"),
        (253_402_300_800, 0, " after 10000-01-01"),
    ] {
        let timestamp = Some(Timestamp { seconds, nanos });
        let bad = stream("{a=\"b\"}", vec![Entry { timestamp, ..entry(0, "x") }]);
        let shown = format!("&types.Timestamp{{Seconds: {seconds},\nNanos: {nanos},\n}}");
        let text = format!("timestamp: {shown}{fault}");
        assert_eq!(bench.push(vec![good(), bad]).await, (400, text));
    }
    assert_eq!(bench.lines(), [""; 0]);
}

/// The answer is that of the last stream.
#[tokio::test]
async fn the_window_of_a_stream_moves_and_its_refusals_are_masked() {
    let bench = Bench::new(|_| ()).await;
    let a = |entries| stream("{s=\"a\"}", entries);
    let b = || stream("{s=\"b\"}", vec![entry(0, "b")]);
    assert_eq!(bench.push(vec![a(vec![entry(0, "newest"), entry(-HOUR, "edge")])]).await.0, 204);
    let late = || a(vec![entry(-HOUR - 1, "late")]);
    assert_eq!(bench.push(vec![late(), b()]).await.0, 204, "masked");
    let text = "entry with timestamp 2026-01-15 07:59:59.999999999 +0000 UTC ignored, reason: \
        'entry too far behind, entry timestamp is: 2026-01-15T07:59:59Z, oldest acceptable \
        timestamp is: 2026-01-15T08:00:00Z',\nuser 'fake', total ignored: 1 out of 1 for stream: \
        {s=\"a\"}";
    assert_eq!(bench.push(vec![b(), late()]).await, (400, text.to_owned()));
    let many = a(vec![entry(-2 * HOUR, "late"); 12]);
    let (_, text) = bench.push(vec![many]).await;
    assert_eq!(text.matches("ignored, reason").count(), 10);
    assert!(text.ends_with("total ignored: 12 out of 12 for stream: {s=\"a\"}"), "{text}");
    assert_eq!(bench.lines(), ["newest", "edge", "b", "b"]);

    let wrapped = Timestamp { seconds: 1_768_467_600 + 18_446_744_073, nanos: 709_551_616 };
    let wrapped = Entry { timestamp: Some(wrapped), ..entry(0, "wrapped") };
    assert_eq!(bench.push(vec![a(vec![wrapped])]).await.0, 204);
    assert_eq!(bench.receiver.store().entries()[4].time, UnixNanos(NOW));
}

#[tokio::test]
async fn limits_of_streams_and_sizes() {
    let bench = Bench::new(|options| options.stream_limit = 1).await;
    let a = || stream("{s=\"a\"}", vec![entry(0, "a")]);
    let b = || stream("{s=\"b\"}", vec![entry(0, "b")]);
    assert_eq!(bench.push(vec![a()]).await.0, 204);
    assert_eq!(bench.push(vec![b(), a()]).await.0, 204, "masked");
    let (status, text) = bench.push(vec![a(), b()]).await;
    assert_eq!(status, 429);
    let start = "Maximum active stream limit exceeded when trying to create stream {s=\"b\"},";
    assert!(text.starts_with(start) && text.ends_with("user: 'fake'"), "{text}");
    assert_eq!(bench.lines(), ["a", "a", "a"]);

    let lines = |count: usize, len: usize| {
        vec![stream("{s=\"a\"}", vec![entry(0, "x".repeat(len)); count])]
    };
    let grpc = "rpc error: code = ResourceExhausted desc = grpc: received message larger than max";
    let rate = "Ingestion rate limit exceeded for user fake (limit: 4194304 bytes/sec) while \
                attempting to ingest '7168' lines totaling '7282688' bytes, reduce log volume";
    for (streams, status, start) in [
        (lines(4000, 1000), 204, ""),
        (lines(4100, 1000), 500, grpc),
        (lines(100_000, 6), 500, grpc),
        (lines(7168, 1016), 429, rate),
    ] {
        let (got, text) = bench.push(streams).await;
        assert_eq!(got, status, "{text}");
        assert!(text.starts_with(start), "{text}");
    }
    assert_eq!(bench.lines().len(), 4003, "refused for size: nothing stored");
}

#[tokio::test]
async fn tenants() {
    let bench = Bench::new(|options| options.auth = true).await;
    let body = PushRequest { streams: vec![stream("{a=\"b\"}", vec![entry(0, "x")])] };
    let long = "t".repeat(151);
    for (tenant, status, text) in [
        ("veogen", 204, ""),
        ("a|a", 204, ""),
        ("", 401, "no org id"),
        ("a|b", 400, "multiple org IDs present"),
        ("a b", 400, "tenant ID 'a b' contains unsupported character ' '"),
        ("..", 400, "tenant ID is '.' or '..'"),
        (&long, 400, "tenant ID is too long: max 150 characters"),
    ] {
        let headers = [("x-scope-orgid", tenant)];
        let answer = bench.post(PUSH, &headers, snap(&body.encode_to_vec())).await;
        assert_eq!(answer, (status, text.to_owned()), "{tenant:?}");
    }
    let entries = bench.receiver.store().entries();
    let tenants: Vec<_> = entries.iter().map(|e| e.tenant.as_deref()).collect();
    assert_eq!(tenants, [Some("veogen"), Some("a")]);
    let see = async |tenant| {
        let query = [("query", "{a=\"b\"}"), ("end", "1768467601")];
        let headers = [("x-scope-orgid", tenant)];
        let found = bench.get("/loki/api/v1/query_range", &query, &headers).await;
        found["data"]["result"].as_array().unwrap().len()
    };
    assert_eq!((see("a").await, see("b").await), (1, 0));
}

/// What metadata switched off refuses, and what discovery adds.
#[tokio::test]
async fn settings_of_loki() {
    let bench = Bench::new(|options| {
        options.allow_structured_metadata = false;
        options.discover_service_name = true;
    })
    .await;
    let entries = vec![with(entry(0, "with"), &[("m", "v")]), entry(0, "without")];
    let (status, text) = bench.push(vec![stream("{app=\"shop\"}", entries)]).await;
    assert_eq!(status, 400);
    let start = "stream '{app=\"shop\", service_name=\"shop\"}' includes structured metadata, \
                 but this feature is disallowed. Please see `limits_config.";
    let end = "allow_structured_metadata` or contact your Loki administrator to enable it.";
    assert_eq!(text, format!("{start}{end}"));
    assert_eq!(bench.lines(), ["without"]);
    assert_eq!(bench.push(vec![stream("{}", vec![entry(0, "x")])]).await.0, 204);
    let last = &bench.receiver.store().entries()[1];
    assert_eq!(last.labels.to_string(), "{service_name=\"unknown_service\"}");
}
