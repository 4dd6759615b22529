//! The seam to the disk: log files are read and the checkpoint is replaced through it. There are
//! two implementations, the real one (`app/files.rs`) and the simulator's (`tests/sim`).

use std::io;
use std::path::Path;

use super::{MaybeNanos, UnixNanos};

/// What tells one file from another, whatever its path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Identity {
    /// Device number. May change at a reboot or remount.
    pub device: u64,
    /// Inode number. Is used again after a file was deleted.
    pub inode: u64,
    /// Birth time, where the file system keeps one.
    pub birth: MaybeNanos,
}

impl Identity {
    /// Device and inode number: which file it is for as long as it exists.
    #[must_use]
    pub fn inode(&self) -> (u64, u64) {
        (self.device, self.inode)
    }
}

/// Whether [`Files::open`] presents a file of this name as what it was before it was compressed.
#[must_use]
pub fn is_compressed(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "gz")
}

/// What kind of thing a path names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A regular file, the only kind that is read.
    File,
    /// A folder.
    Folder,
    /// A FIFO, socket or device.
    Other,
}

/// What `fstat` or `stat` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileStat {
    /// Which file it is.
    pub identity: Identity,
    /// Its size in bytes.
    pub size: u64,
    /// How many names it has; 0 when it was deleted.
    pub links: u64,
    /// When its content was last changed.
    pub modified: UnixNanos,
    /// What it is.
    pub kind: Kind,
}

/// The disk, as far as `tail` and `checkpoint` need it.
pub trait Files {
    /// An open log file.
    type File;

    /// Opens a log file for reading, without waiting (a FIFO must not block) and without changing
    /// its access time where that is possible. One whose name ends in `.gz` is presented as what
    /// it was before it was compressed.
    ///
    /// # Errors
    /// Those of `open(2)`; `UnexpectedEof` or `InvalidData` for a compressed file that is not
    /// whole, perhaps because it is still being written.
    fn open(&mut self, path: &Path) -> io::Result<Self::File>;

    /// Looks at an open file.
    ///
    /// # Errors
    /// Those of `fstat(2)`.
    fn stat(&mut self, file: &Self::File) -> io::Result<FileStat>;

    /// The size of an open file, as [`Files::stat`] says it, but cheaper where that is possible.
    ///
    /// # Errors
    /// Those of `fstat(2)`.
    fn size(&mut self, file: &Self::File) -> io::Result<u64> {
        Ok(self.stat(file)?.size)
    }

    /// Looks at what has a name.
    ///
    /// # Errors
    /// Those of `stat(2)`.
    fn look(&mut self, path: &Path) -> io::Result<FileStat> {
        let file = self.open(path)?;
        self.stat(&file)
    }

    /// The first place at or behind `offset` that is not in a hole; the end of the file when
    /// nothing but a hole follows. `offset` itself where the file system cannot tell.
    fn data_from(&mut self, _: &Self::File, offset: u64) -> u64 {
        offset
    }

    /// Reads at `offset` into `buf`, as much as one system call gives; 0 is the end of the file.
    ///
    /// # Errors
    /// Those of `pread(2)`.
    fn read_at(&mut self, file: &Self::File, buf: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Reads a whole small file of ours.
    ///
    /// # Errors
    /// Those of `open(2)` and `read(2)`; `NotFound` when there is none.
    fn read_all(&mut self, path: &Path) -> io::Result<Vec<u8>>;

    /// Creates or truncates `path` (mode 0600), writes `bytes`; nothing is durable yet.
    ///
    /// # Errors
    /// Those of `open(2)` and `write(2)`.
    fn write(&mut self, path: &Path, bytes: &[u8]) -> io::Result<()>;

    /// Adds `bytes` to what [`Files::write`] has begun; nothing is durable yet.
    ///
    /// # Errors
    /// Those of `open(2)` and `write(2)`.
    fn append(&mut self, path: &Path, bytes: &[u8]) -> io::Result<()>;

    /// Makes the content of `path` durable.
    ///
    /// # Errors
    /// Those of `fsync(2)`.
    fn sync(&mut self, path: &Path) -> io::Result<()>;

    /// Renames `from` to `to` in the same folder, replacing it.
    ///
    /// # Errors
    /// Those of `rename(2)`.
    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()>;

    /// Makes the names in a folder durable.
    ///
    /// # Errors
    /// Those of `fsync(2)`.
    fn sync_folder(&mut self, folder: &Path) -> io::Result<()>;
}
