//! A configuration from a file or from flags, with its problems shown.

use std::io::{IsTerminal as _, Write as _};
use std::path::Path;

use anyhow::{Context as _, bail};

use super::args::Ship;
use crate::config::{self, Config, Flags, Report};

/// What the network side of a command runs on: the thread that calls it.
pub(super) fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().context("cannot start the runtime")
}

/// Reads a configuration file; `None` when it has mistakes. All problems are shown.
pub(super) fn from_file(path: &Path) -> anyhow::Result<Option<Config>> {
    let bytes = fs_err::read(path)?;
    let loaded = config::load(&bytes, &path.display().to_string(), &config::env);
    show(&loaded.report);
    Ok(loaded.config)
}

/// Reads a configuration file for an agent that runs. All problems are shown; mistakes are the error
/// as well.
pub(super) fn reload(path: &Path) -> Result<Config, String> {
    let bytes = fs_err::read(path).map_err(|err| err.to_string())?;
    let loaded = config::load(&bytes, &path.display().to_string(), &config::env);
    show(&loaded.report);
    loaded.config.ok_or_else(|| loaded.report.render(false))
}

/// Makes a configuration of flags.
pub(super) fn from_flags(ship: Ship, globs: Vec<String>) -> anyhow::Result<Option<Config>> {
    let Some(url) = ship.url else {
        bail!("where to? give `--url http://…`, or a configuration file with `run -c FILE`");
    };
    let folder = std::env::current_dir().context("cannot tell the current folder")?;
    let flags = Flags {
        url,
        labels: ship.labels,
        globs,
        folder,
        state_dir: ship.state_dir,
        admin: ship.admin,
    };
    match Config::from_flags(&flags, &config::env) {
        Ok((config, report)) => {
            show(&report);
            Ok(Some(config))
        }
        Err(report) => {
            show(&report);
            Ok(None)
        }
    }
}

/// Shows problems on standard error.
pub(super) fn show(report: &Report) {
    let mut err = std::io::stderr();
    let colour = err.is_terminal();
    let _ = err.write_all(report.render(colour).as_bytes());
}
