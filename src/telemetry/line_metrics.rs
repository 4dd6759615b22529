//! Metrics that rules make of lines: under names that users give, with as many series as they allow.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use tracing::warn;

use crate::model::{LineMetric, LineMetricKind};

/// The value of all labels of the series that stands for those that are too many.
const OTHER: &str = "other";

type Labels = Vec<(String, String)>;

/// Makes the histograms of one metric.
#[derive(Debug, Clone)]
struct Bounds(Vec<f64>);

impl MetricConstructor<Histogram> for Bounds {
    fn new_metric(&self) -> Histogram {
        Histogram::new(self.0.iter().copied())
    }
}

/// All of them, by name.
#[derive(Default)]
pub(super) struct LineMetrics {
    pub(super) registry: Registry,
    known: HashMap<String, Observer>,
}

/// One metric. Clones share its series.
#[derive(Debug, Clone)]
pub struct Observer(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    metric: LineMetric,
    series: Series,
    known: Mutex<HashSet<Vec<String>>>,
}

#[derive(Debug)]
enum Series {
    Counter(Family<Labels, Counter<f64, AtomicU64>>),
    Gauge(Family<Labels, Gauge<f64, AtomicU64>>),
    Histogram(Family<Labels, Histogram, Bounds>),
}

impl LineMetrics {
    /// The metric of that name. All rules that name it say the same of it.
    pub(super) fn get(&mut self, metric: &LineMetric) -> Observer {
        let Self { registry, known } = self;
        let make = || {
            let series = Series::new(&metric.kind);
            series.register(registry, metric);
            let (metric, known) = (metric.clone(), Mutex::default());
            Observer(Arc::new(Shared { metric, series, known }))
        };
        known.entry(metric.name.clone()).or_insert_with(make).clone()
    }
}

impl LineMetrics {
    /// Whether `metric` is new, or the same as the one of its name.
    pub(super) fn check(&self, metric: &LineMetric) -> Result<(), String> {
        match self.known.get(&metric.name) {
            Some(known) if known.0.metric != *metric => {
                let name = &metric.name;
                Err(format!(
                    "the metric `{name}` is there with another meaning: name it anew, or restart"
                ))
            }
            Some(_) | None => Ok(()),
        }
    }
}

impl Series {
    fn new(kind: &LineMetricKind) -> Self {
        match kind {
            LineMetricKind::Counter => Self::Counter(Family::default()),
            LineMetricKind::Gauge => Self::Gauge(Family::default()),
            LineMetricKind::Histogram(bounds) => {
                Self::Histogram(Family::new_with_constructor(Bounds(bounds.clone())))
            }
        }
    }

    fn register(&self, registry: &mut Registry, metric: &LineMetric) {
        let (name, help) = (metric.name.as_str(), metric.help.as_str());
        match self {
            // The page adds it again.
            Self::Counter(family) => {
                let name = name.strip_suffix("_total").unwrap_or(name);
                registry.register(name, help, family.clone());
            }
            Self::Gauge(family) => registry.register(name, help, family.clone()),
            Self::Histogram(family) => registry.register(name, help, family.clone()),
        }
    }
}

impl Observer {
    /// A line has said `value`, of the series with these values of its labels; a new one beyond the
    /// bound is called "other".
    pub fn observe(&self, value: f64, labels: Vec<String>) {
        let Shared { metric, series, .. } = &*self.0;
        let values = self.bounded(labels);
        let labels: Labels = metric.labels.iter().cloned().zip(values).collect();
        match series {
            Series::Counter(family) => {
                family.get_or_create(&labels).inc_by(value);
            }
            Series::Gauge(family) => {
                family.get_or_create(&labels).set(value);
            }
            Series::Histogram(family) => family.get_or_create(&labels).observe(value),
        }
    }

    fn bounded(&self, labels: Vec<String>) -> Vec<String> {
        let Shared { metric, known, .. } = &*self.0;
        let mut known = known.lock().expect("BUG: a thread panicked while it held a metric");
        let series_max = usize::try_from(metric.series_max).unwrap_or(usize::MAX);
        if known.len() < series_max || known.contains(&labels) {
            known.insert(labels.clone());
            return labels;
        }
        let other: Vec<String> = labels.iter().map(|_| OTHER.to_owned()).collect();
        if known.insert(other.clone()) {
            warn!(
                metric = metric.name,
                series_max,
                example = ?labels,
                "a metric of the rules has too many series; more are counted as one whose labels \
                 are \"other\"",
            );
        }
        other
    }
}

#[cfg(test)]
mod tests {
    use super::super::Metrics;
    use crate::model::{LineMetric, LineMetricKind};

    fn metric(name: &str, kind: LineMetricKind) -> LineMetric {
        let labels = vec!["method".to_owned()];
        LineMetric {
            name: name.to_owned(),
            help: "Of a rule".to_owned(),
            kind,
            labels,
            series_max: 2,
        }
    }

    #[test]
    fn what_lines_say_is_on_the_page() {
        let metrics = Metrics::new();
        let observe = |metric: &LineMetric, values: &[(f64, &str)]| {
            for (value, method) in values {
                metrics.line_metric(metric).observe(*value, vec![(*method).to_owned()]);
            }
        };
        let counter = metric("requests_total", LineMetricKind::Counter);
        observe(&counter, &[(1.0, "GET"), (1.0, "PUT"), (2.5, "GET"), (1.0, "A"), (1.0, "B")]);
        observe(&metric("queue", LineMetricKind::Gauge), &[(3.0, "GET"), (-1.5, "GET")]);
        let bounds = LineMetricKind::Histogram(vec![0.1, 1.0]);
        observe(&metric("seconds", bounds), &[(0.05, "GET"), (0.5, "GET"), (7.0, "GET")]);
        let page = metrics.encode();
        let lines: Vec<&str> = page.lines().filter(|line| !line.contains("skald_")).collect();
        let mut lines = lines.into_iter().filter(|line| !line.starts_with('#')).collect::<Vec<_>>();
        lines.sort_unstable();
        let expected = [
            "queue{method=\"GET\"} -1.5",
            "requests_total{method=\"GET\"} 3.5",
            "requests_total{method=\"PUT\"} 1.0",
            "requests_total{method=\"other\"} 2.0",
            "seconds_bucket{le=\"+Inf\",method=\"GET\"} 3",
            "seconds_bucket{le=\"0.1\",method=\"GET\"} 1",
            "seconds_bucket{le=\"1.0\",method=\"GET\"} 2",
            "seconds_count{method=\"GET\"} 3",
            "seconds_sum{method=\"GET\"} 7.55",
        ];
        assert_eq!(lines, expected);
        assert!(page.ends_with("# EOF\n") && page.matches("# EOF").count() == 1, "{page}");
    }
}
