//! The configuration of a run, from its knobs.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use skald::app::{Source, Sources};
use skald::model::TenantId;
use skald::parse::{self, Field, Format, Guard, Plan, Rule};
use skald::push::{self, Auth, Proxy, Retry, StructuredMetadata, Tls};

use crate::knobs::Knobs;

/// The sources, in the form of `config`: the odd ones have other rules than the even ones.
pub(crate) fn sources(knobs: &Knobs) -> Sources {
    let field = |name: &str, from: &str| Field {
        name: name.to_owned(),
        from: vec![parse::Path(vec![from.to_owned()])],
        regex: None,
        map: vec![("WARNING".to_owned(), "warn".to_owned())],
        default: None,
    };
    let plain = |name, from| Field { map: Vec::new(), ..field(name, from) };
    let times =
        || Rule::Timestamp { from: vec![parse::Path(vec!["ts".to_owned()])], formats: Vec::new() };
    let rules = |idx: usize| {
        let (labels, metadata) = if idx.is_multiple_of(2) {
            (vec![plain("level", "level"), plain("event_type", "event")], Vec::new())
        } else {
            (vec![field("level", "level")], vec![plain("event", "event")])
        };
        let metadata = [vec![plain("request_id", "rid")], metadata].concat();
        vec![Rule::Label(labels), Rule::Metadata(metadata), times()]
    };
    let source = |idx: usize| {
        let name = format!("s{idx}");
        let plan = Arc::new(Plan::compile(&parse::Options {
            source: name.clone(),
            format: Format::JSON,
            labels: vec![("app".to_owned(), name.clone())],
            multiline: None,
            times: parse::TimeRules::default(),
            strip_ansi: false,
            rules: rules(idx),
            line_bytes: u32::try_from(knobs.line_bytes).expect("it fits"),
            age: knobs.limit_age,
            guard_values: 0,
            guard_per: Duration::from_secs(3600),
        }));
        let guard = Mutex::new(Guard::new(&plan));
        Arc::new(Source {
            name,
            tenant: TenantId(0),
            others: Vec::new(),
            place: skald::config::Place::default(),
            pods: None,
            plan,
            guard,
            values_max: 0,
        })
    };
    (0..knobs.sources).map(source).collect()
}

/// A way to Loki that is never taken.
pub(crate) fn push_options(knobs: &Knobs) -> push::Options {
    push::Options {
        url: String::new(),
        tenant: None,
        auth: Auth::None,
        tls: Tls::default(),
        headers: Vec::new(),
        proxy: Proxy::None,
        timeout: Duration::from_secs(5),
        one_stream_per_push: false,
        structured_metadata: StructuredMetadata::On,
        retry: Retry { delay_min: knobs.retry_min, delay_max: knobs.retry_max },
        bytes_per_second: 0,
    }
}
