//! `skald receive`: a small Loki-compatible receiver.

use std::io::Write;
use std::process::ExitCode;

use super::args::{Log, Receive};
use super::setup;
use crate::app;
use crate::receive::{Clock, Options, Receiver};
use crate::telemetry::init_log;

/// The receiver's clock is the agent's.
pub(super) fn clock() -> Clock {
    let clock = app::Clock::start();
    Clock::new(move || clock.now().wall)
}

fn options(args: &Receive) -> anyhow::Result<Options> {
    let options = if args.loki_defaults { Options::loki } else { Options::new };
    let mut options = Options { keep: args.keep, out: args.out.clone(), ..options(clock()) };
    for (name, value) in &args.settings {
        options.set(name, value).map_err(anyhow::Error::msg)?;
    }
    Ok(options)
}

pub(super) fn receive(args: &Receive, log: &Log, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    init_log(log.log_format, log.log_level)?;
    let runtime = setup::runtime()?;
    let options = options(args)?;
    runtime.block_on(async {
        let receiver = Receiver::start(args.listen, options).await?;
        writeln!(out, "receiving on http://{}", receiver.addr())?;
        out.flush()?;
        let mut terminate =
            tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        tokio::select! {
            _ = terminate.recv() => {}
            interrupted = tokio::signal::ctrl_c() => interrupted?,
        }
        let stats = receiver.store().stats();
        receiver.stop().await?;
        let (entries, streams) = (stats.entries, stats.streams);
        writeln!(out, "stored {entries} entries in {streams} streams")?;
        Ok(ExitCode::SUCCESS)
    })
}
