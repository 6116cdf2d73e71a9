//! Where an engine is, and which API it speaks.

use std::path::PathBuf;
use std::time::Duration;

use reqwest::Url;

/// Which API an engine speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// Ollama's own API.
    Ollama,
    /// OpenAI's API: llama.cpp's server, vLLM, LM Studio.
    Openai,
}

impl Kind {
    /// The word in heartbeats.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ollama => "ollama",
            Self::Openai => "openai",
        }
    }
}

/// Where the engine is.
#[derive(Debug, Clone)]
pub struct Address {
    pub kind: Kind,
    pub url: Url,
    /// Holds the bearer token, for engines that want one.
    pub key_file: Option<PathBuf>,
    /// The longest time that an engine may load a model.
    pub load_timeout: Duration,
}
