//! The engines of a mesh: what they need is fetched, they are started, and each has to answer and serve its model.

use anyhow::{Result, bail};

use super::Mesh;
use crate::supervise::{Kind, Spec};
use crate::up::address::shown;
use crate::up::engine_command::Start;

impl Mesh<'_> {
    /// Comes back when all engines are ready. A signal, or the end of one of them, ends the start.
    pub(super) async fn start_engines(&mut self) -> Result<()> {
        let plan = self.plan.clone();
        let starts = tokio::select! {
            biased;
            () = self.signals.next() => bail!("interrupted before the mesh was up"),
            starts = plan.engine_starts(&self.place, self.voice) => starts?,
        };
        for (node, start) in plan.nodes.iter().zip(starts) {
            let Some(Start { program, args, env }) = start else { continue };
            let env = env.into_iter().map(|(name, value)| (name, Some(value))).collect();
            self.add(Spec { name: node.engine(), program, args, env, scratch: None, kind: Kind::Foreign })
                .await?;
        }
        for node in &plan.nodes {
            let what = format!("{} to answer at {}", node.engine(), shown(&node.engine.url));
            self.voice.waits(format!("Waiting for {what}"), "");
            tokio::select! {
                biased;
                () = self.signals.next() => bail!("interrupted before the mesh was up"),
                event = self.children.next() => return Err(self.died(&event, &what)),
                ready = node.engine_ready(plan.pull, self.voice) => ready?,
            }
        }
        Ok(())
    }
}
