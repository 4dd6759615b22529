//! What a file means, and what is said about one that is wrong.

mod examples;
mod golden;
mod hostile;
mod laws;
mod meaning;
mod rules;
mod state;

use std::path::PathBuf;

use super::{Config, Loaded, load};

/// The only variables there are in tests.
fn env(name: &str) -> Option<String> {
    let value = match name {
        "LOKI_HOST" => "loki.example.com",
        "PASSWORD" => "hunter2-from-the-environment",
        "EMPTY" => "",
        "BAD_TIMEOUT" => "hunter2-as-a-timeout",
        "DOLLAR" => "${PASSWORD}",
        _ => return None,
    };
    Some(value.to_owned())
}

fn load_text(text: &str) -> Loaded {
    load(text.as_bytes(), "skald.yaml", &env)
}

/// The configuration of a file without any problem.
fn good(text: &str) -> Config {
    let loaded = load_text(text);
    assert_eq!(loaded.report.render(false), "", "{text}");
    loaded.config.expect("a file without problems is a configuration")
}

fn root(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path)
}
