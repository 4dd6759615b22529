//! Signs of life of the agent's threads, for `/healthy`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::model::Now;

/// A thread that was not heard of for this long is stuck: each waits ten seconds at most.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// All threads that give signs of life.
#[derive(Debug, Default)]
pub struct Pulses(Mutex<Vec<(String, Pulse)>>);

/// One thread's sign of life.
#[derive(Debug, Clone, Default)]
pub struct Pulse(Arc<AtomicU64>);

impl Pulses {
    /// One more thread.
    #[must_use]
    pub fn add(&self, name: &str, now: Now) -> Pulse {
        let pulse = Pulse::default();
        pulse.beat(now);
        self.lock().push((name.to_owned(), pulse.clone()));
        pulse
    }

    /// The threads that were not heard of lately.
    #[must_use]
    pub fn silent(&self, now: Now) -> Vec<String> {
        let all = self.lock();
        let silent =
            all.iter().filter(|(_, pulse)| SILENCE_MAX < now.mono - pulse.last().min(now.mono));
        silent.map(|(name, _)| format!("{name} is stuck")).collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<(String, Pulse)>> {
        self.0.lock().expect("BUG: a thread panicked while it held the pulses")
    }
}

impl Pulse {
    /// The thread is alive.
    pub fn beat(&self, now: Now) {
        let millis = u64::try_from(now.mono.as_millis()).unwrap_or(u64::MAX);
        self.0.store(millis, Ordering::Relaxed);
    }

    fn last(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::Relaxed))
    }
}
