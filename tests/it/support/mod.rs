//! Beds to test in: folders, a receiver, agents; and the oracle.

pub(crate) mod bed;
pub(crate) mod gate;
pub(crate) mod http;
pub(crate) mod kube;
pub(crate) mod loki;
pub(crate) mod metrics;
pub(crate) mod oracle;
pub(crate) mod process;
pub(crate) mod proxy;

pub(crate) use self::bed::Bed;
pub(crate) use self::gate::Gate;
pub(crate) use self::kube::KubeApi;
pub(crate) use self::loki::{Loki, address, always, answer, times};
pub(crate) use self::metrics::Metrics;
pub(crate) use self::oracle::{Found, Sent};
pub(crate) use self::process::{Ended, Skald, skald, timed};
pub(crate) use skald::receive::{Answer, Reset};

use std::time::{Duration, Instant};

/// How long anything may take that will surely come. Generous: the machine may be busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until `is_so`, and fails with `what` when it never is.
#[track_caller]
pub(crate) fn eventually(what: &str, is_so: impl FnMut() -> bool) {
    assert!(within(PATIENCE, is_so), "not within {PATIENCE:?}: {what}");
}

/// Waits until `is_so`, for `patience` at most. Returns whether it was.
pub(crate) fn within(patience: Duration, mut is_so: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    loop {
        if is_so() {
            return true;
        }
        if patience < start.elapsed() {
            return false;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Lets `time` pass, for those that write beside a real process at their own pace.
pub(crate) fn pause(time: Duration) {
    std::thread::sleep(time);
}

/// Waits until `value` has stayed the same for `quiet`, and returns it.
#[track_caller]
pub(crate) fn settled<T: PartialEq + std::fmt::Debug>(
    quiet: Duration,
    mut value: impl FnMut() -> T,
) -> T {
    let (mut last, mut since) = (value(), Instant::now());
    eventually("a value that rests", || {
        let now = value();
        if now != last {
            (last, since) = (now, Instant::now());
        }
        quiet < since.elapsed()
    });
    last
}
