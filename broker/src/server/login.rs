//! Getting in as the mesh does, and making sure that nobody else does.

use std::fmt;
use std::time::Duration;

use async_nats::{ConnectErrorKind, ConnectOptions, Event};
use futures::StreamExt as _;

use echo_bus::secret::Secret;

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
    #[error("a message to ourselves did not come back")]
    Lost,
}

/// Somebody who does not know the secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stranger {
    Nameless,
    Named(&'static str),
}

impl fmt::Display for Stranger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nameless => f.write_str("everybody"),
            Self::Named(user) => write!(f, "the user {user}"),
        }
    }
}

/// Sends a message through the server to ourselves: only when it is back, the server is ready.
pub(super) async fn round_trip(url: &str, secret: Option<&Secret>) -> Result<(), Error> {
    let password = secret.map_or("", Secret::expose).to_owned();
    let trip = async {
        let options = ConnectOptions::with_user_and_password("mesh".to_owned(), password);
        let client = options.name("broker").connection_timeout(PATIENCE).connect(url).await?;
        let inbox = client.new_inbox();
        let mut answers = client.subscribe(inbox.clone()).await?;
        client.publish(inbox, Default::default()).await?;
        answers.next().await.map(drop).ok_or(Error::Lost)
    };
    tokio::time::timeout(PATIENCE, trip).await.unwrap_or(Err(Error::Lost))
}

/// Somebody who gets in without the secret, if there is anybody.
pub(super) async fn stranger_inside(url: &str) -> Result<Option<Stranger>, Error> {
    for stranger in [Stranger::Nameless, Stranger::Named("mesh"), Stranger::Named("watch")] {
        let options = match stranger {
            Stranger::Nameless => ConnectOptions::new(),
            Stranger::Named(user) => ConnectOptions::with_user_and_password(user.to_owned(), String::new()),
        };
        match options.name("broker").connection_timeout(PATIENCE).connect(url).await {
            Ok(_) => return Ok(Some(stranger)),
            Err(error) if is_refusal(error.kind()) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(None)
}

/// What `join` is tried with; no part speaks there. A line of the server's log that names one is no news.
pub(super) const PROBES: [&str; 3] = ["echo.probe", "_echo.probe", "_INBOX.probe"];

/// Whether the user `join`, who needs no password, may do more than ask to join. Absent, it may do nothing.
pub(super) async fn guest_may_more(url: &str) -> Result<bool, Error> {
    let (denied, mut denials) = tokio::sync::mpsc::channel(2 * PROBES.len());
    let options = ConnectOptions::with_user_and_password("join".to_owned(), String::new())
        .name("broker")
        .connection_timeout(PATIENCE)
        .event_callback(move |event| {
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
