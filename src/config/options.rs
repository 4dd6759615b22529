//! The checked configuration: what each room is given.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use regex::Regex;

use super::annotations::Annotation;
use crate::model::LINE_BYTES_DEFAULT;
use crate::parse::{self, Field, Format, Path, Rule};
use crate::push::{self, Auth, Proxy, Retry, StructuredMetadata, Tls};

/// Largest configuration file in bytes.
pub const FILE_BYTES_MAX: usize = 1024 * 1024;

/// Smallest `memory.in_flight` in bytes: below it, batches would be sealed nearly empty.
pub const IN_FLIGHT_MIN: u64 = 4 * 1024 * 1024;

/// Most reader threads.
pub const READERS_MAX: usize = 4;

/// What one reader may hold before its first line is in a batch: a chunk. A chunk holds at least
/// one whole line, so with longer lines it is `limits.line_bytes`.
pub const READER_BYTES: u64 = 512 * 1024;

/// Smallest `dead_letters.bytes_max`: the largest push that Loki takes must fit.
pub const DEAD_LETTERS_BYTES_MIN: u64 = 4 * 1024 * 1024;

/// A configuration without mistakes.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where Loki is and how it is spoken to.
    pub push: push::Options,
    /// Checkpoints and dead letters; locked by one agent. `None` for standard input without a
    /// file: nothing is kept.
    pub state_dir: Option<PathBuf>,
    /// Bounds on memory.
    pub memory: Memory,
    /// When a batch is sealed.
    pub batch: Batch,
    /// Bounds on lines.
    pub limits: Limits,
    /// Bounds on label values.
    pub guard: Guard,
    /// Bounds on deleted files that were not read yet.
    pub deleted: Deleted,
    /// Lines that Loki refuses for good.
    pub dead_letters: DeadLetters,
    /// Labels on every stream. They are in each source's [`parse::Options::labels`] already.
    pub labels: Vec<(String, String)>,
    /// Where the admin server listens; `None` is no server.
    pub admin_listen: Option<SocketAddr>,
    /// How long an orderly end may take.
    pub shutdown_deadline: Duration,
    /// What is read, in the order of the file. A file belongs to the first that matches it.
    pub sources: Vec<Source>,
}

/// Bounds on memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// Bytes of lines between their file and Loki's answer.
    pub in_flight: u64,
    /// Most streams that are remembered.
    pub streams: usize,
}

/// When a batch is sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Batch {
    /// Encoded bytes of a full batch.
    pub bytes_max: usize,
    /// Longest time that a line waits for others.
    pub age_max: Duration,
}

/// Bounds on lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Longest line in bytes; the rest is cut.
    pub line_bytes: u32,
    /// Older lines are dropped.
    pub age: Duration,
}

/// Bounds on label values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Guard {
    /// Most distinct values of one label of one source within `per`; 0 is no guard.
    pub values_max: u32,
    /// The time over which values are counted.
    pub per: Duration,
}

/// Deleted files are kept open until they were read, so that the disk is not freed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deleted {
    /// Most of them; beyond, the oldest is given up.
    pub files_max: usize,
    /// Most bytes on disk that they hold together.
    pub bytes_max: u64,
}

/// Where lines go that Loki refuses for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeadLetters {
    /// Most bytes on disk.
    pub bytes_max: u64,
}

/// One source of lines.
#[derive(Debug, Clone)]
pub struct Source {
    /// Unique. `stdin`, or the first glob, where the file gives none.
    pub name: String,
    /// Whose the lines are: its own `tenant`, or that of `loki`.
    pub tenant: Option<String>,
    /// Where the lines are.
    pub input: Input,
    /// What is known of where they come from.
    pub place: Place,
    /// How they are read.
    pub parse: parse::Options,
    /// The rules in it are its own, and not those that are there without any.
    pub has_rules: bool,
}

/// What the path of a file says about its lines.
#[derive(Debug, Clone, Default)]
pub struct Place {
    /// A pattern whose named groups rules can name.
    pub path: Option<Regex>,
    /// The files are logs of pods.
    pub pods: Option<Pods>,
}

/// Logs of the containers of one node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pods {
    /// The node's name, if it is known.
    pub node: Option<String>,
    /// Where more is known of pods than their paths say.
    pub api: Option<Api>,
}

/// The API of Kubernetes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Api {
    /// Its server.
    pub url: String,
    /// A bearer token, read again for each request; none is sent if there is no such file.
    pub token_file: PathBuf,
    /// PEM certificates that its own is checked by.
    pub ca_file: PathBuf,
    /// How long the first line of a pod waits until more is known of the pod.
    pub wait: Duration,
    /// What pods may choose.
    pub annotations: Vec<Annotation>,
}

/// Where lines are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// In files.
    Files {
        /// Absolute patterns, see [`crate::discover::check_glob`]; never empty.
        globs: Vec<String>,
        /// Patterns of files to leave out, beside [`crate::discover::DEFAULT_EXCLUDE`]: without a
        /// `/` they are about the name, with one about the whole path.
        exclude: Vec<String>,
        /// Where a file without a checkpoint is read from.
        start: Start,
        /// Folders, beside those of the globs, that links may lead into. Absolute.
        symlink_roots: Vec<PathBuf>,
    },
    /// On standard input.
    Stdin,
}

/// Where a file without a checkpoint is read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// Its first byte.
    Beginning,
    /// Its end at the time it is found.
    End,
}

impl Config {
    /// What a file means that says no more than `url`, the whole push URL. Without sources.
    #[must_use]
    pub fn defaults(url: &str) -> Self {
        Self {
            push: push_defaults(url),
            state_dir: Some(PathBuf::from("/var/lib/skald")),
            memory: Memory { in_flight: 8 * 1024 * 1024, streams: 100_000 },
            batch: Batch { bytes_max: 1024 * 1024, age_max: Duration::from_secs(1) },
            limits: Limits { line_bytes: LINE_BYTES_DEFAULT, age: days(7) },
            guard: Guard { values_max: 500, per: Duration::from_secs(3600) },
            deleted: Deleted { files_max: 1000, bytes_max: 4 * 1024 * 1024 * 1024 },
            dead_letters: DeadLetters { bytes_max: 256 * 1024 * 1024 },
            labels: vec![],
            admin_listen: Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 9464))),
            shutdown_deadline: Duration::from_secs(25),
            sources: vec![],
        }
    }

    /// Adds to the rules of what is no file, where nobody has written them, which output a line is
    /// of, as the label `stream`.
    pub fn label_outputs(&mut self) {
        let is_plain = |source: &&mut Source| source.input == Input::Stdin && !source.has_rules;
        let sources = self.sources.iter_mut().filter(is_plain);
        for source in sources {
            source.parse.rules.extend(rules_for(&["$stream"], &[]).into_iter().take(1));
        }
    }

    /// The tenants of all sources and their rules, each once; never empty.
    #[must_use]
    pub fn tenants(&self) -> Vec<Option<String>> {
        let mut tenants = vec![];
        for source in &self.sources {
            let named = source.parse.tenants().into_iter().map(|name| Some(name.to_owned()));
            for tenant in std::iter::once(source.tenant.clone()).chain(named) {
                if !tenants.contains(&tenant) {
                    tenants.push(tenant);
                }
            }
        }
        if tenants.is_empty() { vec![self.push.tenant.clone()] } else { tenants }
    }

    /// What of `memory.in_flight` each tenant can always have: a batch, and a chunk to read.
    #[must_use]
    pub fn tenant_share(&self) -> u64 {
        u64::try_from(self.batch.bytes_max).unwrap_or(u64::MAX).saturating_add(self.chunk_bytes())
    }

    /// What a reader takes for a chunk.
    pub(super) fn chunk_bytes(&self) -> u64 {
        READER_BYTES.max(u64::from(self.limits.line_bytes))
    }

    /// How a source's lines are read when it says nothing about them.
    #[must_use]
    pub fn parse_defaults(&self, source: &str) -> parse::Options {
        parse::Options {
            source: source.to_owned(),
            format: Format::AUTO,
            labels: self.labels.clone(),
            multiline: None,
            times: parse::TimeRules::default(),
            strip_ansi: false,
            rules: default_rules(),
            line_bytes: self.limits.line_bytes,
            age: self.limits.age,
            guard_values: self.guard.values_max,
            guard_per: self.guard.per,
        }
    }
}

fn push_defaults(url: &str) -> push::Options {
    push::Options {
        url: url.to_owned(),
        tenant: None,
        auth: Auth::None,
        tls: Tls::default(),
        headers: vec![],
        proxy: Proxy::Env,
        timeout: Duration::from_secs(15),
        one_stream_per_push: false,
        structured_metadata: StructuredMetadata::Auto,
        retry: Retry { delay_min: Duration::from_millis(500), delay_max: Duration::from_secs(30) },
        bytes_per_second: 0,
    }
}

/// The rules of a source that names none: few values make labels, ids make metadata.
fn default_rules() -> Vec<Rule> {
    rules_for(&["level", "event_type"], &["request_id", "user_id", "trace_id"])
}

/// The same for containers, with what is known of them.
pub(super) fn pod_rules() -> Vec<Rule> {
    rules_for(
        &["$namespace", "$container", "level", "event_type"],
        &["$pod", "$stream", "request_id", "user_id", "trace_id"],
    )
}

fn rules_for(labels: &[&str], metadata: &[&str]) -> Vec<Rule> {
    let path = |name: &&str| Path(vec![(*name).to_owned()]);
    let field = |name: &&str| Field {
        name: name.trim_start_matches('$').to_owned(),
        from: vec![path(name)],
        regex: None,
        map: vec![],
        default: None,
    };
    vec![
        Rule::Label(labels.iter().map(field).collect()),
        Rule::Metadata(metadata.iter().map(field).collect()),
        Rule::Timestamp {
            from: ["timestamp", "time", "ts", "@timestamp"].iter().map(path).collect(),
            formats: vec![],
        },
    ]
}

pub(super) const fn days(n: u64) -> Duration {
    Duration::from_secs(n * 24 * 3600)
}
