//! What `up` is going to start, decided before anything is started, fetched or written.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use echo_bus::id::{NodeId, SiteName};
use echo_bus::process::LogFormat;
use reqwest::Url;
use serde::{Deserialize, Serialize};

use super::address::shown;
use crate::keys::local;
use crate::place::Place;

/// Everything.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    pub nodes: Vec<Node>,
    pub mesh: Mesh,
    /// Flags that all agents get: what the owner of the machine has decided.
    pub agent_flags: Vec<String>,
    /// Where this machine stands: the `--site` of its agents and of its edge.
    #[serde(default)]
    pub site: Option<SiteName>,
    /// What a line of the parts' logs looks like.
    #[serde(default)]
    pub log: LogFormat,
    /// The configuration file that was named, absolute; absent: the user's own, if there is one.
    pub config: Option<PathBuf>,
    /// A model that an engine turns out to lack may be pulled.
    pub pull: bool,
    /// Why these engines, for the person.
    pub why: String,
}

/// Which mesh the nodes are of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mesh {
    /// One of its own, which is started too.
    Own(Own),
    /// One that runs elsewhere.
    Joined(Joined),
}

/// The parts of a mesh beside its nodes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Own {
    /// Where the edge listens.
    pub edge: SocketAddr,
    /// Other machines reach the edge without a key.
    #[serde(default)]
    pub open_lan: bool,
    /// What it shows to clients over HTTPS; absent: it serves HTTP.
    pub tls: Option<Tls>,
    pub broker: Broker,
    /// The model of tasks that name none; absent: the orchestrator's choice.
    pub model: Option<String>,
    /// A machine is invited once all is ready.
    pub invites: Option<Invites>,
}

/// A certificate and its private key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tls {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

impl Own {
    /// How clients speak to the edge.
    pub fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }
}

/// How a machine is invited.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invites {
    /// Where other machines reach the broker; absent: this machine's address on its network.
    pub advertise: Option<SocketAddr>,
}

/// A mesh that runs elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Joined {
    /// URL of its broker.
    pub nats: String,
    /// The folder with the keys of this machine's agents, if the broker wants one of each.
    pub keys: Option<PathBuf>,
    /// URL of an edge that this machine reaches, if one is known.
    pub edge: Option<String>,
}

/// The broker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Broker {
    /// HOST:PORT for clients, and for the server's own pages; absent: as its configuration says.
    pub listen: Option<String>,
    pub monitor: Option<String>,
    /// A nats.conf of the user's; absent: the one that is compiled in.
    pub conf: Option<PathBuf>,
    /// Open to other machines, by the keys that are listed in this folder.
    pub trust: Option<PathBuf>,
}

/// One engine and its agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    pub id: NodeId,
    /// Where its agent listens.
    pub listen: SocketAddr,
    pub engine: Engine,
    /// How many answers at a time; absent: the agent asks its engine.
    pub slots: Option<u32>,
}

/// An engine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Engine {
    /// Which API it speaks: the agent's `--engine`.
    pub api: Api,
    #[serde(with = "as_text")]
    pub url: Url,
    pub from: From,
    /// What it must serve before the mesh is ready; absent: whatever it has.
    pub model: Option<String>,
    /// Where its key is, if it is one that the user has named and that may want one.
    pub key_file: Option<PathBuf>,
}

/// The two APIs that agents speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Api {
    Ollama,
    Openai,
}

impl Api {
    /// As the agent's `--engine` spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ollama => "ollama",
            Self::Openai => "openai",
        }
    }
}

impl Node {
    /// What distinguishes it: `a` of `node-a`.
    fn short(&self) -> &str {
        let id = self.id.as_str();
        id.strip_prefix("node-").unwrap_or(id)
    }

    /// The name of its agent among the parts.
    pub fn agent(&self) -> String {
        format!("agent-{}", self.short())
    }

    /// The name of its engine among the parts.
    pub fn engine(&self) -> String {
        format!("engine-{}", self.short())
    }
}

/// Where an engine comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum From {
    /// It answers already, and is left alone at the end.
    Found,
    /// `ollama serve` with the models of this folder.
    Ollama { store: PathBuf },
    /// llama.cpp's server with a small model, fetched where it is missing.
    Embedded,
}

impl fmt::Display for Plan {
    /// As `up --dry-run` says it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n", self.why)?;
        for node in &self.nodes {
            let engine = &node.engine;
            let from = match &engine.from {
                From::Found => "answers already".to_owned(),
                From::Ollama { store } => format!("ollama serve, models in {}", store.display()),
                From::Embedded => "llama.cpp, started here".to_owned(),
            };
            let slots = node.slots.map(|slots| format!(", {slots} at a time")).unwrap_or_default();
            let (api, url) = (engine.api.as_str(), shown(&engine.url));
            writeln!(
                f,
                "  {:<13} {api} at {url} ({from}), agent at {}{slots}",
                node.id.to_string(),
                node.listen
            )?;
        }
        match &self.mesh {
            Mesh::Own(own) => own.fmt(f),
            Mesh::Joined(joined) => write!(f, "  {:<13} {}", "mesh", joined.nats),
        }
    }
}

impl Own {
    /// Whether clients of the edge need keys: where other machines reach it, and where somebody has made some.
    pub fn wants_keys(&self, place: &Place) -> bool {
        !self.open_lan && (!self.edge.ip().is_loopback() || local::are_there(&place.run))
    }
}

impl fmt::Display for Own {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let open = if self.open_lan { ", open to everybody on the network (--open-lan)" } else { "" };
        writeln!(f, "  {:<13} {}://{}{open}", "edge", self.scheme(), self.edge)?;
        let default = self.model.as_deref().unwrap_or("whatever a node serves");
        writeln!(f, "  {:<13} tasks that name no model get {default}", "orchestrator")?;
        let conf =
            self.broker.conf.as_deref().map(|conf| format!(", {}", conf.display())).unwrap_or_default();
        let listen = self.broker.listen.as_deref().unwrap_or_default();
        let monitor = self.broker.monitor.as_deref().unwrap_or_default();
        write!(f, "  {:<13} nats://{listen}, monitor http://{monitor}{conf}", "broker")
    }
}

/// A URL in JSON.
mod as_text {
    use reqwest::Url;
    use serde::de::{Deserialize, Deserializer, Error};
    use serde::ser::Serializer;

    pub fn serialize<S: Serializer>(url: &Url, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(url.as_str())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Url, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}
