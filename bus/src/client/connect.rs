//! Getting onto the bus, and staying on it.

use std::sync::Arc;
use std::time::Duration;

use async_nats::{ConnectError as Failed, ConnectErrorKind, ConnectOptions, ServerAddr};
use futures::future::BoxFuture;
use tokio::sync::watch;
use tracing::{error, warn};

use super::access::{Access, Login};
use super::connect_error::ConnectError;
use super::link::{Link, Notes, REFUSED};
use super::replies::Replies;
use super::{Bus, Inner, auto};
use crate::id::{BootId, Peer, ProcessId, Role};
use crate::key::PublicKey;
use crate::subject;

/// The login of the mesh's own parts.
const USER: &str = "mesh";

/// Messages that one subscription holds before it drops the newest.
const SUBSCRIPTION_CAPACITY: usize = 65_536;

/// How to get onto the bus.
#[derive(Debug, Clone)]
pub struct Options {
    /// `nats://host:port` or `tls://host:port`, several with commas, or `auto` for the broker that is announced on this
    /// network.
    pub url: String,
    pub role: Role,
    /// Of an agent: its node. Of all others: only where there is no key to tell it.
    pub id: ProcessId,
    pub access: Access,
}

impl Bus {
    /// Connects, and comes back once a message has made a round trip. A broker that is not there is waited for, and
    /// said every few seconds: race this with the shutdown token.
    ///
    /// # Errors
    /// See [`ConnectError`]; an absent broker is none.
    pub fn connect(options: Options) -> BoxFuture<'static, Result<Self, ConnectError>> {
        // Boxed, so that the client of NATS is compiled here and not in each part again.
        Box::pin(Self::connected(options))
    }

    async fn connected(options: Options) -> Result<Self, ConnectError> {
        let Options { mut url, role, id, access } = options;
        if url == auto::AUTO {
            url = auto::url(!matches!(access.login, Login::Open)).await?;
        }
        let addresses = servers(&url)?;
        let boot = BootId::random();
        // What a process may hear is said of its key, and of an agent of its node.
        let by_key = access.key().filter(|_| role != Role::Agent).map(PublicKey::process);
        let me = Peer { role, id: by_key.unwrap_or(id) };
        let (state, link) = watch::channel(Link::default());
        let notes = Notes::new(state);
        let client = client_options(&me, &boot, &access, addresses.len())?
            .retry_on_initial_connect()
            .event_callback(move |event| {
                notes.note(&event);
                std::future::ready(())
            })
            .connect(&addresses[..])
            .await
            .map_err(ConnectError::Client)?;
        let prefix = subject::replies(me.role, &me.id);
        let replies = Replies::listen(&client, prefix).await.map_err(ConnectError::Replies)?;
        let bus = Self(Arc::new(Inner { client, me, boot, link, replies }));
        let again = || client_options(&bus.0.me, &bus.0.boot, &access, addresses.len());
        bus.first_round_trip(&url, &addresses, again).await?;
        Ok(bus)
    }

    pub(super) fn client(&self) -> &async_nats::Client {
        &self.0.client
    }

    async fn first_round_trip(
        &self,
        url: &str,
        addresses: &[ServerAddr],
        again: impl Fn() -> Result<ConnectOptions, ConnectError>,
    ) -> Result<(), ConnectError> {
        let mut link = self.link();
        loop {
            // Not holding what was seen: the link could not change while it is looked at.
            let up =
                tokio::time::timeout(Duration::from_secs(3), link.wait_for(|link| link.up)).await.is_ok();
            if up && self.round_trip(Duration::from_secs(2)).await.is_ok() {
                return Ok(());
            }
            if !up {
                // The client tells nobody why it did not get in. A second one, which tries once, does.
                let once = again()?.max_reconnects(addresses.len()).connect(addresses).await;
                if let Err(failed) = once {
                    say(url, &failed);
                }
            }
        }
    }
}

/// Says why a broker cannot be used, and what is to be done.
fn say(url: &str, failed: &Failed) {
    // It tells its sources itself.
    let why = failed.to_string();
    if why.contains("authorization violation") {
        error!(url, "{REFUSED}; still trying");
    } else if why.contains("certificate") {
        error!(
            url,
            why,
            "the certificate of the broker there is not signed by whom this part believes: correct --tls-ca, or let this \
             machine join again; still trying"
        );
    } else if matches!(failed.kind(), ConnectErrorKind::Tls) || why.contains("tls") {
        error!(
            url,
            why, "the broker there speaks no TLS with this part: correct --tls-ca or --nats; still trying"
        );
    } else {
        warn!(url, "no broker answers there; start one (`echo-mesh broker`) or correct --nats; still trying");
    }
}

/// The servers of a list with commas.
fn servers(urls: &str) -> Result<Vec<ServerAddr>, ConnectError> {
    let one = |url: &str| {
        let url = url.trim();
        url.parse().map_err(|source| ConnectError::Url { url: url.to_owned(), source })
    };
    urls.split(',').map(one).collect()
}

/// Who a process is, and whom it believes.
pub(super) fn login(access: &Access) -> Result<ConnectOptions, ConnectError> {
    let mut options = match &access.login {
        Login::Open => ConnectOptions::with_user_and_password(USER.to_owned(), String::new()),
        Login::Key(seed) => ConnectOptions::with_nkey(seed.expose().to_owned()),
        Login::Credentials(credentials) => {
            ConnectOptions::with_credentials(credentials.expose()).map_err(ConnectError::Credentials)?
        }
    };
    if let Some(authority) = &access.authority {
        options = options.require_tls(true).tls_client_config(authority.client_config());
    }
    Ok(options)
}

fn client_options(
    me: &Peer,
    boot: &BootId,
    access: &Access,
    servers: usize,
) -> Result<ConnectOptions, ConnectError> {
    let options = login(access)?
        .name(format!("{me}.{boot}"))
        .custom_inbox_prefix(format!("_INBOX.{me}.client"))
        .connection_timeout(Duration::from_secs(2))
        .ping_interval(Duration::from_secs(2))
        .subscription_capacity(SUBSCRIPTION_CAPACITY)
        .client_capacity(4096)
        .reconnect_delay_callback(move |attempts| reconnect_delay(attempts, servers));
    Ok(options)
}

/// 50 ms doubling to 2 s with each round of the servers, less up to half of it by chance, so that a mesh does not come back
/// all at once. Of several servers the next may well be there: it is not made to wait for the one that is not.
fn reconnect_delay(attempts: usize, servers: usize) -> Duration {
    let round = attempts.saturating_sub(1) / servers.max(1) + 1;
    let full = Duration::from_millis(50).saturating_mul(1 << round.min(6)).min(Duration::from_secs(2));
    full.mul_f64(rand::random_range(0.5..=1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn longest(attempts: usize, servers: usize) -> Duration {
        (0..200).map(|_| reconnect_delay(attempts, servers)).max().unwrap()
    }

    #[test]
    fn each_server_of_a_list_is_tried_before_any_waits_longer() {
        for attempt in 1..=3 {
            assert!(longest(attempt, 3) <= Duration::from_millis(100), "{attempt}");
        }
        assert!(longest(4, 3) > Duration::from_millis(100));
        assert!(longest(2, 1) > Duration::from_millis(100));
        assert!(longest(usize::MAX, 3) <= Duration::from_secs(2));
    }
}
