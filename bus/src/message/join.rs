//! What a machine that wants to join, and whoever shows the code, say to each other.
//!
//! First a key is agreed on by SPAKE2, from the code's secret, which is never sent. Then each proves that it has the key, and
//! what matters travels encrypted by it. Anybody may say anything here, so everything has a bound.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::skip::is_default;
use crate::id::NodeId;
use crate::key::PublicKey;

/// The longest bytes in one field: much more than is ever sent.
const LONGEST: usize = 4096;

/// Bytes, as hexadecimal digits.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Hex(Vec<u8>);

/// Why a text is no bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("bytes are written as pairs of 0-9 a-f, {LONGEST} at most")]
pub struct InvalidHex;

impl Hex {
    /// The bytes themselves.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl From<Vec<u8>> for Hex {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl TryFrom<String> for Hex {
    type Error = InvalidHex;

    fn try_from(text: String) -> Result<Self, InvalidHex> {
        if text.len() > 2 * LONGEST || !text.len().is_multiple_of(2) {
            return Err(InvalidHex);
        }
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => Ok(byte - b'0'),
            b'a'..=b'f' => Ok(byte - b'a' + 10),
            _ => Err(InvalidHex),
        };
        let pair = |pair: &[u8]| Ok(digit(pair[0])? << 4 | digit(pair[1])?);
        text.as_bytes().chunks_exact(2).map(pair).collect::<Result<_, _>>().map(Self)
    }
}

impl From<Hex> for String {
    fn from(hex: Hex) -> Self {
        hex.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl fmt::Debug for Hex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hex({} bytes)", self.0.len())
    }
}

/// The machine that wants to join → whoever shows the code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
pub enum JoinRequest {
    /// The first half of the agreement on a key.
    Hello { pake: Hex },
    /// The proof of having the key, which covers `sealed`: a [`JoinWish`] under that key.
    Prove { exchange: Hex, proof: Hex, sealed: Hex },
    /// A word of a newer version.
    #[serde(other)]
    Unknown,
}

/// Whoever shows the code → the machine that wants to join.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum JoinAnswer {
    /// The other half; `exchange` names this agreement.
    Hello { exchange: Hex, pake: Hex },
    /// The proof of the inviter, which covers `sealed`: a [`JoinGrant`].
    Welcome { proof: Hex, sealed: Hex },
    /// No; nothing was given away.
    Refused {
        why: Refusal,
        /// Of `node_taken`: which.
        #[serde(default, skip_serializing_if = "is_default")]
        node: Option<NodeId>,
    },
    /// A word of a newer version.
    #[serde(other)]
    Unknown,
}

/// Why a machine may not join.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// The proof is wrong: the code's secret is another.
    WrongCode,
    /// Another machine has joined with it.
    Used,
    /// Its time is over.
    Old,
    /// Too many have guessed.
    Spoilt,
    /// A node of that id is in the mesh. The code is as good as before.
    NodeTaken,
    /// The broker does not take its keys, or does not answer. The code is as good as before.
    NotAdmitted,
    /// The exchange is not known (any more): begin anew.
    Forgotten,
    /// The request cannot be read, or what it asks is not known here.
    Unreadable,
    /// A word of a newer version.
    #[serde(other)]
    Unknown,
}

/// What a machine wants that has the code. Encrypted, it is in `prove`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinWish {
    /// The nodes that it will be, one for each engine.
    pub nodes: Vec<NodeId>,
    /// The keys of their agents, in the same order; absent from older machines.
    #[serde(default, skip_serializing_if = "is_default")]
    pub keys: Vec<PublicKey>,
    /// The version of its program.
    pub version: String,
}

/// All that a machine needs. Encrypted, it is in `welcome`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinGrant {
    /// Who signs the broker's certificate (PEM); absent where nothing is encrypted.
    #[serde(default, skip_serializing_if = "is_default")]
    pub authority: Option<String>,
    /// An edge of the mesh that can be reached from other machines.
    #[serde(default, skip_serializing_if = "is_default")]
    pub edge: Option<String>,
    /// The version of the inviter's program.
    pub version: String,
}
