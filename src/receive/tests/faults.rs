//! Failing on demand.

use super::super::{Answer, Reset};
use super::*;

impl Bench {
    async fn script(&self, json: &str) -> (u16, String) {
        self.post("/skald/answers", &[], json.as_bytes().to_vec()).await
    }

    async fn push_line(&self, line: &str) -> Result<u16, reqwest::Error> {
        let request = PushRequest { streams: vec![stream("{a=\"b\"}", vec![entry(0, line)])] };
        let body = snap(&request.encode_to_vec());
        let request = self.http.post(self.url(PUSH)).header("content-type", "x").body(body);
        Ok(request.send().await?.status().as_u16())
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
async fn connections_are_reset_before_or_after_storing() {
    let bench = Bench::new(|_| ()).await;
    let reset = |reset| Answer { reset: Some(reset), ..Answer::default() };
    bench.receiver.answers().add([reset(Reset::Before), reset(Reset::After)]);
    for line in ["before", "after"] {
        let error = bench.push_line(line).await.unwrap_err();
        assert!(error.is_request(), "{error:?}");
    }
    assert_eq!(bench.push_line("usual").await.unwrap(), 204);
    assert_eq!(bench.lines(), ["after", "usual"]);
    assert_eq!(bench.receiver.store().stats().pushes["reset"], 2);
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
