//! Hours and days, in virtual time.

use std::time::Duration;

use crate::agent::Mutation;
use crate::checks::{Check, Result, ensure};
use crate::knobs::Knobs;
use crate::loki::Weather;
use crate::world::World;

const HOUR: Duration = Duration::from_secs(3600);

/// So long Loki is down.
const OUTAGE: Duration = HOUR.saturating_mul(6);

/// 50 files of two sources, which rotate, with room for all that is not delivered.
fn fifty_files() -> Knobs {
    Knobs {
        files: 50,
        bytes_max: 4096,
        write_pause: 4000,
        one_in_rotate: 40,
        globs_find_rotated: false,
        kept: 1000,
        duration: OUTAGE + Duration::from_secs(1),
        in_flight: 1 << 17,
        scan: Duration::from_secs(10),
        ..Knobs::calm()
    }
}

/// How long the backlog takes once all lanes are past their back-off.
fn drain(world: &mut World) -> Result<Duration> {
    world.calm_down()?;
    let deadline = world.time + HOUR;
    world.until(deadline, |world| world.loki.served.len() == world.knobs.workers)?;
    let from = world.time;
    world.until(deadline, |world| world.truth.missing() == 0)?;
    Ok(world.time - from)
}

/// Loki is down for six hours: nobody listens, then it answers 503. Then it is well.
pub(crate) fn outage(mutation: Mutation) -> Result {
    let mut world = World::new(6, fifty_files(), mutation);
    let (hour, well) = (HOUR, 2 * OUTAGE);
    world.loki.forecast =
        vec![(3 * hour, Weather::Dead), (OUTAGE, Weather::Unwell), (well, Weather::Steady)];
    world.live()?;
    let most = OUTAGE.as_secs() / world.knobs.retry_max.as_secs() * 5 / 2;
    for (lane, probes) in &world.loki.probes {
        ensure(Check::Kind, *probes <= most, || format!("lane {lane} has asked {probes} times"))?;
    }
    assert_eq!(world.loki.probes.len(), world.knobs.workers, "each lane has asked");
    let took = drain(&mut world)?;
    // Who comes late reads nothing that has left the globs before.
    let knobs = Knobs { globs_find_rotated: true, ..fifty_files() };
    let mut nominal = World::new(6, knobs, Mutation::None);
    nominal.start_at = OUTAGE;
    nominal.loki.forecast = vec![(2 * OUTAGE, Weather::Steady)];
    nominal.live()?;
    let nominal = drain(&mut nominal)?;
    ensure(Check::Progress, took.mul_f64(0.8) <= nominal, || {
        format!("the backlog took {took:?}, {nominal:?} without an outage")
    })?;
    is_in_window(&world)?;
    world.heal()?;
    ensure(Check::Duplicate, world.truth.duplicates == 0, || "there are duplicates".to_owned())?;
    let stats = world.finish();
    assert!(50 < stats.counts["rotations"] && 10_000 < stats.counts["lines"], "{stats:?}");
    Ok(())
}

/// Nothing was refused for being behind, and little had to be moved.
fn is_in_window(world: &World) -> Result {
    let behind = world.loki.answers.get("400 behind").copied().unwrap_or(0);
    let moved = world.agent.as_ref().map_or(0, |agent| agent.moved());
    let few = moved * 25 <= world.truth.lines.len() as u64;
    ensure(Check::Behind, behind == 0 && few, || {
        format!("{behind} pushes were refused, {moved} lines moved")
    })
}

/// The first start is over a week of files, and Loki is away for hours while they are sent.
pub(crate) fn week(mutation: Mutation) -> Result {
    let days = HOUR * 24 * 6;
    let mut knobs = fifty_files();
    knobs.files = 20;
    knobs.globs_find_rotated = true;
    knobs.write_pause = 120_000;
    knobs.duration = days + HOUR * 6;
    let mut world = World::new(7, knobs, mutation);
    world.start_at = days;
    let (seconds, hours) = (Duration::from_secs(3), HOUR * 5);
    let end = world.knobs.duration * 2;
    world.loki.forecast = vec![
        (days + seconds, Weather::Steady),
        (days + hours, Weather::Dead),
        (end, Weather::Steady),
    ];
    world.live()?;
    drain(&mut world)?;
    is_in_window(&world)?;
    world.heal()?;
    let stats = world.finish();
    assert!(0 < stats.answers["refused"] && 10_000 < stats.counts["lines"], "{stats:?}");
    Ok(())
}

/// 100 streams of 16 lanes, and a Loki that fails in any way: no line comes before an earlier one
/// of its file and stream, see `Truth::stored`.
pub(crate) fn order(mutation: Mutation) -> Result {
    let knobs = Knobs {
        workers: 16,
        sources: 16,
        files: 32,
        events: 5,
        bytes_max: 600,
        write_pause: 20,
        one_in_rotate: 200,
        in_flight: 1 << 20,
        retry_min: Duration::from_millis(50),
        retry_max: Duration::from_secs(2),
        duration: Duration::from_secs(60),
        wait_max: Duration::from_millis(100),
        ..Knobs::calm()
    };
    let mut world = World::new(22, knobs, mutation);
    world.loki.forecast = vec![(Duration::from_secs(60), Weather::Flaky)];
    world.live()?;
    world.heal()?;
    let streams = world.loki.streams();
    let stats = world.finish();
    assert!(100 <= streams, "only {streams}");
    for answer in ["500", "503", "timeout", "timeout stored", "429 partial"] {
        assert!(stats.answers.contains_key(answer), "{answer} was never answered");
    }
    Ok(())
}
