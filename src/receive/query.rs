//! Reading back: the part of Loki's query API that Grafana's Explore starts with.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, Query as Parameters, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Value, json};

use super::http::{Refusal, Shared};
use super::labels::Labels;
use super::logql::{Query, QueryError};
use super::store::{Direction, Received, Span};
use super::tenant::tenant;
use crate::model::UnixNanos;

/// Loki's default for `limit`.
const LIMIT_DEFAULT: usize = 100;

/// What a query looks at without `start`.
const SINCE_DEFAULT: Duration = Duration::from_secs(3600);

/// What Grafana asks to see whether a data source works.
const HEALTH_QUERY: &str = "vector(1)+vector(1)";

type Pairs = Parameters<Vec<(String, String)>>;

/// `GET /loki/api/v1/query_range`: `query`, `start`, `end`, `limit`, `direction`.
pub(super) async fn range(
    State(shared): State<Shared>,
    headers: HeaderMap,
    Parameters(pairs): Pairs,
) -> Result<Response, Refusal> {
    let query = Query::parse(text(&pairs, "query")).map_err(refused)?;
    let end = instant_of(&pairs, "end")?.unwrap_or_else(|| shared.options.clock.now());
    let start = instant_of(&pairs, "start")?.unwrap_or_else(|| end.minus(SINCE_DEFAULT));
    streams(&shared, &headers, &pairs, &query, start..end)
}

/// `GET /loki/api/v1/query`: the lines of the hour up to `time`, where Loki has metrics only.
pub(super) async fn instant(
    State(shared): State<Shared>,
    headers: HeaderMap,
    Parameters(pairs): Pairs,
) -> Result<Response, Refusal> {
    let end = instant_of(&pairs, "time")?.unwrap_or_else(|| shared.options.clock.now());
    if text(&pairs, "query").replace(' ', "") == HEALTH_QUERY {
        let value = json!({"metric": {}, "value": [end.0 / 1_000_000_000, "2"]});
        return Ok(success(&json!({"resultType": "vector", "result": [value], "stats": {}})));
    }
    let query = Query::parse(text(&pairs, "query")).map_err(refused)?;
    streams(&shared, &headers, &pairs, &query, end.minus(SINCE_DEFAULT)..end)
}

/// `GET /loki/api/v1/labels`: label names, of the streams that `query` selects.
pub(super) async fn labels(
    State(shared): State<Shared>,
    headers: HeaderMap,
    Parameters(pairs): Pairs,
) -> Result<Response, Refusal> {
    let streams = stream_labels(&shared, &headers, &pairs, "query")?;
    let names: BTreeSet<&str> = streams.iter().flat_map(|l| l.iter()).map(|(n, _)| n).collect();
    Ok(success(&names))
}

/// `GET /loki/api/v1/label/{name}/values`: values, of the streams that `query` selects.
pub(super) async fn values(
    State(shared): State<Shared>,
    Path(name): Path<String>,
    headers: HeaderMap,
    Parameters(pairs): Pairs,
) -> Result<Response, Refusal> {
    let streams = stream_labels(&shared, &headers, &pairs, "query")?;
    let values: BTreeSet<&str> = streams.iter().filter_map(|labels| labels.get(&name)).collect();
    Ok(success(&values))
}

/// `GET /loki/api/v1/series`: the label sets that any `match[]` selects.
pub(super) async fn series(
    State(shared): State<Shared>,
    headers: HeaderMap,
    Parameters(pairs): Pairs,
) -> Result<Response, Refusal> {
    let streams = stream_labels(&shared, &headers, &pairs, "match[]")?;
    Ok(success(&streams.iter().map(|labels| &**labels).collect::<Vec<_>>()))
}

/// Label sets of the kept entries between `start` and `end`, selected by the parameter
/// `selector`.
fn stream_labels(
    shared: &Shared,
    headers: &HeaderMap,
    pairs: &[(String, String)],
    selector: &str,
) -> Result<BTreeSet<Arc<Labels>>, Refusal> {
    let tenant = tenant(headers, shared.options.auth)?;
    let start = instant_of(pairs, "start")?.unwrap_or(UnixNanos(i64::MIN));
    let end = instant_of(pairs, "end")?.unwrap_or(UnixNanos(i64::MAX));
    let texts = pairs.iter().filter(|(name, value)| name == selector && !value.is_empty());
    let queries: Vec<Query> =
        texts.map(|(_, text)| Query::parse(text)).collect::<Result<_, _>>().map_err(refused)?;
    Ok(shared
        .store
        .entries()
        .iter()
        .filter(|entry| !shared.options.auth || entry.tenant.as_deref() == tenant.as_deref())
        .filter(|entry| start <= entry.time && entry.time <= end)
        .filter(|entry| queries.is_empty() || queries.iter().any(|q| q.selects(&entry.labels)))
        .map(|entry| Arc::clone(&entry.labels))
        .collect())
}

fn streams(
    shared: &Shared,
    headers: &HeaderMap,
    pairs: &[(String, String)],
    query: &Query,
    times: std::ops::Range<UnixNanos>,
) -> Result<Response, Refusal> {
    let tenant = tenant(headers, shared.options.auth)?;
    let limit = match text(pairs, "limit") {
        "" => LIMIT_DEFAULT,
        limit => limit.parse().map_err(|_| Refusal::bad_request(format!("limit {limit:?}")))?,
    };
    let direction = match text(pairs, "direction").to_ascii_lowercase().as_str() {
        "forward" => Direction::Forward,
        "" | "backward" => Direction::Backward,
        other => return Err(Refusal::bad_request(format!("invalid direction '{other}'"))),
    };
    let span = Span { start: times.start, end: times.end, limit, direction };
    let found = shared.store.find(tenant.as_deref(), query, &span);
    let flags = headers.get("x-loki-response-encoding-flags");
    let categorized =
        flags.is_some_and(|flags| flags.to_str().unwrap_or("").contains("categorize-labels"));
    let mut streams: BTreeMap<BTreeMap<String, String>, Vec<Value>> = BTreeMap::new();
    for entry in &found {
        let (stream, value) = if categorized { categorize(entry) } else { merge(entry) };
        streams.entry(stream).or_default().push(value);
    }
    let result: Vec<Value> = streams
        .into_iter()
        .map(|(stream, values)| json!({"stream": stream, "values": values}))
        .collect();
    let mut data = json!({"resultType": "streams", "result": result, "stats": {}});
    if categorized {
        data["encodingFlags"] = json!(["categorize-labels"]);
    }
    Ok(success(&data))
}

/// Labels and metadata as one set, as Loki answers by default.
fn merge(entry: &Received) -> (BTreeMap<String, String>, Value) {
    (entry.fields(), json!([entry.time.0.to_string(), entry.text()]))
}

/// Labels as the stream, metadata beside the line.
fn categorize(entry: &Received) -> (BTreeMap<String, String>, Value) {
    let mut labels = entry.fields();
    labels.retain(|name, _| entry.labels.get(name).is_some());
    let mut metadata = entry.fields();
    metadata.retain(|name, _| !labels.contains_key(name));
    let extra =
        if metadata.is_empty() { json!({}) } else { json!({"structuredMetadata": metadata}) };
    (labels, json!([entry.time.0.to_string(), entry.text(), extra]))
}

fn text<'a>(pairs: &'a [(String, String)], name: &str) -> &'a str {
    pairs.iter().find(|(n, _)| n == name).map_or("", |(_, value)| value)
}

/// Nanoseconds, seconds (up to ten digits, or with a fraction) or RFC 3339.
fn instant_of(pairs: &[(String, String)], name: &str) -> Result<Option<UnixNanos>, Refusal> {
    let text = text(pairs, name);
    if text.is_empty() {
        return Ok(None);
    }
    let wrong = || Refusal::bad_request(format!("could not parse '{text}' of {name} as a time"));
    if let Ok(number) = text.parse::<i64>() {
        let unit = if text.len() <= 10 { 1_000_000_000 } else { 1 };
        return Ok(Some(UnixNanos(number.saturating_mul(unit))));
    }
    let timestamp = match text.parse::<f64>() {
        Ok(seconds) => jiff::SignedDuration::try_from_secs_f64(seconds)
            .and_then(jiff::Timestamp::from_duration)
            .map_err(|_| wrong())?,
        Err(_) => text.parse().map_err(|_| wrong())?,
    };
    timestamp.try_into().map(Some).map_err(|_| wrong())
}

fn refused(error: QueryError) -> Refusal {
    match &error {
        QueryError::Regex(_, source) => Refusal::bad_request(format!("{error}: {source}")),
        QueryError::Syntax(_) | QueryError::Everything => Refusal::bad_request(&error),
    }
}

fn success(data: &impl Serialize) -> Response {
    json(&json!({"status": "success", "data": data}))
}

/// `value` as an answer.
pub(super) fn json(value: &impl Serialize) -> Response {
    match serde_json::to_string(value) {
        Ok(text) => ([(CONTENT_TYPE, "application/json; charset=UTF-8")], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}
