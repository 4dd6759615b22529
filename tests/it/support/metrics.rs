//! The admin pages, read as a plain client does.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::eventually;

/// One reading of `/metrics`.
#[derive(Debug, Default)]
pub(crate) struct Metrics(BTreeMap<String, f64>);

/// Status and body of a page; `None` when nobody answers.
pub(crate) fn page(admin: SocketAddr, path: &str) -> Option<(u16, String)> {
    ask(admin, "GET", path)
}

/// As [`page`], with another method.
pub(crate) fn ask(admin: SocketAddr, method: &str, path: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(admin).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let head = "Host: skald\r\nConnection: close\r\n\r\n";
    write!(stream, "{method} {path} HTTP/1.1\r\n{head}").ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, body.to_owned()))
}

impl Metrics {
    pub(crate) fn read(admin: SocketAddr) -> Self {
        let Some((200, text)) = page(admin, "/metrics") else { return Self::default() };
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let pair = |line: &str| {
            let (name, value) = line.rsplit_once(' ')?;
            Some((name.strip_prefix("skald_")?.to_owned(), value.parse().ok()?))
        };
        Self(lines.filter_map(pair).collect())
    }

    /// One series, by its name without prefix, e.g. `lines_dropped_total{reason="too_old"}`; 0
    /// when there is none.
    pub(crate) fn get(&self, series: &str) -> u64 {
        whole(self.0.get(series).copied().unwrap_or(0.0))
    }

    /// All series of one name.
    pub(crate) fn sum(&self, name: &str) -> u64 {
        let named = |(series, _): &(&String, &f64)| series.split('{').next() == Some(name);
        whole(self.0.iter().filter(named).map(|(_, value)| value).sum())
    }

    pub(crate) fn dropped(&self, reason: &str) -> u64 {
        self.get(&format!("lines_dropped_total{{reason=\"{reason}\"}}"))
    }

    pub(crate) fn flagged(&self, flag: &str) -> u64 {
        self.get(&format!("lines_flagged_total{{flag=\"{flag}\"}}"))
    }

    /// What was read is what was delivered, dropped, or is in flight; lines and bytes.
    pub(crate) fn adds_up(&self) -> bool {
        ["lines", "bytes"].iter().all(|what| {
            let sum = |name: &str| self.sum(&format!("{what}_{name}"));
            let out = sum("delivered_total") + sum("dropped_total") + sum("in_flight");
            sum("read_total") == out && sum("read_total") != 0
        })
    }
}

/// Waits until the agent at `admin` has everything that it has read accounted for. Counters are
/// read one after the other, so a busy agent's may differ for a moment.
#[track_caller]
pub(crate) fn adds_up(admin: SocketAddr) -> Metrics {
    let mut metrics = Metrics::default();
    eventually("read = delivered + dropped + in flight", || {
        metrics = Metrics::read(admin);
        metrics.adds_up()
    });
    metrics
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts")]
fn whole(value: f64) -> u64 {
    value as u64
}
