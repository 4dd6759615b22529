//! What callgrind wrote: costs by source file.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

/// Instructions by where their source is: a room of Skald, or a library.
#[derive(Debug, Default)]
pub(crate) struct Profile(BTreeMap<String, f64>);

impl Profile {
    /// Reads the file that callgrind leaves: lines that name a source file, lines of costs, and
    /// behind each `calls=` one line of what was spent elsewhere.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (mut names, mut costs) = (HashMap::new(), BTreeMap::new());
        let (mut outer, mut place) = (String::new(), String::new());
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            let named = line.split_once('=').filter(|(key, _)| key.len() <= 5);
            match named {
                Some(("calls", _)) => drop(lines.next()),
                Some((key @ ("fl" | "fi" | "fe"), name)) => {
                    place = group(&resolve(&mut names, name)).to_owned();
                    if key == "fl" {
                        outer.clone_from(&place);
                    } else if ["core", "alloc", "std"].contains(&&*place) {
                        // Inlined: it belongs to who asked for it.
                        place.clone_from(&outer);
                    }
                }
                // A new function begins in its own file.
                Some(("fn", _)) => place.clone_from(&outer),
                Some(("cfl" | "cfi", name)) => drop(resolve(&mut names, name)),
                Some(_) => {}
                None if line.starts_with(|c: char| c.is_ascii_digit() || "+-*".contains(c)) => {
                    let cost: f64 = line.split(' ').nth(1)?.parse().ok()?;
                    *costs.entry(place.clone()).or_default() += cost;
                }
                None => {}
            }
        }
        Some(Self(costs))
    }

    pub(crate) fn less(&self, other: &Self) -> Self {
        let less = |(name, cost): (&String, &f64)| {
            (name.clone(), cost - other.0.get(name).copied().unwrap_or(0.0))
        };
        Self(self.0.iter().map(less).collect())
    }

    pub(crate) fn per(&self, lines: f64) -> Self {
        Self(self.0.iter().map(|(name, cost)| (name.clone(), cost / lines)).collect())
    }

    pub(crate) fn total(&self) -> f64 {
        self.0.values().sum()
    }
}

/// `(12) name` the first time, `(12) ` from then on.
fn resolve(names: &mut HashMap<String, String>, text: &str) -> String {
    match text.split_once(' ') {
        Some((id, name)) => {
            names.insert(id.to_owned(), name.to_owned());
            name.to_owned()
        }
        None => names.get(text).cloned().unwrap_or_default(),
    }
}

/// `src/parse/json.rs` of Skald's own, the crate of a library's file.
fn group(path: &str) -> &str {
    let own = concat!(env!("CARGO_MANIFEST_DIR"), "/");
    let path = path.strip_prefix(own).unwrap_or(path);
    if path.starts_with("src/") {
        return path;
    }
    if let Some((_, path)) = path.split_once("/registry/src/") {
        return path.split('/').nth(1).unwrap_or(path);
    }
    match path.split_once("/library/") {
        Some((_, path)) => path.split('/').next().unwrap_or(path),
        None => path.rsplit('/').next().unwrap_or(path),
    }
}

/// The largest first, down to one in two hundred.
impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut sorted: Vec<_> = self.0.iter().collect();
        sorted.sort_by(|a, b| b.1.total_cmp(a.1));
        let least = self.total() / 200.0;
        for (name, cost) in sorted.into_iter().filter(|(_, cost)| **cost >= least) {
            writeln!(f, "  {cost:>8.0} {name}")?;
        }
        Ok(())
    }
}
