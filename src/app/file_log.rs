//! What the log and the metrics say about files.

use std::collections::HashSet;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tracing::{debug, error, info, warn};

use crate::model::{FileKey, Now};
use crate::tail::{Loss, News};
use crate::telemetry::{Metrics, Throttle};

/// A file that keeps failing is told about this often.
const FAILURE_EVERY: Duration = Duration::from_secs(60);

/// So many files are named in the log when they are opened.
const FILES_SAID_MAX: usize = 50;

/// Says and counts what happened to files.
#[derive(Debug)]
pub struct FileLog {
    metrics: Metrics,
    failures: Throttle<Arc<Path>>,
    /// How many were opened.
    files: usize,
    /// Open files with lines that were too old.
    old: HashSet<FileKey>,
}

impl FileLog {
    /// A log that counts into `metrics`.
    #[must_use]
    pub fn new(metrics: Metrics) -> Self {
        Self { metrics, failures: Throttle::new(FAILURE_EVERY), files: 0, old: HashSet::new() }
    }

    /// Notes one thing.
    pub fn note(&mut self, news: &News, now: Now) {
        match news {
            News::Opened { path, start, size, kin, .. } => {
                self.opened(path, start.offset.0, *size, kin.is_some());
            }
            News::NotResumed { path, saved } => warn!(
                path = %path.display(),
                saved = saved.0,
                "the file is not the one that was read before, or was truncated; reading it from \
                 the beginning",
            ),
            News::Truncated { old, .. } => {
                self.old.remove(old);
                self.metrics.truncations.inc();
                info!("a file was truncated and is read from its beginning");
            }
            News::Lost { bytes, why: Loss::Truncated, .. } => {
                self.metrics.skipped("truncated", *bytes);
                error!(
                    bytes,
                    "a file was truncated before it was read to its end, and no copy was found \
                     beside it: so many bytes are lost; rotate by renaming",
                );
            }
            News::Lost { bytes, why: Loss::Vanished, .. } => {
                self.metrics.skipped("vanished", *bytes);
                error!(
                    bytes,
                    "a file was deleted that was closed because too many were open: so many bytes \
                     are lost; raise the limit on open files",
                );
            }
            News::GivenUp { bytes, lines, .. } => {
                self.metrics.skipped("given_up", *bytes);
                self.metrics.skipped_lines("given_up", *lines);
                error!(
                    bytes,
                    lines,
                    "deleted files hold more than `deleted` allows; the oldest is given up, and \
                     so many lines of it are lost",
                );
            }
            News::Skipped { bytes, .. } => {
                self.metrics.skipped("hole", *bytes);
                info!(bytes, "skipped NULs that nobody wrote, in a file that was truncated");
            }
            News::Rotated { .. } => {
                self.metrics.rotations.inc();
            }
            News::Renamed { path, .. } => info!(path = %path.display(), "file was renamed"),
            News::Closed { file } => {
                self.old.remove(file);
                debug!(file = file.0, "file was read to its end and closed");
            }
            News::Failed { path, error, kind } => self.failed(path, error, *kind, now),
            News::Refused { path } => {
                self.metrics.file_unreadable("not_a_file");
                warn!(path = %path.display(), "not a regular file, left alone");
            }
            News::Head { .. }
            | News::NoLine { .. }
            | News::Unrotated { .. }
            | News::Deleted { .. }
            | News::Size { .. }
            | News::SetAside { .. }
            | News::Back { .. } => {}
        }
    }

    /// Lines of `file` were dropped because of their age. Said once a file.
    pub fn too_old(&mut self, file: FileKey, lines: u64, path: impl FnOnce() -> Option<Arc<Path>>) {
        if self.old.insert(file) {
            let path = path().map(|path| path.display().to_string());
            warn!(
                path,
                lines,
                "lines are older than `limits.age` and are dropped as `too_old`; loki refuses \
                 lines older than `reject_old_samples_max_age`. This is said once a file, and \
                 `skald_lines_dropped_total` counts",
            );
        }
    }

    fn opened(&mut self, path: &Path, offset: u64, size: u64, resumed: bool) {
        self.files += 1;
        let path = path.display();
        if self.files <= FILES_SAID_MAX {
            info!(%path, offset, size, resumed, "reading file");
        } else {
            debug!(%path, offset, size, resumed, "reading file");
        }
        if self.files == FILES_SAID_MAX {
            info!("further files are only told with `--log-level debug`; /files has all of them");
        }
    }

    fn failed(&mut self, path: &Arc<Path>, error: &str, kind: io::ErrorKind, now: Now) {
        let causes = [
            (io::ErrorKind::PermissionDenied, "permission"),
            (io::ErrorKind::NotFound, "not_found"),
            (io::ErrorKind::StaleNetworkFileHandle, "stale"),
        ];
        let cause = causes.iter().find(|(known, _)| *known == kind);
        self.metrics.file_unreadable(cause.map_or("io", |(_, name)| name));
        if let Some(repeats) = self.failures.pass(path, now) {
            warn!(
                path = %path.display(),
                error,
                repeats,
                "cannot read file; it is tried again, and its lines wait in it",
            );
        }
    }
}
