//! The seeded simulator: the steps that `skald run` calls, with a fake Loki, a fake disk, and
//! time as an argument. One seed is one run, on one thread, without a clock.
//!
//! `SKALD_SIM_SEED=7 cargo test --test sim seeds` replays a seed, `SKALD_SIM_SEEDS=5000` runs so
//! many. Read `world.rs` first: what happens when. Then `agent.rs` and `lane.rs`: how the steps
//! are called; `checks.rs`: what must hold; `knobs.rs`: what is drawn, and what is promised;
//! `loki.rs`, `disk.rs` and `choices.rs`: what goes wrong; `writer.rs` and `lines.rs`: who writes
//! the files, and what; `settings.rs`: the rules.
//!
//! | test | what it shows |
//! | --- | --- |
//! | `seeds` | everything drawn at random, the agent's own settings too: nothing lost, foreign, changed or out of order, the checkpoint never ahead, memory within its budget |
//! | `six_hours_without_loki_lose_nothing` | 50 rotating files; refused for three hours, 503 for three: nothing lost or twice, few probes, the backlog drains at its nominal rate |
//! | `a_week_of_old_files_stays_inside_the_window` | a first start over six days of files and an outage of five hours: nothing is refused for being behind |
//! | `a_hundred_streams_stay_in_order` | 16 lanes, 100 streams, a Loki that fails in every way: no inversion among first deliveries |
//! | `the_power_may_go_at_any_time` | a power cut after every operation on the disk, with what was not synced lost in every way |
//! | `standard_input_arrives_whole` | a pipe that blocks |
//! | the others, `.._seen` | a fault put into the agent turns a check red |

mod agent;
mod checks;
mod choices;
mod disk;
mod knobs;
mod lane;
mod lines;
mod loki;
mod long;
mod power;
mod settings;
mod stdin;
mod world;
mod writer;

use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};

use agent::Mutation;
use checks::Check;
use world::Stats;

/// How many seeds are always run.
const SEEDS: u64 = 200;

#[expect(clippy::disallowed_methods, reason = "this is how a seed is handed to a test")]
fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().expect("a number"))
}

/// Runs one seed; on failure says how to see it again.
fn replayable(seed: u64) -> Stats {
    let result = catch_unwind(AssertUnwindSafe(|| world::run(seed, Mutation::None)));
    let how = format!("SKALD_SIM_SEED={seed} cargo test --test sim seeds");
    match result {
        Ok(Ok(stats)) => stats,
        Ok(Err(broken)) => {
            let knobs = knobs::Knobs::new(&mut fastrand::Rng::with_seed(seed));
            panic!("{:?}: {}\nreplay: {how}\n{knobs:?}", broken.check, broken.text)
        }
        Err(_) => panic!("the agent panicked\nreplay: {how}"),
    }
}

#[test]
fn seeds() {
    if let Some(seed) = number("SKALD_SIM_SEED") {
        tell(1, &replayable(seed));
        return;
    }
    let random = fastrand::u64(1 << 32..1 << 48);
    writeln!(std::io::stderr(), "the random seed is {random}").expect("standard error takes it");
    let many = number("SKALD_SIM_SEEDS").unwrap_or(SEEDS);
    let mut all = Stats::default();
    for seed in (0..many).chain([random]) {
        all.merge(&replayable(seed));
    }
    tell(many + 1, &all);
    for (name, count) in all.counts.iter().chain(&all.answers) {
        assert!(0 < *count, "{name} never happened");
    }
    let (lines, excused) =
        (all.counts["lines"], all.counts["destroyed before they had to be read"]);
    assert!(excused * 100 < 3 * lines, "{excused} of {lines} lines prove nothing");
    let kinds = ["204", "400", "401", "413", "429", "429 later", "429 partial", "500", "503"];
    let more = ["500 stored", "timeout", "timeout stored", "broken stored", "refused"];
    for kind in kinds.into_iter().chain(more) {
        assert!(all.answers.contains_key(kind), "{kind} was never answered");
    }
    for name in ["kills", "kills in a save", "power cuts", "orderly stops", "failed saves"] {
        assert!(all.counts.contains_key(name), "there were no {name}");
    }
}

fn tell(seeds: u64, stats: &Stats) {
    let mut out = format!("\n{:>10}  seeds\n", seeds);
    for (name, count) in &stats.counts {
        out += &format!("{count:>10}  {name}\n");
    }
    for (name, count) in &stats.answers {
        out += &format!("{count:>10}  answers: {name}\n");
    }
    std::io::stderr().write_all(out.as_bytes()).expect("standard error takes it");
}

/// With `mutation` so many seeds fail with `check` and none otherwise; without it they pass.
fn turns_red(mutation: Mutation, check: Check, times: usize) {
    let mut red = Vec::new();
    for seed in 0..30 {
        if let Err(broken) = world::run(seed, mutation) {
            assert!(broken.check == check, "seed {seed}: {broken:?}");
            red.push(seed);
        }
        if times <= red.len() {
            break;
        }
    }
    assert!(times <= red.len(), "{mutation:?} is only seen with seeds {red:?}");
    red.into_iter().for_each(|seed| drop(replayable(seed)));
}

#[test]
fn settling_when_read_is_seen() {
    turns_red(Mutation::SettleWhenRead, Check::Ahead, 3);
}

#[test]
fn skipping_an_fsync_is_seen() {
    turns_red(Mutation::SkipFsync, Check::Saved, 3);
    turns_red(Mutation::SkipFolderSync, Check::Saved, 3);
}

#[test]
fn releasing_memory_early_is_seen() {
    turns_red(Mutation::ReleaseEarly, Check::Memory, 3);
}

#[test]
fn losing_what_was_deleted_is_seen() {
    turns_red(Mutation::DropDeleted, Check::Lost, 1);
}

#[test]
fn losing_what_left_the_globs_is_seen() {
    turns_red(Mutation::Blind, Check::Lost, 1);
}

#[test]
fn sending_twice_is_seen() {
    turns_red(Mutation::SendTwice, Check::Duplicate, 3);
    turns_red(Mutation::Forget, Check::Duplicate, 3);
}

/// A long test that fails with `check`.
fn breaks<T: std::fmt::Debug>(result: checks::Result<T>, check: Check) {
    let broken = result.expect_err("the mutation was not noticed");
    assert!(broken.check == check, "{broken:?}");
}

#[test]
fn disorder_is_seen() {
    breaks(long::order(Mutation::Overtake), Check::Order);
}

#[test]
fn an_unkind_or_slow_or_hasty_sender_is_seen() {
    breaks(long::outage(Mutation::Hammer), Check::Kind);
    breaks(long::outage(Mutation::Crawl), Check::Progress);
    breaks(long::outage(Mutation::GiveUp), Check::Ahead);
}

#[test]
fn files_out_of_step_are_seen() {
    breaks(long::week(Mutation::SpreadFiles), Check::Behind);
}

#[test]
fn skipping_an_fsync_is_seen_by_the_cuts() {
    breaks(power::cut_everywhere(Mutation::SkipFsync), Check::Saved);
    breaks(power::cut_everywhere(Mutation::SkipFolderSync), Check::Saved);
}

#[test]
fn standard_input_arrives_whole() {
    for seed in 0..30 {
        if let Err(broken) = stdin::run(seed) {
            panic!("seed {seed}: {:?}: {}", broken.check, broken.text);
        }
    }
}

/// Runs a long test, and says what it broke.
fn passes<T>(result: checks::Result<T>) -> T {
    match result {
        Ok(value) => value,
        Err(broken) => panic!("{:?}: {}", broken.check, broken.text),
    }
}

#[test]
fn six_hours_without_loki_lose_nothing() {
    passes(long::outage(Mutation::None));
}

#[test]
fn a_week_of_old_files_stays_inside_the_window() {
    passes(long::week(Mutation::None));
}

#[test]
fn a_hundred_streams_stay_in_order() {
    passes(long::order(Mutation::None));
}

#[test]
fn the_power_may_go_at_any_time() {
    let tried = passes(power::cut_everywhere(Mutation::None));
    writeln!(std::io::stderr(), "{tried:?}").expect("standard error takes it");
    assert!(100 < tried.operations && 0 < tried.duplicates && 0 < tried.rotations, "{tried:?}");
}
