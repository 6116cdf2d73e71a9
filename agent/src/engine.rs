//! What an agent wants from an engine, whatever its dialect: to be asked how it is, and to run one request as a stream.

#[cfg(test)]
mod any;
mod calls;
mod continuation;
mod http;
mod lines;
pub mod liveness;
pub mod ollama;
pub mod openai;
mod rest;
mod steps;
#[cfg(test)]
mod tests;
pub mod verdict;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use echo_bus::message::{Done, Failure, Model, Piece, Request, SoFar};
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use reqwest::Url;

pub use http::BuildError;
pub(crate) use steps::unfinished;

/// Where a model's description holds what its engine says of it only while it is loaded (`expires_at`, …).
pub(crate) const RUNNING: &str = "running";

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

/// The engine at an address.
///
/// # Errors
/// When the HTTP client cannot be made or the key cannot be read.
pub fn connect(address: &Address) -> Result<Arc<dyn Engine>, BuildError> {
    let http = http::Http::new(address)?;
    Ok(match address.kind {
        Kind::Ollama => Arc::new(ollama::Ollama::new(http)),
        Kind::Openai => Arc::new(openai::OpenAi::new(http, address.load_timeout)),
    })
}

/// One engine behind one agent.
pub trait Engine: Send + Sync {
    /// Asks how it is and what it serves. Bounded in time.
    fn probe(&self) -> BoxFuture<'_, Result<Probe, Down>>;

    /// Looks for a sign of life while a task waits. Bounded in time.
    fn sign(&self, model: String) -> BoxFuture<'static, Sign>;

    /// Runs one request. The stream ends with `Done` or an error; dropping it closes the connection to the engine.
    fn run(&self, order: Order) -> BoxStream<'static, Result<Step, Failure>>;
}

/// What to run.
#[derive(Debug, Clone)]
pub struct Order {
    pub request: Request,
    /// The model in the engine's own words.
    pub model: String,
    pub so_far: Option<SoFar>,
}

/// One thing that an engine did.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// It works, and there is nothing to show.
    Alive,
    Piece(Piece),
    Done(Box<Done>),
}

/// What an engine says of itself.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Probe {
    pub version: String,
    /// How many tasks it runs at once, if it says so.
    pub slots: Option<u32>,
    pub models: Vec<Found>,
}

/// A model that an engine has.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Found {
    /// What the engine calls it.
    pub engine_name: String,
    /// What the mesh calls it, and more.
    pub model: Model,
}

/// Why an engine cannot be used, in a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Down {
    pub reason: String,
    /// It may only be slow: no answer in time.
    pub slow: bool,
}

/// A sign of life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sign {
    /// The model is not in memory yet.
    Loading,
    /// The API answers, and nothing more is known.
    Answers,
    /// Work done so far by all that runs, in the engine's own count.
    Works(u64),
    /// The API answers that nothing is running.
    Idle,
    /// The API does not answer.
    Mute,
}
