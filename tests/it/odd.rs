//! Bad input: each gets a clear message or a counted reason, never a panic, never a lost neighbour.

use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::process::Command;

use super::support::oracle::{EXACT, now};
use super::support::{Bed, Ended, Found, Sent, Skald, address, eventually, skald};

/// Bytes between two good lines, and how they are counted.
struct Odd {
    name: &'static str,
    bytes: Vec<u8>,
    /// Lines that arrive beside the two.
    lines: u64,
    flag: Option<&'static str>,
    dropped: Option<&'static str>,
}

fn odd(name: &'static str, bytes: impl Into<Vec<u8>>, lines: u64) -> Odd {
    Odd { name, bytes: bytes.into(), lines, flag: None, dropped: None }
}

impl Odd {
    fn flag(self, flag: &'static str) -> Self {
        Self { flag: Some(flag), ..self }
    }

    fn dropped(self, reason: &'static str) -> Self {
        Self { dropped: Some(reason), ..self }
    }
}

fn all() -> Vec<Odd> {
    let now = now();
    let fields: Vec<String> = (0..10_000).map(|idx| format!("\"f{idx}\":{idx}")).collect();
    let nested = format!("{{\"a\":{}{}}}\n", "[".repeat(10_000), "]".repeat(10_000));
    let objects = format!("{}1{}\n", "{\"a\":".repeat(10_000), "}".repeat(10_000));
    let stamped = |stamp: &str| format!("{{\"timestamp\":{stamp},\"odd\":1}}\n");
    let next_week = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(7 * 24);
    let label = |value: &[u8]| {
        [format!("{{\"timestamp\":\"{now}\",\"level\":\"").as_bytes(), value, b"\"}\n"].concat()
    };
    vec![
        odd("nothing", "", 0),
        odd("empty lines", "\n\r\n\n", 3),
        odd("nuls", [&[0; 4096][..], b"\n"].concat(), 1),
        odd("long", ["x".repeat(1 << 20), "\n".to_owned()].concat(), 1).flag("truncated"),
        odd("fields", format!("{{{}}}\n", fields.join(",")), 1).flag("no_timestamp"),
        odd("nested", nested, 1),
        odd("objects", objects, 1),
        odd(
            "same key",
            format!("{{\"level\":\"a\",\"timestamp\":\"{now}\",\"level\":\"b\"}}\n"),
            1,
        ),
        odd("not json", "{\"a\":\n", 1).flag("not_json"),
        odd("text", "plain text\n", 1),
        odd("utf-8", b"\xff\xfe\xfd line\n", 1).flag("invalid_utf8"),
        odd("utf-8 in a label", label(b"\xff\xfe"), 1).flag("label_cleaned"),
        odd("long label", label(&b"x".repeat(200_000)), 1).flag("label_cleaned"),
        odd("1 MB label", label(&b"x".repeat(1 << 20)), 1).flag("truncated"),
        // As many services write it when they mean none.
        odd("0", stamped("0"), 1).flag("no_timestamp"),
        odd("1970", stamped("\"1970-01-01T00:00:00Z\""), 0).dropped("too_old"),
        odd("1960", stamped("\"1960-01-01T00:00:00Z\""), 0).dropped("too_old"),
        odd("2262", stamped("\"2262-04-11T23:47:16.854775807Z\""), 1).flag("moved_into_window"),
        odd("9999", stamped("\"9999-12-31T23:59:59Z\""), 1).flag("timestamp_clamped"),
        odd("next week", stamped(&format!("\"{next_week}\"")), 1).flag("moved_into_window"),
        odd("huge number", stamped("1e400"), 1).flag("no_timestamp"),
        odd("no stamp", stamped("\"yesterday\""), 1).flag("no_timestamp"),
    ]
}

#[test]
fn odd_lines_are_counted_and_their_neighbours_arrive() {
    let run = |odd: &Odd| {
        let (bed, mut sent) = (Bed::new(), Sent::default());
        bed.append("a.log", sent.line("a", ""));
        bed.append("a.log", &odd.bytes);
        bed.append("a.log", sent.line("a", ""));
        let skald = bed.run();
        let (name, wanted) = (odd.name, sent.count() + odd.lines);
        eventually(name, || bed.metrics().get("lines_delivered_total") == wanted);
        let metrics = bed.adds_up();
        if let Some(flag) = odd.flag {
            assert_eq!(metrics.flagged(flag), 1, "{name}: {metrics:?}");
        }
        if let Some(reason) = odd.dropped {
            assert_eq!(metrics.dropped(reason), 1, "{name}: {metrics:?}");
        }
        assert_eq!(metrics.sum("lines_dropped_total"), u64::from(odd.dropped.is_some()), "{name}");
        let ended = skald.stop();
        assert_eq!(ended.code, Some(i32::from(odd.dropped.is_some())), "{name}: {}", ended.err);
        let found = sent.found(bed.loki.store());
        assert_eq!(found, Found { foreign: odd.lines, ..EXACT }, "{name}");
        assert_eq!(bed.loki.pushes("400"), 0, "{name}: {:?}", bed.loki.store().stats());
    };
    let all = all();
    for some in all.chunks(6) {
        std::thread::scope(|scope| {
            for odd in some {
                scope.spawn(|| run(odd));
            }
        });
    }
}

#[test]
fn a_line_of_a_hundred_megabytes_takes_one_buffer() {
    let (bed, mut sent) = (Bed::new(), Sent::default());
    bed.append("a.log", sent.line("a", ""));
    let mut file = fs_err::OpenOptions::new().append(true).open(bed.log("a.log")).unwrap();
    let megabyte = vec![b'x'; 1 << 20];
    (0..100).for_each(|_| file.write_all(&megabyte).unwrap());
    file.write_all(b"\n").unwrap();
    bed.append("a.log", sent.line("a", ""));
    let skald = bed.run();
    bed.wait_for(&sent);
    let metrics = bed.adds_up();
    assert_eq!(metrics.flagged("truncated"), 1, "{metrics:?}");
    let (peak, now) = (skald.status("VmHWM"), skald.status("VmRSS"));
    eprintln!("100 MB line: peak {peak} KiB, then {now} KiB");
    assert!(peak < 48 << 10, "{peak} KiB");
    skald.stop_well();
    assert_eq!(sent.found(bed.loki.store()), Found { foreign: 1, ..EXACT });
    let cut = bed.loki.store().entries().into_iter().find(|e| e.line.starts_with(b"x")).unwrap();
    assert_eq!(cut.metadata, [("truncated_from".to_owned(), (100 << 20).to_string())]);
    assert_eq!(cut.line.len(), 256 * 1024);
}

#[test]
fn what_is_no_file_is_left_alone() {
    let (bed, mut sent) = (Bed::new(), Sent::default());
    fs_err::create_dir(bed.log("folder.log")).unwrap();
    assert!(Command::new("mkfifo").arg(bed.log("fifo.log")).status().unwrap().success());
    symlink("/nowhere/at/all", bed.log("dangling.log")).unwrap();
    symlink(bed.log("loop.log"), bed.log("loop.log")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(bed.log("socket.log")).unwrap();
    fs_err::write(bed.log("empty.log"), "").unwrap();
    let locked = bed.log("locked.log");
    fs_err::write(&locked, Sent::default().lines("locked", 1)).unwrap();
    let closed = std::os::unix::fs::PermissionsExt::from_mode(0o000);
    fs_err::set_permissions(&locked, closed).unwrap();
    // Root may read it all the same, and then it is a file as any other.
    let is_readable = std::fs::File::open(&locked).is_ok();
    let mut sent_locked = Sent::default();
    if is_readable {
        sent_locked.lines("locked", 1);
    }
    bed.append("a.log", sent.lines("a", 10));
    let skald = bed.run();
    let wanted = sent.count() + sent_locked.count();
    eventually("all files", || bed.metrics().get("lines_delivered_total") == wanted);
    if !is_readable {
        eventually("the count", || bed.metrics().sum("files_unreadable_total") != 0);
    }
    bed.append("a.log", sent.lines("a", 10));
    bed.append("empty.log", sent.lines("empty", 10));
    // What was in the way gives way to a file.
    fs_err::remove_file(bed.log("dangling.log")).unwrap();
    fs_err::remove_file(bed.log("fifo.log")).unwrap();
    bed.append("dangling.log", sent.lines("dangling", 10));
    bed.append("fifo.log", sent.lines("fifo", 10));
    eventually("new lines", || sent.arrived(bed.loki.store()) == sent.count());
    bed.adds_up();
    skald.stop_well();
    let found = sent.found(bed.loki.store());
    assert_eq!(found, Found { foreign: sent_locked.count(), ..EXACT });
}

#[test]
fn a_port_in_use_is_named() {
    let bed = Bed::new();
    let _taken = std::net::TcpListener::bind(bed.admin).unwrap();
    let ended = bed.run().wait();
    assert_eq!(ended.code, Some(2), "{}", ended.err);
    assert!(ended.err.contains(&format!("cannot listen on {}", bed.admin)), "{}", ended.err);
    assert!(ended.err.contains("in use"), "{}", ended.err);
}

/// Runs `args` with this file as the configuration.
fn with_config(args: &[&str], yaml: &str) -> Ended {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("skald.yaml");
    fs_err::write(&path, yaml).unwrap();
    let mut command = skald();
    Skald::spawn(command.args(args).arg("-c").arg(&path)).wait()
}

#[test]
fn mistakes_in_a_configuration_are_shown_with_their_place() {
    let good = "loki: {url: \"http://127.0.0.1:1\"}\nstate_dir: /tmp/x\nsources: [{stdin: true}]\n";
    for (name, yaml, words) in [
        ("no host", good.replace("127.0.0.1:1", ""), "skald.yaml:1:"),
        ("tab", format!("{good}batch:\n\tage_max: 1s\n"), "tab"),
        ("key twice", format!("{good}state_dir: /tmp/y\n"), "skald.yaml:4:"),
        ("number", format!("{good}batch: {{age_max: 10}}\n"), "10s"),
        ("unknown key", format!("{good}bacth: {{age_max: 10s}}\n"), "`batch`"),
        ("no source", good.replace("[{stdin: true}]", "[]"), "skald.yaml:3:"),
        ("nothing", String::new(), "nothing in this file"),
        ("nuls", "\0\0\0\0".to_owned(), "skald.yaml"),
    ] {
        for (args, code) in [(&["check"], 1), (&["run"], 2)] {
            let ended = with_config(args, &yaml);
            assert_eq!(ended.code, Some(code), "{name}: {}", ended.err);
            assert!(ended.err.contains(words), "{name}: {}", ended.err);
        }
    }
    assert_eq!(with_config(&["check"], good).code, Some(0));
}

#[test]
fn a_url_that_cannot_be_used_is_refused_at_once() {
    for url in ["http://", "loki:3100", "ftp://loki", "", "http://[::1"] {
        let mut command = skald();
        let ended = Skald::spawn(command.args(["--url", url])).wait();
        assert_eq!(ended.code, Some(2), "{url:?}: {}", ended.err);
        assert!(ended.err.contains("--url"), "{url:?}: {}", ended.err);
    }
    // An address with nobody behind it is no mistake.
    let url = format!("http://{}", address(3100));
    let mut command = skald();
    let ended = Skald::spawn(command.args(["--url", &url])).wait();
    assert_eq!(ended.code, Some(0), "{}", ended.err);
}
