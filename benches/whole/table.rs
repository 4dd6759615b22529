//! Figures of many runs, and the table of their medians.

use std::fmt::Write as _;

/// Figures of one run, by column.
#[derive(Debug, Default, Clone)]
pub(crate) struct Figures(Vec<(&'static str, f64)>);

impl Figures {
    pub(crate) fn add(&mut self, column: &'static str, value: f64) {
        self.0.push((column, value));
    }

    /// Each of these by its like.
    pub(crate) fn divided_by(&self, other: &Self) -> Self {
        Self(self.0.iter().map(|(name, value)| (*name, value / other.get(name))).collect())
    }

    /// Not a number, if there is none.
    pub(crate) fn get(&self, column: &str) -> f64 {
        self.0.iter().find(|(name, _)| *name == column).map_or(f64::NAN, |(_, value)| *value)
    }
}

/// A row: a workload and its runs.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) runs: Vec<Figures>,
}

/// Least, median and greatest.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spread {
    pub(crate) min: f64,
    pub(crate) median: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// None without a value.
    pub(crate) fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let half = values.len() / 2;
        let median = match values.len() % 2 {
            1 => *values.get(half)?,
            _ => f64::midpoint(*values.get(half.wrapping_sub(1))?, *values.get(half)?),
        };
        Some(Self { min: *values.first()?, median, max: *values.last()? })
    }
}

/// `median (min..max)`
impl std::fmt::Display for Spread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { min, median, max } = *self;
        let digits = match median.abs() {
            0.0..10.0 => 2,
            10.0..100.0 => 1,
            _ => 0,
        };
        write!(f, "{median:.digits$}")?;
        let is_one = format!("{min:.digits$}") == format!("{max:.digits$}");
        if is_one { Ok(()) } else { write!(f, " ({min:.digits$}..{max:.digits$})") }
    }
}

/// Rows in Markdown, with the columns of any of them.
pub(crate) fn table(rows: &[Row]) -> String {
    let mut columns: Vec<&str> = Vec::new();
    for (name, _) in rows.iter().flat_map(|row| &row.runs).flat_map(|run| &run.0) {
        if !columns.contains(name) {
            columns.push(name);
        }
    }
    let mut text = format!("| workload | {} |\n", columns.join(" | "));
    let _ = writeln!(text, "| --- |{}", " ---: |".repeat(columns.len()));
    for row in rows {
        let cells = columns.iter().map(|column| {
            let values = row.runs.iter().map(|run| run.get(column));
            let spread = Spread::of(values.filter(|value| !value.is_nan()).collect());
            spread.map_or(String::new(), |spread| spread.to_string())
        });
        let _ = writeln!(text, "| {} | {} |", row.name, cells.collect::<Vec<_>>().join(" | "));
    }
    text
}
