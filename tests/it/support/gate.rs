//! A gateway before the receiver, which sees headers and asks for one of them.

use std::io::Write as _;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use super::{address, http};

/// Passes requests on that have a header, and keeps the heads of all.
pub(crate) struct Gate {
    addr: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
    wanted: Arc<Mutex<String>>,
}

impl Gate {
    /// Passes on to `to` what comes with this value of `Authorization`; others get a 401.
    pub(crate) fn start(to: SocketAddr, authorization: &str) -> Self {
        Self::asking(to, &header(authorization))
    }

    /// Passes on to `to` what has `header` in its head; others get a 401.
    pub(crate) fn asking(to: SocketAddr, header: &str) -> Self {
        let listener = TcpListener::bind(address(8080)).unwrap();
        let (addr, heads) = (listener.local_addr().unwrap(), Arc::<Mutex<Vec<String>>>::default());
        let wanted = Arc::new(Mutex::new(header.to_owned()));
        let (kept, asked) = (Arc::clone(&heads), Arc::clone(&wanted));
        // The thread ends with the test process.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (kept, asked) = (Arc::clone(&kept), Arc::clone(&asked));
                std::thread::spawn(move || serve(stream, to, &asked, &kept));
            }
        });
        Self { addr, heads, wanted }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// From now on wants this value.
    pub(crate) fn expect(&self, authorization: &str) {
        *self.wanted.lock().unwrap() = header(authorization);
    }

    /// Passes everything on from now on.
    pub(crate) fn open(&self) {
        self.wanted.lock().unwrap().clear();
    }

    /// The heads of all requests so far.
    pub(crate) fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

fn header(authorization: &str) -> String {
    format!("authorization: {authorization}\r\n")
}

fn serve(
    mut stream: TcpStream,
    to: SocketAddr,
    wanted: &Mutex<String>,
    heads: &Mutex<Vec<String>>,
) {
    while let Some((head, bytes)) = http::message(&mut stream) {
        let wanted = wanted.lock().unwrap().clone();
        let is_welcome = head.to_ascii_lowercase().contains(&wanted.to_ascii_lowercase())
            && wanted.split_once(": ").is_none_or(|(_, value)| head.contains(value));
        heads.lock().unwrap().push(head);
        let answer = if is_welcome {
            let mut loki = TcpStream::connect(to).unwrap();
            loki.write_all(&bytes).unwrap();
            http::message(&mut loki).unwrap().1
        } else {
            b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 7\r\n\r\ngo away".to_vec()
        };
        if stream.write_all(&answer).is_err() {
            return;
        }
    }
}
