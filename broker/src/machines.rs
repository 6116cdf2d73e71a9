//! The broker's own part on the bus: it is asked which machines may get in, and lets them in and out.

use std::collections::HashMap;
use std::time::Duration;

use echo_bus::Bus;
use echo_bus::client::{CallError, ConnectError, SubscribeError, Subscription};
use echo_bus::message::{MachinesAnswer, MachinesRequest};
use echo_bus::permission::Machine;
use echo_bus::subject;
use echo_bus::subject::Duty;
use tokio_util::task::AbortOnDropHandle;
use tracing::{error, info, warn};

use crate::server::{Reloader, connect};
use crate::trust::{self, BROKER, Change, Trust};

/// On this machine it takes milliseconds; a server that crashes meanwhile comes back.
const PATIENCE: Duration = Duration::from_secs(20);

/// Answers until it is dropped.
pub struct Machines(#[allow(dead_code)] AbortOnDropHandle<()>);

/// Why nobody can be asked about machines.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Trust(#[from] trust::Error),
    #[error("the broker's own part did not get onto the bus within {} s", PATIENCE.as_secs())]
    Late,
    #[error("the broker's own part cannot connect")]
    Connect(#[from] ConnectError),
    #[error(transparent)]
    Subscribe(#[from] SubscribeError),
    #[error("the broker's own part hears nothing")]
    Deaf(#[from] CallError),
}

impl Machines {
    /// Comes back when it can be asked.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn start(url: &str, trust: Trust, server: Reloader) -> Result<Self, Error> {
        let key = trust.own_key(BROKER, Duty::Broker, None)?;
        let connecting = connect(url, trust.access(&key)?);
        let bus = tokio::time::timeout(PATIENCE, connecting).await.map_err(|_| Error::Late)??;
        let requests = bus.subscribe(&subject::machines_requests()).await?;
        bus.round_trip(PATIENCE).await?;
        Ok(Self(AbortOnDropHandle::new(tokio::spawn(serve(bus, requests, Desk { trust, server })))))
    }
}

/// One request after the other: each is in force before the next is looked at.
async fn serve(bus: Bus, mut requests: Subscription<MachinesRequest>, desk: Desk) {
    let inspection = bus.inspectable("Which machines may get onto the bus").await;
    while let Some(request) = requests.next().await {
        let answer = match request.message {
            Ok(message) => desk.answer(message).await,
            Err(error) => refused(format!("the question cannot be read: {error}")),
        };
        if let Err(error) = bus.answer(request.reply.as_ref(), &answer).await {
            warn!(error = &error as &dyn std::error::Error, "cannot answer a question about machines");
        }
    }
    drop(inspection);
    error!("the broker's own part has left the bus, and nobody can be let in or out any more");
}

/// The list and the server that keeps to it.
struct Desk {
    trust: Trust,
    server: Reloader,
}

impl Desk {
    async fn answer(&self, request: MachinesRequest) -> MachinesAnswer {
        let changed = match request {
            MachinesRequest::List => self.trust.machines().map_err(told),
            MachinesRequest::Admit { keys } => self.change(|trust| trust.admit(&keys)).await,
            MachinesRequest::Revoke { names } => self.change(|trust| trust.revoke(&names)).await,
            MachinesRequest::Unknown => Err("this broker is older than the question".to_owned()),
        };
        changed.map_or_else(refused, |machines| MachinesAnswer::Machines { machines })
    }

    /// Changes the list and has the server keep to it, or leaves both as they were.
    async fn change(
        &self,
        change: impl FnOnce(&Trust) -> Result<Change, trust::Error>,
    ) -> Result<Vec<Machine>, String> {
        let change = change(&self.trust).map_err(told)?;
        // Also where nothing has changed: a command may have written the list while nobody could be told.
        if let Err(error) = self.server.reload().await {
            if let Err(error) = self.trust.undo(&change) {
                error!(error = &error as &dyn std::error::Error, "the list of keys is not what is in force");
            }
            return Err(told(error));
        }
        log(&change);
        Ok(change.after)
    }
}

fn log(Change { before, after }: &Change) {
    for one in beyond(after, before) {
        info!(name = one.name, duty = ?one.duty, key = %one.key, "let in");
    }
    for one in beyond(before, after) {
        info!(name = one.name, duty = ?one.duty, key = %one.key, "cut off");
    }
}

/// Those that are not among the others, of which there may be thousands.
fn beyond<'a>(these: &'a [Machine], others: &[Machine]) -> Vec<&'a Machine> {
    let others: HashMap<_, _> = others.iter().map(|one| (one.key.as_str(), one)).collect();
    these.iter().filter(|one| others.get(one.key.as_str()).is_none_or(|other| other != one)).collect()
}

fn refused(why: String) -> MachinesAnswer {
    MachinesAnswer::Refused { why }
}

/// An error with its causes, as one sentence.
fn told(error: impl std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        text = format!("{text}: {source}");
        cause = source.source();
    }
    text
}
