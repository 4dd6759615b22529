//! `skald try`: what each line becomes.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::{self, BufRead, BufReader, IsTerminal as _, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::bail;
use serde_json::{Map, Value, json};

use super::args::Try;
use super::setup;
use crate::app::{Clock, Effect, Explained, Outcome, Rehearsal, Sent, origin};
use crate::config::{Config, Input, Place};
use crate::discover::matches;
use crate::model::{Flag, Origin, Reason};
use crate::parse::Options;

/// Streams that are listed; those beyond are counted.
const STREAMS_SHOWN: usize = 20;

pub(super) fn try_lines(args: &Try, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let Some((options, place)) = source(args)? else { return Ok(ExitCode::FAILURE) };
    let paint = Paint(io::stdout().is_terminal() && !args.json);
    let show =
        Show { json: args.json, rules: args.rules || args.json, summary: args.summary, paint };
    match &args.file {
        Some(path) => {
            let file = fs_err::File::open(path)?;
            let origin = origin(&place, &std::path::absolute(path)?, None);
            read(BufReader::new(file), &options, &origin, true, show, out)?;
        }
        None => read(io::stdin().lock(), &options, &Origin::default(), false, show, out)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The rules to try.
fn source(args: &Try) -> anyhow::Result<Option<(Options, Place)>> {
    let Some(path) = &args.config else {
        let options = Config::defaults("").parse_defaults("default rules");
        return Ok(Some((options, Place::default())));
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
        Some(source) => Ok(Some((source.parse.clone(), source.place.clone()))),
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

/// What is printed.
#[derive(Clone, Copy)]
struct Show {
    json: bool,
    /// What each rule did.
    rules: bool,
    /// Only what it comes to.
    summary: bool,
    paint: Paint,
}

fn read(
    mut input: impl BufRead,
    options: &Options,
    origin: &Origin,
    is_file: bool,
    show: Show,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let mut rehearsal = Rehearsal::new(options, origin, is_file);
    let mut explained = show.rules.then(|| Explained::new(options, origin, is_file));
    let clock = Clock::start();
    let start = clock.now().mono;
    let (mut sum, mut line) = (Sum::default(), Vec::new());
    loop {
        line.clear();
        let is_end = input.read_until(b'\n', &mut line)? == 0;
        let bytes = line.strip_suffix(b"\n").unwrap_or(&line);
        let now = clock.now();
        let outcomes = if is_end { rehearsal.end(now) } else { rehearsal.line(bytes, now) };
        let effects = explained
            .as_mut()
            .map(|explained| explained.line((!is_end).then_some(bytes), now))
            .unwrap_or_default();
        sum.lines += u64::from(!is_end);
        for (idx, (outcome, flags)) in outcomes.iter().enumerate() {
            sum.add(outcome, flags);
            if !show.summary {
                let effects = effects.get(idx).map_or(&[][..], |effects| effects);
                show.outcome(outcome, flags, bytes, effects, out)?;
            }
        }
        if is_end {
            break;
        }
    }
    if show.json {
        writeln!(out, "{}", json!({ "summary": sum.json(options) }))?;
        return Ok(());
    }
    sum.show(options, show.paint, out)?;
    if show.summary {
        let seconds = (clock.now().mono - start).as_secs_f64().max(1e-6);
        #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
        let rate = sum.lines as f64 / seconds;
        writeln!(out, "  {rate:>8.0}  lines a second")?;
    }
    Ok(())
}

impl Show {
    fn outcome(
        self,
        outcome: &Outcome,
        flags: &[Flag],
        bytes: &[u8],
        effects: &[Effect],
        out: &mut dyn Write,
    ) -> io::Result<()> {
        if self.json {
            return writeln!(out, "{}", object(outcome, flags, bytes, effects));
        }
        let paint = self.paint;
        let text = String::from_utf8_lossy(bytes);
        match outcome {
            Outcome::Sent(sent) => {
                let time = paint.time(&sent.time.to_string());
                writeln!(out, "{time} {}", paint.labels(&sent.stream))?;
                if let Some(tenant) = &sent.tenant {
                    writeln!(out, "    tenant: {tenant}")?;
                }
                for (name, value) in &sent.metadata {
                    writeln!(out, "    {name}={value}")?;
                }
                writeln!(out, "    {}", sent.line.replace('\n', "\n    "))?;
            }
            Outcome::Dropped(reason) => {
                writeln!(out, "{} {text}", paint.bad(&format!("dropped: {}", reason.name())))?;
            }
            Outcome::Waits => writeln!(out, "{} {text}", paint.bad("waits for a limit"))?,
        }
        for flag in flags {
            writeln!(out, "    {}", paint.bad(flag.name()))?;
        }
        for Effect { place, verb, did } in effects {
            let did = if did.is_empty() { paint.time("-") } else { did.join(", ") };
            writeln!(out, "  {} {}", paint.time(&format!("rule {place} {verb}:")), did)?;
        }
        Ok(())
    }
}

fn pairs(pairs: &[(String, String)]) -> Value {
    Value::Object(pairs.iter().map(|(name, value)| (name.clone(), json!(value))).collect())
}

/// One line of `--json`.
fn object(outcome: &Outcome, flags: &[Flag], bytes: &[u8], effects: &[Effect]) -> Value {
    let mut object = Map::new();
    match outcome {
        Outcome::Sent(Sent { time, labels, metadata, line, tenant, stream: _ }) => {
            object.insert("time".to_owned(), json!(time.to_string()));
            object.insert("labels".to_owned(), pairs(labels));
            object.insert("metadata".to_owned(), pairs(metadata));
            object.insert("line".to_owned(), json!(line));
            if let Some(tenant) = tenant {
                object.insert("tenant".to_owned(), json!(tenant));
            }
        }
        Outcome::Dropped(reason) => {
            object.insert("dropped".to_owned(), json!(reason.name()));
            object.insert("line".to_owned(), json!(String::from_utf8_lossy(bytes)));
        }
        Outcome::Waits => {
            object.insert("waits".to_owned(), json!(true));
            object.insert("line".to_owned(), json!(String::from_utf8_lossy(bytes)));
        }
    }
    let flags: Vec<_> = flags.iter().map(|flag| flag.name()).collect();
    object.insert("flags".to_owned(), json!(flags));
    let rules = effects
        .iter()
        .map(|effect| json!({"rule": effect.place, "verb": effect.verb, "did": effect.did}));
    object.insert("rules".to_owned(), rules.collect());
    Value::Object(object)
}

/// What all lines come to.
#[derive(Default)]
struct Sum {
    lines: u64,
    waits: u64,
    streams: HashMap<String, u64>,
    values: BTreeMap<String, HashSet<String>>,
    flags: BTreeMap<Flag, u64>,
    dropped: BTreeMap<Reason, u64>,
}

impl Sum {
    fn add(&mut self, outcome: &Outcome, flags: &[Flag]) {
        match outcome {
            Outcome::Sent(sent) => {
                *self.streams.entry(sent.stream.clone()).or_default() += 1;
                for (name, value) in &sent.labels {
                    self.values.entry(name.clone()).or_default().insert(value.clone());
                }
            }
            Outcome::Dropped(reason) => *self.dropped.entry(*reason).or_default() += 1,
            Outcome::Waits => self.waits += 1,
        }
        for flag in flags {
            *self.flags.entry(*flag).or_default() += 1;
        }
    }

    /// The largest first.
    fn streams(&self) -> Vec<(&String, u64)> {
        let mut streams: Vec<_> = self.streams.iter().map(|(labels, n)| (labels, *n)).collect();
        streams.sort_by(|(a, m), (b, n)| n.cmp(m).then(a.cmp(b)));
        streams
    }

    /// Labels that the guard would make metadata of, with their values.
    fn explode(&self, options: &Options) -> Vec<(&String, usize)> {
        let max = usize::try_from(options.guard_values).unwrap_or(usize::MAX);
        let counts = self.values.iter().map(|(name, values)| (name, values.len()));
        counts.filter(|(_, count)| max != 0 && max < *count).collect()
    }

    fn show(&self, options: &Options, paint: Paint, out: &mut dyn Write) -> io::Result<()> {
        let streams = self.streams();
        writeln!(out, "\n{} lines, {} streams:", self.lines, streams.len())?;
        for (labels, lines) in streams.iter().take(STREAMS_SHOWN) {
            writeln!(out, "  {lines:>8}  {labels}")?;
        }
        if let Some(more) = streams.len().checked_sub(STREAMS_SHOWN).filter(|more| 0 < *more) {
            writeln!(out, "            and {more} more")?;
            for (name, values) in &self.values {
                writeln!(out, "  {:>8}  values of {name}", values.len())?;
            }
        }
        for (name, count) in self.explode(options) {
            let text = format!(
                "  {count:>8}  values of `{name}` are over guard.values_max: it becomes metadata"
            );
            writeln!(out, "{}", paint.bad(&text))?;
        }
        for (flag, lines) in &self.flags {
            writeln!(out, "  {lines:>8}  flagged {}", flag.name())?;
        }
        for (reason, lines) in &self.dropped {
            writeln!(out, "  {lines:>8}  dropped: {}", reason.name())?;
        }
        if 0 < self.waits {
            writeln!(out, "  {:>8}  wait for a limit", self.waits)?;
        }
        Ok(())
    }

    fn json(&self, options: &Options) -> Value {
        let streams: Map<_, _> =
            self.streams().into_iter().map(|(labels, n)| (labels.clone(), json!(n))).collect();
        let values: Map<_, _> =
            self.values.iter().map(|(name, all)| (name.clone(), json!(all.len()))).collect();
        let flags: Map<_, _> =
            self.flags.iter().map(|(flag, n)| (flag.name().to_owned(), json!(n))).collect();
        let dropped: Map<_, _> =
            self.dropped.iter().map(|(reason, n)| (reason.name().to_owned(), json!(n))).collect();
        let explode: Vec<_> = self.explode(options).into_iter().map(|(name, _)| name).collect();
        json!({
            "lines": self.lines, "waits": self.waits, "streams": streams, "label_values": values,
            "labels_over_guard": explode, "flags": flags, "dropped": dropped,
        })
    }
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
