//! Reading back.

use super::*;

async fn shop() -> Bench {
    let bench = Bench::new(|_| ()).await;
    let r1 = |offset, line| with(entry(offset, line), &[("request_id", "r1")]);
    let r2 = |offset, line| with(entry(offset, line), &[("request_id", "r2"), ("level", "x")]);
    let info = vec![r1(1, "start"), r2(2, "start"), r1(4, "end"), r1(4, "end")];
    let error = [r1(3, "failed: timeout"), entry(-2 * HOUR, "old \u{7}\"")];
    let streams = vec![
        stream("{app=\"shop\", level=\"info\"}", info),
        stream("{app=\"shop\", level=\"error\"}", error[1..].to_vec()),
        stream("{app=\"shop\", level=\"error\"}", error[..1].to_vec()),
        stream("{app=\"other\"}", vec![entry(5, b"\xff!")]),
    ];
    assert_eq!(bench.push(streams).await.0, 204);
    bench
}

/// The lines that a query finds, in order.
async fn find(bench: &Bench, query: &str, more: &[(&str, &str)]) -> String {
    let end = (NOW + SECOND).to_string();
    let mut pairs = vec![("query", query), ("end", &end)];
    pairs.extend(more);
    let answer = bench.get("/loki/api/v1/query_range", &pairs, &[]).await;
    let mut lines: Vec<(String, String)> = Vec::new();
    for stream in answer["data"]["result"].as_array().unwrap() {
        for value in stream["values"].as_array().unwrap() {
            let text = |n: usize| value[n].as_str().unwrap().to_owned();
            lines.push((text(0), text(1)));
        }
    }
    lines.sort();
    lines.into_iter().map(|(_, line)| line).collect::<Vec<_>>().join(", ")
}

#[tokio::test]
async fn selectors_and_filters_find_lines_once() {
    let bench = shop().await;
    let stats = bench.receiver.store().stats();
    let counts = (stats.entries, stats.swallowed, stats.distinct);
    assert_eq!(counts, (6, 1, 6), "one came twice");
    for (query, expected) in [
        (r#"{app="shop"}"#, "start, start, failed: timeout, end"),
        (r#"{app="shop", level="info"}"#, "start, start, end"),
        (r#"{app=~"sh.p|x", level!="info"}"#, "failed: timeout"),
        (r#"{app=~"sho"}"#, ""),
        (r#"{app=~".+", app!~"shop"}"#, "\u{fffd}!"),
        (r#"{app!~"shop"}"#, "error"),
        (r#"{app="shop"} | request_id="r1""#, "start, failed: timeout, end"),
        (r#"{app="shop"} | request_id!="r1" |= "start""#, "start"),
        (r#"{app="shop"} | request_id=~"r.""#, "start, start, failed: timeout, end"),
        (r#"{app="shop", request_id="r1"}"#, ""),
        (r#"{app="shop"} | level_extracted = `x`"#, "start"),
        (r#"{app="shop"} |= "time" != "end""#, "failed: timeout"),
        (r#"{app="shop"} |~ "^(start|end)$" !~ "nd""#, "start, start"),
        (r#"{missing=""} | request_id="r2", x"#, "error"),
        (r#"{}"#, "error"),
        (r#"{app=~".*"}"#, "error"),
        (r#"{app=~"("}"#, "error"),
        (r#"{app="shop"} | json"#, "error"),
        (r#"sum(rate({app="shop"}[1m]))"#, "error"),
    ] {
        if expected == "error" {
            let (status, text) =
                bench.get_text("/loki/api/v1/query_range", &[("query", query)], &[]).await;
            assert_eq!(status, 400, "{query}: {text}");
        } else {
            assert_eq!(find(&bench, query, &[]).await, expected, "{query}");
        }
    }
}

#[tokio::test]
async fn time_limit_and_direction() {
    let bench = shop().await;
    let all = "{app=\"shop\"}";
    for (more, expected) in [
        (vec![("limit", "2")], "failed: timeout, end"),
        (vec![("limit", "2"), ("direction", "forward")], "start, start"),
        (
            vec![("start", "2026-01-15T06:59:00Z"), ("limit", "1"), ("direction", "FORWARD")],
            "old \u{7}\"",
        ),
        (vec![("start", "1768467600.5")], ""),
        (vec![("start", "1768467600000000003")], "failed: timeout, end"),
    ] {
        assert_eq!(find(&bench, all, &more).await, expected, "{more:?}");
    }
    let pairs = [("query", all), ("time", "1768467600000000003")];
    let answer = bench.get("/loki/api/v1/query", &pairs, &[]).await;
    assert_eq!(answer["data"]["result"].as_array().unwrap().len(), 2);
    for wrong in [("limit", "x"), ("start", "yesterday"), ("direction", "up")] {
        let pairs = [("query", all), wrong];
        assert_eq!(bench.get_text("/loki/api/v1/query_range", &pairs, &[]).await.0, 400);
    }
}

#[tokio::test]
async fn metadata_is_merged_or_categorized() {
    let bench = shop().await;
    let end = (NOW + SECOND).to_string();
    let pairs = [("query", r#"{app="shop"} | request_id="r2""#), ("end", &end)];
    let path = "/loki/api/v1/query_range";
    let plain = bench.get(path, &pairs, &[]).await;
    let time = (NOW + 2).to_string();
    let expected = serde_json::json!([{
        "stream": {"app": "shop", "level": "info", "level_extracted": "x", "request_id": "r2",
            "detected_level": "info"},
        "values": [[time, "start"]],
    }]);
    assert_eq!(plain["data"]["result"], expected);
    let flag = [("x-loki-response-encoding-flags", "categorize-labels")];
    let categorized = bench.get(path, &pairs, &flag).await;
    let metadata = serde_json::json!(
        {"detected_level": "info", "level_extracted": "x", "request_id": "r2"}
    );
    let expected = serde_json::json!([{
        "stream": {"app": "shop", "level": "info"},
        "values": [[time, "start", {"structuredMetadata": metadata}]],
    }]);
    assert_eq!(categorized["data"]["result"], expected);
    assert_eq!(categorized["data"]["encodingFlags"], serde_json::json!(["categorize-labels"]));
}

#[tokio::test]
async fn labels_values_series_and_health() {
    let bench = shop().await;
    for (path, pairs, expected) in [
        ("/loki/api/v1/labels", vec![], r#"["app","level"]"#),
        ("/loki/api/v1/label/app/values", vec![], r#"["other","shop"]"#),
        ("/loki/api/v1/label/level/values", vec![("query", "{app=\"other\"}")], "[]"),
        ("/loki/api/v1/label/level/values", vec![("end", "1768467000")], r#"["error"]"#),
        (
            "/loki/api/v1/series",
            vec![("match[]", "{level=\"info\"}"), ("match[]", "{app=\"other\"}")],
            r#"[{"app":"other"},{"app":"shop","level":"info"}]"#,
        ),
        (
            "/loki/api/v1/query",
            vec![("query", "vector(1)+vector(1)"), ("time", "7000000000000000000")],
            concat!(
                r#"{"result":[{"metric":{},"value":[7000000000,"2"]}],"#,
                r#""resultType":"vector","stats":{}}"#
            ),
        ),
    ] {
        let answer = bench.get(path, &pairs, &[]).await;
        assert_eq!(answer["status"], "success");
        assert_eq!(answer["data"].to_string(), expected, "{path} {pairs:?}");
    }
    assert_eq!(bench.get_text("/ready", &[], &[]).await, (200, "ready".to_owned()));
    assert_eq!(bench.get_text("/loki/api/v1/push", &[], &[]).await.0, 405);
    assert_eq!(bench.get_text("/loki/api/v1/push/", &[], &[]).await.0, 404);
}

#[tokio::test]
async fn every_copy_is_listed_and_what_is_stored_goes_to_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("received.ndjson");
    let bench = Bench::new(|options| {
        options.out = Some(path.clone());
        options.keep = 2;
    })
    .await;
    let one = with(entry(0, b"a\xff\"\n"), &[("m", "é")]);
    let labels = "{b=\"2\", a=\"1\"}";
    bench.push(vec![stream(labels, vec![one.clone(), one])]).await;
    let body =
        snap(&PushRequest { streams: vec![stream(labels, vec![entry(7, "")])] }.encode_to_vec());
    bench.post(PUSH, &[("x-scope-orgid", "t")], body).await;
    let row = |n: u8, tenant: &str, time: i64, line: &str, metadata: &str, more: &str| {
        let labels = r#""labels":{"a":"1","b":"2"}"#;
        let end = format!(r#""time":"{time}","line":"{line}","metadata":{{{metadata}}}{more}"#);
        format!("{{\"n\":{n},\"tenant\":{tenant},{labels},{end}}}\n")
    };
    let first = |n, more| row(n, "null", NOW, "a\u{fffd}\\\"\\n", r#""m":"é""#, more);
    let last = row(3, "\"t\"", NOW + 7, "", "", "");
    let listed = bench.get_text("/skald/entries", &[], &[]).await.1;
    assert_eq!(listed + "\n", first(2, ",\"swallowed\":true") + &last, "two are kept");
    assert_eq!(fs_err::read_to_string(&path).unwrap(), first(1, "") + &last, "two are stored");
    let stats = bench.get("/skald/stats", &[], &[]).await;
    assert_eq!(stats["forgotten"], 1);
    assert_eq!(stats["entries"], 2);
    assert_eq!(stats["swallowed"], 1);
    assert_eq!(stats["distinct"], 2);
    assert_eq!(stats["per_stream"], serde_json::json!({"{a=\"1\", b=\"2\"}": 2}));
    bench.receiver.stop().await.unwrap();
}
