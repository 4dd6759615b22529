//! The real disk.

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::time::SystemTime;

use fs_err::os::unix::fs::OpenOptionsExt as _;
use rustix::fs::OFlags;

use super::gzip::Gzip;
use crate::model::{FileStat, Files, Identity, Kind, UnixNanos, is_compressed};

/// [`Files`] on the operating system.
#[derive(Debug, Clone, Copy, Default)]
pub struct Disk;

/// An open log file.
#[derive(Debug)]
pub enum LogFile {
    /// As it is.
    Plain(File),
    /// As it was before it was compressed.
    Gzip(Box<Gzip>),
}

impl Files for Disk {
    type File = LogFile;

    fn open(&mut self, path: &Path) -> io::Result<LogFile> {
        let file = match open_with(path, QUIET) {
            // Only the owner may leave the access time alone.
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::PERM.raw_os_error()) => {
                open_with(path, OFlags::empty())?
            }
            opened => opened?,
        };
        if is_compressed(path) && file.metadata()?.is_file() {
            return Ok(LogFile::Gzip(Box::new(Gzip::new(file)?)));
        }
        Ok(LogFile::Plain(file))
    }

    fn stat(&mut self, file: &LogFile) -> io::Result<FileStat> {
        match file {
            LogFile::Plain(file) => Ok(stat_of(&file.metadata()?)),
            LogFile::Gzip(gzip) => Ok(FileStat { size: gzip.len(), ..stat_of(&gzip.file()?) }),
        }
    }

    fn size(&mut self, file: &LogFile) -> io::Result<u64> {
        match file {
            // A third of what fstat costs. Reads have their own offsets: the file's is free.
            LogFile::Plain(file) => Ok(rustix::fs::seek(file, rustix::fs::SeekFrom::End(0))?),
            LogFile::Gzip(gzip) => Ok(gzip.len()),
        }
    }

    fn look(&mut self, path: &Path) -> io::Result<FileStat> {
        // The name in an error is not needed: whoever looks knows where.
        std::fs::metadata(path).map(|meta| stat_of(&meta))
    }

    fn data_from(&mut self, file: &LogFile, offset: u64) -> u64 {
        let LogFile::Plain(file) = file else { return offset };
        match rustix::fs::seek(file, rustix::fs::SeekFrom::Data(offset)) {
            Ok(data) => data,
            // Nothing but a hole follows.
            Err(rustix::io::Errno::NXIO) => u64::MAX,
            Err(_) => offset,
        }
    }

    fn read_at(&mut self, file: &LogFile, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        loop {
            let result = match file {
                LogFile::Plain(file) => file.read_at(buf, offset),
                LogFile::Gzip(gzip) => gzip.read_at(buf, offset),
            };
            match result {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }

    fn read_all(&mut self, path: &Path) -> io::Result<Vec<u8>> {
        fs_err::read(path)
    }

    fn write(&mut self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut file = fs_err::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(path)?;
        io::Write::write_all(&mut file, bytes)
    }

    fn append(&mut self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut file = fs_err::OpenOptions::new().append(true).open(path)?;
        io::Write::write_all(&mut file, bytes)
    }

    fn sync(&mut self, path: &Path) -> io::Result<()> {
        fs_err::File::open(path)?.sync_all()
    }

    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        fs_err::rename(from, to)
    }

    fn sync_folder(&mut self, folder: &Path) -> io::Result<()> {
        fs_err::File::open(folder)?.sync_all()
    }
}

/// Reads that change no access time spare a change of the inode each.
#[cfg(target_os = "linux")]
const QUIET: OFlags = OFlags::NOATIME;
#[cfg(not(target_os = "linux"))]
const QUIET: OFlags = OFlags::empty();

fn open_with(path: &Path, more: OFlags) -> io::Result<File> {
    // A FIFO without a writer would block; NONBLOCK means nothing to a regular file.
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC | more;
    let flags = i32::try_from(flags.bits()).map_err(io::Error::other)?;
    OpenOptions::new().read(true).custom_flags(flags).open(path)
}

fn stat_of(meta: &Metadata) -> FileStat {
    let since_epoch = |time: SystemTime| {
        let since = time.duration_since(SystemTime::UNIX_EPOCH).ok()?;
        i64::try_from(since.as_nanos()).ok().map(UnixNanos)
    };
    let kind = meta.file_type();
    FileStat {
        identity: Identity {
            device: meta.dev(),
            inode: meta.ino(),
            birth: meta.created().ok().and_then(since_epoch).into(),
        },
        size: meta.len(),
        links: meta.nlink(),
        modified: meta.modified().ok().and_then(since_epoch).unwrap_or_default(),
        kind: if kind.is_file() {
            Kind::File
        } else if kind.is_dir() {
            Kind::Folder
        } else {
            Kind::Other
        },
    }
}
