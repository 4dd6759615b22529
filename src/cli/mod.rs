//! The commands and their flags.
//!
//! May touch: the terminal, the other rooms through app. Must not: contain logic that a room could own.

mod args;

mod check;
mod demo;
mod exec;
mod health;
mod receive;
mod replay;
mod run;
mod setup;
mod signals;
mod suggest;
mod test_rules;
mod try_lines;

pub use self::args::{Cli, Command};

use std::io::Write;
use std::process::ExitCode;

use clap::CommandFactory as _;

/// Runs the command that `cli` says. What people asked for goes to `out`, all else to standard
/// error.
///
/// # Errors
/// What is wrong with the use or the surroundings: exit code 2. Codes 0 and 1 are answers.
pub fn run(cli: Cli, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let Cli { command, pipe, log } = cli;
    match command {
        None => run::pipe(pipe.ship, &log, out),
        Some(Command::Run(args)) => run::run(args, &log),
        Some(Command::Exec(args)) => exec::exec(args, &log),
        Some(Command::Check(args)) => check::check(&args, out),
        Some(Command::Try(args)) => try_lines::try_lines(&args, out),
        Some(Command::Test(args)) => test_rules::test(&args, out),
        Some(Command::Suggest(args)) => suggest::suggest(&args, out),
        Some(Command::Receive(args)) => receive::receive(&args, &log, out),
        Some(Command::Replay(args)) => replay::replay(&args, &log, out),
        Some(Command::Demo) => demo::demo(&log, out),
        Some(Command::Health(args)) => health::health(&args, out),
        Some(Command::Completions { shell }) => {
            clap_complete::generate(shell, &mut Cli::command(), "skald", &mut &mut *out);
            Ok(ExitCode::SUCCESS)
        }
    }
}
