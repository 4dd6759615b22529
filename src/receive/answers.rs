//! Answers written beforehand: the receiver fails as it is told.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use axum::http::{HeaderName, HeaderValue};
use serde::Deserialize;

/// What happens to the next `times` pushes.
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
        }
    }
}

impl Answer {
    /// Refuses what cannot be sent.
    pub(super) fn check(&self) -> Result<(), String> {
        if let Some(status) = self.status.filter(|status| !(200..1000).contains(status)) {
            return Err(format!("status {status} is not in 200..1000"));
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
    /// Before anything was stored.
    Before,
    /// After the push was stored.
    After,
}

/// The answers to come, first in first out. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Answers(Arc<Mutex<VecDeque<Answer>>>);

impl Answers {
    /// Adds `answers` behind those that wait; an endless one makes way for them.
    pub fn add(&self, answers: impl IntoIterator<Item = Answer>) {
        let mut queue = self.queue();
        if queue.back().is_some_and(|last| last.times == 0) {
            queue.pop_back();
        }
        queue.extend(answers);
    }

    /// Back to usual answers.
    pub fn clear(&self) {
        self.queue().clear();
    }

    /// The answer for the push at hand, if one was written.
    pub(super) fn next(&self) -> Option<Answer> {
        let mut queue = self.queue();
        let first = queue.front_mut()?;
        match first.times {
            0 => Some(first.clone()),
            1 => queue.pop_front(),
            _ => {
                first.times -= 1;
                Some(first.clone())
            }
        }
    }

    fn queue(&self) -> std::sync::MutexGuard<'_, VecDeque<Answer>> {
        self.0.lock().expect("BUG: a thread panicked while it held the answers")
    }
}
