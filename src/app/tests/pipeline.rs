//! The gauge of streams.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::super::pipeline::{From, Pipeline, Text};
use super::super::sources::{Source, Sources};
use crate::batch::Options;
use crate::config::Config;
use crate::model::{Now, Pool, SourceId, Stamp, TenantId, UnixNanos};
use crate::parse::{Guard, Join, Line, Piece, Plan};
use crate::telemetry::Metrics;

#[test]
fn the_gauge_shows_the_streams_of_all_pipelines() {
    let plan = Arc::new(Plan::compile(&Config::defaults("").parse_defaults("a")));
    let guard = Mutex::new(Guard::new(&plan));
    let sources: Sources = Arc::new([Arc::new(Source {
        name: "a".to_owned(),
        tenant: TenantId(0),
        others: vec![],
        place: crate::config::Place::default(),
        pods: None,
        plan,
        guard,
        values_max: 500,
    })]);
    let (pool, metrics) = (Pool::new(1 << 20, || {}), Metrics::new());
    let now = Now { mono: Duration::from_secs(1), wall: UnixNanos(1_700_000_000_000_000_000) };
    let options = Options {
        bytes_max: 1 << 16,
        age_max: Duration::from_secs(1),
        streams_max: 10,
        metadata: true,
    };
    let from = From { source: SourceId(0), stretch: None, limit: UnixNanos(i64::MAX) };
    for streams in [2, 4] {
        let (sources, pool, metrics) = (Arc::clone(&sources), pool.clone(), metrics.clone());
        let mut pipeline = Pipeline::new(sources, false, options.clone(), pool, metrics.clone());
        pipeline.begin(from.source, now);
        let mut stamp = Stamp::default();
        for line in [r#"{"level":"a"}"#, r#"{"level":"b"}"#, r#"{"level":"a"}"#] {
            let line = Line { bytes: line.as_bytes(), truncated_from: None };
            let text = Text::Piece(Piece { line, ..Piece::default() });
            pipeline.line(from, text, &mut Join::default(), &mut stamp, now).unwrap();
        }
        pipeline.end(from.source);
        assert_eq!(metrics.streams.get(), streams);
    }
}
