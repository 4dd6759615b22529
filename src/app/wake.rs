//! How the rest of the agent reaches a reader thread, and how memory that came back wakes one.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use tokio::sync::mpsc;

use super::current::Setup;
use crate::batch::Sealed;
use crate::model::TenantId;
use crate::tail::{Budget, NewFile};

/// Messages that wait for a reader; the sender waits when there are more. Sized so that a scan of
/// thousands of files is handed over while the reader works.
const INBOX_MAX: usize = 1024;

/// Ways to new lanes, by tenant.
pub(super) type NewWays = Vec<(TenantId, mpsc::Sender<Sealed>)>;

/// What a reload changes for a reader thread.
#[derive(Debug)]
pub struct Adopt {
    /// Sources and tenants.
    pub(super) setup: Setup,
    /// Ways to lanes that it has not had before, by tenant.
    pub(super) ways: NewWays,
    /// What it may have open.
    pub(super) budget: Budget,
    /// Dropped when it is done.
    pub(super) _done: mpsc::Sender<()>,
}

/// What a reader thread is told.
#[derive(Debug)]
pub enum Told {
    /// Look around: memory, the lane to Loki or the clock has changed.
    Wake,
    /// A file was found.
    Found(Box<NewFile>),
    /// A file (device, inode) has another name.
    Renamed((u64, u64), Box<NewFile>),
    /// A file (device, inode) has no name in the globs any more.
    Gone((u64, u64)),
    /// A file (device, inode) is of no source any more, or another one's; the other value is
    /// dropped when it is closed.
    Left((u64, u64), Arc<()>),
    /// Enough is known of where the lines of a file (device, inode) come from.
    Known((u64, u64)),
    /// The configuration has changed.
    Adopt(Box<Adopt>),
    /// A file may have grown.
    Data {
        /// Its name.
        path: PathBuf,
        /// Nobody will tell of it for a while.
        is_last: bool,
    },
    /// The pump has read these from standard input.
    Input(Vec<u8>),
    /// The pump has met the end of standard input.
    EndOfInput,
    /// Finish the turn, seal what is open, hand it over and end.
    Stop,
}

/// The way to one reader thread. Clones lead to the same one.
#[derive(Debug, Clone)]
pub struct Doorbell {
    sender: SyncSender<Told>,
    /// It found no memory and waits for some.
    hungry: Arc<AtomicBool>,
}

impl Doorbell {
    /// A doorbell and the inbox it leads to.
    #[must_use]
    pub fn new() -> (Self, Receiver<Told>) {
        let (sender, inbox) = sync_channel(INBOX_MAX);
        (Self { sender, hungry: Arc::default() }, inbox)
    }

    /// Wakes the reader. A full inbox wakes it as well.
    pub fn ring(&self) {
        let _ = self.sender.try_send(Told::Wake);
    }

    /// Tells the reader something, and waits while its inbox is full. A reader that has ended
    /// needs to hear nothing.
    pub fn tell(&self, told: Told) {
        let _ = self.sender.send(told);
    }

    /// The reader waits for memory.
    pub fn set_hungry(&self) {
        self.hungry.store(true, Ordering::SeqCst);
    }

    /// Memory came back.
    pub fn fed(&self) {
        if self.hungry.swap(false, Ordering::SeqCst) {
            self.ring();
        }
    }
}
