//! Where the lines of a file come from, as rules may call it.

use std::path::Path;

use super::pods::Pods;
use crate::config::Place;
use crate::discover::Pod;
use crate::model::Origin;

/// What the path of a file says: its name, the groups of the source's pattern, the pod whose
/// container writes it; and what is known of that.
#[must_use]
pub fn origin(place: &Place, path: &Path, known: Option<&Pods>) -> Origin {
    let text = path.to_string_lossy();
    let mut origin: Vec<(String, String)> = vec![("filename".to_owned(), text.to_string())];
    let mut add = |name: &str, value: &str| origin.push((name.to_owned(), value.to_owned()));
    if let Some(pattern) = &place.path
        && let Some(groups) = pattern.captures(&text)
    {
        for name in pattern.capture_names().flatten() {
            add(name, groups.name(name).map_or("", |group| group.as_str()));
        }
    }
    if let Some(pods) = &place.pods {
        add("node", pods.node.as_deref().unwrap_or_default());
        if let Some(pod) = Pod::of(path) {
            add("namespace", pod.namespace);
            add("pod", pod.name);
            add("uid", pod.uid);
            add("container", pod.container);
            add("restart", &pod.restart.to_string());
            for pairs in known.map(|known| known.of(pod.uid)).into_iter().flatten().flatten() {
                origin.extend(pairs.iter().cloned());
            }
        }
    }
    origin.into_iter().collect()
}
