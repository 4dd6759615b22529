//! Starting and stopping.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::answers::Answers;
use super::connection::{Cut, Listener};
use super::http::{Shared, router};
use super::options::Options;
use super::store::Store;

/// How long open requests may take when the receiver stops.
const STOP_MAX: Duration = Duration::from_secs(5);

/// A running receiver. It stops when this value is dropped.
#[derive(Debug)]
pub struct Receiver {
    addr: SocketAddr,
    store: Store,
    answers: Answers,
    task: JoinHandle<io::Result<()>>,
    stop: DropGuard,
}

impl Receiver {
    /// Listens on `listen` (port 0 takes a free one) and serves on the current runtime.
    ///
    /// # Errors
    /// The address is in use or not ours, or `options.out` cannot be opened.
    pub async fn start(listen: SocketAddr, options: Options) -> io::Result<Self> {
        let store = Store::new(&options)?;
        let listener = TcpListener::bind(listen).await.map_err(|error| {
            io::Error::new(error.kind(), format!("cannot listen on {listen}: {error}"))
        })?;
        let addr = listener.local_addr()?;
        let answers = Answers::default();
        let shared = Shared { options, store: store.clone(), answers: answers.clone() };
        let service = router(shared).into_make_service_with_connect_info::<Cut>();
        let token = CancellationToken::new();
        let stopped = token.clone().cancelled_owned();
        let serve = axum::serve(Listener(listener), service).with_graceful_shutdown(stopped);
        let task = tokio::spawn(serve.into_future());
        Ok(Self { addr, store, answers, task, stop: token.drop_guard() })
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// What it received.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// What it will answer.
    #[must_use]
    pub fn answers(&self) -> &Answers {
        &self.answers
    }

    /// Answers the open requests, for 5 s at most, and stops.
    pub async fn stop(self) -> io::Result<()> {
        drop(self.stop);
        let abort = self.task.abort_handle();
        match tokio::time::timeout(STOP_MAX, self.task).await {
            Ok(ended) => ended.map_err(io::Error::other)?,
            Err(_) => {
                abort.abort();
                Ok(())
            }
        }
    }
}
