//! What the caches of a node's engine hold. It says nothing of a text to who does not have that text; still only the
//! parts may read it, since a hash would tell a guess from a miss.

use serde::{Deserialize, Serialize};

use super::pulse::Held;
use super::skip::is_default;
use crate::id::{BootId, NodeId};

/// Slots of a model that are mirrored; one with more has no mirror.
pub const SLOTS: usize = 64;
/// Texts aside that are told.
pub const ASIDE: usize = 16;

/// Agent → orchestrators: the agent's mirror of its engine's prompt caches. Told every five seconds, when it changes
/// (four times a second at most), and at once when an attempt has ended, before the heartbeat that tells of its slot.
/// Ends in a row are told fifty times a second at most, and less often the larger it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheDigest {
    pub node: NodeId,
    pub boot: BootId,
    /// The models in memory whose slots hold something.
    #[serde(default)]
    pub models: Vec<ModelCache>,
}

/// The slots of one model in memory.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelCache {
    /// With its tag: `mistral:latest`.
    pub model: String,
    #[serde(default)]
    pub slots: Vec<SlotCache>,
    /// Texts that have lost their slot and that the engine brings back in moments from the memory beside; told only if it
    /// was seen to do so.
    #[serde(default, skip_serializing_if = "is_default")]
    pub aside: Vec<SlotCache>,
}

/// One slot: the engine skips the part of a prompt that it has in common with what the slot holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotCache {
    /// The prompt and its answer as [`Prefix`](super::Prefix) has them: chained hashes of whole blocks, 128 at most.
    #[serde(default, skip_serializing_if = "is_default")]
    pub blocks: Vec<u64>,
    /// Tokens in the slot, of the prompt and the answer; 0 while an attempt runs in it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub tokens: u64,
    /// The mesh's attempt that runs in it, or has ended there within the last two seconds.
    #[serde(default, skip_serializing_if = "is_default")]
    pub attempt: Option<Held>,
    /// An attempt runs in it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub busy: bool,
    /// Since its last attempt ended; 0 while busy.
    #[serde(default, skip_serializing_if = "is_default")]
    pub idle_ms: u64,
    /// The same for all turns of one conversation (see [`Prefix`](super::Prefix)); 0 when it is too short.
    #[serde(default, skip_serializing_if = "is_default")]
    pub session: u64,
    /// Its last answer ended with a tool call: the conversation comes back soon.
    #[serde(default, skip_serializing_if = "is_default")]
    pub tool: bool,
}
