//! Faults of Loki and of the way to it: nothing is lost, nothing is sent without need.

use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use super::support::oracle::{EXACT, id};
use super::support::{
    Answer, Bed, Found, Gate, Loki, Reset, Sent, address, answer, eventually, settled, timed, times,
};

/// A fault, and how it shows in the receiver's count of answers.
struct Fault {
    name: &'static str,
    answers: Vec<Answer>,
    /// Status and least count.
    seen: (&'static str, u64),
    /// Loki has stored what it did not acknowledge.
    may_repeat: bool,
    /// It takes at least this long.
    at_least: Duration,
}

impl Fault {
    fn new(name: &'static str, answers: Vec<Answer>, seen: (&'static str, u64)) -> Self {
        Self { name, answers, seen, may_repeat: false, at_least: Duration::ZERO }
    }
}

fn faults() -> Vec<Fault> {
    let reset = |reset| Answer { reset: Some(reset), times: 2, ..Answer::default() };
    let mut busy = answer(503, "later");
    busy.headers.insert("Retry-After".to_owned(), "1".to_owned());
    let stored = Answer { store: true, ..answer(500, "context deadline exceeded") };
    let late = Answer { delay_ms: 2_500, ..Answer::default() };
    let limit = "Ingestion rate limit exceeded for user fake (limit: 4194304 bytes/sec) while \
                 attempting to ingest '100' lines totaling '10000' bytes";
    let of_ours = |status| answer(status, "who knows");
    vec![
        Fault::new("500", vec![times(3, answer(500, "empty ring"))], ("500", 3)),
        Fault::new("8 equal 500s", vec![times(8, answer(500, "empty ring"))], ("500", 8)),
        Fault {
            at_least: Duration::from_secs(1),
            ..Fault::new("503 with Retry-After", vec![busy], ("503", 1))
        },
        Fault::new("429", vec![times(4, answer(429, limit))], ("429", 4)),
        Fault::new("408", vec![times(2, of_ours(408))], ("408", 2)),
        Fault::new("reset before", vec![reset(Reset::Before)], ("reset", 2)),
        Fault {
            may_repeat: true,
            ..Fault::new("reset after", vec![reset(Reset::After)], ("reset", 2))
        },
        Fault { may_repeat: true, ..Fault::new("500, stored", vec![stored], ("500", 1)) },
        Fault { at_least: Duration::from_secs(1), ..Fault::new("timeout", vec![late], ("204", 1)) },
        Fault::new("404", vec![times(2, of_ours(404))], ("404", 2)),
        Fault::new("redirect", vec![times(2, of_ours(307))], ("307", 2)),
        Fault::new("401", vec![times(2, of_ours(401))], ("401", 2)),
    ]
}

#[test]
fn no_fault_loses_a_line() {
    let run = |fault: Fault| {
        let (mut bed, mut sent) = (Bed::new(), Sent::default());
        bed.loki_yaml = "  timeout: 1s".to_owned();
        bed.append("a.log", sent.lines("a", 100));
        bed.loki.answers().add(fault.answers);
        let start = Instant::now();
        let skald = bed.run();
        bed.wait_for(&sent);
        bed.append("a.log", sent.lines("a", 100));
        bed.wait_for(&sent);
        let name = fault.name;
        assert!(fault.at_least <= start.elapsed(), "{name}: {:?}", start.elapsed());
        let (status, least) = fault.seen;
        assert!(least <= bed.loki.pushes(status), "{name}: {:?}", bed.loki.store().stats());
        eventually("the acknowledgement", || {
            bed.metrics().get("lines_delivered_total") == sent.count()
        });
        bed.adds_up();
        skald.stop_well();
        let found = sent.found(bed.loki.store());
        let repeated = if fault.may_repeat { found.repeated } else { 0 };
        assert_eq!(found, Found { repeated, ..EXACT }, "{name}");
        assert_eq!(found.repeated != 0, fault.may_repeat, "{name}: the fault did not happen");
    };
    // Most of the time is waiting.
    std::thread::scope(|scope| {
        for fault in faults() {
            scope.spawn(|| run(fault));
        }
    });
}

#[test]
fn a_wrong_password_is_waited_for() {
    let (mut bed, mut sent) = (Bed::new(), Sent::default());
    let gate = Gate::start(bed.loki.addr(), "Basic dTpyaWdodA==");
    bed.url = Some(gate.url());
    let password = bed.path("password");
    fs_err::write(&password, "wrong\n").unwrap();
    bed.loki_yaml = format!(
        "  basic_auth: {{username: u, password_file: {}}}\n  tenant: team-a\n\
         \x20 headers: {{X-Team: blue}}",
        password.display()
    );
    bed.append("a.log", sent.lines("a", 100));
    let skald = bed.run();
    eventually("not ready", || bed.page("/ready").is_some_and(|(status, _)| status == 503));
    let (_, why) = bed.page("/ready").unwrap();
    assert!(why.contains("401"), "{why}");
    eventually("the gauge", || bed.metrics().get("push_holding") == 1);
    assert_eq!(bed.loki.copies(), 0);
    assert!(!skald.err().contains("wrong"), "{}", skald.err());
    bed.adds_up();
    fs_err::write(&password, "right\n").unwrap();
    bed.wait_for(&sent);
    eventually("ready", || bed.page("/ready").is_some_and(|(status, _)| status == 200));
    skald.stop_well();
    assert_eq!(sent.found(bed.loki.store()), EXACT);
    assert!(bed.loki.store().entries().iter().all(|e| e.tenant.as_deref() == Some("team-a")));
    let head = gate.heads().pop().unwrap().to_ascii_lowercase();
    for line in [
        "post /loki/api/v1/push http/1.1\r\n",
        "x-team: blue\r\n",
        "x-scope-orgid: team-a\r\n",
        "content-type: application/x-protobuf\r\n",
    ] {
        assert!(head.contains(line), "no {line:?} in {head}");
    }
    assert!(head.contains("user-agent: skald"), "{head}");
}

#[test]
fn a_bearer_token_comes_from_its_file() {
    let (mut bed, mut sent) = (Bed::new(), Sent::default());
    let gate = Gate::start(bed.loki.addr(), "Bearer s3cret-Token");
    bed.url = Some(gate.url());
    fs_err::write(bed.path("token"), "s3cret-Token\n").unwrap();
    bed.loki_yaml = format!("  bearer_token_file: {}", bed.path("token").display());
    bed.append("a.log", sent.lines("a", 100));
    let skald = bed.run();
    bed.wait_for(&sent);
    bed.adds_up();
    let err = skald.stop_well();
    assert!(!err.contains("s3cret"), "{err}");
    assert_eq!(sent.found(bed.loki.store()), EXACT);
}

#[test]
fn refused_lines_are_buried_and_their_neighbours_arrive() {
    let (mut bed, mut sent) = (Bed::new(), Sent::default());
    // We were told to send what the receiver refuses.
    bed.top = "limits: {line_bytes: 512KiB}".to_owned();
    let huge = format!(",\"huge\":\"{}\"", "x".repeat(300 * 1024));
    let mut bad = Vec::new();
    for seq in 0..300_u64 {
        let is_bad = [17, 150, 151, 299].contains(&seq);
        bed.append("a.log", sent.line("a", if is_bad { &huge } else { "" }));
        bad.extend(is_bad.then_some(seq));
    }
    let skald = bed.run();
    eventually("the neighbours", || {
        sent.arrived(bed.loki.store()) == sent.count() - bad.len() as u64
    });
    eventually("the outcome", || bed.metrics().dropped("rejected_by_loki") == bad.len() as u64);
    let metrics = bed.adds_up();
    assert_eq!(metrics.get("dead_letters_total"), bad.len() as u64);
    eventually("the rest", || bed.metrics().get("lines_delivered_total") == 296);
    let ended = skald.stop();
    assert_eq!(ended.code, Some(1), "{}", ended.err);
    assert!(ended.err.contains("dropped=4"), "{}", ended.err);
    let path = bed.state("dead-letters.jsonl");
    let mode = fs_err::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let text = fs_err::read_to_string(&path).unwrap();
    let buried: Vec<u64> = text
        .lines()
        .map(|line| {
            let letter: serde_json::Value = serde_json::from_str(line).unwrap();
            assert_eq!(letter["status"], 400, "{letter}");
            assert_eq!(letter["reason"], "rejected_by_loki");
            id(letter["line"].as_str().unwrap().as_bytes()).unwrap().1
        })
        .collect();
    let mut sorted = buried.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, bad, "{buried:?}");
    // The lines are settled: the next run does not try them again.
    let copies = bed.loki.copies();
    let skald = bed.run();
    bed.append("a.log", sent.lines("a", 10));
    eventually("new lines", || bed.loki.copies() == copies + 10);
    skald.stop_well();
    let found = sent.found(bed.loki.store());
    assert_eq!((found.lost, found.foreign, found.changed), (4, 0, 0), "{found:?}");
}

#[test]
fn loki_without_structured_metadata_gets_none() {
    let loki = Loki::with(address(3100), |options| options.allow_structured_metadata = false);
    let (bed, mut sent) = (Bed::at(loki), Sent::default());
    for _ in 0..100 {
        bed.append("a.log", sent.line("a", ",\"request_id\":\"r1\""));
    }
    let skald = bed.run();
    bed.wait_for(&sent);
    bed.append("a.log", sent.line("a", ",\"request_id\":\"r2\""));
    bed.wait_for(&sent);
    assert_ne!(bed.loki.pushes("400"), 0, "the fault did not happen");
    bed.adds_up();
    let err = skald.stop_well();
    assert!(err.contains("structured metadata"), "{err}");
    assert!(bed.loki.store().entries().iter().all(|entry| entry.metadata.is_empty()));
    let found = sent.found(bed.loki.store());
    assert_eq!(found, EXACT);
}

#[test]
fn a_dead_loki_stops_the_reading_and_bounds_the_memory() {
    let listen = address(3100);
    let (mut bed, mut sent) = (Bed::new(), Sent::default());
    bed.url = Some(format!("http://{listen}"));
    let mut rng = fastrand::Rng::with_seed(11);
    let mut text = String::new();
    for idx in 0..10_000 {
        text += &sent.noisy(["a", "b"][idx % 2], &mut rng);
    }
    bed.append("a.log", &text);
    let skald = bed.run();
    eventually("a read", || bed.metrics().sum("bytes_read_total") != 0);
    let read = settled(Duration::from_secs(1), || bed.metrics().sum("bytes_read_total"));
    let (metrics, peak) = (bed.adds_up(), skald.status("VmHWM"));
    let held = metrics.get("memory_peak_bytes");
    eprintln!("dead loki: {read} of {} bytes read, {held} held, peak {peak} KiB", text.len());
    assert!(read < 20 << 20, "{read} bytes were read");
    assert!(held <= metrics.get("memory_limit_bytes"), "{metrics:?}");
    assert!(peak < 40 << 10, "{peak} KiB");
    assert_eq!(bed.page("/healthy").unwrap().0, 200);
    // It comes to life.
    bed.loki = Loki::with(listen, |_| ());
    let (_, taken) = timed(|| bed.wait_for(&sent));
    let peak = skald.status("VmHWM");
    eprintln!("dead loki: all there {taken:?} after its start, peak {peak} KiB");
    bed.adds_up();
    skald.stop_well();
    assert_eq!(sent.found(bed.loki.store()), EXACT);
}

#[test]
fn a_dead_letter_that_cannot_be_written_is_waited_for() {
    let (mut bed, mut sent) = (Bed::new(), Sent::default());
    bed.top = "limits: {line_bytes: 512KiB}".to_owned();
    // Not even root writes to a folder.
    fs_err::create_dir_all(bed.state("dead-letters.jsonl")).unwrap();
    let huge = format!(",\"huge\":\"{}\"", "x".repeat(300 * 1024));
    bed.append("a.log", sent.lines("a", 10));
    bed.append("a.log", sent.line("a", &huge));
    bed.append("a.log", sent.lines("a", 10));
    let skald = bed.run();
    eventually("not ready", || bed.page("/ready").is_some_and(|(status, _)| status == 503));
    let (_, why) = bed.page("/ready").unwrap();
    assert!(why.contains("dead letters"), "{why}");
    assert_eq!(bed.metrics().sum("lines_dropped_total"), 0);
    bed.adds_up();
    fs_err::remove_dir(bed.state("dead-letters.jsonl")).unwrap();
    eventually("the outcome", || bed.metrics().dropped("rejected_by_loki") == 1);
    eventually("the rest", || bed.metrics().get("lines_delivered_total") == 20);
    eventually("ready", || bed.page("/ready").is_some_and(|(status, _)| status == 200));
    bed.adds_up();
    assert_eq!(skald.stop().code, Some(1));
    let text = fs_err::read_to_string(bed.state("dead-letters.jsonl")).unwrap();
    assert_eq!(text.lines().count(), 1);
    assert_eq!(sent.found(bed.loki.store()).lost, 1);
}

#[test]
fn a_rate_limit_of_our_own_is_kept() {
    let (mut bed, mut sent) = (Bed::new(), Sent::default());
    bed.top = "rate_limit: {bytes_per_second: 1MiB}\nmemory: {in_flight: 4MiB}".to_owned();
    let mut rng = fastrand::Rng::with_seed(13);
    let text: String = (0..7_000).map(|_| sent.noisy("a", &mut rng)).collect();
    bed.append("a.log", text);
    let skald = bed.run();
    let (_, taken) = timed(|| bed.wait_for(&sent));
    let body = bed.loki.store().stats().body_bytes;
    eprintln!("rate limit: {body} bytes in {taken:?}");
    // The burst goes at once, the rest at a megabyte a second.
    let least = Duration::from_millis((body.saturating_sub(4 << 20) * 1000) >> 20);
    assert!(Duration::ZERO < least && least < taken, "{taken:?}, {least:?}");
    bed.adds_up();
    skald.stop_well();
    assert_eq!(sent.found(bed.loki.store()), EXACT);
}

/// One tenant's 401 is seen by name, and the others' files go on; then nothing of it is missing.
#[test]
fn a_tenant_that_is_stuck_leaves_the_others_alone() {
    let (mut bed, mut stuck, mut free) = (Bed::new(), Sent::default(), Sent::default());
    let gate = Gate::asking(bed.loki.addr(), "x-scope-orgid: free\r\n");
    bed.url = Some(gate.url());
    bed.loki_yaml = "  tenant: free".to_owned();
    bed.glob = "free/*.log".to_owned();
    bed.top = "memory: {in_flight: 4MiB}\n".to_owned();
    // At least one of them is read by the thread that reads the other tenant's.
    for source in ["s0", "s1"] {
        let glob = bed.log(&format!("{source}/*.log"));
        bed.source += &format!(
            "\n  - name: {source}\n    tenant: stuck\n    files: [\"{}\"]\n    labels: {{app: s}}",
            glob.display()
        );
    }
    let mut rng = fastrand::Rng::with_seed(17);
    for idx in 0..10_000 {
        let folder = ["s0", "s1"][idx % 2];
        let line = stuck.noisy(folder, &mut rng);
        bed.append(&format!("{folder}/{}.log", idx % 20), line);
    }
    let skald = bed.run();
    eventually("not ready", || bed.page("/ready").is_some_and(|(status, _)| status == 503));
    for round in 0..5 {
        bed.append("free/a.log", free.lines(&format!("f{round}"), 2000));
        eventually("the other tenant", || free.arrived(bed.loki.store()) == free.count());
    }
    let (_, why) = bed.page("/ready").unwrap();
    assert!(why.contains("tenant stuck: loki refuses pushes: 401"), "{why}");
    assert!(!why.contains("tenant free"), "{why}");
    eventually("the gauges", || {
        let metrics = bed.metrics();
        metrics.get("tenant_ready{tenant=\"stuck\"}") == 0
            && metrics.get("tenant_ready{tenant=\"free\"}") == 1
    });
    let share = bed.metrics().get("tenant_memory_bytes{tenant=\"stuck\"}");
    assert!((1..=(4 << 20) - (3 << 19)).contains(&share), "{share}");
    assert_eq!(stuck.arrived(bed.loki.store()), 0);
    assert!(skald.err().contains("tenant=\"stuck\""), "{}", skald.err());
    gate.open();
    eventually("all", || stuck.arrived(bed.loki.store()) == stuck.count());
    bed.adds_up();
    skald.stop_well();
    for (sent, tenant) in [(&stuck, "stuck"), (&free, "free")] {
        let found = sent.found(bed.loki.store());
        assert_eq!((found.lost, found.repeated), (0, 0), "{tenant}");
        let entries = bed.loki.store().entries();
        assert_eq!(
            entries.iter().filter(|e| e.tenant.as_deref() == Some(tenant)).count() as u64,
            sent.count()
        );
    }
}
