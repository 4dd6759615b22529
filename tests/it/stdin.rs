//! Standard input: delivered at its end, or counted; `--tee`; signals while the writer writes.

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::support::metrics::adds_up;
use super::support::oracle::EXACT;
use super::support::{Answer, Loki, Metrics, Sent, Skald, address, always, answer, eventually};
use super::support::{settled, skald, within};

/// `skald --url` of this receiver, with standard input open.
pub(crate) fn pipe(url: &str, args: &[&str]) -> Command {
    let mut command = skald();
    command.args(["--url", url, "--label", "app=t"]).args(args).stdin(Stdio::piped());
    command
}

#[test]
fn everything_is_delivered_at_the_end() {
    let cases: [(&str, u64, bool); 4] =
        [("nothing", 0, true), ("one", 1, true), ("many", 20_000, true), ("no end", 100, false)];
    for (name, lines, newline) in cases {
        let (loki, mut sent) = (Loki::start(), Sent::default());
        let mut text = sent.lines("in", lines);
        if !newline {
            text.pop();
        }
        let mut skald = Skald::spawn(&mut pipe(&loki.url(), &[]));
        skald.stdin().write_all(text.as_bytes()).unwrap();
        let ended = skald.wait();
        assert_eq!(ended.code, Some(0), "{name}: {}", ended.err);
        assert_eq!(sent.found(loki.store()), EXACT, "{name}");
        assert!(ended.err.contains(&format!("delivered={lines}")), "{name}: {}", ended.err);
    }
}

#[test]
fn without_any_label_there_is_a_job() {
    let loki = Loki::start();
    let mut command = skald();
    command.args(["--url", &loki.url()]).stdin(Stdio::piped());
    let mut skald = Skald::spawn(&mut command);
    writeln!(skald.stdin(), "plain text").unwrap();
    assert_eq!(skald.wait().code, Some(0));
    let entries = loki.store().entries();
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0].labels.to_string(), r#"{job="skald"}"#);
}

#[test]
fn what_was_not_delivered_is_counted_in_the_end() {
    // Nobody listens here.
    let mut sent = Sent::default();
    let url = format!("http://{}", address(3100));
    let mut skald = Skald::spawn(&mut pipe(&url, &["--deadline", "1s"]));
    skald.stdin().write_all(sent.lines("in", 321).as_bytes()).unwrap();
    let start = Instant::now();
    let ended = skald.wait();
    assert_eq!(ended.code, Some(1), "{}", ended.err);
    assert!(ended.err.contains("dropped=321"), "{}", ended.err);
    assert!(Duration::from_millis(900) < start.elapsed(), "{:?}", start.elapsed());

    // Loki refuses the one line for good, and there is no folder to keep it in.
    let loki = Loki::start();
    loki.answers().add([always(answer(400, "entry is no good"))]);
    let mut skald = Skald::spawn(&mut pipe(&loki.url(), &[]));
    writeln!(skald.stdin(), "one bad line").unwrap();
    let ended = skald.wait();
    assert_eq!(ended.code, Some(1), "{}", ended.err);
    assert!(ended.err.contains("dropped=1"), "{}", ended.err);
    assert!(ended.err.contains("entry is no good"), "{}", ended.err);
    assert_eq!(loki.copies(), 0);
}

/// Writes `lines` lines of about 1 KiB that do not compress, and counts the bytes that the pipe
/// has taken.
pub(crate) fn write_slowly(mut to: impl std::io::Write, lines: u64, taken: &AtomicU64) -> Sent {
    let (mut sent, mut rng) = (Sent::default(), fastrand::Rng::with_seed(7));
    for _ in 0..lines {
        let line = sent.noisy("in", &mut rng);
        to.write_all(line.as_bytes()).unwrap();
        taken.fetch_add(line.len() as u64, Ordering::Relaxed);
    }
    sent
}

#[test]
fn the_pipe_blocks_while_loki_is_slow() {
    const LINES: u64 = 15_000;
    let (loki, admin) = (Loki::start(), address(9464));
    let slow = Answer { delay_ms: 3_000, ..Default::default() };
    loki.answers().add([always(slow)]);
    let admin_arg = admin.to_string();
    let mut skald = Skald::spawn(&mut pipe(&loki.url(), &["--admin", &admin_arg]));
    let (input, taken) = (skald.stdin(), Arc::<AtomicU64>::default());
    let count = Arc::clone(&taken);
    let writer = std::thread::spawn(move || write_slowly(input, LINES, &count));
    eventually("some lines", || Metrics::read(admin).sum("lines_read_total") != 0);
    // The first answer takes three seconds: within them the writer has to come to a stop.
    let bytes = settled(Duration::from_secs(1), || taken.load(Ordering::Relaxed));
    let peak = skald.status("VmHWM");
    eprintln!("blocked after {bytes} bytes, peak {peak} KiB");
    assert!(!writer.is_finished(), "the pipe took everything");
    assert!(bytes < 24 << 20, "{bytes} bytes");
    assert!(peak < 64 << 10, "{peak} KiB");
    adds_up(admin);
    loki.answers().clear();
    let sent = writer.join().unwrap();
    let ended = skald.wait();
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    assert_eq!(sent.found(loki.store()), EXACT);
}

#[test]
fn tee_copies_unchanged() {
    let loki = Loki::start();
    let mut bytes = b"text\n\xff\xfe invalid\n\0\0\n\r\n\n".to_vec();
    (0..300_000).for_each(|idx: u32| bytes.push(idx.to_le_bytes()[0] | 1));
    bytes.extend_from_slice(b"\nno end");
    let mut skald = Skald::spawn(pipe(&loki.url(), &["--tee"]).stdout(Stdio::piped()));
    let (mut input, mut output) = (skald.stdin(), skald.stdout());
    let text = bytes.clone();
    let writer = std::thread::spawn(move || input.write_all(&text).unwrap());
    let mut copy = Vec::new();
    output.read_to_end(&mut copy).unwrap();
    writer.join().unwrap();
    let ended = skald.wait();
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    assert!(copy == bytes, "{} bytes in, {} out", bytes.len(), copy.len());
}

#[test]
fn a_dead_or_blocked_tee_does_not_stop_shipping() {
    for is_dead in [true, false] {
        let (loki, mut sent) = (Loki::start(), Sent::default());
        let mut skald = Skald::spawn(pipe(&loki.url(), &["--tee"]).stdout(Stdio::piped()));
        let (mut input, output) = (skald.stdin(), skald.stdout());
        // Kept open and never read, or closed.
        let output = Some(output).filter(|_| !is_dead);
        input.write_all(sent.lines("in", 16_000).as_bytes()).unwrap();
        drop(input);
        let ended = skald.wait();
        drop(output);
        assert_eq!(ended.code, Some(0), "{}", ended.err);
        assert!(ended.err.contains("skald_tee_skipped_bytes"), "{}", ended.err);
        assert_eq!(sent.found(loki.store()), EXACT, "dead: {is_dead}");
    }
}

#[test]
fn ten_pipes_need_no_folder() {
    let (loki, mut sent) = (Loki::start(), Sent::default());
    let mut all: Vec<Skald> = (0..10).map(|_| Skald::spawn(&mut pipe(&loki.url(), &[]))).collect();
    for (idx, skald) in all.iter_mut().enumerate() {
        let text = sent.lines(&format!("pipe{idx}"), 100);
        skald.stdin().write_all(text.as_bytes()).unwrap();
    }
    for skald in all {
        let ended = skald.wait();
        assert_eq!(ended.code, Some(0), "{}", ended.err);
    }
    assert_eq!(sent.found(loki.store()), EXACT);
}

#[test]
fn a_signal_does_not_cut_the_writer_off() {
    for signal in [Signal::TERM, Signal::INT] {
        let (loki, mut sent) = (Loki::start(), Sent::default());
        let mut skald = Skald::spawn(&mut pipe(&loki.url(), &[]));
        let mut input = skald.stdin();
        input.write_all(sent.lines("in", 50).as_bytes()).unwrap();
        eventually("the first lines", || sent.arrived(loki.store()) == 50);
        // Ctrl-C hits the service too, which says a few last words.
        skald.signal(signal);
        eventually("the signal", || skald.err().contains("SIG"));
        for _ in 0..3 {
            input.write_all(sent.lines("in", 50).as_bytes()).unwrap();
            let so_far = sent.count();
            eventually("last words", || sent.arrived(loki.store()) == so_far);
        }
        assert!(skald.is_running(), "{}", skald.err());
        input.write_all(sent.line("in", "").trim_end().as_bytes()).unwrap();
        drop(input);
        let ended = skald.wait();
        assert_eq!(ended.code, Some(0), "{}", ended.err);
        assert_eq!(sent.found(loki.store()), EXACT);
    }
}

/// An agent with a configuration that reads standard input, and ends a second after a signal.
pub(crate) fn configured(url: &str, folder: &Path, admin: SocketAddr) -> Skald {
    let config = folder.join("skald.yaml");
    let text = format!(
        "loki: {{url: \"{url}\"}}\nstate_dir: {}\nadmin: {{listen: \"{admin}\"}}\n\
         shutdown: {{deadline: 1s}}\nsources: [{{stdin: true}}]\n",
        folder.join("state").display(),
    );
    fs_err::write(&config, text).unwrap();
    let mut command = skald();
    Skald::spawn(command.arg("run").arg("-c").arg(&config).stdin(Stdio::piped()))
}

#[test]
fn a_signal_and_a_writer_that_never_ends() {
    let (loki, mut sent) = (Loki::start(), Sent::default());
    let folder = tempfile::tempdir().unwrap();
    let mut skald = configured(&loki.url(), folder.path(), address(9464));
    let mut input = skald.stdin();
    input.write_all(sent.lines("in", 50).as_bytes()).unwrap();
    eventually("the lines", || sent.arrived(loki.store()) == 50);
    // The pipe stays open and silent: the deadline ends it.
    let ended = skald.stop();
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    assert_eq!(sent.found(loki.store()), EXACT);
    drop(input);
}

#[test]
fn a_signal_after_the_end_of_input_sets_a_deadline_to_a_dead_loki() {
    let mut sent = Sent::default();
    let folder = tempfile::tempdir().unwrap();
    let nobody = format!("http://{}", address(3100));
    let mut skald = configured(&nobody, folder.path(), address(9464));
    skald.stdin().write_all(sent.lines("in", 50).as_bytes()).unwrap();
    eventually("a try", || skald.err().contains("it is sent again"));
    assert!(!within(Duration::from_millis(1500), || !skald.is_running()), "it waits for Loki");
    let ended = skald.stop();
    assert_eq!(ended.code, Some(1), "{}", ended.err);
    assert!(ended.err.contains("dropped=50"), "{}", ended.err);
}
