//! A folder with logs and state, a receiver, and agents between them.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::metrics::{adds_up, page};
use super::{Loki, Metrics, Sent, Skald, address, eventually, skald, within};

/// How old the last checkpoint can be, its second and what a busy machine adds.
const SAVED_WITHIN: Duration = Duration::from_secs(2);

pub(crate) struct Bed {
    folder: TempDir,
    pub(crate) loki: Loki,
    /// Where agents serve their pages.
    pub(crate) admin: SocketAddr,
    /// Where agents push, if it is not the receiver.
    pub(crate) url: Option<String>,
    /// How long a refused push waits.
    pub(crate) retry: String,
    /// More lines of YAML under `loki:`.
    pub(crate) loki_yaml: String,
    /// More lines of YAML at the top.
    pub(crate) top: String,
    /// More lines of YAML in the source.
    pub(crate) source: String,
    /// The source's globs, below `logs`.
    pub(crate) glob: String,
}

impl Bed {
    pub(crate) fn new() -> Self {
        Self::at(Loki::start())
    }

    pub(crate) fn at(loki: Loki) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs_err::create_dir(folder.path().join("logs")).unwrap();
        Self {
            folder,
            loki,
            admin: address(9464),
            url: None,
            retry: "{delay_min: 20ms, delay_max: 200ms}".to_owned(),
            loki_yaml: String::new(),
            top: String::new(),
            source: String::new(),
            glob: "**/*.log".to_owned(),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A path below `logs`.
    pub(crate) fn log(&self, name: &str) -> PathBuf {
        self.folder.path().join("logs").join(name)
    }

    pub(crate) fn state(&self, name: &str) -> PathBuf {
        self.folder.path().join("state").join(name)
    }

    /// Appends to a file below `logs`, which is made with its folders if need be.
    pub(crate) fn append(&self, name: &str, text: impl AsRef<[u8]>) {
        append(&self.log(name), text.as_ref());
    }

    /// Writes the configuration and returns its path.
    pub(crate) fn config(&self) -> PathBuf {
        let url = self.url.clone().unwrap_or_else(|| self.loki.url());
        let (state, logs) = (self.path("state"), self.path("logs"));
        let text = format!(
            "loki:\n  url: {url}\n{}\n\
             state_dir: {}\n\
             admin: {{listen: \"{}\"}}\n\
             batch: {{age_max: 50ms}}\n\
             retry: {}\n{}\n\
             sources:\n  - name: t\n    files: [\"{}/{}\"]\n    labels: {{app: t}}\n{}\n",
            self.loki_yaml,
            state.display(),
            self.admin,
            self.retry,
            self.top,
            logs.display(),
            self.glob,
            self.source,
        );
        let path = self.path("skald.yaml");
        fs_err::write(&path, text).unwrap();
        path
    }

    /// `skald run -c` of this bed.
    pub(crate) fn command(&self) -> Command {
        let mut command = skald();
        command.arg("run").arg("-c").arg(self.config());
        command
    }

    pub(crate) fn spawn(&self) -> Skald {
        Skald::spawn(&mut self.command())
    }

    /// An agent that hears signals, or has ended.
    pub(crate) fn run(&self) -> Skald {
        let mut skald = self.spawn();
        eventually("the start", || skald.err().contains("skald starts") || !skald.is_running());
        skald
    }

    /// An agent that is killed after this time. Returns what it said, and how many copies came
    /// since its last checkpoint: at most so many lines come again.
    pub(crate) fn kill_after(&self, lives: Duration) -> (String, u64) {
        let skald = self.spawn();
        let start = Instant::now();
        let mut seen = vec![(start, self.loki.copies())];
        within(lives, || {
            seen.push((Instant::now(), self.loki.copies()));
            false
        });
        let err = skald.kill();
        let since = Instant::now().checked_sub(SAVED_WITHIN).unwrap_or(start);
        let saved = seen.iter().rev().find(|(at, _)| *at < since).unwrap_or(&seen[0]).1;
        (err, (self.loki.copies() - saved) as u64)
    }

    pub(crate) fn metrics(&self) -> Metrics {
        Metrics::read(self.admin)
    }

    /// Status and body of an admin page.
    pub(crate) fn page(&self, path: &str) -> Option<(u16, String)> {
        page(self.admin, path)
    }

    /// Waits until the agent's counters agree with each other.
    #[track_caller]
    pub(crate) fn adds_up(&self) -> Metrics {
        adds_up(self.admin)
    }

    /// Waits until every line has arrived.
    #[track_caller]
    pub(crate) fn wait_for(&self, sent: &Sent) {
        let mut copies = 0;
        eventually("every line", || {
            // The cheap question first.
            let before = std::mem::replace(&mut copies, self.loki.copies());
            before != copies && sent.arrived(self.loki.store()) == sent.count()
        });
    }

    /// Waits until the agent has read and settled all of `files` files.
    #[track_caller]
    pub(crate) fn wait_until_idle(&self, files: usize) {
        let is_settled = |file: &serde_json::Value| file["settled"] == file["size"];
        eventually("all files settled", || {
            let Some((200, text)) = self.page("/files") else { return false };
            let all: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
            all.len() == files && all.iter().all(is_settled)
        });
    }
}

pub(crate) fn append(path: &Path, text: &[u8]) {
    fs_err::create_dir_all(path.parent().unwrap()).unwrap();
    let mut file = fs_err::OpenOptions::new().create(true).append(true).open(path).unwrap();
    file.write_all(text).unwrap();
}
