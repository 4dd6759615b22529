//! Whether the bench itself works: each workload over a small log, and each fault noticed.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};

use crate::files::{Fault, Library};
use crate::workload::{self, Kind, Live, Workload};
use crate::{library, once};

const MEGABYTES: u64 = 2;

/// What is said of each fault.
const FAULTS: [(Fault, &str); 3] = [
    (Fault::Lost, "lost: "),
    (Fault::Wrong, "wrong: all lines came"),
    (Fault::Disorder, "wrong: out of order"),
];

/// Returns what was done.
pub(crate) fn run(folder: &Path, binary: &Path) -> anyhow::Result<String> {
    let all: Vec<Workload> = workload::all(MEGABYTES).into_iter().map(short).collect();
    let mut library = library(folder, 1, None)?;
    for workload in &all {
        once(&mut library, binary, workload)?;
    }
    for (fault, word) in FAULTS {
        let folder = tempfile::tempdir_in(folder)?;
        let mut library = Library {
            patience: Duration::from_secs(3),
            ..crate::library(folder.path(), 1, Some(fault))?
        };
        let file400 = all.first().context("BUG: no workload")?;
        match once(&mut library, binary, file400) {
            Err(error) if format!("{error:#}").contains(word) => {}
            Err(error) => bail!("{fault:?} was taken for this: {error:#}"),
            Ok(_) => bail!("{fault:?} was not noticed"),
        }
    }
    Ok(format!("{} workloads ran, {} faults were noticed", all.len(), FAULTS.len()))
}

/// The same with fewer files and in less time.
fn short(workload: Workload) -> Workload {
    let time = Duration::from_secs(1);
    let kind = match workload.kind {
        Kind::Whole(whole) => Kind::Whole(whole),
        Kind::Start(_) => Kind::Start(time),
        Kind::Dead(log, _) => Kind::Dead(log, time),
        Kind::Live(Live::Latency { lines_per_second, age_max, .. }) => {
            Kind::Live(Live::Latency { lines_per_second, age_max, time })
        }
        Kind::Live(Live::Growing { .. }) => {
            Kind::Live(Live::Growing { files: 200, lines_per_second: 1000, time })
        }
        Kind::Live(Live::Idle { .. }) => {
            Kind::Live(Live::Idle { files: 200, quiet: Duration::ZERO, time })
        }
    };
    Workload { kind, ..workload }
}
