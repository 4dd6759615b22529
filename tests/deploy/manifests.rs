//! The files that people apply, build and install agree with each other, with the design's rulings
//! on rights, and with the program.

use std::process::Command;

use regex::Regex;
use serde_json::{Value, json};
use skald::config::{self, Config, Input};

use crate::{path, read, yaml};

const FOLDER: &str = "config/kubernetes";

/// The documents of a manifest.
fn manifest(name: &str) -> Vec<Value> {
    yaml::documents(&read(&format!("{FOLDER}/{name}")))
}

/// The document of that kind.
fn find(documents: &[Value], kind: &str) -> Value {
    let mut found = documents.iter().filter(|document| document["kind"] == kind);
    let one = found.next().unwrap_or_else(|| panic!("no {kind}")).clone();
    assert!(found.next().is_none(), "one {kind}");
    one
}

/// One way of running Skald: pod, container, and the configuration that is mounted into it.
struct Way {
    pod: Value,
    container: Value,
    config: Config,
}

/// The DaemonSet and the sidecar.
fn ways() -> [Way; 2] {
    let daemon_set = find(&manifest("daemonset.yaml"), "DaemonSet");
    let daemon_pod = daemon_set["spec"]["template"].clone();
    let sidecar = manifest("sidecar.yaml");
    let sidecar_pod = find(&sidecar, "Pod");
    [
        way(&daemon_pod, "containers", &find(&manifest("configmap.yaml"), "ConfigMap")),
        way(&sidecar_pod, "initContainers", &find(&sidecar, "ConfigMap")),
    ]
}

fn way(pod: &Value, list: &str, config_map: &Value) -> Way {
    let container = pod["spec"][list][0].clone();
    assert_eq!(container["name"], "skald");
    let volumes = pod["spec"]["volumes"].as_array().unwrap();
    let volume = volumes.iter().find(|volume| volume["name"] == "config").unwrap();
    assert_eq!(volume["configMap"]["name"], config_map["metadata"]["name"], "is what is mounted");
    let text = config_map["data"]["skald.yaml"].as_str().unwrap();
    let env = |name: &str| {
        let entries = container["env"].as_array().unwrap();
        entries.iter().any(|entry| entry["name"] == name).then(|| "x".to_owned())
    };
    let loaded = config::load(text.as_bytes(), "skald.yaml", &env);
    assert_eq!(loaded.report.render(false), "", "no mistake, no warning");
    Way { pod: pod.clone(), config: loaded.config.unwrap(), container }
}

/// Where the container has a volume, and whether it may write there.
fn mounts(container: &Value) -> Vec<(String, bool)> {
    let mounts = container["volumeMounts"].as_array().unwrap().iter();
    let mount = |mount: &Value| {
        (mount["mountPath"].as_str().unwrap().to_owned(), mount["readOnly"] != true)
    };
    mounts.map(mount).collect()
}

#[test]
fn every_manifest_is_well_formed() {
    let mut seen = Vec::new();
    for entry in fs_err::read_dir(path(FOLDER)).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        for document in manifest(&name) {
            assert!(document["apiVersion"].is_string() && document["kind"].is_string(), "{name}");
            // Whoever applies them says where to.
            assert_eq!(document["metadata"]["namespace"], Value::Null, "{name}");
        }
        seen.push(name);
    }
    let kustomization = &manifest("kustomization.yaml")[0];
    for name in kustomization["resources"].as_array().unwrap() {
        assert!(seen.contains(&name.as_str().unwrap().to_owned()), "{name} is a file");
    }
    assert_eq!(kustomization["images"][0]["newTag"], env!("CARGO_PKG_VERSION"));
}

/// What `kubernetes.api` asks for, and no more.
#[test]
fn the_api_may_be_listed_and_watched() {
    let documents = manifest("api.yaml");
    let rules = json!([
        {"apiGroups": [""], "resources": ["pods", "nodes"], "verbs": ["list", "watch"]}
    ]);
    assert_eq!(find(&documents, "ClusterRole")["rules"], rules);
    let binding = find(&documents, "ClusterRoleBinding");
    let account = find(&manifest("rbac.yaml"), "ServiceAccount");
    assert_eq!(binding["subjects"][0]["name"], account["metadata"]["name"]);
    assert_eq!(binding["roleRef"]["name"], find(&documents, "ClusterRole")["metadata"]["name"]);
    // What its comment says to change is there.
    let daemon_set = find(&manifest("daemonset.yaml"), "DaemonSet");
    assert_eq!(daemon_set["spec"]["template"]["spec"]["automountServiceAccountToken"], false);
}

#[test]
fn the_configuration_fits_what_is_mounted() {
    for Way { pod, container, config } in ways() {
        let args = json!(["run", "-c", "/etc/skald/skald.yaml", "--log-format", "json"]);
        assert_eq!(container["args"], args);
        let mounts = mounts(&container);
        let mount = |path: &str| mounts.iter().find(|(at, _)| path.starts_with(at)).cloned();
        assert!(!mount("/etc/skald/skald.yaml").unwrap().1);
        let state = config.state_dir.unwrap();
        assert!(mount(state.to_str().unwrap()).unwrap().1, "state");
        for source in config.sources {
            let Input::Files { globs, symlink_roots, .. } = source.input else {
                panic!("no standard input in a pod")
            };
            for glob in globs {
                assert!(!mount(&glob).expect("logs are mounted").1, "{glob}");
            }
            for root in symlink_roots {
                // Docker's folder is there where Docker is.
                let is_written = mount(root.to_str().unwrap()).map(|(_, is_written)| is_written);
                assert!(is_written == Some(false) || source.place.pods.is_some(), "{root:?}");
            }
        }
        let grace = pod["spec"]["terminationGracePeriodSeconds"].as_u64().unwrap();
        assert!(config.shutdown_deadline.as_secs() < grace, "it ends before it is killed");
    }
}

#[test]
fn probes_and_scrapes_reach_the_admin_server() {
    for Way { pod, container, config } in ways() {
        let listen = config.admin_listen.unwrap();
        assert!(listen.ip().is_unspecified(), "probes come from outside");
        let ports = json!([{"name": "admin", "containerPort": listen.port()}]);
        assert_eq!(container["ports"], ports);
        let annotations = &pod["metadata"]["annotations"];
        assert_eq!(annotations["prometheus.io/scrape"], "true");
        assert_eq!(annotations["prometheus.io/port"], listen.port().to_string());
        assert_eq!(annotations["prometheus.io/path"], "/metrics");
        let live = json!({"path": "/healthy", "port": "admin"});
        assert_eq!(container["livenessProbe"]["httpGet"], live);
    }
    let [daemon_set, sidecar] = ways();
    let ready = json!({"path": "/ready", "port": "admin"});
    assert_eq!(daemon_set.container["readinessProbe"]["httpGet"], ready);
    assert_eq!(sidecar.container["readinessProbe"], Value::Null, "it would be the pod's");
}

#[test]
fn rights_are_as_few_as_can_be() {
    let [daemon_set, sidecar] = ways();
    for Way { pod, container, config } in [&daemon_set, &sidecar] {
        let limits = &container["securityContext"];
        assert_eq!(limits["allowPrivilegeEscalation"], false);
        assert_eq!(limits["readOnlyRootFilesystem"], true);
        assert_eq!(limits["privileged"], Value::Null);
        assert_eq!(limits["capabilities"]["drop"], json!(["ALL"]));
        let spec = &pod["spec"];
        assert_eq!(spec["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
        assert_eq!(spec["automountServiceAccountToken"], false);
        for shared in ["hostNetwork", "hostPID", "hostIPC"] {
            assert_eq!(spec[shared], Value::Null);
        }
        let writable = mounts(container).into_iter().filter(|(_, writable)| *writable);
        let writable: Vec<_> = writable.map(|(at, _)| at).collect();
        assert_eq!(writable, [config.state_dir.as_ref().unwrap().to_str().unwrap()]);
        let memory = &container["resources"]["limits"]["memory"];
        assert_eq!((memory, config.memory.in_flight), (&json!("64Mi"), 8 * 1024 * 1024));
    }
    let limits = &daemon_set.container["securityContext"];
    assert_eq!(limits["runAsUser"], 0, "/var/log/pods belongs to root");
    assert_eq!(limits["capabilities"]["add"], json!(["DAC_READ_SEARCH"]));
    let limits = &sidecar.container["securityContext"];
    assert_eq!(limits["runAsUser"], 65532);
    assert_eq!(limits["capabilities"]["add"], Value::Null);
    assert_eq!(sidecar.pod["spec"]["securityContext"]["runAsNonRoot"], true);

    let account = manifest("rbac.yaml");
    assert_eq!(account.len(), 1, "no Role: nothing is asked of the API server");
    assert_eq!(account[0]["kind"], "ServiceAccount");
    assert_eq!(account[0]["automountServiceAccountToken"], false);
    assert_eq!(daemon_set.pod["spec"]["serviceAccountName"], account[0]["metadata"]["name"]);
}

#[test]
fn the_daemon_set_is_on_every_node_and_has_the_state_alone() {
    let documents = manifest("daemonset.yaml");
    let spec = &find(&documents, "DaemonSet")["spec"];
    assert_eq!(spec["selector"]["matchLabels"], spec["template"]["metadata"]["labels"]);
    // The state folder is locked: two pods on a node would wait for each other for ever.
    assert_eq!(spec["updateStrategy"]["rollingUpdate"]["maxSurge"], 0);
    let pod = &spec["template"]["spec"];
    assert_eq!(pod["tolerations"], json!([{"operator": "Exists"}]));
    let class = find(&documents, "PriorityClass");
    assert_eq!(pod["priorityClassName"], class["metadata"]["name"]);
    for volume in pod["volumes"].as_array().unwrap() {
        if let Some(host) = volume["hostPath"].as_object() {
            let mounts = &pod["containers"][0]["volumeMounts"].as_array().unwrap();
            let mount = mounts.iter().find(|mount| mount["name"] == volume["name"]).unwrap();
            assert_eq!(mount["mountPath"], host["path"], "links among them lead where they do");
        }
    }
}

#[test]
fn the_sidecar_outlives_its_service() {
    let [_, sidecar] = ways();
    assert_eq!(sidecar.container["restartPolicy"], "Always");
    let service = &sidecar.pod["spec"]["containers"][0];
    let writes = mounts(service);
    assert!(mounts(&sidecar.container).contains(&(writes[0].0.clone(), false)), "{writes:?}");
}

#[test]
fn the_image_is_what_the_manifests_run() {
    let file = read("Dockerfile");
    let stages: Vec<&str> = file.lines().filter(|line| line.starts_with("FROM ")).collect();
    assert!(stages[0].contains("-bookworm") && stages[1].ends_with("-debian12"), "{stages:?}");
    let rust = concat!("rust:", env!("CARGO_PKG_RUST_VERSION"), "-");
    assert!(stages[0].contains(rust), "{stages:?}");
    for line in [
        r#"ENTRYPOINT ["/skald"]"#,
        r#"CMD ["run", "-c", "/etc/skald/skald.yaml"]"#,
        "USER 65532:65532",
    ] {
        assert!(file.lines().any(|found| found == line), "{line}");
    }
    let check = file.lines().find(|line| line.starts_with("HEALTHCHECK")).unwrap();
    assert!(check.ends_with(r#" CMD ["/skald", "health"]"#), "{check}");
    let [daemon_set, sidecar] = ways();
    assert_eq!(daemon_set.container["image"], sidecar.container["image"]);
    assert_eq!(daemon_set.container["command"], Value::Null, "the image's");
}

/// `.dockerignore` lets into the build whatever it reads: the targets of `Cargo.toml`, all of
/// which cargo wants to see, and the files that the sources include.
#[test]
fn the_build_is_given_all_that_it_reads() {
    let ignore = read(".dockerignore");
    let context = tempfile::tempdir().unwrap();
    for allowed in ignore.lines().filter_map(|line| line.strip_prefix('!')) {
        for entry in walkdir::WalkDir::new(path(allowed)).into_iter().filter_map(Result::ok) {
            let to = context.path().join(entry.path().strip_prefix(path("")).unwrap());
            if entry.file_type().is_file() {
                fs_err::create_dir_all(to.parent().unwrap()).unwrap();
                fs_err::copy(entry.path(), to).unwrap();
            }
        }
    }
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["metadata", "--no-deps", "--format-version", "1"]).current_dir(context.path());
    let output = cargo.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    let pattern = Regex::new(r#"include_(?:str|bytes)!\("([^"]+)"\)"#).unwrap();
    let mut included = 0;
    for entry in walkdir::WalkDir::new(context.path().join("src")) {
        let entry = entry.unwrap();
        // What is not text is no source.
        let text = fs_err::read_to_string(entry.path()).unwrap_or_default();
        for found in pattern.captures_iter(&text) {
            let file = entry.path().parent().unwrap().join(&found[1]);
            assert!(file.exists(), "{} is let into the build", file.display());
            included += 1;
        }
    }
    assert!(included > 0, "the demo's log");
}

#[test]
fn the_unit_gives_time_to_end() {
    let unit = read("config/systemd/skald.service");
    let value = |key: &str| {
        let line = unit.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        line.unwrap_or_else(|| panic!("no {key}")).to_owned()
    };
    let defaults = Config::defaults("http://loki:3100");
    let stop: u64 = value("TimeoutStopSec").strip_suffix('s').unwrap().parse().unwrap();
    assert!(defaults.shutdown_deadline.as_secs() < stop);
    let state = format!("/var/lib/{}", value("StateDirectory"));
    assert_eq!(defaults.state_dir.unwrap().to_str().unwrap(), state);
    assert_eq!(value("CapabilityBoundingSet"), value("AmbientCapabilities"));
}
