//! The list of machines, asked of the broker's part.

use std::time::Duration;

use echo_bus::Bus;
use echo_bus::client::CallError;
use echo_bus::message::{MachinesAnswer, MachinesRequest, NewKey};
use echo_bus::permission::Machine;
use echo_bus::process::BadConfig;
use echo_bus::subject;

use crate::clean::Clean;

/// A server that reads its configuration again takes milliseconds; one on a busy machine takes longer.
const WITHIN: Duration = Duration::from_secs(10);

/// Why the list is as it was, as far as is known.
#[derive(Debug, thiserror::Error)]
pub enum NotChanged {
    /// In the broker's words.
    #[error("{0}")]
    Refused(String),
    #[error("nobody there keeps a list of machines")]
    Nobody,
    #[error("the broker's part does not answer, or does not let this key ask")]
    Unanswered,
    #[error("the broker's part is of another version")]
    Version,
}

impl NotChanged {
    /// The same for whoever has named, or not named, that bus.
    pub fn at(self, nats: &str) -> anyhow::Error {
        match self {
            Self::Refused(why) => anyhow::anyhow!("{}", Clean::of(&why)),
            Self::Nobody => BadConfig(format!(
                "the broker at {nats} keeps no list of machines: it was not started with --trust, as `echo-mesh up --lan` \
                 does it; whoever runs it lets keys in by its configuration"
            ))
            .into(),
            Self::Unanswered => BadConfig(format!(
                "nobody at {nats} answers this key: it has to be an operator's; `echo-mesh machines` and `invite` find \
                 that by themselves on the machine where `echo-mesh up --lan` runs"
            ))
            .into(),
            Self::Version => anyhow::anyhow!("the broker at {nats} is of another version of echo-mesh"),
        }
    }
}

/// Who may get in.
pub async fn list(bus: &Bus) -> Result<Vec<Machine>, NotChanged> {
    ask(bus, MachinesRequest::List).await
}

/// Lets these in: all of them or none. In force when this comes back.
pub async fn admit(bus: &Bus, keys: Vec<NewKey>) -> Result<Vec<Machine>, NotChanged> {
    ask(bus, MachinesRequest::Admit { keys }).await
}

/// Cuts these off.
pub async fn revoke(bus: &Bus, names: Vec<String>) -> Result<Vec<Machine>, NotChanged> {
    ask(bus, MachinesRequest::Revoke { names }).await
}

async fn ask(bus: &Bus, request: MachinesRequest) -> Result<Vec<Machine>, NotChanged> {
    match bus.call(&subject::machines(), &request, WITHIN).await {
        Ok(MachinesAnswer::Machines { machines }) => Ok(machines),
        Ok(MachinesAnswer::Refused { why }) => Err(NotChanged::Refused(why)),
        Ok(MachinesAnswer::Unknown) | Err(CallError::Undecodable(..)) => Err(NotChanged::Version),
        Err(CallError::NoResponders(_)) => Err(NotChanged::Nobody),
        Err(_) => Err(NotChanged::Unanswered),
    }
}
