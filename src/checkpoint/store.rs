//! Loading and replacing the file.

use std::borrow::Borrow;
use std::io;
use std::path::{Path, PathBuf};

use super::format::{self, OtherVersion};
use super::{Demoted, SavedFile, State, VERSION};
use crate::model::Files;

const NAME: &str = "checkpoint";
pub(super) const TEMP_NAME: &str = "checkpoint.tmp";

/// What can go wrong with the state folder.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The file is there, but cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The checkpoint.
        path: PathBuf,
        /// What the disk said.
        source: io::Error,
    },
    /// Another release wrote the file.
    #[error(
        "{} has version {version}, and this skald reads version {VERSION}; run the release that \
         wrote it, or move the file away to read all files from `start`",
        path.display()
    )]
    Version {
        /// The checkpoint.
        path: PathBuf,
        /// The version it has.
        version: u32,
    },
    /// The file could not be replaced; the one before is still good.
    #[error("cannot {step} {}", path.display())]
    Save {
        /// Which step failed.
        step: &'static str,
        /// What it was done to.
        path: PathBuf,
        /// What the disk said.
        source: io::Error,
    },
    /// The state folder cannot be made or written.
    #[error("cannot write to the state folder {}", folder.display())]
    Folder {
        /// The state folder.
        folder: PathBuf,
        /// What the disk said.
        source: io::Error,
    },
    /// Another agent uses the state folder.
    #[error(
        "the state folder {} is in use by another skald{}; stop it or give this one a \
         `state_dir` of its own",
        folder.display(),
        pid.map(|pid| format!(" (process {pid})")).unwrap_or_default()
    )]
    Locked {
        /// The state folder.
        folder: PathBuf,
        /// The process that holds it, if it said so.
        pid: Option<u32>,
    },
}

/// What [`load`] found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Loaded {
    /// Everything that could be trusted.
    pub state: State,
    /// What could not, each a lowercase fragment to show. Files lost this way are read from the
    /// beginning: duplicates, never loss.
    pub damage: Vec<String>,
}

/// Reads the checkpoint in `folder`. None at all is an empty state without damage.
///
/// # Errors
/// The file cannot be read, or is of another version.
pub fn load(files: &mut impl Files, folder: &Path) -> Result<Loaded, CheckpointError> {
    let path = folder.join(NAME);
    let bytes = match files.read_all(&path) {
        Ok(bytes) => bytes,
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(Loaded::default()),
        Err(err) if err.kind() == io::ErrorKind::IsADirectory => {
            let damage = vec![format!("{} is a folder", path.display())];
            return Ok(Loaded { state: State::default(), damage });
        }
        Err(source) => return Err(CheckpointError::Read { path, source }),
    };
    match format::decode(&bytes) {
        Ok((state, damage)) => Ok(Loaded { state, damage }),
        Err(OtherVersion(version)) => Err(CheckpointError::Version { path, version }),
    }
}

/// Replaces the checkpoint in `folder`. When this returns an error, the old or the new one is
/// there, whole. Files are taken one by one as they are written.
///
/// # Errors
/// Any step fails; trying again is safe.
pub fn save(
    files: &mut impl Files,
    folder: &Path,
    saved: impl IntoIterator<Item: Borrow<SavedFile>, IntoIter: ExactSizeIterator>,
    demoted: &[Demoted],
) -> Result<(), CheckpointError> {
    let path = folder.join(NAME);
    let temp = folder.join(TEMP_NAME);
    let failed = |step, path: &Path| {
        let path = path.to_owned();
        move |source| CheckpointError::Save { step, path, source }
    };
    let mut is_begun = false;
    let put = |bytes: &[u8]| match std::mem::replace(&mut is_begun, true) {
        false => files.write(&temp, bytes),
        true => files.append(&temp, bytes),
    };
    format::encode(saved.into_iter(), demoted, put).map_err(failed("write", &temp))?;
    // Before the rename: a name must never reach the disk before the bytes it stands for.
    files.sync(&temp).map_err(failed("sync", &temp))?;
    files.rename(&temp, &path).map_err(failed("replace", &path))?;
    files.sync_folder(folder).map_err(failed("sync", folder))
}
