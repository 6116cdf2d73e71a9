//! Who already sits on a port that we want.

use std::fmt;
use std::time::Duration;

use serde::Deserialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// The `server_name` in our nats.conf.
const OUR_NAME: &str = "echo";

/// A NATS server speaks first, and at once.
const PATIENCE: Duration = Duration::from_millis(500);

/// Who sits on a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Occupant {
    /// A server with our own configuration.
    Ours { version: String },
    /// Another NATS server.
    Nats { name: String, version: String },
    /// Something that does not speak NATS.
    Other,
}

impl fmt::Display for Occupant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ours { version } => {
                write!(f, "a broker of this project that already runs (nats-server {version})")
            }
            Self::Nats { name, version } => write!(f, "another NATS server ({name:?}, version {version})"),
            Self::Other => f.write_str("a program that is no NATS server"),
        }
    }
}

/// What a server says of itself, in its greeting and on its monitor's pages.
#[derive(Deserialize)]
struct About {
    server_name: String,
    version: String,
}

/// Who answers there; none if nobody does.
pub async fn who(address: &str) -> Option<Occupant> {
    let mut stream = timeout(PATIENCE, TcpStream::connect(reachable(address))).await.ok()?.ok()?;
    let about = match greeting(&mut stream).await {
        Some(about) => Some(about),
        None => page(&mut stream).await,
    };
    Some(match about {
        Some(About { server_name, version }) if server_name == OUR_NAME => Occupant::Ours { version },
        Some(About { server_name, version }) => Occupant::Nats { name: server_name, version },
        None => Occupant::Other,
    })
}

/// Listening everywhere is not an address to connect to.
fn reachable(address: &str) -> String {
    match address.rsplit_once(':') {
        Some(("0.0.0.0" | "[::]" | "", port)) => format!("127.0.0.1:{port}"),
        _ => address.to_owned(),
    }
}

/// The INFO line with which a NATS server meets its clients.
async fn greeting(stream: &mut TcpStream) -> Option<About> {
    let mut heard = Vec::new();
    let line = async {
        while !heard.ends_with(b"\n") && heard.len() < 64 * 1024 {
            if stream.read_buf(&mut heard).await.ok()? == 0 {
                break;
            }
        }
        Some(())
    };
    timeout(PATIENCE, line).await.ok()??;
    serde_json::from_slice(heard.trim_ascii().strip_prefix(b"INFO ")?).ok()
}

/// The monitor's page about the server.
async fn page(stream: &mut TcpStream) -> Option<About> {
    let mut heard = Vec::new();
    let exchange = async {
        stream.write_all(b"GET /varz HTTP/1.0\r\nHost: localhost\r\n\r\n").await?;
        stream.take(256 * 1024).read_to_end(&mut heard).await
    };
    timeout(PATIENCE, exchange).await.ok()?.ok()?;
    let body = heard.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    serde_json::from_slice(&heard[body..]).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn one_who_says(words: &'static [u8]) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(words).await.unwrap();
            let _ = stream.read_to_end(&mut Vec::new()).await;
        });
        address
    }

    #[tokio::test]
    async fn a_server_is_known_by_its_greeting() {
        let ours = one_who_says(b"INFO {\"server_name\":\"echo\",\"version\":\"2.15.1\",\"x\":1}\r\n").await;
        assert_eq!(who(&ours).await, Some(Occupant::Ours { version: "2.15.1".into() }));
        let foreign = one_who_says(b"INFO {\"server_name\":\"prod\",\"version\":\"2.9.0\"}\r\n").await;
        assert_eq!(
            who(&foreign).await,
            Some(Occupant::Nats { name: "prod".into(), version: "2.9.0".into() })
        );
    }

    #[tokio::test]
    async fn whatever_else_answers_is_no_nats_server() {
        for words in [&b""[..], b"SSH-2.0-OpenSSH_9.6\r\n", b"INFO no json\r\n", b"\xff\xfe\n"] {
            assert_eq!(who(&one_who_says(words).await).await, Some(Occupant::Other));
        }
    }

    #[tokio::test]
    async fn where_nobody_listens_there_is_nobody() {
        let address = {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            listener.local_addr().unwrap().to_string()
        };
        assert_eq!(who(&address).await, None);
    }
}
