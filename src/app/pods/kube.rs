//! Follows the API of Kubernetes: a list, then a watch that goes on where the list ended.

use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use reqwest::header::ACCEPT;
use reqwest::{Client, Response};
use tracing::{info, warn};

use super::super::clock::Clock;
use super::super::control::Call;
use super::Pods;
use crate::config::Api;
use crate::discover::kube::{self, ACCEPT_LIST, ACCEPT_WATCH, Event};
use crate::push::{authorities, chain};
use crate::telemetry::Metrics;

/// For a whole list, and for the beginning of a watch.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A watch is asked to end by itself within this, and is taken for dead when it has not.
const WATCH: Duration = Duration::from_secs(240);
const WATCH_MAX: Duration = Duration::from_secs(300);

/// After a shorter one the next is not asked for at once.
const WATCH_MIN: Duration = Duration::from_secs(1);

/// Delays after a failure, with full jitter: the server may be down for all nodes.
const DELAY_MIN: Duration = Duration::from_millis(500);
const DELAY_MAX: Duration = Duration::from_secs(30);

/// An answer is no longer than this: a node has some hundred pods.
const LIST_BYTES_MAX: usize = 64 * 1024 * 1024;
/// No more is an object: etcd takes 1.5 MiB.
const LINE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// What is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum What {
    /// The pods that run on the node.
    Pods,
    /// The node itself.
    Node,
}

/// Why it does not go on.
#[derive(Debug)]
enum Fault {
    /// All has to be listed again.
    Expired,
    /// These words.
    Other(String),
}

/// Follows one kind of object.
pub(in super::super) struct Follower {
    pub(in super::super) api: Api,
    pub(in super::super) node: String,
    pub(in super::super) what: What,
    pub(in super::super) pods: Arc<Pods>,
    /// Rung when something is new.
    pub(in super::super) control: SyncSender<Call>,
    pub(in super::super) clock: Clock,
    pub(in super::super) metrics: Metrics,
}

impl fmt::Debug for Follower {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Follower").field("what", &self.what).finish_non_exhaustive()
    }
}

impl Follower {
    /// Follows for ever.
    pub(in super::super) async fn run(self) {
        let (mut version, mut tries) = (None, 0_u32);
        loop {
            let began = self.clock.now().mono;
            let is_watch = version.is_some();
            let result = match version.take() {
                None => self.list().await.map(Some),
                Some(from) => self.watch(from, &mut version).await.map(|()| version.take()),
            };
            match result {
                Ok(next) => {
                    if 0 < std::mem::take(&mut tries) {
                        info!(what = ?self.what, "the API of kubernetes answers again");
                    }
                    version = next;
                    // Something between may end each watch at once.
                    if is_watch && self.clock.now().mono < began + WATCH_MIN {
                        tokio::time::sleep(delay(1)).await;
                    }
                }
                Err(Fault::Expired) => {
                    version = None;
                    tokio::time::sleep(delay(1)).await;
                }
                Err(Fault::Other(why)) => {
                    if tries == 0 {
                        warn!(
                            what = ?self.what,
                            why,
                            "cannot follow the API of kubernetes; lines of pods that are not known \
                             are shipped without what it says, after `api.wait`",
                        );
                    }
                    tries = tries.saturating_add(1);
                    tokio::time::sleep(delay(tries)).await;
                }
            }
        }
    }

    /// Lists all. Returns the version that a watch goes on from.
    async fn list(&self) -> Result<String, Fault> {
        let mut response = self.get("&resourceVersion=0", ACCEPT_LIST, TIMEOUT).await?;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|err| other(&err))? {
            body.extend_from_slice(&chunk);
            if LIST_BYTES_MAX < body.len() {
                return Err(Fault::Other("the answer is too long".to_owned()));
            }
        }
        let kube::List { mut objects, version } = kube::list(&body).map_err(|err| other(&err))?;
        match self.what {
            What::Pods => self.pods.list(objects, &self.api.annotations, self.clock.now().mono),
            What::Node => match objects.pop() {
                Some(node) => self.pods.set_node(node),
                None => return Err(Fault::Other(format!("there is no node `{}`", self.node))),
            },
        }
        self.ring();
        Ok(version)
    }

    /// Follows what changes after the version `from`, until the server ends that. `version` is
    /// where to go on, also after a failure.
    async fn watch(&self, from: String, version: &mut Option<String>) -> Result<(), Fault> {
        let seconds = WATCH.as_secs();
        let query = format!(
            "&watch=1&allowWatchBookmarks=true&timeoutSeconds={seconds}&resourceVersion={from}"
        );
        *version = Some(from);
        let mut response =
            self.get(&query, ACCEPT_WATCH, WATCH_MAX).await.inspect_err(|fault| {
                if matches!(fault, Fault::Expired) {
                    *version = None;
                }
            })?;
        let mut lines = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|err| other(&err))? {
            lines.extend_from_slice(&chunk);
            while let Some(end) = memchr::memchr(b'\n', &lines) {
                let line: Vec<u8> = lines.drain(..=end).collect();
                self.take(line.trim_ascii(), version)?;
            }
            if LINE_BYTES_MAX < lines.len() {
                return Err(Fault::Other("a line of the watch is too long".to_owned()));
            }
        }
        Ok(())
    }

    fn take(&self, line: &[u8], version: &mut Option<String>) -> Result<(), Fault> {
        if line.is_empty() {
            return Ok(());
        }
        let (event, next) = kube::event(line).map_err(|err| other(&err))?;
        if next.is_some() {
            *version = next;
        }
        match (event, self.what) {
            (Event::Changed(pod), What::Pods) => self.pods.set(pod, &self.api.annotations),
            (Event::Gone(pod), What::Pods) => {
                self.pods.gone(pod, &self.api.annotations, self.clock.now().mono);
            }
            (Event::Changed(node), What::Node) => self.pods.set_node(node),
            (Event::Gone(_), What::Node) | (Event::Bookmark, _) => return Ok(()),
            (Event::Expired, _) => {
                *version = None;
                return Err(Fault::Expired);
            }
            (Event::Failed(why), _) => return Err(Fault::Other(why)),
        }
        self.ring();
        Ok(())
    }

    fn ring(&self) {
        self.metrics.pods.set(i64::try_from(self.pods.count()).unwrap_or(i64::MAX));
        // A full inbox is looked at all the same.
        let _ = self.control.try_send(Call::Pods);
    }

    /// Asks, with credentials and certificates as they are now: they change within the hour.
    async fn get(&self, query: &str, accept: &str, timeout: Duration) -> Result<Response, Fault> {
        let (resource, field) = match self.what {
            What::Pods => ("pods", "spec.nodeName"),
            What::Node => ("nodes", "metadata.name"),
        };
        let selector = format!("fieldSelector={field}%3D{}", self.node);
        let url = format!("{}/api/v1/{resource}?{selector}{query}", self.api.url);
        let client = client(&self.api).map_err(Fault::Other)?;
        let mut request = client.get(url).header(ACCEPT, accept).timeout(timeout);
        if let Ok(token) = fs_err::read_to_string(&self.api.token_file) {
            request = request.bearer_auth(token.trim());
        }
        let result = request.send().await;
        let status = result.as_ref().ok().map(|response| response.status().as_u16());
        self.metrics.kubernetes_request(status);
        let response = result.map_err(|err| other(&err))?;
        match response.status().as_u16() {
            200 => Ok(response),
            410 => Err(Fault::Expired),
            status => Err(Fault::Other(format!("{resource}: the answer is {status}"))),
        }
    }
}

fn client(api: &Api) -> Result<Client, String> {
    let agent = concat!("skald/", env!("CARGO_PKG_VERSION"));
    let builder = Client::builder().http1_only().no_proxy().user_agent(agent);
    let builder = builder.connect_timeout(Duration::from_secs(10));
    let is_https = api.url.starts_with("https://");
    let certs = if is_https { authorities(&api.ca_file)? } else { Vec::new() };
    builder.tls_certs_only(certs).build().map_err(|err| chain(&err))
}

/// Full jitter between 0 and a bound that doubles.
fn delay(tries: u32) -> Duration {
    let bound = DELAY_MIN.saturating_mul(1 << tries.min(10)).min(DELAY_MAX);
    bound.mul_f64(fastrand::f64())
}

fn other(err: &(dyn std::error::Error + 'static)) -> Fault {
    Fault::Other(chain(err))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use rcgen::{CertifiedKey, generate_simple_self_signed};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio_rustls::TlsAcceptor;
    use tokio_rustls::rustls::ServerConfig;
    use tokio_rustls::rustls::pki_types::PrivateKeyDer;

    use super::*;

    const LIST: &str = r#"{"metadata": {"resourceVersion": "7"}, "items": [
        {"metadata": {"name": "web", "uid": "u"}}]}"#;

    /// A server on loopback that answers with a list; its certificate is in `folder`.
    async fn serve(folder: &Path) -> u16 {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        fs_err::write(folder.join("ca.crt"), cert.pem()).unwrap();
        let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
        let config = ServerConfig::builder().with_no_client_auth();
        let config = config.with_single_cert(vec![cert.der().clone()], key).unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let Ok(mut stream) = acceptor.accept(stream).await else { continue };
                let mut head = vec![0; 4096];
                let len = stream.read(&mut head).await.unwrap();
                let has_token = head[..len].windows(13).any(|part| part == b"Bearer secret");
                let (status, body) = if has_token { (200, LIST) } else { (401, "{}") };
                let len = body.len();
                let answer = format!("HTTP/1.1 {status} X\r\nContent-Length: {len}\r\n\r\n{body}");
                let _ = stream.write_all(answer.as_bytes()).await;
                let _ = stream.shutdown().await;
            }
        });
        port
    }

    #[tokio::test]
    async fn the_server_is_checked_and_shown_the_token() {
        let (own, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (port, _) = (serve(own.path()).await, serve(other.path()).await);
        fs_err::write(own.path().join("token"), "secret\n").unwrap();
        let list = async |ca: &Path, token: &Path| {
            let api = Api {
                url: format!("https://localhost:{port}"),
                token_file: token.to_owned(),
                ca_file: ca.join("ca.crt"),
                wait: Duration::ZERO,
                annotations: vec![],
            };
            let follower = Follower {
                api,
                node: "n1".to_owned(),
                what: What::Pods,
                pods: Arc::default(),
                control: super::super::super::control::calls().0,
                clock: Clock::start(),
                metrics: Metrics::new(),
            };
            let listed = follower.list().await;
            let why = |fault| if let Fault::Other(why) = fault { why } else { String::new() };
            (listed.map_err(why), follower.pods.count())
        };
        let token = own.path().join("token");
        assert_eq!(list(own.path(), &token).await, (Ok("7".to_owned()), 1));
        let (refused, _) = list(other.path(), &token).await;
        assert!(refused.as_ref().is_err_and(|why| why.contains("certificate")), "{refused:?}");
        let (refused, _) = list(own.path(), &own.path().join("none")).await;
        assert!(refused.as_ref().is_err_and(|why| why.contains("401")), "{refused:?}");
        let (missing, _) = list(&own.path().join("none"), &token).await;
        assert!(missing.as_ref().is_err_and(|why| why.contains("ca.crt")), "{missing:?}");
    }
}
