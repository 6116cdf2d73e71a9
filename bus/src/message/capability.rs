//! What a model can do.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Something that a model can do, in Ollama's words. A word of a newer version is kept and passed on as it is; no task can
/// need it here.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum Capability {
    Completion,
    Embedding,
    Vision,
    Tools,
    Thinking,
    /// Fills in what stands between a prompt and a suffix.
    Insert,
    Other(String),
}

impl Capability {
    /// Those that a task may need.
    pub const KNOWN: &'static [Self] =
        &[Self::Completion, Self::Embedding, Self::Vision, Self::Tools, Self::Thinking, Self::Insert];

    /// The word for it.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Completion => "completion",
            Self::Embedding => "embedding",
            Self::Vision => "vision",
            Self::Tools => "tools",
            Self::Thinking => "thinking",
            Self::Insert => "insert",
            Self::Other(word) => word,
        }
    }
}

impl From<&str> for Capability {
    fn from(word: &str) -> Self {
        let known = Self::KNOWN.iter().find(|known| known.as_str() == word);
        known.cloned().unwrap_or_else(|| Self::Other(word.to_owned()))
    }
}

impl From<String> for Capability {
    fn from(word: String) -> Self {
        let known = Self::KNOWN.iter().find(|known| known.as_str() == word);
        known.cloned().unwrap_or(Self::Other(word))
    }
}

impl From<Capability> for String {
    fn from(it: Capability) -> Self {
        match it {
            Capability::Other(word) => word,
            known => known.as_str().to_owned(),
        }
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
