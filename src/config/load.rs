//! From the bytes of a file to a configuration and a report.

use super::check;
use super::expand::{self, Env};
use super::options::{Config, FILE_BYTES_MAX};
use super::raw::{self, Node};
use super::report::{Problem, Report};
use super::secret;

/// What came of a configuration.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// There, if there are no errors. There may be warnings.
    pub config: Option<Config>,
    /// All that is wrong.
    pub report: Report,
}

/// Reads a configuration file that was read into `bytes`. `name` is for messages; `env` looks a
/// variable up, see [`env()`].
#[must_use]
pub fn load(bytes: &[u8], name: &str, env: Env<'_>) -> Loaded {
    let needs = "it needs at least `loki: {url: http://loki:3100}` and a source under `sources`";
    match tree(bytes, name, needs) {
        Ok(Tree { text, mut root, mut problems }) => {
            expand::expand(&mut root, env, &mut problems);
            finish(name, text, &root, problems)
        }
        Err(report) => Loaded { config: None, report },
    }
}

/// A file that is YAML.
pub(super) struct Tree<'t> {
    pub(super) text: &'t str,
    pub(super) root: Node,
    pub(super) problems: Vec<Problem>,
}

/// The tree of a file, or why there is none. `needs` is what an empty one lacks.
pub(super) fn tree<'t>(bytes: &'t [u8], name: &str, needs: &str) -> Result<Tree<'t>, Report> {
    let mut problems = vec![];
    let text = text(bytes).map_err(|refusal| {
        let (text, problem) = *refusal;
        let secrets = secret::by_sight(&text);
        Report::new(name, &text, secrets, vec![problem])
    })?;
    let Some(root) = raw::parse(text, &mut problems) else {
        if problems.is_empty() {
            problems.push(Problem::error("nothing in this file").hint(needs));
        }
        return Err(Report::new(name, text, secret::by_sight(text), problems));
    };
    Ok(Tree { text, root, problems })
}

/// Checks a tree whose places are places in `text`.
pub(super) fn finish(name: &str, text: &str, root: &Node, mut problems: Vec<Problem>) -> Loaded {
    let config = check::config(&mut problems, root);
    let report = Report::new(name, text, secret::in_tree(text, root), problems);
    let config = config.filter(|_| report.errors() == 0);
    Loaded { config, report }
}

/// The environment of this process. A variable that is not UTF-8 counts as not set.
#[must_use]
pub fn env(name: &str) -> Option<String> {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads it")]
    std::env::var(name).ok()
}

/// The text, or as much of it as can be shown with the reason why it is none.
fn text(bytes: &[u8]) -> Result<&str, Box<(String, Problem)>> {
    if FILE_BYTES_MAX < bytes.len() {
        let problem = Problem::error(format!(
            "{} bytes are too many for a configuration; at most {FILE_BYTES_MAX}",
            bytes.len()
        ));
        return Err(Box::new((String::new(), problem)));
    }
    if let Some(at) = bytes.iter().position(|byte| *byte == 0) {
        let hint = "save it as UTF-8; was it cut by a full disk or written as UTF-16?";
        let problem = Problem::error(format!("not a text file: byte {at} is NUL")).hint(hint);
        return Err(Box::new((String::new(), problem)));
    }
    std::str::from_utf8(bytes).map_err(|err| {
        let at = err.valid_up_to();
        let len = '\u{FFFD}'.len_utf8();
        let problem = Problem::error(format!("not UTF-8: byte {at} is 0x{:02X}", bytes[at]))
            .at(&(at..at + len), "not UTF-8 from here")
            .hint("save the file as UTF-8");
        Box::new((String::from_utf8_lossy(bytes).into_owned(), problem))
    })
}
