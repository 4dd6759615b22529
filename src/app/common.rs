//! What every part of the agent may look at.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::board::Board;
use super::clock::Clock;
use super::current::Current;
use super::pulse::Pulses;
use super::registry::Registry;
use crate::model::{Now, Pool};
use crate::push::Health;
use crate::telemetry::Metrics;

/// How long a lane has been in trouble before `/ready` says so.
const TROUBLE_AFTER: Duration = Duration::from_secs(60);

/// What every part of the agent may look at.
#[derive(Debug, Clone)]
pub struct Common {
    /// Reads the time.
    pub clock: Clock,
    /// Every file.
    pub registry: Arc<Registry>,
    /// Every source and tenant.
    pub current: Current,
    /// An input that is no file could not be read to its end.
    pub input_failed: Arc<AtomicBool>,
    /// The memory budget.
    pub pool: Pool,
    /// All counters.
    pub metrics: Metrics,
    pub(super) health: Arc<Board>,
    pub(super) pulses: Arc<Pulses>,
}

impl Common {
    /// Why `/ready` says no; empty when it says yes.
    #[must_use]
    pub fn not_ready(&self, now: Now) -> Vec<String> {
        let reason = |(tenant, health): (Option<Arc<str>>, Health)| {
            let trouble = trouble(&health, now)?;
            Some(match tenant {
                Some(tenant) => format!("tenant {tenant}: {trouble}"),
                None => trouble,
            })
        };
        let mut reasons: Vec<String> = self.health.all().into_iter().filter_map(reason).collect();
        reasons.sort();
        reasons.dedup();
        reasons
    }

    /// Every tenant that has a lane, and whether its pushes get through; "" is none.
    #[must_use]
    pub fn tenants_ready(&self, now: Now) -> BTreeMap<String, bool> {
        let mut ready = BTreeMap::new();
        for (tenant, health) in self.health.all() {
            let name = tenant.as_deref().unwrap_or_default().to_owned();
            *ready.entry(name).or_insert(true) &= trouble(&health, now).is_none();
        }
        ready
    }

    /// Which threads have not been heard of lately.
    #[must_use]
    pub fn not_healthy(&self, now: Now) -> Vec<String> {
        self.pulses.silent(now)
    }

    pub(super) fn is_holding(&self) -> bool {
        self.health.all().iter().any(|(_, health)| matches!(health, Health::Holding { .. }))
    }
}

/// What is wrong with the way to Loki, if it has lasted.
fn trouble(health: &Health, now: Now) -> Option<String> {
    match health {
        Health::Holding { why, .. } => Some(format!("loki refuses pushes: {why}")),
        Health::Retrying { since, why, .. } if TROUBLE_AFTER <= now.mono.saturating_sub(*since) => {
            Some(format!("loki does not answer: {why}"))
        }
        Health::Fine | Health::Retrying { .. } => None,
    }
}
