//! The sources as the pipelines see them, and the ways of their lines.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use super::pods::Pods;
use crate::batch::Base;
use crate::checkpoint::Demoted;
use crate::config::Place;
use crate::model::{SourceId, TenantId};
use crate::parse::{self, Guard, Plan};
use crate::telemetry::{Metrics, Observer};

/// Every source, by [`SourceId`].
pub type Sources = Arc<[Arc<Source>]>;

/// A source as the pipelines see it, shared by all workers.
#[derive(Debug)]
pub struct Source {
    /// Its name, for messages and the checkpoint.
    pub name: String,
    /// Whose lines they are.
    pub tenant: TenantId,
    /// The tenants that its rules name, as `Plan::tenants` has them.
    pub others: Vec<TenantId>,
    /// What the paths of its files say.
    pub place: Place,
    /// What the API of Kubernetes says of them.
    pub pods: Option<OfPods>,
    /// Its compiled rules.
    pub plan: Arc<Plan>,
    /// Counts the values of its labels.
    pub guard: Mutex<Guard>,
    /// The `guard.values_max` it counts by.
    pub values_max: u32,
}

/// What a source knows of pods.
#[derive(Debug)]
pub struct OfPods {
    /// All that is known.
    pub known: Arc<Pods>,
    /// What the source's plan was compiled from, if pods may have other plans.
    pub options: Option<parse::Options>,
}

impl Source {
    /// Whether pods may ask for something.
    pub(super) fn may_be_asked(&self) -> bool {
        self.pods.as_ref().is_some_and(|pods| pods.options.is_some())
    }

    /// Whose lines it may have.
    pub fn tenants(&self) -> impl Iterator<Item = TenantId> {
        std::iter::once(self.tenant).chain(self.others.iter().copied())
    }

    /// How long the first line of a pod waits for what the API says of it, and whether that has to
    /// be of the node as well; `None` when no rule asks for any of it.
    pub(super) fn waits(&self) -> Option<(Duration, bool)> {
        let api = self.place.pods.as_ref()?.api.as_ref()?;
        let asks = |prefix| self.plan.asks_for(prefix);
        let needs_node = asks("node_label.");
        let needs_pod = asks("pod_") || asks("owner") || self.may_be_asked();
        (needs_node || needs_pod).then_some((api.wait, needs_node))
    }

    /// The labels that its guard has moved.
    pub(super) fn demoted(&self) -> Vec<Demoted> {
        let labels = self.guard().demoted().into_iter();
        let demoted =
            |label| Demoted { source: self.name.clone(), label, values_max: self.values_max };
        labels.map(demoted).collect()
    }

    /// The guard, locked.
    pub fn guard(&self) -> MutexGuard<'_, Guard> {
        self.guard.lock().expect("BUG: a thread panicked while it held a guard")
    }
}

/// The labels of a plan's streams, as batches want them.
#[must_use]
pub fn base(plan: &Plan, tenant: TenantId) -> Base {
    Base { tenant, labels: plan.base_labels().to_vec(), names: plan.label_names().to_vec() }
}

/// The way of the lines of one source and tenant.
#[derive(Debug, Clone, Copy)]
pub(super) struct Route {
    pub(super) tenant: TenantId,
    /// What batches call the source: its own number, or one behind those of all sources.
    pub(super) base: SourceId,
}

/// By source, the ways of its lines: that of its own tenant, and of those that its rules name. And
/// by the number they have in batches, the labels of their streams.
pub(super) fn routes(sources: &[Arc<Source>]) -> (Vec<Vec<Route>>, Vec<Base>) {
    let mut bases: Vec<Base> =
        sources.iter().map(|source| base(&source.plan, source.tenant)).collect();
    let numbered = |idx: usize| SourceId(u16::try_from(idx).expect("BUG: too many tenants"));
    let mut routes = Vec::with_capacity(sources.len());
    for (idx, source) in sources.iter().enumerate() {
        let mut ways = vec![Route { tenant: source.tenant, base: numbered(idx) }];
        for tenant in &source.others {
            ways.push(Route { tenant: *tenant, base: numbered(bases.len()) });
            bases.push(base(&source.plan, *tenant));
        }
        routes.push(ways);
    }
    (routes, bases)
}

/// The metrics of the rules of `source`, by place in `Plan::metrics`.
pub(super) fn observers(source: &Source, metrics: &Metrics) -> Vec<Observer> {
    source.plan.metrics().iter().map(|metric| metrics.line_metric(metric)).collect()
}
