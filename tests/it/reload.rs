//! A configuration that is read again while the agent runs.

use std::path::PathBuf;
use std::time::Duration;

use rustix::process::Signal;

use super::support::metrics::ask;
use super::support::oracle::EXACT;
use super::support::{Bed, Sent, Skald, address, always, answer, eventually, settled, skald};

/// A folder, a receiver, and a file that says what is done.
struct Site {
    bed: Bed,
    sent: Sent,
    /// Where pushes go, if that is not the receiver.
    url: Option<String>,
    /// More lines at the top.
    top: String,
}

impl Site {
    fn new() -> Self {
        Self { bed: Bed::new(), sent: Sent::default(), url: None, top: String::new() }
    }

    fn path(&self) -> PathBuf {
        self.bed.path("skald.yaml")
    }

    /// Writes a configuration with these sources, of which `LOGS` is the folder of logs.
    fn write(&self, sources: &str) {
        let url = self.url.clone().unwrap_or_else(|| self.bed.loki.url());
        let logs = self.bed.path("logs").display().to_string();
        let text = format!(
            "loki: {{url: \"{url}\"}}\nstate_dir: {}\nadmin: {{listen: \"{}\"}}\n\
             batch: {{age_max: 50ms}}\nretry: {{delay_min: 20ms, delay_max: 200ms}}\n{}\n\
             sources:\n{}",
            self.bed.path("state").display(),
            self.bed.admin,
            self.top,
            sources.replace("LOGS", &logs)
        );
        fs_err::write(self.path(), text).unwrap();
    }

    fn start(&self, sources: &str) -> Skald {
        self.write(sources);
        let mut command = skald();
        command.arg("run").arg("-c").arg(self.path());
        let skald = Skald::spawn(&mut command);
        eventually("the start", || self.bed.page("/ready").is_some());
        skald
    }

    fn reload(&self) -> (u16, String) {
        ask(self.bed.admin, "POST", "/reload").unwrap()
    }

    #[track_caller]
    fn change(&self, sources: &str) -> String {
        self.write(sources);
        let (status, text) = self.reload();
        assert_eq!(status, 200, "{text}");
        text
    }

    fn append(&mut self, file: &str, lines: u64) {
        let text = self.sent.lines(file, lines);
        self.bed.append(file, text);
    }

    #[track_caller]
    fn all_came(&self) {
        self.bed.wait_for(&self.sent);
        assert_eq!(self.sent.found(self.bed.loki.store()), EXACT);
    }

    /// How many lines came in streams with this label.
    fn came(&self, label: &str) -> usize {
        let entries = self.bed.loki.store().entries();
        entries.iter().filter(|entry| entry.labels.to_string().contains(label)).count()
    }
}

const A: &str = "  - {name: a, files: LOGS/a*.log, labels: {app: a}}\n";

#[test]
fn rules_change_between_two_lines() {
    let mut site = Site::new();
    let skald = site.start(A);
    site.append("a.log", 10);
    site.all_came();
    let text = site.change("  - {name: a, files: LOGS/a*.log, labels: {app: b, x: y}}\n");
    assert_eq!(text, "sources 1, of them new 0, changed 1; gone 0\n");
    site.append("a.log", 10);
    site.all_came();
    assert_eq!((site.came("app=\"a\""), site.came("app=\"b\"")), (10, 10));
    // Two streams whose labels are swapped, between two lines of one batch.
    let text = site.change(A);
    assert_eq!(text, "sources 1, of them new 0, changed 1; gone 0\n");
    assert_eq!(site.change(A), "sources 1, of them new 0, changed 0; gone 0\n");
    site.append("a.log", 10);
    site.all_came();
    assert_eq!((site.came("app=\"a\""), site.came("app=\"b\"")), (20, 10));
    let metrics = site.bed.metrics();
    assert_eq!(metrics.get("config_reloads_total{result=\"success\"}"), 3);
    skald.stop_well();
}

#[test]
fn sources_come_and_go_and_are_known_again() {
    let mut site = Site::new();
    let skald = site.start(A);
    site.append("a.log", 10);
    site.append("b.log", 10);
    let b = "  - {name: b, files: LOGS/b*.log, labels: {app: b}}\n";
    let text = site.change(&format!("{A}{b}"));
    assert_eq!(text, "sources 2, of them new 1, changed 0; gone 0\n");
    site.all_came();
    let text = site.change(b);
    assert_eq!(text, "sources 1, of them new 0, changed 0; gone 1\n");
    site.append("a.log", 10);
    site.append("b.log", 10);
    eventually("the lines of one", || site.came("app=\"b\"") == 20);
    assert_eq!(settled(Duration::from_millis(300), || site.came("app=\"a\"")), 10);
    let files: serde_json::Value =
        serde_json::from_str(&site.bed.page("/files").unwrap().1).unwrap();
    assert_eq!(files.as_array().unwrap().len(), 1, "a file of no source is closed: {files}");
    // What was written meanwhile is read, once.
    site.change(&format!("{A}{b}"));
    site.all_came();
    assert_eq!((site.came("app=\"a\""), site.came("app=\"b\"")), (20, 20));
    skald.stop_well();
    let skald = site.start(&format!("{A}{b}"));
    site.append("a.log", 1);
    site.all_came();
    skald.stop_well();
}

#[test]
fn a_file_goes_from_one_source_to_another() {
    let mut site = Site::new();
    let b = "  - {name: b, files: LOGS/b*.log, labels: {app: b}}\n";
    let skald = site.start(&format!("{A}{b}"));
    site.append("a.log", 10);
    site.append("a1.log", 10);
    site.all_came();
    // The first that matches has it, whatever came first in the life of the process.
    let first = "  - {name: c, files: LOGS/a1.log, labels: {app: c}}\n";
    site.change(&format!("{first}{A}{b}"));
    site.append("a1.log", 10);
    site.append("a.log", 10);
    site.all_came();
    assert_eq!((site.came("app=\"a\""), site.came("app=\"c\"")), (30, 10));
    // With what is not settled, and with lines that wait in the file.
    site.bed.loki.answers().add([always(answer(503, "away"))]);
    site.append("a1.log", 10);
    eventually("a push", || skald.err().contains("did not take a push"));
    site.change(&format!("{A}{b}"));
    site.append("a1.log", 10);
    site.change(&format!("{first}{A}{b}"));
    site.append("a1.log", 10);
    site.bed.loki.answers().clear();
    site.all_came();
    skald.stop_well();
}

#[test]
fn mistakes_change_nothing() {
    let mut site = Site::new();
    let skald = site.start(A);
    site.append("a.log", 10);
    site.all_came();
    site.write("  - {name: a, files: relative.log, labells: {app: b}}\n");
    let (status, text) = site.reload();
    assert_eq!(status, 422);
    assert!(text.contains("labells") && text.contains("2 mistakes in"), "{text}");
    fs_err::remove_file(site.path()).unwrap();
    assert_eq!(site.reload().0, 422);
    site.top = "memory: {in_flight: 16MiB}\nlimits: {line_bytes: 2KiB}".to_owned();
    site.write(A);
    let (status, text) = site.reload();
    assert_eq!(status, 422);
    assert_eq!(text, "only a restart changes this: memory, limits.line_bytes\n");
    site.top = String::new();
    site.write("  - {stdin: true}\n");
    assert!(site.reload().1.starts_with("only a restart changes this"), "{text}");
    let counter = |labels: &str| {
        format!("  - {{name: a, files: LOGS/a*.log, rules: [{{metrics: {{x: {{{labels}}}}}}}]}}\n")
    };
    site.change(&counter("help: one"));
    site.write(&counter("help: another"));
    let (status, text) = site.reload();
    assert_eq!(status, 422, "{text}");
    assert!(text.contains("the metric `x"), "{text}");
    site.append("a.log", 10);
    site.all_came();
    let metrics = site.bed.metrics();
    assert_eq!(metrics.get("config_reload_failed"), 1);
    assert_eq!(metrics.get("config_reloads_total{result=\"failure\"}"), 5);
    // A signal does the same, and the log says how it went.
    skald.signal(Signal::HUP);
    eventually("the log", || skald.err().matches("cannot be taken").count() == 6);
    site.write(A);
    skald.signal(Signal::HUP);
    eventually("the reload", || site.bed.metrics().get("config_reload_failed") == 0);
    assert_eq!(ask(site.bed.admin, "GET", "/reload").unwrap().0, 405);
    skald.stop_well();
}

/// Lines that wait for a Loki that is not there reach the one of the new configuration at once.
#[test]
fn the_way_to_loki_is_exchanged_under_waiting_lines() {
    let mut site = Site::new();
    site.url = Some(format!("http://{}", address(3100)));
    site.top = "retry: {delay_min: 1h, delay_max: 1h}".to_owned();
    // The default of the other tests is above it.
    let text = |site: &Site| {
        site.write(A);
        let text = fs_err::read_to_string(site.path()).unwrap();
        let own = text.replace("retry: {delay_min: 20ms, delay_max: 200ms}\n", "");
        fs_err::write(site.path(), own).unwrap();
    };
    text(&site);
    let mut command = skald();
    command.arg("run").arg("-c").arg(site.path());
    let skald = Skald::spawn(&mut command);
    site.append("a.log", 100);
    eventually("a push", || skald.err().contains("did not take a push"));
    site.url = None;
    text(&site);
    let (status, answer) = site.reload();
    assert_eq!(status, 200, "{answer}");
    site.all_came();
    skald.stop_well();
}

/// What only we keep on disk is read on, whatever else changes.
#[test]
fn deleted_files_outlive_a_reload() {
    let mut site = Site::new();
    site.bed.loki.answers().add([always(answer(503, "away"))]);
    let skald = site.start(A);
    let mut rng = fastrand::Rng::with_seed(1);
    let lines: String = (0..20_000).map(|_| site.sent.noisy("a.log", &mut rng)).collect();
    site.bed.append("a.log", lines);
    eventually("a push", || skald.err().contains("did not take a push"));
    fs_err::remove_file(site.bed.log("a.log")).unwrap();
    let deleted = || site.bed.metrics().get("deleted_bytes") != 0;
    eventually("the deletion", deleted);
    let read = settled(Duration::from_millis(300), || site.bed.metrics().sum("lines_read_total"));
    assert!(read < 20_000, "memory holds all of it");
    site.change("  - {name: a, files: LOGS/a*.log, labels: {app: a, x: y}}\n");
    site.change("  - {name: b, files: LOGS/b*.log}\n");
    site.change(A);
    site.bed.loki.answers().clear();
    site.bed.wait_for(&site.sent);
    let found = site.sent.found(site.bed.loki.store());
    assert_eq!((found.lost, found.repeated, found.disordered), (0, 0, 0));
    skald.stop_well();
}

#[test]
fn tenants_come_and_go() {
    let mut site = Site::new();
    let of = |tenant: &str| {
        format!("  - {{name: a, files: LOGS/a*.log, labels: {{app: a}}, tenant: {tenant}}}\n")
    };
    let skald = site.start(&of("t0"));
    for round in 0..12 {
        site.change(&of(&format!("t{}", round % 5)));
        site.append("a.log", 20);
        site.all_came();
    }
    let entries = site.bed.loki.store().entries();
    let of =
        |name: &str| entries.iter().filter(|entry| entry.tenant.as_deref() == Some(name)).count();
    let counts: Vec<usize> = (0..5).map(|n| of(&format!("t{n}"))).collect();
    assert_eq!(counts, [60, 60, 40, 40, 40]);
    skald.stop_well();
}

#[test]
fn standard_input_gets_other_rules() {
    let site = Site::new();
    let of = |app: &str| {
        format!("  - {{stdin: true, labels: {{app: {app}}}, rules: [{{metadata: $stream}}]}}\n")
    };
    site.write(&of("a"));
    let mut command = skald();
    command.arg("exec").arg("-c").arg(site.path());
    let (mark, go) = (site.bed.path("mark"), site.bed.path("go"));
    let script = format!(
        "echo 1; touch {}; while [ ! -e {} ]; do sleep 0.05; done; echo 2",
        mark.display(),
        go.display()
    );
    let skald = Skald::spawn(command.args(["--", "sh", "-c", &script]));
    eventually("the first line", || site.came("app=\"a\"") == 1);
    assert!(mark.exists());
    site.change(&of("b"));
    fs_err::write(go, "").unwrap();
    let ended = skald.wait();
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    let entries = site.bed.loki.store().entries();
    let shown: Vec<String> =
        (entries.iter()).map(|entry| format!("{} {:?}", entry.labels, entry.metadata)).collect();
    let metadata = "[(\"stream\", \"stdout\")]";
    assert_eq!(shown, [format!("{{app=\"a\"}} {metadata}"), format!("{{app=\"b\"}} {metadata}")]);
}

/// Configurations by chance, of files some of which are always somebody's.
struct Chance {
    rng: fastrand::Rng,
    /// How many were made.
    made: usize,
}

/// Files that are always read by somebody, and those that are not.
const ALWAYS: [&str; 4] = ["p0", "p1", "p2", "p3"];
const SOMETIMES: [&str; 3] = ["q0", "q1", "q2"];

impl Chance {
    fn sources(&mut self, all: bool) -> String {
        let rng = &mut self.rng;
        let mut files: Vec<&str> = ALWAYS.to_vec();
        files.extend(SOMETIMES.iter().filter(|_| all || rng.bool()));
        rng.shuffle(&mut files);
        let mut names: Vec<usize> = (0..8).collect();
        rng.shuffle(&mut names);
        let mut yaml = String::new();
        let mut rest = &files[..];
        for name in names {
            let count = rng.usize(0..=rest.len());
            let (own, others) = rest.split_at(count);
            rest = others;
            if !own.is_empty() {
                yaml += &Self::source(rng, name, own);
            }
        }
        if !rest.is_empty() {
            yaml += &Self::source(rng, 9, rest);
        }
        yaml
    }

    fn source(rng: &mut fastrand::Rng, name: usize, files: &[&str]) -> String {
        let globs: Vec<String> = files.iter().map(|file| format!("LOGS/{file}.log")).collect();
        let rules = [
            "[{label: [level]}, {metadata: [src, seq]}, {timestamp: timestamp}]",
            "[{timestamp: timestamp}]",
            "[{set: {x: '{src}-{seq}'}}, {metadata: [x]}, {timestamp: timestamp}]",
            "[{timestamp: timestamp}, {when: {level: warn}, then: [{metadata: [level]}]}]",
        ];
        let more = [
            ", format: json",
            ", multiline: {first: '^[{]', wait: 1s}",
            ", multiline: python",
            "",
            "",
        ];
        // A stream is a tenant's.
        let tenant = ["", ", tenant: t1", ", tenant: t2"][rng.usize(0..3)];
        let t = tenant.rsplit(' ').next().unwrap_or_default();
        let labels = format!("{{app: s{name}, v: v{}, t: 'in {t}'}}", rng.usize(0..3));
        format!(
            "  - {{name: s{name}, files: [{}]{tenant}, labels: {labels}, rules: {}{}}}\n",
            globs.join(", "),
            rules[rng.usize(0..rules.len())],
            more[rng.usize(0..more.len())],
        )
    }

    /// One that cannot be taken.
    fn broken(&mut self) -> String {
        let good = self.sources(false);
        match self.rng.usize(0..5) {
            0 => good.replacen("name:", "nmae:", 1),
            1 => good.replacen("LOGS/", "", 1),
            2 => format!("{good}  - {{stdin: true}}\n"),
            3 => good.replacen("timestamp}", "timestamp", 1),
            _ => format!("{good}memory: {{in_flight: 64MiB}}\n"),
        }
    }
}

/// What grows when something is forgotten: threads, descriptors but for those of logs, KiB of memory.
fn held(skald: &Skald) -> [u64; 3] {
    let folder = fs_err::read_dir(format!("/proc/{}/fd", skald.pid())).unwrap();
    let targets = folder.filter_map(|entry| fs_err::read_link(entry.unwrap().path()).ok());
    let is_log = |path: &PathBuf| path.to_string_lossy().contains(".log");
    let others = targets.filter(|path| !is_log(path)).count() as u64;
    [skald.status("Threads"), others, skald.status("VmRSS")]
}

/// A thousand reloads under load, half of them broken: nothing is lost, nothing doubled, nothing
/// grows.
#[test]
fn a_thousand_reloads() {
    const RELOADS: usize = 1000;
    let seed = std::env::var("SKALD_SEED").map_or(7, |seed| seed.parse().unwrap());
    let mut site = Site::new();
    let mut chance = Chance { rng: fastrand::Rng::with_seed(seed), made: 0 };
    for file in ALWAYS.iter().chain(&SOMETIMES) {
        let text = site.sent.lines(file, 1);
        site.bed.append(&format!("{file}.log"), text);
    }
    let all = chance.sources(true);
    let skald = site.start(&all);
    let (mut good, mut bad, mut before) = (0, 0, [0; 3]);
    while chance.made < RELOADS {
        for file in ALWAYS.iter().chain(&SOMETIMES) {
            if chance.rng.bool() {
                let lines = chance.rng.u64(1..40);
                let text = site.sent.lines(file, lines);
                site.bed.append(&format!("{file}.log"), text);
            }
        }
        if chance.rng.u8(..) < 40 {
            let file = ALWAYS[chance.rng.usize(0..ALWAYS.len())];
            rotate(&site, file);
        }
        match chance.rng.u8(..) {
            0..20 => site.bed.loki.answers().add([always(answer(503, "away"))]),
            20..80 => site.bed.loki.answers().clear(),
            _ => {}
        }
        chance.made += 1;
        let is_broken = chance.rng.bool();
        let sources = if is_broken { chance.broken() } else { chance.sources(false) };
        site.write(&sources);
        let (status, text) = site.reload();
        assert_eq!(status == 200, !is_broken, "{text}\n{sources}");
        (good, bad) = (good + u32::from(!is_broken), bad + u32::from(is_broken));
        if chance.made == RELOADS / 4 || chance.made == RELOADS {
            site.bed.loki.answers().clear();
            let all = chance.sources(true);
            site.change(&all);
            site.all_came();
            let now = held(&skald);
            eprintln!("{good} good and {bad} bad reloads: threads, descriptors, KiB {now:?}");
            if before != [0; 3] {
                assert!(now[0] <= before[0] && now[1] <= before[1] + 4, "{now:?} {before:?}");
                assert!(now[2] <= before[2] + 4096, "memory has grown: {now:?} {before:?}");
            }
            before = now;
        }
    }
    assert!(100 < good && 100 < bad);
    skald.stop_well();
}

/// As logrotate does it, when the file before has been read.
fn rotate(site: &Site, file: &str) {
    let name = |suffix: &str| site.bed.log(&format!("{file}.log{suffix}"));
    for (from, to) in [(".3", ".4"), (".2", ".3"), (".1", ".2"), ("", ".1")] {
        if name(from).exists() {
            fs_err::rename(name(from), name(to)).unwrap();
        }
    }
    fs_err::write(name(""), "").unwrap();
}
