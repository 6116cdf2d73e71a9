//! The systems by name.

use clap::ValueEnum;
use serde::Serialize;

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
    /// The mesh of another state of the project, through its own routes.
    MeshBefore,
}

impl Kind {
    pub const ALL: [Self; 9] = [
        Self::Direct,
        Self::Nginx,
        Self::Haproxy,
        Self::VllmRouter,
        Self::SglangRouter,
        Self::Litellm,
        Self::Mesh,
        Self::MeshOpenai,
        Self::MeshBefore,
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
            Self::MeshBefore => "mesh-before",
        }
    }

    pub fn is_mesh(self) -> bool {
        matches!(self, Self::Mesh | Self::MeshOpenai | Self::MeshBefore)
    }
}
