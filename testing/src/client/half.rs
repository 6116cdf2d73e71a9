//! A client that says a part of what it has to say, and then nothing: over HTTP/1.1, and over HTTP/2 without TLS.

use std::{io, net::SocketAddr};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// Where it stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Half {
    /// Before the first byte.
    Silent,
    Head,
    Body,
    /// After one request that was answered.
    Idle,
    Http2Head,
    Http2Body,
    Http2Idle,
    /// Asks, and gives no room for the answer.
    Http2Unread,
}

/// What begins a connection over HTTP/2: its own words, and settings without any.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

impl Half {
    pub const ALL: [Self; 8] = [
        Self::Silent,
        Self::Head,
        Self::Body,
        Self::Idle,
        Self::Http2Head,
        Self::Http2Body,
        Self::Http2Idle,
        Self::Http2Unread,
    ];

    /// Connects and says its part.
    ///
    /// # Errors
    /// When nobody takes it.
    pub async fn say(self, to: SocketAddr) -> io::Result<TcpStream> {
        let mut stream = TcpStream::connect(to).await?;
        stream.write_all(&self.words()).await?;
        if self == Self::Idle {
            let mut answer = [0; 12];
            stream.read_exact(&mut answer).await?;
            assert_eq!(&answer, b"HTTP/1.1 200");
        }
        Ok(stream)
    }

    fn words(self) -> Vec<u8> {
        let head = b"POST /api/chat HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n";
        let post = request(0x83, "/api/chat");
        match self {
            Self::Silent => Vec::new(),
            Self::Head => head.to_vec(),
            Self::Body => [head, &b"content-length: 90\r\n\r\n{\"model\": "[..]].concat(),
            Self::Idle => b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n".to_vec(),
            Self::Http2Head => [PREFACE, &frame(1, 4, 1, &post)[..20]].concat(),
            Self::Http2Body => [PREFACE, &frame(1, 4, 1, &post), &frame(0, 0, 1, b"{\"model\": ")].concat(),
            Self::Http2Unread => {
                // A window of nothing, for each stream.
                let settings = [frame(4, 0, 0, &[0, 4, 0, 0, 0, 0]), frame(1, 5, 1, &request(0x82, "/docs"))];
                [&PREFACE[..24], &settings.concat()].concat()
            }
            Self::Http2Idle => [PREFACE, &frame(1, 5, 1, &request(0x82, "/health"))].concat(),
        }
    }
}

/// A request's head in HPACK; `method` is an entry of its static table.
pub fn request(method: u8, path: &str) -> Vec<u8> {
    // :scheme http; :path, :authority and content-type are literals with indexed names.
    let mut head = vec![method, 0x86];
    for (name, value) in [(&[0x04][..], path), (&[0x01], "localhost"), (&[0x0f, 0x10], "application/json")] {
        head.extend(name);
        head.push(u8::try_from(value.len()).expect("short"));
        head.extend(value.as_bytes());
    }
    head
}

/// A frame of HTTP/2.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// What the other side still says until it closes; an end by force is an end, too.
pub async fn last_words(mut stream: TcpStream) -> Vec<u8> {
    let mut said = Vec::new();
    // Its bytes until then are kept.
    let _ = stream.read_to_end(&mut said).await;
    said
}
