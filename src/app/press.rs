//! A worker's open batches, and who compresses them: the worker itself, or a thread beside it where
//! there are cores for both.

use tracing::warn;

use super::helper::{Helper, Made};
use super::outbox::Outbox;
use super::wake::Doorbell;
use crate::batch::{Base, Batcher, Packer, Piece, Pushed, StreamId};
use crate::model::{Counts, Entry, FileKey, Now, Pool, SourceId, TenantId};

/// Open batches, whose full pieces are compressed as they fill, and those that are sealed.
#[derive(Debug)]
pub(super) struct Press {
    /// The open batches.
    pub batcher: Batcher,
    /// Where they go when they are sealed.
    pub outbox: Outbox,
    packer: Packer,
    help: Help,
}

#[derive(Debug)]
enum Help {
    /// The worker compresses everything.
    None,
    /// A thread of this name is started when there is first enough to compress.
    Wanted(String, Doorbell),
    Running(Helper, String, Doorbell),
}

impl Press {
    /// Compresses on the worker's own thread.
    pub(super) fn new(batcher: Batcher, tenants: usize) -> Self {
        let (outbox, packer) = (Outbox::new(tenants), Packer::default());
        Self { batcher, outbox, packer, help: Help::None }
    }

    /// From now on a thread of this name helps, and rings `bell` when it has sealed a batch.
    pub(super) fn help(&mut self, name: String, bell: Doorbell) {
        self.help = Help::Wanted(name, bell);
    }

    /// Goes on with other sources, see [`Batcher::adopt`].
    pub(super) fn adopt(
        &mut self,
        metadata: bool,
        bases: Vec<Base>,
        pool: &Pool,
        renumbered: impl Fn(SourceId) -> Option<SourceId>,
    ) {
        let tenants = pool.tenants();
        if self.outbox.tenants().count() < tenants {
            // Its channels have room for as many batches as there were tenants.
            self.dismiss();
            self.outbox.grow(tenants);
        }
        self.batcher.adopt(metadata, bases, pool, renumbered);
    }

    /// Waits for all that the thread that helps has, and ends it; another one is started when it is
    /// needed.
    fn dismiss(&mut self) {
        while let Help::Running(helper, ..) = &mut self.help
            && helper.is_busy()
        {
            let made = helper.wait();
            self.take(made);
        }
        self.help = match std::mem::replace(&mut self.help, Help::None) {
            Help::Running(_, name, bell) => Help::Wanted(name, bell),
            help @ (Help::None | Help::Wanted(..)) => help,
        };
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

    /// Closes `tenant`'s batch, if there is one. It comes to the outbox at once, or when the thread
    /// that helps has sealed it; until then the next one takes lines.
    pub(super) fn seal(&mut self, tenant: TenantId, now: Now) {
        self.finish(tenant);
        let is_small = self.batcher.is_small(tenant);
        let Some(closed) = self.batcher.close(tenant, now) else { return };
        // To wake a thread for a few lines takes longer than to compress them.
        if let Some(helper) = if is_small { None } else { self.helper() } {
            helper.seal(closed);
            self.outbox.set_closing(tenant);
            return;
        }
        let (sealed, spare) = self.packer.seal(closed);
        self.batcher.take_back(spare);
        self.outbox.put(sealed);
    }

    /// Waits until no batch of `tenant` is still being sealed.
    pub(super) fn finish(&mut self, tenant: TenantId) {
        while self.outbox.is_closing(tenant)
            && let Help::Running(helper, ..) = &mut self.help
        {
            let made = helper.wait();
            self.take(made);
        }
    }

    /// Takes what the thread that helps has made.
    pub(super) fn collect(&mut self) {
        while let Help::Running(helper, ..) = &mut self.help
            && let Some(made) = helper.ready()
        {
            self.take(made);
        }
    }

    fn take(&mut self, made: Made) {
        match made {
            Made::Piece(piece) => self.batcher.put(piece),
            Made::Sealed(sealed, spare) => {
                self.batcher.take_back(spare);
                self.outbox.put(*sealed);
            }
        }
    }

    #[cold]
    fn press(&mut self, mut piece: Piece) {
        self.collect();
        if let Some(helper) = self.helper() {
            match helper.piece(piece) {
                Ok(()) => return,
                Err(back) => piece = back,
            }
        }
        self.packer.pack(&piece);
        self.batcher.put(piece);
    }

    /// The thread that helps, if one does.
    fn helper(&mut self) -> Option<&mut Helper> {
        if let Help::Wanted(name, bell) = &self.help {
            self.help = match Helper::start(name, self.outbox.tenants().count(), bell.clone()) {
                Ok(helper) => Help::Running(helper, name.clone(), bell.clone()),
                Err(error) => {
                    warn!(%error, "cannot start a thread that compresses; its worker does it alone");
                    Help::None
                }
            };
        }
        match &mut self.help {
            Help::Running(helper, ..) => Some(helper),
            Help::None | Help::Wanted(..) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::Receiver;
    use std::time::Duration;

    use super::*;
    use crate::app::Told;
    use crate::batch::{Options, Sealed};
    use crate::model::UnixNanos;

    const TENANT: TenantId = TenantId(0);
    const NOW: Now = Now { mono: Duration::ZERO, wall: UnixNanos(0) };

    /// Two streams of one tenant.
    fn press(pool: &Pool) -> (Press, [StreamId; 2]) {
        let options = Options {
            bytes_max: 1 << 20,
            age_max: Duration::from_secs(1),
            streams_max: 100,
            metadata: true,
        };
        let names = vec!["level".to_owned()];
        let base = Base { tenant: TENANT, labels: Vec::new(), names };
        let mut press = Press::new(Batcher::new(options, vec![base], pool), 1);
        let streams =
            ["info", "error"].map(|level| press.batcher.insert(SourceId(0), &[level], 0).unwrap());
        (press, streams)
    }

    fn helped(press: &mut Press) -> Receiver<Told> {
        let (bell, inbox) = Doorbell::new();
        press.help("helper".to_owned(), bell);
        inbox
    }

    fn push(press: &mut Press, streams: [StreamId; 2], number: usize) {
        let line = format!("{number} {}", "x".repeat(number % 700));
        let time = UnixNanos(i64::try_from(number).unwrap());
        let entry = Entry { time, line: &line, labels: &[], metadata: &[], tenant: 0 };
        let input = Counts { lines: 1, bytes: line.len() as u64 + 1 };
        let stream = streams[usize::from(number.is_multiple_of(3))];
        assert_eq!(press.push(stream, &entry, None, input, NOW), Pushed::Taken);
    }

    /// A worker that is helped makes the same batches as one that is not.
    #[test]
    fn help_changes_nothing() {
        let bodies = |help: bool| {
            let pool = Pool::new(8 << 20, || {});
            let (mut press, streams) = press(&pool);
            let inbox = help.then(|| helped(&mut press));
            for number in 0..12_000 {
                push(&mut press, streams, number);
                // The lines that follow are pushed while it is sealed.
                if number % 1500 == 1499 {
                    press.seal(TENANT, NOW);
                }
            }
            press.seal(TENANT, NOW);
            press.finish(TENANT);
            assert_eq!(inbox.is_some_and(|inbox| inbox.try_recv().is_ok()), help, "the bell");
            let sealed: Vec<_> = std::iter::from_fn(|| press.outbox.take(TENANT)).collect();
            let of = |sealed: &Sealed| (sealed.entries, sealed.streams, sealed.encoded_bytes);
            let facts: Vec<_> = sealed.iter().map(of).collect();
            let bodies: Vec<_> = sealed.into_iter().map(|sealed| sealed.body).collect();
            assert_eq!(pool.used(), 0);
            (facts, bodies)
        };
        assert_eq!(bodies(true), bodies(false));
    }

    #[test]
    fn a_batch_that_is_being_sealed_is_on_its_way_until_the_bell_rings() {
        let pool = Pool::new(8 << 20, || {});
        let (mut press, streams) = press(&pool);
        let inbox = helped(&mut press);
        (0..1000).for_each(|number| push(&mut press, streams, number));
        press.seal(TENANT, NOW);
        assert!(press.outbox.take(TENANT).is_none(), "nobody has looked for it yet");
        assert!(!press.outbox.is_empty() && !press.outbox.is_clear(TENANT));
        push(&mut press, streams, 1000);
        inbox.recv_timeout(Duration::from_secs(10)).expect("the bell");
        press.collect();
        assert!(!press.outbox.is_closing(TENANT));
        assert_eq!(press.outbox.take(TENANT).unwrap().entries, 1000);
        assert!(press.outbox.is_empty());
        press.seal(TENANT, NOW);
        assert_eq!(press.outbox.take(TENANT).unwrap().entries, 1, "few lines wake nobody");
    }

    /// More tenants come while a batch is being sealed; then each has one that is.
    #[test]
    fn a_thread_that_helps_is_exchanged_when_tenants_come() {
        const TENANTS: u16 = 30;
        let pool = Pool::new(8 << 20, || {});
        let (mut press, streams) = press(&pool);
        let inbox = helped(&mut press);
        (0..1000).for_each(|number| push(&mut press, streams, number));
        press.seal(TENANT, NOW);
        pool.share_out(vec![1 << 10; usize::from(TENANTS)]);
        let base = |tenant| Base {
            tenant: TenantId(tenant),
            labels: Vec::new(),
            names: vec!["level".to_owned()],
        };
        press.adopt(true, (0..TENANTS).map(base).collect(), &pool, |_| None);
        assert_eq!(press.outbox.take(TENANT).unwrap().entries, 1000);
        for tenant in 0..TENANTS {
            let stream = press.batcher.insert(SourceId(tenant), &["info"], 0).unwrap();
            (0..300).for_each(|number| push(&mut press, [stream; 2], number));
        }
        TenantId::first(TENANTS.into()).for_each(|tenant| press.seal(tenant, NOW));
        for tenant in TenantId::first(TENANTS.into()) {
            press.finish(tenant);
            assert_eq!(press.outbox.take(tenant).unwrap().entries, 300);
        }
        assert!(inbox.try_recv().is_ok(), "it has helped");
        assert_eq!(pool.used(), 0);
    }
}
