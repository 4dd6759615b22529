//! `skald test`: whether rules make of lines what a file says.

use std::io::{IsTerminal as _, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::bail;

use super::args::Test;
use super::setup;
use crate::app::{Clock, Outcome, Rehearsal, Sent, origin};
use crate::config::{Case, Cases, Config, Expected, load_cases};
use crate::model::{Now, Origin};
use crate::parse::Options;

pub(super) fn test(args: &Test, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let (mut passed, mut failed, mut is_right) = (0, 0, true);
    for path in &args.files {
        let name = path.display().to_string();
        let (cases, report) = load_cases(&fs_err::read(path)?, &name);
        setup::show(&report);
        let Some((cases, options, origin)) =
            cases.map(|cases| rules(path, cases)).transpose()?.flatten()
        else {
            is_right = false;
            continue;
        };
        for case in &cases.cases {
            let differences = run(case, &cases, &options, &origin);
            let at = format!("{name}:{}", case.at);
            if differences.is_empty() {
                passed += 1;
                writeln!(out, "{} {at} {}", colour("32", "ok    "), case.name)?;
                continue;
            }
            failed += 1;
            writeln!(out, "{} {at} {}", colour("31", "FAILED"), case.name)?;
            for difference in differences {
                writeln!(out, "    {difference}")?;
            }
        }
    }
    writeln!(out, "{} cases: {passed} passed, {failed} failed", passed + failed)?;
    Ok(if failed == 0 && is_right { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The rules that `cases`, which stand in the file at `path`, are about.
fn rules(path: &Path, cases: Cases) -> anyhow::Result<Option<(Cases, Options, Origin)>> {
    let Some(config) = &cases.config else {
        let options = Config::defaults("").parse_defaults("default rules");
        return Ok(Some((cases, options, Origin::default())));
    };
    let path = path.parent().unwrap_or_else(|| Path::new("")).join(config);
    let Some(config) = setup::from_file(&path)? else { return Ok(None) };
    let is_it = |name: &str| cases.source.as_ref().is_none_or(|wanted| wanted == name);
    let Some(source) = config.sources.iter().find(|source| is_it(&source.name)) else {
        let names: Vec<_> = config.sources.iter().map(|source| source.name.as_str()).collect();
        bail!("{} has no such source; there are: {}", path.display(), names.join(", "))
    };
    let origin =
        cases.file.as_ref().map(|file| origin(&source.place, file, None)).unwrap_or_default();
    Ok(Some((cases, source.parse.clone(), origin)))
}

/// What is not as it should be.
fn run(case: &Case, cases: &Cases, options: &Options, origin: &Origin) -> Vec<String> {
    let mut rehearsal = Rehearsal::new(options, origin, true);
    let now = Clock::start().now();
    let now = Now { wall: cases.now.unwrap_or(now.wall), ..now };
    let mut outcomes = vec![];
    for line in &case.input {
        outcomes.extend(rehearsal.line(line.as_bytes(), now));
    }
    outcomes.extend(rehearsal.end(now));
    let mut differences = vec![];
    for (idx, expected) in case.expect.iter().enumerate() {
        match outcomes.get(idx) {
            Some((outcome, _)) => compare(idx, expected, outcome, &mut differences),
            None => differences.push(format!("result {}: missing", idx + 1)),
        }
    }
    for (outcome, _) in outcomes.iter().skip(case.expect.len()) {
        differences.push(format!("not expected: {}", shown(outcome)));
    }
    differences
}

fn shown(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Sent(sent) => format!("{} {}", sent.stream, sent.line),
        Outcome::Dropped(reason) => format!("dropped: {}", reason.name()),
        Outcome::Waits => "waits for a limit".to_owned(),
    }
}

fn compare(idx: usize, expected: &Expected, outcome: &Outcome, differences: &mut Vec<String>) {
    let mut differs = |what: &str, expected: &str, found: &str| {
        let at = idx + 1;
        differences.push(format!("result {at}, {what}: expected {expected:?}, found {found:?}"));
    };
    let sent = match (outcome, expected.dropped) {
        (Outcome::Sent(sent), None) => sent,
        (Outcome::Dropped(reason), Some(wanted)) if *reason == wanted => return,
        (outcome, Some(wanted)) => {
            return differs("fate", &format!("dropped: {}", wanted.name()), &shown(outcome));
        }
        (outcome, None) => return differs("fate", "an entry", &shown(outcome)),
    };
    for (what, wanted, found) in [
        ("label", &expected.labels, &sent.labels),
        ("metadata", &expected.metadata, &sent.metadata),
    ] {
        for (name, value) in wanted {
            let found = found.iter().find(|(other, _)| other == name);
            let found = found.map_or("", |(_, value)| value);
            if found != value {
                differs(&format!("{what} {name}"), value, found);
            }
        }
    }
    let Sent { labels, metadata, .. } = sent;
    for name in &expected.absent {
        if let Some((_, value)) = labels.iter().chain(metadata).find(|(other, _)| other == name) {
            differs(name, "", value);
        }
    }
    if let Some(line) = expected.line.as_ref().filter(|line| **line != sent.line) {
        differs("line", line, &sent.line);
    }
    if let Some(time) = expected.time.filter(|time| *time != sent.time) {
        differs("time", &time.to_string(), &sent.time.to_string());
    }
    if expected.tenant.is_some() && expected.tenant != sent.tenant {
        let of = |tenant: &Option<String>| tenant.clone().unwrap_or_default();
        differs("tenant", &of(&expected.tenant), &of(&sent.tenant));
    }
}

fn colour(code: &str, text: &str) -> String {
    match std::io::stdout().is_terminal() {
        true => format!("\x1b[{code}m{text}\x1b[0m"),
        false => text.to_owned(),
    }
}
