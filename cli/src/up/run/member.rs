//! The nodes of a machine that has joined a mesh which runs elsewhere.

use std::time::Instant;

use anyhow::Result;
use echo_bus::id::NodeId;

use super::Mesh;
use crate::edge::Edge;
use crate::join::{arrival, member};
use crate::up::plan::Joined;

impl Mesh<'_> {
    /// Starts agents only, and comes back when the mesh lists their nodes as able to work.
    pub(super) async fn start_members(&mut self, joined: &Joined) -> Result<()> {
        let broker = format!("the broker at {}", joined.nats);
        self.voice.waits(format!("Waiting for {broker}"), "");
        let ids: Vec<NodeId> = self.plan.nodes.iter().map(|node| node.id.clone()).collect();
        self.watched(&broker, member::let_in(&joined.nats, joined.keys.as_deref(), &ids)).await?;
        let began = Instant::now();
        self.start_agents(&joined.nats).await?;
        let Some(agent) = self.record.nodes.first().map(|node| node.agent.clone()) else { return Ok(()) };
        let agent = Edge::own(agent.parse()?)?;
        let names: Vec<&str> = ids.iter().map(NodeId::as_str).collect();
        let what = format!("{} to be in the mesh", names.join(" and "));
        let arrived = self.until(&what, async || arrival::look(&agent, &ids, began.elapsed()).await).await?;
        arrived.lines().into_iter().for_each(|line| self.voice.says(line));
        if let Some(warning) = arrived.warning() {
            self.voice.warns(format!("warning: {warning}"));
        }
        Ok(())
    }
}
