//! What Loki refuses: single lines among thousands, everything for a while, one batch for ever.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use skald::app;
use skald::receive::Clock;

use super::super::support::oracle::{EXACT, id};
use super::super::support::{
    Bed, Found, Gate, Loki, Sent, address, always, answer, eventually, times,
};

/// Seconds from now, as a stamp.
fn from_now(seconds: i64) -> String {
    let at = Timestamp::now() + SignedDuration::from_secs(seconds);
    Timestamp::from_second(at.as_second()).unwrap().to_string()
}

/// A line that may be refused, among those that may not.
struct Poison {
    name: &'static str,
    /// More YAML at the top: settings that let it through.
    top: &'static str,
    stamp: String,
    more: String,
    /// Loki's words; `None` where the agent makes it harmless beforehand.
    refusal: Option<&'static str>,
}

fn poison(name: &'static str, more: impl Into<String>) -> Poison {
    Poison { name, top: "", stamp: from_now(0), more: more.into(), refusal: None }
}

fn poisons() -> Vec<Poison> {
    let pairs = |count: usize, len: usize| {
        let value = "v".repeat(len);
        (0..count).fold(String::new(), |all, idx| all + &format!(",\"m{idx}\":\"{value}\""))
    };
    let long = format!(",\"huge\":\"{}\"", "x".repeat(257 << 10));
    vec![
        Poison {
            top: "limits: {line_bytes: 512KiB}",
            refusal: Some("Max entry size"),
            ..poison("257 KiB", long)
        },
        Poison {
            top: "limits: {age: 30d}",
            stamp: from_now(-8 * 24 * 3600),
            // A stream of its own, whose newest line it is.
            more: ",\"event_type\":\"old\"".to_owned(),
            refusal: Some("timestamp too old"),
            ..poison("8 days old", "")
        },
        Poison {
            // Loki's clock is three minutes behind.
            stamp: from_now(8 * 60),
            more: ",\"event_type\":\"ahead\"".to_owned(),
            refusal: Some("timestamp too new"),
            ..poison("11 minutes ahead", "")
        },
        poison("U+FFFD in a label", ",\"event_type\":\"a\u{fffd}b\\ufffd\""),
        poison("17 labels", pairs(17, 1)),
        poison("label of 3000 bytes", format!(",\"event_type\":\"{}\"", "é".repeat(1500))),
        poison("metadata of 70 KiB", format!(",\"request_id\":\"{}\"", "x".repeat(70_000))),
        poison("metadata with bad bytes", ",\"request_id\":\"a\u{fffd}b\\u0000c\""),
    ]
}

#[test]
fn one_bad_line_in_ten_thousand_is_buried_alone() {
    const GOOD: u64 = 10_000;
    let run = |poison: &Poison| {
        let (name, clock, mut sent) = (poison.name, app::Clock::start(), Sent::default());
        let behind = if poison.refusal == Some("timestamp too new") { 180 } else { 0 };
        let loki = Loki::with(address(3100), |options| {
            options.clock = Clock::new(move || clock.now().wall.minus(Duration::from_secs(behind)));
        });
        let mut bed = Bed::at(loki);
        poison.top.clone_into(&mut bed.top);
        let labels: Vec<String> = (0..17).map(|idx| format!("m{idx}")).collect();
        bed.source = format!(
            "    rules:\n      - label: [event_type, {}]\n      - metadata: [request_id]\n      \
             - timestamp: timestamp",
            labels.join(", ")
        );
        let mut text = String::new();
        for seq in 0..=GOOD {
            text += &match seq {
                4321 => sent.line_at("a", &poison.stamp, &poison.more),
                _ => sent.line("a", &format!(",\"event_type\":\"e{}\"", seq % 50)),
            };
        }
        bed.append("a.log", text);
        let skald = bed.run();
        let bad = u64::from(poison.refusal.is_some());
        eventually("the others", || sent.arrived(bed.loki.store()) == sent.count() - bad);
        eventually("the outcome", || bed.metrics().dropped("rejected_by_loki") == bad);
        bed.append("a.log", sent.lines("a", 10));
        eventually("fresh lines", || sent.arrived(bed.loki.store()) == sent.count() - bad);
        let metrics = bed.adds_up();
        assert_eq!(metrics.get("dead_letters_total"), bad, "{name}: {metrics:?}");
        skald.stop();
        check(&bed, &sent, poison);
    };
    for some in poisons().chunks(4) {
        std::thread::scope(|scope| {
            for poison in some {
                scope.spawn(|| run(poison));
            }
        });
    }
}

/// Exactly the bad line is buried; the others are in Loki once.
fn check(bed: &Bed, sent: &Sent, poison: &Poison) {
    let (name, refused) = (poison.name, bed.loki.pushes("400"));
    let found = sent.found(bed.loki.store());
    eprintln!("{name}: {refused} refused pushes, {found:?}");
    let Some(refusal) = poison.refusal else {
        assert_eq!((refused, found), (0, EXACT), "{name}");
        return;
    };
    // Loki has stored the good ones of a push that it refused; they come again, and are the same.
    assert_eq!(found, Found { lost: 1, repeated: found.repeated, ..EXACT }, "{name}");
    assert_eq!(bed.loki.store().stats().distinct, sent.count() - 1, "{name}");
    // By streams, of which there are 50, then by halves of the 200 lines of one.
    assert!((2..=14).contains(&refused), "{name}: {refused}");
    let letters = letters(bed);
    assert_eq!(letters.keys().copied().collect::<Vec<_>>(), [4321], "{name}");
    assert!(letters[&4321].contains(refusal), "{name}: {letters:?}");
}

/// The numbers of the dead letters, and what Loki said about each.
fn letters(bed: &Bed) -> BTreeMap<u64, String> {
    let Ok(text) = fs_err::read_to_string(bed.state("dead-letters.jsonl")) else {
        return BTreeMap::new();
    };
    let letter = |line: &str| {
        let letter: serde_json::Value = serde_json::from_str(line).unwrap();
        let (_, seq) = id(letter["line"].as_str().unwrap().as_bytes()).unwrap();
        (seq, letter["text"].as_str().unwrap().to_owned())
    };
    text.lines().map(letter).collect()
}

#[test]
fn a_gateway_that_refuses_everything_does_not_bury_the_world() {
    let (bed, mut sent) = (Bed::new(), Sent::default());
    bed.loki.answers().add([always(answer(400, "bad gateway configuration"))]);
    bed.append("a.log", sent.lines("a", 10_000));
    let skald = bed.run();
    eventually("a hold", || bed.metrics().get("push_holding") == 1);
    assert_eq!(bed.page("/ready").unwrap().0, 503);
    let buried = letters(&bed).len() as u64;
    eprintln!("400 to everything: {buried} buried, {} pushes", bed.loki.pushes("400"));
    assert!(buried <= 32, "{buried} lines are buried for what no line can cause");
    bed.loki.answers().clear();
    let wanted = sent.count() - buried;
    eventually("the others", || sent.arrived(bed.loki.store()) == wanted);
    bed.append("a.log", sent.lines("a", 10));
    eventually("fresh lines", || sent.arrived(bed.loki.store()) == wanted + 10);
    let metrics = bed.adds_up();
    skald.stop();
    assert_eq!(letters(&bed).len() as u64, buried);
    assert_eq!(metrics.dropped("rejected_by_loki"), buried, "{metrics:?}");
    let found = sent.found(bed.loki.store());
    // Some were tried one by one and refused just before Loki changed its mind: they come late.
    assert_eq!(found, Found { lost: buried, disordered: found.disordered, ..EXACT });
}

#[test]
fn a_push_that_is_too_large_for_ever_is_split_until_it_passes() {
    let too_large = "rpc error: code = ResourceExhausted desc = grpc: received message larger \
                     than max (5000000 vs. 4194304)";
    // The text that says so, and one that says nothing, as often as it takes.
    for (refusal, status) in
        [(times(3, answer(500, too_large)), "500"), (times(6, answer(500, "who knows")), "500")]
    {
        let (bed, mut sent) = (Bed::new(), Sent::default());
        bed.append("a.log", sent.lines("a", 1000));
        bed.loki.answers().add([refusal]);
        let skald = bed.run();
        bed.wait_for(&sent);
        bed.append("a.log", sent.lines("a", 10));
        bed.wait_for(&sent);
        bed.adds_up();
        assert!(3 <= bed.loki.pushes(status));
        assert!(2 < bed.loki.pushes("204"), "it was not split");
        skald.stop_well();
        assert_eq!(sent.found(bed.loki.store()), EXACT);
    }
}

#[test]
fn a_token_that_expires_is_waited_for_and_read_again() {
    let (mut bed, mut sent) = (Bed::new(), Sent::default());
    let gate = Gate::start(bed.loki.addr(), "Bearer first");
    bed.url = Some(gate.url());
    let token = bed.path("token");
    fs_err::write(&token, "first\n").unwrap();
    bed.loki_yaml = format!("  bearer_token_file: {}", token.display());
    bed.append("a.log", sent.lines("a", 100));
    let skald = bed.run();
    bed.wait_for(&sent);
    gate.expect("Bearer second");
    for _ in 0..3 {
        bed.append("a.log", sent.lines("a", 100));
        eventually("a hold", || bed.metrics().get("push_holding") == 1);
    }
    assert_eq!(bed.metrics().sum("lines_dropped_total"), 0);
    assert_eq!(bed.loki.copies(), 100);
    bed.adds_up();
    fs_err::write(&token, "second\n").unwrap();
    bed.wait_for(&sent);
    bed.append("a.log", sent.lines("a", 10));
    bed.wait_for(&sent);
    eventually("no hold", || bed.metrics().get("push_holding") == 0);
    bed.adds_up();
    let err = skald.stop_well();
    assert!(err.contains("401") && !err.contains("second"), "{err}");
    assert_eq!(sent.found(bed.loki.store()), EXACT);
}
