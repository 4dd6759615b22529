//! How each lane's way to Loki is: for `/ready`, and for the log, which says it once for all lanes
//! of a tenant.

use std::sync::{Arc, Mutex, MutexGuard};

use tracing::{info, warn};

use crate::push::Health;

/// How each lane is.
#[derive(Debug, Default)]
pub struct Board(Mutex<Vec<Lane>>);

#[derive(Debug)]
struct Lane {
    tenant: Option<Arc<str>>,
    health: Health,
}

/// How the lanes of a tenant are together.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Together {
    Fine,
    Retrying(String),
    Holding(String),
}

impl Board {
    /// One more lane, of `tenant`; returns its number.
    #[must_use]
    pub fn add(&self, tenant: Option<&str>) -> usize {
        let mut all = self.lock();
        all.push(Lane { tenant: tenant.map(Arc::from), health: Health::Fine });
        all.len() - 1
    }

    /// All of them, with their tenants.
    #[must_use]
    pub fn all(&self) -> Vec<(Option<Arc<str>>, Health)> {
        self.lock().iter().map(|lane| (lane.tenant.clone(), lane.health.clone())).collect()
    }

    /// Notes how a lane is now, and says what that changes.
    pub(super) fn set(&self, lane: usize, health: &Health) {
        let mut all = self.lock();
        if all[lane].health != *health {
            let tenant = all[lane].tenant.clone();
            let together = |all: &[Lane]| {
                let lanes = all.iter().filter(|lane| lane.tenant == tenant);
                together(lanes.map(|lane| &lane.health))
            };
            let before = together(&all);
            all[lane].health = health.clone();
            say(tenant.as_deref(), news(&before, together(&all)));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Lane>> {
        self.0.lock().expect("BUG: a thread panicked while it held the board")
    }
}

/// The worst of them; of equals the first.
fn together<'a>(all: impl Iterator<Item = &'a Health>) -> Together {
    let mut worst = Together::Fine;
    for health in all {
        match (health, &worst) {
            (Health::Holding { why, .. }, _) => return Together::Holding(why.clone()),
            (Health::Retrying { why, .. }, Together::Fine) => {
                worst = Together::Retrying(why.clone());
            }
            (Health::Retrying { .. } | Health::Fine, _) => {}
        }
    }
    worst
}

/// What is worth saying: where trouble begins, gets worse, needs another remedy, and ends. Not what
/// each try was answered.
fn news(before: &Together, after: Together) -> Option<Together> {
    let is_news = match (before, &after) {
        (Together::Fine, Together::Fine) | (_, Together::Retrying(_)) => {
            *before == Together::Fine && after != Together::Fine
        }
        (_, Together::Fine) => true,
        (_, Together::Holding(_)) => *before != after,
    };
    is_news.then_some(after)
}

fn say(tenant: Option<&str>, news: Option<Together>) {
    match news {
        None => {}
        Some(Together::Fine) => info!(tenant, "loki takes pushes again"),
        Some(Together::Retrying(why)) => {
            warn!(tenant, why, "loki did not take a push; it is sent again until it does");
        }
        Some(Together::Holding(why)) => {
            warn!(tenant, why, "loki cannot be used as it is configured; nothing is dropped");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const F: Health = Health::Fine;

    fn retrying(why: &str, tries: u32) -> Health {
        Health::Retrying { since: Duration::ZERO, why: why.to_owned(), tries }
    }

    fn holding(why: &str) -> Health {
        Health::Holding { since: Duration::ZERO, why: why.to_owned() }
    }

    #[test]
    fn trouble_is_said_once_for_all_lanes() {
        let (r, h) = (|why| retrying(why, 1), holding);
        for (before, after, said) in [
            ([F, F], [r("503"), F], Some("503")),
            ([r("503"), F], [retrying("504", 2), F], None),
            ([r("503"), F], [r("503"), r("503")], None),
            ([r("503"), r("503")], [F, r("503")], None),
            ([F, r("503")], [F, F], Some("")),
            ([r("503"), F], [h("401"), F], Some("401")),
            ([F, F], [h("401"), F], Some("401")),
            ([h("401"), F], [h("401"), h("401")], None),
            ([h("401"), F], [h("404"), F], Some("404")),
            ([h("401"), F], [r("503"), F], None),
            ([h("401"), F], [F, F], Some("")),
        ] {
            let got =
                news(&together(before.iter()), together(after.iter())).map(|news| match news {
                    Together::Fine => String::new(),
                    Together::Retrying(why) | Together::Holding(why) => why,
                });
            assert_eq!(got.as_deref(), said, "{before:?} {after:?}");
        }
    }
}
