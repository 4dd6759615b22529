//! The whole process, measured from outside: `benches/README.md` says what, and how to read it.
#![expect(clippy::disallowed_methods, reason = "a bench reads the clock")]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a bench prints what it measures")]
#![expect(clippy::cast_precision_loss, reason = "figures for people")]

mod agent;
#[path = "../common/corpus.rs"]
mod corpus;
mod expect;
mod files;
mod live;
mod measure;
mod prototype;
mod reading;
mod sink;
mod smoke;
mod start;
mod table;
mod tally;
mod whole;
#[path = "../common/words.rs"]
mod words;
mod workload;

use std::collections::HashMap;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Parser as _;

use self::files::{Fault, Library};
use self::table::{Figures, Row};
use self::workload::{Kind, Workload};

/// Measures the whole process: a release build of Skald on one core, a receiver that counts and
/// checks on the other.
#[derive(Debug, clap::Parser)]
#[command(max_term_width = 100)]
struct Args {
    /// Which workloads; see --list. Without any, the usual ones
    workloads: Vec<String>,
    /// Show the workloads
    #[arg(long)]
    list: bool,
    /// How often each is run, by turns
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// Size of a log; those of odd lines have half of it
    #[arg(long, default_value_t = 160)]
    megabytes: u64,
    /// Where lines come from
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Leave out the run of each that counts system calls
    #[arg(long)]
    no_strace: bool,
    /// The binary to measure, instead of the one that was just built
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
    /// Another build: runs both by turns and prints how they compare
    #[arg(long, value_name = "FILE")]
    compare: Option<PathBuf>,
    /// Spoil the log, to see that it is noticed
    #[arg(long, value_name = "HOW")]
    fault: Option<Fault>,
    /// See whether the bench works, in a minute
    #[arg(long)]
    smoke: bool,
    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("no result: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> anyhow::Result<()> {
    let all = workload::all(args.megabytes);
    if args.list {
        for Workload { name, about, is_usual, .. } in all {
            println!("{name:<12} {about}{}", if is_usual { "" } else { " (when named)" });
        }
        return Ok(());
    }
    let chosen = chosen(args, all)?;
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let mut library = library(folder.path(), args.seed, args.fault)?;
    let built = Path::new(env!("CARGO_BIN_EXE_skald"));
    let binary = args.binary.as_deref().unwrap_or(built);
    if args.smoke {
        println!("{}", smoke::run(folder.path(), binary)?);
        return Ok(());
    }
    match &args.compare {
        None => measure(args, &chosen, &mut library, binary),
        Some(other) => compare(args, &chosen, &mut library, [binary, other]),
    }
}

/// No logs yet.
fn library(folder: &Path, seed: u64, fault: Option<Fault>) -> anyhow::Result<Library> {
    Ok(Library {
        folder: folder.to_owned(),
        seed,
        start: i64::try_from(sink::wall().as_nanos())? - 3_600_000_000_000,
        fault,
        patience: Duration::from_secs(30),
        written: HashMap::new(),
    })
}

fn chosen(args: &Args, all: Vec<Workload>) -> anyhow::Result<Vec<Workload>> {
    if let Some(other) = args.workloads.iter().find(|name| all.iter().all(|row| row.name != **name))
    {
        bail!("there is no workload {other:?}; --list shows them");
    }
    let is_chosen = |row: &Workload| match args.workloads.is_empty() {
        true => row.is_usual,
        false => args.workloads.iter().any(|name| row.name == name),
    };
    Ok(all.into_iter().filter(is_chosen).collect())
}

fn measure(
    args: &Args,
    chosen: &[Workload],
    library: &mut Library,
    binary: &Path,
) -> anyhow::Result<()> {
    let mut rows: Vec<Row> =
        chosen.iter().map(|row| Row { name: row.name, runs: Vec::new() }).collect();
    for round in 0..args.runs {
        for (row, workload) in rows.iter_mut().zip(chosen) {
            progress(&format!("{} of {}: {}", round + 1, args.runs, row.name));
            row.runs.push(once(library, binary, workload)?);
        }
    }
    for (row, workload) in rows.iter_mut().zip(chosen).filter(|_| has_strace(args)) {
        progress(&format!("system calls: {}", row.name));
        row.runs.push(calls(library, binary, workload)?);
    }
    progress("");
    let (whole, others): (Vec<Row>, Vec<Row>) =
        rows.into_iter().partition(|row| row.runs.iter().any(|run| !run.get("µs/line").is_nan()));
    for rows in [whole, others].iter().filter(|rows| !rows.is_empty()) {
        println!("{}", table::table(rows));
    }
    Ok(())
}

/// Runs both by turns, in the other order each time, and prints this build's figures divided by
/// the other's.
fn compare(
    args: &Args,
    chosen: &[Workload],
    library: &mut Library,
    [this, other]: [&Path; 2],
) -> anyhow::Result<()> {
    println!("This build's figures divided by the other's:\n");
    for workload in chosen {
        let mut runs = Vec::new();
        for round in 0..args.runs {
            progress(&format!("{} of {}: {}", round + 1, args.runs, workload.name));
            let (one, another);
            if round % 2 == 0 {
                another = once(library, other, workload)?;
                one = once(library, this, workload)?;
            } else {
                one = once(library, this, workload)?;
                another = once(library, other, workload)?;
            }
            runs.push(one.divided_by(&another));
        }
        progress("");
        println!("{}", table::table(&[Row { name: workload.name, runs }]));
    }
    Ok(())
}

/// Says what runs, to one who watches.
fn progress(text: &str) {
    if std::io::stderr().is_terminal() {
        eprint!("\r{text:<40}\r");
    }
}

fn has_strace(args: &Args) -> bool {
    !args.no_strace && Command::new("strace").arg("--version").output().is_ok()
}

fn calls(library: &mut Library, binary: &Path, workload: &Workload) -> anyhow::Result<Figures> {
    match &workload.kind {
        Kind::Whole(whole) => whole::count_calls(library, binary, whole).context(workload.name),
        Kind::Live(_) | Kind::Start(_) | Kind::Dead(..) => Ok(Figures::default()),
    }
}

fn once(library: &mut Library, binary: &Path, workload: &Workload) -> anyhow::Result<Figures> {
    match workload.kind {
        Kind::Whole(whole) => whole::run(library, binary, &whole),
        Kind::Live(live) => live::run(library, binary, live),
        Kind::Start(time) => start::idle(library, binary, time),
        Kind::Dead(log, time) => start::dead(library, binary, log, time),
    }
    .context(workload.name)
}
