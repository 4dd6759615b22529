//! What the configuration says about the way to Loki.

use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

/// Where Loki is and how it is spoken to.
#[derive(Debug, Clone)]
pub struct Options {
    /// The whole push URL, e.g. `http://loki:3100/loki/api/v1/push`. Without credentials.
    pub url: String,
    /// `X-Scope-OrgID`, of a sender's pushes.
    pub tenant: Option<String>,
    /// How to prove who we are.
    pub auth: Auth,
    /// Certificates.
    pub tls: Tls,
    /// Headers added to each push.
    pub headers: Vec<(String, String)>,
    /// Which proxy.
    pub proxy: Proxy,
    /// For a whole request, from connect to the end of the answer.
    pub timeout: Duration,
    /// Each push holds one stream: Loki's answers are plainer, and pushes are smaller.
    pub one_stream_per_push: bool,
    /// Whether structured metadata is sent.
    pub structured_metadata: StructuredMetadata,
    /// First and longest delay between tries.
    pub retry: Retry,
    /// Bytes of compressed bodies a second; 0 is off.
    pub bytes_per_second: u64,
}

/// Credentials. Files are read again when they change.
#[derive(Debug, Clone)]
pub enum Auth {
    /// None.
    None,
    /// A user name and a password, given or in a file.
    Basic {
        /// The user name.
        username: String,
        /// The password.
        password: Secret,
    },
    /// A bearer token, given or in a file.
    Bearer(Secret),
}

/// A secret, given in the configuration (by `${VAR}`) or in a file.
#[derive(Debug, Clone)]
pub enum Secret {
    /// The secret itself.
    Value(SecretString),
    /// Read at start and when the file changes; trailing line ends are cut.
    File(PathBuf),
}

/// TLS settings, used for https only.
#[derive(Debug, Clone, Default)]
pub struct Tls {
    /// PEM file that replaces the system's certificate authorities.
    pub ca_file: Option<PathBuf>,
    /// PEM file with the client's certificate chain.
    pub cert_file: Option<PathBuf>,
    /// PEM file with the client's key.
    pub key_file: Option<PathBuf>,
    /// The name that the server's certificate must have, instead of the URL's host.
    pub server_name: Option<String>,
    /// No check of the server's certificate at all.
    pub insecure_skip_verify: bool,
}

/// Which proxy requests go through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proxy {
    /// `HTTP_PROXY`, `HTTPS_PROXY`, `NO_PROXY`.
    Env,
    /// None, whatever the environment says.
    None,
    /// This one.
    Url(String),
}

/// Whether structured metadata is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StructuredMetadata {
    /// Yes, until Loki says that it is disallowed; probed again each hour.
    Auto,
    /// Always.
    On,
    /// Never.
    Off,
}

/// Delays between tries: full jitter between 0 and a bound that doubles from `min` to `max`.
#[derive(Debug, Clone, Copy)]
pub struct Retry {
    /// The first bound.
    pub delay_min: Duration,
    /// The last bound.
    pub delay_max: Duration,
}
