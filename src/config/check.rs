//! The whole file: each section into its options, then what holds between them.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::options::{Config, DEAD_LETTERS_BYTES_MIN, IN_FLIGHT_MIN, READERS_MAX, days};
use super::raw::Node;
use super::report::Problem;
use super::section::Section;
use super::values::{absolute, count, duration, listen, show_size, size};
use super::{loki, names, sources};
use crate::model::{LINE_BYTES_DEFAULT, PUSH_BYTES_MAX};

type Problems = Vec<Problem>;

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
const GIB: u64 = 1024 * MIB;

/// From 10 ms, below which a busy agent does nothing but push, to 10 minutes, the time that Loki
/// lets a line be behind.
const BATCH_AGE: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(600);

/// Delays between tries.
const RETRY_DELAY: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(3600);

/// From a minute, below which lines would be too old before they are sent.
const LINE_AGE: RangeInclusive<Duration> = Duration::from_secs(60)..=days(36_500);

/// Windows of the guard.
const GUARD_PER: RangeInclusive<Duration> = Duration::from_secs(1)..=days(365);

/// An orderly end.
const DEADLINE: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(3600);

/// `None` only if the file is not a map; else what can be had in spite of the problems.
pub(super) fn config(problems: &mut Problems, root: &Node) -> Option<Config> {
    let top = Section::open(problems, "", &root.span, root)?;
    let mut config = Config::defaults("");
    loki::read(problems, &top, &mut config);
    top.read(problems, "state_dir", &mut config.state_dir, |problems, node| {
        absolute(problems, node).map(Some)
    });
    memory(problems, &top, &mut config);
    pace(problems, &top, &mut config);
    bounds(problems, &top, &mut config);
    top.read(problems, "labels", &mut config.labels, names::labels);
    if let Some(admin) = top.section(problems, "admin", "admin") {
        admin.read(problems, "listen", &mut config.admin_listen, |problems, node| {
            listen(problems, node).map(Some)
        });
    }
    if let Some(shutdown) = top.section(problems, "shutdown", "shutdown") {
        shutdown.read(problems, "deadline", &mut config.shutdown_deadline, |problems, node| {
            duration(problems, node, &DEADLINE)
        });
    }
    sources::read(problems, &top, &mut config);
    budget(problems, &top, &config);
    Some(config)
}

fn memory(problems: &mut Problems, top: &Section<'_>, config: &mut Config) {
    if let Some(memory) = top.section(problems, "memory", "memory") {
        memory.read(problems, "in_flight", &mut config.memory.in_flight, |problems, node| {
            size(problems, node, IN_FLIGHT_MIN..=64 * GIB)
        });
        memory.read(problems, "streams", &mut config.memory.streams, |problems, node| {
            count(problems, node, 1..=10_000_000)?.try_into().ok()
        });
    }
    if let Some(batch) = top.section(problems, "batch", "batch") {
        batch.read(problems, "bytes_max", &mut config.batch.bytes_max, |problems, node| {
            let max = PUSH_BYTES_MAX.try_into().unwrap_or(u64::MAX);
            size(problems, node, 64 * KIB..=max)?.try_into().ok()
        });
        batch.read(problems, "age_max", &mut config.batch.age_max, |problems, node| {
            duration(problems, node, &BATCH_AGE)
        });
    }
    if let Some(limits) = top.section(problems, "limits", "limits") {
        line_limits(problems, &limits, config);
    }
}

/// Whether what moves fits into the memory budget.
fn budget(problems: &mut Problems, top: &Section<'_>, config: &Config) {
    let tenants = config.tenants().len() as u64;
    let chunks = tenants.max(READERS_MAX as u64);
    let shares = tenants.saturating_mul(config.tenant_share());
    let needed = shares.saturating_add((chunks - tenants) * config.chunk_bytes());
    if needed <= config.memory.in_flight {
        return;
    }
    let of = |section, key| top.inside(section).and_then(|section| section.span(key));
    let span = of("memory", "in_flight")
        .or_else(|| of("batch", "bytes_max"))
        .or_else(|| of("limits", "line_bytes"))
        .or_else(|| top.span("sources"));
    let what = if tenants == 1 {
        format!("one batch and {READERS_MAX} readers")
    } else {
        format!("a batch of each of {tenants} tenants and {chunks} chunks to read")
    };
    let in_flight = show_size(config.memory.in_flight);
    let problem =
        Problem::error(format!("`memory.in_flight` of {in_flight} is too small for {what}"));
    let hint = format!("raise `memory.in_flight` to {} at least", show_size(needed));
    let label = format!("needs {} in flight", show_size(needed));
    problems.push(problem.at(span.unwrap_or(&(0..0)), label).hint(hint));
}

fn line_limits(problems: &mut Problems, limits: &Section<'_>, config: &mut Config) {
    limits.read(problems, "age", &mut config.limits.age, |problems, node| {
        duration(problems, node, &LINE_AGE)
    });
    limits.read(problems, "line_bytes", &mut config.limits.line_bytes, |problems, node| {
        let bytes = size(problems, node, KIB..=MIB)?;
        if u64::from(LINE_BYTES_DEFAULT) < bytes {
            let default = show_size(LINE_BYTES_DEFAULT.into());
            problems.push(
                Problem::warning(format!("lines over {default} are refused by Loki's default"))
                    .at(&node.span, format!("over {default}"))
                    .hint("raise `max_line_size` in Loki's `limits_config` as well"),
            );
        }
        bytes.try_into().ok()
    });
}

fn pace(problems: &mut Problems, top: &Section<'_>, config: &mut Config) {
    let retry = &mut config.push.retry;
    if let Some(section) = top.section(problems, "retry", "retry") {
        let delay = |problems: &mut Problems, node: &Node| duration(problems, node, &RETRY_DELAY);
        section.read(problems, "delay_min", &mut retry.delay_min, delay);
        section.read(problems, "delay_max", &mut retry.delay_max, delay);
        if retry.delay_max < retry.delay_min {
            let key = if section.get("delay_max").is_some() { "delay_max" } else { "delay_min" };
            problems.push(
                Problem::error("`retry.delay_max` is below `retry.delay_min`")
                    .at(section.span(key).unwrap_or(&(0..0)), "the wrong way round")
                    .hint("the defaults are `{delay_min: 500ms, delay_max: 30s}`"),
            );
        }
    }
    if let Some(section) = top.section(problems, "rate_limit", "rate_limit") {
        let slot = &mut config.push.bytes_per_second;
        section.read(problems, "bytes_per_second", slot, |problems, node| {
            let rate = size(problems, node, 0..=1024 * GIB)?;
            if 0 < rate && rate < KIB {
                let problem = Problem::error("a rate below 1 KiB a second");
                problems.push(problem.at(&node.span, "at least 1KiB, or 0 for no limit"));
                return None;
            }
            Some(rate)
        });
    }
}

fn bounds(problems: &mut Problems, top: &Section<'_>, config: &mut Config) {
    if let Some(guard) = top.section(problems, "guard", "guard") {
        guard.read(problems, "values_max", &mut config.guard.values_max, |problems, node| {
            count(problems, node, 0..=1_000_000)?.try_into().ok()
        });
        guard.read(problems, "per", &mut config.guard.per, |problems, node| {
            duration(problems, node, &GUARD_PER)
        });
    }
    if let Some(deleted) = top.section(problems, "deleted", "deleted") {
        deleted.read(problems, "files_max", &mut config.deleted.files_max, |problems, node| {
            count(problems, node, 1..=1_000_000)?.try_into().ok()
        });
        deleted.read(problems, "bytes_max", &mut config.deleted.bytes_max, |problems, node| {
            size(problems, node, KIB..=1024 * GIB)
        });
    }
    if let Some(section) = top.section(problems, "dead_letters", "dead_letters") {
        let slot = &mut config.dead_letters.bytes_max;
        section.read(problems, "bytes_max", slot, |problems, node| {
            size(problems, node, DEAD_LETTERS_BYTES_MIN..=1024 * GIB)
        });
    }
}
