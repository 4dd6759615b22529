//! What several faults are made with: strace, mounts, and a look into the checkpoint.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::support::oracle::id;
use crate::support::process::wrap;
use crate::support::{Bed, Loki, Skald};

/// Whether this machine has an strace that may trace.
pub(super) fn has_strace() -> bool {
    works(Command::new("strace").args(["-D", "-f", "-o", "/dev/null", "true"]))
}

/// Whether this process may mount.
pub(super) fn has_mounts() -> bool {
    let folder = tempfile::tempdir().unwrap();
    Mount::try_tmpfs(folder.path(), "1m").is_some()
}

/// Whether this process may mount a file system that is in a file.
pub(super) fn has_loop_mounts() -> bool {
    let folder = tempfile::tempdir().unwrap();
    Mount::ext4(folder.path(), &folder.path().join("image")).is_some()
}

/// Whether it ends well.
pub(super) fn works(command: &mut Command) -> bool {
    let command = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// `command` under strace. It stays our child: the tracer is its grandchild.
pub(super) fn straced<S: AsRef<OsStr>>(command: &Command, options: &[S]) -> Command {
    let mut strace = Command::new("strace");
    strace.args(["-D", "-f"]).args(options);
    wrap(strace, command)
}

/// A file system that is mounted with this value.
pub(super) struct Mount(PathBuf);

impl Mount {
    /// A file system in memory.
    pub(super) fn tmpfs(at: &Path, size: &str) -> Self {
        Self::try_tmpfs(at, size).unwrap()
    }

    fn try_tmpfs(at: &Path, size: &str) -> Option<Self> {
        fs_err::create_dir_all(at).unwrap();
        let options = format!("size={size},mode=700");
        let mut mount = Command::new("mount");
        let mount = mount.args(["-t", "tmpfs", "-o", &options, "skald-test"]).arg(at);
        works(mount).then(|| Self(at.to_owned()))
    }

    /// A small file system that gives the inode of a deleted file to the next one; its bytes are in
    /// `image`.
    pub(super) fn ext4(at: &Path, image: &Path) -> Option<Self> {
        fs_err::File::create(image).unwrap().set_len(8 << 20).unwrap();
        let made = works(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(image));
        let mounted = made && works(Command::new("mount").args(["-o", "loop"]).args([image, at]));
        mounted.then(|| Self(at.to_owned()))
    }

    /// A folder over itself, in which nothing can be written.
    pub(super) fn read_only(at: &Path) -> Self {
        assert!(works(Command::new("mount").arg("--bind").args([at, at])));
        let mount = Self(at.to_owned());
        assert!(works(Command::new("mount").args(["-o", "remount,bind,ro"]).arg(at)));
        mount
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        assert!(works(Command::new("umount").arg("-l").arg(&self.0)) || std::thread::panicking());
    }
}

/// What an agent has open.
fn open(skald: &Skald) -> Vec<String> {
    let folder = format!("/proc/{}/fd", skald.pid());
    let links = std::fs::read_dir(folder).into_iter().flatten();
    let links = links.filter_map(|link| std::fs::read_link(link.ok()?.path()).ok());
    links.map(|name| name.display().to_string()).collect()
}

/// The files that an agent has open though they have no name any more.
pub(super) fn deleted_open(skald: &Skald) -> Vec<String> {
    open(skald).into_iter().filter(|name| name.ends_with(" (deleted)")).collect()
}

/// Whether an agent has the file open that has this name.
pub(super) fn is_open(skald: &Skald, path: &Path) -> bool {
    open(skald).contains(&path.display().to_string())
}

/// The settled offsets of a checkpoint, by inode.
pub(super) fn checkpoint(bed: &Bed) -> HashMap<u64, u64> {
    let Ok(text) = std::fs::read_to_string(bed.state("checkpoint")) else {
        return HashMap::new();
    };
    let lines = text.lines().skip(1).filter_map(|line| line.split_once(' '));
    let files = lines.filter_map(|(_, json)| {
        let line: serde_json::Value = serde_json::from_str(json).unwrap();
        let file = line.get("file")?;
        Some((file["inode"].as_u64().unwrap(), file["offset"].as_u64().unwrap()))
    });
    files.collect()
}

/// The lines that the checkpoint covers, of files that are still below `logs`.
pub(super) fn covered(bed: &Bed) -> Vec<(String, u64)> {
    let settled = checkpoint(bed);
    let mut lines = Vec::new();
    for entry in walkdir::WalkDir::new(bed.path("logs")).into_iter().filter_map(Result::ok) {
        let offset = entry.metadata().ok().and_then(|meta| settled.get(&meta.ino()));
        let Some(&offset) = offset.filter(|_| entry.file_type().is_file()) else { continue };
        let bytes = fs_err::read(entry.path()).unwrap();
        let offset = usize::try_from(offset).unwrap();
        assert!(offset <= bytes.len(), "{}: {offset} is settled", entry.path().display());
        lines.extend(bytes[..offset].split(|byte| *byte == b'\n').filter_map(id));
    }
    lines
}

/// How many lines the checkpoint covers, each of which has to be in the receiver.
#[track_caller]
pub(super) fn covered_and_stored(bed: &Bed, loki: &Loki) -> u64 {
    // In this order, for the receiver's grow.
    let covered = covered(bed);
    let stored: std::collections::HashSet<_> =
        loki.store().entries().iter().filter_map(|copy| id(&copy.line)).collect();
    let ahead = covered.iter().find(|line| !stored.contains(line));
    assert_eq!(ahead, None, "the checkpoint is ahead of Loki's answers");
    covered.len() as u64
}

/// Rotates as the kubelet does: the log gets a time in its name, all rotated ones but the newest
/// are compressed through a temporary file, and at most `keep` files are left.
pub(super) struct Kubelet {
    folder: PathBuf,
    rotations: u64,
    keep: usize,
}

impl Kubelet {
    pub(super) fn new(folder: PathBuf, keep: usize) -> Self {
        Self { folder, rotations: 0, keep }
    }

    /// The newest rotated log, to which the container writes until it is told of the new one.
    pub(super) fn rotated(&self) -> PathBuf {
        self.folder.join(format!("0.log.{}", stamp(self.rotations)))
    }

    pub(super) fn rotate(&mut self) {
        let mut rotated: Vec<_> = fs_err::read_dir(&self.folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.starts_with("0.log."))
            .collect();
        rotated.sort();
        while self.keep - 2 < rotated.len() {
            fs_err::remove_file(self.folder.join(rotated.remove(0))).unwrap();
        }
        for name in rotated.iter().filter(|name| !name.ends_with(".gz")) {
            let (log, tmp) = (self.folder.join(name), self.folder.join(format!("{name}.tmp")));
            let packed = Command::new("gzip").arg("-c").arg(&log).output().unwrap();
            assert!(packed.status.success());
            fs_err::write(&tmp, packed.stdout).unwrap();
            fs_err::rename(&tmp, self.folder.join(format!("{name}.gz"))).unwrap();
            fs_err::remove_file(&log).unwrap();
        }
        self.rotations += 1;
        fs_err::rename(self.folder.join("0.log"), self.rotated()).unwrap();
    }
}

fn stamp(number: u64) -> String {
    format!("20261125-{number:06}")
}
