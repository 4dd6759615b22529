//! The program in a chroot of just what the image holds: the libraries of distroless `cc` that it
//! asks for, CA certificates, and what a container engine adds (`/etc/hosts`, the volumes).
//!
//! Runs the binary that `SKALD_BINARY` names, which in CI is the release build; without it the one
//! that was built for the tests. Only root may chroot: for others these tests do nothing and say so.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustix::process::{Pid, Signal, geteuid, kill_process};
use skald::receive::{Clock, Options, Receiver};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use crate::{read, yaml};

/// What distroless `cc` has of the libraries that a Rust program may ask for.
const LIBRARIES: [&str; 5] =
    ["libc.so.6", "libm.so.6", "libgcc_s.so.1", "libpthread.so.0", "libdl.so.2"];

const CERTIFICATES: &str = "etc/ssl/certs/ca-certificates.crt";

/// Longest that a process may take for what it is asked.
const PATIENCE: Duration = Duration::from_secs(60);

fn binary() -> PathBuf {
    std::env::var_os("SKALD_BINARY").map_or_else(
        || env!("CARGO_BIN_EXE_skald").into(),
        |path| crate::path(path.to_str().unwrap()),
    )
}

/// The files that the loader maps, by `ldd`: the loader itself and the libraries.
fn libraries() -> Vec<PathBuf> {
    let output = Command::new("ldd").arg(binary()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    text.split_whitespace().filter(|word| word.starts_with('/')).map(Into::into).collect()
}

#[test]
fn the_program_asks_for_no_library_that_the_image_lacks() {
    let found = libraries();
    assert!(found.len() >= 2, "{found:?}");
    for file in &found {
        let name = file.file_name().unwrap().to_str().unwrap();
        assert!(LIBRARIES.contains(&name) || name.starts_with("ld-linux"), "{}", file.display());
    }
}

/// A root folder like the image's.
struct Root(tempfile::TempDir);

impl Root {
    /// `None` without the right to use it.
    fn new() -> Option<Self> {
        if !geteuid().is_root() {
            println!("skipped: only root may chroot");
            return None;
        }
        let root = Self(tempfile::tempdir().unwrap());
        // As an image's: of root, and open to all.
        fs_err::set_permissions(root.0.path(), PermissionsExt::from_mode(0o755)).unwrap();
        for file in libraries() {
            root.copy(&file, &file);
        }
        root.copy(&binary(), Path::new("/skald"));
        root.write("etc/hosts", "127.0.0.1 localhost\n");
        let system = Path::new("/").join(CERTIFICATES);
        root.copy(&system, &system);
        Some(root)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name.trim_start_matches('/'))
    }

    fn copy(&self, from: &Path, to: &Path) {
        let to = self.path(to.to_str().unwrap());
        fs_err::create_dir_all(to.parent().unwrap()).unwrap();
        fs_err::copy(from, to).unwrap();
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::File::create(path).unwrap().write_all(text.as_bytes()).unwrap();
    }

    /// `/skald` in here as `user`, which is root with this right and no other, or nobody special.
    fn skald(&self, user: User, args: &[&str]) -> Command {
        let mut command = Command::new("setpriv");
        command.arg("--no-new-privs");
        match user {
            // What it takes to chroot is the one right too many.
            User::Root => {
                command.args(["--bounding-set=-all,+sys_chroot,+dac_read_search", "chroot"])
            }
            User::Nonroot => command.args(["chroot", "--userspec=65532:65532", "--groups="]),
        };
        command.arg(self.0.path()).arg("/skald").args(args).env_clear();
        command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Every path in here, but what is below `/var/lib/skald`.
    fn paths(&self) -> BTreeSet<PathBuf> {
        let entries = walkdir::WalkDir::new(self.0.path()).into_iter();
        let paths = entries.map(|entry| entry.unwrap().into_path());
        paths.filter(|path| path.parent() != Some(&self.path("var/lib/skald"))).collect()
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum User {
    /// The DaemonSet's.
    Root,
    /// The image's, and the sidecar's.
    Nonroot,
}

/// A process that does not outlive the test.
struct Running(Child);

impl Running {
    fn start(mut command: Command) -> Self {
        Self(command.spawn().unwrap())
    }

    /// Waits for its end.
    async fn end(mut self) -> Output {
        drop(self.0.stdin.take());
        let mut status = None;
        until("it ends", || {
            status = self.0.try_wait().unwrap();
            status.is_some()
        })
        .await;
        let (mut stdout, mut stderr) = (vec![], vec![]);
        self.0.stdout.take().unwrap().read_to_end(&mut stdout).unwrap();
        self.0.stderr.take().unwrap().read_to_end(&mut stderr).unwrap();
        Output { status: status.unwrap(), stdout, stderr }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let waited = tokio::time::timeout(PATIENCE, async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    waited.await.unwrap_or_else(|_| panic!("in vain: {what}"));
}

async fn receiver() -> Receiver {
    let clock = skald::app::Clock::start();
    let options = Options::new(Clock::new(move || clock.now().wall));
    Receiver::start(([127, 0, 0, 1], 0).into(), options).await.unwrap()
}

fn lines(count: usize) -> String {
    (0..count).map(|n| format!("{{\"level\":\"info\",\"n\":{n}}}\n")).collect()
}

/// Pipes 1000 lines into `/skald --url URL`, and they arrive.
async fn ship(root: &Root, url: &str, receiver: &Receiver) {
    let args = ["--url", url, "--label", "app=a", "--deadline", "30s"];
    let mut running = Running::start(root.skald(User::Nonroot, &args));
    running.0.stdin.take().unwrap().write_all(lines(1000).as_bytes()).unwrap();
    let output = running.end().await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(receiver.store().stats().distinct, 1000, "{url}");
}

#[tokio::test]
async fn standard_input_arrives() {
    let Some(root) = Root::new() else { return };
    let output = Running::start(root.skald(User::Nonroot, &["--version"])).end().await;
    let version = String::from_utf8(output.stdout).unwrap();
    assert_eq!(version, concat!("skald ", env!("CARGO_PKG_VERSION"), "\n"));

    let receiver = receiver().await;
    let before = root.paths();
    // By name: glibc's resolver may load libraries that `ldd` does not show.
    ship(&root, &format!("http://localhost:{}", receiver.addr().port()), &receiver).await;
    assert_eq!(root.paths(), before, "it writes nothing");
}

#[tokio::test]
async fn the_certificates_of_the_image_are_used() {
    let Some(root) = Root::new() else { return };
    let mut params = CertificateParams::new(vec![]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let authority = params.self_signed(&key).unwrap();
    let issuer = Issuer::new(params, key);
    let receiver = receiver().await;
    let url = format!("https://localhost:{}", serve_tls(&issuer, &receiver).await);

    // The system's authorities do not know the receiver. The deadline is for a test that fails.
    let args = ["--url", &url, "--deadline", "60s"];
    let mut running = Running::start(root.skald(User::Nonroot, &args));
    running.0.stdin.take().unwrap().write_all(b"to whom?\n").unwrap();
    let mut log = BufReader::new(running.0.stderr.take().unwrap()).lines().map(Result::unwrap);
    let says_why = move || log.any(|line| line.contains("UnknownIssuer"));
    assert!(tokio::task::spawn_blocking(says_why).await.unwrap());
    drop(running);

    root.write(CERTIFICATES, &authority.pem());
    ship(&root, &url, &receiver).await;
}

/// Serves TLS for `localhost` in front of the receiver. Returns the port.
async fn serve_tls(issuer: &Issuer<'_, KeyPair>, receiver: &Receiver) -> u16 {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, issuer).unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = ServerConfig::builder().with_no_client_auth();
    let config = config.with_single_cert(vec![certificate.der().clone()], key).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let (port, to) = (listener.local_addr().unwrap().port(), receiver.addr());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                // A client that trusts nobody ends here.
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let mut inner = tokio::net::TcpStream::connect(to).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut stream, &mut inner).await;
            });
        }
    });
    port
}

/// The manifests' own configuration, with the log where they have it, and their rights.
async fn pod(manifest: &str, user: User, log: &str, line: &str) {
    let Some(root) = Root::new() else { return };
    let receiver = receiver().await;
    let admin = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap();
    let documents = yaml::documents(&read(&format!("config/kubernetes/{manifest}")));
    let config = documents.iter().find(|document| document["kind"] == "ConfigMap").unwrap();
    let config = config["data"]["skald.yaml"].as_str().unwrap();
    let url = format!("http://{}", receiver.addr());
    let config = config.replace("http://loki-gateway.loki.svc", &url);
    let config = config.replace("0.0.0.0:9464", &format!("0.0.0.0:{}", admin.port()));
    assert!(config.contains(&url) && config.contains(&admin.port().to_string()), "{config}");
    root.write("etc/skald/skald.yaml", &config);
    root.write(log, line);
    volumes(&root, user, log);
    let before = root.paths();

    let args = ["run", "-c", "/etc/skald/skald.yaml", "--log-format", "json"];
    let mut command = root.skald(user, &args);
    command.env("NODE_NAME", "node-1").env("POD_NAME", "pod-1");
    let running = Running::start(command);
    until("the line arrives", || receiver.store().stats().distinct == 1).await;
    let found = receiver.store().entries();
    assert!(found[0].labels.get("level") == Some("info"), "{:?}", found[0]);

    let health = ["health", "--admin", &admin.to_string()];
    let mut last = None;
    until("it is healthy", || {
        let output = root.skald(User::Nonroot, &health).output().unwrap();
        let is_healthy = output.status.success();
        last = Some(output);
        is_healthy
    })
    .await;
    assert_eq!(String::from_utf8_lossy(&last.unwrap().stdout), "ready\n");

    kill_process(Pid::from_child(&running.0), Signal::TERM).unwrap();
    let output = running.end().await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(root.paths(), before, "it writes to its state folder alone");
    assert!(fs_err::read_dir(root.path("var/lib/skald")).unwrap().count() > 0, "a checkpoint");
    let output = root.skald(User::Nonroot, &health).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "nobody is there any more");
}

/// Owners and modes of the folders that are mounted.
fn volumes(root: &Root, user: User, log: &str) {
    let (state, log) = (root.path("var/lib/skald"), root.path(log));
    fs_err::create_dir_all(&state).unwrap();
    match user {
        // Another user's log, in a folder of that user's alone.
        User::Root => {
            for (path, mode) in [(log.as_path(), 0o600), (log.parent().unwrap(), 0o700)] {
                chown(path, Some(1000), Some(1000)).unwrap();
                fs_err::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
            }
        }
        // `fsGroup` makes the folders the group's.
        User::Nonroot => {
            chown(&log, Some(10001), Some(65532)).unwrap();
            chown(&state, Some(0), Some(65532)).unwrap();
            fs_err::set_permissions(&state, PermissionsExt::from_mode(0o2775)).unwrap();
        }
    }
}

#[tokio::test]
async fn the_daemon_set_reads_what_belongs_to_others() {
    let now = skald::app::Clock::start().now().wall;
    let line = format!("{now} stdout F {{\"level\":\"info\"}}\n");
    pod("configmap.yaml", User::Root, "var/log/pods/a_b_1/c/0.log", &line).await;
}

#[tokio::test]
async fn the_sidecar_needs_no_right() {
    pod("sidecar.yaml", User::Nonroot, "var/log/checkout/a.log", "{\"level\":\"info\"}\n").await;
}
