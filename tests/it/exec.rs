//! `skald exec`: a service with its two outputs.

use std::io::Read as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;

use super::support::process::after;
use super::support::{
    Bed, Loki, Skald, address, always, answer, eventually, pause, settled, skald,
};

fn exec(url: &str, script: &str) -> Command {
    let mut command = skald();
    command.args(["exec", "--url", url, "--label", "app=t", "--", "sh", "-c", script]);
    command
}

/// What came, as `stream line`, in order of its output.
fn came(loki: &Loki, stream: &str) -> Vec<String> {
    let of = format!("stream=\"{stream}\"");
    let entries = loki.store().entries();
    let own = entries.iter().filter(|entry| entry.labels.to_string().contains(&of));
    own.map(|entry| String::from_utf8_lossy(&entry.line).into_owned()).collect()
}

#[test]
fn outputs_are_two_streams_and_are_copied() {
    let loki = Loki::start();
    let script = "i=0; while [ $i -lt 500 ]; do echo out $i; echo err $i >&2; i=$((i+1)); done";
    let mut command = exec(&loki.url(), script);
    let mut skald = Skald::spawn(command.stdout(Stdio::piped()));
    let mut copied = String::new();
    skald.stdout().read_to_string(&mut copied).unwrap();
    let ended = skald.wait();
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    let numbered = |name: &str| (0..500).map(|n| format!("{name} {n}")).collect::<Vec<_>>();
    assert_eq!(copied.lines().collect::<Vec<_>>(), numbered("out"));
    let copied: Vec<&str> = ended.err.lines().filter(|line| line.starts_with("err ")).collect();
    assert_eq!(copied, numbered("err"));
    assert_eq!((came(&loki, "stdout"), came(&loki, "stderr")), (numbered("out"), numbered("err")));
}

#[test]
fn the_exit_code_is_the_services() {
    let loki = Loki::start();
    for (script, code) in
        [("exit 0", 0), ("exit 3", 3), ("kill -9 $$", 137), ("kill -TERM $$", 143)]
    {
        let ended = Skald::spawn(&mut exec(&loki.url(), script)).wait();
        assert_eq!(ended.code, Some(code), "{script}: {}", ended.err);
    }
    for (program, code, why) in
        [("/nowhere/service", 127, "No such file"), ("/etc/passwd", 126, "Permission denied")]
    {
        let mut command = skald();
        command.args(["exec", "--url", &loki.url(), "--", program]);
        let ended = Skald::spawn(&mut command).wait();
        assert_eq!(ended.code, Some(code), "{}", ended.err);
        assert!(ended.err.contains("cannot run the service") && ended.err.contains(why));
    }
}

#[test]
fn signals_reach_the_service_which_ends_by_itself() {
    let loki = Loki::start();
    let script = "trap 'echo usr1' USR1; trap 'echo term; exit 7' TERM; echo ready; while :; do \
                  sleep 0.05; done";
    let skald = Skald::spawn(&mut exec(&loki.url(), script));
    eventually("the service", || came(&loki, "stdout").contains(&"ready".to_owned()));
    skald.signal(Signal::USR1);
    eventually("the first signal", || came(&loki, "stdout").contains(&"usr1".to_owned()));
    let ended = skald.stop();
    assert_eq!(ended.code, Some(7), "{}", ended.err);
    assert_eq!(came(&loki, "stdout"), ["ready", "usr1", "term"]);
}

#[test]
fn others_that_hold_an_output_open_do_not_hold_the_end() {
    let loki = Loki::start();
    let script = "(sleep 60; echo late) & echo now; exit 4";
    let ended = Skald::spawn(&mut exec(&loki.url(), script)).wait_for(Duration::from_secs(20));
    assert_eq!(ended.code, Some(4), "{}", ended.err);
    assert_eq!(came(&loki, "stdout"), ["now"]);
}

/// Processes without a parent become ours, as those of a container's first process do.
#[cfg(target_os = "linux")]
#[test]
fn orphans_are_waited_for() {
    let loki = Loki::start();
    let script = "i=0; while [ $i -lt 5 ]; do (sleep 0.1 & echo $!); i=$((i+1)); done; sleep 60";
    let skald = Skald::spawn(&mut exec(&loki.url(), script));
    eventually("the orphans", || came(&loki, "stdout").len() == 5);
    let state = |pid: &str| fs_err::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let orphans = came(&loki, "stdout");
    eventually("their ends", || orphans.iter().all(|pid| state(pid).is_empty()));
    let ended = skald.stop();
    assert_eq!(ended.code, Some(143), "{}", ended.err);
}

#[test]
fn what_cannot_be_delivered_is_said_by_the_exit_code() {
    let nobody = format!("http://{}", address(3100));
    for (script, code) in [("echo x", 1), ("echo x; exit 5", 5)] {
        let mut command = skald();
        command.args(["exec", "--url", &nobody, "--deadline", "500ms", "--", "sh", "-c", script]);
        let ended = Skald::spawn(&mut command).wait();
        assert_eq!(ended.code, Some(code), "{}", ended.err);
        assert!(ended.err.contains("lines were lost"), "{}", ended.err);
    }
}

#[test]
fn a_file_gives_the_rules_and_follows_files_beside() {
    let mut bed = Bed::new();
    bed.source =
        "  - stdin: true\n    labels: {app: service}\n    multiline: {first: '^[0-9]'}\n    \
                  rules:\n      - drop: {$line: {contains: noise}}\n      - metadata: $stream"
            .to_owned();
    bed.append("a.log", "in a file\n");
    let mut command = skald();
    command.arg("exec").arg("-c").arg(bed.config());
    command.args(["--", "sh", "-c", "sleep 0.3; echo 1 a; echo b; echo noise >&2; echo 2 c"]);
    let ended = Skald::spawn(&mut command).wait();
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    let mut lines: Vec<String> = (bed.loki.store().entries().iter())
        .map(|entry| {
            let pairs: Vec<_> = entry.metadata.iter().map(|(_, value)| value.as_str()).collect();
            format!("{} {}", String::from_utf8_lossy(&entry.line), pairs.join(" "))
        })
        .collect();
    lines.sort_unstable();
    assert_eq!(lines, ["1 a\nb stdout", "2 c stdout", "in a file "]);
    let mut command = skald();
    command.args(["exec", "--url", "http://loki", "--tee", "--", "true"]);
    let ended = Skald::spawn(&mut command).wait();
    assert_eq!(ended.code, Some(2), "{}", ended.err);
    let mut command = skald();
    bed.source = String::new();
    command.arg("exec").arg("-c").arg(bed.config()).args(["--", "true"]);
    let ended = Skald::spawn(&mut command).wait();
    assert_eq!(ended.code, Some(2), "{}", ended.err);
    assert!(ended.err.contains("no source with `stdin: true`"), "{}", ended.err);
}

/// The service has done nothing when the agent cannot start.
#[test]
fn an_agent_that_cannot_start_starts_no_service() {
    let bed = Bed::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let admin = taken.local_addr().unwrap().to_string();
    let (file, mark) = (bed.path("file"), bed.path("mark"));
    fs_err::write(&file, "no folder").unwrap();
    for flags in [["--admin", &admin], ["--state-dir", file.to_str().unwrap()]] {
        let mut command = skald();
        command.args(["exec", "--url", "http://127.0.0.1:9"]).args(flags).arg("--");
        command.args(["sh", "-c", &format!("touch {}", mark.display())]);
        let ended = Skald::spawn(&mut command).wait();
        assert_eq!(ended.code, Some(2), "{}", ended.err);
        assert!(!mark.exists(), "{flags:?}");
    }
}

/// Whenever SIGTERM comes, the service has ended before skald, by it, or was never started.
#[test]
fn no_moment_is_without_signals() {
    let loki = Loki::start();
    for round in 0..40 {
        let mut command = exec(&loki.url(), "echo $$; exec sleep 60");
        command.args(["0"]);
        let mut skald = Skald::spawn(command.stdout(Stdio::piped()));
        let mut out = skald.stdout();
        // From before its handlers are there to after the service has begun.
        pause(Duration::from_micros(500) * round);
        skald.signal(Signal::TERM);
        let mut pid = String::new();
        out.read_to_string(&mut pid).unwrap();
        let ended = skald.wait();
        let is_early = ended.signal == Some(15) && pid.is_empty();
        assert!(is_early || ended.code == Some(143), "{round}: {ended:?}");
        if !pid.is_empty() {
            let alive = std::path::Path::new("/proc").join(pid.trim()).exists();
            assert!(!alive, "{round}: {pid}");
        }
    }
}

/// What a terminal sends reaches both once, and what a person sends with `kill` is passed on, with a
/// terminal or without.
#[cfg(target_os = "linux")]
#[test]
fn a_terminal_and_a_person_are_told_apart() {
    let loki = Loki::start();
    let bed = Bed::new();
    let (pids, said) = (bed.path("pids"), bed.path("said"));
    let service = format!(
        "trap 'echo int >> {said}' INT; trap 'exit 0' TERM; echo $PPID > {pids}; \
         while :; do sleep 0.05; done",
        said = said.display(),
        pids = pids.display(),
    );
    // A shell of its own terminal, in which the input is redirected or not.
    let python = format!(
        r#"
import os, pty, signal, sys, time
def lines(path):
    try: return open(path).read().split()
    except OSError: return []
def until(what, test):
    for _ in range(600):
        if test(): return
        time.sleep(0.05)
    sys.exit("no " + what)
for redirected in (False, True):
    for path in ("{pids}", "{said}"):
        if os.path.exists(path): os.unlink(path)
    pid, terminal = pty.fork()
    if pid == 0:
        if redirected: os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
        os.execv("{skald}", ["skald", "exec", "--url", "{url}", "--", "sh", "-c", sys.argv[1]])
    until("service", lambda: len(lines("{pids}")) == 1)
    os.write(terminal, b"")
    until("ctrl-c", lambda: len(lines("{said}")) == 1)
    time.sleep(0.5)
    os.kill(pid, signal.SIGINT)
    until("kill", lambda: len(lines("{said}")) == 2)
    time.sleep(0.5)
    print(redirected, lines("{said}"))
    os.kill(pid, signal.SIGTERM)
    while True:
        try:
            if not os.read(terminal, 1024): break
        except OSError: break
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"#,
        pids = pids.display(),
        said = said.display(),
        skald = env!("CARGO_BIN_EXE_skald"),
        url = loki.url(),
    );
    let output = Command::new("python3").args(["-c", &python, &service]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let expected = "False ['int', 'int']\n0\nTrue ['int', 'int']\n0\n";
    assert_eq!(said, expected, "{}", String::from_utf8_lossy(&output.stderr));
}

/// Who asks for the end does not wait for ever for a Loki that is away.
#[test]
fn the_deadline_of_a_shutdown_holds_when_the_service_was_told_to_end() {
    let mut bed = Bed::new();
    bed.top = "shutdown: {deadline: 1s}\n".to_owned();
    bed.source = "  - stdin: true\n    labels: {app: service}".to_owned();
    bed.url = Some(format!("http://{}", address(3100)));
    let mut command = skald();
    command.arg("exec").arg("-c").arg(bed.config());
    command.args(["--", "sh", "-c", "trap 'exit 3' TERM; echo x; while :; do sleep 0.05; done"]);
    let skald = Skald::spawn(command.stdout(Stdio::piped()));
    eventually("the service", || skald.err().contains("did not take a push"));
    let ended = skald.stop();
    assert_eq!(ended.code, Some(3), "{}", ended.err);
    assert!(ended.err.contains("the deadline has passed"), "{}", ended.err);
}

/// A file that gives no rules has the outputs apart, as without a file.
#[test]
fn outputs_are_told_apart_when_a_file_says_nothing_of_rules() {
    let mut bed = Bed::new();
    bed.source = "  - stdin: true\n    labels: {app: service}".to_owned();
    let mut command = skald();
    command.arg("exec").arg("-c").arg(bed.config()).args(["--", "sh", "-c", "echo a; echo b >&2"]);
    let ended = Skald::spawn(&mut command).wait();
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    let out = [came(&bed.loki, "stdout"), came(&bed.loki, "stderr")];
    assert_eq!(out, [vec!["a".to_owned()], vec!["b".to_owned()]]);
}

/// Any bytes, also those that are no text, and an output that nobody takes.
#[test]
fn bytes_are_copied_as_they_are_and_a_closed_output_stops_nothing() {
    let loki = Loki::start();
    let script = r#"printf 'a\377\000b\n'; printf '\200no newline' >&2; sleep 0.2; echo c"#;
    let mut command = exec(&loki.url(), script);
    let mut skald = Skald::spawn(command.stdout(Stdio::piped()));
    let mut out = skald.stdout();
    let mut bytes = [0; 5];
    out.read_exact(&mut bytes).unwrap();
    assert_eq!(bytes, *b"a\xff\0b\n");
    drop(out);
    let ended = skald.wait();
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    assert!(ended.err.contains("no newline"), "{}", ended.err);
    assert_eq!(came(&loki, "stdout").len(), 2, "{}", ended.err);
    assert_eq!(came(&loki, "stderr").len(), 1);
}

/// When Loki is away the service waits in its writes, and goes on when Loki is back.
#[test]
fn a_loki_that_is_away_holds_the_service_up() {
    let mut bed = Bed::new();
    bed.top = "memory: {in_flight: 4MiB}\n".to_owned();
    bed.source = "  - stdin: true\n    labels: {app: service}\n    rules: []".to_owned();
    bed.loki.answers().add([always(answer(503, "away"))]);
    let done = bed.path("done");
    // 8 MB that do not compress.
    let script = format!("head -c 6000000 /dev/urandom | base64 -w 100; touch {}", done.display());
    let mut command = skald();
    command.arg("exec").arg("-c").arg(bed.config()).args(["--", "sh", "-c", &script]);
    let skald = Skald::spawn(&mut command);
    eventually("a push", || skald.err().contains("did not take a push"));
    settled(Duration::from_millis(500), || done.exists());
    assert!(!done.exists(), "the service has ended though nothing can be delivered");
    bed.loki.answers().clear();
    let ended = skald.wait();
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    assert_eq!(bed.loki.copies(), 80_000);
}

/// The service starts with the limit on open files that skald was given.
#[test]
fn the_limit_on_open_files_is_the_services_own() {
    let loki = Loki::start();
    let command = exec(&loki.url(), "ulimit -n");
    let ended = Skald::spawn(&mut after("ulimit -S -n 200", &command)).wait();
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    assert_eq!(came(&loki, "stdout"), ["200"]);
}

#[test]
fn standard_input_that_cannot_be_read_is_an_error() {
    let loki = Loki::start();
    let mut command = skald();
    command.args(["--url", &loki.url()]).stdin(fs_err::File::open("/").unwrap().into_parts().0);
    let ended = Skald::spawn(&mut command).wait();
    assert_eq!(ended.code, Some(1), "{}", ended.err);
    assert!(ended.err.contains("not all of the input could be read"), "{}", ended.err);
}
