//! What pods choose of how their lines are read, by annotations: `skald.dev/format: logfmt`.

use std::collections::BTreeMap;

use super::raw::{Node, Value};
use super::report::Problem;
use super::{format, multiline};
use crate::parse::{Content, Options, Rule, Sample, Wrapper};

/// What all annotations begin with.
const PREFIX: &str = "skald.dev/";

/// A rate has so many steps: each one is a set of rules of its own.
const RATE_STEPS: f64 = 1000.0;

/// What the operator may leave to pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Annotation {
    /// `exclude: "true"`: no line of the pod is read.
    Exclude,
    /// `format: logfmt`, of what is inside the container runtime's wrapper.
    Format,
    /// `multiline: python,java`.
    Multiline,
    /// `sample: "0.1"`, after all rules; errors always go.
    Sample,
}

impl Annotation {
    /// All, with the names that they have behind `skald.dev/`.
    pub(super) const ALL: [(&str, Self); 4] = [
        ("exclude", Self::Exclude),
        ("format", Self::Format),
        ("multiline", Self::Multiline),
        ("sample", Self::Sample),
    ];
}

/// What a pod asks for and gets, as it was written; all of it can be read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Asks {
    /// Its lines are not read.
    pub exclude: bool,
    format: Option<String>,
    multiline: Option<String>,
    sample: Option<String>,
}

impl Asks {
    /// Of the annotations of a pod, those that are `allowed`. The rest of `skald.dev/` comes back as
    /// complaints.
    #[must_use]
    pub fn of(
        annotations: &BTreeMap<String, String>,
        allowed: &[Annotation],
    ) -> (Self, Vec<String>) {
        let (mut asks, mut complaints) = (Self::default(), vec![]);
        for (name, text) in annotations {
            let Some(own) = name.strip_prefix(PREFIX) else { continue };
            let known = Annotation::ALL.iter().find(|(known, _)| *known == own);
            let result = match known {
                None => Err("there is no such annotation".to_owned()),
                Some((_, of)) if !allowed.contains(of) => {
                    Err("`api.annotations` does not allow it".to_owned())
                }
                Some((_, of)) => asks.take(*of, text.trim()),
            };
            if let Err(why) = result {
                complaints.push(format!("`{name}: {}`: {why}", super::values::short(text)));
            }
        }
        (asks, complaints)
    }

    fn take(&mut self, of: Annotation, text: &str) -> Result<(), String> {
        match of {
            Annotation::Exclude => {
                self.exclude = text.parse().map_err(|_| "write `true` or `false`".to_owned())?;
            }
            Annotation::Format => {
                content(text)?;
                self.format = Some(text.to_owned());
            }
            Annotation::Multiline => {
                grouping(text)?;
                self.multiline = Some(text.to_owned());
            }
            Annotation::Sample => {
                let rate: f64 = text.parse().map_err(|_| "write a share such as `0.1`")?;
                if !(0.0..=1.0).contains(&rate) {
                    return Err("a share is between 0 and 1".to_owned());
                }
                let rate = (rate * RATE_STEPS).ceil() / RATE_STEPS;
                self.sample = Some(rate.to_string());
            }
        }
        Ok(())
    }

    /// Whether lines are read in another way.
    #[must_use]
    pub fn changes_rules(&self) -> bool {
        *self != Self { exclude: self.exclude, ..Self::default() }
    }

    /// Puts it into the options of a source.
    #[must_use]
    pub fn apply(&self, options: &Options) -> Options {
        let mut options = options.clone();
        if let Some(Ok(content)) = self.format.as_deref().map(content) {
            if options.format.wrapper == Wrapper::None {
                options.format.wrapper = Wrapper::Auto;
            }
            options.format.content = content;
        }
        if let Some(Ok(how)) = self.multiline.as_deref().map(grouping) {
            options.multiline = how;
        }
        if let Some(Ok(rate)) = self.sample.as_deref().map(str::parse) {
            options.rules.push(Rule::Sample(Sample { rate, by: None, always: None }));
        }
        options
    }
}

fn content(text: &str) -> Result<Content, String> {
    let mut problems = vec![];
    match format::read(&mut problems, &Node::text(text, 0..0)) {
        Some(format) if format.wrapper == Wrapper::None => Ok(format.content),
        Some(format) if format.wrapper == Wrapper::Auto => Ok(Content::Auto),
        Some(_) | None => Err("write one of auto, json, logfmt, text".to_owned()),
    }
}

fn grouping(text: &str) -> Result<Option<crate::parse::Multiline>, String> {
    let mut problems: Vec<Problem> = vec![];
    let names = text.split(',').map(|name| Node::text(name.trim(), 0..0)).collect();
    let node = Node { value: Value::List(names), ..Node::text("", 0..0) };
    let read = multiline::read(&mut problems, &node);
    read.ok_or_else(|| "write some of python, java, go, node, with `,` between".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asks(pairs: &[(&str, &str)], allowed: &[Annotation]) -> (Asks, Vec<String>) {
        let pair = |(name, text): &(&str, &str)| ((*name).to_owned(), (*text).to_owned());
        Asks::of(&pairs.iter().map(pair).collect(), allowed)
    }

    const ALL: [Annotation; 4] =
        [Annotation::Exclude, Annotation::Format, Annotation::Multiline, Annotation::Sample];

    #[test]
    fn what_is_asked_for_is_read_or_said() {
        let (good, none) = asks(
            &[
                ("skald.dev/exclude", "true"),
                ("skald.dev/format", " logfmt"),
                ("skald.dev/multiline", "python, java"),
                ("skald.dev/sample", "0.10001"),
                ("prometheus.io/scrape", "true"),
            ],
            &ALL,
        );
        assert_eq!(none, Vec::<String>::new());
        assert!(good.exclude && good.changes_rules());
        assert_eq!(good.sample.as_deref(), Some("0.101"), "few rates are all that there are");
        let options = crate::config::Config::defaults("").parse_defaults("a");
        let own = good.apply(&options);
        assert!(matches!(own.format.content, Content::Logfmt));
        assert_eq!(own.format.wrapper, Wrapper::Auto);
        assert!(own.multiline.is_some() && own.rules.len() == options.rules.len() + 1);
        for (name, text, why) in [
            ("skald.dev/exclude", "yes", "`true` or `false`"),
            ("skald.dev/format", "jsn", "json, logfmt"),
            ("skald.dev/format", "cri", "json, logfmt"),
            ("skald.dev/multiline", "ruby", "python, java"),
            ("skald.dev/multiline", "", "python, java"),
            ("skald.dev/sample", "2", "between 0 and 1"),
            ("skald.dev/sample", "NaN", "between 0 and 1"),
            ("skald.dev/drop", "x", "no such annotation"),
        ] {
            let (asks, complaints) = asks(&[(name, text)], &ALL);
            assert_eq!(asks, Asks::default(), "{name}");
            assert!(complaints.len() == 1 && complaints[0].contains(why), "{complaints:?}");
        }
        let (none, complaints) = asks(&[("skald.dev/exclude", "true")], &[Annotation::Format]);
        assert!(!none.exclude && complaints[0].contains("does not allow"), "{complaints:?}");
        assert!(!asks(&[("skald.dev/exclude", "true")], &ALL).0.changes_rules());
    }
}
