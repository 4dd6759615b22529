//! Metrics that rules make of lines.

/// What one metric is.
#[derive(Debug, Clone, PartialEq)]
pub struct LineMetric {
    /// The name on the metrics page; a counter's ends in `_total` there.
    pub name: String,
    /// What it says there.
    pub help: String,
    /// The kind.
    pub kind: LineMetricKind,
    /// The names of its labels.
    pub labels: Vec<String>,
    /// Most series that it may have.
    pub series_max: u32,
}

/// The kinds of metrics that rules can make.
#[derive(Debug, Clone, PartialEq)]
pub enum LineMetricKind {
    /// Only grows: by one, or by a value of 0 or more.
    Counter,
    /// The last value.
    Gauge,
    /// How often values were up to each of these bounds, which grow.
    Histogram(Vec<f64>),
}

/// What one line says to a metric.
#[derive(Debug, Clone, PartialEq)]
pub struct Observation {
    /// Which, by place in `Plan::metrics`.
    pub metric: usize,
    /// How much.
    pub value: f64,
    /// Of each of its labels; empty where the line does not say.
    pub labels: Vec<String>,
}
