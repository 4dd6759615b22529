//! What bytes become: writes of a few bytes, odd line ends, every byte value, odd names, lines of
//! all lengths; with ends and restarts of the agent in the middle of any of it.

use std::ffi::OsStr;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt as _;
use std::time::Duration;

use super::super::support::oracle::{EXACT, id};
use super::super::support::{Bed, Found, Sent, eventually, pause};

/// Splits `text` into writes of so many bytes, and now and then leaves the agent time to look.
fn write_in_pieces(bed: &Bed, name: &str, text: &[u8], len: Range<usize>, rng: &mut fastrand::Rng) {
    let mut rest = text;
    while !rest.is_empty() {
        let (piece, more) = rest.split_at(rng.usize(len.clone()).min(rest.len()));
        bed.append(name, piece);
        if rng.u8(..50) == 0 {
            pause(Duration::from_millis(2));
        }
        rest = more;
    }
}

#[test]
fn lines_written_a_few_bytes_at_a_time_are_whole() {
    let (bed, mut sent) = (Bed::new(), Sent::default());
    let mut rng = fastrand::Rng::with_seed(20);
    let mut run = |end: &str, sent: &mut Sent| {
        let name = if end == "\n" { "lf" } else { "crlf" };
        let text = sent.lines(name, 120).replace('\n', end);
        // The last line has no end yet: it is no line.
        let (text, last) = text.as_bytes().split_at(text.len() - end.len());
        let (mut from, file) = (0, format!("{name}.log"));
        let mut bounds: Vec<usize> = (0..4).map(|_| rng.usize(..text.len())).collect();
        bounds.sort_unstable();
        for to in bounds.into_iter().chain([text.len()]) {
            let skald = bed.run();
            write_in_pieces(&bed, &file, &text[from..to], 1..8, &mut rng);
            skald.stop_well();
            from = to;
        }
        let skald = bed.run();
        eventually("all but the last", || sent.arrived(bed.loki.store()) == sent.count() - 1);
        write_in_pieces(&bed, &file, last, 1..2, &mut rng);
        bed.wait_for(sent);
        bed.adds_up();
        skald.stop_well();
    };
    run("\n", &mut sent);
    run("\r\n", &mut sent);
    assert_eq!(sent.found(bed.loki.store()), EXACT);
    assert!(bed.loki.store().entries().iter().all(|entry| entry.line.ends_with(b"}")));
}

/// Every byte alone and beside others, sequences that are cut or not allowed, and whole texts in
/// other encodings.
fn odd_bytes() -> Vec<u8> {
    let mut bytes = b"\xef\xbb\xbfwith a mark\n".to_vec();
    for byte in (0..=255_u8).filter(|byte| *byte != b'\n') {
        bytes.extend_from_slice(&[byte, b'\n', b'a', byte, b'b', byte, byte, b'\n']);
    }
    let crab = "🦀é\u{fffd}\u{feff}\u{ffff}\u{10ffff}\u{2028}\u{85}".as_bytes();
    for end in 0..=crab.len() {
        bytes.extend_from_slice(&[&crab[..end], b"\n", &crab[end..], b"|\n"].concat());
    }
    let no_utf8: [&[u8]; 7] = [
        b"\xed\xa0\x80\xed\xb0\x80",
        b"\xc0\x80",
        b"\xf5\x80\x80\x80",
        b"\xf8\x88\x80\x80\x80",
        b"\xe2\x28\xa1",
        b"\xf0\x9f\x41\x9f\x92\xa9",
        b"\xfe\xff",
    ];
    no_utf8.iter().for_each(|text| bytes.extend_from_slice(&[b"<", *text, b">\n"].concat()));
    for ends in ["\r\n", "\r\r\n", "\n\r\n", "a\rb\r\n", "\r", "\n\n", "\0\n", "\0\0a\0\r\n"] {
        bytes.extend_from_slice(ends.as_bytes());
        bytes.push(b'.');
    }
    let utf16 = "\u{feff}Grüße\r\naus Köln\n".encode_utf16();
    bytes.push(b'\n');
    bytes.extend(utf16.clone().flat_map(u16::to_le_bytes));
    bytes.extend(utf16.flat_map(u16::to_be_bytes));
    bytes.push(b'\n');
    bytes
}

/// What is specified: lines end with LF, one CR before it is cut, each invalid sequence becomes
/// U+FFFD. Nothing else changes; other encodings are not known.
fn mapped(bytes: &[u8]) -> Vec<String> {
    let mut lines: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
    assert_eq!(lines.pop(), Some(&b""[..]), "the last line has its end");
    let text = |line: &[u8]| {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        String::from_utf8_lossy(line).into_owned()
    };
    lines.into_iter().map(text).collect()
}

#[test]
fn every_byte_becomes_what_is_specified() {
    for format in ["auto", "text", "json"] {
        let (mut bed, mut rng) = (Bed::new(), fastrand::Rng::with_seed(21));
        bed.source = format!("    format: {format}\n    rules: []");
        let bytes = odd_bytes();
        let wanted = mapped(&bytes);
        let mut bounds: Vec<usize> = (0..5).map(|_| rng.usize(..bytes.len())).collect();
        bounds.sort_unstable();
        let (mut from, mut flagged) = (0, 0);
        for to in bounds.into_iter().chain([bytes.len()]) {
            let skald = bed.run();
            write_in_pieces(&bed, "a.log", &bytes[from..to], 1..100, &mut rng);
            from = to;
            let lines = bytes[..to].split(|byte| *byte == b'\n').count() - 1;
            eventually("the lines so far", || bed.loki.copies() == lines);
            flagged += bed.adds_up().flagged("invalid_utf8");
            skald.stop_well();
        }
        let got: Vec<String> =
            bed.loki.store().entries().iter().map(|e| e.text().into_owned()).collect();
        assert_eq!(got, wanted, "{format}");
        let invalid = bytes.split(|byte| *byte == b'\n');
        let invalid = invalid.filter(|line| std::str::from_utf8(line).is_err()).count();
        assert_eq!(flagged, invalid as u64, "{format}");
    }
}

#[test]
fn no_byte_in_a_value_or_a_name_harms_a_neighbour() {
    let (bed, mut sent) = (Bed::new(), Sent::default());
    let names: [&[u8]; 6] = [
        b"a b.log",
        b"\xff\xfe.log",
        b"new\nline.log",
        "quote\"é.log".as_bytes(),
        b"\\.log",
        b"'.log",
    ];
    for (idx, name) in names.into_iter().enumerate() {
        fs_err::write(bed.log("").join(OsStr::from_bytes(name)), sent.lines(&format!("n{idx}"), 9))
            .unwrap();
    }
    let mut foreign = 0;
    for byte in (0..=255_u8).filter(|byte| !b"\n\\\"".contains(byte)) {
        bed.append("a.log", sent.line("a", ""));
        for key in ["level", "event_type", "request_id"] {
            let head = format!("{{\"{key}\":\"{}", if key == "event_type" { "é" } else { "" });
            bed.append("a.log", [head.as_bytes(), &[byte], b"\"}\n"].concat());
            foreign += 1;
        }
    }
    let mut skald = bed.run();
    for _ in 0..2 {
        let wanted = sent.count() + foreign;
        eventually("every line", || bed.loki.copies() as u64 == wanted);
        bed.adds_up();
        assert_eq!(bed.loki.pushes("400"), 0, "{:?}", bed.loki.store().stats());
        skald.stop_well();
        // The checkpoint knows all the names again.
        skald = bed.run();
        bed.append("a.log", sent.lines("a", 9));
    }
    bed.wait_for(&sent);
    skald.stop_well();
    assert_eq!(sent.found(bed.loki.store()), Found { foreign, ..EXACT });
}

#[test]
fn lines_of_every_length_are_whole_or_say_how_long_they_were() {
    const KIB: usize = 1024;
    let (mut bed, mut sent) = (Bed::new(), Sent::default());
    bed.source = "    rules: [{timestamp: timestamp}]".to_owned();
    let mut lens: Vec<usize> = vec![0, 1];
    for edge in [16 * KIB, 64 * KIB, 128 * KIB, 256 * KIB, 1024 * KIB, 3 * KIB * KIB] {
        lens.extend(edge - 2..=edge + 2);
    }
    // The second byte of the first character lies on each edge, in one of the two.
    let text = |len: usize, shift: usize| "_".repeat(shift) + &"é".repeat(len / 2);
    for len in &lens {
        for shift in [0, 1] {
            bed.append("a.log", text(*len, shift) + "\n" + &sent.line("a", ""));
        }
    }
    let skald = bed.run();
    bed.wait_for(&sent);
    bed.adds_up();
    skald.stop_well();
    let foreign = 2 * lens.len() as u64;
    assert_eq!(sent.found(bed.loki.store()), Found { foreign, ..EXACT });
    let entries = bed.loki.store().entries();
    let mut long = entries.iter().filter(|entry| id(&entry.line).is_none());
    for len in lens {
        for shift in [0, 1] {
            let (wanted, got) = (text(len, shift), long.next().unwrap());
            let end = wanted.floor_char_boundary(256 * KIB);
            assert!(got.line == wanted.as_bytes()[..end], "{len} and {shift}");
            let is_cut = end < wanted.len();
            let from = ("truncated_from".to_owned(), wanted.len().to_string());
            assert_eq!(got.metadata, [from].into_iter().filter(|_| is_cut).collect::<Vec<_>>());
        }
    }
}
