//! What the API of Kubernetes says of pods, on their lines.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;

use super::kubernetes::{Kubelet, UID};
use super::support::{KubeApi, Skald, eventually, settled};

/// A node whose agent asks `api`.
struct Node {
    kubelet: Kubelet,
    api: KubeApi,
}

const RULES: &str = "
    rules:
      - label: {team: {from: [$pod_label.team]}, zone: {from: [$node_label.\"topology/zone\"]}}
      - label: [$owner, $owner_kind]
      - metadata: [$pod, '$pod_label.\"app.kubernetes.io/name\"', $pod_annotation.note]";

impl Node {
    fn new(wait: &str) -> Self {
        Self::with(&format!("wait: {wait}"))
    }

    fn with(more: &str) -> Self {
        let api = KubeApi::start();
        let token = "{TOKEN}";
        let url = api.url();
        let yaml = format!("node: n1, api: {{url: \"{url}\", token_file: {token}, {more}}}");
        let mut kubelet = Kubelet::new(&yaml);
        let token = kubelet.bed.path("token");
        fs_err::write(&token, "first\n").unwrap();
        let source = kubelet.bed.source.replace("{TOKEN}", &token.display().to_string());
        kubelet.bed.source = source + RULES;
        api.set("nodes", "n1", json!({"uid": "n", "labels": {"topology/zone": "z1"}}));
        Self { kubelet, api }
    }

    /// The pod of all logs.
    fn pod(&self, team: &str) {
        let metadata = json!({
            "uid": UID, "namespace": "shop",
            "labels": {"team": team, "app.kubernetes.io/name": "web", "pod-template-hash": "5d4f"},
            "annotations": {"note": "by hand"},
            "ownerReferences": [
                {"kind": "ReplicaSet", "name": "web-5d4f", "controller": true, "uid": "r"}
            ],
        });
        self.api.set("pods", "web", metadata);
    }

    fn write(&mut self, restart: u32) {
        let log = self.kubelet.log("web", restart);
        self.kubelet.write(&log, "stdout");
    }

    /// How many lines came with this in their labels.
    fn came(&self, label: &str) -> usize {
        let entries = self.kubelet.bed.loki.store().entries();
        entries.iter().filter(|entry| entry.labels.to_string().contains(label)).count()
    }

    fn knows(&self, pods: u64) {
        eventually("the pods", || self.kubelet.bed.metrics().get("pods") == pods);
    }
}

fn quiet() -> Duration {
    Duration::from_millis(400)
}

#[test]
fn lines_wait_for_what_is_known_of_their_pod() {
    let mut node = Node::new("1m");
    let skald = node.kubelet.bed.run();
    node.write(0);
    eventually("the file", || skald.err().contains("reading file"));
    assert_eq!(settled(quiet(), || node.kubelet.bed.loki.copies()), 0, "nothing is known of it");
    node.pod("a");
    node.kubelet.all_came();
    let entry = node.kubelet.bed.loki.store().entries()[0].clone();
    let labels = "{owner=\"web\", owner_kind=\"Deployment\", team=\"a\", zone=\"z1\"}";
    assert_eq!(entry.labels.to_string(), labels);
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let metadata = [
        pair("pod", "web"),
        pair("pod_label_app_kubernetes_io_name", "web"),
        pair("pod_annotation_note", "by hand"),
    ];
    assert_eq!(format!("{:?}", entry.metadata), format!("{metadata:?}"));
    // What is known changes, and does not wait.
    node.pod("b");
    node.api.set("nodes", "n1", json!({"uid": "n", "labels": {"topology/zone": "z2"}}));
    eventually("the change", || {
        node.write(0);
        node.kubelet.all_came();
        node.came("team=\"b\", zone=\"z2\"") != 0
    });
    // Its last lines are still its own.
    node.api.remove("pods", "web");
    node.knows(0);
    let before = node.came("team=\"b\", zone=\"z2\"");
    node.write(0);
    node.write(1);
    node.kubelet.all_came();
    assert_eq!(node.came("team=\"b\", zone=\"z2\""), before + 2);
    skald.stop_well();
    let requests = node.api.requests();
    let is_own = |request: &String| {
        request.contains("pods?fieldSelector=spec.nodeName%3Dn1")
            || request.contains("nodes?fieldSelector=metadata.name%3Dn1")
    };
    assert!(requests.iter().all(is_own), "{requests:?}");
    assert_eq!(requests.len(), 4, "a list and a watch each: {requests:?}");
}

/// No line waits longer than it may, and no file is lost that is gone by then.
#[test]
fn without_an_api_lines_wait_for_a_bounded_time() {
    let mut node = Node::new("1s");
    node.api.fail(&[0; 1000]);
    let skald = node.kubelet.bed.run();
    node.write(0);
    eventually("the file", || skald.err().contains("reading file"));
    fs_err::remove_file(node.kubelet.log("web", 0)).unwrap();
    node.kubelet.all_came();
    assert_eq!(node.came("{job=\"skald\"}") + node.came("app=\"t\""), 1);
    assert_eq!(skald.err().matches("cannot follow the API").count(), 2, "once for each kind");
    skald.stop_well();
}

/// Whatever the server does, pods that come are known in the end.
#[test]
fn versions_expire_and_servers_fail() {
    type Trouble = fn(&KubeApi);
    let troubles: [Trouble; 7] = [
        |api| api.expire(false),
        |api| api.expire(true),
        |api| api.cut(),
        |api| {
            api.fail(&[500, 503, 429, 0, 403]);
            api.cut();
        },
        |api| {
            api.delay(Duration::from_millis(300));
            api.expire(false);
        },
        |api| {
            api.delay(Duration::ZERO);
            api.fail(&[410, 410]);
            api.cut();
        },
        |api| {
            api.expect("second");
            api.cut();
        },
    ];
    let mut node = Node::new("1m");
    node.api.expect("first");
    let skald = node.kubelet.bed.run();
    let rotate = |node: &Node| {
        fs_err::write(node.kubelet.bed.path("token"), "second").unwrap();
    };
    for (n, trouble) in (1..).zip(troubles) {
        trouble(&node.api);
        if n == 7 {
            rotate(&node);
        }
        let uid = format!("{n}{}", &UID[1..]);
        node.api.set("pods", &format!("p{n}"), json!({"uid": uid, "labels": {"team": "x"}}));
        let folder = node.kubelet.bed.path("pods").join(format!("shop_p{n}_{uid}")).join("app");
        node.kubelet.write(&folder.join("0.log"), "stdout");
        node.kubelet.all_came();
        assert_eq!(node.came("team=\"x\""), n, "trouble {n}: {}", skald.err());
        node.knows(n as u64);
    }
    let metrics = node.kubelet.bed.metrics();
    for status in ["200", "410", "500", "failed", "401"] {
        let series = format!("kubernetes_requests_total{{status=\"{status}\"}}");
        let at_least = u64::from(status != "401");
        assert!(at_least <= metrics.get(&series), "{series}");
    }
    skald.stop_well();
}

/// A reload may bring the API, and rules that ask for what it says.
#[test]
fn a_reload_begins_to_ask() {
    let mut node = Node::new("10s");
    let with = node.kubelet.bed.source.clone();
    node.kubelet.bed.source = with.split("\n    rules:").next().unwrap().to_owned();
    let skald: Skald = node.kubelet.bed.run();
    node.write(0);
    node.kubelet.all_came();
    assert_eq!(node.api.requests(), Vec::<String>::new(), "no rule asks");
    node.pod("a");
    node.kubelet.bed.source = with;
    node.kubelet.bed.config();
    skald.signal(rustix::process::Signal::HUP);
    node.knows(1);
    node.write(0);
    node.kubelet.all_came();
    assert_eq!(node.came("team=\"a\""), 1);
    skald.stop_well();
}

/// A log of another pod, which has these annotations.
fn annotated(
    node: &mut Node,
    pod: &str,
    number: usize,
    annotations: &serde_json::Value,
) -> PathBuf {
    let uid = format!("{number}{}", &UID[1..]);
    let metadata = json!({"uid": uid, "labels": {"team": pod}, "annotations": annotations});
    node.api.set("pods", pod, metadata);
    node.kubelet.bed.path("pods").join(format!("shop_{pod}_{uid}")).join("app").join("0.log")
}

fn append(log: &Path, lines: &[&str]) {
    for line in lines {
        let text = format!("{} stdout F {line}\n", jiff::Timestamp::now());
        super::support::bed::append(log, text.as_bytes());
    }
}

/// What came of a pod, with the values of its metadata.
fn of(node: &Node, pod: &str) -> Vec<String> {
    let team = format!("team=\"{pod}\"");
    let entries = node.kubelet.bed.loki.store().entries();
    let own = entries.iter().filter(|entry| entry.labels.to_string().contains(&team));
    own.map(|entry| String::from_utf8_lossy(&entry.line).into_owned()).collect()
}

#[test]
fn pods_choose_what_the_operator_leaves_to_them() {
    let mut node = Node::with("wait: 30s, annotations: [exclude, format, multiline, sample]");
    let source = node.kubelet.bed.source.replace("$pod_annotation.note]", "$pod, own_field]");
    node.kubelet.bed.source = source.replace("- metadata: [$pod, ", "- metadata: [");
    let skald = node.kubelet.bed.run();
    let trace = [
        "before",
        "Traceback (most recent call last):",
        "  File \"a.py\", line 1, in <module>",
        "    f()",
        "ValueError: no",
        "after",
    ];
    let cases = [
        ("plain", json!({})),
        ("out", json!({"skald.dev/exclude": "true"})),
        ("logfmt", json!({"skald.dev/format": "logfmt"})),
        ("lines", json!({"skald.dev/multiline": "python"})),
        ("none", json!({"skald.dev/sample": "0"})),
        ("wrong", json!({"skald.dev/format": "jsn", "skald.dev/drop": "all"})),
    ];
    for (number, (pod, annotations)) in cases.iter().enumerate() {
        let log = annotated(&mut node, pod, number, annotations);
        append(&log, &trace);
        append(&log, &["own_field=1", "{\"level\":\"error\"}"]);
    }
    let joined = trace[..5].join("\n");
    let as_lines: Vec<&str> =
        trace.into_iter().chain(["own_field=1", "{\"level\":\"error\"}"]).collect();
    for pod in ["plain", "logfmt", "wrong"] {
        eventually(pod, || of(&node, pod).len() == as_lines.len());
        assert_eq!(of(&node, pod), as_lines, "{pod}");
    }
    let expected = [&joined, "after", "own_field=1", "{\"level\":\"error\"}"];
    eventually("an entry of many lines", || of(&node, "lines") == expected);
    eventually("the errors", || of(&node, "none") == ["{\"level\":\"error\"}"]);
    assert_eq!(of(&node, "out"), Vec::<String>::new());
    let entries = node.kubelet.bed.loki.store().entries();
    let fields = entries.iter().filter(|entry| {
        entry.metadata.iter().any(|(name, value)| name == "own_field" && value == "1")
    });
    let teams: Vec<String> = fields.map(|entry| entry.labels.to_string()).collect();
    assert!(teams.len() == 1 && teams[0].contains("logfmt"), "{teams:?}");
    let err = skald.err();
    for why in ["`skald.dev/format: jsn`: write one of", "`skald.dev/drop: all`: there is no such"]
    {
        assert_eq!(err.matches(why).count(), 1, "{why}: {err}");
    }
    let (_, files) = node.kubelet.bed.page("/files").unwrap();
    assert!(!files.contains("shop_out"), "it is not even open: {files}");
    // They change their minds.
    let log = annotated(&mut node, "out", 1, &json!({}));
    eventually("the lines of before", || of(&node, "out").len() == as_lines.len());
    annotated(&mut node, "out", 1, &json!({"skald.dev/exclude": "true"}));
    eventually("the file is closed", || {
        let (_, files) = node.kubelet.bed.page("/files").unwrap();
        !files.contains("shop_out")
    });
    append(&log, &["unread"]);
    assert_eq!(settled(quiet(), || of(&node, "out").len()), as_lines.len());
    annotated(&mut node, "out", 1, &json!({"skald.dev/sample": "1"}));
    eventually("what was written meanwhile", || of(&node, "out").len() == as_lines.len() + 1);
    skald.stop_well();
}

#[test]
fn pods_do_not_choose_what_is_not_left_to_them() {
    let mut node = Node::with("wait: 30s, annotations: [format]");
    let skald = node.kubelet.bed.run();
    let annotations = json!({"skald.dev/exclude": "true", "skald.dev/sample": "0"});
    let log = annotated(&mut node, "own", 1, &annotations);
    append(&log, &["a", "b"]);
    eventually("the lines", || of(&node, "own") == ["a", "b"]);
    assert_eq!(skald.err().matches("`api.annotations` does not allow it").count(), 2);
    skald.stop_well();
}
