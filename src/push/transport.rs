//! Posts a body to Loki over HTTP/1.1 and brings back the answer.

use std::fmt;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::RETRY_AFTER;
use reqwest::{Client, RequestBuilder, Response};
use secrecy::{ExposeSecret as _, SecretString};
use tracing::warn;

use super::client::{self, PushError, Target};
use super::files::{self, Watch};
use super::{Answer, Auth, Failure, Options, Proxy};
use crate::model::{Now, UnixNanos};

/// No connection and no resolved address is kept for longer.
pub const CLIENT_AGE_MAX: Duration = Duration::from_secs(5 * 60);

/// After so many failures or 5xx in a row all connections are closed: another address may do.
pub const FAILURES_MAX: u32 = 5;

/// How much of an answer is read; the connection is closed if there is more.
const ANSWER_BYTES_MAX: usize = 4096;

/// How often files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The network, as far as the sender needs it. The real one is [`HttpTransport`].
pub trait Transport {
    /// Posts a push request (protobuf as a snappy block) for `tenant` and waits for the answer.
    /// Never fails: a fault is an answer.
    fn post(
        &self,
        body: Bytes,
        tenant: Option<&str>,
        now: Now,
    ) -> impl Future<Output = Answer> + Send;
}

/// Loki behind HTTP or HTTPS. Senders share one.
pub struct HttpTransport {
    options: Options,
    target: Target,
    state: Mutex<State>,
}

struct State {
    client: Option<Client>,
    secret: Option<SecretString>,
    /// The client is built again from this time on.
    build_at: Duration,
    look_at: Duration,
    /// Failures and 5xx in a row.
    failures: u32,
    tls_files: Watch,
    secret_file: Watch,
    /// The credentials are read again even if the file looks the same.
    refused: bool,
}

impl HttpTransport {
    /// A transport to `options.url`. Files are read and the client is built with the first post,
    /// so that a file that comes late is no reason not to start.
    ///
    /// # Errors
    /// [`PushError`] names what in the options can never work.
    pub fn new(options: Options) -> Result<Self, PushError> {
        let target = Target::new(&options)?;
        let _ = client::with_proxy(Client::builder(), &options)?;
        let secret_file = files::secret_file(&options.auth).map(ToOwned::to_owned);
        let state = State {
            client: None,
            secret: None,
            build_at: Duration::ZERO,
            look_at: Duration::ZERO,
            failures: 0,
            tls_files: Watch::new(files::tls_files(&options)),
            secret_file: Watch::new(secret_file),
            refused: false,
        };
        Ok(Self { options, target, state: Mutex::new(state) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("BUG: a thread panicked while it held the HTTP client")
    }

    /// A request with everything but its body; the error says which file cannot be used.
    fn request(&self, now: Duration) -> Result<RequestBuilder, String> {
        let mut state = self.state();
        let look = state.look_at <= now;
        if look {
            state.look_at = now + LOOK_EVERY;
        }
        if (look && state.secret_file.changed()) || state.refused {
            // Gone first: if it cannot be read, the next try must not find the old one.
            state.secret = None;
            state.refused = false;
        }
        if state.secret.is_none() {
            state.secret = files::read_secret(&self.options.auth)?;
        }
        if look && state.tls_files.changed() {
            state.build_at = now;
        }
        if FAILURES_MAX <= state.failures {
            (state.failures, state.build_at) = (0, now);
        }
        let client = match &state.client {
            Some(client) if now < state.build_at => client.clone(),
            _ => self.rebuild(&mut state, now)?,
        };
        let request = client.post(self.target.url.clone()).headers(self.target.headers.clone());
        let secret = state.secret.as_ref().map(SecretString::expose_secret);
        Ok(match (&self.options.auth, secret) {
            (Auth::Basic { username, .. }, secret) => request.basic_auth(username, secret),
            (Auth::Bearer(_), Some(secret)) => request.bearer_auth(secret),
            (Auth::Bearer(_) | Auth::None, _) => request,
        })
    }

    /// A new client, or the old one where the files are not whole yet: a certificate and its key
    /// are not replaced at the same instant.
    fn rebuild(&self, state: &mut State, now: Duration) -> Result<Client, String> {
        state.build_at = now + CLIENT_AGE_MAX;
        match (client::build(&self.options, &self.target), &state.client) {
            (Ok(client), _) => Ok(state.client.insert(client).clone()),
            (Err(why), Some(old)) => {
                warn!(why, "certificates cannot be read again; the ones from before stay in use");
                Ok(old.clone())
            }
            (Err(why), None) => Err(why),
        }
    }

    fn note(&self, answer: &Answer) {
        let mut state = self.state();
        let failed = match answer {
            Answer::Status { code, .. } => {
                state.refused |= *code == 401;
                500 <= *code
            }
            Answer::Failed { kind: Failure::Setup, .. } => return,
            Answer::Failed {
                kind: Failure::Connect | Failure::Timeout | Failure::Broken, ..
            } => true,
        };
        state.failures = if failed { state.failures + 1 } else { 0 };
    }

    fn failed(&self, err: reqwest::Error) -> Answer {
        let shown = &self.target.shown;
        let cause = cause(&err.without_url());
        let through = match &self.options.proxy {
            Proxy::Url(_) => " through the proxy",
            Proxy::Env | Proxy::None => "",
        };
        let (kind, text) = cause.tell(shown, through, self.options.timeout);
        Answer::Failed { text, kind }
    }
}

/// Without the options: headers and the proxy's URL may hold secrets.
impl fmt::Debug for HttpTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpTransport").field("to", &self.target.shown).finish_non_exhaustive()
    }
}

impl Transport for HttpTransport {
    async fn post(&self, body: Bytes, tenant: Option<&str>, now: Now) -> Answer {
        let mut request = match self.request(now.mono) {
            Ok(request) => request,
            Err(text) => return Answer::Failed { text, kind: Failure::Setup },
        };
        if let Some(tenant) = tenant {
            request = request.header("x-scope-orgid", tenant);
        }
        let answer = match request.body(body).send().await {
            Ok(response) => read(response, now.wall).await,
            Err(err) => self.failed(err),
        };
        self.note(&answer);
        answer
    }
}

/// The status decides; a body that breaks off is taken as far as it came.
async fn read(mut response: Response, wall: UnixNanos) -> Answer {
    let code = response.status().as_u16();
    let header = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    let retry_after = header.and_then(|text| retry_after(text, wall));
    let mut body = Vec::new();
    while body.len() < ANSWER_BYTES_MAX
        && let Ok(Some(chunk)) = response.chunk().await
    {
        body.extend_from_slice(&chunk[..chunk.len().min(ANSWER_BYTES_MAX - body.len())]);
    }
    Answer::Status { code, body: String::from_utf8_lossy(&body).into_owned(), retry_after }
}

/// Seconds or an HTTP date (RFC 9110, 10.2.3), as a time from now.
pub(super) fn retry_after(text: &str, wall: UnixNanos) -> Option<Duration> {
    let text = text.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = jiff::fmt::rfc2822::parse(text).ok()?.timestamp().as_nanosecond();
    let wait = u64::try_from(at - i128::from(wall.0)).unwrap_or(0);
    Some(Duration::from_nanos(wait))
}

/// What is behind an error of the HTTP client.
struct Cause {
    kind: Failure,
    is_timeout: bool,
    root: String,
}

fn cause(err: &reqwest::Error) -> Cause {
    let mut root: &dyn std::error::Error = err;
    while let Some(source) = root.source() {
        root = source;
    }
    let text = root.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut chars = text.chars();
    let first = chars.next().map(|c| c.to_ascii_lowercase());
    let kind = match () {
        () if err.is_builder() => Failure::Setup,
        () if err.is_connect() => Failure::Connect,
        () if err.is_timeout() => Failure::Timeout,
        () => Failure::Broken,
    };
    Cause { kind, is_timeout: err.is_timeout(), root: first.into_iter().chain(chars).collect() }
}

impl Cause {
    fn tell(self, host: &str, through: &str, timeout: Duration) -> (Failure, String) {
        let root = self.root;
        let text = match self.kind {
            Failure::Setup => format!("cannot make a request to {host}: {root}"),
            Failure::Connect if self.is_timeout => {
                format!("cannot connect to {host}{through}: no answer in time")
            }
            Failure::Connect => format!("cannot connect to {host}{through}: {root}"),
            Failure::Timeout => format!("no answer from {host}{through} within {timeout:?}"),
            Failure::Broken => format!("the connection to {host}{through} broke: {root}"),
        };
        (self.kind, text)
    }
}
