//! Small files that may change while the agent runs: credentials and certificates.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use secrecy::{ExposeSecret as _, SecretString};

use super::{Auth, Options, Secret};

/// Notices that one of a set of files has changed, by size and modification time.
#[derive(Debug)]
pub(super) struct Watch {
    files: Vec<(PathBuf, Option<Seen>)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen {
    len: u64,
    modified: Option<SystemTime>,
}

impl Watch {
    pub(super) fn new(paths: impl IntoIterator<Item = PathBuf>) -> Self {
        Self { files: paths.into_iter().map(|path| (path, None)).collect() }
    }

    /// Whether any of the files is not as it was the last time. A file that cannot be looked at
    /// counts as a state of its own.
    pub(super) fn changed(&mut self) -> bool {
        let mut changed = false;
        for (path, seen) in &mut self.files {
            let now = fs_err::metadata(&*path)
                .map(|stat| Seen { len: stat.len(), modified: stat.modified().ok() })
                .ok();
            changed |= *seen != now;
            *seen = now;
        }
        changed
    }
}

/// The files that the client is built from.
pub(super) fn tls_files(options: &Options) -> impl Iterator<Item = PathBuf> {
    let tls = &options.tls;
    [&tls.ca_file, &tls.cert_file, &tls.key_file].into_iter().flatten().cloned()
}

/// The file with the password or token, if it is in one.
pub(super) fn secret_file(auth: &Auth) -> Option<&Path> {
    match auth {
        Auth::Basic { password: Secret::File(path), .. } | Auth::Bearer(Secret::File(path)) => {
            Some(path)
        }
        Auth::None | Auth::Basic { .. } | Auth::Bearer(_) => None,
    }
}

/// Reads the password or token as it is now. The error names the file and shows nothing of it.
pub(super) fn read_secret(auth: &Auth) -> Result<Option<SecretString>, String> {
    let path = match auth {
        Auth::None => return Ok(None),
        Auth::Basic { password: Secret::Value(secret), .. }
        | Auth::Bearer(Secret::Value(secret)) => {
            return Ok(Some(secret.clone()));
        }
        Auth::Basic { password: Secret::File(path), .. } | Auth::Bearer(Secret::File(path)) => path,
    };
    let text = fs_err::read_to_string(path).map_err(|err| chain(&err))?;
    let secret = SecretString::from(text.trim_end_matches(['\r', '\n']));
    match secret.expose_secret() {
        "" => Err(format!("{} is empty", path.display())),
        text if text.contains(char::is_control) => {
            Err(format!("{} holds more than one line, or control characters", path.display()))
        }
        _ => Ok(Some(secret)),
    }
}

/// An error with its causes on one line, each said once.
#[must_use]
pub fn chain(err: &dyn std::error::Error) -> String {
    let mut text = err.to_string();
    let mut source = err.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}
