//! Which machines may get onto the bus: asked of the broker's part, which keeps the list.

use serde::{Deserialize, Serialize};

use crate::id::NodeId;
use crate::key::PublicKey;
use crate::permission::Machine;
use crate::subject::Duty;

/// Operator → the broker's part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
pub enum MachinesRequest {
    /// Who may get in.
    List,
    /// Let these keys in, all of them or none. In force when the answer comes.
    Admit { keys: Vec<NewKey> },
    /// Cut off, at once, whoever has one of these names.
    Revoke { names: Vec<String> },
    /// A word of a newer version.
    #[serde(other)]
    Unknown,
}

/// A key that asks to be let in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewKey {
    pub name: String,
    pub duty: Duty,
    /// Of an agent: its node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeId>,
    pub key: PublicKey,
}

/// The broker's part → operator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum MachinesAnswer {
    /// Who may get in now.
    Machines { machines: Vec<Machine> },
    /// No, and nothing was changed; `why` is a sentence.
    Refused { why: String },
    /// A word of a newer version.
    #[serde(other)]
    Unknown,
}
