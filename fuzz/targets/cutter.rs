//! Standard input, cut at any place, gives the lines that splitting it at once gives.

use skald::tail::Cutter;

use super::bytes::Bytes;

/// A line: its bytes or their head, its full length when it was cut, its bytes in the input.
type Line = (Vec<u8>, Option<u64>, u64);

/// Sizes of lines and buffer, how the input comes, and the input.
pub(crate) fn check(data: &[u8]) {
    let mut bytes = Bytes(data);
    let line_bytes = 1 + bytes.below(64);
    let chunk_bytes = 1 + bytes.below(64);
    let mut steps = Bytes(bytes.piece()).0.iter().copied().cycle();
    let mut input = bytes.0;
    let expected = naive(input, line_bytes);

    let mut cutter = Cutter::new(line_bytes, chunk_bytes);
    let mut lines: Vec<Line> = Vec::new();
    loop {
        // How much comes at once, and how many lines are taken before more comes.
        let step = usize::from(steps.next().unwrap_or(0));
        take(&mut cutter, &mut lines, step >> 5);
        if input.is_empty() {
            break;
        }
        let room = cutter.room();
        if room.is_empty() {
            assert!(cutter.line().is_some(), "no line and no room for one");
            take(&mut cutter, &mut lines, 1);
            continue;
        }
        let len = (1 + (step & 31)).min(input.len()).min(room.len());
        room[..len].copy_from_slice(&input[..len]);
        input = &input[len..];
        cutter.filled(len);
    }
    cutter.finish();
    take(&mut cutter, &mut lines, usize::MAX);
    assert!(cutter.is_empty());
    assert_eq!(lines, expected, "{line_bytes} a line, {chunk_bytes} a chunk");
}

fn take(cutter: &mut Cutter, lines: &mut Vec<Line>, most: usize) {
    for _ in 0..most {
        let Some(line) = cutter.line() else { return };
        lines.push((line.bytes.to_vec(), line.truncated_from, line.input_bytes));
        cutter.consume();
    }
}

fn naive(input: &[u8], line_bytes: usize) -> Vec<Line> {
    let lines = input.split_inclusive(|byte| *byte == b'\n').map(|whole| {
        let line = whole.strip_suffix(b"\n").unwrap_or(whole);
        let cut = (line_bytes < line.len()).then_some(line.len() as u64);
        (line[..line.len().min(line_bytes)].to_vec(), cut, whole.len() as u64)
    });
    lines.collect()
}
