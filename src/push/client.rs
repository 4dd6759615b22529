//! Builds the HTTP client from the options and the files they name.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{HOST, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use reqwest::{Certificate, Client, ClientBuilder, Identity, Url, redirect};

use super::files::chain;
use super::{Options, Proxy, Tls};

/// Loki closes a connection after 120 s without a request.
const IDLE_MAX: Duration = Duration::from_secs(60);

/// For name lookup, connect and TLS handshake: whoever takes longer is not there.
const CONNECT_MAX: Duration = Duration::from_secs(5);

/// Headers that skald sets itself.
const OURS: [&str; 6] = [
    "content-type",
    "content-encoding",
    "content-length",
    "transfer-encoding",
    "connection",
    "x-scope-orgid",
];

/// What is wrong with the options, apart from what files hold.
#[derive(Debug, thiserror::Error)]
pub enum PushError {
    /// The URL cannot be pushed to. It is not shown: it may hold a password.
    #[error("url: {why}")]
    Url {
        /// What is wrong.
        why: String,
    },
    /// A header cannot be sent.
    #[error("header `{name}`: {why}")]
    Header {
        /// Its name.
        name: String,
        /// What is wrong.
        why: &'static str,
    },
    /// TLS settings that contradict others.
    #[error("tls: {why}")]
    Tls {
        /// What is wrong.
        why: &'static str,
    },
    /// The proxy's URL cannot be used. It is not shown: it may hold a password.
    #[error("proxy: not a URL of a proxy")]
    Proxy,
}

/// Where requests go, and what they carry beside their body.
#[derive(Debug)]
pub(super) struct Target {
    /// What is requested. Its host is `tls.server_name` where that is given.
    pub(super) url: Url,
    /// All headers but the credentials.
    pub(super) headers: HeaderMap,
    /// Loki's host and port, for people.
    pub(super) shown: String,
    /// What `tls.server_name` stands for: the host of the configured URL.
    real_host: Option<String>,
}

impl Target {
    pub(super) fn new(options: &Options) -> Result<Self, PushError> {
        let why = |why: &str| PushError::Url { why: why.to_owned() };
        let mut url = Url::parse(&options.url).map_err(|err| why(&err.to_string()))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(why("it must start with http:// or https://"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(why("it holds credentials; use `basic_auth`"));
        }
        let host = url.host_str().ok_or_else(|| why("it has no host"))?.to_owned();
        check_tls(&options.tls, &url, &options.proxy)?;
        let port = url.port_or_known_default().ok_or_else(|| why("it has no port"))?;
        let mut headers = headers(options)?;
        let mut real_host = None;
        if let Some(name) = &options.tls.server_name {
            // The name in the certificate is the name in the handshake (SNI) only if it is the
            // host of the request; so it becomes that, and the resolver knows where it really is.
            let authority =
                url.port().map_or_else(|| host.clone(), |port| format!("{host}:{port}"));
            let value = HeaderValue::from_str(&authority).map_err(|_| why("it has a bad host"))?;
            headers.entry(HOST).or_insert(value);
            let bad = PushError::Tls { why: "`server_name` is not a host name" };
            url.set_host(Some(name)).map_err(|_| bad)?;
            real_host = Some(host.trim_matches(['[', ']']).to_owned());
        }
        Ok(Self { url, headers, shown: format!("{host}:{port}"), real_host })
    }
}

fn check_tls(tls: &Tls, url: &Url, proxy: &Proxy) -> Result<(), PushError> {
    let Tls { ca_file, cert_file, key_file, server_name, insecure_skip_verify } = tls;
    let any_file = ca_file.is_some() || cert_file.is_some() || key_file.is_some();
    let why = if url.scheme() == "http"
        && (any_file || server_name.is_some() || *insecure_skip_verify)
    {
        "needs a url with https://"
    } else if cert_file.is_none() && key_file.is_some() {
        "`key_file` needs `cert_file`"
    } else if server_name.as_ref().is_some_and(|name| name.parse::<std::net::IpAddr>().is_ok()) {
        "`server_name` must be a name, not an address"
    } else if server_name.is_some() && matches!(proxy, Proxy::Url(_)) {
        "`server_name` cannot be used through a proxy, which would look for that name"
    } else {
        return Ok(());
    };
    Err(PushError::Tls { why })
}

fn headers(options: &Options) -> Result<HeaderMap, PushError> {
    let mut headers = HeaderMap::new();
    let own = concat!("skald/", env!("CARGO_PKG_VERSION"));
    headers.insert(USER_AGENT, HeaderValue::from_static(own));
    for (name, value) in &options.headers {
        let bad = |why| PushError::Header { name: name.clone(), why };
        let header = HeaderName::try_from(name).map_err(|_| bad("not a header name"))?;
        if OURS.contains(&header.as_str()) {
            return Err(bad("is set by skald itself"));
        }
        let mut value = HeaderValue::try_from(value).map_err(|_| bad("not a header value"))?;
        // Keys of gateways are sent this way; none may show up in a log.
        value.set_sensitive(true);
        headers.insert(header, value);
    }
    headers.insert("content-type", HeaderValue::from_static("application/x-protobuf"));
    headers.insert("content-encoding", HeaderValue::from_static("snappy"));
    if let Some(tenant) = &options.tenant {
        let bad = |_| PushError::Header { name: "X-Scope-OrgID".into(), why: "not a header value" };
        // It is put into each request: not all are this tenant's.
        HeaderValue::try_from(tenant).map_err(bad)?;
    }
    Ok(headers)
}

/// The proxy as the options say.
pub(super) fn with_proxy(
    builder: ClientBuilder,
    options: &Options,
) -> Result<ClientBuilder, PushError> {
    Ok(match &options.proxy {
        // A proxy would look for the name in the certificate instead of the host.
        Proxy::Env if options.tls.server_name.is_some() => builder.no_proxy(),
        Proxy::Env => builder,
        Proxy::None => builder.no_proxy(),
        Proxy::Url(url) => builder.proxy(reqwest::Proxy::all(url).map_err(|_| PushError::Proxy)?),
    })
}

/// A client with connections, addresses and certificates of its own. The error says which file
/// cannot be used.
pub(super) fn build(options: &Options, target: &Target) -> Result<Client, String> {
    let mut builder = Client::builder()
        .http1_only()
        .redirect(redirect::Policy::none())
        .referer(false)
        .timeout(options.timeout)
        .connect_timeout(options.timeout.min(CONNECT_MAX))
        .pool_idle_timeout(IDLE_MAX);
    builder = with_proxy(builder, options).map_err(|err| err.to_string())?;
    if let (Some(name), Some(host)) = (&options.tls.server_name, &target.real_host) {
        builder = builder.dns_resolver(Renamed { name: name.clone(), host: host.clone() });
    }
    builder = if target.url.scheme() == "https" {
        with_tls(builder, &options.tls)?
    } else {
        // No authority at all, so that those of the system are not loaded: 0.8 MiB and tens of
        // milliseconds at each rebuild, which plain HTTP has no use for.
        builder.tls_certs_only([])
    };
    builder.build().map_err(|err| chain(&err))
}

fn with_tls(mut builder: ClientBuilder, tls: &Tls) -> Result<ClientBuilder, String> {
    let read = |path| fs_err::read(path).map_err(|err| chain(&err));
    if tls.insecure_skip_verify {
        builder = builder.tls_danger_accept_invalid_certs(true);
    }
    if let Some(path) = &tls.ca_file {
        builder = builder.tls_certs_only(authorities(path)?);
    }
    if let Some(cert_path) = &tls.cert_file {
        let mut pem = read(cert_path)?;
        if let Some(key_path) = &tls.key_file {
            pem.push(b'\n');
            pem.extend(read(key_path)?);
        }
        let identity = Identity::from_pem(&pem)
            .map_err(|err| format!("{}: {}", cert_path.display(), chain(&err)))?;
        builder = builder.identity(identity);
    }
    Ok(builder)
}

/// The certificates in a PEM file, by which those of a server are checked.
///
/// # Errors
/// It cannot be read, or there is none in it.
pub fn authorities(path: &Path) -> Result<Vec<Certificate>, String> {
    let pem = fs_err::read(path).map_err(|err| chain(&err))?;
    let certs = Certificate::from_pem_bundle(&pem)
        .map_err(|err| format!("{}: {}", path.display(), chain(&err)))?;
    if certs.is_empty() {
        return Err(format!("{}: there is no PEM certificate in it", path.display()));
    }
    Ok(certs)
}

/// Finds `name` where `host` is.
struct Renamed {
    name: String,
    host: String,
}

impl Resolve for Renamed {
    fn resolve(&self, name: Name) -> Resolving {
        let is_ours = name.as_str().eq_ignore_ascii_case(&self.name);
        let host = if is_ours { self.host.clone() } else { name.as_str().to_owned() };
        Box::pin(async move {
            // Port 0 is replaced by the port of the URL.
            let found: Vec<SocketAddr> = tokio::net::lookup_host((host, 0)).await?.collect();
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}
