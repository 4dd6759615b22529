//! What the ingester refuses, swallows and masks: rows 1 to 4, 6, 7, 13, 16 and 27 of the
//! contract.

use super::*;

fn s(name: &str, entries: Vec<Entry>) -> Stream {
    stream(&format!("{{s=\"{name}\"}}"), entries)
}

fn a(entries: Vec<Entry>) -> Stream {
    s("a", entries)
}

fn b() -> Stream {
    s("b", vec![entry(0, "b")])
}

/// Ten lines of 500 bytes.
fn ten() -> Vec<Entry> {
    (0..10).map(|n| entry(n, format!("{n}").repeat(500))).collect()
}

const BEHIND: &str = "400 entry with timestamp 2026-01-15 07:00:00.000000001 +0000 UTC ignored, \
    reason: 'entry too far behind, entry timestamp is: 2026-01-15T07:00:00Z, oldest acceptable \
    timestamp is: 2026-01-15T08:00:00Z',\nuser 'fake', total ignored: 1 out of 1 for stream: \
    {s=\"a\", service_name=\"unknown_service\"}";

#[tokio::test]
async fn row_01a_too_far_behind_is_masked_by_the_next_stream() {
    let bench = Bench::loki(|_| ()).await;
    bench.expect(vec![a(vec![entry(0, "newest")])], "204").await;
    let late = || a(vec![entry(-2 * HOUR + 1, "late")]);
    bench.expect(vec![late(), b()], "204").await;
    bench.expect(vec![s("c", vec![entry(0, "c")]), late(), b()], "204").await;
    bench.expect(vec![late(), a(vec![entry(1, "same stream")])], "204").await;
    assert_eq!(bench.stored(), ["newest", "b", "c", "same stream"]);
}

#[tokio::test]
async fn row_01b_the_stream_limit_is_masked_by_the_next_stream() {
    let bench = Bench::loki(|options| options.stream_limit = 1).await;
    let mut n = 0;
    let mut a = || {
        n += 1;
        a(vec![entry(n, format!("a{n}"))])
    };
    bench.expect(vec![a()], "204").await;
    bench.expect(vec![b(), a()], "204").await;
    bench.expect(vec![a(), b(), a()], "204").await;
    assert_eq!(bench.stored(), ["a1", "a2", "a3", "a4"]);
}

#[tokio::test]
async fn row_01c_a_stream_over_its_rate_is_masked_by_the_next_stream() {
    for (sharding, lines) in [(true, 0), (false, 4)] {
        let bench = Bench::loki(|options| {
            options.set("per_stream_rate_limit", "1KB").unwrap();
            options.set("per_stream_rate_limit_burst", "2KB").unwrap();
            options.shard_streams = sharding;
        })
        .await;
        bench.expect(vec![a(ten()), b()], "204").await;
        assert_eq!(bench.stored().len(), lines + 1, "sharding: {sharding}");
        bench.pass(2 * SECOND);
        bench.expect(vec![a(vec![entry(20, "x".repeat(2000))])], "204").await;
    }
}

#[tokio::test]
async fn row_01d_one_sharded_stream_masks_its_own_refusals() {
    let bench = Bench::loki(|options| options.shard_desired_rate_bytes = 5 * 1024).await;
    let hot = |n: i64| (0..10).map(|k| entry(n * 10 + k, format!("{n} {k}").repeat(300))).collect();
    bench.expect(vec![a(hot(0))], "204").await;
    assert_eq!(bench.receiver.store().stats().streams, 1, "its rate is not known yet");
    bench.pass(SECOND);
    bench.expect(vec![a(hot(1))], "204").await;
    let stats = bench.receiver.store().stats();
    assert_eq!((stats.streams, stats.entries), (5, 20));
    let shard = r#"{__stream_shard__="3", s="a", service_name="unknown_service"}"#;
    assert_eq!(stats.per_stream[shard], 2, "10 lines on 4 shards");
    // A small push goes to two shards, and the last one answers.
    let mut lines: Vec<_> = (0..3).map(|k| entry(40 + k, format!("{k}"))).collect();
    lines.insert(0, entry(-2 * HOUR, "late"));
    bench.expect(vec![a(lines.clone())], "204").await;
    assert_eq!(bench.stored().len(), 23);
    lines.rotate_left(1);
    bench.expect(vec![a(lines)], "400 entry with timestamp 2026-01-15 07:00:00 +0000 UTC …").await;
}

#[tokio::test]
async fn row_02a_too_far_behind_is_seen_in_the_last_stream() {
    let bench = Bench::loki(|_| ()).await;
    bench.expect(vec![a(vec![entry(0, "newest")])], "204").await;
    bench.expect(vec![b(), a(vec![entry(-2 * HOUR + 1, "late")])], BEHIND).await;
    let mut many: Vec<_> = (0..12).map(|n| entry(n - 2 * HOUR, "late")).collect();
    many.push(entry(1, "good"));
    let (status, text) = bench.push(vec![a(many)]).await;
    assert_eq!((status, text.matches("ignored, reason").count()), (400, 10));
    assert!(text.contains(",\nuser 'fake', total ignored: 12 out of 13 for stream: {s="), "{text}");
    assert_eq!(bench.stored(), ["newest", "b", "good"]);
}

#[tokio::test]
async fn row_02b_the_stream_limit_is_seen_in_the_last_stream() {
    let bench = Bench::loki(|options| options.stream_limit = 1).await;
    let text = "429 Maximum active stream limit exceeded when trying to create stream {s=\"b\", \
        service_name=\"unknown_service\"}, reduce the number of active streams (reduce labels or \
        reduce label values), or contact your Loki administrator to see if the limit can be \
        increased, user: 'fake'";
    bench.expect(vec![a(vec![entry(0, "a")]), b()], text).await;
    assert_eq!(bench.stored(), ["a"]);
    // An idle stream gives its place to another one, and forgets its window.
    bench.pass(1801 * SECOND);
    bench.expect(vec![b()], "204").await;
    bench.expect(vec![a(vec![entry(0, "a")])], "429 Maximum active stream limit…").await;
    bench.pass(1801 * SECOND);
    bench.expect(vec![s("b", vec![entry(-3 * HOUR, "forgotten")])], "204").await;
}

#[tokio::test]
async fn row_02c_the_rate_of_a_stream_is_seen_in_the_last_stream() {
    let bench = Bench::loki(|options| {
        options.set("per_stream_rate_limit", "1KB").unwrap();
        options.set("per_stream_rate_limit_burst", "2KB").unwrap();
    })
    .await;
    let start = "429 entry with timestamp 2026-01-15 09:00:00 +0000 UTC ignored, reason: 'Per \
        stream rate limit exceeded (limit: 1KB/sec) while attempting to ingest for stream \
        '{s=\"a\", service_name=\"unknown_service\"}' totaling 500B, consider splitting a stream \
        via additional labels or contact your Loki administrator to see if the limit can be \
        increased',\nentry with timestamp 2026-01-15 09:00:00.000000001 +0000 UTC ignored…";
    bench.expect(vec![b(), a(ten())], start).await;
    let (_, text) = bench.push(vec![a(ten())]).await;
    let end = "user 'fake', total ignored: 10 out of 10 for stream: {s=\"a\", \
               service_name=\"unknown_service\"}";
    assert!(text.ends_with(end), "{text}");
    assert_eq!(bench.stored(), ["b"]);
}

#[tokio::test]
async fn row_04_what_is_too_large_for_loki_s_own_hop() {
    let bench = Bench::loki(|options| options.shard_streams = false).await;
    let lines = |count: usize, len: usize| {
        let line = |n| entry(n, format!("{n:06}").repeat(len / 6 + 1).split_at(len).0);
        vec![stream("{app=\"veogen\"}", (0..).map(line).take(count).collect())]
    };
    let grpc = "rpc error: code = ResourceExhausted desc = grpc: received message larger than max";
    let grpc = |got| format!("500 {grpc} ({got} vs. 4194304)");
    let rate = |lines, bytes| {
        format!(
            "429 Ingestion rate limit exceeded for user fake (limit: 4194304 bytes/sec) while \
             attempting to ingest '{lines}' lines totaling '{bytes}' bytes, reduce log volume or \
             contact your Loki administrator to see if the limit can be increased"
        )
    };
    // 4a: what fails behind the limit has paid, what the limit refuses has not.
    bench.expect(lines(5120, 1024), &grpc(5_468_084)).await;
    bench.expect(lines(5120, 1024), &rate(5120, 5_242_880)).await;
    bench.expect(lines(1024, 1024), "204").await;
    bench.pass(2 * SECOND);
    bench.expect(lines(5120, 1024), &grpc(5_468_084)).await;
    // 4b: more than the burst never passes.
    for _ in 0..2 {
        bench.pass(10 * SECOND);
        bench.expect(lines(7168, 1016), &rate(7168, 7_282_688)).await;
    }
    // Loki's own additions count.
    bench.expect(lines(90_000, 6), &grpc(4_393_540)).await;
    assert_eq!(bench.stored().len(), 1024);
}

#[tokio::test]
async fn row_06_replays_are_swallowed_while_the_head_block_lasts() {
    let bench = Bench::new(|_| ()).await;
    for (name, lines, stored) in [("a", 100, 100), ("b", 255, 255), ("c", 256, 512)] {
        let line = |n| entry(n, format!("{n:04}").repeat(254));
        for _ in 0..2 {
            bench.expect(vec![s(name, (0..lines).map(line).collect())], "204").await;
        }
        let stats = bench.receiver.store().stats();
        assert_eq!(stats.per_stream[&format!("{{s=\"{name}\"}}")], stored);
    }
    let stats = bench.receiver.store().stats();
    assert_eq!((stats.entries, stats.swallowed, stats.distinct), (867, 355, 611));
    assert_eq!(bench.lines().len(), 1222, "every copy that came is there");
    // The last line is known even when the block was cut after it.
    let last = || entry(255, "0255".repeat(254));
    bench.expect(vec![s("c", vec![last(), entry(0, "other"), last()])], "204").await;
    assert_eq!(bench.receiver.store().stats().swallowed, 356);
}

#[tokio::test]
async fn row_07_equal_lines_of_one_instant_are_one() {
    let bench = Bench::loki(|_| ()).await;
    let lines = ["A", "A", "B", "A"].map(|line| entry(0, line)).to_vec();
    bench.expect(vec![a(lines)], "204").await;
    let m = |value| with(entry(1, "M"), &[("m", value)]);
    bench.expect(vec![a(vec![m("1"), m("2")])], "204").await;
    assert_eq!(bench.stored(), ["A", "B", "M"]);
    let entries = bench.receiver.store().entries();
    assert_eq!(entries[4].metadata[0].1, "1");
    let swallowed: Vec<_> = entries.iter().map(|entry| entry.swallowed).collect();
    assert_eq!(swallowed, [false, true, false, true, false, true]);
}

#[tokio::test]
async fn row_13_the_window_moves_entry_by_entry() {
    let bench = Bench::loki(|_| ()).await;
    let (now, edge) = (|| entry(0, "now"), entry(-HOUR, "edge"));
    bench.expect(vec![a(vec![now(), edge, entry(-HOUR - 1, "late")])], "400 entry with…").await;
    bench.expect(vec![s("b", vec![entry(-61 * 60 * SECOND, "early"), now()])], "204").await;
    assert_eq!(bench.stored(), ["now", "edge", "early", "now"]);
}

#[tokio::test]
async fn row_16_a_time_that_wraps_blocks_its_stream() {
    let bench = Bench::loki(|_| ()).await;
    let wrapped = Timestamp { seconds: 1_768_467_600 + 18_446_744_073, nanos: 709_551_616 };
    let wrapped = Entry { timestamp: Some(wrapped), ..entry(0, "wrapped") };
    bench.expect(vec![a(vec![wrapped])], "204").await;
    assert_eq!(bench.receiver.store().entries()[0].time, UnixNanos(NOW));
    let text = "400 entry with timestamp 2026-01-15 09:00:00.00000001 +0000 UTC ignored, reason: \
        'entry too far behind, entry timestamp is: 2026-01-15T09:00:00Z, oldest acceptable \
        timestamp is: 2610-08-06T07:34:33Z',\n…";
    bench.expect(vec![a(vec![entry(10, "now")])], text).await;
}

#[tokio::test]
async fn row_27_a_stream_before_the_first_schema() {
    let bench = Bench::loki(|options| options.reject_old_samples = false).await;
    let at = |seconds, nanos| {
        let timestamp = Some(Timestamp { seconds, nanos });
        s("old", vec![Entry { timestamp, ..entry(0, "old") }])
    };
    let text = "500 rpc error: code = Unknown desc = failed to create stream: no schema config \
                found for time ";
    bench.expect(vec![b(), at(5, 0)], &format!("{text}5")).await;
    bench.expect(vec![at(5, 123_000_000)], &format!("{text}5.123")).await;
    bench.expect(vec![at(-5, 0)], &format!("{text}-5")).await;
    bench.expect(vec![at(5, 0), s("c", vec![entry(0, "c")])], "204").await;
    assert_eq!(bench.stored(), ["b", "c"]);
}

#[tokio::test]
async fn the_tenant_s_rate_is_all_or_nothing() {
    let bench = Bench::loki(|options| {
        options.ingestion_rate_bytes = 1000;
        options.ingestion_burst_bytes = 20_000;
    })
    .await;
    let push = |n, len: usize| vec![a(vec![entry(n, "x".repeat(len)), entry(-200 * HOUR, "old")])];
    let old = "400 entry for stream…";
    bench.expect(push(0, 15_000), old).await;
    bench
        .expect(push(1, 15_000), "429 Ingestion rate limit exceeded for user fake (limit: 1000…")
        .await;
    bench.expect(push(2, 5000), old).await;
    bench.expect(push(3, 1), "429 Ingestion…").await;
    bench.pass(SECOND);
    bench.expect(push(4, 1000), old).await;
    bench.expect(push(5, 1), "429 Ingestion…").await;
    assert_eq!(bench.stored().len(), 3);
}
