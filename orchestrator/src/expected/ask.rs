//! What a task asks of a node.

use std::sync::Arc;

use super::cache::Prompt;
use super::models::Id;

/// Its model, its prompt, and how long its answer is expected to be.
#[derive(Debug, Clone)]
pub struct Ask {
    pub model: Id,
    pub prompt: Arc<Prompt>,
    /// Tokens that its answer is expected to have.
    pub tokens: f64,
    /// Seconds it has waited, here and before.
    pub waited: f64,
    /// Seconds it may still wait.
    pub left: f64,
}
