//! The real transport over plain HTTP on loopback.

use std::time::Duration;

use bytes::Bytes;
use secrecy::SecretString;

use super::model_loki::options;
use super::server::Server;
use crate::model::{Now, UnixNanos};
use crate::push::transport::retry_after;
use crate::push::{
    Answer, Auth, CLIENT_AGE_MAX, FAILURES_MAX, Failure, HttpTransport, Options, Proxy, Secret,
    Transport as _,
};

pub(super) const STORED: &str = "HTTP/1.1 204 No Content\r\n\r\n";
const REFUSED: &str = "HTTP/1.1 401 Unauthorized\r\nContent-Length: 10\r\n\r\nno org id\n";

pub(super) fn at(seconds: u64) -> Now {
    Now { mono: Duration::from_secs(seconds), wall: UnixNanos(1_768_467_600_000_000_000) }
}

fn to(server: &Server) -> Options {
    Options { url: format!("http://127.0.0.1:{}/loki/api/v1/push", server.port), ..options() }
}

pub(super) fn status(code: u16, body: &str) -> Answer {
    Answer::Status { code, body: body.into(), retry_after: None }
}

pub(super) fn block_on<T>(test: impl Future<Output = T>) -> T {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().build().unwrap();
    runtime.block_on(async {
        let limited = tokio::time::timeout(Duration::from_secs(30), test).await;
        limited.expect("the test takes too long")
    })
}

pub(super) async fn post(transport: &HttpTransport, seconds: u64) -> Answer {
    transport.post(Bytes::from_static(b"body"), Some("veogen"), at(seconds)).await
}

#[test]
fn a_push_looks_as_loki_wants_it() {
    block_on(async {
        let server = Server::start(STORED, None).await;
        let headers = vec![("X-Team".into(), "a".into())];
        let transport = HttpTransport::new(Options { headers, ..to(&server) }).unwrap();
        assert_eq!(post(&transport, 0).await, status(204, ""));
        let request = server.last();
        assert!(
            request.head.starts_with("POST /loki/api/v1/push HTTP/1.1\r\n"),
            "{}",
            request.head
        );
        assert_eq!(request.body, b"body");
        let version = format!("skald/{}", env!("CARGO_PKG_VERSION"));
        for (name, value) in [
            ("content-type", "application/x-protobuf"),
            ("content-encoding", "snappy"),
            ("user-agent", &version),
            ("x-scope-orgid", "veogen"),
            ("x-team", "a"),
            ("content-length", "4"),
            ("host", &format!("127.0.0.1:{}", server.port)),
        ] {
            assert_eq!(request.header(name), Some(value), "{name}");
        }
        assert_eq!(request.header("authorization"), None);
    });
}

#[test]
fn answers_are_read_as_far_as_they_matter() {
    block_on(async {
        let server = Server::start(STORED, None).await;
        let transport = HttpTransport::new(to(&server)).unwrap();
        let long = format!("HTTP/1.1 400 Bad\r\nContent-Length: 9000\r\n\r\n{}", "x".repeat(9000));
        let cut_off = "HTTP/1.1 500 Oops\r\nConnection: close\r\n\r\npanic";
        let redirect = "HTTP/1.1 301 Moved\r\nLocation: /there\r\nContent-Length: 0\r\n\r\n";
        let blocked = "HTTP/1.1 260 Blocked\r\nContent-Length: 7\r\n\r\nblocked";
        for (answer, want) in [
            (long.as_str(), status(400, &"x".repeat(4096))),
            (redirect, status(301, "")),
            (blocked, status(260, "blocked")),
            (REFUSED, status(401, "no org id\n")),
        ] {
            server.answer(answer);
            assert_eq!(post(&transport, 0).await, want);
        }
        server.answer(&cut_off.replace("close", "keep-alive\r\nContent-Length: 5"));
        assert_eq!(post(&transport, 0).await, status(500, "panic"));
        server.answer("HTTP/1.1 429 Slow\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n");
        let retry_after = Some(Duration::from_secs(7));
        let want = Answer::Status { code: 429, body: String::new(), retry_after };
        assert_eq!(post(&transport, 0).await, want);
    });
}

#[test]
fn retry_after_is_seconds_or_a_date() {
    let wall = at(0).wall;
    for (text, want) in [
        ("0", Some(0)),
        (" 120 ", Some(120)),
        ("Thu, 15 Jan 2026 09:00:30 GMT", Some(30)),
        ("Thu, 15 Jan 2026 08:00:00 GMT", Some(0)),
        ("soon", None),
        ("-1", None),
        ("", None),
    ] {
        assert_eq!(retry_after(text, wall), want.map(Duration::from_secs), "{text}");
    }
}

async fn fails(options: Options, kind: Failure, text: &str) {
    let transport = HttpTransport::new(options).unwrap();
    let want = Answer::Failed { text: text.into(), kind };
    assert_eq!(post(&transport, 0).await, want);
}

#[test]
fn faults_name_the_host_and_the_cause() {
    block_on(async {
        let server = Server::start("", None).await;
        let host = format!("127.0.0.1:{}", server.port);
        let text =
            format!("the connection to {host} broke: connection closed before message completed");
        fails(to(&server), Failure::Broken, &text).await;
        server.answer("hang");
        let slow = Options { timeout: Duration::from_millis(100), ..to(&server) };
        let text = format!("no answer from {host} within 100ms");
        fails(slow, Failure::Timeout, &text).await;
        let refused = Options { url: "http://127.0.0.1:1/push".into(), ..options() };
        let text = "cannot connect to 127.0.0.1:1: connection refused";
        fails(refused.clone(), Failure::Connect, text).await;
        let proxy = Proxy::Url("http://user:secret@127.0.0.1:1".into());
        let text = format!("cannot connect to {host} through the proxy: connection refused");
        fails(Options { proxy, ..to(&server) }, Failure::Connect, &text).await;
        let auth = Auth::Bearer(Secret::File("/nowhere/token".into()));
        let text = "failed to open file `/nowhere/token`: No such file or directory (os error 2)";
        fails(Options { auth, ..refused }, Failure::Setup, text).await;
    });
}

#[test]
fn an_unknown_host_is_named() {
    block_on(async {
        let url = "http://loki.invalid/loki/api/v1/push".into();
        let transport = HttpTransport::new(Options { url, ..options() }).unwrap();
        let Answer::Failed { text, kind } = post(&transport, 0).await else { panic!("an answer") };
        assert_eq!(kind, Failure::Connect);
        assert!(text.starts_with("cannot connect to loki.invalid:80: "), "{text}");
    });
}

#[test]
fn a_proxy_is_asked_for_the_whole_url() {
    block_on(async {
        let server = Server::start(STORED, None).await;
        let proxy = Proxy::Url(format!("http://user:pass@127.0.0.1:{}", server.port));
        let url = "http://loki.invalid:3100/push".into();
        let transport = HttpTransport::new(Options { url, proxy, ..options() }).unwrap();
        assert_eq!(post(&transport, 0).await, status(204, ""));
        let request = server.last();
        assert!(request.head.starts_with("POST http://loki.invalid:3100/push HTTP/1.1\r\n"));
        assert_eq!(request.header("proxy-authorization"), Some("Basic dXNlcjpwYXNz"));
    });
}

#[test]
fn credentials_are_read_again_when_they_change() {
    block_on(async {
        let server = Server::start(STORED, None).await;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let write = |text: &str| {
            let mut file = fs_err::File::create(&path).unwrap();
            std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
        };
        write("one\n");
        let auth = Auth::Bearer(Secret::File(path.clone()));
        let transport = HttpTransport::new(Options { auth, ..to(&server) }).unwrap();
        let sent = || server.last().header("authorization").map(ToOwned::to_owned);
        post(&transport, 0).await;
        assert_eq!(sent().as_deref(), Some("Bearer one"));
        write("second");
        post(&transport, 0).await;
        assert_eq!(sent().as_deref(), Some("Bearer one"), "looked at once a second");
        server.answer(REFUSED);
        post(&transport, 0).await;
        write("3");
        post(&transport, 0).await;
        assert_eq!(sent().as_deref(), Some("Bearer 3"), "read again after a 401");
        server.answer(STORED);
        write("fourth\r\n");
        post(&transport, 2).await;
        assert_eq!(sent().as_deref(), Some("Bearer fourth"));
        for (text, why) in [("", "is empty"), ("a\nb", "more than one line")] {
            write(text);
            let answer = post(&transport, if text.is_empty() { 4 } else { 6 }).await;
            let Answer::Failed { text, kind: Failure::Setup } = answer else { panic!("sent") };
            assert!(text.contains(why) && text.contains("token"), "{text}");
        }
    });
}

#[test]
fn a_password_is_sent_but_never_shown() {
    block_on(async {
        let server = Server::start(STORED, None).await;
        let password = Secret::Value(SecretString::from("s3cret"));
        let auth = Auth::Basic { username: "u".into(), password };
        let headers = vec![("X-Key".into(), "k3y".into())];
        let options = Options { auth, headers, ..to(&server) };
        let transport = HttpTransport::new(options).unwrap();
        post(&transport, 0).await;
        assert_eq!(server.last().header("authorization"), Some("Basic dTpzM2NyZXQ="));
        let shown = format!("{transport:?}");
        assert!(!shown.contains("s3cret") && !shown.contains("k3y"), "{shown}");
    });
}

#[test]
fn no_connection_is_kept_for_ever() {
    block_on(async {
        let server = Server::start(STORED, None).await;
        let transport = HttpTransport::new(to(&server)).unwrap();
        let age_max = CLIENT_AGE_MAX.as_secs();
        let mut connections = vec![];
        for seconds in [0, 1, age_max - 1, age_max, age_max + 1] {
            post(&transport, seconds).await;
            connections.push(server.last().connection);
        }
        assert_eq!(connections, [0, 0, 0, 1, 1]);
        server.answer("HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n");
        for _ in 0..=FAILURES_MAX {
            post(&transport, age_max + 2).await;
        }
        assert_eq!(server.last().connection, 2, "another address may do");
    });
}

#[test]
fn what_can_never_work_is_told_at_once() {
    let with = |change: &dyn Fn(&mut Options)| {
        let mut options = options();
        change(&mut options);
        HttpTransport::new(options).unwrap_err().to_string()
    };
    let url = |url: &str| with(&|options| options.url = url.to_owned());
    assert_eq!(url("loki:3100"), "url: it must start with http:// or https://");
    assert_eq!(url("http://"), "url: empty host");
    assert_eq!(url("http://u:secret@loki/"), "url: it holds credentials; use `basic_auth`");
    let header = |name: &str, value: &str| {
        with(&|options| options.headers = vec![(name.to_owned(), value.to_owned())])
    };
    assert_eq!(header("a b", "c"), "header `a b`: not a header name");
    assert_eq!(header("a", "c\n"), "header `a`: not a header value");
    assert_eq!(header("X-Scope-OrgID", "c"), "header `X-Scope-OrgID`: is set by skald itself");
    let insecure = with(&|options| options.tls.insecure_skip_verify = true);
    assert_eq!(insecure, "tls: needs a url with https://");
    let proxy = with(&|options| options.proxy = Proxy::Url("http://u:secret@:x".into()));
    assert_eq!(proxy, "proxy: not a URL of a proxy");
}
