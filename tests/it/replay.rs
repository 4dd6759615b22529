//! `skald replay`: what Loki has refused is sent again.

use super::support::oracle::EXACT;
use super::support::{Answer, Bed, Ended, Found, Sent, Skald, always, eventually, skald};

fn refuse(query: &str) -> Answer {
    always(Answer { refuse: Some(query.to_owned()), ..Answer::default() })
}

/// Runs `skald replay` on `letters` in the bed's folder and returns its end and what it said.
fn replay(bed: &Bed, letters: &str, more: &[&str]) -> (Ended, String) {
    let mut command = skald();
    command.arg("replay").arg("-c").arg(bed.config()).arg(letters).args(more);
    command.current_dir(bed.path(""));
    let mut process = Skald::spawn(command.stdout(std::process::Stdio::piped()));
    let mut out = process.stdout();
    let ended = process.wait();
    let mut said = String::new();
    std::io::Read::read_to_string(&mut out, &mut said).unwrap();
    (ended, said)
}

#[test]
fn what_was_refused_is_sent_again_with_its_time_labels_and_tenant() {
    let (mut bed, mut sent) = (Bed::new(), Sent::default());
    bed.loki_yaml = "  tenant: team-a".to_owned();
    for seq in 0..100 {
        let more = if seq % 10 == 3 { ",\"more\":\"poison\"" } else { "" };
        bed.append("a.log", sent.line("a", more));
    }
    bed.loki.answers().add([refuse(r#"{} |= "poison""#)]);
    let skald = bed.run();
    eventually("the refusals", || bed.metrics().dropped("rejected_by_loki") == 10);
    bed.adds_up();
    assert_eq!(skald.stop().code, Some(1));
    // Its neighbours came again while it was looked for, and Loki swallows that.
    let Found { repeated, .. } = sent.found(bed.loki.store());
    assert_eq!(sent.found(bed.loki.store()), Found { lost: 10, repeated, ..EXACT });
    assert_eq!(bed.loki.store().stats().swallowed, repeated);
    fs_err::rename(bed.state("dead-letters.jsonl"), bed.path("letters")).unwrap();

    let (ended, said) = replay(&bed, "letters", &["--dry-run"]);
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    assert!(said.contains("tenant=team-a") && said.ends_with("10 lines would be sent\n"), "{said}");
    assert_eq!(sent.found(bed.loki.store()).lost, 10);

    // It is refused again: kept beside the file, which can be sent again.
    let (ended, said) = replay(&bed, "letters", &[]);
    assert_eq!(ended.code, Some(1), "{}", ended.err);
    assert!(said.starts_with("10 lines: 0 delivered, 10 refused again and kept in "), "{said}");
    bed.loki.answers().clear();
    let (ended, said) = replay(&bed, "letters.refused", &[]);
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    assert_eq!(said, "10 lines: 10 delivered, 0 refused again\n");
    let found = sent.found(bed.loki.store());
    assert_eq!(found, Found { repeated, disordered: found.disordered, ..EXACT });
    assert!(bed.loki.store().entries().iter().all(|e| e.tenant.as_deref() == Some("team-a")));
}

#[test]
fn a_letter_that_cannot_be_read_is_named_before_anything_is_sent() {
    let bed = Bed::new();
    let good = r#"{"time":"2026-11-22T09:00:00Z","labels":"{a=\"b\"}","line":"x"}"#;
    fs_err::write(bed.path("letters"), format!("{good}\n{{\"time\":1}}\n")).unwrap();
    let (ended, _) = replay(&bed, "letters", &[]);
    assert_eq!(ended.code, Some(2), "{}", ended.err);
    assert!(ended.err.contains("letters:2: not a dead letter"), "{}", ended.err);
    assert_eq!(bed.loki.copies(), 0);
}
