//! The pages.

use std::fmt;
use std::net::{SocketAddr, TcpListener};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use tokio_util::sync::CancellationToken;

use super::error::AdminError;
use crate::telemetry;

/// How long open requests may take when the agent stops.
const STOP_MAX: Duration = Duration::from_secs(1);

const INDEX: &str = concat!(
    "skald ",
    env!("CARGO_PKG_VERSION"),
    "\n\n",
    "/metrics  OpenMetrics\n",
    "/ready    200 while lines reach Loki, else 503 with the reasons\n",
    "/healthy  200 while the agent's threads run, else 503 with the names of those that do not\n",
    "/files    every file as JSON: identity, offsets, lag\n",
    "/reload   POST: reads the configuration again; 200, or 422 with its mistakes\n",
);

/// What the pages show. Each function is called once per request, on a thread of the runtime: it
/// must not wait.
pub struct Pages {
    /// OpenMetrics text.
    pub metrics: Box<dyn Fn() -> String + Send + Sync>,
    /// Why the agent is not ready; empty if it is.
    pub not_ready: Box<dyn Fn() -> Vec<String> + Send + Sync>,
    /// Which threads have not been heard of lately; empty if all have.
    pub not_healthy: Box<dyn Fn() -> Vec<String> + Send + Sync>,
    /// All files as JSON.
    pub files: Box<dyn Fn() -> String + Send + Sync>,
    /// Reads the configuration again, and says what has changed, or why nothing has.
    pub reload: Box<dyn Fn() -> Reload + Send + Sync>,
}

/// How a reload goes.
pub type Reload = Pin<Box<dyn Future<Output = Result<String, String>> + Send>>;

impl fmt::Debug for Pages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pages")
    }
}

/// A server of the pages that has its port but does not answer yet.
#[derive(Debug)]
pub struct Admin {
    listener: TcpListener,
    addr: SocketAddr,
}

impl Admin {
    /// Takes the port, so that a port in use is known before anything starts.
    ///
    /// # Errors
    /// The port is in use, or the address is not this host's.
    pub fn bind(listen: SocketAddr) -> Result<Self, AdminError> {
        let bound = TcpListener::bind(listen).and_then(|listener| {
            listener.set_nonblocking(true)?;
            Ok(Self { addr: listener.local_addr()?, listener })
        });
        bound.map_err(|source| AdminError::Listen { addr: listen, source })
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Serves `pages` on the current runtime until `stop`.
    ///
    /// # Errors
    /// The runtime cannot use the socket.
    pub async fn serve(self, pages: Pages, stop: CancellationToken) -> Result<(), AdminError> {
        let addr = self.addr;
        let failed = |source| AdminError::Serve { addr, source };
        let listener = tokio::net::TcpListener::from_std(self.listener).map_err(failed)?;
        let served = axum::serve(listener, router(Arc::new(pages)))
            .with_graceful_shutdown(stop.clone().cancelled_owned());
        let too_late = async {
            stop.cancelled().await;
            tokio::time::sleep(STOP_MAX).await;
        };
        tokio::select! {
            ended = served.into_future() => ended.map_err(failed),
            () = too_late => Ok(()),
        }
    }
}

fn router(pages: Arc<Pages>) -> Router {
    let [metrics, ready, healthy, files, reload] = std::array::from_fn(|_| Arc::clone(&pages));
    let typed = |kind: &'static str, body: String| ([(CONTENT_TYPE, kind)], body);
    Router::new()
        .route("/", get(|| async { INDEX }))
        .route(
            "/metrics",
            get(move || async move { typed(telemetry::CONTENT_TYPE, (metrics.metrics)()) }),
        )
        .route("/ready", get(move || async move { verdict("ready", &(ready.not_ready)()) }))
        .route("/healthy", get(move || async move { verdict("healthy", &(healthy.not_healthy)()) }))
        .route("/files", get(move || async move { typed("application/json", (files.files)()) }))
        .route("/reload", post(move || async move { answer((reload.reload)().await) }))
}

/// `good`, or 503 with the reasons, one a line.
fn verdict(good: &str, reasons: &[String]) -> Response {
    match reasons {
        [] => format!("{good}\n").into_response(),
        _ => (StatusCode::SERVICE_UNAVAILABLE, reasons.join("\n") + "\n").into_response(),
    }
}

/// What came of a reload.
fn answer(reloaded: Result<String, String>) -> Response {
    match reloaded {
        Ok(changed) => format!("{changed}\n").into_response(),
        Err(why) => {
            (StatusCode::UNPROCESSABLE_ENTITY, format!("{}\n", why.trim_end())).into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::super::probe;
    use super::*;

    type Reasons = Arc<Mutex<Vec<String>>>;

    /// Pages on a free port, and what makes them unready.
    fn start(stop: &CancellationToken) -> (SocketAddr, Reasons, tokio::task::JoinHandle<()>) {
        let reasons = Reasons::default();
        let not_ready = Arc::clone(&reasons);
        let metrics = telemetry::Metrics::new();
        let pages = Pages {
            metrics: Box::new(move || metrics.encode()),
            not_ready: Box::new(move || not_ready.lock().unwrap().clone()),
            not_healthy: Box::new(|| vec!["reader 3".to_owned()]),
            files: Box::new(|| "[]".to_owned()),
            reload: Box::new(|| Box::pin(async { Err("error: no\n\n".to_owned()) })),
        };
        let admin = Admin::bind(([127, 0, 0, 1], 0).into()).unwrap();
        let addr = admin.addr();
        let stop = stop.clone();
        let task = tokio::spawn(async move { admin.serve(pages, stop).await.unwrap() });
        (addr, reasons, task)
    }

    #[tokio::test]
    async fn pages_show_what_they_are_given() {
        let stop = CancellationToken::new();
        let (addr, reasons, task) = start(&stop);
        *reasons.lock().unwrap() = vec!["Loki answers 401".to_owned(), "no permits".to_owned()];
        for (path, status, kind, start) in [
            ("/", 200, "text/plain; charset=utf-8", "skald "),
            ("/metrics", 200, telemetry::CONTENT_TYPE, "# HELP skald_build"),
            ("/ready", 503, "text/plain; charset=utf-8", "Loki answers 401\nno permits\n"),
            ("/healthy", 503, "text/plain; charset=utf-8", "reader 3\n"),
            ("/files", 200, "application/json", "[]"),
            ("/missing", 404, "", ""),
        ] {
            let answer = reqwest::get(format!("http://{addr}{path}")).await.unwrap();
            assert_eq!(answer.status(), status, "{path}");
            let got = answer.headers().get(CONTENT_TYPE).map_or("", |kind| kind.to_str().unwrap());
            assert_eq!(got, kind, "{path}");
            assert!(answer.text().await.unwrap().starts_with(start), "{path}");
        }
        let url = format!("http://{addr}/reload");
        assert_eq!(reqwest::get(&url).await.unwrap().status(), 405, "to look changes nothing");
        let answer = reqwest::Client::new().post(&url).send().await.unwrap();
        assert_eq!(
            (answer.status().as_u16(), &*answer.text().await.unwrap()),
            (422, "error: no\n")
        );
        stop.cancel();
        task.await.unwrap();
        assert!(reqwest::get(format!("http://{addr}/")).await.is_err(), "the port is free again");
    }

    #[tokio::test]
    async fn a_probe_says_what_the_agent_says() {
        let stop = CancellationToken::new();
        let (addr, reasons, _task) = start(&stop);
        let ask = async |addr| {
            let second = Duration::from_secs(5);
            tokio::task::spawn_blocking(move || probe(addr, second)).await.unwrap()
        };
        assert_eq!(ask(addr).await.unwrap(), "ready");
        assert_eq!(ask(([0, 0, 0, 0], addr.port()).into()).await.unwrap(), "ready");
        reasons.lock().unwrap().push("Loki answers 401".to_owned());
        let error = ask(addr).await.unwrap_err().to_string();
        assert_eq!(error, format!("{addr} answers 503 Service Unavailable: Loki answers 401"));
    }

    #[test]
    fn a_port_in_use_or_without_an_agent_is_named() {
        let taken = Admin::bind(([127, 0, 0, 1], 0).into()).unwrap();
        let addr = taken.addr();
        let error = Admin::bind(addr).unwrap_err().to_string();
        assert_eq!(error, format!("cannot listen on {addr} for the admin pages"));
        drop(taken);
        let error = probe(addr, Duration::from_secs(5)).unwrap_err().to_string();
        assert_eq!(error, format!("no answer from {addr}"));
    }
}
