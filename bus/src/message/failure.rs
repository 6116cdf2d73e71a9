//! Why something was not done, and what the one who hears it does next.

use serde::{Deserialize, Serialize};

use super::skip::is_default;

/// A refusal or the end of an attempt: always with a verdict for the program and a sentence for the person.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    pub verdict: Verdict,
    pub code: Code,
    /// A sentence for the person who sent the task. Never holds a prompt or an answer.
    pub message: String,
    /// Measured time after which another try makes sense; absent when unknown.
    #[serde(default, skip_serializing_if = "is_default")]
    pub retry_after_ms: Option<u64>,
    /// With [`Code::ModelNotServed`]: the models that are served.
    #[serde(default, skip_serializing_if = "is_default")]
    pub served: Vec<String>,
    /// The engine's own answer, where it gave one: what its API would have told a client of its own.
    #[serde(default, skip_serializing_if = "is_default")]
    pub said: Option<Box<Said>>,
    /// Which request did this to the engine, as far as the agent can tell.
    #[serde(default, skip_serializing_if = "is_default")]
    pub fault: Fault,
    /// Which death or stall of its engine this was, counted by the agent since its start: attempts that end in the
    /// same one say the same number.
    #[serde(default, skip_serializing_if = "is_default")]
    pub harm: Option<u32>,
}

/// An engine's own words for an error. They may quote a prompt or an answer: they are for the client, never for a log.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    /// The HTTP status; absent for an error in the middle of a stream.
    #[serde(default, skip_serializing_if = "is_default")]
    pub status: Option<u16>,
    pub words: String,
    /// They say that what was sent does not fit into the model's context.
    #[serde(default, skip_serializing_if = "is_default")]
    pub too_long: bool,
}

/// Which request did it, when an engine died or stalled.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// Only this one can have done it.
    Request,
    /// This one, or another that ran beside it.
    Shared,
    /// Another one: this one was going well, or never reached the engine.
    Other,
    /// None of them: it would have happened to any request.
    Machine,
    /// Nobody has asked, or nobody can tell.
    #[default]
    #[serde(other)]
    Unknown,
}

impl Failure {
    /// A failure without the extras.
    pub fn new(verdict: Verdict, code: Code, message: impl Into<String>) -> Self {
        let message = message.into();
        let (retry_after_ms, served, said, fault, harm) = Default::default();
        Self { verdict, code, message, retry_after_ms, served, said, fault, harm }
    }

    /// The node could not do it; another may.
    pub fn elsewhere(code: Code, message: impl Into<String>) -> Self {
        Self::new(Verdict::Elsewhere, code, message)
    }

    /// Nobody's fault and not decided; the same again, soon.
    pub fn wait(code: Code, message: impl Into<String>) -> Self {
        Self::new(Verdict::Wait, code, message)
    }

    /// No further attempt can help.
    pub fn give_up(code: Code, message: impl Into<String>) -> Self {
        Self::new(Verdict::GiveUp, code, message)
    }

    /// Adds the engine's own answer.
    #[must_use]
    pub fn saying(mut self, status: Option<u16>, words: impl Into<String>) -> Self {
        self.said = Some(Box::new(Said { status, words: words.into(), too_long: false }));
        self
    }

    /// The engine works and has answered this request with an error, which may be the request's fault or its own: one
    /// other node is asked, and what that says settles it.
    pub fn is_refusal(&self) -> bool {
        self.verdict == Verdict::Elsewhere && self.code == Code::EngineError && self.said.is_some()
    }

    /// Whether the engine says that what was sent does not fit into the model's context.
    pub fn is_too_long(&self) -> bool {
        self.said.as_ref().is_some_and(|said| said.too_long)
    }

    /// What happened, for a log: without the engine's words, which may quote a prompt or an answer.
    pub fn for_log(&self) -> String {
        match self.said.as_deref() {
            Some(Said { status: Some(status), .. }) => format!("the engine answered {status}"),
            Some(_) => "the engine ended its stream with an error".to_owned(),
            None => self.message.clone(),
        }
    }
}

impl Code {
    /// The word that stands in messages, for metrics and traces.
    pub fn word(self) -> String {
        let word = serde_json::to_value(self).ok();
        word.and_then(|word| word.as_str().map(str::to_owned)).unwrap_or_default()
    }
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Try another node; this one is excluded for the task.
    Elsewhere,
    /// Submit again after a moment; nobody is blamed.
    Wait,
    /// Tell the client.
    #[serde(other)]
    GiveUp,
}

/// What happened, for programs and metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// The message cannot be understood or asks for the impossible.
    BadRequest,
    /// No node is known at all.
    NoNode,
    /// No node serves the model.
    ModelNotServed,
    /// Nodes serve the model, but none can do what the task needs.
    NotCapable,
    /// The queue is full.
    QueueFull,
    /// The task's time, or its time in the queue, is over.
    Expired,
    /// A node did not answer a dispatch: it may or may not run the task.
    Unclear,
    /// The agent has no free slot.
    Full,
    /// The agent or orchestrator is finishing and takes nothing new.
    Draining,
    /// The task was meant for an earlier start of this agent.
    WrongBoot,
    /// The attempt was cancelled before.
    Cancelled,
    /// The agent cannot use its engine now.
    Unavailable,
    /// The engine cannot be reached.
    EngineUnreachable,
    /// The engine says that it is full.
    EngineBusy,
    /// The engine made no progress within the limit of its phase.
    EngineStalled,
    /// The engine reported an error, or ended its stream without finishing.
    EngineError,
    /// The engine says that it does not have the model after all.
    ModelMissing,
    /// The engine refused the request as such.
    EngineRefused,
    /// Engines died or stalled each time they worked on this request.
    Harmful,
    /// A partial answer that nobody can honestly continue.
    CannotContinue,
    /// The operator of the node does not allow this.
    NotAllowed,
    /// A word of a newer version.
    #[serde(other)]
    Unknown,
}
