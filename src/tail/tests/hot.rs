use super::*;
use crate::tail::hot::HOT_BYTES;

const LOOK_HOT: u64 = 50;

fn at(millis: u64) -> Now {
    Now { mono: Duration::from_millis(millis), wall: UnixNanos(0) }
}

fn hint_at(bench: &mut Bench, millis: u64, is_last: bool) {
    let path = bench.path("a");
    bench.reader.hint(&path, is_last, at(millis), &mut Disk);
}

/// Reads all there is at this time, in milliseconds since start. Returns how many lines came, and
/// when to come again.
fn read_at(bench: &mut Bench, millis: u64) -> (usize, u64) {
    let now = at(millis);
    let (mut buf, mut lines) = (Vec::new(), 0);
    loop {
        match bench.reader.turn(now, &mut Disk, &mut buf, |_| true) {
            Turn::Chunk(chunk) => {
                let end = chunk.lines(&buf).map(|line| line.end).last().unwrap();
                lines += chunk.lines(&buf).count();
                let mark = Mark { offset: end, tail: chunk.tail(&buf, end), ..Mark::default() };
                bench.reader.consumed(&chunk, mark, true);
            }
            Turn::Idle(until) if until <= now.mono => {}
            Turn::Idle(until) => return (lines, u64::try_from(until.as_millis()).unwrap()),
        }
    }
}

/// A file that has been read to its end and is looked at at 1 s.
fn followed() -> Bench {
    let mut bench = Bench::new();
    bench.append("a", "first\n");
    bench.find("a", None, false);
    assert_eq!(read_at(&mut bench, 0), (1, 1000));
    bench
}

/// So many lines of 32 bytes make a file hot.
const LINES: usize = 2048;

fn grow(bench: &Bench, lines: usize) {
    assert_eq!(32 * LINES as u64, HOT_BYTES);
    bench.append("a", format!("{:31}\n", "line").repeat(lines));
}

#[test]
fn a_file_that_grows_fast_without_hints_is_looked_at_often_until_it_grows_slowly() {
    let mut bench = followed();
    grow(&bench, LINES);
    assert_eq!(read_at(&mut bench, 1000), (LINES, 1000 + LOOK_HOT));
    grow(&bench, 1);
    assert_eq!(read_at(&mut bench, 1049), (0, 1050));
    assert_eq!(read_at(&mut bench, 1050), (1, 1100));
    grow(&bench, LINES - 2);
    assert_eq!(read_at(&mut bench, 1999), (LINES - 2, 2000));
    // One line is missing of what it has to grow in a second to stay hot.
    assert_eq!(read_at(&mut bench, 2000), (0, 2049));
    assert_eq!(read_at(&mut bench, 2049), (0, 3000));
    grow(&bench, 1);
    assert_eq!(read_at(&mut bench, 2999), (0, 3000));
    assert_eq!(read_at(&mut bench, 3000), (1, 4000));
}

#[test]
fn a_file_that_goes_on_growing_fast_stays_hot() {
    let mut bench = followed();
    for second in 1..4 {
        grow(&bench, LINES);
        let (lines, next) = read_at(&mut bench, 1000 * second);
        assert_eq!((lines, next - 1000 * second), (LINES, LOOK_HOT));
        assert_eq!(bench.reader.hot.len(), 1);
    }
}

#[test]
fn what_hints_tell_makes_no_file_hot() {
    let mut bench = followed();
    grow(&bench, LINES);
    hint_at(&mut bench, 500, false);
    assert_eq!(read_at(&mut bench, 500), (LINES, 1000));
    grow(&bench, LINES - 1);
    assert_eq!(read_at(&mut bench, 1000), (0, 2000), "looked at half a second ago");
}

#[test]
fn a_file_of_which_the_last_hint_told_is_hot_at_once() {
    let mut bench = followed();
    grow(&bench, 1);
    hint_at(&mut bench, 500, true);
    assert_eq!(read_at(&mut bench, 500), (1, 550));
    grow(&bench, LINES);
    assert_eq!(read_at(&mut bench, 550), (LINES, 600));
}

#[test]
fn a_hot_file_that_is_truncated_or_rotated_away_is_none_any_more() {
    let mut bench = followed();
    grow(&bench, LINES);
    assert_eq!(read_at(&mut bench, 1000), (LINES, 1050));
    fs_err::write(bench.path("a"), "new\n").unwrap();
    assert_eq!(read_at(&mut bench, 1050), (0, 1100), "that it shrank is for another look");
    hint_at(&mut bench, 1060, false);
    assert_eq!(read_at(&mut bench, 1100), (0, 2000), "the new generation is another file");

    let mut bench = followed();
    grow(&bench, LINES);
    assert_eq!(read_at(&mut bench, 1000), (LINES, 1050));
    grow(&bench, 1);
    bench.rename("a", "a.1", "a");
    assert_eq!(read_at(&mut bench, 1050).0, 1);
    assert_eq!(bench.reader.hot.len(), 0);
}

#[test]
fn a_file_in_the_place_of_a_hot_one_is_not_hot() {
    let mut bench = followed();
    grow(&bench, LINES);
    assert_eq!(read_at(&mut bench, 1000), (LINES, 1050));
    let (inode, now) = (bench.inode("a"), bench.now());
    bench.reader.leave(inode, now);
    bench.append("b", "other\n");
    bench.find("b", None, false);
    assert_eq!((read_at(&mut bench, 1049).0, bench.reader.hot.len()), (1, 1));
    read_at(&mut bench, 1050);
    assert_eq!(bench.reader.hot.len(), 0);
}
