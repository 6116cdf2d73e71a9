//! A person on the bus: to be the owner of a node one needs no edge and no orchestrator.

use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use echo_bus::Bus;
use echo_bus::client::{CallError, Options};
use echo_bus::id::{NodeId, ProcessId, Role};
use echo_bus::message::{Empty, Order, Ordered, Wish};
use echo_bus::process::{BadConfig, BusArgs};
use echo_bus::subject;

/// How long a broker may take to be found and to let somebody in.
const CONNECT: Duration = Duration::from_secs(8);
/// How long a part may take to answer; it answers from memory.
const WITHIN: Duration = Duration::from_secs(2);

/// Connects with the login of the mesh.
///
/// # Errors
/// The configuration is wrong, or no broker answers: the client itself would go on trying.
pub async fn connect(args: &BusArgs) -> Result<Bus> {
    let access = args.access.read().map_err(BadConfig::because)?;
    let options = Options { url: args.nats.clone(), role: Role::Other, id: ProcessId::random(), access };
    match tokio::time::timeout(CONNECT, Bus::connect(options)).await {
        Ok(Ok(bus)) => Ok(bus),
        Ok(Err(error)) if error.is_configuration() => Err(BadConfig::because(error).into()),
        Ok(Err(error)) => Err(error.into()),
        Err(_) => {
            // What stands before an @ may be a password.
            let at = args.nats.rsplit('@').next().unwrap_or_default();
            bail!(
                "no broker lets us in at {at}: start the mesh, correct --nats, or, where the mesh has keys, name \
                 an operator's with --nkey and its authority with --tls-ca"
            )
        }
    }
}

/// Tells a node what is wanted.
///
/// # Errors
/// There is no such node, or it does not answer.
pub async fn order(bus: &Bus, node: &NodeId, wish: Wish) -> Result<Ordered> {
    match bus.call(&subject::order(node), &Order { wish }, WITHIN).await {
        Ok(ordered) => Ok(ordered),
        Err(CallError::NoResponders(_)) => {
            Err(BadConfig(format!("there is no node {node}. {}", known(bus).await)).into())
        }
        Err(CallError::Unanswered(_)) => {
            bail!(
                "{node} does not answer: it is stopped or cut off; look with `echo-mesh status`, and ask again"
            )
        }
        Err(error) => Err(anyhow!(error).context(format!("{node} was not told"))),
    }
}

/// A sentence that names the nodes.
pub async fn known(bus: &Bus) -> String {
    let Ok(mesh) = bus.call(&subject::status(), &Empty {}, WITHIN).await else {
        return "Which nodes there are is not known: no orchestrator answers.".to_owned();
    };
    let mut nodes: Vec<&str> = mesh.nodes.iter().map(|node| node.node_id.as_str()).collect();
    nodes.sort_unstable();
    if nodes.is_empty() {
        return "The mesh has no node now.".to_owned();
    }
    format!("The nodes of this mesh are: {}.", nodes.join(", "))
}
