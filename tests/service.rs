//! A real FastAPI service under uvicorn, its standard output piped into `skald`.
//!
//! Every line that the service wrote (as `--tee` shows it) is in the receiver once, in the right
//! stream, with its ids in structured metadata and its own time, and is found by request id.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![expect(clippy::disallowed_methods, reason = "the service and its clock are real")]

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use serde_json::Value;
use skald::model::UnixNanos;
use skald::receive::{Clock, Direction, Options, Query, Received, Receiver, Span};

const SERVICE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/service");
const REQUESTS: usize = 60;

/// Kills what a failing test would leave behind.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn every_line_of_every_request_arrives_once() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let network = runtime.handle().clone();
    std::thread::spawn(move || runtime.block_on(std::future::pending::<()>()));
    let clock = Clock::new(|| {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        UnixNanos(i64::try_from(since.as_nanos()).unwrap())
    });
    let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let receiver = network.block_on(Receiver::start(listen, Options::new(clock))).unwrap();

    let python = venv();
    let port = free_port();
    let mut service = Running(
        Command::new(python)
            .args(["-m", "uvicorn", "app:app", "--port", &port.to_string()])
            .current_dir(SERVICE)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap(),
    );
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("stdout");
    let mut skald = Running(
        Command::new(env!("CARGO_BIN_EXE_skald"))
            .args(["--url", &format!("http://{}", receiver.addr())])
            .args(["--label", "app=veogen", "--tee"])
            .stdin(service.0.stdout.take().unwrap())
            .stdout(fs_err::File::create(&copy).unwrap().into_parts().0)
            .spawn()
            .unwrap(),
    );

    let ids = network.block_on(send_requests(port));
    terminate(&service.0);
    service.0.wait().unwrap();
    let status = skald.0.wait().unwrap();
    assert!(status.success(), "skald ended with {status}");

    let written = fs_err::read_to_string(&copy).unwrap();
    let arrived = receiver.store().entries();
    compare(&written, &arrived);
    for (id, kinds) in &ids {
        let query = Query::parse(&format!(r#"{{app="veogen"}} | request_id="{id}""#)).unwrap();
        let found = receiver.store().find(None, &query, &everything());
        let found: Vec<&str> = found.iter().map(|entry| label(entry, "event_type")).collect();
        assert_eq!(found, *kinds, "the lines of request {id}");
    }
    check_entries(&arrived);
}

/// The same lines, each as often, in the same order.
fn compare(written: &str, arrived: &[Arc<Received>]) {
    let written: Vec<&str> = written.lines().collect();
    let mut counts = BTreeMap::<&str, i64>::new();
    for line in &written {
        *counts.entry(line).or_default() += 1;
    }
    let texts: Vec<String> = arrived.iter().map(|entry| entry.text().into_owned()).collect();
    for text in &texts {
        *counts.entry(text).or_default() -= 1;
    }
    counts.retain(|_, count| *count != 0);
    assert!(counts.is_empty(), "lost (1) or foreign (-1) lines: {counts:#?}");
    assert!(2 * REQUESTS < written.len(), "the service wrote only {} lines", written.len());
    let tracebacks = texts.iter().filter(|text| text.contains("Traceback (most recent call last)"));
    assert!(10 < tracebacks.count(), "requests failed with tracebacks");
    let plain = texts.iter().filter(|text| !text.starts_with('{'));
    assert!(REQUESTS <= plain.count(), "uvicorn's own access log is among the lines");
}

/// Labels, metadata and time of each JSON line are its own.
fn check_entries(arrived: &[Arc<Received>]) {
    for entry in arrived {
        assert_eq!(label(entry, "app"), "veogen");
        let Ok(line) = serde_json::from_str::<Value>(&entry.text()) else {
            assert_eq!(entry.labels.to_string(), r#"{app="veogen"}"#);
            continue;
        };
        for name in ["level", "event_type"] {
            assert_eq!(label(entry, name), line[name].as_str().unwrap_or_default(), "{entry:?}");
        }
        let expected: BTreeMap<&str, &str> = ["request_id", "user_id", "trace_id"]
            .into_iter()
            .filter_map(|name| Some((name, line[name].as_str()?)))
            .collect();
        let metadata: BTreeMap<&str, &str> =
            entry.metadata.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(metadata, expected);
        let own: jiff::Timestamp = line["timestamp"].as_str().unwrap().parse().unwrap();
        let late = i128::from(entry.time.0) - own.as_nanosecond();
        assert!((0..1000).contains(&late), "{late} ns behind its own time: {entry:?}");
    }
}

/// Sends requests, twelve at a time, and returns what each should have logged.
async fn send_requests(port: u16) -> Vec<(String, Vec<&'static str>)> {
    // uvicorn closes a connection after an exception, which a kept one would meet as a reset.
    let client = reqwest::Client::builder().pool_max_idle_per_host(0).build().unwrap();
    let base = format!("http://127.0.0.1:{port}");
    wait_for(&client, &base).await;
    let mut expected = Vec::new();
    let mut tasks = tokio::task::JoinSet::new();
    for idx in 0..REQUESTS {
        let (request, kinds) = match idx % 5 {
            0 => (client.get(format!("{base}/videos/{idx}")), vec!["request_start", "request_end"]),
            1 => (client.get(format!("{base}/videos/404")), vec!["request_start", "request_end"]),
            2 => (
                client.post(format!("{base}/videos")).body("a cat \"on\" a \\ roof 猫"),
                vec!["request_start", "user_action", "request_end"],
            ),
            3 => (
                client.post(format!("{base}/videos")).body("bad cat"),
                vec!["request_start", "user_action", "error", "request_end"],
            ),
            _ => (client.get(format!("{base}/crash")), vec!["request_start", "request_error"]),
        };
        let id = format!("{idx:08x}-0000-4000-8000-{:012x}", idx * 7919);
        let mut request = request.header("x-request-id", &id);
        if idx % 3 != 0 {
            request = request.header("x-user-id", format!("user-{}", idx % 7));
        }
        expected.push((id, kinds));
        tasks.spawn(async move { request.send().await.unwrap().status() });
        if tasks.len() == 12 {
            tasks.join_next().await.unwrap().unwrap();
        }
    }
    let mut failed = 0;
    while let Some(status) = tasks.join_next().await {
        failed += u32::from(status.unwrap().is_server_error());
    }
    assert!(0 < failed, "no request failed");
    expected
}

async fn wait_for(client: &reqwest::Client, base: &str) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while client.get(format!("{base}/videos/0")).send().await.is_err() {
        assert!(Instant::now() < deadline, "the service does not start");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A venv with what the service needs, made once for these requirements.
fn venv() -> PathBuf {
    let requirements = format!("{SERVICE}/requirements.txt");
    let wanted = fs_err::read(&requirements).unwrap();
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("service-venv");
    let (python, done) = (folder.join("bin/python"), folder.join("requirements.txt"));
    if fs_err::read(&done).is_ok_and(|made| made == wanted) {
        return python;
    }
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder));
    run(Command::new(&python).args(["-m", "pip", "install", "--quiet", "-r", &requirements]));
    fs_err::copy(&requirements, &done).unwrap();
    python
}

fn run(command: &mut Command) {
    let status = command.status().unwrap_or_else(|err| panic!("{command:?}: {err}"));
    assert!(status.success(), "{command:?} ended with {status}");
}

fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

fn terminate(child: &Child) {
    let pid = rustix::process::Pid::from_child(child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
}

fn label<'a>(entry: &'a Received, name: &str) -> &'a str {
    entry.labels.get(name).map_or("", |value| value)
}

fn everything() -> Span {
    Span {
        start: UnixNanos(i64::MIN),
        end: UnixNanos(i64::MAX),
        limit: usize::MAX,
        direction: Direction::Forward,
    }
}
