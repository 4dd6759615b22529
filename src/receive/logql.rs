//! The part of LogQL that finds lines: a selector, line filters, filters on metadata.

use std::collections::BTreeMap;

use regex::Regex;

use super::labels::Labels;
use super::scanner::{ParseError, Scanner};
use super::store::Received;

/// A query, e.g. `{app="shop", level=~"warn|error"} | request_id="r1" |= "timeout"`.
#[derive(Debug, Clone)]
pub struct Query {
    matchers: Vec<Matcher>,
    stages: Vec<Stage>,
}

/// Why a query is refused.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// It is not LogQL, or more of LogQL than there is here.
    #[error(transparent)]
    Syntax(#[from] ParseError),
    /// A regular expression is wrong.
    #[error("regular expression {0:?}")]
    Regex(String, #[source] regex::Error),
    /// The selector selects everything.
    #[error(
        "queries require at least one regexp or equality matcher that does not have an \
         empty-compatible value"
    )]
    Everything,
}

#[derive(Debug, Clone)]
struct Matcher {
    name: String,
    test: Test,
    negated: bool,
}

#[derive(Debug, Clone)]
enum Test {
    Equals(String),
    Matches(Regex),
}

#[derive(Debug, Clone)]
enum Stage {
    Line { test: Test, negated: bool },
    Field(Matcher),
}

impl Query {
    /// Reads a query.
    pub fn parse(text: &str) -> Result<Self, QueryError> {
        let query = Self::parse_any(text)?;
        if query.matchers.iter().all(|matcher| matcher.passes("")) {
            return Err(QueryError::Everything);
        }
        Ok(query)
    }

    /// The same, and it may select everything.
    pub(super) fn parse_any(text: &str) -> Result<Self, QueryError> {
        let mut scan = Scanner::new(text);
        let matchers = selector(&mut scan)?;
        let mut stages = Vec::new();
        loop {
            scan.skip_space();
            if scan.peek().is_none() {
                return Ok(Self { matchers, stages });
            }
            stages.push(stage(&mut scan)?);
        }
    }

    /// Whether the selector takes the stream `labels`.
    #[must_use]
    pub fn selects(&self, labels: &Labels) -> bool {
        let passes = |m: &Matcher| m.passes(labels.get(&m.name).unwrap_or_default());
        self.matchers.iter().all(passes)
    }

    /// Whether the query finds `entry`.
    #[must_use]
    pub fn finds(&self, entry: &Received) -> bool {
        self.selects(&entry.labels)
            && (self.stages.is_empty() || self.passes(&entry.fields(), &entry.text()))
    }

    /// Whether an entry of a selected stream passes the stages.
    pub(super) fn passes(&self, fields: &BTreeMap<String, String>, line: &str) -> bool {
        self.stages.iter().all(|stage| match stage {
            Stage::Line { test: Test::Equals(text), negated } => {
                line.contains(text.as_str()) != *negated
            }
            Stage::Line { test: Test::Matches(regex), negated } => regex.is_match(line) != *negated,
            Stage::Field(m) => m.passes(fields.get(&m.name).map_or("", String::as_str)),
        })
    }
}

/// Labels and metadata as a query shows them: metadata that is named like a label is renamed.
pub(super) fn fields(labels: &Labels, metadata: &[(String, String)]) -> BTreeMap<String, String> {
    let mut fields: BTreeMap<String, String> =
        labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    for (name, value) in metadata {
        let taken = labels.get(name).is_some();
        let name = if taken { format!("{name}_extracted") } else { name.clone() };
        fields.insert(name, value.clone());
    }
    fields
}

impl Matcher {
    fn passes(&self, value: &str) -> bool {
        let matches = match &self.test {
            Test::Equals(text) => text == value,
            Test::Matches(regex) => regex.is_match(value),
        };
        matches != self.negated
    }
}

fn selector(scan: &mut Scanner<'_>) -> Result<Vec<Matcher>, QueryError> {
    scan.skip_space();
    if !scan.eat("{") {
        return Err(syntax(scan, "{"));
    }
    let mut matchers = Vec::new();
    loop {
        scan.skip_space();
        if scan.eat("}") {
            return Ok(matchers);
        }
        matchers.push(matcher(scan)?);
        scan.skip_space();
        if !scan.eat(",") && scan.peek() != Some('}') {
            return Err(syntax(scan, "\",\" or \"}\""));
        }
    }
}

fn stage(scan: &mut Scanner<'_>) -> Result<Stage, QueryError> {
    for (operator, regex, negated) in
        [("|=", false, false), ("!=", false, true), ("|~", true, false), ("!~", true, true)]
    {
        if scan.eat(operator) {
            let text = text(scan)?;
            let test = if regex { Test::Matches(compile(&text)?) } else { Test::Equals(text) };
            return Ok(Stage::Line { test, negated });
        }
    }
    if !scan.eat("|") {
        return Err(syntax(scan, "a line filter or \"|\""));
    }
    matcher(scan).map(Stage::Field)
}

fn matcher(scan: &mut Scanner<'_>) -> Result<Matcher, QueryError> {
    scan.skip_space();
    let name = scan.name(false);
    if name.is_empty() {
        return Err(syntax(scan, "identifier"));
    }
    scan.skip_space();
    for (operator, regex, negated) in
        [("=~", true, false), ("!~", true, true), ("!=", false, true), ("=", false, false)]
    {
        if scan.eat(operator) {
            let text = text(scan)?;
            let test = match regex {
                true => Test::Matches(compile(&format!("^(?s:{text})$"))?),
                false => Test::Equals(text),
            };
            return Ok(Matcher { name: name.to_owned(), test, negated });
        }
    }
    Err(syntax(scan, "one of = != =~ !~ (parsers and formats are not supported here)"))
}

fn text(scan: &mut Scanner<'_>) -> Result<String, QueryError> {
    scan.skip_space();
    match scan.string()? {
        Some(text) => Ok(text),
        None => Err(syntax(scan, "string")),
    }
}

fn compile(regex: &str) -> Result<Regex, QueryError> {
    Regex::new(regex).map_err(|error| QueryError::Regex(regex.to_owned(), error))
}

fn syntax(scan: &Scanner<'_>, expected: &str) -> QueryError {
    scan.error(format!("syntax error: unexpected {}, expecting {expected}", scan.found())).into()
}
