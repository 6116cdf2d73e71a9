//! One node: its agent, and the scripted engine behind it.

use std::{collections::HashMap, ops::Deref};

use super::{EngineProgram, Program};
use crate::proxy::Proxy;
use echo_scripted_engine::{Engine, Times};

/// The scripted engine of a node: in the test's own process, or in one of its own.
pub enum Behind {
    Own(Engine),
    Program(EngineProgram),
}

impl Behind {
    pub fn url(&self) -> String {
        match self {
            Self::Own(engine) => engine.url(),
            Self::Program(engine) => engine.url(),
        }
    }
}

pub struct Node {
    id: String,
    agent: Program,
    engine: Behind,
    /// Between the agent and the broker, where the test wants to misbehave there.
    bus: Option<Proxy>,
    /// Between the agent and its engine.
    wire: Option<Proxy>,
}

impl Node {
    pub fn new(id: String, agent: Program, engine: Behind, bus: Option<Proxy>, wire: Option<Proxy>) -> Self {
        Self { id, agent, engine, bus, wire }
    }

    pub fn id(&self) -> &str {
        &self.id
    }

    /// The engine in the test's own process.
    ///
    /// # Panics
    /// When the mesh was started with [`super::Builder::engine_programs`].
    pub fn engine(&self) -> &Engine {
        match &self.engine {
            Behind::Own(engine) => engine,
            Behind::Program(_) => panic!("the engine of {} is a process of its own", self.id),
        }
    }

    /// The engine that is a process of its own.
    ///
    /// # Panics
    /// When the mesh was started without [`super::Builder::engine_programs`].
    pub fn engine_program(&self) -> &EngineProgram {
        match &self.engine {
            Behind::Program(engine) => engine,
            Behind::Own(_) => panic!("the engine of {} is no process of its own", self.id),
        }
    }

    /// What the engine has seen of each numbered task.
    pub async fn ledger(&self) -> HashMap<u64, Times> {
        match &self.engine {
            Behind::Own(engine) => engine.ledger(),
            Behind::Program(engine) => engine.ledger().await,
        }
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

    /// Requests at the engine now; none if it is dead.
    pub async fn working(&self) -> u64 {
        let counters = match &self.engine {
            Behind::Own(engine) => engine.counters(),
            Behind::Program(engine) => engine.counters().await.unwrap_or_default(),
        };
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
