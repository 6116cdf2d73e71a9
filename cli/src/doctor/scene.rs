//! What several checks look at: asked once, by whoever needs it first.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::Command;
use echo_broker::server::{Occupant, who};
use echo_bus::client::{Bus, Options};
use echo_bus::id::{ProcessId, Role};
use echo_bus::message::{Empty, MeshStatus};
use echo_bus::process::BusArgs;
use echo_bus::{discover, subject};
use reqwest::Url;
use tokio::sync::OnceCell;

use super::args::Args;
use super::ask::{Answer, Asker};
use super::group;
use crate::join::member;
use crate::record::{Access, Record};

/// A login takes milliseconds; a machine under load takes longer.
const LOGIN: Duration = Duration::from_secs(5);
/// How long a broker may take to be found by mDNS.
const DISCOVERY: Duration = Duration::from_secs(3);

/// This machine, and the mesh as it is seen from here.
pub struct Scene {
    pub args: Args,
    /// The bus that is meant, and the way in.
    pub login: BusArgs,
    /// The configuration file that somebody has named.
    pub named: Option<PathBuf>,
    pub commands: Command,
    pub asker: Asker,
    edge: OnceCell<Edge>,
    broker: OnceCell<Broker>,
    bus: OnceCell<Option<Bus>>,
    mesh: OnceCell<Option<MeshStatus>>,
    multicast: OnceCell<std::io::Result<()>>,
}

/// What answers where the edge should be.
pub enum Edge {
    /// Nobody, or nobody in time.
    Absent(String),
    /// Somebody who is no edge.
    Foreign,
    /// An edge that knows nothing of a mesh: in its words.
    Alone(String, Answer),
    /// An edge of a mesh.
    Whole(Box<MeshStatus>, Answer),
}

/// What answers where the broker should be.
pub enum Broker {
    Absent,
    /// Where, and who.
    There(String, Occupant),
}

impl Scene {
    pub fn new(args: Args, named: Option<PathBuf>, commands: Command) -> Self {
        // Like the commands for it, it knows the bus of what runs here.
        let here = here(&args).filter(|record| record.supervisor.runs());
        let (bus, access) =
            here.as_ref().map(|record| (record.bus.as_deref(), way_in(record, &args))).unwrap_or_default();
        let login = args.bus.meant(bus, access.as_ref());
        let (edge, broker, bus, mesh, multicast) = Default::default();
        Self { args, login, named, commands, asker: Asker::new(), edge, broker, bus, mesh, multicast }
    }

    /// Where the edge should be.
    pub fn edge_url(&self) -> Option<Url> {
        self.args.edge.edge().ok().map(|edge| edge.url().clone())
    }

    /// What `up` has started on this machine and not ended.
    pub fn here(&self) -> Option<Record> {
        here(&self.args)
    }

    /// Whether this machine is in a mesh none of whose edges it knows.
    pub fn needs_no_edge(&self) -> bool {
        let is_member = |record: &Record| record.joined && record.edge.is_none() && record.supervisor.runs();
        self.args.edge.url.is_none() && self.here().as_ref().is_some_and(is_member)
    }

    /// Whether a mesh is expected: somebody has said where it is, or one was started here and is not gone.
    fn is_expected(&self) -> bool {
        let is_here =
            || self.here().is_some_and(|record| record.parts.iter().any(|part| part.process.runs()));
        self.args.edge.url.is_some() || self.args.bus.nats.is_some() || is_here()
    }

    /// What answers where the edge should be.
    pub async fn edge(&self) -> &Edge {
        self.edge.get_or_init(|| self.ask_edge()).await
    }

    async fn ask_edge(&self) -> Edge {
        let edge = match self.args.edge.edge() {
            Ok(edge) => edge,
            Err(why) => return Edge::Absent(why.to_string()),
        };
        let Ok(url) = edge.url().join("/status") else {
            return Edge::Absent("its address makes no URL".to_owned());
        };
        match self.asker.get(&url, edge.key()).await {
            Ok(answer) if answer.json["code"] == "invalid_api_key" => Edge::Absent(
                "it wants an API key that it knows: set ECHO_API_KEY, or name a file with --key-file"
                    .to_owned(),
            ),
            Err(why) if why.contains("does not speak") => Edge::Foreign,
            Err(why) => Edge::Absent(why),
            Ok(answer) if answer.json["code"] == "no_orchestrator" => {
                Edge::Alone(answer.json["error"].as_str().unwrap_or_default().to_owned(), answer)
            }
            Ok(answer) => match serde_json::from_value(answer.json.clone()) {
                Ok(mesh) if answer.status == 200 => Edge::Whole(Box::new(mesh), answer),
                _ => Edge::Foreign,
            },
        }
    }

    /// What answers where the broker should be.
    pub async fn broker(&self) -> &Broker {
        self.broker.get_or_init(|| self.ask_broker()).await
    }

    async fn ask_broker(&self) -> Broker {
        let address = match self.login.nats.as_str() {
            "auto" => discovered().await,
            url => address(url),
        };
        let Some(address) = address else { return Broker::Absent };
        match who(&address).await {
            Some(occupant) => Broker::There(address, occupant),
            None => Broker::Absent,
        }
    }

    /// The bus; none where there is none, or where it lets nobody in with what we know.
    pub async fn bus(&self) -> Option<&Bus> {
        self.bus.get_or_init(|| self.connect()).await.as_ref()
    }

    async fn connect(&self) -> Option<Bus> {
        if self.here().is_some_and(|record| record.joined) {
            // Its key is an agent's, which may not ask what others may.
            return None;
        }
        let access = self.login.access.read().ok()?;
        let Broker::There(address, Occupant::Ours { .. }) = self.broker().await else { return None };
        let url = format!("nats://{address}");
        let options = Options { url, role: Role::Other, id: ProcessId::random(), access };
        tokio::time::timeout(LOGIN, Bus::connect(options)).await.ok()?.ok()
    }

    /// The nodes, as the edge knows them or, without one, an orchestrator.
    pub async fn mesh(&self) -> Option<&MeshStatus> {
        let ask = || async {
            match self.edge().await {
                Edge::Whole(mesh, _) => Some((**mesh).clone()),
                _ => self.bus().await?.call(&subject::status(), &Empty {}, Duration::from_secs(1)).await.ok(),
            }
        };
        self.mesh.get_or_init(ask).await.as_ref()
    }

    /// Whether multicast works on this machine.
    pub async fn multicast(&self) -> &std::io::Result<()> {
        self.multicast.get_or_init(group::echoed).await
    }

    /// Nothing of a mesh answers, and none is expected to.
    pub async fn is_empty(&self) -> bool {
        !self.is_expected()
            && matches!(self.edge().await, Edge::Absent(_) | Edge::Foreign)
            && !matches!(self.broker().await, Broker::There(_, Occupant::Ours { .. }))
    }
}

/// The key of this machine's people, or of its first node where it has only joined.
fn way_in(record: &Record, args: &Args) -> Option<Access> {
    if !record.joined {
        return record.access.clone();
    }
    let folder = args.edge.run.dir().ok()?.join("joined");
    let access =
        Access { nkey: member::key(&folder, &record.nodes.first()?.id), tls_ca: member::authority(&folder) };
    access.tls_ca.exists().then_some(access)
}

fn here(args: &Args) -> Option<Record> {
    Record::known(&args.edge.run.dir().ok()?)
}

/// The newest broker that is announced on this network.
async fn discovered() -> Option<String> {
    let mut brokers = discover::brokers().ok()?;
    let some = brokers.wait_for(|brokers| brokers.iter().any(|found| !found.addresses.is_empty()));
    let found = tokio::time::timeout(DISCOVERY, some).await.ok()?.ok()?.clone();
    found.iter().rev().flat_map(|found| &found.addresses).next().map(SocketAddr::to_string)
}

/// HOST:PORT of `nats://host:port`.
pub fn address(url: &str) -> Option<String> {
    let url = if url.contains("://") { url.to_owned() } else { format!("nats://{url}") };
    let url = Url::parse(&url).ok()?;
    Some(format!("{}:{}", url.host_str()?, url.port().unwrap_or(4222)))
}

/// The port, if the host is this machine's loopback.
pub fn local_port(url: &Url) -> Option<u16> {
    let host = url.host_str()?.trim_matches(['[', ']']);
    let is_here =
        host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback() || ip.is_unspecified());
    url.port_or_known_default().filter(|_| is_here)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_out_of_urls() {
        assert_eq!(address("nats://box:1").as_deref(), Some("box:1"));
        assert_eq!(address("box").as_deref(), Some("box:4222"));
        assert_eq!(address("nats://[::1]:7").as_deref(), Some("[::1]:7"));
        assert_eq!(address("nats://"), None);
        let port = |url: &str| local_port(&url.parse().unwrap());
        assert_eq!(port("http://[::1]:8080"), Some(8080));
        assert_eq!((port("http://localhost"), port("http://10.0.0.1:8080")), (Some(80), None));
    }
}
