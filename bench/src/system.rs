//! A system under load: what stands between the client and the engines, started for its turn and gone after it.

pub mod foreign;
mod haproxy;
mod litellm;
mod mesh;
mod nginx;
mod router;

use std::{any::Any, net::SocketAddr, time::Duration};

use anyhow::{Context, bail};
use clap::ValueEnum;
use serde::Serialize;

pub use mesh::bare_mesh;

use crate::{
    client::{Dialect, request::Ask},
    engines::Engines,
    load::{Amount, Load},
    process::{self, Usage},
};

/// LiteLLM takes half a minute to import itself on a busy machine.
const START: Duration = Duration::from_secs(120);
const PAUSE: Duration = Duration::from_millis(50);
/// Long enough for pools and caches to fill.
const WARM_UP: Duration = Duration::from_millis(500);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// No system: the clients ask the engines themselves, each its own one.
    Direct,
    Nginx,
    Haproxy,
    VllmRouter,
    SglangRouter,
    Litellm,
    /// The mesh through `/task/stream` and `/task`.
    Mesh,
    /// The mesh through `/v1/chat/completions`.
    MeshOpenai,
}

impl Kind {
    pub const ALL: [Self; 8] = [
        Self::Direct,
        Self::Nginx,
        Self::Haproxy,
        Self::VllmRouter,
        Self::SglangRouter,
        Self::Litellm,
        Self::Mesh,
        Self::MeshOpenai,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
            Self::VllmRouter => "vllm-router",
            Self::SglangRouter => "sglang-router",
            Self::Litellm => "litellm",
            Self::Mesh => "mesh",
            Self::MeshOpenai => "mesh-openai",
        }
    }

    pub fn is_mesh(self) -> bool {
        matches!(self, Self::Mesh | Self::MeshOpenai)
    }

    /// Starts it over the engines and waits until both of them are reached through it. The mesh is told that each has
    /// so many slots; the others have no such thing.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn start(self, engines: &Engines, slots: usize) -> anyhow::Result<System> {
        let system = match self {
            Self::Direct => System::new(self, engines.addresses().to_vec(), Vec::new(), ()),
            Self::Nginx => nginx::start(engines).await?,
            Self::Haproxy => haproxy::start(engines).await?,
            Self::VllmRouter | Self::SglangRouter => router::start(self, engines).await?,
            Self::Litellm => litellm::start(engines).await?,
            Self::Mesh | Self::MeshOpenai => mesh::start(self, engines, slots).await,
        };
        system.answers().await.with_context(|| format!("{} does not answer", self.name()))?;
        system.warm_up(engines).await?;
        Ok(system)
    }
}

/// A system that runs. Dropping it ends its processes.
pub struct System {
    pub kind: Kind,
    /// Where clients connect; they take turns where there are several.
    pub targets: Vec<SocketAddr>,
    /// Its processes by name; their children are found when they are looked at.
    roots: Vec<(String, i32)>,
    _running: Box<dyn Any>,
}

impl System {
    fn new(kind: Kind, targets: Vec<SocketAddr>, roots: Vec<(String, i32)>, running: impl Any) -> Self {
        Self { kind, targets, roots, _running: Box::new(running) }
    }

    pub fn dialect(&self) -> Dialect {
        if self.kind == Kind::Mesh { Dialect::Task } else { Dialect::OpenAi }
    }

    /// What its processes have used so far.
    pub fn usage(&self) -> Usage {
        process::usage(&self.roots)
    }

    async fn answers(&self) -> anyhow::Result<()> {
        let ask = Ask { tokens: 1, delay: 0, stream: false };
        let start = std::time::Instant::now();
        loop {
            let load = Load {
                clients: self.targets.len(),
                spread: Duration::ZERO,
                amount: Amount::Requests(self.targets.len()),
                ask,
            };
            let outcome = load.run(&self.targets, self.dialect()).await?;
            if outcome.good() == self.targets.len() as u64 {
                return Ok(());
            }
            if start.elapsed() > START {
                bail!("not after {START:?}: {}", outcome.messages.join("; "));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// A short load, after which both engines must have had work: a system that uses one of them is set up wrongly.
    async fn warm_up(&self, engines: &Engines) -> anyhow::Result<()> {
        let before = started(engines).await?;
        let ask = Ask { tokens: 8, delay: 1, stream: true };
        let load = Load { clients: 32, spread: Duration::ZERO, amount: Amount::Time(WARM_UP), ask };
        let outcome = load.run(&self.targets, self.dialect()).await?;
        let after = started(engines).await?;
        if before.iter().zip(&after).any(|(before, after)| before == after) {
            bail!(
                "{} has used one engine only ({before:?} before, {after:?} after {} answers): {}",
                self.kind.name(),
                outcome.good(),
                outcome.messages.join("; ")
            );
        }
        Ok(())
    }
}

async fn started(engines: &Engines) -> anyhow::Result<Vec<u64>> {
    let mut started = Vec::new();
    for engine in &engines.engines {
        started.push(engine.counters().await?.started);
    }
    Ok(started)
}
