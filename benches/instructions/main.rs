//! Instructions per line of a reader thread's turns, counted by callgrind: the same on every run,
//! so that two in a hundred more are seen. `benches/README.md` says how to read and record them.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a bench prints what it measures")]
#![expect(clippy::cast_precision_loss, reason = "figures for people")]

#[path = "../common/mod.rs"]
mod common;
mod profile;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context as _, ensure};
use clap::Parser as _;

use self::common::corpus::Shape;
use self::profile::Profile;

/// Files of so many lines are read. What they differ by is what lines cost.
const LINES: [usize; 2] = [10_000, 20_000];

/// How far from what is recorded is still the same.
const TOLERANCE: f64 = 0.02;

/// One more rule than the default ones, by verb; of those that could drop a line, none does.
const VERBS: [(&str, &str); 18] = [
    ("+keep", "keep: {}"),
    ("+set", "set: {route: '{method} {url}'}"),
    ("+map", "map: {level: {WARNING: warn}}"),
    ("+lowercase", "lowercase: level"),
    ("+level", "level: level"),
    ("+regex", "regex: {message: '(?P<first>[a-z]+) (?P<second>[a-z]+)'}"),
    ("+replace", "replace: {url: {pattern: '[0-9]+', with: N}}"),
    ("+redact", "redact: [email, bearer, card]"),
    ("+redact-ip", "redact: ip"),
    ("+members", "metadata: 'context.*'"),
    ("+line", "line: '{message} {url:-}'"),
    ("+logfmt", "line: logfmt"),
    ("+drop", "drop: {url: [/health, /ready]}"),
    ("+sample", "sample: {rate: 1, by: trace_id}"),
    ("+limit", "limit: {lines_per_second: 1000000000}"),
    ("+tenant", "tenant: {from: user_id, map: {nobody: a}}"),
    ("+metrics", "metrics: {lines_total: {by: level}}"),
    ("+when", "when: {level: none}\n        then: [{drop: {}}]"),
];

const RECORD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/instructions/per-line.txt");

/// Counts instructions per line, and compares them to those that are recorded.
#[derive(Debug, clap::Parser)]
struct Args {
    /// Which logs; without any, all
    logs: Vec<String>,
    /// Record what is counted
    #[arg(long, conflicts_with = "logs")]
    record: bool,
    /// Show also where they are spent, by source; not with `--profile release`, which has no names
    #[arg(long)]
    steps: bool,
    /// Given to the counted process: the file to read
    #[arg(long, hide = true)]
    read: Option<PathBuf>,
    /// Given to the counted process: one more rule
    #[arg(long, hide = true)]
    rule: Option<String>,
    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    if let Some(path) = &args.read {
        let entries = common::turns::settle_all(path, args.rule.as_deref());
        println!("{entries}");
        return ExitCode::SUCCESS;
    }
    match run(&args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether all is as it was.
fn run(args: &Args) -> anyhow::Result<bool> {
    let folder = tempfile::tempdir()?;
    let recorded = recorded()?;
    let mut is_same = true;
    let mut record = String::new();
    let is_chosen = |name: &str| args.logs.is_empty() || args.logs.iter().any(|log| log == name);
    let logs = common::MADE.into_iter().map(|(name, shape)| (name, shape, None));
    let verbs = VERBS.into_iter().map(|(name, rule)| (name, Shape::File400, Some(rule)));
    for (name, shape, rule) in logs.chain(verbs).filter(|(name, ..)| is_chosen(name)) {
        let [few, many] = LINES.map(|lines| count(folder.path(), shape, rule, lines));
        let spent = many?.less(&few?).per((LINES[1] - LINES[0]) as f64);
        let total = spent.total();
        let before = recorded.get(name).copied();
        let change = before.map_or(f64::NAN, |before| total / before - 1.0);
        println!("{name:<10} {total:>8.0} instructions per line, {:+.2} %", change * 100.0);
        if args.steps {
            println!("{spent}");
        }
        is_same &= change.abs() <= TOLERANCE;
        let _ = writeln!(record, "{name} {total:.0}");
    }
    if args.record {
        fs_err::write(RECORD, record)?;
        return Ok(true);
    }
    if !is_same {
        println!("more than 2 % from what is recorded: if it is meant, `-- --record` it");
    }
    Ok(is_same)
}

/// What this program's own child takes to read so many lines.
fn count(folder: &Path, shape: Shape, rule: Option<&str>, lines: usize) -> anyhow::Result<Profile> {
    let (log, out) = (folder.join("lines.log"), folder.join("callgrind.out"));
    fs_err::write(&log, common::made(shape, lines))?;
    let mut out_file = std::ffi::OsString::from("--callgrind-out-file=");
    out_file.push(&out);
    // The size of the environment moves the stack, and how bytes are aligned costs a little.
    let ran = Command::new("valgrind")
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .args(["--tool=callgrind", "--quiet"])
        .arg(out_file)
        .arg(std::env::current_exe()?)
        .arg("--read")
        .arg(&log)
        .args(rule.into_iter().flat_map(|rule| ["--rule", rule]))
        .output()
        .context("cannot start valgrind")?;
    let said = String::from_utf8_lossy(&ran.stdout);
    ensure!(said.trim() == lines.to_string(), "{said}{}", String::from_utf8_lossy(&ran.stderr));
    Profile::parse(&fs_err::read_to_string(&out)?).context("not what callgrind writes")
}

/// The figures that are recorded, by log.
fn recorded() -> anyhow::Result<BTreeMap<String, f64>> {
    let text = fs_err::read_to_string(RECORD)?;
    let lines = text.lines().map(|line| {
        let (name, number) = line.split_once(' ').context("a name and a number")?;
        Ok((name.to_owned(), number.parse()?))
    });
    lines.collect()
}
