//! Failing on demand.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::super::{Answer, Reset, Tap};
use super::*;

impl Bench {
    async fn script(&self, json: &str) -> (u16, String) {
        self.post("/skald/answers", &[], json.as_bytes().to_vec()).await
    }

    async fn push_line(&self, line: &str) -> Result<u16, reqwest::Error> {
        let request = PushRequest { streams: vec![stream("{a=\"b\"}", vec![entry(0, line)])] };
        let body = snap(&request.encode_to_vec());
        let request = self.http.post(self.url(PUSH)).header("content-type", "x");
        Ok(request.header("x-scope-orgid", "t").body(body).send().await?.status().as_u16())
    }
}

#[tokio::test]
async fn answers_are_given_in_order_and_then_it_is_over() {
    let bench = Bench::new(|_| ()).await;
    let script = r#"[
        {"status": 503, "body": "later", "headers": {"Retry-After": "7"}, "times": 2},
        {"status": 500, "store": true},
        {"delay_ms": 1}
    ]"#;
    assert_eq!(bench.script(script).await.0, 204);
    let answer = bench.http.post(bench.url(PUSH)).send().await.unwrap();
    assert_eq!(answer.headers()["retry-after"], "7");
    assert_eq!(answer.status(), 503);
    assert_eq!(answer.text().await.unwrap(), "later");
    let mut got = Vec::new();
    for line in ["lost", "kept", "late", "usual"] {
        got.push(bench.push_line(line).await.unwrap());
    }
    assert_eq!(got, [503, 500, 204, 204]);
    assert_eq!(bench.lines(), ["kept", "late", "usual"]);
}

#[tokio::test]
async fn an_endless_answer_lasts_until_it_is_replaced_or_cleared() {
    let bench = Bench::new(|_| ()).await;
    bench.script(r#"[{"status": 429, "times": 0}]"#).await;
    for _ in 0..3 {
        assert_eq!(bench.push_line("x").await.unwrap(), 429);
    }
    bench.receiver.answers().add([Answer { status: Some(401), times: 0, ..Answer::default() }]);
    assert_eq!(bench.push_line("x").await.unwrap(), 401);
    let answer = bench.http.delete(bench.url("/skald/answers")).send().await.unwrap();
    assert_eq!(answer.status(), 204);
    assert_eq!(bench.push_line("x").await.unwrap(), 204);
}

#[tokio::test]
async fn connections_are_cut_at_four_places() {
    let bench = Bench::new(|_| ()).await;
    let reset = |reset| Answer { reset: Some(reset), ..Answer::default() };
    let cuts = [Reset::Body, Reset::Before, Reset::After, Reset::Status].map(reset);
    bench.receiver.answers().add(cuts);
    for line in ["body", "before", "after", "status"] {
        let error = bench.push_line(line).await.unwrap_err();
        assert!(error.is_request(), "{line}: {error:?}");
    }
    assert_eq!(bench.push_line("usual").await.unwrap(), 204);
    assert_eq!(bench.lines(), ["after", "status", "usual"]);
    assert_eq!(bench.receiver.store().stats().pushes["reset"], 4);
}

/// What is on the wire when the status line is cut, and when half a body is too little.
#[tokio::test]
async fn half_a_status_line_and_half_a_body() {
    let bench = Bench::new(|_| ()).await;
    bench.script(r#"[{"reset": "status"}, {"reset": "body"}]"#).await;
    let talk = async |declared: usize, sent: usize| {
        let mut wire = tokio::net::TcpStream::connect(bench.receiver.addr()).await.unwrap();
        let head = format!("POST {PUSH} HTTP/1.1\r\nhost: x\r\ncontent-length: {declared}\r\n\r\n");
        wire.write_all(&[head.as_bytes(), &vec![0; sent]].concat()).await.unwrap();
        let mut got = Vec::new();
        let patience = std::time::Duration::from_secs(30);
        let end = tokio::time::timeout(patience, wire.read_to_end(&mut got)).await.unwrap();
        let end = end.map_err(|error| error.kind());
        assert_eq!(end, Err(std::io::ErrorKind::ConnectionReset));
        String::from_utf8(got).unwrap()
    };
    assert_eq!(talk(0, 0).await, "HTTP/1.1 40");
    assert_eq!(talk(100, 50).await, "", "the other half is not waited for");
}

/// The rest of a push is stored, as with Loki's own refusals.
#[tokio::test]
async fn entries_are_refused_by_a_query() {
    let bench = Bench::new(|_| ()).await;
    let script = r#"[{"refuse": "{} |= \"poison\"", "body": "is poison", "times": 0}]"#;
    assert_eq!(bench.script(script).await, (204, String::new()));
    let push = || {
        let lines = ["good", "poison 1", "poison 2", "better"].map(|line| entry(0, line)).to_vec();
        vec![stream("{a=\"b\"}", lines), stream("{c=\"d\"}", vec![entry(0, "poison 3")])]
    };
    let text = "400 2 errors like: entry for stream '{a=\"b\"}' is poison; 1 errors like: entry \
                for stream '{c=\"d\"}' is poison";
    bench.expect(push(), text).await;
    assert_eq!(bench.push_line("harmless").await.unwrap(), 204);
    assert_eq!(bench.stored(), ["good", "better", "harmless"]);
    bench.script(r#"[{"refuse": "{c=\"d\"} | m=\"\"", "status": 422}]"#).await;
    bench.expect(push(), "422 entry for stream '{c=\"d\"}' is refused").await;
    assert_eq!(bench.receiver.store().stats().entries, 5);
}

#[tokio::test]
async fn an_answer_may_be_for_one_tenant_only() {
    let bench = Bench::new(|_| ()).await;
    bench.script(r#"[{"status": 500, "tenant": "u"}, {"status": 503, "tenant": "t"}]"#).await;
    assert_eq!(bench.push_line("x").await.unwrap(), 503);
    assert_eq!(bench.push_line("x").await.unwrap(), 204);
    let (status, _) = bench.post(PUSH, &[("x-scope-orgid", "u")], Vec::new()).await;
    assert_eq!(status, 500);
}

/// The same seed gives the same answers, about as often as asked for.
#[tokio::test]
async fn answers_by_chance() {
    let bench = Bench::new(|_| ()).await;
    let script = r#"[{"status": 500, "percent": 10, "times": 0},
        {"status": 429, "percent": 10, "times": 0},
        {"reset": "after", "percent": 2, "times": 0}]"#;
    let mut runs = Vec::new();
    for seed in [7, 7, 8] {
        let path = format!("/skald/answers?seed={seed}");
        assert_eq!(bench.post(&path, &[], script.into()).await.0, 204);
        let mut answers = Vec::new();
        for _ in 0..300 {
            answers.push(bench.push_line("x").await.unwrap_or(0));
        }
        runs.push(answers);
    }
    assert_eq!(runs[0], runs[1]);
    assert_ne!(runs[0], runs[2]);
    for (status, about) in [(500, 30), (429, 27), (0, 5), (204, 238)] {
        let count = runs[0].iter().filter(|got| **got == status).count();
        assert!((about / 2..about * 2 + 10).contains(&count), "{status}: {count} of 300");
    }
}

#[tokio::test]
async fn a_script_that_cannot_be_followed_is_refused() {
    let bench = Bench::new(|_| ()).await;
    for script in [
        "{}",
        r#"[{"state": 500}]"#,
        r#"[{"status": 100}]"#,
        r#"[{"status": 70000}]"#,
        r#"[{"headers": {"a b": "c"}}]"#,
        r#"[{"reset": "never"}]"#,
        r#"[{"refuse": "{a"}]"#,
        r#"[{"percent": -1}]"#,
    ] {
        assert_eq!(bench.script(script).await.0, 400, "{script}");
    }
    assert_eq!(bench.push_line("x").await.unwrap(), 204);
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let bench = Bench::new(|_| ()).await;
    let options = Options::new(Clock::new(|| UnixNanos(NOW)));
    let error = Receiver::start(bench.receiver.addr(), options).await.unwrap_err();
    assert!(error.to_string().starts_with(&format!("cannot listen on {}", bench.receiver.addr())));
}

/// What measurements use in place of the store: a push goes to it as it came, also a broken one.
#[tokio::test]
async fn a_tap_takes_bodies_in_place_of_the_store() {
    let (send, taken) = std::sync::mpsc::sync_channel(9);
    let tap = Tap::new(move |body| send.send(body.to_vec()).unwrap());
    let bench = Bench::new(|options| options.tap = Some(tap)).await;
    for body in ["no snappy", "another"] {
        assert_eq!(bench.post(PUSH, &[], body.into()).await, (204, String::new()));
    }
    assert_eq!(taken.try_iter().collect::<Vec<_>>(), [&b"no snappy"[..], b"another"]);
    assert!(bench.lines().is_empty());
}
