//! A whole mesh for a test: the real broker, the real programs, scripted engines; killed, paused and restarted at will,
//! and gone on drop.

pub mod binaries;
mod broker;
mod builder;
mod cluster;
mod engine;
mod keyed;
mod lan;
pub mod logs;
mod node;
mod observer;
mod ports;
mod program;
mod real;
pub mod spawn;
mod until;

use std::{path::Path, time::Duration};

use futures::future::join_all;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::SemaphorePermit;

pub use broker::{Broker, Keys};
pub use builder::{Builder, Site};
pub use engine::EngineProgram;
pub use keyed::{add_key, keyed_edge, keys};
pub use lan::Lan;
pub use logs::Line;
pub use node::{Node, Which};
pub use observer::Observer;
pub use ports::free_ports;
pub use program::Program;
pub use real::RealEngine;
pub use until::{PATIENCE, holds, soon, until, until_within};

use cluster::Cluster;

use crate::client::{Client, Stream};
use crate::proxy::Mode;
use echo_scripted_engine::Engine;

/// Log lines of each process that a failed test shows.
const SHOWN: usize = 80;

pub struct Mesh {
    // Fields are dropped in this order: users first, the broker last.
    edges: Vec<Program>,
    nodes: Vec<Node>,
    orchestrators: Vec<Program>,
    pub broker: Broker,
    /// The servers beside the first, where there are several.
    servers: Vec<Broker>,
    cluster: Cluster,
    folder: TempDir,
    _turn: SemaphorePermit<'static>,
}

impl Mesh {
    /// Two nodes with one slot, one orchestrator, one edge, unless said otherwise; started when awaited.
    #[allow(clippy::new_ret_no_self)]
    pub fn start() -> Builder {
        Builder::default()
    }

    /// The first edge, as a user sees it.
    pub fn client(&self) -> Client {
        self.client_of(0)
    }

    pub fn client_of(&self, edge: usize) -> Client {
        Client::new(self.edges[edge].address())
    }

    /// Streams the answer to a prompt.
    pub fn ask(&self, prompt: &str) -> Stream {
        self.stream(&json!({ "prompt": prompt }))
    }

    /// The same with every field in the caller's hand.
    pub fn stream(&self, body: &Value) -> Stream {
        Stream::open(self.client().post("/task/stream", body))
    }

    /// `POST /task`: the status and the answer.
    ///
    /// # Panics
    /// When there is no answer.
    pub async fn task(&self, body: &Value) -> (u16, Value) {
        let reply = self.client().post("/task", body).send().await.expect("an answer to POST /task");
        (reply.status(), reply.json().await)
    }

    /// `GET /status` of the first edge; the error as text while there is none.
    ///
    /// # Errors
    /// When the edge does not answer with 200.
    pub async fn try_status(&self) -> Result<Value, String> {
        let reply = self.client().get("/status").send().await.map_err(|error| error.to_string())?;
        match reply.status() {
            200 => Ok(reply.json().await),
            other => Err(format!("status {other}: {}", reply.text().await)),
        }
    }

    /// `GET /status` of the first edge.
    ///
    /// # Panics
    /// When it does not answer with 200.
    pub async fn status(&self) -> Value {
        self.try_status().await.expect("GET /status")
    }

    /// What `/status` says of one node; null if it says nothing.
    pub async fn seen(&self, node: &str) -> Value {
        let status = self.try_status().await.unwrap_or_default();
        let nodes = status["nodes"].as_array().cloned().unwrap_or_default();
        nodes.into_iter().find(|seen| seen["node_id"] == node).unwrap_or_default()
    }

    /// Waits until `/status` shows this node with this status.
    pub async fn node_is(&self, node: &str, status: &str) {
        until(&format!("{node} to be {status}"), || async {
            let seen = self.seen(node).await;
            holds(seen["status"] == status, seen)
        })
        .await;
    }

    /// The id of the node whose engine is at work; waits for one.
    pub async fn worker(&self) -> String {
        until("an engine to work", || async {
            for node in &self.nodes {
                if node.working().await > 0 {
                    return Ok(node.id().to_owned());
                }
            }
            Err("nobody works")
        })
        .await
    }

    /// Waits until every node is idle with no task, and no engine works.
    pub async fn is_quiet(&self) {
        self.is_quiet_within(PATIENCE).await;
    }

    /// The same with a limit that is itself the claim.
    pub async fn is_quiet_within(&self, limit: Duration) {
        until_within(limit, "every slot to be free", || async {
            let status = self.try_status().await?;
            let nodes = status["nodes"].as_array().cloned().unwrap_or_default();
            let idle = nodes.iter().all(|node| node["active_tasks"] == 0);
            let working: u64 = join_all(self.nodes.iter().map(Node::working)).await.into_iter().sum();
            holds(idle && working == 0, format!("{working} at the engines, {status}"))
        })
        .await;
    }

    pub async fn until<T, E, F>(&self, what: &str, ask: impl FnMut() -> F) -> T
    where
        E: std::fmt::Display,
        F: Future<Output = Result<T, E>>,
    {
        until(what, ask).await
    }

    /// A node by its number or its id.
    ///
    /// # Panics
    /// When there is none.
    pub fn node(&self, which: impl Which) -> &Node {
        which.of(&self.nodes)
    }

    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    pub fn orchestrator(&self, number: usize) -> &Program {
        &self.orchestrators[number]
    }

    /// How many edges there are.
    pub fn edges(&self) -> usize {
        self.edges.len()
    }

    pub fn edge(&self, number: usize) -> &Program {
        &self.edges[number]
    }

    /// The scripted engine behind a node.
    pub fn engine(&self, which: impl Which) -> &Engine {
        self.node(which).engine()
    }

    /// A server of the cluster; the first is the [`Mesh::broker`], and the second site's is the last.
    pub fn server(&self, number: usize) -> &Broker {
        self.servers().nth(number).unwrap_or_else(|| panic!("no server {number}"))
    }

    pub fn servers(&self) -> impl Iterator<Item = &Broker> {
        std::iter::once(&self.broker).chain(&self.servers)
    }

    /// The server that a part has connected to last.
    pub fn server_of(&self, part: &Program) -> Option<usize> {
        let port = part.server_port();
        self.servers().position(|server| Some(server.address().port()) == port)
    }

    /// Cuts or heals the routes between two servers.
    pub async fn route(&self, a: usize, b: usize, mode: Mode) {
        self.cluster.between(a, b, mode).await;
    }

    /// Cuts or heals the link between the two sites.
    pub async fn link(&self, mode: Mode) {
        self.cluster.link(mode).await;
    }

    /// Waits until each server reaches each other.
    pub async fn is_linked(&self) {
        self.cluster.is_linked().await;
    }

    /// Somebody without a login who watches everything that he may.
    pub async fn observer(&self) -> Observer {
        Observer::watch(&self.broker.url(), ">").await
    }

    /// A folder that lives as long as the mesh.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Everything that runs, the broker first.
    pub fn programs(&self) -> impl Iterator<Item = &Program> {
        let servers = self.servers().map(|server| -> &Program { server });
        let agents = self.nodes.iter().map(|node| -> &Program { node });
        servers.chain(&self.orchestrators).chain(agents).chain(&self.edges)
    }
}

impl Drop for Mesh {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for program in self.programs() {
                eprintln!("==== {}\n{}", program.name(), program.logs().tail(SHOWN));
            }
        }
    }
}
