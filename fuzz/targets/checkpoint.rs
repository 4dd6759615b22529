//! Whatever the bytes of the checkpoint, it loads or says what is lost.

use std::io;
use std::path::{Path, PathBuf};

use skald::checkpoint::{CheckpointError, Demoted, Loaded, SavedFile, State, load, save};
use skald::model::{FileOffset, FileStat, Files, Fingerprint, Identity, Mark, Stamp, UnixNanos};

use super::bytes::Bytes;

pub(crate) fn any_bytes(data: &[u8]) {
    reload(data);
    reload(&sealed(data));
}

/// What loads can be saved, and then loads whole.
fn reload(bytes: &[u8]) {
    let mut disk = Disk::holding(bytes);
    let loaded = match load(&mut disk, Path::new("/state")) {
        Ok(loaded) => loaded,
        Err(CheckpointError::Version { .. }) => return,
        Err(err) => panic!("{err}"),
    };
    save(&mut disk, Path::new("/state"), &loaded.state.files, &loaded.state.demoted)
        .expect("the disk is sound");
    let again = load(&mut disk, Path::new("/state")).expect("it was just saved");
    assert_eq!(again, Loaded { state: loaded.state, damage: Vec::new() });
}

/// The lines of `data` with the sums that a fuzzer does not find.
fn sealed(data: &[u8]) -> Vec<u8> {
    let lines: Vec<&[u8]> = data.split(|byte| *byte == b'\n').collect();
    let header = format!("skald checkpoint 1 lines={}", lines.len());
    let mut bytes =
        format!("{header} crc32={:08x}\n", crc32fast::hash(header.as_bytes())).into_bytes();
    for line in lines {
        bytes.extend_from_slice(format!("{:08x} ", crc32fast::hash(line)).as_bytes());
        bytes.extend_from_slice(line);
        bytes.push(b'\n');
    }
    bytes
}

/// What a torn, cut or rotten checkpoint still holds is what was saved, and the rest is spoken of.
pub(crate) fn damage(data: &[u8]) {
    let mut bytes = Bytes(data);
    let state = state(&mut bytes);
    let mut disk = Disk::default();
    save(&mut disk, Path::new("/state"), &state.files, &state.demoted).expect("the disk is sound");
    let mut text = disk.0[0].1.clone();
    let mut lost_max = 0;
    while !bytes.is_empty() {
        lost_max += harm(&mut bytes, &mut text);
    }
    let loaded = load(&mut Disk::holding(&text), Path::new("/state"));
    let shown = || String::from_utf8_lossy(&text).into_owned();
    let loaded = loaded.unwrap_or_else(|err| panic!("{err}: {}", shown()));
    let mut left = state.files.iter();
    for file in &loaded.state.files {
        assert!(left.any(|saved| saved == file), "not what was saved: {file:?} in {}", shown());
    }
    let mut left = state.demoted.iter();
    for demoted in &loaded.state.demoted {
        assert!(left.any(|saved| saved == demoted), "{demoted:?} in {}", shown());
    }
    let kept = loaded.state.files.len() + loaded.state.demoted.len();
    let lost = state.files.len() + state.demoted.len() - kept;
    assert!(lost == 0 || !loaded.damage.is_empty(), "{lost} lost in silence: {}", shown());
    assert!(lost <= lost_max, "{lost} lost where {lost_max} were touched: {}", shown());
}

/// Damages `text`. Returns how many of its lines that may cost.
fn harm(bytes: &mut Bytes<'_>, text: &mut Vec<u8>) -> usize {
    let kind = bytes.byte();
    let at = bytes.take(2).iter().fold(0, |at, byte| at << 8 | usize::from(*byte));
    let at = at.min(text.len());
    let lines = |bytes: &[u8]| bytes.iter().filter(|byte| **byte == b'\n').count();
    match kind {
        // A bit: a line, or the two that a newline kept apart.
        0..128 => {
            let Some(byte) = text.get_mut(at) else { return 0 };
            *byte ^= 1 << (kind % 8);
            2
        }
        // A crash before all was written.
        128..192 => {
            let cut = text.split_off(at);
            lines(&cut) + 1
        }
        // A block that was never written.
        _ => {
            let end = (at + 1 + usize::from(kind % 64) * 8).min(text.len());
            let lost = lines(&text[at..end]) + 1;
            text[at..end].fill(0);
            lost
        }
    }
}

fn state(bytes: &mut Bytes<'_>) -> State {
    let (files, demoted) = (bytes.below(6), bytes.below(3));
    let files = (0..files).map(|_| file(bytes)).collect();
    let demoted = (0..demoted).map(|_| Demoted {
        source: bytes.text().into(),
        label: bytes.text().into(),
        values_max: u32::from(bytes.byte()),
    });
    State { files, demoted: demoted.collect() }
}

fn file(bytes: &mut Bytes<'_>) -> SavedFile {
    use std::os::unix::ffi::OsStrExt as _;
    let path = std::ffi::OsStr::from_bytes(bytes.piece());
    let fingerprint =
        |bytes: &mut Bytes<'_>| Fingerprint { len: bytes.byte().into(), hash: bytes.number() };
    let time = |bytes: &mut Bytes<'_>| UnixNanos(bytes.number().cast_signed());
    let path: std::sync::Arc<Path> = Path::new(path).into();
    let stem: std::sync::Arc<Path> =
        if bytes.below(2) == 1 { Path::new("/log").into() } else { path.clone() };
    SavedFile {
        path,
        stem,
        size: bytes.number(),
        former: bytes.below(2) == 1,
        source: bytes.text().into(),
        identity: Identity {
            device: bytes.number(),
            inode: bytes.number(),
            birth: (bytes.below(2) == 1).then(|| time(bytes)).into(),
        },
        head: fingerprint(bytes),
        mark: Mark {
            offset: FileOffset(bytes.number()),
            stamp: {
                let last_raw = (bytes.below(2) == 1).then(|| time(bytes)).into();
                Stamp { last_raw, repeats: bytes.byte().into() }
            },
            tail: fingerprint(bytes),
            held: std::array::from_fn(|_| {
                (bytes.below(2) == 1).then(|| FileOffset(bytes.number()))
            })
            .into(),
        },
        seen: time(bytes),
        rotated: bytes.below(2) == 1,
    }
}

/// A state folder in memory.
#[derive(Default)]
struct Disk(Vec<(PathBuf, Vec<u8>)>);

impl Disk {
    fn holding(bytes: &[u8]) -> Self {
        Self(vec![(PathBuf::from("/state/checkpoint"), bytes.to_vec())])
    }
}

impl Files for Disk {
    type File = ();

    fn open(&mut self, _: &Path) -> io::Result<()> {
        unreachable!("a checkpoint is read whole")
    }

    fn stat(&mut self, (): &()) -> io::Result<FileStat> {
        unreachable!("a checkpoint is read whole")
    }

    fn read_at(&mut self, (): &(), _: &mut [u8], _: u64) -> io::Result<usize> {
        unreachable!("a checkpoint is read whole")
    }

    fn read_all(&mut self, path: &Path) -> io::Result<Vec<u8>> {
        let found = self.0.iter().find(|(name, _)| name == path);
        found.map(|(_, bytes)| bytes.clone()).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn write(&mut self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.0.retain(|(name, _)| name != path);
        self.0.push((path.to_owned(), bytes.to_vec()));
        Ok(())
    }

    fn append(&mut self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let found = self.0.iter_mut().find(|(name, _)| name == path);
        found.ok_or(io::ErrorKind::NotFound)?.1.extend_from_slice(bytes);
        Ok(())
    }

    fn sync(&mut self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.retain(|(name, _)| name != to);
        let found = self.0.iter_mut().find(|(name, _)| name == from);
        found.ok_or(io::ErrorKind::NotFound)?.0 = to.to_owned();
        Ok(())
    }

    fn sync_folder(&mut self, _: &Path) -> io::Result<()> {
        Ok(())
    }
}
