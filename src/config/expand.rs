//! `${VAR}` and `${VAR:-default}` in values that are parsed already, so that nothing in the
//! environment can change what the file says. `$$` is a dollar; any other `$` is one too.

use super::raw::{Node, Value};
use super::report::Problem;

/// The environment, as a function that tests can replace.
pub(super) type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Expands every value below `node`.
pub(super) fn expand(node: &mut Node, env: Env<'_>, problems: &mut Vec<Problem>) {
    match &mut node.value {
        Value::Null | Value::Broken => {}
        Value::List(items) => items.iter_mut().for_each(|item| expand(item, env, problems)),
        Value::Map(entries) => {
            entries.iter_mut().for_each(|(_, value)| expand(value, env, problems));
        }
        Value::Text(text) if !text.text.contains('$') => {}
        Value::Text(text) => match expanded(&text.text, env) {
            Ok(expanded) if expanded == text.text => {}
            Ok(expanded) => {
                text.written = Some(std::mem::replace(&mut text.text, expanded));
                text.verbatim = None;
            }
            Err(Mistake { message, label, hint, range }) => {
                let start = text.verbatim.map(|at| at + range.start);
                let span = start.map_or_else(|| node.span.clone(), |at| at..at + range.len());
                problems.push(Problem::error(message).at(&span, label).hint(hint));
                node.value = Value::Broken;
            }
        },
    }
}

struct Mistake {
    message: String,
    label: &'static str,
    hint: String,
    range: std::ops::Range<usize>,
}

fn expanded(text: &str, env: Env<'_>) -> Result<String, Mistake> {
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while let Some(dollar) = text[at..].find('$').map(|found| at + found) {
        out.push_str(&text[at..dollar]);
        let rest = &text[dollar + 1..];
        if rest.starts_with('{') {
            let Some(len) = rest.find('}') else { return Err(unclosed(dollar..text.len())) };
            at = dollar + 1 + len + 1;
            out.push_str(&variable(&rest[1..len], env, dollar..at)?);
        } else {
            out.push('$');
            at = dollar + if rest.starts_with('$') { 2 } else { 1 };
        }
    }
    out.push_str(&text[at..]);
    Ok(out)
}

fn unclosed(range: std::ops::Range<usize>) -> Mistake {
    let message = "`${` without `}`".to_owned();
    Mistake { message, label: "not closed", hint: "a literal `${` is written `$${`".into(), range }
}

/// `inside` is what stands between the braces.
fn variable(inside: &str, env: Env<'_>, range: std::ops::Range<usize>) -> Result<String, Mistake> {
    let (name, default) = match inside.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inside, None),
    };
    let is_name = name.bytes().all(|byte| byte == b'_' || byte.is_ascii_alphanumeric())
        && name.bytes().next().is_some_and(|byte| !byte.is_ascii_digit());
    if !is_name {
        let message = "not the name of a variable between `${` and `}`".to_owned();
        let hint = "write `${VAR}` or `${VAR:-default}`; a literal `${` is written `$${`".into();
        return Err(Mistake { message, label: "not a name", hint, range });
    }
    match (env(name), default) {
        (Some(value), None) => Ok(value),
        // As in a shell, `:-` stands in for an empty value too.
        (Some(value), Some(default)) if value.is_empty() => Ok(default.to_owned()),
        (Some(value), Some(_)) => Ok(value),
        (None, Some(default)) => Ok(default.to_owned()),
        (None, None) => {
            let message = format!("variable `{name}` is not set");
            let hint = format!("set it where skald is started, or write `${{{name}:-default}}`");
            Err(Mistake { message, label: "not in the environment", hint, range })
        }
    }
}
