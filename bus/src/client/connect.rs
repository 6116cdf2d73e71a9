//! Getting onto the bus, and staying on it.

use std::sync::Arc;
use std::time::Duration;

use async_nats::{ConnectOptions, ServerAddr};
use tokio::sync::watch;
use tracing::warn;

use super::access::{Access, Login};
use super::connect_error::ConnectError;
use super::link::{self, Link};
use super::replies::Replies;
use super::{Bus, Inner, auto};
use crate::id::{BootId, Peer, ProcessId, Role};
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
    pub id: ProcessId,
    pub access: Access,
}

impl Bus {
    /// Connects, and comes back once a message has made a round trip. A broker that is not there is waited for, and
    /// said every few seconds: race this with the shutdown token.
    ///
    /// # Errors
    /// See [`ConnectError`]; an absent broker is none.
    pub async fn connect(options: Options) -> Result<Self, ConnectError> {
        let Options { mut url, role, id, access } = options;
        if url == auto::AUTO {
            url = auto::url(!matches!(access.login, Login::Open)).await?;
        }
        let addresses = servers(&url)?;
        let boot = BootId::random();
        let me = Peer { role, id };
        let (state, link) = watch::channel(Link::default());
        let state = Arc::new(state);
        let client = client_options(&me, &boot, &access)?
            .event_callback(move |event| {
                link::note(&state, &event);
                std::future::ready(())
            })
            .connect(&addresses[..])
            .await
            .map_err(ConnectError::Client)?;
        let prefix = subject::replies(me.role, &me.id);
        let replies = Replies::listen(&client, prefix).await.map_err(ConnectError::Replies)?;
        let bus = Self(Arc::new(Inner { client, me, boot, link, replies }));
        bus.first_round_trip(&url).await;
        Ok(bus)
    }

    pub(super) fn client(&self) -> &async_nats::Client {
        &self.0.client
    }

    async fn first_round_trip(&self, url: &str) {
        let mut link = self.link();
        loop {
            // Not holding what was seen: the link could not change while it is looked at.
            let up =
                tokio::time::timeout(Duration::from_secs(5), link.wait_for(|link| link.up)).await.is_ok();
            if up && self.round_trip(Duration::from_secs(2)).await.is_ok() {
                return;
            }
            if !up {
                warn!(
                    url,
                    "no broker answers there; start one (`echo-mesh broker`) or correct --nats; still trying"
                );
            }
        }
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
    let open = |password: &str| ConnectOptions::with_user_and_password(USER.to_owned(), password.to_owned());
    let mut options = match &access.login {
        Login::Open => open(""),
        Login::Secret(secret) => open(secret.expose()),
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

fn client_options(me: &Peer, boot: &BootId, access: &Access) -> Result<ConnectOptions, ConnectError> {
    let options = login(access)?
        .name(format!("{me}.{boot}"))
        .custom_inbox_prefix(format!("_INBOX.{me}.client"))
        .retry_on_initial_connect()
        .connection_timeout(Duration::from_secs(2))
        .ping_interval(Duration::from_secs(2))
        .subscription_capacity(SUBSCRIPTION_CAPACITY)
        .client_capacity(4096)
        .reconnect_delay_callback(reconnect_delay);
    Ok(options)
}

/// 50 ms doubling to 2 s, less up to half of it by chance, so that a mesh does not come back all at once.
fn reconnect_delay(attempts: usize) -> Duration {
    let full = Duration::from_millis(50).saturating_mul(1 << attempts.min(5)).min(Duration::from_secs(2));
    full.mul_f64(rand::random_range(0.5..=1.0))
}
