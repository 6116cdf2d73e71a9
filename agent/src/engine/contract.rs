//! The contract between an agent and an engine of whatever dialect: what is asked, and what comes back.

use echo_bus::message::{Done, Failure, Model, Piece, Request, SoFar};
use futures::future::BoxFuture;
use futures::stream::BoxStream;

/// Where a model's description holds what its engine says of it only while it is loaded (`expires_at`, …).
pub(crate) const RUNNING: &str = "running";

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
