//! Names that Loki has rules for: labels, metadata, tenants, headers, and fields of a line.

use reqwest::header::{HeaderName, HeaderValue};

use super::raw::{Key, Node, Value};
use super::report::Problem;
use super::values::{self, short, shown, wrong};
use crate::model::{LABEL_NAME_BYTES_MAX, LABEL_VALUE_BYTES_MAX};
use crate::parse::Path;

type Problems = Vec<Problem>;

/// Names of a pod, and of its node, that others have chosen.
pub(super) const API_KINDS: [&str; 3] = ["$pod_label", "$pod_annotation", "$node_label"];

/// Words of LogQL: Loki stores a label of such a name, but no query can select by it.
const LOGQL_KEYWORDS: [&str; 22] = [
    "and",
    "bool",
    "by",
    "decolorize",
    "drop",
    "group_left",
    "group_right",
    "ignoring",
    "json",
    "keep",
    "label_format",
    "line_format",
    "logfmt",
    "offset",
    "on",
    "or",
    "pattern",
    "regexp",
    "unless",
    "unpack",
    "unwrap",
    "without",
];

/// Longest tenant, in bytes (dskit's `tenant.ValidTenantID`).
const TENANT_BYTES_MAX: usize = 150;

/// Headers that the agent sets itself, and the key to use instead, if there is one.
const RESERVED_HEADERS: [(&str, &str); 9] = [
    ("x-scope-orgid", "use `loki.tenant`"),
    ("authorization", "use `basic_auth` or `bearer_token_file`: they are never shown"),
    ("content-type", "skald sets it"),
    ("content-encoding", "skald sets it"),
    ("content-length", "skald sets it"),
    ("transfer-encoding", "skald sets it"),
    ("connection", "skald sets it"),
    ("host", "it is taken from `loki.url`"),
    ("proxy-authorization", "write the credentials into the URL of `proxy`"),
];

/// Whether `name`, in messages `shown`, can be a label or metadata name; `what` says which it is.
pub(super) fn is_name(
    problems: &mut Problems,
    name: &str,
    shown: &str,
    span: &std::ops::Range<usize>,
    what: &str,
) -> bool {
    let mut refuse = |label: String, hint: String| {
        let problem = Problem::error(format!("`{shown}` cannot be the name of a {what}"));
        problems.push(problem.at(span, label).hint(hint));
        false
    };
    if name.is_empty() || name != sanitised(name) {
        let hint = match sanitised(name) {
            better if better.is_empty() => "give it a name".to_owned(),
            better if shown == short(name) => format!("write `{}`", short(&better)),
            _ => "letters, digits and `_` only".to_owned(),
        };
        return refuse("not letters, digits and `_`, or a digit first".into(), hint);
    }
    if name.starts_with("__") {
        let hint = "names that start with `__` are Loki's own".to_owned();
        return refuse("reserved".into(), hint);
    }
    if LABEL_NAME_BYTES_MAX < name.len() {
        let label = format!("over {LABEL_NAME_BYTES_MAX} bytes");
        return refuse(label, "Loki would refuse it".into());
    }
    if LOGQL_KEYWORDS.contains(&name) {
        problems.push(
            Problem::warning(format!("`{shown}` is a word of LogQL"))
                .at(span, "cannot be selected by")
                .hint(format!("Loki stores it, but `{{{name}=\"…\"}}` is a syntax error there")),
        );
    }
    true
}

/// The nearest name that Loki accepts: `[a-zA-Z_][a-zA-Z0-9_]*`.
pub(super) fn sanitised(name: &str) -> String {
    let mut sanitised: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    if sanitised.starts_with(|c: char| c.is_ascii_digit()) {
        sanitised.insert(0, '_');
    }
    sanitised
}

/// Fixed labels.
pub(super) fn labels(problems: &mut Problems, node: &Node) -> Option<Vec<(String, String)>> {
    let label = |problems: &mut Problems, (key, value): &(Key, Node)| {
        let is_name = is_name(problems, &key.name, &short(&key.name), &key.span, "label");
        let text = values::text(problems, value)?;
        let (label, hint) = if LABEL_VALUE_BYTES_MAX < text.text.len() {
            (format!("over {LABEL_VALUE_BYTES_MAX} bytes"), "a label is for a few short values")
        } else if text.text.contains('\u{FFFD}') {
            ("holds U+FFFD".to_owned(), "was the file saved in another encoding?")
        } else {
            return is_name.then(|| (key.name.clone(), text.text.clone()));
        };
        wrong(problems, value, "a label value that Loki refuses".into(), &label, hint)
    };
    Some(map(problems, node)?.iter().filter_map(|entry| label(problems, entry)).collect())
}

/// The entries of a map with free keys.
pub(super) fn map<'n>(problems: &mut Problems, node: &'n Node) -> Option<&'n [(Key, Node)]> {
    match &node.value {
        Value::Map(entries) => Some(entries),
        Value::Broken => None,
        Value::Null | Value::Text(_) | Value::List(_) => {
            let message = "a map of names and values is expected".into();
            wrong(problems, node, message, "not a map", "write `{name: value}`")
        }
    }
}

/// The value of `X-Scope-OrgID`.
pub(super) fn tenant(problems: &mut Problems, node: &Node) -> Option<String> {
    let text = values::text(problems, node)?;
    let good = |c: char| c.is_ascii_alphanumeric() || "!-_.*'()".contains(c);
    let label = if let Some(bad) = text.text.chars().find(|c| !good(*c)) {
        format!("{bad:?} is not allowed")
    } else if TENANT_BYTES_MAX < text.text.len() {
        format!("over {TENANT_BYTES_MAX} bytes")
    } else if matches!(&*text.text, "." | "..") {
        "a path".to_owned()
    } else {
        return Some(text.text.clone());
    };
    let label = if text.written.is_some() { "not allowed" } else { &label };
    let hint = "one tenant: letters, digits and any of ! - _ . * ' ( )";
    wrong(problems, node, format!("`{}` is not a tenant", shown(text)), label, hint)
}

/// Headers for each push. Values are not shown.
pub(super) fn headers(problems: &mut Problems, node: &Node) -> Option<Vec<(String, String)>> {
    let header = |problems: &mut Problems, (key, value): &(Key, Node)| {
        let lower = key.name.to_ascii_lowercase();
        if let Some((_, hint)) = RESERVED_HEADERS.iter().find(|(name, _)| *name == lower) {
            let problem = Problem::error(format!("header `{}` cannot be set", short(&key.name)));
            problems.push(problem.at(&key.span, "reserved").hint(*hint));
            return None;
        }
        if HeaderName::from_bytes(key.name.as_bytes()).is_err() {
            let problem = Problem::error(format!("`{}` is not a header name", short(&key.name)));
            problems.push(problem.at(&key.span, "not allowed in HTTP"));
            return None;
        }
        let text = values::text(problems, value)?;
        if HeaderValue::from_str(&text.text).is_err() {
            let hint = "a header is one line of text";
            let message = format!("the value of `{}` cannot be a header", key.name);
            return wrong(problems, value, message, "not allowed in HTTP", hint);
        }
        Some((key.name.clone(), text.text.clone()))
    };
    Some(map(problems, node)?.iter().filter_map(|entry| header(problems, entry)).collect())
}

/// The path of a field: names with dots between; a name with a dot in it, and one that begins with
/// a `$`, stands in double quotes.
pub(super) fn field_path(problems: &mut Problems, node: &Node) -> Option<Path> {
    let text = values::text(problems, node)?;
    match parse_path(&text.text) {
        Ok(path) => Some(path),
        Err(label) => {
            let message = format!("`{}` is not the path of a field", shown(text));
            let hint = "write `level`, `severity.text`, or '\"a.b\".c' for a name with a dot in it";
            wrong(problems, node, message, label, hint)
        }
    }
}

/// What is known of a pod by names of its own: `$pod_label."app.kubernetes.io/name"` is one name.
fn of_api(names: Vec<String>) -> Vec<String> {
    match &*names {
        [kind, rest @ ..] if API_KINDS.contains(&&**kind) && !rest.is_empty() => {
            vec![format!("{kind}.{}", rest.join("."))]
        }
        _ => names,
    }
}

/// `a.b` is `["a", "b"]`; `a."b.c"` is `["a", "b.c"]`, with `\"` and `\\` inside quotes.
pub(super) fn parse_path(text: &str) -> Result<Path, &'static str> {
    let mut names = vec![];
    let mut rest = text;
    loop {
        let (name, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted_name(quoted)?,
            None => {
                let end = rest.find('.').unwrap_or(rest.len());
                (rest[..end].to_owned(), &rest[end..])
            }
        };
        if name.is_empty() || (!rest.starts_with('"') && name.contains('"')) {
            return Err(if name.is_empty() { "an empty name" } else { "a quote inside a name" });
        }
        names.push(name);
        match after.strip_prefix('.') {
            Some(next) => rest = next,
            None if after.is_empty() => return Ok(Path(of_api(not_origin(names, rest)))),
            None => return Err("a `.` is missing after the quote"),
        }
    }
}

/// One name that begins with a `$` and stands in quotes, as `last` was written, is a field: see
/// [`Path::origin`].
fn not_origin(mut names: Vec<String>, last: &str) -> Vec<String> {
    if let [name] = &mut *names
        && last.starts_with("\"$")
    {
        name.insert(0, '$');
    }
    names
}

/// The name up to the closing quote, and what follows.
fn quoted_name(text: &str) -> Result<(String, &str), &'static str> {
    let mut name = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok((name, &text[at + 1..])),
            '\\' => name.push(chars.next().ok_or("a quote is not closed")?.1),
            c => name.push(c),
        }
    }
    Err("a quote is not closed")
}
