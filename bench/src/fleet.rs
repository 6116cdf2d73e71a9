//! Nodes that exist only by what they say: heartbeats as agents send them.

use std::time::Duration;

use anyhow::Context;
use echo_bus::{
    Bus,
    client::Options,
    id::Role,
    message::{Heartbeat, MeshStatus},
    subject,
};
use serde_json::json;
use tokio::{
    task::JoinHandle,
    time::{Instant, MissedTickBehavior, interval},
};

/// Models of each node, so many as people have.
const MODELS: usize = 20;
/// Each node beats once in this time.
const EVERY: Duration = Duration::from_secs(1);
/// A second's beats leave in so many portions, as nodes do not beat in step.
const PORTIONS: u32 = 100;
const PATIENCE: Duration = Duration::from_secs(20);

/// The heartbeat of an idle node. As agents do it, only every other one lists the models.
///
/// # Errors
/// When the bus knows no such heartbeat.
pub fn heartbeat(node: usize, number: u64) -> anyhow::Result<Heartbeat> {
    let mut beat = json!({
        "node": format!("node-{node}"), "boot": "b1", "number": number, "status": "idle", "active": [], "slots": 4,
        "engine": {"kind": "ollama", "version": "0.33"}, "agent_host": "127.0.0.1", "agent_port": 9001,
        "memory": {"total": 64_000_000_000_u64, "free": 32_000_000_000_u64 + node as u64 * 1_000_000},
        "disk": {"total": 1, "free": 1}, "version": "0.1.0", "uptime_ms": number * 1_000,
    });
    if number % 2 == 1 {
        beat["models"] = (0..MODELS).map(|model| one_model(model, node)).collect();
    }
    serde_json::from_value(beat).context("a heartbeat of the fleet cannot be read")
}

fn one_model(model: usize, node: usize) -> serde_json::Value {
    json!({"name": format!("model-{model}:latest"), "size": 4_000_000_000_u64, "loaded": model == 7,
        "capabilities": ["completion", "tools"], "tokens_per_second": 40.0 + node as f64 % 17.0,
        "extra": {"digest": "0123456789abcdef", "details": {"family": "llama", "parameter_size": "7B"}}})
}

/// A fleet that beats. Dropping it silences all nodes.
pub struct Fleet {
    bus: Bus,
    beating: JoinHandle<anyhow::Result<()>>,
}

impl Fleet {
    /// Lets so many nodes beat, and waits until the orchestrator knows all of them.
    ///
    /// # Errors
    /// When it does not.
    pub async fn start(url: &str, nodes: usize) -> anyhow::Result<Self> {
        let id = "bench".parse()?;
        let bus =
            Bus::connect(Options { url: url.to_owned(), role: Role::Agent, id, access: Default::default() })
                .await?;
        let beating = tokio::spawn(beat(bus.clone(), nodes));
        let fleet = Self { bus, beating };
        let start = Instant::now();
        while fleet.known().await? < nodes {
            anyhow::ensure!(start.elapsed() < PATIENCE, "the orchestrator does not learn of {nodes} nodes");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(fleet)
    }

    /// Nodes that the orchestrator knows now.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn known(&self) -> anyhow::Result<usize> {
        if self.beating.is_finished() {
            anyhow::bail!("the fleet has fallen silent");
        }
        let empty = echo_bus::message::Empty {};
        let status: MeshStatus = self.bus.call(&subject::status(), &empty, Duration::from_secs(5)).await?;
        Ok(status.node_count)
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.beating.abort();
    }
}

async fn beat(bus: Bus, nodes: usize) -> anyhow::Result<()> {
    let mut beats = [Vec::new(), Vec::new()];
    for node in 0..nodes {
        beats[0].push(heartbeat(node, 1)?);
        beats[1].push(heartbeat(node, 2)?);
    }
    let mut tick = interval(EVERY / PORTIONS);
    tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
    for portion in 0_usize.. {
        tick.tick().await;
        let round = portion / PORTIONS as usize;
        let beats = &mut beats[round % 2];
        let place = |portion: usize| nodes * portion / PORTIONS as usize;
        let now = portion % PORTIONS as usize;
        for beat in &mut beats[place(now)..place(now + 1)] {
            beat.number = round as u64 + 1;
            bus.publish(&subject::heartbeat(&beat.node), beat).await?;
        }
    }
    Ok(())
}
