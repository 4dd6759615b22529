//! A configuration from the command line, without a file.

use std::ops::Range;
use std::path::{Path, PathBuf};

use super::expand::Env;
use super::load;
use super::options::{Config, Input};
use super::raw::{Key, Node, Value};
use super::report::{Problem, Report};

/// What the command line says.
#[derive(Debug, Clone, Default)]
pub struct Flags {
    /// `--url`.
    pub url: String,
    /// `--label k=v`, as often as given.
    pub labels: Vec<(String, String)>,
    /// Patterns of files, made absolute with `folder`; none is standard input.
    pub globs: Vec<String>,
    /// The folder that relative paths start from: the current one.
    pub folder: PathBuf,
    /// `--state-dir`, made absolute with `folder`. Without it, files have the user's state folder
    /// and standard input has none.
    pub state_dir: Option<PathBuf>,
    /// `--admin`; without it there is no admin server.
    pub admin: Option<String>,
}

impl Config {
    /// The configuration that `flags` mean, checked as a file is; problems are shown in the
    /// command line as it was understood. `env` is asked for the user's state folder.
    ///
    /// # Errors
    /// The report, if it has errors. A report of warnings comes with the configuration.
    pub fn from_flags(flags: &Flags, env: Env<'_>) -> Result<(Self, Report), Report> {
        let mut problems = vec![];
        let mut state_dir = flags.state_dir.as_ref().map(|path| flags.folder.join(path));
        if state_dir.is_none() && !flags.globs.is_empty() {
            state_dir = user_state_dir(env);
            if state_dir.is_none() {
                let problem = Problem::error("no folder to keep checkpoints in");
                problems.push(problem.hint("give one with `--state-dir`: $HOME is not set"));
            }
        }
        let mut line = Line { text: "skald".to_owned() };
        let root = line.root(flags);
        let loaded = load::finish("the command line", &line.text, &root, problems);
        let Some(mut config) = loaded.config else { return Err(loaded.report) };
        config.state_dir = state_dir;
        if flags.admin.is_none() {
            config.admin_listen = None;
        }
        Ok((config, loaded.report))
    }

    /// Whether standard input is the only source, so that the agent ends with it.
    #[must_use]
    pub fn is_stdin_only(&self) -> bool {
        self.sources.iter().all(|source| source.input == Input::Stdin)
    }
}

/// `$XDG_STATE_HOME/skald`, or `~/.local/state/skald`.
fn user_state_dir(env: Env<'_>) -> Option<PathBuf> {
    let absolute = |name| env(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = absolute("XDG_STATE_HOME");
    let state = state.or_else(|| absolute("HOME").map(|home| home.join(".local/state")));
    state.map(|state| state.join("skald"))
}

/// The command line as text, for excerpts, while the tree is built that a file would have given.
struct Line {
    text: String,
}

impl Line {
    fn root(&mut self, flags: &Flags) -> Node {
        let mut root = vec![];
        let flag = self.word("--url");
        let url = Self::entry("url", &flag, self.value(&flags.url));
        root.push(Self::entry("loki", &flag, Self::map(vec![url], &flag)));
        let labels: Vec<_> = flags.labels.iter().map(|label| self.label(label)).collect();
        if let Some((first, _)) = labels.first() {
            let span = first.span.clone();
            root.push(Self::entry("labels", &span, Self::map(labels, &span)));
        }
        if let Some(admin) = &flags.admin {
            let flag = self.word("--admin");
            let listen = Self::entry("listen", &flag, self.value(admin));
            root.push(Self::entry("admin", &flag, Self::map(vec![listen], &flag)));
        }
        let start = self.text.len();
        let input = if flags.globs.is_empty() {
            let span = 0..self.text.len();
            Self::entry("stdin", &span, Node::text("true", span.clone()))
        } else {
            let globs = flags.globs.iter();
            let globs = globs.map(|glob| self.value(&absolute_glob(&flags.folder, glob))).collect();
            let span = start..self.text.len();
            Self::entry("files", &span, Node { value: Value::List(globs), span: span.clone() })
        };
        let span = input.0.span.clone();
        root.push(Self::entry("sources", &span, Self::map(vec![input], &span)));
        Self::map(root, &(0..self.text.len()))
    }

    fn label(&mut self, (name, value): &(String, String)) -> (Key, Node) {
        self.word("--label");
        let span = self.word(&format!("{name}={value}"));
        let equals = (span.start + name.len()).min(span.end);
        let value = Node::text(value, (equals + 1).min(span.end)..span.end);
        (Key { name: name.clone(), span: span.start..equals }, value)
    }

    fn value(&mut self, text: &str) -> Node {
        let span = self.word(text);
        Node::text(text, span)
    }

    /// Adds a word, on the one line there is, and gives its place.
    fn word(&mut self, word: &str) -> Range<usize> {
        self.text.push(' ');
        let start = self.text.len();
        self.text.extend(word.chars().map(|c| if c.is_control() { ' ' } else { c }));
        start..self.text.len()
    }

    fn entry(name: &str, span: &Range<usize>, node: Node) -> (Key, Node) {
        (Key { name: name.to_owned(), span: span.clone() }, node)
    }

    fn map(entries: Vec<(Key, Node)>, span: &Range<usize>) -> Node {
        Node { value: Value::Map(entries), span: span.clone() }
    }
}

/// `glob` from the root on; what `folder` is called is not a pattern.
fn absolute_glob(folder: &Path, glob: &str) -> String {
    if glob.starts_with('/') {
        return glob.to_owned();
    }
    let (mut folder, mut rest) = (folder, glob);
    loop {
        if let Some(here) = rest.strip_prefix("./") {
            rest = here;
        } else if let Some(above) = rest.strip_prefix("../") {
            (folder, rest) = (folder.parent().unwrap_or(folder), above);
        } else {
            let folder = globset::escape(&folder.to_string_lossy());
            return format!("{}/{rest}", folder.trim_end_matches('/'));
        }
    }
}
