//! One request on one connection. Dropping the reply hangs up.

use std::{io, net::SocketAddr, time::Duration};

use bytes::{Buf, Bytes, BytesMut};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};

/// Longer than any deadline of the mesh: what takes longer hangs.
const LIMIT: Duration = Duration::from_secs(90);

/// Someone who speaks HTTP to one address.
#[derive(Clone, Copy, Debug)]
pub struct Client(SocketAddr);

/// A request that is being put together.
pub struct Call {
    to: SocketAddr,
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body: Bytes,
}

impl Client {
    pub fn new(address: SocketAddr) -> Self {
        Self(address)
    }

    pub fn call(&self, method: &str, path: &str) -> Call {
        let (method, path) = (method.to_owned(), path.to_owned());
        Call { to: self.0, method, path, headers: Vec::new(), body: Bytes::new() }
    }

    pub fn get(&self, path: &str) -> Call {
        self.call("GET", path)
    }

    /// A POST with a JSON body and its content type.
    pub fn post(&self, path: &str, body: &Value) -> Call {
        self.call("POST", path).header("content-type", "application/json").body(body.to_string())
    }
}

impl Call {
    /// In place of the header of that name, if there is one.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    #[must_use]
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// Sends it and waits for the head of the reply.
    ///
    /// # Errors
    /// When there is no reply: nobody listens, or the connection ended before it.
    pub async fn send(self) -> io::Result<Reply> {
        let (reader, mut writer) = TcpStream::connect(self.to).await?.into_split();
        let head = self.head();
        let write = async {
            writer.write_all(head.as_bytes()).await?;
            writer.write_all(&self.body).await
        };
        let mut reply = Reply::on(reader);
        // A server may answer and close before it has read a body that is too large.
        let (wrote, read) = tokio::time::timeout(LIMIT, async { tokio::join!(write, reply.read_head()) })
            .await
            .map_err(|_| io::Error::other(format!("no reply within {LIMIT:?}")))?;
        read.or_else(|error| wrote.and(Err(error)))?;
        reply.writer = Some(writer);
        Ok(reply)
    }

    fn head(&self) -> String {
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.path);
        let has = |name: &str| self.headers.iter().any(|(known, _)| known.eq_ignore_ascii_case(name));
        if !has("host") {
            head += &format!("host: {}\r\n", self.to);
        }
        if !has("content-length") && (!self.body.is_empty() || self.method == "POST") {
            head += &format!("content-length: {}\r\n", self.body.len());
        }
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        head + "connection: close\r\n\r\n"
    }
}

enum Length {
    Chunked,
    Rest(usize),
    ToTheEnd,
}

/// A reply whose body is read as it comes.
pub struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    length: Length,
    reader: OwnedReadHalf,
    /// Kept open: closing it would hang up.
    writer: Option<OwnedWriteHalf>,
    buffer: BytesMut,
}

impl Reply {
    fn on(reader: OwnedReadHalf) -> Self {
        let (headers, buffer) = (Vec::new(), BytesMut::new());
        Self { status: 0, headers, length: Length::ToTheEnd, reader, writer: None, buffer }
    }

    pub fn status(&self) -> u16 {
        self.status
    }

    /// The value of a header; empty if it is not there.
    pub fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map_or("", |(_, value)| value)
    }

    /// The next bytes of the body; `None` at its proper end. Cancel-safe.
    ///
    /// # Errors
    /// When the connection ends before the body does.
    pub async fn chunk(&mut self) -> io::Result<Option<Bytes>> {
        match self.length {
            Length::Chunked => self.http_chunk().await,
            Length::Rest(0) => Ok(None),
            Length::Rest(left) => {
                self.fill(1).await?;
                let take = left.min(self.buffer.len());
                self.length = Length::Rest(left - take);
                Ok(Some(self.buffer.split_to(take).freeze()))
            }
            Length::ToTheEnd => {
                if self.buffer.is_empty() && self.more().await? == 0 {
                    return Ok(None);
                }
                Ok(Some(self.buffer.split().freeze()))
            }
        }
    }

    /// The whole body as text.
    ///
    /// # Panics
    /// When it breaks off, hangs, or is not UTF-8.
    pub async fn text(mut self) -> String {
        let mut whole = Vec::new();
        let read = async {
            while let Some(bytes) = self.chunk().await.expect("a whole body") {
                whole.extend_from_slice(&bytes);
            }
        };
        tokio::time::timeout(LIMIT, read).await.expect("a body that ends");
        String::from_utf8(whole).expect("UTF-8")
    }

    /// The whole body as JSON.
    ///
    /// # Panics
    /// When it is something else.
    pub async fn json(self) -> Value {
        let text = self.text().await;
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error} in {text:?}"))
    }

    async fn http_chunk(&mut self) -> io::Result<Option<Bytes>> {
        let line = self.buffered_line().await?;
        let size = usize::from_str_radix(&line, 16).map_err(io::Error::other)?;
        let head = line.len() + 2;
        self.fill(head + size + 2).await?;
        self.buffer.advance(head);
        let chunk = self.buffer.split_to(size).freeze();
        self.buffer.advance(2);
        if size == 0 {
            self.length = Length::Rest(0);
            return Ok(None);
        }
        Ok(Some(chunk))
    }

    /// The first line of the buffer, left there so that a cancelled read loses nothing.
    async fn buffered_line(&mut self) -> io::Result<String> {
        loop {
            if let Some(at) = self.buffer.windows(2).position(|two| two == b"\r\n") {
                return Ok(String::from_utf8_lossy(&self.buffer[..at]).into_owned());
            }
            let wanted = self.buffer.len() + 1;
            self.fill(wanted).await?;
        }
    }

    async fn read_head(&mut self) -> io::Result<()> {
        let status = self.take_line().await?;
        let number = status.split(' ').nth(1).and_then(|number| number.parse().ok());
        self.status = number.ok_or_else(|| io::Error::other(format!("no HTTP status in {status:?}")))?;
        loop {
            let line = self.take_line().await?;
            let Some((name, value)) = line.split_once(':') else { break };
            self.headers.push((name.trim().to_owned(), value.trim().to_owned()));
        }
        self.length = match self.header("content-length").parse() {
            Ok(length) => Length::Rest(length),
            Err(_) if self.header("transfer-encoding") == "chunked" => Length::Chunked,
            Err(_) => Length::ToTheEnd,
        };
        Ok(())
    }

    async fn take_line(&mut self) -> io::Result<String> {
        let line = self.buffered_line().await?;
        self.buffer.advance(line.len() + 2);
        Ok(line)
    }

    async fn fill(&mut self, wanted: usize) -> io::Result<()> {
        while self.buffer.len() < wanted {
            if self.more().await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(())
    }

    async fn more(&mut self) -> io::Result<usize> {
        self.reader.read_buf(&mut self.buffer).await
    }
}
