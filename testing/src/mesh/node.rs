//! One node: its agent, and the scripted engine behind it.

use std::ops::Deref;

use super::Program;
use crate::{engine::Engine, proxy::Proxy};

pub struct Node {
    id: String,
    agent: Program,
    engine: Engine,
    /// Between the agent and the broker, where the test wants to misbehave there.
    bus: Option<Proxy>,
    /// Between the agent and its engine.
    wire: Option<Proxy>,
}

impl Node {
    pub fn new(id: String, agent: Program, engine: Engine, bus: Option<Proxy>, wire: Option<Proxy>) -> Self {
        Self { id, agent, engine, bus, wire }
    }

    pub fn id(&self) -> &str {
        &self.id
    }

    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The proxy between the agent and the broker.
    ///
    /// # Panics
    /// When the mesh was started without [`super::Builder::proxies`].
    pub fn bus(&self) -> &Proxy {
        self.bus.as_ref().expect("a mesh with proxies")
    }

    /// The proxy between the agent and its engine.
    ///
    /// # Panics
    /// When the mesh was started without [`super::Builder::proxies`].
    pub fn wire(&self) -> &Proxy {
        self.wire.as_ref().expect("a mesh with proxies")
    }

    /// Requests at the engine now.
    pub fn working(&self) -> u64 {
        let counters = self.engine.counters();
        counters.running + counters.waiting
    }
}

/// The agent's life is the node's.
impl Deref for Node {
    type Target = Program;

    fn deref(&self) -> &Program {
        &self.agent
    }
}

/// How a test names a node: by number or by id.
pub trait Which {
    fn of(self, nodes: &[Node]) -> &Node;
}

impl Which for usize {
    fn of(self, nodes: &[Node]) -> &Node {
        &nodes[self]
    }
}

impl Which for &str {
    fn of(self, nodes: &[Node]) -> &Node {
        nodes.iter().find(|node| node.id == self).unwrap_or_else(|| panic!("no node {self:?}"))
    }
}

impl Which for String {
    fn of(self, nodes: &[Node]) -> &Node {
        self.as_str().of(nodes)
    }
}

impl Which for &String {
    fn of(self, nodes: &[Node]) -> &Node {
        self.as_str().of(nodes)
    }
}
