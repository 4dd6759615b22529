//! What a line says to a metric.

use super::{Run, Source};
use crate::model::{LineMetricKind, Observation};

/// A compiled `rule::Metric`.
#[derive(Debug)]
pub(in crate::parse) struct Observe {
    /// Its number in `Plan::metrics`.
    pub(super) metric: usize,
    /// How much; `None` is one.
    pub(super) value: Option<Source>,
    /// Where the values of its labels are.
    pub(super) by: Vec<Source>,
}

impl Observe {
    /// Nothing, if the line has no such number.
    pub(super) fn read(&self, run: &Run<'_>) -> Option<Observation> {
        let value = match self.value {
            Some(source) => run.number(source)?,
            None => 1.0,
        };
        let is_counter = run.plan.metrics[self.metric].kind == LineMetricKind::Counter;
        if !value.is_finite() || is_counter && value < 0.0 {
            return None;
        }
        let text = |source: &Source| run.source(*source).unwrap_or_default().to_owned();
        let labels = self.by.iter().map(text).collect();
        Some(Observation { metric: self.metric, value, labels })
    }
}
