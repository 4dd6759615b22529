//! A worker's open batches, and who compresses the pieces that fill: the worker itself, or a
//! thread beside it where there are cores for both.

use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

use tracing::warn;

use super::readers::spawn;
use crate::batch::{Batcher, Piece, Pushed, Sealed, StreamId};
use crate::model::{Counts, Entry, FileKey, Now, TenantId};
use crate::wire::Compressor;

/// Pieces that wait for the thread. With more the worker compresses itself: that is never slower
/// than to wait, and uses both cores.
const WAITING_MAX: usize = 2;

/// Open batches, whose full pieces are compressed as they fill.
#[derive(Debug)]
pub(super) struct Press {
    /// The open batches.
    pub batcher: Batcher,
    compressor: Compressor,
    helper: Helper,
}

#[derive(Debug)]
enum Helper {
    /// The worker compresses everything.
    None,
    /// A thread of this name is started when the first piece is full.
    Wanted(String),
    Running {
        pieces: SyncSender<Piece>,
        packed: Receiver<Piece>,
        /// Pieces that it has not given back.
        out: usize,
    },
}

impl Press {
    /// Compresses on the worker's own thread.
    pub(super) fn new(batcher: Batcher) -> Self {
        Self { batcher, compressor: Compressor::default(), helper: Helper::None }
    }

    /// From now on a thread of this name helps.
    pub(super) fn help(&mut self, name: String) {
        self.helper = Helper::Wanted(name);
    }

    /// [`Batcher::push`].
    #[inline]
    pub(super) fn push(
        &mut self,
        stream: StreamId,
        entry: &Entry<'_>,
        ticket: Option<(FileKey, u64)>,
        input: Counts,
        now: Now,
    ) -> Pushed {
        let pushed = self.batcher.push(stream, entry, ticket, input, now);
        if let Some(piece) = self.batcher.full_piece() {
            self.press(piece);
        }
        pushed
    }

    /// [`Batcher::seal`], when all pieces are back.
    pub(super) fn seal(&mut self, tenant: TenantId, now: Now) -> Option<Sealed> {
        if let Helper::Running { .. } = self.helper {
            self.batcher.cut(tenant);
            while let Some(piece) = self.batcher.full_piece() {
                self.press(piece);
            }
        }
        if let Helper::Running { packed, out, .. } = &mut self.helper {
            for _ in 0..std::mem::take(out) {
                let piece = packed.recv().expect("BUG: a thread that helps has ended");
                self.batcher.put(piece);
            }
        }
        self.batcher.seal(tenant, now)
    }

    #[cold]
    fn press(&mut self, mut piece: Piece) {
        if let Helper::Wanted(name) = &self.helper {
            self.helper = start(name);
        }
        if let Helper::Running { pieces, packed, out } = &mut self.helper {
            for piece in packed.try_iter() {
                *out -= 1;
                self.batcher.put(piece);
            }
            match pieces.try_send(piece) {
                Ok(()) => {
                    *out += 1;
                    return;
                }
                Err(TrySendError::Full(back) | TrySendError::Disconnected(back)) => piece = back,
            }
        }
        piece.pack(&mut self.compressor);
        self.batcher.put(piece);
    }
}

fn start(name: &str) -> Helper {
    let (pieces, inbox) = sync_channel::<Piece>(WAITING_MAX);
    // One is in the thread's hands while others wait; it never waits for the worker.
    let (outbox, packed) = sync_channel(WAITING_MAX + 2);
    let run = move || {
        let mut compressor = Compressor::default();
        while let Ok(mut piece) = inbox.recv() {
            piece.pack(&mut compressor);
            if outbox.send(piece).is_err() {
                return;
            }
        }
    };
    match spawn(name, run) {
        Ok(_) => Helper::Running { pieces, packed, out: 0 },
        Err(error) => {
            warn!(%error, "cannot start a thread that compresses; its worker does it alone");
            Helper::None
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::batch::{Base, Options};
    use crate::model::{Pool, SourceId, UnixNanos};

    /// A worker that is helped makes the same batches as one that is not.
    #[test]
    fn help_changes_nothing() {
        let bodies = |help: bool| {
            let options = Options {
                bytes_max: 1 << 20,
                age_max: Duration::from_secs(1),
                streams_max: 10,
                metadata: true,
            };
            let names = vec!["level".to_owned()];
            let base = Base { tenant: TenantId(0), labels: Vec::new(), names };
            let pool = Pool::new(8 << 20, || {});
            let mut press = Press::new(Batcher::new(options, vec![base], &pool));
            if help {
                press.help("helper".to_owned());
            }
            let now = Now { mono: Duration::ZERO, wall: UnixNanos(0) };
            let streams = ["info", "error"]
                .map(|level| press.batcher.insert(SourceId(0), &[level], 0).unwrap());
            let mut bodies = Vec::new();
            for number in 0..4000_usize {
                let line = format!("{number} {}", "x".repeat(number % 700));
                let time = UnixNanos(i64::try_from(number).unwrap());
                let entry = Entry { time, line: &line, labels: &[], metadata: &[] };
                let input = Counts { lines: 1, bytes: line.len() as u64 + 1 };
                let stream = streams[usize::from(number % 3 == 0)];
                assert_eq!(press.push(stream, &entry, None, input, now), Pushed::Taken);
                if number % 1500 == 1499 {
                    bodies.push(press.seal(TenantId(0), now).unwrap().body);
                }
            }
            bodies.push(press.seal(TenantId(0), now).unwrap().body);
            assert_eq!(pool.used(), 0);
            bodies
        };
        assert_eq!(bodies(true), bodies(false));
    }
}
