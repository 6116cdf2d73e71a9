//! Which version of HTTP a client speaks, by its first bytes.

use tokio::net::TcpStream;

/// How HTTP/2 begins. No method of HTTP/1.1 has the same first bytes.
const HTTP2: &[u8] = b"PRI";
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    One,
    /// HTTP/2, or too few bytes to tell.
    Unclear,
}

/// Waits for the first bytes and leaves them to be read; `None` if there will be none.
pub async fn beginning(stream: &TcpStream) -> Option<Version> {
    let mut bytes = [0; HTTP2.len()];
    match stream.peek(&mut bytes).await {
        Ok(0) | Err(_) => None,
        Ok(read) => Some(if HTTP2.starts_with(&bytes[..read]) { Version::Unclear } else { Version::One }),
    }
}
