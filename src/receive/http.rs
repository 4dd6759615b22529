//! The routes, the push, and Skald's own pages.

use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{ConnectInfo, DefaultBodyLimit, State};
use axum::http::header::{CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};

use super::answers::{Answer, Answers, Reset};
use super::connection::Cut;
use super::options::Options;
use super::store::Store;
use super::{body, check, query, tenant};

/// Loki's `distributor.max_recv_msg_size`; more is 413.
const BODY_BYTES_MAX: usize = 100 * 1024 * 1024;

/// The gRPC limit between Loki's distributor and ingester.
const INGESTER_BYTES_MAX: usize = 4 * 1024 * 1024;

/// What all requests share.
#[derive(Debug, Clone)]
pub(super) struct Shared {
    pub(super) options: Options,
    pub(super) store: Store,
    pub(super) answers: Answers,
}

/// An answer other than success, in the form of Go's `http.Error`.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) text: String,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, text: impl ToString) -> Self {
        Self { status, text: text.to_string() }
    }

    pub(super) fn bad_request(text: impl ToString) -> Self {
        Self::new(StatusCode::BAD_REQUEST, text)
    }

    pub(super) fn too_many(text: impl ToString) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, text)
    }

    pub(super) fn internal(text: impl ToString) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, text)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let headers =
            [(CONTENT_TYPE, "text/plain; charset=utf-8"), (X_CONTENT_TYPE_OPTIONS, "nosniff")];
        (self.status, headers, self.text + "\n").into_response()
    }
}

pub(super) fn router(shared: Shared) -> Router {
    Router::new()
        .route("/loki/api/v1/push", post(push))
        .route("/api/prom/push", post(push))
        .route("/loki/api/v1/query_range", get(query::range))
        .route("/loki/api/v1/query", get(query::instant))
        .route("/loki/api/v1/labels", get(query::labels))
        .route("/loki/api/v1/label/{name}/values", get(query::values))
        .route("/loki/api/v1/series", get(query::series))
        .route("/ready", get(|| async { "ready\n" }))
        .route("/skald/entries", get(entries))
        .route("/skald/stats", get(stats))
        .route("/skald/answers", post(add_answers).delete(clear_answers))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(shared)
}

async fn push(
    State(shared): State<Shared>,
    ConnectInfo(cut): ConnectInfo<Cut>,
    headers: HeaderMap,
    bytes: Bytes,
) -> Response {
    let answer = shared.answers.next().unwrap_or_default();
    if answer.delay_ms > 0 {
        tokio::time::sleep(Duration::from_millis(answer.delay_ms)).await;
    }
    let looked_at = answer.reset == Some(Reset::After)
        || answer.reset.is_none() && (answer.status.is_none() || answer.store);
    let outcome = if looked_at { shared.accept(&headers, &bytes) } else { Ok(()) };
    if answer.reset.is_some() {
        shared.store.count("reset", bytes.len());
        cut.cut();
        return StatusCode::NO_CONTENT.into_response();
    }
    let response = match answer.status {
        Some(status) => written(status, &answer),
        None => outcome.map(|()| StatusCode::NO_CONTENT).into_response(),
    };
    shared.store.count(response.status().as_str(), bytes.len());
    response
}

impl Shared {
    /// Stores what Loki would. An error does not mean that nothing was stored.
    fn accept(&self, headers: &HeaderMap, bytes: &[u8]) -> Result<(), Refusal> {
        let tenant = tenant::tenant(headers, self.options.auth)?;
        let body = body::decode(headers, bytes)?;
        self.store.count_encoded(body.encoded_bytes);
        let now = self.options.clock.now();
        let checked = check::check(body.request, &self.options, now)?;
        let verdict = match checked.refused.is_empty() {
            true => Ok(()),
            false => Err(Refusal::bad_request(&checked.refused)),
        };
        if checked.streams.is_empty() {
            return verdict;
        }
        if checked.bytes > self.options.ingestion_burst_bytes {
            return Err(Refusal::too_many(self.rate_text(tenant.as_deref(), &checked)));
        }
        if checked.weight > INGESTER_BYTES_MAX {
            return Err(Refusal::internal(format!(
                "rpc error: code = ResourceExhausted desc = grpc: received message larger than \
                 max ({} vs. {INGESTER_BYTES_MAX})",
                checked.weight
            )));
        }
        self.store.append(tenant.as_deref(), checked.streams)?;
        verdict
    }

    fn rate_text(&self, tenant: Option<&str>, checked: &check::Checked) -> String {
        let user = tenant.filter(|_| self.options.auth).unwrap_or("fake");
        let lines: usize = checked.streams.iter().map(|(_, entries)| entries.len()).sum();
        format!(
            "Ingestion rate limit exceeded for user {user} (limit: 4194304 bytes/sec) while \
             attempting to ingest '{lines}' lines totaling '{}' bytes, reduce log volume or \
             contact your Loki administrator to see if the limit can be increased",
            checked.bytes
        )
    }
}

fn written(status: u16, answer: &Answer) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = (status, answer.body.clone()).into_response();
    for (name, value) in &answer.headers {
        if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_str(value)) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

async fn entries(State(shared): State<Shared>) -> Response {
    let text: String = shared.store.entries().iter().map(|entry| entry.to_ndjson()).collect();
    ([(CONTENT_TYPE, "application/x-ndjson")], text).into_response()
}

async fn stats(State(shared): State<Shared>) -> Response {
    query::json(&shared.store.stats())
}

async fn add_answers(State(shared): State<Shared>, bytes: Bytes) -> Result<StatusCode, Refusal> {
    let answers: Vec<Answer> = serde_json::from_slice(&bytes).map_err(Refusal::bad_request)?;
    answers.iter().try_for_each(Answer::check).map_err(Refusal::bad_request)?;
    shared.answers.add(answers);
    Ok(StatusCode::NO_CONTENT)
}

async fn clear_answers(State(shared): State<Shared>) -> StatusCode {
    shared.answers.clear();
    StatusCode::NO_CONTENT
}
