//! `skald replay`: sends what Loki has refused again.

use std::io::{BufRead as _, BufReader, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use tokio_util::sync::CancellationToken;

use super::args::{Log, Replay, Ship};
use super::{run, setup};
use crate::app::{self, Ended};
use crate::push::DeadLetter;
use crate::telemetry::init_log;

pub(super) fn replay(args: &Replay, log: &Log, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let config = match (&args.config, &args.url) {
        (Some(path), None) => setup::from_file(path)?,
        (None, Some(url)) => {
            setup::from_flags(Ship { url: Some(url.clone()), ..Ship::default() }, Vec::new())?
        }
        (Some(_), Some(_)) => bail!("`-c` together with `--url`: say it in the file"),
        (None, None) => bail!("where to? give `--url URL`, or the agent's `-c FILE`"),
    };
    let Some(config) = config else { return Ok(ExitCode::from(2)) };
    // All of it is read before anything is sent: a mistake in the file is no half of a replay.
    let count = letters(&args.file)?.try_fold(0_u64, |count, letter| letter.map(|_| count + 1))?;
    if args.dry_run {
        for letter in letters(&args.file)? {
            let DeadLetter { time, tenant, labels, line, .. } = letter?;
            let tenant = tenant.map(|tenant| format!(" tenant={tenant}")).unwrap_or_default();
            writeln!(out, "{time} {labels}{tenant}\n    {}", String::from_utf8_lossy(&line))?;
        }
        writeln!(out, "{count} lines would be sent")?;
        return Ok(ExitCode::SUCCESS);
    }
    init_log(log.log_format, log.log_level)?;
    let refused = args.file.with_added_extension("refused");
    let runtime = setup::runtime()?;
    let again = letters(&args.file)?.map_while(Result::ok);
    let ended = runtime.block_on(async {
        let stop = CancellationToken::new();
        run::watch_signals(stop.clone())?;
        Ok::<Ended, anyhow::Error>(app::replay(again, config.push, &refused, stop).await?)
    })?;
    let (delivered, dropped) = (ended.delivered.lines, ended.dropped.lines);
    write!(out, "{count} lines: {delivered} delivered, {dropped} refused again")?;
    if 0 < dropped {
        write!(out, " and kept in {}", refused.display())?;
    }
    match count - delivered - dropped {
        0 => writeln!(out)?,
        left => writeln!(out, ", {left} not sent or without an answer")?,
    }
    Ok(if delivered == count { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The letters in a file; an error names the line.
fn letters(path: &Path) -> anyhow::Result<impl Iterator<Item = anyhow::Result<DeadLetter>>> {
    let lines = BufReader::new(fs_err::File::open(path)?).lines();
    let path = path.display().to_string();
    let letter = move |(idx, line): (usize, std::io::Result<String>)| {
        let place = || format!("{path}:{}: not a dead letter", idx + 1);
        DeadLetter::parse(&line?).with_context(place)
    };
    Ok(lines.enumerate().map(letter))
}
