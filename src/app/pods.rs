//! What the API of Kubernetes has said of this node's pods.

pub(super) mod kube;

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use hashbrown::HashMap;
use tracing::warn;

use crate::config::{Annotation, Asks};
use crate::discover::kube::Object;

/// A pod that is gone is remembered for this long: its last lines may still be read.
const REMEMBER: Duration = Duration::from_secs(3600);

/// Most pods that are gone and remembered.
const GONE_MAX: usize = 2000;

/// Names and values, as rules call them.
type Pairs = Arc<[(String, String)]>;

/// The pods of this node, by uid, and the node itself.
#[derive(Debug, Default)]
pub struct Pods(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    pods: HashMap<String, Known>,
    node: Option<Pairs>,
    /// How often a pod began to ask for something else.
    changes: u64,
}

#[derive(Debug)]
struct Known {
    pairs: Pairs,
    /// What it asks for by annotations.
    asks: Arc<Asks>,
    /// What it asks for in vain: said once.
    complaints: Vec<String>,
    /// Since when it is not there any more.
    gone_at: Option<Duration>,
}

impl Pods {
    /// All pods that there are.
    pub(super) fn list(&self, pods: Vec<Object>, allowed: &[Annotation], now: Duration) {
        let mut inner = self.inner();
        for known in inner.pods.values_mut() {
            known.gone_at.get_or_insert(now);
        }
        for pod in pods {
            inner.set(pod, allowed);
        }
        inner.forget(now);
    }

    /// A pod is new, or another one now.
    pub(super) fn set(&self, pod: Object, allowed: &[Annotation]) {
        self.inner().set(pod, allowed);
    }

    /// A pod is not there any more.
    pub(super) fn gone(&self, pod: Object, allowed: &[Annotation], now: Duration) {
        let mut inner = self.inner();
        let uid = pod.uid.clone();
        inner.set(pod, allowed);
        if let Some(known) = inner.pods.get_mut(&uid) {
            known.gone_at = Some(now);
        }
        inner.forget(now);
    }

    /// The node is this.
    pub(super) fn set_node(&self, node: Object) {
        self.inner().node = Some(pairs("node", node));
    }

    /// Whether anything is known of the pod, and of the node if that is needed.
    #[must_use]
    pub fn has(&self, uid: &str, needs_node: bool) -> bool {
        let inner = self.inner();
        inner.pods.contains_key(uid) && (inner.node.is_some() || !needs_node)
    }

    /// What a pod asks for by annotations; nothing when it is not known.
    #[must_use]
    pub fn asks(&self, uid: &str) -> Arc<Asks> {
        self.inner().pods.get(uid).map(|known| Arc::clone(&known.asks)).unwrap_or_default()
    }

    /// A number that is another one when a pod asks for something else.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.inner().changes
    }

    /// How many pods are there.
    #[must_use]
    pub fn count(&self) -> usize {
        self.inner().pods.values().filter(|known| known.gone_at.is_none()).count()
    }

    /// What is known of a pod and its node.
    #[must_use]
    pub fn of(&self, uid: &str) -> [Option<Pairs>; 2] {
        let inner = self.inner();
        let pod = inner.pods.get(uid).map(|known| Arc::clone(&known.pairs));
        [pod, inner.node.clone()]
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().expect("BUG: a thread panicked while it held the pods")
    }
}

impl Inner {
    fn set(&mut self, pod: Object, allowed: &[Annotation]) {
        let (asks, complaints) = Asks::of(&pod.annotations, allowed);
        let (uid, name) = (pod.uid.clone(), pod.name.clone());
        let (asks, pairs) = (Arc::new(asks), pairs("pod", pod));
        let new = Known { pairs, asks: Arc::clone(&asks), complaints, gone_at: None };
        let said = new.complaints.clone();
        let old = self.pods.insert(uid, new);
        self.changes += u64::from(old.as_ref().map(|old| &old.asks) != Some(&asks));
        if old.is_none_or(|old| old.complaints != said) {
            for why in said {
                warn!(pod = name, "an annotation of a pod has no effect: {why}");
            }
        }
    }

    fn forget(&mut self, now: Duration) {
        self.pods.retain(|_, known| known.gone_at.is_none_or(|at| now < at + REMEMBER));
        let mut gone: Vec<_> = self.pods.values().filter_map(|known| known.gone_at).collect();
        if GONE_MAX < gone.len() {
            gone.sort_unstable();
            let oldest = gone[gone.len() - GONE_MAX];
            self.pods.retain(|_, known| known.gone_at.is_none_or(|at| oldest < at));
        }
    }
}

/// Labels and annotations of a `kind` of object, and who runs it.
fn pairs(kind: &str, object: Object) -> Pairs {
    let named = |of: &'static str| move |(key, value)| (format!("{kind}_{of}.{key}"), value);
    let mut pairs: Vec<(String, String)> = object.labels.into_iter().map(named("label")).collect();
    pairs.extend(object.annotations.into_iter().map(named("annotation")));
    if let Some((kind, name)) = object.owner {
        pairs.extend([("owner_kind".to_owned(), kind), ("owner".to_owned(), name)]);
    }
    pairs.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(uid: &str, labels: &[(&str, &str)]) -> Object {
        let pair = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        let labels = labels.iter().map(pair).collect();
        Object { uid: uid.to_owned(), labels, ..Object::default() }
    }

    #[test]
    fn pods_that_are_gone_are_remembered_for_a_while() {
        let (pods, at) = (Pods::default(), Duration::from_secs);
        pods.list(vec![object("a", &[("app", "web")]), object("b", &[])], &[], at(1));
        assert!(pods.has("a", false) && !pods.has("a", true));
        pods.set_node(object("n", &[("zone", "z1")]));
        assert!(pods.has("a", true) && !pods.has("c", false));
        let [pod, node] = pods.of("a").map(|pairs| pairs.unwrap().to_vec());
        assert_eq!(pod, [("pod_label.app".to_owned(), "web".to_owned())]);
        assert_eq!(node, [("node_label.zone".to_owned(), "z1".to_owned())]);
        pods.gone(object("a", &[("app", "old")]), &[], at(10));
        pods.list(vec![object("c", &[])], &[], at(20));
        assert_eq!((pods.count(), pods.has("a", true), pods.has("b", true)), (1, true, true));
        pods.list(vec![object("c", &[])], &[], at(10) + REMEMBER);
        assert_eq!(
            (pods.has("a", true), pods.has("b", true), pods.has("c", true)),
            (false, true, true)
        );
        pods.set(object("b", &[]), &[]);
        assert_eq!(pods.count(), 2, "it is there after all");
    }

    #[test]
    fn no_more_than_so_many_are_remembered() {
        let pods = Pods::default();
        pods.set_node(Object::default());
        for n in 0..3 * GONE_MAX as u64 {
            pods.gone(object(&format!("{n}"), &[]), &[], Duration::from_nanos(n));
        }
        let newest = format!("{}", 3 * GONE_MAX - 1);
        assert!(
            pods.has(&newest, true) && !pods.has("0", true) && pods.inner().pods.len() <= GONE_MAX
        );
    }
}
