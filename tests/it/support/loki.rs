//! The receiver on a runtime of its own, and addresses that nobody else uses.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, Ordering};

use skald::app;
use skald::receive::{Answer, Answers, Clock, Options, Receiver, Store};
use tokio::runtime::{Builder, Handle};

/// A receiver in this process.
pub(crate) struct Loki {
    receiver: Receiver,
}

impl Loki {
    /// A receiver with Loki's defaults.
    pub(crate) fn start() -> Self {
        Self::with(address(3100), |_| ())
    }

    /// A receiver at `listen` with options of its own.
    pub(crate) fn with(listen: SocketAddr, change: impl FnOnce(&mut Options)) -> Self {
        let clock = app::Clock::start();
        let mut options = Options::new(Clock::new(move || clock.now().wall));
        change(&mut options);
        let receiver = runtime().block_on(Receiver::start(listen, options)).unwrap();
        Self { receiver }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.receiver.addr()
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.addr())
    }

    pub(crate) fn store(&self) -> &Store {
        self.receiver.store()
    }

    pub(crate) fn answers(&self) -> &Answers {
        self.receiver.answers()
    }

    /// How many copies have arrived.
    pub(crate) fn copies(&self) -> usize {
        self.store().entries().len()
    }

    /// How many pushes were answered with `status`.
    pub(crate) fn pushes(&self, status: &str) -> u64 {
        self.store().stats().pushes.get(status).copied().unwrap_or(0)
    }
}

/// What all servers of the tests run on: a thread of its own.
pub(super) fn runtime() -> &'static Handle {
    static RUNTIME: OnceLock<Handle> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let handle = runtime.handle().clone();
        std::thread::spawn(move || runtime.block_on(std::future::pending::<()>()));
        handle
    })
}

/// A loopback address of our own, so that nobody else answers there and nobody takes the port:
/// `port` or, when the hosts of this process are used up, one above it.
pub(crate) fn address(port: u16) -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    const HOSTS: u16 = 250;
    let next = NEXT.fetch_add(1, Ordering::Relaxed);
    let host = u8::try_from(next % HOSTS).unwrap() + 1;
    let [_, _, high, low] = std::process::id().to_be_bytes();
    SocketAddr::from((Ipv4Addr::new(127, 100 + high % 100, low, host), port + next / HOSTS))
}

/// An answer with `status` and `body`, given once.
pub(crate) fn answer(status: u16, body: &str) -> Answer {
    Answer { status: Some(status), body: body.to_owned(), ..Answer::default() }
}

/// The same, `times` times.
pub(crate) fn times(times: u32, answer: Answer) -> Answer {
    Answer { times, ..answer }
}

/// The same, until others come.
pub(crate) fn always(answer: Answer) -> Answer {
    times(0, answer)
}
