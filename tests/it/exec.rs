//! `skald exec`: a service with its two outputs.

use std::io::Read as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;

use super::support::{Bed, Loki, Skald, address, eventually, skald};

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

#[test]
fn standard_input_that_cannot_be_read_is_an_error() {
    let loki = Loki::start();
    let mut command = skald();
    command.args(["--url", &loki.url()]).stdin(fs_err::File::open("/").unwrap().into_parts().0);
    let ended = Skald::spawn(&mut command).wait();
    assert_eq!(ended.code, Some(1), "{}", ended.err);
    assert!(ended.err.contains("not all of the input could be read"), "{}", ended.err);
}
