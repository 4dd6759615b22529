//! What those who deploy are given: manifests, image, dependencies.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![expect(clippy::wildcard_enum_match_arm, reason = "of a parser's events few are of use")]
#![expect(clippy::print_stdout, reason = "what is skipped is said")]

mod dependencies;
#[cfg(target_os = "linux")]
mod image;
mod manifests;
mod yaml;

use std::path::{Path, PathBuf};

/// A path in the repository.
fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// A file of the repository.
fn read(name: &str) -> String {
    fs_err::read_to_string(path(name)).unwrap()
}
