//! What no line has any more that comes to a rule, because a rule above has dropped those that do.

use std::collections::HashMap;
use std::ops::Range;

use super::super::report::Problem;
use super::super::values::short;
use crate::parse::{Condition, Path, Rule, Test};

/// What is gone of a field.
#[derive(Debug, Clone)]
enum What {
    /// The field.
    All,
    /// Lines in which it is one of these.
    Values(Vec<String>),
}

/// By path, as a person writes it.
#[derive(Debug, Clone, Default)]
pub(super) struct Gone(HashMap<String, (What, Range<usize>)>);

impl Gone {
    /// What `rule`, which was read at `head`, leaves of what follows.
    pub(super) fn note(&mut self, rule: &Rule, head: &Range<usize>) {
        match rule {
            Rule::Drop(Condition::Field(path, Test::Exists(true)))
            | Rule::Keep(Condition::Field(path, Test::Exists(false))) => {
                self.0.insert(path.dotted(), (What::All, head.clone()));
            }
            Rule::Drop(Condition::Field(path, Test::Is(values))) => {
                let values = What::Values(values.clone());
                self.0.entry(path.dotted()).or_insert_with(|| (values, head.clone()));
            }
            Rule::Drop(_)
            | Rule::Keep(_)
            | Rule::Label(_)
            | Rule::Metadata(_)
            | Rule::Members(_)
            | Rule::Timestamp { .. }
            | Rule::Sample(_)
            | Rule::Limit(_)
            | Rule::Tenant(_)
            | Rule::Metrics(_) => {}
            // They make fields, or change them, or their own rules do.
            Rule::Set(_)
            | Rule::Map(_)
            | Rule::Lowercase(_)
            | Rule::Level { .. }
            | Rule::Redact(_)
            | Rule::Regex(_)
            | Rule::Replace(_)
            | Rule::Line(_)
            | Rule::When { .. } => self.0.clear(),
        }
    }

    /// The field is named at `span`.
    pub(super) fn check_field(&self, path: &Path, span: &Range<usize>) -> Option<Problem> {
        let (What::All, head) = self.0.get(&path.dotted())? else { return None };
        let problem =
            Problem::warning(format!("no line that comes here has `{}`", short(&path.dotted())));
        Some(problem.at(span, "never there").also(head, "those that have it end here"))
    }

    /// Lines are asked for at `span`.
    pub(super) fn check_test(&self, asked: &Condition, span: &Range<usize>) -> Option<Problem> {
        let Condition::Field(path, Test::Is(values)) = asked else { return None };
        let (What::Values(gone), head) = self.0.get(&path.dotted())? else { return None };
        if !values.iter().all(|value| gone.contains(value)) {
            return None;
        }
        let problem = Problem::warning("no such line comes here");
        Some(problem.at(span, "never holds").also(head, "they end here"))
    }
}
