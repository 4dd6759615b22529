//! `skald check`: all mistakes at once.

use std::io::Write;
use std::process::ExitCode;

use super::args::Check;
use super::setup;
use crate::config::Input;

pub(super) fn check(args: &Check, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let Some(config) = setup::from_file(&args.config)? else { return Ok(ExitCode::FAILURE) };
    writeln!(out, "{} is fine: pushes to {}", args.config.display(), config.push.url)?;
    for source in &config.sources {
        match &source.input {
            Input::Files { globs, .. } => writeln!(out, "  {}: {}", source.name, globs.join(", "))?,
            Input::Stdin => writeln!(out, "  {}: standard input", source.name)?,
        }
    }
    Ok(ExitCode::SUCCESS)
}
