//! What a node says of itself, every second and when it changes.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::capability::Capability;
use super::load_options::LoadOptions;
use super::paused::Paused;
use super::pulse::Held;
use super::skip::is_default;
use crate::id::{BootId, NodeId, SiteName};

/// The state of a node. The registry is made of these and of nothing else.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Heartbeat {
    pub node: NodeId,
    pub boot: BootId,
    /// Counts this boot's heartbeats, from 1.
    pub number: u64,
    pub status: NodeStatus,
    /// Why the node is unavailable or draining, as a sentence; empty otherwise, and of an older agent that drains.
    #[serde(default, skip_serializing_if = "is_default")]
    pub reason: String,
    /// Whose doing it is that the node drains; absent otherwise, and of an older agent.
    #[serde(default, skip_serializing_if = "is_default")]
    pub paused: Option<Paused>,
    /// What the machine's owner gives to others, a sentence for each thing that was set: `offers 2 of 4 slots`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub limits: Vec<String>,
    /// The attempts that occupy a slot, all of them: the number of active tasks is the length of this list.
    pub active: Vec<Held>,
    /// How far the attempts of `active` are, in the same order; empty from an agent that does not tell.
    #[serde(default, skip_serializing_if = "is_default")]
    pub progress: Vec<Progress>,
    pub slots: u32,
    /// All models of the engine; left out while they have not changed, but not of two regular beats in a row, so that
    /// a restarted orchestrator knows the mesh within the time of two, or two and a quarter on a busy node.
    #[serde(default, skip_serializing_if = "is_default")]
    pub models: Option<Vec<Model>>,
    pub engine: Engine,
    pub memory: Space,
    /// Bytes that the engine has for models; 0 when unknown.
    #[serde(default, skip_serializing_if = "is_default")]
    pub model_memory: u64,
    pub disk: Space,
    /// Where the agent serves /health, /metrics, /drain and /resume.
    pub agent_host: String,
    pub agent_port: u16,
    /// The agent's version.
    pub version: String,
    pub uptime_ms: u64,
    /// The operator allows pulls and deletes.
    #[serde(default, skip_serializing_if = "is_default")]
    pub model_management: bool,
    /// Where the node stands; absent where its owner has not said.
    #[serde(default, skip_serializing_if = "is_default")]
    pub site: Option<SiteName>,
}

/// What an agent reads of a heartbeat under its own node's id. Its own beats come back to it, with thousands of attempts
/// that it need not read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Namesake {
    pub node: NodeId,
    pub boot: BootId,
    pub number: u64,
    pub agent_host: String,
    pub agent_port: u16,
    pub uptime_ms: u64,
}

/// What a node can take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeStatus {
    /// Has a free slot.
    Idle,
    /// All slots are taken.
    Busy,
    /// Finishes what it has and takes nothing new.
    Draining,
    /// Cannot use its engine; `reason` says why.
    #[serde(other)]
    Unavailable,
}

/// A model that a node serves.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Model {
    /// With its tag: `mistral:latest`.
    pub name: String,
    /// On disk, in bytes; 0 when the engine does not say.
    #[serde(default, skip_serializing_if = "is_default")]
    pub size: u64,
    /// In memory now.
    #[serde(default)]
    pub loaded: bool,
    /// Empty when the engine does not say.
    #[serde(default, skip_serializing_if = "is_default")]
    pub capabilities: Vec<Capability>,
    /// Measured on this node; absent until measured.
    #[serde(default, skip_serializing_if = "is_default")]
    pub tokens_per_second: Option<f64>,
    /// Decode speed of one answer by how many answer at once, ascending, 16 at most: as it was measured. Of a model that
    /// is not in memory and was not used for ten minutes only the first.
    #[serde(default, skip_serializing_if = "is_default")]
    pub speeds: Vec<Speed>,
    /// Tokens a second that one answer alone gets in the long run, which a slow hour hardly changes: what an old slow
    /// measurement goes back to.
    #[serde(default, skip_serializing_if = "is_default")]
    pub long_run: Option<f64>,
    /// Tokens of a prompt that are worked off in a second, those in the engine's cache not counted; absent until
    /// measured.
    #[serde(default, skip_serializing_if = "is_default")]
    pub prompt_tokens_per_second: Option<f64>,
    /// Tokens of the prompt for 1,000 bytes of its text, as [`Prefix`](super::Prefix) counts them; absent until measured.
    #[serde(default, skip_serializing_if = "is_default")]
    pub tokens_per_kb: Option<f64>,
    /// How long the newest 200 whole answers were: a count for each class of [`lengths`](super::lengths), zeros at the
    /// end left out.
    #[serde(default, skip_serializing_if = "is_default")]
    pub lengths: Vec<u16>,
    /// In memory when loaded, in bytes; 0 when unknown.
    #[serde(default, skip_serializing_if = "is_default")]
    pub memory: u64,
    /// How long a real load on this node takes: the least of the last eight; absent until one was seen.
    #[serde(default, skip_serializing_if = "is_default")]
    pub load_ms: Option<u64>,
    /// Why this node takes no task for this model now, though the engine answers; empty otherwise.
    #[serde(default, skip_serializing_if = "is_default")]
    pub unavailable: String,
    /// It is unavailable only until a trial that is under way has ended, which may take a load.
    #[serde(default, skip_serializing_if = "is_default")]
    pub tried: bool,
    /// The context of the model in memory, in tokens; absent when it is not there or the engine does not say.
    #[serde(default, skip_serializing_if = "is_default")]
    pub context_length: Option<u64>,
    /// The load-time options of the last task that this node ran with it: how it is in memory, or will be before long.
    /// Absent when it is not there, when others have changed it since, and where the engine has no such options.
    #[serde(default, skip_serializing_if = "is_default")]
    pub loaded_with: Option<LoadOptions>,
    /// The engine's own description (`digest`, `modified_at`, `details`, …).
    #[serde(default, skip_serializing_if = "is_default")]
    pub extra: Map<String, Value>,
}

impl Model {
    /// A model whose capabilities are unknown is taken to generate, and not to embed.
    pub fn can(&self, capability: &Capability) -> bool {
        if self.capabilities.is_empty() {
            return *capability == Capability::Completion;
        }
        self.capabilities.contains(capability)
    }
}

/// How fast one answer comes while so many are given at once, no prompt being worked off beside them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Speed {
    pub at_once: u32,
    pub tokens_per_second: f64,
    /// Since it was measured last.
    #[serde(default, skip_serializing_if = "is_default")]
    pub age_s: u64,
}

/// How far an attempt is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// As the engine names it.
    pub model: String,
    /// Made so far.
    #[serde(default, skip_serializing_if = "is_default")]
    pub tokens: u64,
    /// Nothing of the answer has come yet: it waits, loads, or its prompt is worked off.
    #[serde(default, skip_serializing_if = "is_default")]
    pub prompt: bool,
}

/// The engine behind an agent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Engine {
    /// `ollama` or `openai`.
    pub kind: String,
    #[serde(default, skip_serializing_if = "is_default")]
    pub version: String,
}

/// Bytes; zero when unknown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Space {
    pub total: u64,
    pub free: u64,
}
