//! The workloads by name.

use std::time::Duration;

use crate::corpus::Shape;
use crate::expect::Rules;
use crate::files::Log;

/// A run of the agent over a log, to its end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Whole {
    pub(crate) log: Log,
    /// How long the receiver waits with each answer.
    pub(crate) delay: Duration,
    pub(crate) input: Input,
    /// Streams that the configuration allows.
    pub(crate) streams: u32,
    /// Whether the prototype runs beside it.
    pub(crate) has_prototype: bool,
}

/// Where the lines come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Input {
    /// Files, and the agent on a core of its own.
    Files,
    /// Files, and the agent on both cores with the receiver.
    FilesOnBoth,
    /// A pipe.
    Stdin,
}

/// What is measured.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    /// A run over a log.
    Whole(Whole),
    /// Files that grow, or do not, while they are watched.
    Live(Live),
    /// Nothing to do, for so long.
    Start(Duration),
    /// A log, and no Loki, for so long.
    Dead(Log, Duration),
}

/// What happens to files that are watched.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Live {
    /// Lines, each into the next file.
    Growing { files: usize, lines_per_second: u32, time: Duration },
    /// Nothing until they are `quiet`, nothing for a `time`, then one line.
    Idle { files: usize, quiet: Duration, time: Duration },
    /// Lines into one file.
    Latency { lines_per_second: u32, age_max: Duration, time: Duration },
}

/// A row of the table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Workload {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    /// Whether it runs when none is named.
    pub(crate) is_usual: bool,
    pub(crate) kind: Kind,
}

/// After so long without a change files are looked at less often.
const QUIET: Duration = Duration::from_secs(65);

/// All of them, with logs of `megabytes`.
pub(crate) fn all(megabytes: u64) -> Vec<Workload> {
    let bytes = megabytes * 1_000_000;
    let log = |shape| Log { shape, rules: Rules::Default, files: 1, even_users: 0, bytes };
    let plain = |log| Whole {
        log,
        delay: Duration::ZERO,
        input: Input::Files,
        streams: 100_000,
        has_prototype: false,
    };
    let row =
        |name, about, whole| Workload { name, about, is_usual: true, kind: Kind::Whole(whole) };
    let shape = |name, about, shape| {
        let log = Log { bytes: bytes / 2, ..log(shape) };
        Workload { is_usual: false, ..row(name, about, plain(log)) }
    };
    let file400 = plain(log(Shape::File400));
    let users = Log { rules: Rules::User, even_users: 100_000, ..log(Shape::File400) };
    let by_user = Whole { streams: 200_000, ..plain(users) };
    let by_level = plain(Log { rules: Rules::Level, ..users });
    let twenty = Whole { input: Input::FilesOnBoth, ..plain(Log { files: 20, ..file400.log }) };
    let slow = Duration::from_millis(50);
    let seconds = Duration::from_secs;
    let live = |name, about, kind| Workload { name, about, is_usual: false, kind };
    let rate = |name, about, lines_per_second, age_max| {
        let latency = Live::Latency { lines_per_second, age_max, time: seconds(10) };
        live(name, about, Kind::Live(latency))
    };
    // 20 MB/s.
    let growing = Live::Growing { files: 10_000, lines_per_second: 49_500, time: seconds(30) };
    let idle = Live::Idle { files: 10_000, quiet: QUIET, time: seconds(20) };
    vec![
        row("file400", "one file, 400 B lines", Whole { has_prototype: true, ..file400 }),
        row(
            "file220",
            "one file, 220 B lines",
            Whole { has_prototype: true, ..plain(log(Shape::File220)) },
        ),
        row("slow400", "file400, answers after 50 ms", Whole { delay: slow, ..file400 }),
        row("stdin", "file400 through a pipe", Whole { input: Input::Stdin, ..file400 }),
        row("cri", "file400 as a container runtime wraps it", plain(log(Shape::Cri))),
        row("twenty", "20 files on both cores, with the receiver", twenty),
        row("streams5", "one file, 5 streams", by_level),
        row("streams100k", "the same file, 100,000 streams", by_user),
        live(
            "dead",
            "file400, Loki refuses connections for 5 s",
            Kind::Dead(file400.log, seconds(5)),
        ),
        live("start", "one empty file for 3 s", Kind::Start(seconds(3))),
        live("growing10k", "10,000 files, 20 MB/s in all for 30 s", Kind::Live(growing)),
        live("idle10k", "10,000 quiet files for 20 s, then a line", Kind::Live(idle)),
        rate("rate1", "1 line/s for 10 s, age_max 1s", 1, seconds(1)),
        rate("rate10", "10 lines/s", 10, seconds(1)),
        rate("rate100", "100 lines/s", 100, seconds(1)),
        rate("latency", "1,000 lines/s", 1000, seconds(1)),
        rate("rate10k", "10,000 lines/s", 10_000, seconds(1)),
        rate("rate50k", "50,000 lines/s", 50_000, seconds(1)),
        rate("latency10ms", "1,000 lines/s, age_max 10ms", 1000, Duration::from_millis(10)),
        shape("b100", "100 B lines", Shape::Bytes100),
        shape("b2k", "2 KB lines", Shape::Bytes2k),
        shape("b16k", "16 KB lines", Shape::Bytes16k),
        shape("nested", "keys of the same names within objects", Shape::Nested),
        shape("escapes", "5 % with escapes and non-ASCII", Shape::Escapes),
        shape("malformed", "1 % that is no JSON", Shape::Malformed),
        shape("shuffled", "keys in another order in each line", Shape::Shuffled),
    ]
}
