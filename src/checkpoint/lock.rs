//! One agent per state folder.

use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use fs_err::{File, OpenOptions};
use rustix::fs::{FlockOperation, flock};

use super::CheckpointError;
use super::store::TEMP_NAME;

const NAME: &str = "lock";

/// Longest text that is read from the lock file: a process id.
const PID_BYTES_MAX: u64 = 16;

/// The state folder is ours while this value lives; the kernel gives it back however we end.
#[derive(Debug)]
#[must_use = "dropping the lock lets another agent in"]
pub struct Lock {
    /// The kernel's lock goes with this descriptor. The file stays: removing it would let two
    /// agents lock two files of one name.
    _file: File,
}

/// Makes `folder` (mode 0700) if needed, takes its lock and proves that it can be written.
///
/// # Errors
/// The folder cannot be made or written, or another agent has the lock.
pub fn lock(folder: &Path) -> Result<Lock, CheckpointError> {
    let failed = |source| CheckpointError::Folder { folder: folder.to_owned(), source };
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    options.options_mut().mode(0o600);
    let mut file = options.open(folder.join(NAME)).map_err(failed)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => {
            let pid = read_pid(&file);
            return Err(CheckpointError::Locked { folder: folder.to_owned(), pid });
        }
        Err(err) => return Err(failed(err.into())),
    }
    write_pid(&mut file).map_err(failed)?;
    probe(folder).map_err(failed)?;
    Ok(Lock { _file: file })
}

fn read_pid(file: &File) -> Option<u32> {
    let mut text = String::new();
    file.take(PID_BYTES_MAX).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

fn write_pid(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    writeln!(file, "{}", std::process::id())
}

/// A lock file that is already there says nothing about making new files.
fn probe(folder: &Path) -> io::Result<()> {
    let path = folder.join(TEMP_NAME);
    drop(File::create(&path)?);
    fs_err::remove_file(path)
}
