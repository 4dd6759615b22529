//! Every command and flag, with the help that a person can learn the tool from.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueHint};

use crate::telemetry::{Format, LevelFilter};

const EXAMPLES: &str = "\
Examples:
  my-service | skald --url http://loki:3100 --label app=my-service
  my-service | skald --url http://loki:3100 --label app=my-service --tee | less
  skald run --url http://loki:3100 --label app=nginx '/var/log/nginx/*.log'
  skald run -c skald.yaml
  skald try app.log                what each line would become; sends nothing
  skald demo                       the whole way in a few seconds, without Loki

Exit codes: 0 all delivered; 1 something was not, or a check found mistakes; 2 wrong use.";

/// Ships logs to Grafana Loki and loses nothing.
///
/// Reads standard input or follows files, takes labels and structured metadata out of JSON lines,
/// and pushes them to Loki in compressed batches. What Loki has not acknowledged is sent again:
/// after an outage, a restart or a crash.
///
/// Without a command it ships standard input, and ends when that ends and all is delivered.
#[derive(Debug, Parser)]
#[command(
    name = "skald",
    version,
    after_help = EXAMPLES,
    args_conflicts_with_subcommands = true,
    max_term_width = 100
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Without a command.
    #[command(flatten)]
    pub pipe: Pipe,
    /// Of every command.
    #[command(flatten)]
    pub log: Log,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the agent: by a configuration file, or by flags and patterns of files
    Run(Run),
    /// Run a service and ship its two outputs; end with its exit code when all is delivered
    Exec(Exec),
    /// Show all mistakes in a configuration file, with line, column and a hint
    Check(Check),
    /// Show what each line becomes: stream, time, structured metadata. Sends nothing
    Try(Try),
    /// Check that rules make of sample lines what a file says; for your own CI
    Test(Test),
    /// Read a sample of a log and write a configuration for it, with the reasons
    Suggest(Suggest),
    /// Run a small Loki-compatible receiver, for trying things out and for tests
    Receive(Receive),
    /// Send the lines again that Loki has refused, from the dead-letter file
    Replay(Replay),
    /// Run agent and receiver on a log that ships with Skald, and show what arrived
    Demo,
    /// Ask the running agent whether it is ready; for container probes
    Health(Health),
    /// Print completions for a shell, to be sourced
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
}

/// Flags of Skald's own log.
#[derive(Debug, Args)]
pub struct Log {
    /// How Skald's own log on standard error is written: text or json
    #[arg(
        long,
        global = true,
        value_name = "FORMAT",
        default_value = "text",
        help_heading = "Log"
    )]
    pub log_format: Format,
    /// Least severe level that is logged: error, warn, info, debug, trace or off
    #[arg(long, global = true, value_name = "LEVEL", default_value = "info", help_heading = "Log")]
    pub log_level: LevelFilter,
}

/// Where to, and as what.
#[derive(Debug, Args, Clone, Default)]
pub struct Ship {
    /// Where Loki is, e.g. http://loki:3100; /loki/api/v1/push is added when there is no path
    #[arg(long, value_name = "URL", value_hint = ValueHint::Url)]
    pub url: Option<String>,
    /// A label of every stream; may be given often. Without any label there is job="skald"
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = label)]
    pub labels: Vec<(String, String)>,
    /// Serve /metrics, /ready, /healthy and /files here, e.g. 127.0.0.1:9464
    #[arg(long, value_name = "ADDRESS")]
    pub admin: Option<String>,
    /// Where checkpoints and refused lines are kept
    #[arg(long, value_name = "FOLDER", value_hint = ValueHint::DirPath)]
    pub state_dir: Option<PathBuf>,
    /// After the end of standard input, give up delivery after this long, e.g. 30s [default: never]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub deadline: Option<Duration>,
    /// Copy standard input to standard output, unchanged
    #[arg(long)]
    pub tee: bool,
}

/// Standard input to Loki.
#[derive(Debug, Args)]
pub struct Pipe {
    /// Where to, and as what.
    #[command(flatten)]
    pub ship: Ship,
}

/// `skald run`.
#[derive(Debug, Args)]
pub struct Run {
    /// The configuration file
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub config: Option<PathBuf>,
    /// Where to, and as what.
    #[command(flatten)]
    pub ship: Ship,
    /// Patterns of files to follow; quote them, so that Skald finds files that come later
    #[arg(value_name = "GLOB")]
    pub globs: Vec<String>,
}

/// `skald exec`.
#[derive(Debug, Args)]
pub struct Exec {
    /// The configuration file: its source with `stdin: true` stands for the service
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub config: Option<PathBuf>,
    /// Where to, and as what.
    #[command(flatten)]
    pub ship: Ship,
    /// The service and its arguments
    #[arg(required = true, last = true, value_name = "COMMAND", value_hint = ValueHint::CommandWithArguments)]
    pub command: Vec<String>,
}

/// `skald check`.
#[derive(Debug, Args)]
pub struct Check {
    /// The configuration file
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub config: PathBuf,
}

/// `skald try`.
#[derive(Debug, Args)]
pub struct Try {
    /// The configuration file; without it the default rules apply
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub config: Option<PathBuf>,
    /// Which source's rules; without it the one whose globs match FILE, else the first
    #[arg(short, long, value_name = "NAME")]
    pub source: Option<String>,
    /// Also show what each rule did
    #[arg(long)]
    pub rules: bool,
    /// Show what the whole file comes to, and no single line
    #[arg(long)]
    pub summary: bool,
    /// Show all of it as JSON, an object a line
    #[arg(long)]
    pub json: bool,
    /// The log; standard input without it
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub file: Option<PathBuf>,
}

/// `skald test`.
#[derive(Debug, Args)]
pub struct Test {
    /// Files with sample lines and expected results
    #[arg(required = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub files: Vec<PathBuf>,
}

/// `skald suggest`.
#[derive(Debug, Args)]
pub struct Suggest {
    /// The log; its first 10,000 lines are read
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub file: PathBuf,
}

/// `skald replay`.
#[derive(Debug, Args)]
pub struct Replay {
    /// The agent's configuration file: where Loki is, credentials
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub config: Option<PathBuf>,
    /// Where Loki is, without a configuration file
    #[arg(long, value_name = "URL", value_hint = ValueHint::Url)]
    pub url: Option<String>,
    /// Show what would be sent, and send nothing
    #[arg(long)]
    pub dry_run: bool,
    /// The dead letters: dead-letters.jsonl of the state folder, moved away first
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub file: PathBuf,
}

/// `skald receive`.
#[derive(Debug, Args)]
pub struct Receive {
    /// Where to listen
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:3100")]
    pub listen: std::net::SocketAddr,
    /// Append every stored entry to this file, as JSON lines
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub out: Option<PathBuf>,
    /// Entries that are kept in memory; the oldest are forgotten
    #[arg(long, value_name = "ENTRIES", default_value_t = 1_000_000)]
    pub keep: usize,
    /// All of Loki's defaults: also its rates (4 MiB/s, 3 MiB/s a stream), sharding, service_name
    #[arg(long)]
    pub loki_defaults: bool,
    /// Set one of Loki's settings, e.g. max_global_streams_per_user=10; may be given often
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = setting)]
    pub settings: Vec<(String, String)>,
}

/// `skald health`.
#[derive(Debug, Args)]
pub struct Health {
    /// Where the agent listens; without it and without -c, 127.0.0.1:9464
    #[arg(long, value_name = "ADDRESS", conflicts_with = "config")]
    pub admin: Option<String>,
    /// The configuration file
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub config: Option<PathBuf>,
}

fn setting(text: &str) -> Result<(String, String), String> {
    pair(text, "a setting")
}

fn label(text: &str) -> Result<(String, String), String> {
    pair(text, "a label")
}

fn pair(text: &str, what: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').ok_or_else(|| format!("{what} is written NAME=VALUE"))?;
    Ok((pair.0.to_owned(), pair.1.to_owned()))
}

fn duration(text: &str) -> Result<Duration, String> {
    let parsed: Result<jiff::SignedDuration, _> = text.parse();
    parsed
        .ok()
        .and_then(|duration| Duration::try_from(duration).ok())
        .ok_or_else(|| "a duration is written like 30s, 500ms or 5m".to_owned())
}
