//! The routes, the push, and Skald's own pages.

use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, HttpBody as _, to_bytes};
use axum::extract::{ConnectInfo, Query as Parameters, State};
use axum::http::header::{CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::Deserialize;

use super::answers::{Answer, Answers, Reset};
use super::connection::Cut;
use super::logql::Query;
use super::options::Options;
use super::store::Store;
use super::{body, check, query, tenant};
use crate::model::UnixNanos;

/// Loki's `distributor.max_recv_msg_size`; more is 413.
const BODY_BYTES_MAX: usize = 100 * 1024 * 1024;

/// Half of `HTTP/1.1 204 No Content`.
const STATUS_LINE_HALF: usize = 11;

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
        .with_state(shared)
}

async fn push(
    State(shared): State<Shared>,
    ConnectInfo(cut): ConnectInfo<Cut>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let answer = shared.answers.next(tenant::noted(&headers).as_deref()).unwrap_or_default();
    if answer.reset == Some(Reset::Body) {
        let read = read_half(body).await;
        shared.store.count("reset", read);
        cut.after(0);
        return StatusCode::NO_CONTENT.into_response();
    }
    let bytes = match to_bytes(body, BODY_BYTES_MAX).await {
        Ok(bytes) => bytes,
        Err(error) => return Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, error).into_response(),
    };
    if answer.delay_ms > 0 {
        tokio::time::sleep(Duration::from_millis(answer.delay_ms)).await;
    }
    let looked_at = match answer.reset {
        Some(reset) => reset != Reset::Before,
        None => answer.status.is_none() || answer.store || answer.refuse.is_some(),
    };
    let outcome = if looked_at { shared.accept(&headers, &bytes, &answer) } else { Ok(()) };
    if let Some(reset) = answer.reset {
        shared.store.count("reset", bytes.len());
        cut.after(if reset == Reset::Status { STATUS_LINE_HALF } else { 0 });
        return outcome.map(|()| StatusCode::NO_CONTENT).into_response();
    }
    let response = match answer.status.filter(|_| answer.refuse.is_none()) {
        Some(_) => written(&answer),
        None => outcome.map(|()| StatusCode::NO_CONTENT).into_response(),
    };
    shared.store.count(response.status().as_str(), bytes.len());
    response
}

/// Reads the first half of a body; of one without a length, its first piece.
async fn read_half(mut body: Body) -> usize {
    let half = body.size_hint().exact().unwrap_or(0) / 2;
    let mut read = 0;
    while let Some(Ok(frame)) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        read += frame.data_ref().map_or(0, Bytes::len);
        if half <= read as u64 {
            break;
        }
    }
    read
}

impl Shared {
    /// Stores what Loki would. An error does not mean that nothing was stored.
    fn accept(&self, headers: &HeaderMap, bytes: &[u8], answer: &Answer) -> Result<(), Refusal> {
        if let Some(tap) = &self.options.tap {
            tap.take(bytes);
            return Ok(());
        }
        let tenant = tenant::tenant(headers, self.options.auth)?;
        let user = tenant::user(tenant.as_deref(), self.options.auth);
        let body = body::decode(headers, bytes)?;
        self.store.count_encoded(body.encoded_bytes);
        let now = self.options.clock.now();
        let mut checked = check::check(body.request, &self.options, user, now)?;
        let mut status = StatusCode::BAD_REQUEST;
        if let Some(query) = &answer.refuse {
            let query = Query::parse_any(query).map_err(Refusal::internal)?;
            if checked.refuse(&query, &answer.body) {
                status = answer.status().unwrap_or(status);
            }
        }
        let verdict = match checked.refused.is_empty() {
            true => Ok(()),
            false => Err(Refusal::new(status, &checked.refused)),
        };
        if checked.streams.is_empty() {
            return verdict;
        }
        if let Some(until) = self.options.block_ingestion_until.filter(|until| now < *until) {
            return blocked(self.options.block_ingestion_status_code, user, until);
        }
        self.store.append(tenant.as_deref(), checked, now)?;
        verdict
    }
}

/// Answers instead of storing: with success, if so configured.
fn blocked(status: u16, user: &str, until: UnixNanos) -> Result<(), Refusal> {
    let text = format!("ingestion blocked for user {user} until '{until}' with status code");
    match StatusCode::from_u16(status) {
        Ok(StatusCode::OK | StatusCode::NO_CONTENT) => Ok(()),
        Ok(code) => Err(Refusal::new(code, format!("{text} '{status}'"))),
        Err(error) => Err(Refusal::internal(error)),
    }
}

fn written(answer: &Answer) -> Response {
    let status = answer.status().unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
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

/// `?seed=N` begins the dice of `percent` anew.
async fn add_answers(
    State(shared): State<Shared>,
    Parameters(parameters): Parameters<Seed>,
    bytes: Bytes,
) -> Result<StatusCode, Refusal> {
    let answers: Vec<Answer> = serde_json::from_slice(&bytes).map_err(Refusal::bad_request)?;
    answers.iter().try_for_each(Answer::check).map_err(Refusal::bad_request)?;
    if let Some(seed) = parameters.seed {
        shared.answers.seed(seed);
    }
    shared.answers.add(answers);
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Seed {
    seed: Option<u64>,
}

async fn clear_answers(State(shared): State<Shared>) -> StatusCode {
    shared.answers.clear();
    StatusCode::NO_CONTENT
}
