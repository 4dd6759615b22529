//! What the lines of a made-up log say.

use std::fmt::Write as _;

use fastrand::Rng;

/// A kind of line, as a VeoGen backend has them.
#[derive(Debug)]
pub(crate) struct Kind {
    pub(crate) event_type: &'static str,
    pub(crate) level: &'static str,
    pub(crate) logger: &'static str,
    /// Whether it names method and address.
    pub(crate) is_request: bool,
}

const fn kind_of(
    event_type: &'static str,
    level: &'static str,
    logger: &'static str,
    is_request: bool,
) -> Kind {
    Kind { event_type, level, logger, is_request }
}

/// By how frequent they are: the n-th as often as 1/n.
const KINDS: [Kind; 12] = [
    kind_of("request_start", "INFO", "app.middleware.logging", true),
    kind_of("request_end", "INFO", "app.middleware.logging", true),
    kind_of("user_action", "INFO", "app.api.v1.videos", false),
    kind_of("cache_lookup", "DEBUG", "app.cache", false),
    kind_of("video_status", "INFO", "app.services.veo", false),
    kind_of("queue_push", "INFO", "app.services.queue", false),
    kind_of("db_query", "DEBUG", "app.db.pool", false),
    kind_of("login", "INFO", "app.api.v1.auth", false),
    kind_of("slow_query", "WARNING", "app.db.pool", false),
    kind_of("request_error", "ERROR", "app.middleware.logging", true),
    kind_of("quota_exceeded", "WARNING", "app.services.quota", false),
    kind_of("worker_lost", "CRITICAL", "app.services.render", false),
];

pub(crate) const AGENTS: [&str; 5] = [
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/131.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 14_7) AppleWebKit/605.1.15 Version/18.1 Safari/605.1.15",
    "Mozilla/5.0 (X11; Linux x86_64; rv:133.0) Gecko/20100101 Firefox/133.0",
    "VeoGen-iOS/2.4.1 (iPhone16,2; iOS 18.1)",
    "python-httpx/0.28.1",
];

pub(crate) const METHODS: [&str; 6] = ["GET", "GET", "GET", "POST", "PATCH", "DELETE"];
pub(crate) const STATUS: [&str; 8] = ["200", "200", "200", "200", "201", "404", "422", "429"];

const ACTIONS: [&str; 14] = [
    "Request",
    "User action",
    "Cache",
    "Generation",
    "Upload",
    "Session",
    "Slow query",
    "Render",
    "Payment",
    "Webhook",
    "Thumbnail",
    "Export",
    "Share",
    "Quota",
];
const STATES: [&str; 14] = [
    "started",
    "completed",
    "queued",
    "hit",
    "miss",
    "refreshed",
    "took",
    "finished",
    "accepted",
    "delivered",
    "created",
    "retried",
    "checked",
    "expired",
];
const PATHS: [&str; 6] = [
    "/api/v1/videos/{}/status",
    "/api/v1/videos/{}/download",
    "/api/v1/videos?page=2&after={}",
    "/api/v1/gallery?sort=recent&seed={}",
    "/api/v1/users/{}",
    "/api/v1/videos/{}/share",
];
const WORDS: [&str; 24] = [
    "return",
    "await",
    "self",
    "request",
    "response",
    "in",
    "endpoint",
    "service",
    "run",
    "fields",
    "File",
    "line",
    "call_next",
    "session",
    "execute",
    "insert",
    "values",
    "render",
    "frame",
    "timeout",
    "connection",
    "pool",
    "error",
    "video",
];

/// One of `KINDS`, by Zipf's law.
pub(crate) fn kind(rng: &mut Rng) -> &'static Kind {
    let weight = |rank: u32| 1.0 / f64::from(rank);
    let all: f64 = (1..=12).map(weight).sum();
    let mut rest = rng.f64() * all;
    let mut ranked = KINDS.iter().zip(1..);
    let found = ranked.find(|(_, rank)| {
        rest -= weight(*rank);
        rest < 0.0
    });
    found.map_or(&KINDS[0], |(kind, _)| kind)
}

pub(crate) fn one(rng: &mut Rng, of: &[&'static str]) -> &'static str {
    of[rng.usize(0..of.len())]
}

/// One of two hundred texts, with a number.
pub(crate) fn message(kind: &Kind, rng: &mut Rng) -> String {
    match kind.event_type {
        "request_start" => "Request started".to_owned(),
        "request_end" => "Request completed".to_owned(),
        _ => {
            let (action, state) = (one(rng, &ACTIONS), one(rng, &STATES));
            format!("{action} {state} after {} ms", rng.u16(..))
        }
    }
}

pub(crate) fn url(rng: &mut Rng) -> String {
    let video = format!("vid_{:08x}", rng.u32(..));
    format!("https://veogen.example{}", one(rng, &PATHS).replace("{}", &video))
}

/// About `len` bytes of words and numbers, as in a stack trace.
pub(crate) fn text(rng: &mut Rng, len: usize) -> String {
    let mut text = String::with_capacity(len + 16);
    while text.len() < len {
        let _ = match rng.u8(0..8) {
            0 => write!(text, "{} ", rng.u16(..)),
            1 => write!(text, "{:08x}\\n", rng.u32(..)),
            _ => write!(text, "{} ", one(rng, &WORDS)),
        };
    }
    text
}

/// An object with keys that count only outside of it.
pub(crate) fn nested(rng: &mut Rng) -> String {
    let (video, attempt) = (rng.u32(..), rng.u8(1..4));
    format!(
        r#"{{"video_id": "vid_{video:08x}", "attempt": {attempt}, "level": "decoy", "limits": {{"seconds": 8, "retries": null, "request_id": "decoy", "steps": [1, [2, {{"trace_id": "decoy"}}], true]}}, "tags": ["render", "get", {{}}]}}"#
    )
}
