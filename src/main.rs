//! The command `skald`. Everything is in the library; this is its door.

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::Parser as _;
use skald::cli::{self, Cli};

fn main() -> ExitCode {
    let (mut out, mut err) = (io::stdout(), io::stderr());
    match cli::run(Cli::parse(), &mut out) {
        Ok(code) => code,
        Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            // Standard error may be closed as well; the exit code says it all the same.
            let _ = writeln!(err, "error: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// `skald try FILE | head` is no mistake.
fn is_closed_pipe(error: &anyhow::Error) -> bool {
    let kind = |cause: &(dyn std::error::Error + 'static)| {
        cause.downcast_ref::<io::Error>().map(io::Error::kind)
    };
    error.chain().any(|cause| kind(cause) == Some(io::ErrorKind::BrokenPipe))
}
