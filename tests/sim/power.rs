//! The power goes after each operation on the disk, and what was not synced is lost in every way
//! that there is.

use std::time::Duration;

use crate::agent::Mutation;
use crate::checks::Result;
use crate::choices::Choices;
use crate::knobs::Knobs;
use crate::world::World;

/// A short life with rotations, some checkpoints, and nothing else that goes wrong.
fn short() -> Knobs {
    Knobs {
        workers: 1,
        sources: 1,
        files: 2,
        age_max: Duration::from_millis(200),
        write_pause: 250,
        one_in_rotate: 8,
        duration: Duration::from_millis(6500),
        scan: Duration::from_millis(700),
        ..Knobs::calm()
    }
}

/// What was tried.
#[derive(Debug, Default)]
pub(crate) struct Tried {
    /// Operations after which the power went.
    pub(crate) operations: u64,
    /// All ways in which it left the disk.
    pub(crate) ways: u64,
    pub(crate) duplicates: u64,
    pub(crate) rotations: u64,
}

/// Runs every cut of one life.
pub(crate) fn cut_everywhere(mutation: Mutation) -> Result<Tried> {
    let mut tried = Tried::default();
    for operation in 1.. {
        let mut choices = Some(Choices::all());
        while let Some(path) = choices {
            let mut world = World::new(1, short(), mutation);
            world.disk.faults.cut_in = Some(operation);
            world.disk.choices = path;
            world.live()?;
            world.disk.faults.cut_in = None;
            world.heal()?;
            choices = std::mem::replace(&mut world.disk.choices, Choices::all()).next();
            let stats = world.finish();
            if !stats.counts.contains_key("power cuts") {
                return Ok(tried);
            }
            tried.ways += 1;
            tried.duplicates += stats.counts["duplicates"];
            tried.rotations = stats.counts["rotations"];
        }
        tried.operations += 1;
    }
    unreachable!("a life has an end")
}
