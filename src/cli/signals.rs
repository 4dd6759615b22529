//! Signals with who has sent them, for a process that passes them on.

use std::io;

use anyhow::Context as _;
use rustix::process::Signal;
use signal_hook::iterator::SignalsInfo;
use signal_hook::iterator::exfiltrator::origin::WithOrigin;
use signal_hook::low_level::siginfo::Cause;
use tokio::sync::mpsc;

/// Those that are passed on.
const PASSED_ON: [Signal; 7] = [
    Signal::TERM,
    Signal::INT,
    Signal::QUIT,
    Signal::HUP,
    Signal::USR1,
    Signal::USR2,
    Signal::WINCH,
];

/// Signals that wait to be passed on. The kernel holds those that follow, one of each.
const WAITING_MAX: usize = 16;

/// A signal that has come.
#[derive(Debug, Clone, Copy)]
pub(super) struct Heard {
    pub(super) signal: Signal,
    /// No process has sent it: a terminal has, and to the whole group, which a child is in.
    pub(super) by_terminal: bool,
}

/// All that come from now on.
pub(super) struct Signals(mpsc::Receiver<Heard>);

impl Signals {
    /// From here on no signal that is passed on ends the process.
    pub(super) fn listen() -> anyhow::Result<Self> {
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        let hear = || -> io::Result<()> {
            let mut signals = SignalsInfo::<WithOrigin>::new(PASSED_ON.map(Signal::as_raw))?;
            let thread = std::thread::Builder::new().name("skald-signals".to_owned());
            thread.spawn(move || {
                for origin in &mut signals {
                    let by_terminal = matches!(origin.cause, Cause::Kernel);
                    let heard = Signal::from_named_raw(origin.signal)
                        .map(|signal| sender.blocking_send(Heard { signal, by_terminal }));
                    if heard.is_some_and(|sent| sent.is_err()) {
                        return;
                    }
                }
            })?;
            Ok(())
        };
        hear().context("cannot watch for signals")?;
        Ok(Self(receiver))
    }

    pub(super) async fn next(&mut self) -> Option<Heard> {
        self.0.recv().await
    }

    /// The signal that has asked to end, of those that have come so far. They reach nobody else.
    pub(super) fn end_was_asked(&mut self) -> Option<Signal> {
        let ends = [Signal::TERM, Signal::INT, Signal::QUIT, Signal::HUP];
        std::iter::from_fn(|| self.0.try_recv().ok())
            .map(|heard| heard.signal)
            .find(|signal| ends.contains(signal))
    }
}
