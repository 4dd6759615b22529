//! HTTP/1.1 messages as bytes, for servers that misbehave.

use std::io::Read;

use tokio::io::{AsyncRead, AsyncReadExt as _};

/// The head of the next request or response, and all of its bytes.
pub(crate) fn message(stream: &mut impl Read) -> Option<(String, Vec<u8>)> {
    let (mut bytes, mut buf) = (Vec::new(), [0; 8192]);
    while !is_whole(&bytes) {
        let len = stream.read(&mut buf).ok().filter(|len| *len != 0)?;
        bytes.extend_from_slice(&buf[..len]);
    }
    let head = head(&bytes)?.to_owned();
    Some((head, bytes))
}

/// The bytes of the next message, but at most `max`. `None` when it ends before.
pub(super) async fn up_to(stream: &mut (impl AsyncRead + Unpin), max: usize) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    while !is_whole(&bytes) && bytes.len() < max {
        let mut rest = stream.take((max - bytes.len()) as u64);
        rest.read_buf(&mut bytes).await.ok().filter(|len| *len != 0)?;
    }
    Some(bytes)
}

/// Whether these are a head and as many bytes as it announces.
pub(super) fn is_whole(bytes: &[u8]) -> bool {
    let Some(head) = head(bytes) else { return false };
    let lower = head.to_ascii_lowercase();
    let length = lower.split("content-length: ").nth(1).and_then(|rest| rest.lines().next());
    let length: usize = length.map_or(0, |length| length.trim().parse().unwrap());
    bytes.len() >= head.len() + 2 + length
}

/// What stands behind the head.
pub(crate) fn body(bytes: &[u8]) -> &[u8] {
    head(bytes).map_or(&[], |head| &bytes[head.len() + 2..])
}

/// The head without the empty line behind it.
fn head(bytes: &[u8]) -> Option<&str> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    std::str::from_utf8(&bytes[..end + 2]).ok()
}
