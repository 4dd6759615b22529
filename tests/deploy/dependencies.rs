//! The dependencies are what `deny.toml` allows. `cargo deny` takes minutes to install; this
//! needs nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use regex::Regex;
use serde_json::Value;

use crate::{path, read};

/// Crates that are in the program at most once: two of them double its size, or do not share state.
const ONCE: [&str; 7] = ["rustls", "aws-lc-rs", "tokio", "hyper", "regex", "serde_json", "prost"];

/// The quoted words of a list in `deny.toml`.
fn list(of: &str) -> BTreeSet<String> {
    let settings = read("deny.toml");
    let list = Regex::new(&format!(r"(?m)^{of} = \[([^\]]*)\]")).expect("a regex");
    let list = list.captures(&settings).unwrap_or_else(|| panic!("no {of}"))[1].to_owned();
    let word = Regex::new(r#"(?m)^\s*(?:\{ crate = )?"([^"]+)"|^"([^"]+)"$"#).expect("a regex");
    word.captures_iter(&list).map(|found| found[1].to_owned()).collect()
}

/// Each `[[package]]` of `Cargo.lock`: name, version, source.
fn locked() -> Vec<BTreeMap<String, String>> {
    let entry = Regex::new(r#"(?m)^(name|version|source) = "([^"]+)"$"#).unwrap();
    let fields = |text: &str| {
        entry.captures_iter(text).map(|f| (f[1].to_owned(), f[2].to_owned())).collect()
    };
    read("Cargo.lock").split("[[package]]").skip(1).map(fields).collect()
}

#[test]
fn no_crate_is_banned_or_from_elsewhere() {
    let banned = list("deny");
    assert!(banned.contains("openssl"), "{banned:?}");
    let registries = list("allow-registry");
    let mut versions = BTreeMap::<_, Vec<_>>::new();
    let locked = locked();
    assert!(locked.len() > 100, "{}", locked.len());
    for package in locked {
        let name = package["name"].clone();
        assert!(!banned.contains(&name), "{name} is banned");
        if name != env!("CARGO_PKG_NAME") {
            let source = package.get("source").and_then(|from| from.strip_prefix("registry+"));
            let known = source.is_some_and(|from| registries.contains(from));
            assert!(known, "{name} comes from {:?}", package.get("source"));
        }
        versions.entry(name).or_default().push(package["version"].clone());
    }
    for name in ONCE {
        assert_eq!(versions[name].len(), 1, "{name}: {:?}", versions[name]);
    }
}

#[test]
fn every_license_is_allowed() {
    let allowed = list("allow");
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked", "--filter-platform", &target])
        .arg("--manifest-path")
        .arg(path("Cargo.toml"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    assert!(packages.len() > 100, "{}", packages.len());
    for package in packages {
        let license = package["license"].as_str().unwrap_or_default();
        assert!(permits(license, &allowed), "{}: {license:?}", package["name"]);
    }
}

/// Whether an SPDX expression can be fulfilled with the allowed licenses alone.
fn permits(license: &str, allowed: &BTreeSet<String>) -> bool {
    let spaced = license.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let mut words = spaced.split_whitespace().peekable();
    let result = any(&mut words, allowed);
    result && words.next().is_none()
}

type Words<'t> = std::iter::Peekable<std::str::SplitWhitespace<'t>>;

fn any(words: &mut Words<'_>, allowed: &BTreeSet<String>) -> bool {
    let mut result = all(words, allowed);
    while words.next_if_eq(&"OR").is_some() {
        result |= all(words, allowed);
    }
    result
}

fn all(words: &mut Words<'_>, allowed: &BTreeSet<String>) -> bool {
    let mut result = one(words, allowed);
    while words.next_if_eq(&"AND").is_some() {
        result &= one(words, allowed);
    }
    result
}

fn one(words: &mut Words<'_>, allowed: &BTreeSet<String>) -> bool {
    if words.next_if_eq(&"(").is_some() {
        let result = any(words, allowed);
        return words.next() == Some(")") && result;
    }
    let Some(name) = words.next() else { return false };
    // An exception only adds rights.
    if words.next_if_eq(&"WITH").is_some() && words.next().is_none() {
        return false;
    }
    allowed.contains(name)
}

#[test]
fn license_expressions_are_understood() {
    let allowed = ["MIT", "ISC"].map(str::to_owned).into();
    for (license, expected) in [
        ("MIT", true),
        ("GPL-3.0", false),
        ("GPL-3.0 OR MIT", true),
        ("GPL-3.0/MIT", true),
        ("MIT AND GPL-3.0", false),
        ("ISC AND (GPL-3.0 OR MIT)", true),
        ("GPL-3.0 OR MIT AND GPL-2.0", false),
        ("(GPL-3.0 OR MIT) AND GPL-2.0", false),
        ("MIT WITH LLVM-exception", true),
        ("(MIT", false),
        ("", false),
    ] {
        assert_eq!(permits(license, &allowed), expected, "{license}");
    }
}
