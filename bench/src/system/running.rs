//! A system that runs, whichever it is.

use std::{any::Any, net::SocketAddr, time::Duration};

use anyhow::bail;

use super::kind::Kind;
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
    pub fn new(kind: Kind, targets: Vec<SocketAddr>, roots: Vec<(String, i32)>, running: impl Any) -> Self {
        Self { kind, targets, roots, _running: Box::new(running) }
    }

    pub fn dialect(&self) -> Dialect {
        self.kind.dialect()
    }

    /// What its processes have used so far.
    pub fn usage(&self) -> Usage {
        process::usage(&self.roots)
    }

    pub async fn answers(&self) -> anyhow::Result<()> {
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
    pub async fn warm_up(&self, engines: &Engines) -> anyhow::Result<()> {
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
