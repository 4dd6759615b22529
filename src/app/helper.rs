//! The thread beside a worker that compresses for it.

use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use super::readers::spawn;
use super::wake::Doorbell;
use crate::batch::{Closed, Packer, Piece, Sealed};

/// Pieces that the thread may have. With more the worker compresses itself: that is never slower
/// than to wait, and uses both cores.
const PIECES_MAX: usize = 4;

/// What it is given. It takes things in their order, so that all pieces of a batch that it was
/// given are compressed when it comes to the batch.
enum Job {
    Piece(Piece),
    Seal(Box<Closed>),
}

/// What it gives back.
#[derive(Debug)]
pub(super) enum Made {
    /// A piece that was compressed.
    Piece(Piece),
    /// A sealed batch, and buffers for the next entries.
    Sealed(Box<Sealed>, Vec<Vec<u8>>),
}

/// The worker's end of it.
#[derive(Debug)]
pub(super) struct Helper {
    jobs: SyncSender<Job>,
    made: Receiver<Made>,
    /// Pieces that it has not given back.
    pieces: usize,
    /// Batches that it has not given back.
    batches: usize,
}

impl Helper {
    /// Starts the thread. It rings `bell` whenever it has sealed a batch.
    ///
    /// # Errors
    /// When no thread can be started.
    pub(super) fn start(name: &str, tenants: usize, bell: Doorbell) -> io::Result<Self> {
        // Of each tenant there is one closed batch at most. Nobody ever waits for room: what was
        // given and has not come back fits into each of them.
        let (jobs, inbox) = sync_channel(PIECES_MAX + tenants);
        let (outbox, made) = sync_channel(PIECES_MAX + tenants);
        let run = move || {
            let mut packer = Packer::default();
            while let Ok(job) = inbox.recv() {
                let (made, is_sealed) = match job {
                    Job::Piece(piece) => {
                        packer.pack(&piece);
                        (Made::Piece(piece), false)
                    }
                    Job::Seal(closed) => {
                        let (sealed, spare) = packer.seal(*closed);
                        (Made::Sealed(Box::new(sealed), spare), true)
                    }
                };
                if outbox.send(made).is_err() {
                    return;
                }
                if is_sealed {
                    bell.ring();
                }
            }
        };
        spawn(name, run)?;
        Ok(Self { jobs, made, pieces: 0, batches: 0 })
    }

    /// Has a piece compressed, or gives it back when there are enough.
    pub(super) fn piece(&mut self, piece: Piece) -> Result<(), Piece> {
        if PIECES_MAX <= self.pieces {
            return Err(piece);
        }
        self.pieces += 1;
        self.give(Job::Piece(piece));
        Ok(())
    }

    /// Has a batch sealed.
    pub(super) fn seal(&mut self, closed: Closed) {
        self.batches += 1;
        self.give(Job::Seal(Box::new(closed)));
    }

    /// Whether it has something that it was given.
    pub(super) fn is_busy(&self) -> bool {
        self.pieces + self.batches != 0
    }

    /// Something that is ready.
    pub(super) fn ready(&mut self) -> Option<Made> {
        let made = self.made.try_recv().ok()?;
        self.came(&made);
        Some(made)
    }

    /// Waits for the next one. There must be one.
    pub(super) fn wait(&mut self) -> Made {
        let made = self.made.recv().expect("BUG: a thread that helps has ended");
        self.came(&made);
        made
    }

    fn give(&self, job: Job) {
        let is_taken = self.jobs.send(job).is_ok();
        assert!(is_taken, "BUG: a thread that helps has ended");
    }

    fn came(&mut self, made: &Made) {
        match made {
            Made::Piece(_) => self.pieces -= 1,
            Made::Sealed(..) => self.batches -= 1,
        }
    }
}
