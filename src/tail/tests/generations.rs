//! Generations of one file: rotated, copied, compressed, truncated, deleted.

use super::*;

#[test]
fn a_copy_is_read_where_truncation_cut_the_file_off() {
    for (copied_late, regrown) in
        [(false, "7\n"), (false, "regrown to more than there was\n"), (true, "7\n")]
    {
        let mut bench = Bench::new();
        bench.append("a", "1\n2\n");
        bench.find("a", None, false);
        assert_eq!(bench.lines(), ["1", "2"]);
        let before = bench.head();
        bench.append("a", "3\n4\n");
        fs_err::copy(bench.path("a"), bench.path("a.1")).unwrap();
        if !copied_late {
            bench.find_as("a.1", "a", None, Begin::Start);
        }
        fs_err::write(bench.path("a"), regrown).unwrap();
        if copied_late {
            // The truncation is seen first.
            assert_eq!(bench.lines(), ["7"]);
            let resume = Resume {
                head: before,
                mark: bench.marks[0],
                kin: Kin::Copy { of: Some(FileKey(1)) },
            };
            bench.find_as("a.1", "a", Some(resume), Begin::Start);
            assert_eq!(bench.lines(), ["3", "4"]);
        } else {
            assert_eq!(bench.lines(), ["3", "4", regrown.trim_end()]);
        }
        bench.seconds += 20;
        bench.lines();
        assert_eq!(bench.lost(), []);
    }
}

/// The scan that found the copy did not know of the truncation yet, and the reader has seen it since.
#[test]
fn a_copy_that_is_found_between_truncation_and_reading_goes_first() {
    for more in ["3\n4\n", ""] {
        let mut bench = Bench::new();
        bench.append("a", "x".repeat(3000) + "\n2\n");
        bench.find("a", None, false);
        assert_eq!(bench.lines().len(), 2);
        bench.append("a", more);
        fs_err::copy(bench.path("a"), bench.path("a.1")).unwrap();
        fs_err::write(bench.path("a"), "5\n").unwrap();
        let now = bench.now();
        bench.reader.hint(&bench.path("a"), false, now, &mut Disk);
        bench.find_as("a.1", "a", None, Begin::Start);
        let expected: Vec<&str> = more.lines().chain(["5"]).collect();
        assert_eq!(bench.lines(), expected);
    }
}

#[test]
fn what_no_copy_has_is_lost_and_said() {
    let mut bench = Bench::new();
    bench.append("a", "1\n2\n");
    bench.find("a", None, false);
    bench.lines();
    bench.append("a", "3\n");
    // It is seen to have grown, and waits to be read.
    let now = bench.now();
    bench.reader.hint(&bench.path("a"), false, now, &mut Disk);
    fs_err::write(bench.path("a"), "4\n").unwrap();
    assert_eq!(bench.lines(), ["4"]);
    assert_eq!(bench.lost(), []);
    bench.seconds += 11;
    bench.lines();
    assert_eq!(bench.lost(), [(2, Loss::Truncated)]);
}

#[test]
fn a_copy_of_a_file_that_is_not_truncated_is_not_read() {
    let mut bench = Bench::new();
    bench.append("a", "1\n2\n");
    bench.find("a", None, false);
    assert_eq!(bench.lines(), ["1", "2"]);
    fs_err::copy(bench.path("a"), bench.path("a.1")).unwrap();
    bench.find_as("a.1", "a", None, Begin::Start);
    bench.append("a", "3\n");
    assert_eq!(bench.lines(), ["3"]);
    // Its original goes: what the copy has not is not missed, and nothing comes twice.
    let (inode, now) = (bench.inode("a"), bench.now());
    fs_err::remove_file(bench.path("a")).unwrap();
    bench.reader.gone(inode, now);
    bench.seconds += 20;
    assert_eq!((bench.lines(), bench.lines()), (vec![], vec![]));
    assert!(bench.closed());
}

#[test]
fn files_that_begin_alike_are_not_copies_of_each_other() {
    let banner = "banner\n".repeat(300);
    for more in ["", "newer, and longer than the other\n"] {
        let mut bench = Bench::new();
        bench.append("a", &banner);
        bench.find("a", None, false);
        bench.lines();
        bench.append("a", more);
        bench.append("a.1", banner.clone() + "older\n");
        bench.find_as("a.1", "a", None, Begin::Start);
        assert!(bench.lines().contains(&"older".to_owned()), "{more}");
    }
    // A longer one with the same head is known to have been read, and is gone.
    let mut bench = Bench::new();
    bench.append("a", banner.clone() + "read\n");
    bench.find("a", None, false);
    bench.lines();
    let resume = bench.resume(Kin::Copy { of: None });
    let mut other = Bench::new();
    other.append("a.1", banner[..1400].to_owned() + "old\n");
    other.find_as("a.1", "a", Some(resume), Begin::Start);
    assert_eq!(other.lines().last().unwrap(), "old");
}

#[test]
fn a_compressed_generation_is_read_on_inside() {
    use std::io::Write as _;
    let pack = |plain: &[u8]| {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(plain).unwrap();
        gzip.finish().unwrap()
    };
    let mut bench = Bench::new();
    let plain: String = (0..100).map(|line| format!("line {line}\n")).collect();
    bench.append("a", &plain[..350]);
    bench.find("a", None, false);
    let lines = bench.lines().len();
    let resume = bench.resume(Kin::Copy { of: None });
    let mut other = Bench::new();
    other.append("a.2.gz", pack(plain.as_bytes()));
    other.find_as("a.2.gz", "a", Some(resume), Begin::Start);
    let rest: Vec<String> = plain.lines().skip(lines).map(str::to_owned).collect();
    assert_eq!(other.lines(), rest);
    // Not whole yet: tried again.
    let packed = pack(plain.replace("line", "more").as_bytes());
    other.append("a.3.gz", &packed[..packed.len() / 2]);
    other.find_as("a.3.gz", "a", None, Begin::Start);
    assert_eq!(other.lines(), [""; 0]);
    other.append("a.3.gz", &packed[packed.len() / 2..]);
    other.seconds += 5;
    assert_eq!(other.lines().len(), 100);
}

#[test]
fn generations_are_read_the_oldest_first_whenever_they_are_found() {
    let mut bench = Bench::new();
    for name in ["a.2", "a.1", "a"] {
        bench.append(name, format!("{name}\n"));
    }
    bench.find("a", None, false);
    bench.find_as("a.1", "a", None, Begin::Start);
    bench.find_as("a.2", "a", None, Begin::Start);
    assert_eq!(bench.lines(), ["a.2", "a.1", "a"]);
}

#[test]
fn what_is_from_before_our_time_is_only_remembered() {
    let mut bench = Bench::new();
    bench.append("a.1", "old\n");
    bench.append("a", "new\n");
    bench.find("a", None, false);
    bench.find_as("a.1", "a", None, Begin::Never);
    assert_eq!(bench.lines(), ["new"]);
    assert!(bench.closed());
    assert_eq!(bench.reader.open_files(), 1);
}

#[test]
fn nuls_that_nobody_wrote_are_skipped() {
    let mut bench = Bench::new();
    bench.append("a", "1\n");
    bench.find("a", None, false);
    assert_eq!(bench.lines(), ["1"]);
    // Truncated, and the writer goes on at its old offset.
    let file = OpenOptions::new().write(true).truncate(true).open(bench.path("a")).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"2\n", 3 << 30).unwrap();
    assert_eq!(bench.lines(), ["2"]);
    let skipped: u64 = bench
        .news
        .iter()
        .map(|news| if let News::Skipped { bytes, .. } = news { *bytes } else { 0 })
        .sum();
    assert_eq!(skipped, 3 << 30);
    // These were written.
    bench.append("a", "\0\0\n");
    assert_eq!(bench.lines(), ["\0\0"]);
}

#[test]
fn descriptors_are_closed_and_opened_again_within_the_budget() {
    let mut bench = Bench::new();
    bench.reader = Reader::new(Options {
        budget: Budget { open_files: 3, deleted_files: 9, deleted_bytes: 1 << 20 },
        ..bench.reader.options.clone()
    });
    let names: Vec<String> = (0..10).map(|name| format!("f{name}")).collect();
    for round in 0..3 {
        for name in &names {
            bench.append(name, format!("{name} {round}\n"));
            if round == 0 {
                bench.find(name, None, false);
            }
        }
        let mut lines = bench.lines();
        lines.sort();
        let expected: Vec<String> = names.iter().map(|name| format!("{name} {round}")).collect();
        assert_eq!(lines, expected);
        assert!(bench.reader.open <= 3, "{}", bench.reader.open);
    }
    assert_eq!(bench.lost(), []);
}

#[test]
fn deleted_files_beyond_the_budget_are_given_up_the_oldest_first() {
    let mut bench = Bench::new();
    bench.reader.options.budget.deleted_bytes = 8;
    for name in ["a", "b", "c"] {
        bench.append(name, "1\n2\n");
        bench.find(name, None, false);
        let inode = bench.inode(name);
        fs_err::remove_file(bench.path(name)).unwrap();
        let now = bench.now();
        bench.reader.gone(inode, now);
    }
    let lines = bench.lines();
    assert_eq!(lines, ["1", "2", "1", "2"]);
    let given_up: Vec<(u64, u64)> = bench
        .news
        .iter()
        .filter_map(|news| {
            let News::GivenUp { bytes, lines, .. } = news else { return None };
            Some((*bytes, *lines))
        })
        .collect();
    assert_eq!(given_up, [(4, 2)]);
}

#[test]
fn regrowth_to_the_same_size_is_seen() {
    let mut bench = Bench::new();
    bench.append("a", "1\n2\n");
    bench.find("a", None, false);
    assert_eq!(bench.lines(), ["1", "2"]);
    fs_err::write(bench.path("a"), "3\n4\n").unwrap();
    assert_eq!(bench.lines(), ["3", "4"]);
}

#[test]
fn a_file_that_comes_late_under_its_name_is_read() {
    let mut bench = Bench::new();
    bench.find("a", None, true);
    assert_eq!(bench.lines(), [""; 0]);
    bench.append("a", "1\n");
    let lines: Vec<String> = (0..3).flat_map(|_| bench.lines()).collect();
    assert_eq!(lines, ["1"]);
    bench.find("a", None, true);
    assert_eq!(bench.lines(), [""; 0], "it is followed already");
}

#[test]
fn a_name_under_which_nothing_comes_is_forgotten() {
    let mut bench = Bench::new();
    bench.find("a", None, false);
    for _ in 0..200 {
        assert_eq!(bench.lines(), [""; 0]);
    }
    assert!(bench.reader.waiting.is_empty());
}

/// The scan between has not told of it: the new file may have the old one's number.
#[test]
fn a_file_that_follows_one_that_was_given_up_is_read() {
    let mut bench = Bench::new();
    bench.reader.options.budget.deleted_bytes = 1;
    bench.append("a", "1\n");
    bench.find("a", None, false);
    assert_eq!(bench.lines(), ["1"]);
    fs_err::remove_file(bench.path("a")).unwrap();
    assert_eq!(bench.lines(), [""; 0]);
    assert!(bench.closed());
    bench.append("a", "2\n");
    let lines: Vec<String> = (0..3).flat_map(|_| bench.lines()).collect();
    assert_eq!(lines, ["2"]);
}

/// `a` is rotated to `a.1` after a scan has found it.
fn rotated_since_it_was_found() -> (Bench, (u64, u64)) {
    let mut bench = Bench::new();
    bench.append("a", "1\n2\n");
    let inode = bench.inode("a");
    fs_err::rename(bench.path("a"), bench.path("a.1")).unwrap();
    bench.append("a", "3\n");
    bench.find_inode(Some(inode), "a", "a", None, Begin::End);
    (bench, inode)
}

#[test]
fn a_file_that_was_rotated_before_it_was_opened_is_not_taken_for_its_successor() {
    let (mut bench, inode) = rotated_since_it_was_found();
    assert_eq!(bench.lines(), [""; 0]);
    bench.find_inode(Some(inode), "a.1", "a", None, Begin::Start);
    bench.find_inode(Some(bench.inode("a")), "a", "a", None, Begin::Start);
    assert_eq!(bench.lines(), ["1", "2", "3"]);
}

#[test]
fn what_is_under_the_name_of_a_file_that_nobody_tells_of_is_read() {
    let (mut bench, _) = rotated_since_it_was_found();
    let lines: Vec<_> = (0..5).flat_map(|_| bench.lines()).collect();
    assert_eq!(lines, ["3"]);
}

#[test]
fn a_generation_that_was_renamed_before_it_was_opened_is_waited_for() {
    for is_gone in [false, true] {
        let mut bench = Bench::new();
        bench.append("a.2", "1\n2\n");
        bench.append("a", "3\n");
        let inode = bench.inode("a.2");
        // It was `a.1` when a scan met it.
        bench.find_inode(Some(inode), "a.1", "a", None, Begin::Start);
        bench.find_inode(Some(bench.inode("a")), "a", "a", None, Begin::Start);
        assert_eq!(bench.lines(), [""; 0]);
        let now = bench.now();
        if is_gone {
            bench.reader.gone(inode, now);
            assert_eq!(bench.lines(), ["3"]);
        } else {
            bench.find_inode(Some(inode), "a.2", "a", None, Begin::Start);
            assert_eq!(bench.lines(), ["1", "2", "3"]);
        }
    }
}
