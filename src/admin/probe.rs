//! Asking a running agent, for container probes: no runtime, no library, quick to start.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::error::AdminError;

/// Most bytes of an answer that are read.
const ANSWER_BYTES_MAX: u64 = 64 * 1024;

/// Asks the agent whose `admin.listen` is `addr` for /ready and gives back its answer. Connecting
/// and every read wait for `timeout` at most. An agent that listens on every address (`0.0.0.0`) is
/// asked on loopback: that is what connecting there means.
///
/// # Errors
/// Nobody answers, or the answer is not 200.
pub fn probe(addr: SocketAddr, timeout: Duration) -> Result<String, AdminError> {
    let answer = get(addr, timeout).map_err(|source| AdminError::Probe { addr, source })?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let line = head.lines().next().unwrap_or_default();
    let status = line.split_once(' ').map_or(line, |(_, status)| status);
    let text = body.trim_end().to_owned();
    if line.starts_with("HTTP/1.") && status.starts_with("200 ") {
        return Ok(text);
    }
    Err(AdminError::NotReady { addr, status: status.to_owned(), text })
}

fn get(addr: SocketAddr, timeout: Duration) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&addr, timeout)?;
    stream.set_read_timeout(Some(timeout))?;
    stream.set_write_timeout(Some(timeout))?;
    write!(stream, "GET /ready HTTP/1.0\r\nHost: {addr}\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
