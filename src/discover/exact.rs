//! Which file systems can be taken at their word: a folder's change time moves with each change of
//! its names, and notify is told of each.

use std::path::Path;

/// `f_type` of ext2 to ext4, XFS, Btrfs, F2FS, ZFS and tmpfs: disks and memory of this host. Network
/// file systems change on other hosts, where notify is not told, and some keep coarse times; so do
/// layers (overlay, FUSE) that may lie above one.
#[cfg(target_os = "linux")]
const EXACT: [rustix::fs::FsWord; 6] =
    [0xEF53, 0x5846_5342, 0x9123_683E, 0xF2F5_2010, 0x2FC1_2FC1, 0x0102_1994];

/// Whether `folder` is on such a file system.
#[cfg(target_os = "linux")]
pub(super) fn is_exact(folder: &Path) -> bool {
    rustix::fs::statfs(folder).is_ok_and(|found| EXACT.contains(&found.f_type))
}

/// Elsewhere nobody knows.
#[cfg(not(target_os = "linux"))]
pub(super) fn is_exact(_: &Path) -> bool {
    false
}
