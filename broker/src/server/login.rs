//! Getting in as the mesh does, and making sure that nobody else does.

use std::fmt;
use std::time::Duration;

use async_nats::{ConnectErrorKind, ConnectOptions, Event};
use futures::StreamExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use echo_bus::Bus;
use echo_bus::client::{self, Access, Authority};
use echo_bus::id::{ProcessId, Role};

/// On this machine an answer takes a millisecond; more than this is none.
const PATIENCE: Duration = Duration::from_secs(5);

/// A denial comes at once; a server that says nothing for so long has allowed it.
const ANSWER: Duration = Duration::from_secs(2);

/// Why the mesh cannot use the server.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot connect")]
    Connect(#[from] async_nats::ConnectError),
    #[error("cannot subscribe")]
    Subscribe(#[from] async_nats::SubscribeError),
    #[error("cannot publish")]
    Publish(#[from] async_nats::PublishError),
    #[error("cannot connect")]
    Bus(#[from] client::ConnectError),
    #[error("cannot speak with it")]
    Io(#[from] std::io::Error),
    #[error("a message to ourselves did not come back")]
    Lost,
}

/// Somebody without a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stranger {
    Nameless,
    Named(&'static str),
    Unencrypted,
}

impl fmt::Display for Stranger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nameless => f.write_str("everybody"),
            Self::Named(user) => write!(f, "the user {user}"),
            Self::Unencrypted => f.write_str("those who do not encrypt"),
        }
    }
}

/// Sends a message through the server to ourselves: only when it is back, the server is ready.
pub(super) async fn round_trip(url: &str, access: Option<&Access>) -> Result<(), Error> {
    let trip = async {
        match access {
            Some(access) => {
                connect(url, access.clone()).await?.close().await;
                Ok(())
            }
            None => open_round_trip(url).await,
        }
    };
    tokio::time::timeout(PATIENCE, trip).await.unwrap_or(Err(Error::Lost))
}

/// The broker's own part on the bus. Comes back after a round trip, whenever that is.
pub(crate) async fn connect(url: &str, access: Access) -> Result<Bus, client::ConnectError> {
    let id = access.key().map_or_else(ProcessId::random, echo_bus::key::PublicKey::process);
    Bus::connect(client::Options { url: url.to_owned(), role: Role::Broker, id, access }).await
}

async fn open_round_trip(url: &str) -> Result<(), Error> {
    let options = ConnectOptions::with_user_and_password("mesh".to_owned(), String::new());
    let client = options.name("broker").connection_timeout(PATIENCE).connect(url).await?;
    let inbox = client.new_inbox();
    let mut answers = client.subscribe(inbox.clone()).await?;
    client.publish(inbox, Default::default()).await?;
    answers.next().await.map(drop).ok_or(Error::Lost)
}

/// Somebody who gets in without a key, if there is anybody.
pub(super) async fn stranger_inside(url: &str, authority: &Authority) -> Result<Option<Stranger>, Error> {
    for stranger in [Stranger::Nameless, Stranger::Named("mesh"), Stranger::Named("watch")] {
        let options = match stranger {
            Stranger::Named(user) => ConnectOptions::with_user_and_password(user.to_owned(), String::new()),
            _ => ConnectOptions::new(),
        };
        match encrypted(options, authority).connect(url).await {
            Ok(_) => return Ok(Some(stranger)),
            Err(error) if is_refusal(error.kind()) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(speaks_in_clear(url).await?.then_some(Stranger::Unencrypted))
}

fn encrypted(options: ConnectOptions, authority: &Authority) -> ConnectOptions {
    let options = options.require_tls(true).tls_client_config(authority.client_config());
    options.name("broker").connection_timeout(PATIENCE)
}

/// Whether the server goes on in clear after its greeting. The guest's login: nobody else's needs no key.
async fn speaks_in_clear(url: &str) -> Result<bool, Error> {
    let (_, address) = url.split_once("://").unwrap_or(("", url));
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(b"CONNECT {\"verbose\":false,\"user\":\"join\",\"pass\":\"\"}\r\nPING\r\n").await?;
    let mut heard = Vec::new();
    let listen = async {
        while !heard.windows(6).any(|six| six == b"PONG\r\n") && heard.len() < 64 * 1024 {
            if !matches!(stream.read_buf(&mut heard).await, Ok(1..)) {
                return false;
            }
        }
        true
    };
    Ok(tokio::time::timeout(ANSWER, listen).await.unwrap_or(false))
}

/// What `join` is tried with; no part speaks there. A line of the server's log that names one is no news.
pub(super) const PROBES: [&str; 3] = ["echo.probe", "_echo.probe", "_INBOX.probe"];

/// Whether the user `join`, who needs no password, may do more than ask to join. Absent, it may do nothing.
pub(super) async fn guest_may_more(url: &str, authority: &Authority) -> Result<bool, Error> {
    let (denied, mut denials) = tokio::sync::mpsc::channel(2 * PROBES.len());
    let options = ConnectOptions::with_user_and_password("join".to_owned(), String::new());
    let options = encrypted(options, authority).event_callback(move |event| {
        let violation =
            matches!(&event, Event::ServerError(error) if error.to_string().contains("ermissions"));
        if violation {
            let _ = denied.try_send(());
        }
        std::future::ready(())
    });
    let guest = match options.connect(url).await {
        Ok(guest) => guest,
        Err(error) if is_refusal(error.kind()) => return Ok(false),
        Err(error) => return Err(error.into()),
    };
    for probe in PROBES {
        let _messages = guest.subscribe(probe).await?;
        guest.publish(probe, Default::default()).await?;
        // Each is denied in words of its own: only so many words mean that all were.
        for _ in ["subscription", "publication"] {
            if !matches!(tokio::time::timeout(ANSWER, denials.recv()).await, Ok(Some(()))) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

fn is_refusal(kind: ConnectErrorKind) -> bool {
    matches!(kind, ConnectErrorKind::AuthorizationViolation | ConnectErrorKind::Authentication)
}
