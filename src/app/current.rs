//! The configuration that is in force: its sources and tenants, with numbers that a reload leaves as
//! they are.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use super::pods::Pods;
use super::sources::{OfPods, Source, Sources};
use crate::checkpoint::Demoted;
use crate::config::{self, Api, Config};
use crate::model::{SourceId, TenantId};
use crate::parse::{Guard, Plan};
use crate::push::StructuredMetadata;

/// What a reload replaces as a whole.
///
/// A source and a tenant keep their number as long as the process runs, so that what is open, read
/// or on its way goes on: one that is not in the configuration any more keeps its place, and has it
/// again when its name comes back.
#[derive(Debug, Clone)]
pub struct Setup {
    /// Every source, by [`SourceId`]; one that was taken away as it was last.
    pub sources: Sources,
    /// What the configuration says of each; `None` of one that was taken away.
    pub(super) configured: Vec<Option<Arc<config::Source>>>,
    /// The numbers of those that are configured, in the order of the configuration.
    pub(super) order: Vec<SourceId>,
    /// Every tenant, by [`TenantId`].
    pub tenants: Arc<[Option<String>]>,
    /// Whether structured metadata is sent.
    pub(super) metadata: bool,
    /// What the API of Kubernetes says of pods.
    pub(super) pods: Arc<Pods>,
}

impl Setup {
    /// That of a process that starts.
    pub(super) fn first(config: &Config, demoted: &[Demoted]) -> Self {
        let nothing = Self {
            sources: Arc::new([]),
            configured: vec![],
            order: vec![],
            tenants: Arc::new([]),
            metadata: false,
            pods: Arc::default(),
        };
        nothing.next(config, demoted)
    }

    /// With another configuration. Sources of which it says the same stay as they are.
    pub(super) fn next(&self, config: &Config, demoted: &[Demoted]) -> Self {
        let mut tenants = self.tenants.to_vec();
        for tenant in config.tenants() {
            if !tenants.contains(&tenant) {
                tenants.push(tenant);
            }
        }
        let mut sources = self.sources.to_vec();
        let (mut configured, mut order) = (vec![None; sources.len()], vec![]);
        for new in &config.sources {
            let known = sources.iter().position(|source| source.name == new.name);
            let old = known.and_then(|idx| self.configured.get(idx)?.as_deref());
            let is_same = old.is_some_and(|old| is_same(old, new));
            match known {
                Some(_) if is_same => {}
                Some(idx) => sources[idx] = Arc::new(source(new, &tenants, demoted, &self.pods)),
                None => {
                    sources.push(Arc::new(source(new, &tenants, demoted, &self.pods)));
                    configured.push(None);
                }
            }
            let idx = known.unwrap_or(sources.len() - 1);
            configured[idx] = Some(Arc::new(new.clone()));
            order.push(numbered(idx));
        }
        Self {
            sources: sources.into(),
            configured,
            order,
            tenants: tenants.into(),
            metadata: config.push.structured_metadata != StructuredMetadata::Off,
            pods: Arc::clone(&self.pods),
        }
    }

    /// Those that are configured, in the order of the configuration.
    pub(super) fn configured(&self) -> impl Iterator<Item = (SourceId, &config::Source)> {
        let of = |source: &SourceId| Some((*source, self.of(*source)?));
        self.order.iter().filter_map(of)
    }

    /// What the configuration says of a source.
    pub(super) fn of(&self, source: SourceId) -> Option<&config::Source> {
        self.configured.get(usize::from(source.0))?.as_deref()
    }

    /// The API of Kubernetes, and the node whose pods are asked for.
    pub(super) fn api(&self) -> Option<(&Api, &str)> {
        self.configured().find_map(|(_, source)| {
            let pods = source.place.pods.as_ref()?;
            Some((pods.api.as_ref()?, pods.node.as_deref()?))
        })
    }

    /// By source, what its files wait for, see [`Source::waits`].
    pub(super) fn waits(&self) -> Vec<Option<(Duration, bool)>> {
        self.sources.iter().map(|source| source.waits()).collect()
    }

    /// The names of all sources.
    pub(super) fn names(&self) -> Vec<Arc<str>> {
        self.sources.iter().map(|source| source.name.as_str().into()).collect()
    }

    /// What of the memory each tenant can always have: `share`, or nothing where no source has
    /// lines for it any more.
    pub(super) fn shares(&self, share: u64) -> Vec<u64> {
        let has_lines = |tenant: TenantId| {
            self.order.iter().any(|source| {
                self.sources[usize::from(source.0)].tenants().any(|other| other == tenant)
            })
        };
        let all = TenantId::first(self.tenants.len());
        all.map(|tenant| if has_lines(tenant) { share } else { 0 }).collect()
    }
}

/// The setup that is in force, for all that has to look now and then.
#[derive(Debug, Clone)]
pub struct Current(Arc<Mutex<Setup>>);

impl Current {
    /// Begins with this one.
    #[must_use]
    pub(super) fn new(setup: Setup) -> Self {
        Self(Arc::new(Mutex::new(setup)))
    }

    /// Of sources alone.
    #[must_use]
    pub(super) fn of(sources: Sources) -> Self {
        let configured = vec![None; sources.len()];
        let (order, tenants) = (vec![], Arc::new([]));
        let (metadata, pods) = (true, Arc::default());
        Self::new(Setup { sources, configured, order, tenants, metadata, pods })
    }

    /// All sources.
    #[must_use]
    pub fn sources(&self) -> Sources {
        Arc::clone(&self.lock().sources)
    }

    /// All tenants.
    #[must_use]
    pub fn tenants(&self) -> Arc<[Option<String>]> {
        Arc::clone(&self.lock().tenants)
    }

    pub(super) fn setup(&self) -> Setup {
        self.lock().clone()
    }

    pub(super) fn set(&self, setup: Setup) {
        *self.lock() = setup;
    }

    fn lock(&self) -> MutexGuard<'_, Setup> {
        self.0.lock().expect("BUG: a thread panicked while it held the setup")
    }
}

/// Whether nothing was changed. Where there is a key, which is not shown, it may have.
fn is_same(old: &config::Source, new: &config::Source) -> bool {
    let (old, new) = (format!("{old:?}"), format!("{new:?}"));
    old == new && !old.contains("REDACTED")
}

fn source(
    source: &config::Source,
    tenants: &[Option<String>],
    demoted: &[Demoted],
    pods: &Arc<Pods>,
) -> Source {
    let id = |name: Option<&str>| {
        let idx = tenants.iter().position(|tenant| tenant.as_deref() == name);
        TenantId(idx.and_then(|idx| u16::try_from(idx).ok()).expect("BUG: no tenant"))
    };
    let plan = Arc::new(Plan::compile(&source.parse));
    let mut guard = Guard::new(&plan);
    // A decision holds until the limit it was made by is raised.
    let demoted = demoted.iter().filter(|demoted| {
        demoted.source == source.name && source.parse.guard_values <= demoted.values_max
    });
    guard.restore(&demoted.map(|demoted| demoted.label.clone()).collect::<Vec<_>>());
    Source {
        name: source.name.clone(),
        tenant: id(source.tenant.as_deref()),
        place: source.place.clone(),
        pods: source.place.pods.as_ref().and_then(|of| of.api.as_ref()).map(|api| OfPods {
            known: Arc::clone(pods),
            options: (!api.annotations.is_empty()).then(|| source.parse.clone()),
        }),
        others: plan.tenants().iter().map(|name| id(Some(name))).collect(),
        plan,
        guard: Mutex::new(guard),
        values_max: source.parse.guard_values,
    }
}

/// The id of the source at this place of the configuration.
#[must_use]
pub(super) fn numbered(idx: usize) -> SourceId {
    SourceId(u16::try_from(idx).expect("BUG: more sources than a configuration can hold"))
}
