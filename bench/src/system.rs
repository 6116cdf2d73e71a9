//! A system under load: what stands between the client and the engines, started for its turn and gone after it.

pub mod foreign;
mod haproxy;
mod kind;
mod litellm;
mod mesh;
mod nginx;
mod router;
mod running;

use std::path::Path;

use anyhow::Context;
use echo_testing::mesh::binaries;

pub use kind::Kind;
pub use mesh::bare_mesh;
pub use running::System;

use crate::engines::Engines;

impl Kind {
    /// Starts it over the engines and waits until both of them are reached through it. The mesh is told that each has
    /// so many slots; the others have no such thing. `before` has the programs of another state.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn start(
        self,
        engines: &Engines,
        slots: usize,
        before: Option<&Path>,
    ) -> anyhow::Result<System> {
        let system = match self {
            Self::Direct => System::new(self, engines.addresses().to_vec(), Vec::new(), ()),
            Self::Nginx => nginx::start(engines).await?,
            Self::Haproxy => haproxy::start(engines).await?,
            Self::VllmRouter | Self::SglangRouter => router::start(self, engines).await?,
            Self::Litellm => litellm::start(engines).await?,
            Self::Mesh | Self::MeshKeys | Self::MeshOpenai => mesh::start(self, engines, slots).await,
            Self::MeshBefore => {
                let before = before.context("no other state of the project is named")?;
                binaries::take_from(Some(before.to_owned()));
                let system = mesh::start(self, engines, slots).await;
                binaries::take_from(None);
                system
            }
        };
        system.answers().await.with_context(|| format!("{} does not answer", self.name()))?;
        system.warm_up(engines).await?;
        Ok(system)
    }
}
