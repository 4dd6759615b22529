//! Certificates that expire, and that are replaced while the agent runs.

use std::io::Write as _;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};

use super::super::support::oracle::EXACT;
use super::super::support::{Bed, Sent, address, eventually, http};

/// Signs certificates.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: rcgen::Certificate,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Self { issuer: Issuer::new(params, key), certificate }
    }

    /// A certificate that is valid to the end of `year`, and its key.
    fn issue(&self, name: &str, year: i32) -> (rcgen::Certificate, KeyPair) {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.not_before = date_time_ymd(2000, 1, 1);
        params.not_after = date_time_ymd(year, 12, 31);
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.issuer).unwrap(), key)
    }

    /// A server for `loki.test`; with `clients` it wants a certificate of theirs.
    fn server(&self, year: i32, clients: Option<&Self>) -> Arc<ServerConfig> {
        let (certificate, key) = self.issue("loki.test", year);
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let builder = match clients {
            None => ServerConfig::builder().with_no_client_auth(),
            Some(clients) => {
                let mut roots = RootCertStore::empty();
                roots.add(clients.certificate.der().clone()).unwrap();
                let verifier = WebPkiClientVerifier::builder(Arc::new(roots)).build().unwrap();
                ServerConfig::builder().with_client_cert_verifier(verifier)
            }
        };
        Arc::new(builder.with_single_cert(vec![certificate.der().clone()], key).unwrap())
    }

    fn write(&self, path: &Path) {
        fs_err::write(path, self.certificate.pem()).unwrap();
    }
}

/// Passes on to a receiver what comes over TLS, one request a connection.
struct Gate {
    addr: SocketAddr,
    config: Arc<Mutex<Arc<ServerConfig>>>,
}

impl Gate {
    fn start(to: SocketAddr, config: Arc<ServerConfig>) -> Self {
        let listener = TcpListener::bind(address(443)).unwrap();
        let (addr, config) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(config)));
        let current = Arc::clone(&config);
        // The thread ends with the test process.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let config = Arc::clone(&current.lock().unwrap());
                let tls = StreamOwned::new(ServerConnection::new(config).unwrap(), stream);
                std::thread::spawn(move || serve(tls, to));
            }
        });
        Self { addr, config }
    }

    fn serve_as(&self, config: Arc<ServerConfig>) {
        *self.config.lock().unwrap() = config;
    }
}

fn serve(mut tls: StreamOwned<ServerConnection, TcpStream>, to: SocketAddr) -> Option<()> {
    let (_, request) = http::message(&mut tls)?;
    let mut loki = TcpStream::connect(to).unwrap();
    loki.write_all(&request).unwrap();
    let (_, answer) = http::message(&mut loki)?;
    tls.write_all(&answer).ok()?;
    tls.conn.send_close_notify();
    tls.flush().ok()
}

/// A bed whose agent knows `authority`, with more of TLS.
fn bed(authority: &Authority, config: Arc<ServerConfig>, more: &str) -> (Bed, Gate) {
    let mut bed = Bed::new();
    let gate = Gate::start(bed.loki.addr(), config);
    authority.write(&bed.path("ca.pem"));
    bed.url = Some(format!("https://{}", gate.addr));
    let ca = bed.path("ca.pem").display().to_string();
    bed.loki_yaml = format!("  tls: {{ca_file: {ca}, server_name: loki.test{more}}}");
    (bed, gate)
}

#[test]
fn a_certificate_that_expires_is_waited_for() {
    let authority = Authority::new();
    let good = authority.server(2100, None);
    let (bed, gate) = bed(&authority, Arc::clone(&good), "");
    let mut sent = Sent::default();
    bed.append("a.log", sent.lines("a", 100));
    let skald = bed.run();
    bed.wait_for(&sent);
    gate.serve_as(authority.server(2020, None));
    bed.append("a.log", sent.lines("a", 100));
    eventually("the fault", || skald.err().contains("expired"));
    assert_eq!((bed.loki.copies(), bed.metrics().sum("lines_dropped_total")), (100, 0));
    bed.adds_up();
    gate.serve_as(good);
    bed.wait_for(&sent);
    bed.append("a.log", sent.lines("a", 10));
    bed.wait_for(&sent);
    bed.adds_up();
    skald.stop_well();
    assert_eq!(sent.found(bed.loki.store()), EXACT);
}

#[test]
fn certificates_replaced_on_disk_are_taken_up() {
    let (old, new) = (Authority::new(), Authority::new());
    let ours = tempfile::tempdir().unwrap();
    let (cert, key) = (ours.path().join("cert.pem"), ours.path().join("key.pem"));
    let replace = |authority: &Authority| {
        let (certificate, pair) = authority.issue("agent", 2100);
        fs_err::write(&cert, certificate.pem()).unwrap();
        fs_err::write(&key, pair.serialize_pem()).unwrap();
    };
    replace(&old);
    let more = format!(", cert_file: {}, key_file: {}", cert.display(), key.display());
    let (bed, gate) = bed(&old, old.server(2100, Some(&old)), &more);
    let mut sent = Sent::default();
    bed.append("a.log", sent.lines("a", 100));
    let skald = bed.run();
    bed.wait_for(&sent);
    // Both sides get new ones, the agent later.
    gate.serve_as(new.server(2100, Some(&new)));
    bed.append("a.log", sent.lines("a", 100));
    eventually("the fault", || 2 < bed.metrics().get("push_retries_total{why=\"connect\"}"));
    new.write(&bed.path("ca.pem"));
    replace(&new);
    bed.wait_for(&sent);
    bed.append("a.log", sent.lines("a", 10));
    bed.wait_for(&sent);
    bed.adds_up();
    skald.stop_well();
    assert_eq!(sent.found(bed.loki.store()), EXACT);
}
