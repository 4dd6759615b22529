//! The documents say what the code says.

use std::collections::BTreeSet;

use clap::CommandFactory as _;
use regex::Regex;
use skald::cli::Cli;
use skald::model::{Flag, Reason};
use skald::telemetry::{FileState, NAMES};

use super::{check, note, product, read, rooms, root, sources};

const DOCS: [&str; 5] =
    ["README.md", "GUIDE.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"];

/// Places that exist on one machine only.
const MACHINE: [&str; 4] = ["/work/", "/root/", "/home/", "file://"];

/// Names in `config/skald.yaml` that are no keys: what its examples call their results.
const NO_KEYS: [&str; 3] = ["level", "sources", "loki"];

#[test]
fn every_key_and_default_is_in_the_guide() {
    let table = rows(&section("GUIDE.md", "Every key"));
    let table: Vec<(String, String)> =
        table.into_iter().map(|row| (row[0].replace('`', ""), row[1].replace('`', ""))).collect();
    let keys = keys();
    let named: BTreeSet<&str> = table.iter().map(|(key, _)| key.as_str()).collect();
    let known: BTreeSet<&str> = keys.iter().map(|(key, _)| key.as_str()).collect();
    assert_eq!(named, known, "the table of the guide, and config/skald.yaml");
    for (key, default) in keys.iter().filter_map(|(key, value)| Some((key, value.as_ref()?))) {
        let row = table.iter().find(|(named, _)| named == key).expect("the names are equal");
        assert_eq!(row.1, *default, "the default of {key}");
    }
}

/// The keys of `config/skald.yaml`, commented out or not, with the values of those that are not.
fn keys() -> Vec<(String, Option<String>)> {
    let line = Regex::new(r"^( *)(# +)?(- )?([a-z_]+):(?: (\S.*?))?(?:  +#.*)?$").unwrap();
    let inline = Regex::new(r"(?:from|format): \[").unwrap();
    let mut path: Vec<(usize, String)> = vec![];
    let mut keys: Vec<(String, Option<String>)> = vec![];
    for text in read("config/skald.yaml").lines() {
        let Some(found) = line.captures(text) else { continue };
        let len = |group| found.get(group).map_or(0, |part: regex::Match<'_>| part.len());
        let (indent, is_comment) = (len(1) + len(2).saturating_sub(2) + len(3), 0 < len(2));
        path.retain(|(at, _)| *at < indent);
        path.push((indent, found[4].to_owned()));
        let names: Vec<&str> = path.iter().map(|(_, name)| name.as_str()).collect();
        let long_form = ["from", "regex", "map", "default"].contains(&&found[4]);
        let full = match names[..] {
            _ if long_form => found[4].to_owned(),
            ["sources", "kubernetes", ..] => format!("sources[].{}", names[1..].join(".")),
            ["sources", key] => format!("sources[].{key}"),
            ["sources", "rules", key, ..] => format!("sources[].rules[].{key}"),
            _ => names.join("."),
        };
        let is_section = found.get(5).is_none();
        if inline.is_match(text) {
            keys.push(("format".to_owned(), None));
        }
        if NO_KEYS.contains(&&found[4]) || (is_section && !full.ends_with("rules")) {
            continue;
        }
        let chosen = ["loki.url", "sources[].name", "sources[].files"].contains(&full.as_str())
            || full.contains("rules");
        let value = (!is_comment && !chosen).then(|| found[5].to_owned());
        keys.push((full, value));
    }
    keys.push(("sources[].stdin".to_owned(), None));
    keys.push(("loki.bearer_token".to_owned(), None));
    keys.push(("loki.basic_auth.password".to_owned(), None));
    keys
}

#[test]
fn every_metric_is_in_the_guide() {
    let table = rows(&section("GUIDE.md", "Every metric"));
    let expected: Vec<Vec<String>> = NAMES
        .iter()
        .map(|metric| {
            let label = metric.label.map(|label| format!("`{label}`")).unwrap_or_default();
            let name = format!("`{}`", metric.full_name());
            vec![name, metric.kind.name().to_owned(), label, metric.help.to_owned()]
        })
        .collect();
    assert_eq!(table, expected);
}

/// A metric that nobody counts is a promise that nobody keeps.
#[test]
fn every_metric_is_counted() {
    let rooms: String = sources("src")
        .into_iter()
        .filter(|(path, _)| !path.starts_with("src/telemetry/"))
        .map(|(_, text)| product(&text))
        .collect();
    let is_used = |name: &str| {
        let pattern = format!(r"metrics\s*\.{name}\b");
        Regex::new(&pattern).unwrap().is_match(&rooms)
    };
    let helpers = product(&read("src/telemetry/metrics.rs"));
    let helpers: Vec<&str> =
        helpers.split("pub fn ").filter(|text| text.contains("self.")).collect();
    for metric in NAMES.iter().skip(1) {
        let counts = format!("self.{}.", metric.name);
        let by_helper = helpers.iter().filter(|text| text.contains(&counts));
        let is_counted = by_helper.clone().any(|text| is_used(text.split('(').next().unwrap()));
        assert!(is_counted || is_used(metric.name), "nobody counts {}", metric.full_name());
    }
}

/// What stands behind `why` is as good as a name: people write alerts on it.
#[test]
fn every_cause_is_in_the_guide() {
    let before = r"(?:=> |ErrorKind::\w+, |map_or\(|unreadable\(|skipped\()";
    let cause = Regex::new(&format!(r#"{before}"([a-z_]+)""#)).unwrap();
    let guide = section("GUIDE.md", "Every metric");
    for path in ["src/app/lane.rs", "src/app/file_log.rs"] {
        for found in cause.captures_iter(&product(&read(path))) {
            assert!(guide.contains(&format!("`{}`", &found[1])), "no `{}` of {path}", &found[1]);
        }
    }
}

#[test]
fn documents_name_no_metric_that_is_not_there() {
    let name = Regex::new(r"skald_[a-z_]+").unwrap();
    let names: Vec<String> = NAMES.iter().map(skald::telemetry::Metric::full_name).collect();
    check(|problems| {
        for (path, number, line) in lines() {
            for found in name.find_iter(&line) {
                if !names.iter().any(|name| name == found.as_str()) && found.as_str() != "skald_" {
                    note(problems, path, number, &format!("no metric `{}`", found.as_str()));
                }
            }
        }
    });
}

#[test]
fn every_reason_flag_and_state_is_in_the_guide() {
    let tables = rows(&section("GUIDE.md", "Reasons and flags"));
    let named: Vec<&str> = tables.iter().map(|row| row[0].trim_matches('`')).collect();
    let mut expected: Vec<&str> = Reason::ALL.into_iter().map(Reason::name).collect();
    expected.extend(Flag::ALL.into_iter().map(Flag::name));
    assert_eq!(named, expected);
    let admin = section("GUIDE.md", "The admin server");
    for state in FileState::ALL {
        assert!(admin.contains(&format!("`{}`", state.name())), "no {}", state.name());
    }
}

#[test]
fn every_command_and_flag_is_in_the_guide() {
    let text = section("GUIDE.md", "Commands");
    let cli = Cli::command();
    check(|problems| {
        for command in cli.get_subcommands() {
            if !text.contains(&format!("`skald {}", command.get_name())) {
                note(problems, "GUIDE.md", 1, &format!("no `skald {}`", command.get_name()));
            }
        }
        for command in cli.get_subcommands().chain([&cli]) {
            for flag in command.get_arguments().filter_map(|flag| flag.get_long()) {
                if !Regex::new(&format!("`--{flag}[ `]")).unwrap().is_match(&text) {
                    note(problems, "GUIDE.md", 1, &format!("no `--{flag}`"));
                }
            }
        }
    });
}

#[test]
fn the_table_of_rooms_is_the_folders() {
    let rows = rows(&section("ARCHITECTURE.md", "The rooms"));
    let table: BTreeSet<String> = rows.iter().map(|row| row[0].replace('`', "")).collect();
    assert_eq!(table, rooms().into_iter().collect());
    let text = read("ARCHITECTURE.md");
    for room in rooms() {
        assert!(text.contains(&format!("\n### {room}\n")), "no section about {room}");
    }
}

#[test]
fn links_lead_somewhere() {
    let link = Regex::new(r"\]\(([^)\s]+)\)").unwrap();
    check(|problems| {
        for (path, number, line) in lines() {
            for found in link.captures_iter(&line) {
                let (file, anchor) = found[1].split_once('#').unwrap_or((&found[1], ""));
                if file.contains("://") {
                    continue;
                }
                let file = if file.is_empty() { path } else { file };
                let is_there = root().join(file).exists();
                if !is_there || (!anchor.is_empty() && !anchors(file).contains(anchor)) {
                    note(problems, path, number, &format!("`{}` leads nowhere", &found[1]));
                }
            }
        }
    });
}

#[test]
fn documents_name_files_that_exist_and_no_machine() {
    let file = Regex::new(r"`((?:src|tests|config|benches|proto|\.ci)/[\w./-]*\w)`").unwrap();
    check(|problems| {
        for (path, number, line) in lines() {
            for word in MACHINE.iter().filter(|word| line.contains(**word)) {
                note(problems, path, number, &format!("`{word}` is somebody's machine"));
            }
            for found in file.captures_iter(&line) {
                if !root().join(&found[1]).exists() {
                    note(problems, path, number, &format!("no file `{}`", &found[1]));
                }
            }
        }
    });
}

#[test]
fn functions_that_documents_name_exist() {
    let name = Regex::new(r"`(?:\w+::)+([a-z]\w*)`").unwrap();
    let of = |folder| sources(folder).into_iter().map(|(_, text)| text);
    let all: String = of("src").chain(of("tests")).collect();
    check(|problems| {
        for (path, number, line) in lines() {
            for found in name.captures_iter(&line) {
                let is_there =
                    ["(", "<"].map(|end| all.contains(&format!("fn {}{end}", &found[1])));
                if is_there == [false, false] {
                    note(problems, path, number, &format!("no function `{}`", &found[0]));
                }
            }
        }
    });
}

/// Every line of every document, with its number.
fn lines() -> impl Iterator<Item = (&'static str, usize, String)> {
    DOCS.into_iter().flat_map(|path| {
        let text = read(path);
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.into_iter().enumerate().map(move |(idx, line)| (path, idx + 1, line))
    })
}

/// What stands under a heading of level two.
fn section(path: &str, title: &str) -> String {
    let text = read(path);
    let from = text.find(&format!("\n## {title}\n")).unwrap_or_else(|| panic!("no {title}"));
    let rest = &text[from + 4..];
    rest[..rest.find("\n## ").unwrap_or(rest.len())].to_owned()
}

/// The rows of the tables in `text`, without their heads.
fn rows(text: &str) -> Vec<Vec<String>> {
    let mut rows = vec![];
    let mut in_body = false;
    for line in text.lines() {
        if line.starts_with("| ---") {
            in_body = true;
        } else if let (true, Some(row)) = (in_body, line.strip_prefix('|')) {
            let row = row.strip_suffix('|').unwrap_or(row);
            rows.push(row.split('|').map(|cell| cell.trim().to_owned()).collect());
        } else {
            in_body = false;
        }
    }
    rows
}

/// The anchors of a document's headings, as GitHub makes them.
fn anchors(path: &str) -> BTreeSet<String> {
    let heading = |line: &str| {
        let title = line.trim_start_matches('#').strip_prefix(' ')?.to_lowercase();
        let kept = title.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        Some(kept.collect::<String>().replace(' ', "-"))
    };
    read(path).lines().filter(|line| line.starts_with('#')).filter_map(heading).collect()
}
