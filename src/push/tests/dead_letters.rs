use std::os::unix::fs::PermissionsExt as _;

use expect_test::expect;

use crate::model::{Reason, UnixNanos};
use crate::push::{DeadLetter, DeadLetterError, DeadLetters, FILE_NAME};

fn letter(line: &[u8]) -> DeadLetter {
    DeadLetter {
        time: UnixNanos(1_768_467_600_123_000_000),
        reason: Reason::RejectedByLoki,
        status: 400,
        text: "timestamp too old".into(),
        tenant: Some("veogen".into()),
        labels: r#"{app="a"}"#.into(),
        metadata: vec![("request_id".into(), "r1".into())],
        line: line.to_vec(),
    }
}

#[test]
fn letters_are_lines_of_json_that_only_we_can_read() {
    let folder = tempfile::tempdir().unwrap();
    let letters = DeadLetters::new(folder.path(), 10_000);
    letters.append(&[letter(b"one\n\"two\""), letter(b"\xff")]).unwrap();
    letters.append(&[DeadLetter { tenant: None, metadata: vec![], ..letter(b"") }]).unwrap();
    let path = folder.path().join(FILE_NAME);
    assert_eq!(fs_err::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let text = fs_err::read_to_string(path).unwrap();
    let lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    expect![[r#"
        {
          "labels": "{app=\"a\"}",
          "line": "one\n\"two\"",
          "metadata": {
            "request_id": "r1"
          },
          "reason": "rejected_by_loki",
          "status": 400,
          "tenant": "veogen",
          "text": "timestamp too old",
          "time": "2026-01-15T09:00:00.123Z"
        }"#]]
    .assert_eq(&format!("{:#}", lines[0]));
    assert_eq!(lines[1]["line"], "\u{fffd}");
    assert_eq!((lines.len(), lines[2].get("tenant")), (3, None));
}

#[test]
fn a_full_file_takes_nothing_until_it_is_moved_away() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(FILE_NAME);
    let letters = DeadLetters::new(folder.path(), 500);
    letters.append(&[letter(b"one")]).unwrap();
    let before = fs_err::read(&path).unwrap();
    let err = letters.append(&[letter(b"two"), letter(b"three")]).unwrap_err();
    assert!(matches!(err, DeadLetterError::Full { bytes_max: 500, .. }));
    assert!(err.chain().starts_with("full: ") && err.chain().contains(FILE_NAME), "{err}");
    assert_eq!(fs_err::read(&path).unwrap(), before);
    fs_err::rename(&path, folder.path().join("old")).unwrap();
    letters.append(&[letter(b"two")]).unwrap();
}

#[test]
fn a_line_that_was_cut_by_a_crash_does_not_spoil_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(FILE_NAME);
    fs_err::File::create(&path)
        .and_then(|mut file| std::io::Write::write_all(&mut file, b"{\"ti"))
        .unwrap();
    DeadLetters::new(folder.path(), 10_000).append(&[letter(b"one")]).unwrap();
    let text = fs_err::read_to_string(path).unwrap();
    assert_eq!(text.lines().count(), 2);
    assert!(serde_json::from_str::<serde_json::Value>(text.lines().nth(1).unwrap()).is_ok());
}

#[test]
fn an_unwritable_folder_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let err = DeadLetters::new(&folder.path().join("none"), 1000).append(&[letter(b"one")]);
    let text = err.unwrap_err().chain();
    assert!(text.contains("none/dead-letters.jsonl") && text.contains("No such file"), "{text}");
}
