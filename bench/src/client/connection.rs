//! One client of a system: HTTP/1.1 over plain TCP, one request at a time on a connection that is kept.

use std::{io, net::SocketAddr};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::body::Body;

/// Headers that any of the systems sends.
const MOST_HEADERS: usize = 64;
/// Heads longer than this come from no system here.
const LONGEST_HEAD: usize = 32 << 10;

/// Why there is no response, or only a part of one.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot connect")]
    Connect(#[source] io::Error),
    #[error("the connection broke")]
    Broke(#[source] io::Error),
    #[error("the server closed in the middle of its response")]
    Closed,
    #[error("the server's response is not HTTP/1.1")]
    NotHttp,
}

/// A connection of one client, made when it is needed and kept while the server lets it.
pub struct Connection {
    to: SocketAddr,
    stream: Option<TcpStream>,
    buffer: Vec<u8>,
}

struct Head {
    status: u16,
    body: Body,
    keep: bool,
    length: usize,
}

impl Connection {
    /// Not connected yet. `room` is the most that is read at once.
    pub fn new(to: SocketAddr, room: usize) -> Self {
        Self { to, stream: None, buffer: vec![0; room] }
    }

    /// Sends a request and gives every piece of the response's body to `take` as it arrives; returns the status.
    ///
    /// # Errors
    /// See [`Error`]. The next request then opens a new connection.
    pub async fn ask(&mut self, request: &[u8], mut take: impl FnMut(&[u8])) -> Result<u16, Error> {
        let mut stream = match self.kept() {
            Some(stream) => stream,
            None => connect(self.to).await.map_err(Error::Connect)?,
        };
        stream.write_all(request).await.map_err(Error::Broke)?;
        let (mut head, filled) = self.head(&mut stream).await?;
        if head.length < filled {
            head.body.take(&self.buffer[head.length..filled], &mut take).map_err(|_| Error::NotHttp)?;
        }
        while !head.body.is_whole() {
            let read = stream.read(&mut self.buffer).await.map_err(Error::Broke)?;
            match read {
                0 if head.body.may_close() => return Ok(head.status),
                0 => return Err(Error::Closed),
                read => head.body.take(&self.buffer[..read], &mut take).map_err(|_| Error::NotHttp)?,
            }
        }
        if head.keep {
            self.stream = Some(stream);
        }
        Ok(head.status)
    }

    /// The connection of the last request, unless the server has closed it meanwhile.
    fn kept(&mut self) -> Option<TcpStream> {
        let stream = self.stream.take()?;
        let quiet = stream.try_read(&mut self.buffer);
        quiet.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock).then_some(stream)
    }

    /// Reads until the head is complete; says how much of the buffer is filled then.
    async fn head(&mut self, stream: &mut TcpStream) -> Result<(Head, usize), Error> {
        let mut filled = 0;
        loop {
            if filled == self.buffer.len() {
                if filled > LONGEST_HEAD {
                    return Err(Error::NotHttp);
                }
                self.buffer.resize(filled * 2, 0);
            }
            match stream.read(&mut self.buffer[filled..]).await.map_err(Error::Broke)? {
                0 => return Err(Error::Closed),
                read => filled += read,
            }
            if let Some(head) = parse(&self.buffer[..filled])? {
                return Ok((head, filled));
            }
        }
    }
}

async fn connect(to: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(to).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// The head, once it is all there.
fn parse(bytes: &[u8]) -> Result<Option<Head>, Error> {
    let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(length) = response.parse(bytes).map_err(|_| Error::NotHttp)? else {
        return Ok(None);
    };
    let (mut body, mut keep) = (Body::Close, response.version == Some(1));
    for header in response.headers.iter() {
        let value = header.value.trim_ascii();
        if header.name.eq_ignore_ascii_case("content-length") {
            let text = std::str::from_utf8(value).map_err(|_| Error::NotHttp)?;
            body = Body::Length(text.parse().map_err(|_| Error::NotHttp)?);
        } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
            body = Body::CHUNKED;
        } else if header.name.eq_ignore_ascii_case("connection") {
            keep &= !value.eq_ignore_ascii_case(b"close");
        }
    }
    let status = response.code.ok_or(Error::NotHttp)?;
    Ok(Some(Head { status, body, keep, length }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_says_how_its_body_ends_and_whether_to_stay() {
        let head = |text: &str| parse(text.as_bytes()).unwrap().unwrap();
        let length = head("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n");
        assert_eq!((length.status, length.body, length.keep), (200, Body::Length(5), true));
        let chunked = head("HTTP/1.1 503 x\r\ntransfer-encoding: chunked\r\nConnection: close\r\n\r\n");
        assert_eq!((chunked.status, chunked.body, chunked.keep), (503, Body::CHUNKED, false));
        assert_eq!(head("HTTP/1.0 200 OK\r\n\r\n").body, Body::Close);
        assert!(parse(b"HTTP/1.1 200 OK\r\nContent-").unwrap().is_none());
        assert!(matches!(parse(b"SSH-2.0\r\n\r\n"), Err(Error::NotHttp)));
    }

    #[tokio::test]
    async fn a_server_that_goes_in_the_middle_is_an_error_and_the_next_request_connects_anew() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = tokio::spawn(async move {
            for reply in [
                "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab",
                "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab",
            ] {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut asked = [0; 3];
                stream.read_exact(&mut asked).await.unwrap();
                stream.write_all(reply.as_bytes()).await.unwrap();
            }
        });
        // A small buffer: heads may be longer than it.
        let mut connection = Connection::new(address, 8);
        assert!(matches!(connection.ask(b"one", |_| ()).await, Err(Error::Closed)));
        let mut body = Vec::new();
        assert_eq!(connection.ask(b"two", |bytes| body.extend_from_slice(bytes)).await.unwrap(), 200);
        assert_eq!(body, b"ab");
        serving.await.unwrap();
    }
}
