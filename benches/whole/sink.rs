//! The receiver: `skald::receive` with a tap, on a thread of its own.

use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, anyhow, bail};
use skald::model::UnixNanos;
use skald::receive::{Answer, Clock, Options, Receiver, Tap};
use tokio::sync::oneshot;

use crate::expect::Digest;
use crate::tally::Tally;

/// A receiver that counts. It stops when this value is dropped.
#[derive(Debug)]
pub(crate) struct Sink {
    pub(crate) addr: SocketAddr,
    /// How long there may be no push before a run has failed.
    patience: Duration,
    state: Arc<State>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// When bodies are counted and looked into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    /// As they come.
    AtOnce,
    /// When no more come, so that a core that the agent uses is spared.
    Later,
}

/// Bodies are looked into later when none has come for so long. Longer than the agent waits with
/// its last lines.
const QUIET: Duration = Duration::from_millis(1500);

/// A body and when it came.
type Arrival = (Instant, Duration, Vec<u8>);

#[derive(Debug)]
struct State {
    tally: Mutex<Tally>,
    pushed: Condvar,
    later: Mutex<Vec<Arrival>>,
}

impl State {
    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().expect("BUG: a thread panicked while it held the tally")
    }

    fn later(&self) -> MutexGuard<'_, Vec<Arrival>> {
        self.later.lock().expect("BUG: a thread panicked while it held the bodies")
    }

    fn take(&self, body: &[u8], when: When) {
        match when {
            When::AtOnce => {
                self.tally().push(body, Instant::now(), wall());
                self.pushed.notify_all();
            }
            When::Later => self.later().push((Instant::now(), wall(), body.to_vec())),
        }
    }

    /// Looks into what came, if no more comes.
    fn catch_up(&self) {
        let mut later = self.later();
        if later.last().is_none_or(|(at, ..)| at.elapsed() < QUIET) {
            return;
        }
        let arrived = std::mem::take(&mut *later);
        drop(later);
        for (at, wall, body) in arrived {
            self.tally().push(&body, at, wall);
        }
    }
}

impl Sink {
    /// Answers each push after `delay`. It runs on the core that this thread runs on.
    pub(crate) fn start(
        tally: Tally,
        when: When,
        delay: Duration,
        patience: Duration,
    ) -> anyhow::Result<Self> {
        let (tally, later) = (Mutex::new(tally), Mutex::default());
        let state = Arc::new(State { tally, pushed: Condvar::new(), later });
        let taken = Arc::clone(&state);
        let tap = Tap::new(move |body| taken.take(body, when));
        let (stop, stopped) = oneshot::channel();
        let (tell, told) = std::sync::mpsc::sync_channel(1);
        let thread = std::thread::spawn(move || serve(tap, delay, &tell, stopped));
        let addr = told.recv().context("the receiver did not start")??;
        Ok(Self { addr, patience, state, stop: Some(stop), thread: Some(thread) })
    }

    pub(crate) fn tally(&self) -> MutexGuard<'_, Tally> {
        self.state.tally()
    }

    /// Makes `lines` those that are waited for.
    pub(crate) fn expect(&self, lines: u64) {
        self.tally().expect(lines);
    }

    /// Waits until all lines are here.
    pub(crate) fn wait(&self) -> anyhow::Result<()> {
        let (mut pushes, mut since) = (0, Instant::now());
        loop {
            self.state.catch_up();
            let tally = self.tally();
            if let Some(wrong) = &tally.wrong {
                bail!("wrong: {wrong}");
            }
            if tally.end.is_some() {
                return Ok(());
            }
            let come = tally.pushes + self.state.later().len() as u64;
            if come != pushes {
                (pushes, since) = (come, Instant::now());
            }
            if self.patience <= since.elapsed() {
                bail!("lost: {} of {} lines came", tally.digest.lines, tally.target);
            }
            let again = self.patience.min(QUIET / 10);
            drop(self.state.pushed.wait_timeout(tally, again).map_err(|_| anyhow!("BUG"))?);
        }
    }

    /// Whether what came is what was written.
    pub(crate) fn check(&self, expected: &Digest) -> anyhow::Result<()> {
        let tally = self.tally();
        match &tally.wrong {
            Some(wrong) => bail!("wrong: {wrong}"),
            None if tally.digest.lines != expected.lines => {
                bail!("wrong: {} lines came, {} were written", tally.digest.lines, expected.lines)
            }
            None if tally.digest != *expected => {
                bail!("wrong: all lines came, but not with what is in them: {:?}", tally.digest)
            }
            None => Ok(()),
        }
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(Err(_)) = self.thread.take().map(JoinHandle::join) {
            self.tally().wrong = Some("the receiver panicked".to_owned());
        }
    }
}

/// Time since 1970.
pub(crate) fn wall() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn serve(
    tap: Tap,
    delay: Duration,
    tell: &std::sync::mpsc::SyncSender<anyhow::Result<SocketAddr>>,
    stopped: oneshot::Receiver<()>,
) {
    let serve = async {
        let clock = Clock::new(UnixNanos::default);
        let options = Options { tap: Some(tap), ..Options::new(clock) };
        let receiver = Receiver::start(SocketAddr::from(([127, 0, 0, 1], 0)), options).await?;
        let delay_ms = u64::try_from(delay.as_millis())?;
        if delay_ms > 0 {
            receiver.answers().add([Answer { delay_ms, times: 0, ..Answer::default() }]);
        }
        tell.send(Ok(receiver.addr()))?;
        let _ = stopped.await;
        anyhow::Ok(())
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    if let Err(error) = runtime.map_err(Into::into).and_then(|runtime| runtime.block_on(serve)) {
        let _ = tell.send(Err(error));
    }
}
