//! Which engines the nodes get: those that answer, Ollama, or the embedded one. What was found and what was set goes in,
//! a choice or a sentence comes out; `probe` and `store` look, `pull` brings what is missing.

pub mod facts;
pub mod local;
pub mod per_node;
pub mod probe;
pub mod pull;
pub mod started;
pub mod store;
