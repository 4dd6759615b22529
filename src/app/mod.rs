//! Builds the rooms, runs the shells, owns time, memory and shutdown.
//!
//! May touch: everything. Must not: contain logic that a room could own.
//!
//! Start at [`Agent::start`]. Steps that the simulator drives as well: [`Worker::turn`],
//! [`StdinWorker::turn`], [`settle`], [`Registry::snapshot`], [`Finder::pass_on`].

mod clock;
mod error;
mod files;
mod gzip;

mod behind;
mod board;
mod crowd;
mod current;
mod file_log;
mod finder;
mod helper;
mod joins;
mod known;
mod origins;
mod outbox;
mod pipeline;
mod pipes;
mod pods;
mod press;
mod pulse;
mod registry;
mod sources;
mod wake;
mod windows;

mod stdin;
mod worker;

mod common;
mod control;
mod lane;
mod readers;
mod rehearsal;

mod agent;
mod build;
mod reload;
mod replay;

#[cfg(test)]
mod tests;

pub use self::agent::{Agent, Ended};
pub use self::behind::{Lag, Unread};
pub use self::board::Board;
pub use self::build::Extras;
pub use self::clock::Clock;
pub use self::common::Common;
pub use self::crowd::Crowd;
pub use self::current::{Current, Setup};
pub use self::error::AppError;
pub use self::file_log::FileLog;
pub use self::files::{Disk, LogFile};
pub use self::finder::Finder;
pub use self::gzip::Gzip;
pub use self::known::Lineage;
pub use self::lane::{Ground, Lane, settle};
pub use self::origins::origin;
pub use self::outbox::Outbox;
pub use self::pipeline::{From, Pipeline, Stop, Stretch, Text};
pub use self::pipes::{Cut, Pipe};
pub use self::pods::Pods;
pub use self::pulse::{Pulse, Pulses};
pub use self::registry::Registry;
pub use self::rehearsal::{Effect, Explained, Outcome, Rehearsal, Sent};
pub use self::reload::{Reloaded, Reloads, Request};
pub use self::replay::replay;
pub use self::sources::{OfPods, Source, Sources, base};
pub use self::stdin::{StdinDone, StdinWorker};
pub use self::wake::{Doorbell, Told};
pub use self::windows::Windows;
pub use self::worker::{Done, Shared, Worker};
