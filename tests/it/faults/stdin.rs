//! Standard input: a writer that must wait, ends of every kind, and what cannot be read at all.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::process::Signal;

use super::super::stdin;
use super::super::support::metrics::{adds_up, page};
use super::super::support::oracle::EXACT;
use super::super::support::process::after;
use super::super::support::{
    Loki, Metrics, Sent, Skald, address, always, answer, eventually, settled, skald, timed, within,
};

/// `skald --url`, with standard input open and admin pages.
fn pipe(url: &str, admin: SocketAddr, args: &[&str]) -> Command {
    let mut command = stdin::pipe(url, args);
    command.args(["--admin", &admin.to_string()]);
    command
}

#[test]
fn a_large_pipe_waits_for_a_dead_loki_and_loses_nothing() {
    const LINES: u64 = 60_000;
    let (listen, admin) = (address(3100), address(9464));
    let mut skald = Skald::spawn(&mut pipe(&format!("http://{listen}"), admin, &[]));
    let (mut input, taken) = (skald.stdin(), Arc::<AtomicU64>::default());
    let count = Arc::clone(&taken);
    let writer = std::thread::spawn(move || {
        let mut sent = stdin::write_slowly(&mut input, LINES - 1, &count);
        // The last one has no end.
        input.write_all(sent.line("in", "").trim_end().as_bytes()).unwrap();
        sent
    });
    eventually("some lines", || Metrics::read(admin).sum("lines_read_total") != 0);
    let bytes = settled(Duration::from_secs(2), || taken.load(Ordering::Relaxed));
    let metrics = adds_up(admin);
    eprintln!("a dead loki: blocked after {bytes} bytes, peak {} KiB", skald.status("VmHWM"));
    assert!(!writer.is_finished() && bytes < 24 << 20, "{bytes} bytes were taken");
    assert!(metrics.get("memory_peak_bytes") <= metrics.get("memory_limit_bytes"), "{metrics:?}");
    let loki = Loki::with(listen, |_| ());
    // The writer goes on by itself, and its end is the agent's.
    let sent = writer.join().unwrap();
    let ended = skald.wait();
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    assert!(ended.err.contains(&format!("delivered={LINES}")), "{}", ended.err);
    assert_eq!(sent.found(loki.store()), EXACT);
}

#[test]
fn what_a_signal_leaves_behind_is_counted_and_said() {
    // Loki answers nothing but this, and the writer never ends.
    let limit = "Ingestion rate limit exceeded for user fake (limit: 4194304 bytes/sec)";
    let (loki, admin, mut sent) = (Loki::start(), address(9464), Sent::default());
    loki.answers().add([always(answer(429, limit))]);
    let folder = tempfile::tempdir().unwrap();
    let mut skald = stdin::configured(&loki.url(), folder.path(), admin);
    let mut input = skald.stdin();
    input.write_all(sent.lines("in", 500).as_bytes()).unwrap();
    input.write_all(b"half a li").unwrap();
    eventually("a refusal", || loki.pushes("429") != 0);
    let metrics = adds_up(admin);
    assert_eq!(metrics.sum("lines_dropped_total"), 0, "{metrics:?}");
    let (ended, taken) = timed(|| skald.stop());
    drop(input);
    assert_eq!(ended.code, Some(1), "{}", ended.err);
    // With the half line, which nobody will finish.
    let dropped = ended.err.contains("dropped=500") || ended.err.contains("dropped=501");
    assert!(dropped && ended.err.contains("lines were lost"), "{}", ended.err);
    assert!(Duration::from_millis(900) < taken, "{taken:?}");
    assert_eq!(loki.copies(), 0);
}

#[test]
fn an_end_in_the_middle_of_anything_is_an_end() {
    // A writer that is killed in the middle of a line: all that it wrote arrives.
    let (loki, admin) = (Loki::start(), address(9464));
    let (from_writer, to_skald) = std::io::pipe().map(|(r, w)| (OwnedFd::from(r), w)).unwrap();
    let mut command = pipe(&loki.url(), admin, &[]);
    let skald = Skald::spawn(command.stdin(Stdio::from(from_writer)));
    drop(command);
    let mut writer = Command::new("sh");
    writer.args(["-c", "echo one; printf 'two without end'; kill -9 $$"]).stdout(to_skald);
    assert!(!writer.status().unwrap().success());
    drop(writer);
    let ended = skald.wait();
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    let lines: Vec<String> = loki.store().entries().iter().map(|e| e.text().into_owned()).collect();
    assert_eq!(lines, ["one", "two without end"]);
}

#[test]
fn an_input_that_cannot_be_read_ends_with_a_word() {
    let (loki, folder) = (Loki::start(), tempfile::tempdir().unwrap());
    let run = |command: &mut Command| Skald::spawn(command).wait();
    let url = loki.url();
    let plain = || {
        let mut command = skald();
        command.args(["--url", &url]);
        command
    };
    // Closed at the start.
    let closed = run(&mut after("exec 0<&-", &plain()));
    // A folder.
    let folder = File::open(folder.path()).unwrap();
    let of_folder = run(plain().stdin(Stdio::from(OwnedFd::from(folder))));
    // A descriptor that is open for writing only.
    let (_reader, writer) = std::io::pipe().unwrap();
    let of_writer = run(plain().stdin(Stdio::from(OwnedFd::from(writer))));
    // What is closed at the start is opened as an empty one.
    for (name, ended, code) in
        [("closed", closed, 0), ("folder", of_folder, 1), ("write only", of_writer, 1)]
    {
        eprintln!("{name}: {:?} {}", ended.code, ended.err);
        assert_eq!(ended.code, Some(code), "{name}: {}", ended.err);
        let is_said = ended.err.contains("not all of the input could be read");
        assert_eq!(is_said, code == 1, "{name}: {}", ended.err);
    }
    assert_eq!(loki.copies(), 0);
    // Nothing at all is a good end.
    assert_eq!(run(&mut plain()).code, Some(0));
}

#[test]
fn a_tee_that_breaks_in_the_middle_is_no_end() {
    let (loki, admin, mut sent) = (Loki::start(), address(9464), Sent::default());
    let mut skald = Skald::spawn(pipe(&loki.url(), admin, &["--tee"]).stdout(Stdio::piped()));
    let (mut input, mut output) = (skald.stdin(), skald.stdout());
    input.write_all(sent.lines("in", 100).as_bytes()).unwrap();
    output.read_exact(&mut [0; 100]).unwrap();
    // As `| head -1` does: the next write meets SIGPIPE.
    drop(output);
    for _ in 0..10 {
        input.write_all(sent.lines("in", 100).as_bytes()).unwrap();
        let so_far = sent.count();
        eventually("all lines", || sent.arrived(loki.store()) == so_far);
    }
    adds_up(admin);
    assert!(skald.is_running() && page(admin, "/healthy").unwrap().0 == 200);
    assert_ne!(Metrics::read(admin).sum("tee_skipped_bytes_total"), 0, "the fault did not happen");
    drop(input);
    let ended = skald.wait();
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    assert_eq!(sent.found(loki.store()), EXACT);
}

#[test]
fn after_sigkill_only_what_was_in_memory_is_gone() {
    let (loki, admin, mut sent) = (Loki::start(), address(9464), Sent::default());
    let mut skald = Skald::spawn(&mut pipe(&loki.url(), admin, &[]));
    let mut input = skald.stdin();
    input.write_all(sent.lines("in", 300).as_bytes()).unwrap();
    eventually("the lines", || sent.arrived(loki.store()) == 300);
    adds_up(admin);
    loki.answers().add([always(answer(503, "later"))]);
    input.write_all(sent.lines("in", 200).as_bytes()).unwrap();
    eventually("a read", || Metrics::read(admin).sum("lines_read_total") == 500);
    skald.signal(Signal::KILL);
    skald.wait();
    // The writer hears of it: its pipe is broken.
    let is_broken = within(Duration::from_secs(10), || input.write_all(b"x\n").is_err());
    assert!(is_broken);
    let found = sent.found(loki.store());
    assert_eq!((found.lost, found.repeated, found.foreign), (200, 0, 0), "{found:?}");
}
