//! The systems by name.

use clap::ValueEnum;
use serde::Serialize;

use crate::client::Dialect;

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
    /// The same with a key for each part and TLS on the bus. Its edge speaks plain HTTP as that of the other does, so
    /// that the difference is what the bus costs.
    MeshKeys,
    /// The mesh through `/v1/chat/completions`.
    MeshOpenai,
    /// The mesh of another state of the project, through its own routes.
    MeshBefore,
}

impl Kind {
    pub const ALL: [Self; 10] = [
        Self::Direct,
        Self::Nginx,
        Self::Haproxy,
        Self::VllmRouter,
        Self::SglangRouter,
        Self::Litellm,
        Self::Mesh,
        Self::MeshKeys,
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
            Self::MeshKeys => "mesh-keys",
            Self::MeshOpenai => "mesh-openai",
            Self::MeshBefore => "mesh-before",
        }
    }

    pub fn is_mesh(self) -> bool {
        matches!(self, Self::Mesh | Self::MeshKeys | Self::MeshOpenai | Self::MeshBefore)
    }

    /// How its clients ask. A mesh is asked through its own routes, whichever it is.
    pub fn dialect(self) -> Dialect {
        match self {
            Self::Mesh | Self::MeshKeys | Self::MeshBefore => Dialect::Task,
            _ => Dialect::OpenAi,
        }
    }

    /// Every other time the other way round: who comes second finds the machine as the first has left it.
    pub fn in_turns(kinds: &[Self], repetition: usize) -> Vec<Self> {
        let mut kinds = kinds.to_vec();
        if repetition.is_multiple_of(2) {
            kinds.reverse();
        }
        kinds
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn meshes_that_are_compared_are_asked_alike() {
        for kind in [Kind::MeshKeys, Kind::MeshBefore] {
            assert_eq!(kind.dialect(), Kind::Mesh.dialect(), "{}", kind.name());
        }
        assert_eq!(Kind::MeshOpenai.dialect(), Kind::Direct.dialect());
    }

    #[test]
    fn whoever_is_first_comes_last_the_next_time() {
        let kinds = [Kind::Mesh, Kind::MeshKeys];
        assert_eq!(Kind::in_turns(&kinds, 1), kinds);
        assert_eq!(Kind::in_turns(&kinds, 2), [Kind::MeshKeys, Kind::Mesh]);
    }
}
