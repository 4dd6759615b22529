//! A gateway before the receiver, which sees headers and asks for one of them.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use super::address;

/// Passes requests on that have a header, and keeps the heads of all.
pub(crate) struct Gate {
    addr: SocketAddr,
    wanted: Arc<Mutex<String>>,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Gate {
    /// Passes on to `to` what comes with this value of `Authorization`; others get a 401.
    pub(crate) fn start(to: SocketAddr, authorization: &str) -> Self {
        Self::asking(to, &format!("authorization: {authorization}\r\n"))
    }

    /// Passes on to `to` what has `header` in its head; others get a 401.
    pub(crate) fn asking(to: SocketAddr, header: &str) -> Self {
        let listener = TcpListener::bind(address(8080)).unwrap();
        let (addr, heads) = (listener.local_addr().unwrap(), Arc::<Mutex<Vec<String>>>::default());
        let wanted = Arc::new(Mutex::new(header.to_owned()));
        let gate = Self { addr, wanted: Arc::clone(&wanted), heads: Arc::clone(&heads) };
        // The thread ends with the test process.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (heads, wanted) = (Arc::clone(&heads), Arc::clone(&wanted));
                std::thread::spawn(move || serve(stream, to, &wanted, &heads));
            }
        });
        gate
    }

    /// Passes everything on from now on.
    pub(crate) fn open(&self) {
        self.wanted.lock().unwrap().clear();
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// The heads of all requests so far.
    pub(crate) fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

fn serve(
    mut stream: TcpStream,
    to: SocketAddr,
    wanted: &Mutex<String>,
    heads: &Mutex<Vec<String>>,
) {
    while let Some((head, bytes)) = message(&mut stream) {
        let wanted = wanted.lock().unwrap().clone();
        let is_welcome = head.to_ascii_lowercase().contains(&wanted.to_ascii_lowercase())
            && wanted.split_once(": ").is_none_or(|(_, value)| head.contains(value));
        heads.lock().unwrap().push(head);
        let answer = if is_welcome {
            let mut loki = TcpStream::connect(to).unwrap();
            loki.write_all(&bytes).unwrap();
            message(&mut loki).unwrap().1
        } else {
            b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 7\r\n\r\ngo away".to_vec()
        };
        if stream.write_all(&answer).is_err() {
            return;
        }
    }
}

/// The head of the next request or response, and all of its bytes.
fn message(stream: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let (mut bytes, mut buf) = (Vec::new(), [0; 8192]);
    let mut wanted = usize::MAX;
    while bytes.len() < wanted {
        let len = stream.read(&mut buf).ok().filter(|len| *len != 0)?;
        bytes.extend_from_slice(&buf[..len]);
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n");
        if let Some(end) = end.filter(|_| wanted == usize::MAX) {
            let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
            let length = head.split("content-length: ").nth(1).map_or("0", |rest| rest);
            let length: usize = length.lines().next()?.trim().parse().ok()?;
            wanted = end + 4 + length;
        }
    }
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&bytes[..end + 2]).into_owned();
    Some((head, bytes))
}
