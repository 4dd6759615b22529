//! What the API of Kubernetes says of pods and nodes: answers to list and watch, as bytes.
//!
//! Only the metadata of objects is asked for; whole objects are understood as well. See "Kubernetes
//! API Concepts", <https://kubernetes.io/docs/reference/using-api/api-concepts/>.

use std::collections::BTreeMap;

use serde::Deserialize;

/// What is asked for: nothing but metadata.
pub const ACCEPT_LIST: &str =
    "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json";
/// The same of a watch.
pub const ACCEPT_WATCH: &str =
    "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json";

/// A longer annotation is left alone: it is a document, such as what `kubectl apply` leaves.
const ANNOTATION_BYTES_MAX: usize = 4096;

/// The annotation of a static pod with what kubelet calls its uid, also in the paths of its logs.
const CONFIG_HASH: &str = "kubernetes.io/config.hash";

/// Versions of an object that is not there any more.
const EXPIRED: u16 = 410;

/// A pod or a node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Object {
    /// As the path of a pod's logs has it.
    pub uid: String,
    /// Its name.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its annotations, but for long ones.
    pub annotations: BTreeMap<String, String>,
    /// Kind and name of what runs it: of a pod of a ReplicaSet, the Deployment.
    pub owner: Option<(String, String)>,
}

/// What a list came to.
#[derive(Debug, PartialEq, Eq)]
pub struct List {
    /// All of them.
    pub objects: Vec<Object>,
    /// Where a watch goes on.
    pub version: String,
}

/// A line of a watch.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    /// It is new, or another one now.
    Changed(Object),
    /// It is not there any more.
    Gone(Object),
    /// Nothing: only the version is new.
    Bookmark,
    /// The version is too old: all has to be listed again.
    Expired,
    /// The server ends the watch, with these words.
    Failed(String),
}

#[derive(Deserialize)]
struct RawList {
    #[serde(default)]
    metadata: RawMetadata,
    /// `null` when there are none.
    items: Option<Vec<RawObject>>,
}

#[derive(Deserialize)]
struct RawEvent {
    #[serde(rename = "type")]
    kind: String,
    object: RawObject,
}

#[derive(Deserialize)]
struct RawObject {
    #[serde(default)]
    metadata: RawMetadata,
    /// Of an error.
    #[serde(default)]
    message: Option<String>,
    #[serde(default)]
    code: Option<u16>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct RawMetadata {
    name: String,
    uid: String,
    resource_version: String,
    labels: Option<BTreeMap<String, String>>,
    annotations: Option<BTreeMap<String, String>>,
    owner_references: Option<Vec<RawOwner>>,
}

#[derive(Deserialize)]
struct RawOwner {
    kind: String,
    name: String,
    #[serde(default)]
    controller: bool,
}

/// The answer to a list.
///
/// # Errors
/// It is no such answer.
pub fn list(bytes: &[u8]) -> Result<List, serde_json::Error> {
    let RawList { metadata, items } = serde_json::from_slice(bytes)?;
    let objects = items.unwrap_or_default().into_iter().map(|item| object(item.metadata)).collect();
    Ok(List { objects, version: metadata.resource_version })
}

/// A line of the answer to a watch, and the version it brings, if any.
///
/// # Errors
/// It is no such line.
pub fn event(line: &[u8]) -> Result<(Event, Option<String>), serde_json::Error> {
    let RawEvent { kind, object: RawObject { metadata, message, code } } =
        serde_json::from_slice(line)?;
    let version = Some(metadata.resource_version.clone()).filter(|version| !version.is_empty());
    let event = match kind.as_str() {
        "ADDED" | "MODIFIED" => Event::Changed(object(metadata)),
        "DELETED" => Event::Gone(object(metadata)),
        "BOOKMARK" => Event::Bookmark,
        _ if code == Some(EXPIRED) => return Ok((Event::Expired, None)),
        _ => return Ok((Event::Failed(message.unwrap_or(kind)), None)),
    };
    Ok((event, version))
}

fn object(metadata: RawMetadata) -> Object {
    let RawMetadata { name, uid, labels, annotations, owner_references, .. } = metadata;
    let (labels, mut annotations) = (labels.unwrap_or_default(), annotations.unwrap_or_default());
    let uid = annotations.get(CONFIG_HASH).cloned().unwrap_or(uid);
    annotations.retain(|_, value| value.len() <= ANNOTATION_BYTES_MAX);
    let owner = owner_references.unwrap_or_default().into_iter().find(|owner| owner.controller);
    let owner = owner.map(|owner| deployment(owner, &labels));
    Object { uid, name, labels, annotations, owner }
}

/// A Deployment names its ReplicaSets after itself and a hash, which their pods have as a label.
fn deployment(owner: RawOwner, labels: &BTreeMap<String, String>) -> (String, String) {
    let RawOwner { kind, name, .. } = owner;
    let hash = labels.get("pod-template-hash").filter(|_| kind == "ReplicaSet");
    let of = hash.and_then(|hash| name.strip_suffix(hash.as_str())?.strip_suffix('-'));
    match of {
        Some(of) => ("Deployment".to_owned(), of.to_owned()),
        None => (kind, name),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(name: &str) -> serde_json::Value {
        json!({"metadata": {
            "name": name, "namespace": "shop", "uid": format!("uid-{name}"),
            "resourceVersion": "12", "labels": {"app": "web", "pod-template-hash": "5d4f8c7b9"},
            "annotations": {"long": "x".repeat(5000), "short": "y"},
            "ownerReferences": [
                {"kind": "Node", "name": "n1"},
                {"kind": "ReplicaSet", "name": "web-5d4f8c7b9", "controller": true},
            ],
        }, "spec": {"nodeName": "n1"}})
    }

    #[test]
    fn answers_are_read() {
        let text = json!({"kind": "PodList", "metadata": {"resourceVersion": "70"},
            "items": [pod("a"), {"metadata": {"name": "b", "uid": "u"}}]});
        let List { objects, version } = list(text.to_string().as_bytes()).unwrap();
        assert_eq!((objects.len(), &*version), (2, "70"));
        let a = &objects[0];
        assert_eq!((&*a.uid, &*a.name, &*a.labels["app"]), ("uid-a", "a", "web"));
        assert_eq!(a.owner, Some(("Deployment".to_owned(), "web".to_owned())));
        assert_eq!(a.annotations.keys().collect::<Vec<_>>(), ["short"]);
        assert_eq!(objects[1], Object { uid: "u".into(), name: "b".into(), ..Object::default() });
        let no_items = json!({"metadata": {"resourceVersion": "1"}, "items": null}).to_string();
        assert_eq!(list(no_items.as_bytes()).unwrap().objects, []);
        assert!(list(b"<html>").is_err());
    }

    /// What kubelet calls the uid of a static pod is a hash of its manifest.
    #[test]
    fn a_static_pod_has_the_uid_of_its_logs() {
        let mut pod = pod("etcd-n1");
        pod["metadata"]["annotations"] = json!({"kubernetes.io/config.hash": "f0a8c3"});
        pod["metadata"]["ownerReferences"] =
            json!([{"kind": "Node", "name": "n1", "controller": true}]);
        let line = json!({"type": "ADDED", "object": pod}).to_string();
        let (Event::Changed(pod), Some(version)) = event(line.as_bytes()).unwrap() else {
            panic!("it was added");
        };
        assert_eq!((&*pod.uid, &*version), ("f0a8c3", "12"));
        assert_eq!(pod.owner, Some(("Node".to_owned(), "n1".to_owned())));
    }

    #[test]
    fn lines_of_a_watch_are_read() {
        let line = |kind: &str, object| json!({"type": kind, "object": object}).to_string();
        let read = |line: String| event(line.as_bytes()).unwrap();
        let status = |code: u16| json!({"kind": "Status", "message": "too old", "code": code});
        assert!(matches!(read(line("MODIFIED", pod("a"))), (Event::Changed(_), Some(_))));
        assert!(matches!(read(line("DELETED", pod("a"))), (Event::Gone(_), Some(_))));
        let bookmark = json!({"metadata": {"resourceVersion": "99"}});
        assert_eq!(read(line("BOOKMARK", bookmark)), (Event::Bookmark, Some("99".to_owned())));
        assert_eq!(read(line("ERROR", status(410))), (Event::Expired, None));
        assert_eq!(read(line("ERROR", status(500))), (Event::Failed("too old".to_owned()), None));
        assert!(event(b"{").is_err());
    }
}
