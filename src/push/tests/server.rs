//! A very small HTTP/1.1 server on loopback that answers as it is told, plain or with TLS.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// What one request looked like.
#[derive(Debug, Clone)]
pub(super) struct Request {
    /// The request line and the headers, as sent.
    pub(super) head: String,
    pub(super) body: Vec<u8>,
    /// Which connection it came on, from 0.
    pub(super) connection: usize,
}

impl Request {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().skip(1).filter_map(|line| line.split_once(": "));
        lines.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

/// Serves until the test's runtime ends.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) port: u16,
    seen: Arc<Mutex<Vec<Request>>>,
    answer: Arc<Mutex<String>>,
}

impl Server {
    /// `answer` is a whole HTTP answer; an empty one closes the connection; "hang" never comes.
    pub(super) async fn start(answer: &str, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(Mutex::new(vec![]));
        let answer = Arc::new(Mutex::new(answer.to_owned()));
        let server = Self { port, seen: Arc::clone(&seen), answer: Arc::clone(&answer) };
        tokio::spawn(async move {
            for connection in 0.. {
                let (stream, _) = listener.accept().await.unwrap();
                let (seen, answer, tls) = (Arc::clone(&seen), Arc::clone(&answer), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => serve(stream, connection, &seen, &answer).await,
                        Some(tls) => {
                            let Ok(stream) = tls.accept(stream).await else { return };
                            serve(stream, connection, &seen, &answer).await;
                        }
                    }
                });
            }
        });
        server
    }

    pub(super) fn answer(&self, answer: &str) {
        answer.clone_into(&mut self.answer.lock().unwrap());
    }

    pub(super) fn requests(&self) -> Vec<Request> {
        self.seen.lock().unwrap().clone()
    }

    pub(super) fn last(&self) -> Request {
        self.requests().pop().expect("no request came")
    }
}

async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    connection: usize,
    seen: &Mutex<Vec<Request>>,
    answer: &Mutex<String>,
) {
    let mut buf = vec![];
    loop {
        let Some(end) = buf.windows(4).position(|bytes| bytes == b"\r\n\r\n") else {
            match stream.read_buf(&mut buf).await {
                Ok(0) | Err(_) => return,
                Ok(_) => continue,
            }
        };
        let head = String::from_utf8(buf.drain(..end + 4).collect()).unwrap();
        let mut request = Request { head, body: vec![], connection };
        let len: usize = request.header("content-length").unwrap_or("0").parse().unwrap();
        while buf.len() < len {
            if stream.read_buf(&mut buf).await.unwrap_or(0) == 0 {
                return;
            }
        }
        request.body = buf.drain(..len).collect();
        seen.lock().unwrap().push(request);
        let text = answer.lock().unwrap().clone();
        match text.as_str() {
            "" => return,
            "hang" => std::future::pending::<()>().await,
            text => {
                if stream.write_all(text.as_bytes()).await.is_err() {
                    return;
                }
                let _ = stream.flush().await;
            }
        }
    }
}
