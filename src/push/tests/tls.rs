//! The real transport over TLS, against authorities and certificates made for the test.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use tempfile::TempDir;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

use super::model_loki::options;
use super::server::Server;
use super::transport::{STORED, block_on, post, status};
use crate::push::{Answer, CLIENT_AGE_MAX, Failure, HttpTransport, Options, Tls};

struct Authority {
    folder: TempDir,
    issuer: Issuer<'static, KeyPair>,
    certificate: rcgen::Certificate,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let authority = Self {
            folder: tempfile::tempdir().unwrap(),
            issuer: Issuer::new(params, key),
            certificate,
        };
        write(&authority.file("ca.pem"), &authority.certificate.pem());
        authority
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A certificate for `name` that is valid to the end of `year`, and its key.
    fn issue(&self, name: &str, year: i32) -> (rcgen::Certificate, KeyPair) {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.not_before = date_time_ymd(2000, 1, 1);
        params.not_after = date_time_ymd(year, 12, 31);
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.issuer).unwrap(), key)
    }

    /// A server with a certificate for `name`; it wants one of `clients` if that is given.
    async fn serve(&self, name: &str, year: i32, clients: Option<&Self>) -> Server {
        let (certificate, key) = self.issue(name, year);
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let builder = ServerConfig::builder();
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(authority) => {
                let mut roots = RootCertStore::empty();
                roots.add(authority.certificate.der().clone()).unwrap();
                let verifier = WebPkiClientVerifier::builder(Arc::new(roots)).build().unwrap();
                builder.with_client_cert_verifier(verifier)
            }
        };
        let config = builder.with_single_cert(vec![certificate.der().clone()], key).unwrap();
        Server::start(STORED, Some(TlsAcceptor::from(Arc::new(config)))).await
    }
}

fn write(path: &Path, text: &str) {
    let mut file = fs_err::File::create(path).unwrap();
    std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
}

fn to(server: &Server, host: &str, tls: Tls) -> HttpTransport {
    let url = format!("https://{host}:{}/loki/api/v1/push", server.port);
    HttpTransport::new(Options { url, tls, ..options() }).unwrap()
}

/// A push to `host` with a CA file of `trusted` gives 204, or fails with this cause.
async fn check(server: &Server, host: &str, tls: Tls, cause: Option<&str>) {
    let transport = to(server, host, tls);
    let got = post(&transport, 0).await;
    let Some(cause) = cause else {
        assert_eq!(got, status(204, ""));
        return;
    };
    let Answer::Failed { text, kind } = got else { panic!("{got:?} instead of {cause}") };
    assert!(text.starts_with(&format!("cannot connect to {host}:{}: ", server.port)), "{text}");
    assert!(text.contains(cause) && kind == Failure::Connect, "{text}");
}

fn trusting(authority: &Authority) -> Tls {
    Tls { ca_file: Some(authority.file("ca.pem")), ..Tls::default() }
}

#[test]
fn a_server_must_prove_who_it_is() {
    block_on(async {
        let (ours, other) = (Authority::new("one"), Authority::new("two"));
        let server = ours.serve("localhost", 2100, None).await;
        check(&server, "localhost", trusting(&ours), None).await;
        check(&server, "localhost", trusting(&other), Some("UnknownIssuer")).await;
        check(&server, "localhost", Tls::default(), Some("UnknownIssuer")).await;
        check(&server, "127.0.0.1", trusting(&ours), Some("not valid for name")).await;
        let insecure = Tls { insecure_skip_verify: true, ..Tls::default() };
        check(&server, "127.0.0.1", insecure, None).await;
        let expired = ours.serve("localhost", 2020, None).await;
        check(&expired, "localhost", trusting(&ours), Some("certificate expired")).await;
    });
}

#[test]
fn another_name_may_stand_in_the_certificate() {
    block_on(async {
        let ours = Authority::new("one");
        let server = ours.serve("loki.example", 2100, None).await;
        let named = |name: &str| Tls { server_name: Some(name.into()), ..trusting(&ours) };
        check(&server, "localhost", named("loki.example"), None).await;
        let host = format!("localhost:{}", server.port);
        assert_eq!(server.last().header("host"), Some(host.as_str()));
        check(&server, "127.0.0.1", named("loki.example"), None).await;
        check(&server, "localhost", named("other.example"), Some("not valid for name")).await;
    });
}

#[test]
fn a_client_can_prove_who_it_is() {
    block_on(async {
        let (ours, clients) = (Authority::new("one"), Authority::new("two"));
        let server = ours.serve("localhost", 2100, Some(&clients)).await;
        let (certificate, key) = clients.issue("agent", 2100);
        let (cert_path, key_path) = (ours.file("cert.pem"), ours.file("key.pem"));
        write(&cert_path, certificate.pem().trim_end());
        write(&key_path, &key.serialize_pem());
        let both = ours.file("both.pem");
        write(&both, &format!("{}{}", certificate.pem(), key.serialize_pem()));
        let two = Tls { cert_file: Some(cert_path), key_file: Some(key_path), ..trusting(&ours) };
        check(&server, "localhost", two, None).await;
        check(&server, "localhost", Tls { cert_file: Some(both), ..trusting(&ours) }, None).await;
        let transport = to(&server, "localhost", trusting(&ours));
        let got = post(&transport, 0).await;
        let Answer::Failed { text, .. } = got else { panic!("{got:?} without a certificate") };
        assert!(text.contains("CertificateRequired"), "{text}");
    });
}

#[test]
fn an_authority_can_be_replaced_while_we_run() {
    block_on(async {
        let (old, new) = (Authority::new("one"), Authority::new("two"));
        let path = old.file("ca.pem");
        let transport = {
            let server = old.serve("localhost", 2100, None).await;
            let transport = to(&server, "localhost", trusting(&old));
            assert_eq!(post(&transport, 0).await, status(204, ""));
            assert_eq!(server.last().connection, 0);
            // A broken file: what worked goes on working, until it is whole again.
            write(&path, "-----BEGIN CERT");
            assert_eq!(post(&transport, 2).await, status(204, ""));
            write(&path, &new.certificate.pem());
            let Answer::Failed { text, .. } = post(&transport, 4).await else { panic!("trusted") };
            assert!(text.contains("UnknownIssuer"), "{text}");
            write(&path, &old.certificate.pem());
            assert_eq!(post(&transport, 6).await, status(204, ""));
            transport
        };
        let age_max = CLIENT_AGE_MAX.as_secs();
        assert_eq!(post(&transport, 7 + age_max).await, status(204, ""));
    });
}

#[test]
fn a_file_that_cannot_be_used_is_named() {
    block_on(async {
        let ours = Authority::new("one");
        let server = ours.serve("localhost", 2100, None).await;
        let empty = ours.file("empty.pem");
        write(&empty, "nothing");
        let missing = ours.file("missing.pem");
        let rows = [
            (Tls { ca_file: Some(empty.clone()), ..Tls::default() }, "no PEM certificate in it"),
            (Tls { ca_file: Some(missing), ..Tls::default() }, "missing.pem"),
            (Tls { cert_file: Some(empty), ..trusting(&ours) }, "empty.pem: "),
        ];
        for (tls, why) in rows {
            let got = post(&to(&server, "localhost", tls), 0).await;
            let Answer::Failed { text, kind: Failure::Setup } = got else { panic!("{got:?}") };
            assert!(text.contains(why), "{text}");
        }
    });
}
