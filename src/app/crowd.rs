//! What is done when Loki takes no more streams of a tenant: the label with the most values of the
//! source that made the stream becomes structured metadata, as when the guard moves it.

use std::sync::Arc;
use std::time::Duration;

use tracing::warn;

use super::current::Current;
use super::sources::{Source, base};
use crate::batch::Base;
use crate::parse::Demotion;
use crate::push::Relabel;
use crate::wire;

/// How long Loki has taken no more streams before a label is moved.
pub(super) const CROWDED_FOR: Duration = Duration::from_secs(60);

/// The sources whose streams one lane brings.
pub struct Crowd {
    current: Current,
    /// Whether a source is the lane's, by its position.
    is_own: Box<dyn Fn(usize) -> bool + Send + Sync>,
}

impl std::fmt::Debug for Crowd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Crowd")
    }
}

type Labels = [(String, String)];

impl Crowd {
    /// For the lane of those sources whose places are `own`.
    #[must_use]
    pub fn new(current: Current, is_own: impl Fn(usize) -> bool + Send + Sync + 'static) -> Self {
        Self { current, is_own: Box::new(is_own) }
    }

    /// The labels that a sealed stream has since the guard has moved some of them; `None` if it
    /// has none of those.
    #[must_use]
    pub fn relabel(&self, labels: &str) -> Option<Relabel> {
        let labels = wire::label_pairs(labels);
        self.makers(&labels).iter().find_map(|(source, base)| {
            let demoted = source.guard().demoted();
            let is_demoted = |(name, value): &&(String, String)| {
                demoted.contains(name) && is_brought(base, name, value)
            };
            let metadata: Vec<_> = labels.iter().filter(is_demoted).cloned().collect();
            let value = |name: &String| match labels.iter().find(|pair| pair.0 == *name) {
                Some(pair) if !metadata.contains(pair) => pair.1.as_str(),
                Some(_) | None => "",
            };
            let values: Vec<&str> = base.names.iter().map(value).collect();
            let labels = base.label_string(&values);
            (!metadata.is_empty()).then_some(Relabel { labels, metadata })
        })
    }

    /// Takes a label away from the source that has made the stream `labels`: the one with the most
    /// values. `None` if it has none to give, or no guard.
    #[must_use]
    pub fn make_room(&self, labels: &str) -> Option<Demotion> {
        let labels = wire::label_pairs(labels);
        let makers = self.makers(&labels);
        let counts = makers.iter().flat_map(|(source, base)| {
            let brought = labels.iter().filter(|(name, value)| is_brought(base, name, value));
            brought.filter_map(move |(name, _)| Some((source.guard().values(name)?, source, name)))
        });
        let (_, source, name) = counts.max_by_key(|(count, _, _)| *count)?;
        let example = labels.iter().find(|pair| pair.0 == *name).map_or("", |pair| &pair.1);
        let demotion = source.guard().take_away(name, example)?;
        warn!(
            source = source.name,
            label = demotion.label,
            values = demotion.count,
            example = demotion.example,
            "loki takes no more streams, so the label with the most values becomes structured \
             metadata; list it under `metadata` in the rules, or raise loki's \
             `max_global_streams_per_user`",
        );
        Some(demotion)
    }

    /// The sources that can have made a stream.
    fn makers(&self, labels: &Labels) -> Vec<(Arc<Source>, Base)> {
        let sources = self.current.sources();
        let own = sources.iter().enumerate().filter(|(idx, _)| (self.is_own)(*idx));
        let with_base = own.map(|(_, own)| (Arc::clone(own), base(&own.plan, own.tenant)));
        let could = |(_, base): &(Arc<Source>, Base)| {
            let fixed = |name: &str| base.labels.iter().find(|label| label.0 == name);
            let known = labels.iter().all(|(name, value)| {
                base.names.contains(name) || fixed(name).is_some_and(|label| label.1 == *value)
            });
            let all = base.labels.iter().all(|label| labels.iter().any(|pair| pair.0 == label.0));
            known && all
        };
        with_base.filter(could).collect()
    }
}

/// Whether a line has brought this label, and not the configuration.
fn is_brought(base: &Base, name: &String, value: &str) -> bool {
    let is_fixed = base.labels.iter().any(|label| label.0 == *name && label.1 == value);
    base.names.contains(name) && !is_fixed
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::super::sources::Sources;
    use super::*;
    use crate::config::Config;
    use crate::model::{Now, TenantId, UnixNanos};
    use crate::parse::{Field, Guard, Path, Plan, Rule};

    const NOW: Now = Now { mono: Duration::from_secs(1), wall: UnixNanos(0) };

    fn source(app: &str, names: &[&str], values_max: u32) -> Arc<Source> {
        let mut options = Config::defaults("").parse_defaults(app);
        options.labels = vec![("app".to_owned(), app.to_owned())];
        let field = |name: &&str| Field {
            name: (*name).to_owned(),
            from: vec![Path(vec![(*name).to_owned()])],
            regex: None,
            map: vec![],
            default: None,
        };
        options.rules = vec![Rule::Label(names.iter().map(field).collect())];
        options.guard_values = values_max;
        let plan = Arc::new(Plan::compile(&options));
        let guard = Mutex::new(Guard::new(&plan));
        Arc::new(Source {
            name: app.to_owned(),
            tenant: TenantId(0),
            others: vec![],
            place: crate::config::Place::default(),
            pods: None,
            plan,
            guard,
            values_max,
        })
    }

    #[test]
    fn the_label_with_the_most_values_of_the_source_goes() {
        let sources: Sources =
            Arc::new([source("a", &["level", "user"], 500), source("b", &["level", "user"], 500)]);
        for value in 0..10 {
            let value = value.to_string();
            let _ = sources[0].guard().admit(&["info", &value], NOW);
            let _ = sources[1].guard().admit(&[&value, "u"], NOW);
        }
        let crowd = Crowd::new(Current::of(Arc::clone(&sources)), |_| true);
        let labels = r#"{app="a", level="info", user="7"}"#;
        assert_eq!(crowd.relabel(labels), None);
        let demotion = crowd.make_room(labels).unwrap();
        let got = (demotion.label.as_str(), demotion.count, demotion.example.as_str());
        assert_eq!(got, ("user", 10, "7"));
        let relabel = crowd.relabel(labels).unwrap();
        assert_eq!(relabel.labels, r#"{app="a", level="info"}"#);
        assert_eq!(relabel.metadata, [("user".to_owned(), "7".to_owned())]);
        assert_eq!(crowd.relabel(r#"{app="b", level="info", user="7"}"#), None, "another source");
        assert_eq!(crowd.relabel(r#"{app="a", level="info"}"#), None, "it has none");
        assert_eq!(crowd.make_room(labels).unwrap().label, "level", "if that is not enough");
        assert_eq!(crowd.relabel(labels).unwrap().labels, r#"{app="a"}"#);
        assert!(crowd.make_room(labels).is_none(), "nothing is left to take");
        assert_eq!(sources[0].guard().demoted(), ["level", "user"], "for the checkpoint");
    }

    #[test]
    fn labels_of_the_configuration_and_those_without_a_guard_stay() {
        let sources: Sources = Arc::new([source("a", &["user"], 500), source("b", &["user"], 0)]);
        let crowd = Crowd::new(Current::of(sources), |_| true);
        assert!(crowd.make_room(r#"{app="a"}"#).is_none());
        assert!(crowd.make_room(r#"{app="b", user="7"}"#).is_none(), "no guard");
        assert_eq!(crowd.make_room(r#"{app="a", user="7"}"#).unwrap().label, "user");
        assert_eq!(crowd.relabel(r#"{app="a", user="7"}"#).unwrap().labels, r#"{app="a"}"#);
    }
}
