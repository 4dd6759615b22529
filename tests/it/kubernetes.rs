//! Logs of containers, laid out and rotated as kubelet does it.

use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::support::{Bed, eventually, settled};

pub(crate) const UID: &str = "3a6c7c8e-8a0e-4f4e-9b1f-0d7a5b1f2c3d";

/// A node's folder with logs, and how many lines its containers have written.
pub(crate) struct Kubelet {
    pub(crate) bed: Bed,
    pub(crate) lines: usize,
}

impl Kubelet {
    pub(crate) fn new(yaml: &str) -> Self {
        let mut bed = Bed::new();
        let logs = bed.path("pods");
        fs_err::create_dir(&logs).unwrap();
        bed.source = format!("  - kubernetes: {{logs: \"{}\", {yaml}}}", logs.display());
        Self { bed, lines: 0 }
    }

    pub(crate) fn folder(&self, namespace: &str, pod: &str, container: &str) -> PathBuf {
        self.bed.path("pods").join(format!("{namespace}_{pod}_{UID}")).join(container)
    }

    pub(crate) fn log(&self, pod: &str, restart: u32) -> PathBuf {
        self.folder("shop", pod, "app").join(format!("{restart}.log"))
    }

    /// A line of a service, as the container runtime writes it.
    pub(crate) fn write(&mut self, path: &Path, output: &str) {
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        let now = jiff::Timestamp::now();
        let line = format!("{now} {output} F {{\"level\":\"info\",\"n\":{}}}\n", self.lines);
        super::support::bed::append(path, line.as_bytes());
        self.lines += 1;
    }

    /// What came is every line once, in the order of writing.
    #[track_caller]
    pub(crate) fn all_came(&self) {
        eventually("all lines", || self.bed.loki.copies() == self.lines);
        settled(Duration::from_millis(200), || self.bed.loki.copies());
        let entries = self.bed.loki.store().entries();
        let mut seen: Vec<usize> = entries
            .iter()
            .map(|entry| serde_json::from_slice::<serde_json::Value>(&entry.line).unwrap())
            .map(|line| usize::try_from(line["n"].as_u64().unwrap()).unwrap())
            .collect();
        seen.sort_unstable();
        assert_eq!(seen, (0..self.lines).collect::<Vec<_>>());
    }
}

fn gzip(path: &Path) {
    let bytes = fs_err::read(path).unwrap();
    let packed = PathBuf::from(format!("{}.gz", path.display()));
    let file = fs_err::File::create(packed).unwrap();
    let mut packer = flate2::write::GzEncoder::new(file, flate2::Compression::default());
    packer.write_all(&bytes).unwrap();
    packer.finish().unwrap();
    fs_err::remove_file(path).unwrap();
}

#[test]
fn labels_say_which_container_a_line_is_of() {
    let mut kubelet =
        Kubelet::new("node: n1, exclude: [{namespace: kube-*}, {pod: web, container: b}]");
    let skald = kubelet.bed.run();
    for container in ["app", "init-db", "debugger-x7"] {
        let log = kubelet.folder("shop", "web-7d9c.x", container).join("0.log");
        kubelet.write(&log, "stderr");
    }
    for (namespace, pod, container) in [("kube-system", "dns", "a"), ("shop", "web", "b")] {
        let log = kubelet.folder(namespace, pod, container).join("0.log");
        kubelet.write(&log, "stdout");
        kubelet.lines -= 1;
    }
    kubelet.write(&kubelet.folder("shop", "web", "c").join("4.log"), "stdout");
    kubelet.all_came();
    let (_, files) = kubelet.bed.page("/files").unwrap();
    assert!(!files.contains("kube-system") && !files.contains("/b/"), "{files}");
    skald.stop_well();
    let mut seen: Vec<String> = (kubelet.bed.loki.store().entries().iter())
        .map(|entry| {
            let pairs: Vec<String> =
                entry.metadata.iter().map(|(name, value)| format!("{name}={value}")).collect();
            format!("{} {}", entry.labels, pairs.join(" "))
        })
        .collect();
    seen.sort_unstable();
    let of = |container: &str, pod: &str, stream: &str| {
        format!(
            "{{container=\"{container}\", level=\"info\", namespace=\"shop\"}} pod={pod} stream={stream}"
        )
    };
    let expected = [
        of("app", "web-7d9c.x", "stderr"),
        of("c", "web", "stdout"),
        of("debugger-x7", "web-7d9c.x", "stderr"),
        of("init-db", "web-7d9c.x", "stderr"),
    ];
    assert_eq!(seen, expected);
}

#[test]
fn rotation_restarts_and_the_end_of_a_pod_lose_nothing() {
    let mut kubelet = Kubelet::new("exclude: []");
    let skald = kubelet.bed.run();
    let log = kubelet.log("web", 0);
    let mut rotated: Vec<PathBuf> = vec![];
    for rotation in 0..4 {
        for _ in 0..50 {
            kubelet.write(&log, "stdout");
        }
        if rotation == 0 {
            // Kubelet does not pack what nobody can have seen: it rotates seconds later.
            kubelet.all_came();
        }
        // Kubelet keeps the newest as it is, and packs the others.
        if let Some(before) = rotated.last() {
            gzip(before);
        }
        let to = log.with_file_name(format!("0.log.20261126-10150{rotation}"));
        fs_err::rename(&log, &to).unwrap();
        rotated.push(to);
        kubelet.write(&log, "stdout");
    }
    // The container starts again.
    for _ in 0..20 {
        kubelet.write(&kubelet.log("web", 1), "stdout");
    }
    kubelet.all_came();
    // The pod ends with lines that were just written.
    for _ in 0..20 {
        kubelet.write(&kubelet.log("web", 1), "stdout");
        kubelet.write(&kubelet.log("job", 0), "stdout");
    }
    kubelet.bed.adds_up();
    kubelet.all_came();
    fs_err::remove_dir_all(kubelet.bed.path("pods").join(format!("shop_web_{UID}"))).unwrap();
    kubelet.write(&kubelet.log("job", 0), "stdout");
    // One of the same name takes its place.
    kubelet.write(&kubelet.log("web", 0), "stdout");
    kubelet.all_came();
    skald.stop_well();
    let streams = kubelet.bed.loki.store().stats().streams;
    assert_eq!(streams, 1, "a rotated log keeps its labels");
}

#[test]
fn links_into_dockers_folder_are_followed() {
    let mut kubelet = Kubelet::new("include: [{namespace: shop}]");
    let docker = kubelet.bed.path("docker");
    kubelet.bed.source += &format!("\n    symlink_roots: \"{}\"", docker.display());
    fs_err::create_dir_all(docker.join("c0ffee")).unwrap();
    let target = docker.join("c0ffee").join("c0ffee-json.log");
    let link = kubelet.log("web", 0);
    fs_err::create_dir_all(link.parent().unwrap()).unwrap();
    symlink(&target, &link).unwrap();
    let skald = kubelet.bed.run();
    let now = jiff::Timestamp::now();
    let line = r#"{\"level\":\"info\",\"n\":0}\n"#;
    let wrapped = format!("{{\"log\":\"{line}\",\"stream\":\"stderr\",\"time\":\"{now}\"}}\n");
    super::support::bed::append(&target, wrapped.as_bytes());
    kubelet.lines = 1;
    kubelet.all_came();
    skald.stop_well();
    let entries = kubelet.bed.loki.store().entries();
    assert!(entries[0].metadata.contains(&("stream".to_owned(), "stderr".to_owned())));
    assert!(entries[0].labels.to_string().contains("container=\"app\""), "{}", entries[0].labels);
}

#[test]
fn the_path_of_a_file_can_be_a_label() {
    let mut bed = Bed::new();
    bed.source =
        "    path: '/logs/(?P<service>[a-z]+)/'\n    rules: [label: [$service], metadata: \
                  [$filename]]"
            .to_owned();
    bed.append("shop/a.log", "x\n");
    bed.append("1/a.log", "y\n");
    let skald = bed.run();
    eventually("both lines", || bed.loki.copies() == 2);
    skald.stop_well();
    let mut seen: Vec<String> = (bed.loki.store().entries().iter())
        .map(|entry| format!("{} {}", entry.labels, entry.metadata[0].1))
        .collect();
    seen.sort_unstable();
    let of = |labels: &str, file: &str| format!("{labels} {}", bed.log(file).display());
    let expected =
        [of("{app=\"t\", service=\"shop\"}", "shop/a.log"), of("{app=\"t\"}", "1/a.log")];
    assert_eq!(seen, expected);
}
