//! How each lane's way to Loki is: for `/ready`, and for the log, which says it once for all lanes.

use std::sync::{Mutex, MutexGuard};

use tracing::{info, warn};

use crate::push::Health;

/// How each lane is.
#[derive(Debug, Default)]
pub struct Board(Mutex<Vec<Health>>);

/// How the lanes are together.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Together {
    Fine,
    Retrying(String),
    Holding(String),
}

impl Board {
    /// One more lane; returns its number.
    #[must_use]
    pub fn add(&self) -> usize {
        let mut all = self.lock();
        all.push(Health::Fine);
        all.len() - 1
    }

    /// All of them.
    #[must_use]
    pub fn all(&self) -> Vec<Health> {
        self.lock().clone()
    }

    /// Notes how a lane is now, and says what that changes.
    pub(super) fn set(&self, lane: usize, health: &Health) {
        let mut all = self.lock();
        if all[lane] != *health {
            let before = together(&all);
            all[lane] = health.clone();
            say(news(&before, together(&all)));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Health>> {
        self.0.lock().expect("BUG: a thread panicked while it held the board")
    }
}

/// The worst of them; of equals the first.
fn together(all: &[Health]) -> Together {
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

fn say(news: Option<Together>) {
    match news {
        None => {}
        Some(Together::Fine) => info!("loki takes pushes again"),
        Some(Together::Retrying(why)) => {
            warn!(why, "loki did not take a push; it is sent again until it does");
        }
        Some(Together::Holding(why)) => {
            warn!(why, "loki cannot be used as it is configured; nothing is dropped");
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
            let got = news(&together(&before), together(&after)).map(|news| match news {
                Together::Fine => String::new(),
                Together::Retrying(why) | Together::Holding(why) => why,
            });
            assert_eq!(got.as_deref(), said, "{before:?} {after:?}");
        }
    }
}
