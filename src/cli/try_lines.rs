//! `skald try`: what each line becomes.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, IsTerminal as _, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::bail;

use super::args::Try;
use super::setup;
use crate::app::{self, Clock};
use crate::config::{Config, Input};
use crate::discover::matches;
use crate::model::{Entry, Flag, Now, OUTPUTS, Reason, Stamp, TenantId};
use crate::parse::{Join, Line, Options, Parser, Piece, Plan, Verdict};

pub(super) fn try_lines(args: &Try, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let Some(options) = options(args)? else { return Ok(ExitCode::FAILURE) };
    let colour = io::stdout().is_terminal();
    match &args.file {
        Some(path) => {
            let file = fs_err::File::open(path)?;
            show(BufReader::new(file), &options, true, colour, out)?;
        }
        None => show(io::stdin().lock(), &options, false, colour, out)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The rules to try.
fn options(args: &Try) -> anyhow::Result<Option<Options>> {
    let Some(path) = &args.config else {
        return Ok(Some(Config::defaults("").parse_defaults("default rules")));
    };
    let Some(config) = setup::from_file(path)? else { return Ok(None) };
    let named = |name: &String| config.sources.iter().find(|source| source.name == *name);
    let chosen = match (&args.source, &args.file) {
        (Some(name), _) => named(name),
        (None, Some(file)) => {
            let file = std::path::absolute(file)?;
            config.sources.iter().find(|source| covers(&source.input, &file))
        }
        (None, None) => None,
    };
    match chosen.or_else(|| config.sources.first().filter(|_| args.source.is_none())) {
        Some(source) => Ok(Some(source.parse.clone())),
        None => {
            let names: Vec<_> = config.sources.iter().map(|source| source.name.as_str()).collect();
            bail!("no such source; there are: {}", names.join(", "))
        }
    }
}

fn covers(input: &Input, file: &Path) -> bool {
    match input {
        Input::Files { globs, .. } => globs.iter().any(|glob| matches(glob, file)),
        Input::Stdin => false,
    }
}

#[derive(Default)]
struct Sum {
    lines: u64,
    streams: BTreeMap<String, u64>,
    flags: BTreeMap<Flag, u64>,
    dropped: BTreeMap<Reason, u64>,
}

fn show(
    mut input: impl BufRead,
    options: &Options,
    is_file: bool,
    colour: bool,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let plan = Arc::new(Plan::compile(options));
    let base = app::base(&plan, TenantId::default());
    let mut parser = Parser::new(plan, is_file);
    let clock = Clock::start();
    let (mut stamp, mut join) = (Stamp::default(), Join::default());
    let (mut sum, mut line) = (Sum::default(), Vec::new());
    let paint = Paint(colour);
    let mut outs = 0..OUTPUTS;
    loop {
        line.clear();
        let len = input.read_until(b'\n', &mut line)?;
        let bytes = line.strip_suffix(b"\n").unwrap_or(&line);
        let now: Now = clock.now();
        let show = |verdict: Verdict<'_>| match verdict {
            Verdict::Emit(entry) => {
                let labels = base.label_string(entry.labels);
                show_entry(out, paint, &labels, &entry)?;
                *sum.streams.entry(labels).or_default() += 1;
                io::Result::Ok(())
            }
            Verdict::Drop(reason) => {
                *sum.dropped.entry(reason).or_default() += 1;
                let text = String::from_utf8_lossy(bytes);
                writeln!(out, "{} {text}", paint.bad(&format!("dropped: {}", reason.name())))
            }
        };
        let shown = if len == 0 {
            // What has begun and was not ended.
            let Some(out) = outs.next() else { break };
            parser.unfinished(out, &mut join, &mut stamp, now, show)
        } else {
            sum.lines += 1;
            let line = Line { bytes, truncated_from: None };
            let piece = Piece { line, ..Piece::default() };
            parser.piece(piece, &mut join, &mut stamp, now, show)
        };
        let Some(shown) = shown else { continue };
        shown?;
        join.end();
        for flag in parser.flags().iter() {
            *sum.flags.entry(flag).or_default() += 1;
            writeln!(out, "    {}", paint.bad(flag.name()))?;
        }
    }
    show_sum(out, &sum)
}

fn show_entry(
    out: &mut dyn Write,
    paint: Paint,
    labels: &str,
    entry: &Entry<'_>,
) -> io::Result<()> {
    writeln!(out, "{} {}", paint.time(&entry.time.to_string()), paint.labels(labels))?;
    for pair in entry.metadata {
        writeln!(out, "    {}={}", pair.name, pair.value)?;
    }
    writeln!(out, "    {}", entry.line)
}

fn show_sum(out: &mut dyn Write, sum: &Sum) -> anyhow::Result<()> {
    writeln!(out, "\n{} lines, {} streams:", sum.lines, sum.streams.len())?;
    for (labels, lines) in &sum.streams {
        writeln!(out, "  {lines:>8}  {labels}")?;
    }
    for (flag, lines) in &sum.flags {
        writeln!(out, "  {lines:>8}  flagged {}", flag.name())?;
    }
    for (reason, lines) in &sum.dropped {
        writeln!(out, "  {lines:>8}  dropped: {}", reason.name())?;
    }
    Ok(())
}

/// Colours, or none.
#[derive(Clone, Copy)]
struct Paint(bool);

impl Paint {
    fn with(self, code: &str, text: &str) -> String {
        if self.0 { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    fn time(self, text: &str) -> String {
        self.with("2", text)
    }

    fn labels(self, text: &str) -> String {
        self.with("36", text)
    }

    fn bad(self, text: &str) -> String {
        self.with("33", text)
    }
}
