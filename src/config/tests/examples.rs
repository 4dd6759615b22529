//! The files under `config/` that people start from.

use regex::Regex;

use super::super::{Input, Place, Source, Start, keys::KNOWN};
use super::{Config, good, root};

fn read(name: &str) -> String {
    fs_err::read_to_string(root("config").join(name)).unwrap()
}

#[test]
fn skald_yaml_is_the_defaults() {
    let found = good(&read("skald.yaml"));
    let mut defaults = Config::defaults("http://loki:3100/loki/api/v1/push");
    defaults.sources.push(Source {
        name: "veogen".to_owned(),
        tenant: None,
        input: Input::Files {
            globs: vec!["/var/log/veogen/*.log".to_owned()],
            exclude: vec![],
            start: Start::Beginning,
            symlink_roots: vec![],
        },
        place: Place::default(),
        parse: defaults.parse_defaults("veogen"),
        has_rules: true,
    });
    assert_eq!(format!("{found:#?}"), format!("{defaults:#?}"));
}

#[test]
fn a_file_that_says_little_is_the_defaults() {
    let text = "loki: {url: http://loki:3100}\nsources:\n  - {name: veogen, files: \
                /var/log/veogen/*.log}\n";
    let mut little = good(text);
    little.sources[0].has_rules = true;
    assert_eq!(format!("{little:#?}"), format!("{:#?}", good(&read("skald.yaml"))));
}

#[test]
fn skald_yaml_names_every_key() {
    let text = read("skald.yaml");
    for known in KNOWN {
        for key in known.keys {
            let pattern = Regex::new(&format!(r"(?m)[\s{{`]{key}:|^{key}:")).unwrap();
            assert!(pattern.is_match(&text), "`{key}` of {} is not in the file", known.title);
        }
    }
}

#[test]
fn the_guide_names_every_key() {
    let text = fs_err::read_to_string(root("GUIDE.md")).unwrap();
    // Those above have a table of their own.
    for known in KNOWN.iter().skip_while(|known| known.section != "format") {
        for key in known.keys {
            let pattern = Regex::new(&format!(r"[`{{.\s|]{key}[`:=]")).unwrap();
            assert!(pattern.is_match(&text), "`{key}` of {} is not in the guide", known.title);
        }
    }
}

/// What is commented out is right too: with the comment signs gone, and the alternatives to what
/// is there already left out, it loads.
#[test]
fn what_skald_yaml_comments_out_is_right() {
    let sign = Regex::new(r"(?m)^( *)# ( *(?:- )?[a-z_]+:(?: .*)?)$").unwrap();
    let text = sign.replace_all(&read("skald.yaml"), "$1$2").into_owned();
    let others = ["  bearer_token_file:", "  basic_auth:", "    username:", "    password_file:"];
    let (one, other) = (&others[..1], &others[1..]);
    for left_out in [one, other] {
        let left_out = |line: &&str| !left_out.iter().any(|key| line.starts_with(key));
        let lines: Vec<&str> = text.lines().filter(left_out).collect();
        let text = lines.join("\n").replace("      timestamp: {", "      - timestamp: {");
        let text = text.replace("      - timestamp: [timestamp", "      # [");
        let text = text.replace("label: [level, event_type]", "label: [event_type]");
        let config = good(&text.replace("http://loki", "https://loki"));
        assert_eq!(config.push.tenant.as_deref(), Some("veogen"));
        assert!(config.push.tls.key_file.is_some());
        let rules = text.lines().filter(|line| line.starts_with("      - ")).count();
        assert_eq!(config.sources[0].parse.rules.len(), rules);
    }
}

#[test]
fn the_common_starts_have_no_mistakes() {
    for name in ["stdin.yaml", "files.yaml"] {
        assert!(!good(&read(name)).sources.is_empty(), "{name}");
    }
}
