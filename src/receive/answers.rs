//! Answers written beforehand: the receiver fails as it is told.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use axum::http::{HeaderName, HeaderValue, StatusCode};
use serde::Deserialize;

use super::logql::Query;

/// What happens to the next `times` pushes that it applies to.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Answer {
    /// The status to answer with; without one the push is answered as usual.
    pub status: Option<u16>,
    /// The body to answer with.
    pub body: String,
    /// Headers to answer with.
    pub headers: BTreeMap<String, String>,
    /// Milliseconds to wait before the push is looked at.
    pub delay_ms: u64,
    /// How many pushes; 0 is all, until other answers come.
    pub times: u32,
    /// With a `status`: whether the entries are stored all the same.
    pub store: bool,
    /// Closes the connection without an answer.
    pub reset: Option<Reset>,
    /// Only pushes with this `X-Scope-OrgID`.
    pub tenant: Option<String>,
    /// Only so many pushes of a hundred, by the dice of [`Answers::seed`].
    pub percent: u8,
    /// A query, e.g. `{app="shop"} |= "poison"` or `{} |= "poison"`: refuses the entries that it
    /// finds, with `status` (400) and `body` in the text, as Loki refuses invalid entries: the
    /// others are stored.
    pub refuse: Option<String>,
}

impl Default for Answer {
    fn default() -> Self {
        Self {
            status: None,
            body: String::new(),
            headers: BTreeMap::new(),
            delay_ms: 0,
            times: 1,
            store: false,
            reset: None,
            tenant: None,
            percent: 100,
            refuse: None,
        }
    }
}

impl Answer {
    pub(super) fn status(&self) -> Option<StatusCode> {
        StatusCode::from_u16(self.status?).ok()
    }

    /// Refuses what cannot be sent.
    pub(super) fn check(&self) -> Result<(), String> {
        if let Some(status) = self.status.filter(|status| !(200..1000).contains(status)) {
            return Err(format!("status {status} is not in 200..1000"));
        }
        if let Some(Err(error)) = self.refuse.as_deref().map(Query::parse_any) {
            return Err(format!("refuse: {error}"));
        }
        for (name, value) in &self.headers {
            if name.parse::<HeaderName>().is_err() || HeaderValue::from_str(value).is_err() {
                return Err(format!("{name:?}: {value:?} is not a header"));
            }
        }
        Ok(())
    }
}

/// When the connection is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reset {
    /// After half of the body was read.
    Body,
    /// Before anything was stored.
    Before,
    /// After the push was stored.
    After,
    /// The same, and half of the status line was sent.
    Status,
}

/// The answers to come: a push gets the first that applies to it. Clones share them.
#[derive(Debug, Clone)]
pub struct Answers(Arc<Mutex<Script>>);

#[derive(Debug)]
struct Script {
    queue: VecDeque<Answer>,
    dice: fastrand::Rng,
}

impl Default for Answers {
    fn default() -> Self {
        let script = Script { queue: VecDeque::new(), dice: fastrand::Rng::with_seed(0) };
        Self(Arc::new(Mutex::new(script)))
    }
}

impl Answers {
    /// Adds `answers` behind those that wait; endless ones make way for them.
    pub fn add(&self, answers: impl IntoIterator<Item = Answer>) {
        let queue = &mut self.script().queue;
        queue.retain(|answer| answer.times > 0);
        queue.extend(answers);
    }

    /// Back to usual answers.
    pub fn clear(&self) {
        self.script().queue.clear();
    }

    /// Begins the dice of `percent` anew: the same seed and pushes give the same answers.
    pub fn seed(&self, seed: u64) {
        self.script().dice = fastrand::Rng::with_seed(seed);
    }

    /// The answer for the push of `tenant` at hand, if one was written.
    pub(super) fn next(&self, tenant: Option<&str>) -> Option<Answer> {
        let Script { queue, dice } = &mut *self.script();
        let applies = |answer: &Answer| {
            answer.tenant.as_deref().is_none_or(|only| tenant == Some(only))
                && (answer.percent >= 100 || dice.u8(0..100) < answer.percent)
        };
        let idx = queue.iter().position(applies)?;
        let answer = queue.get_mut(idx)?;
        match answer.times {
            0 => Some(answer.clone()),
            1 => queue.remove(idx),
            _ => {
                answer.times -= 1;
                Some(answer.clone())
            }
        }
    }

    fn script(&self) -> std::sync::MutexGuard<'_, Script> {
        self.0.lock().expect("BUG: a thread panicked while it held the answers")
    }
}
