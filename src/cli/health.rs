//! `skald health`: asks the running agent, for container probes.

use std::io::Write;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};

use super::args::Health;
use super::setup;
use crate::admin::probe;

/// Kubernetes gives a probe one second by default, and the process has to start in it.
const TIMEOUT: Duration = Duration::from_millis(900);

/// Where the agent listens when nothing else is said.
const DEFAULT: &str = "127.0.0.1:9464";

pub(super) fn health(args: &Health, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let address: SocketAddr = match (&args.config, &args.admin) {
        (Some(path), _) => {
            let Some(config) = setup::from_file(path)? else { return Ok(ExitCode::from(2)) };
            let Some(listen) = config.admin_listen else {
                bail!("{} has no `admin.listen` to ask", path.display());
            };
            listen
        }
        (None, admin) => {
            let address = admin.as_deref().unwrap_or(DEFAULT);
            address
                .parse()
                .with_context(|| format!("`{address}` is not an address like {DEFAULT}"))?
        }
    };
    match probe(address, TIMEOUT) {
        Ok(text) => {
            writeln!(out, "{text}")?;
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => {
            writeln!(out, "{:#}", anyhow::Error::from(error))?;
            Ok(ExitCode::FAILURE)
        }
    }
}
