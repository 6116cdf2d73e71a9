//! What is shown of one task: where it is and was, and why. Nothing of what was asked, and nothing of the answer.

use std::time::{Duration, Instant};

use echo_bus::clock::Now;
use echo_bus::id::{ClientName, NodeId};
use echo_bus::message::{Event, Progress, What, Why};
use serde::Serialize;

use super::text::short;

/// Nodes of one task that are shown: the newest.
const NODES: usize = 8;
/// A task that nothing was heard of for so long has ended unseen: what runs is in every heartbeat of its node.
const UNSEEN: Duration = Duration::from_secs(8);
/// The same of a task between two attempts: its edge looks for an orchestrator for a minute, and says nothing meanwhile.
const UNSEEN_MOVING: Duration = Duration::from_secs(90);
/// The same of a task that waits: nobody says that it still does.
const UNSEEN_WAITING: Duration = Duration::from_secs(900);

/// One task.
#[derive(Debug, Serialize)]
pub struct Task {
    pub state: State,
    /// The name of the API key that it came with.
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<ClientName>,
    #[serde(skip_serializing_if = "str::is_empty")]
    model: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeId>,
    /// All that had it, in order.
    nodes: Vec<NodeId>,
    attempt: u32,
    /// When it was heard of first, in Unix milliseconds by this edge's clock.
    began: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended: Option<u64>,
    /// When it joined the line that it waits in, which place it had then, and how long it was expected to wait.
    #[serde(skip_serializing_if = "Option::is_none")]
    queued: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expected_wait_ms: Option<u64>,
    /// Of its answer.
    tokens: u64,
    /// Nothing of the answer has come yet.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    prompt: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    latency_ms: Option<u64>,
    /// The newest word about it.
    #[serde(skip_serializing_if = "str::is_empty")]
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<Box<Why>>,
    #[serde(skip)]
    pub heard: Instant,
}

/// Where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Waiting,
    Running,
    /// Between two attempts.
    Moving,
    Done,
    Failed,
    Cancelled,
}

impl State {
    pub fn is_end(self) -> bool {
        matches!(self, Self::Done | Self::Failed | Self::Cancelled)
    }
}

/// Tokens that a node has made, as was learned just now.
pub struct Made(pub NodeId, pub u64);

impl Task {
    pub fn new(now: Now) -> Self {
        Self {
            state: State::Moving,
            client: None,
            model: String::new(),
            node: None,
            nodes: Vec::new(),
            attempt: 0,
            began: now.unix_ms,
            ended: None,
            queued: None,
            position: None,
            expected_wait_ms: None,
            tokens: 0,
            prompt: false,
            latency_ms: None,
            detail: String::new(),
            why: None,
            heard: now.at,
        }
    }

    /// Takes an event. What an attempt says that was followed by another changes nothing, and an end is final.
    pub fn apply(&mut self, event: &Event, now: Now) -> Option<Made> {
        let attempt = event.attempt.unwrap_or(self.attempt);
        if self.state.is_end() || attempt < self.attempt {
            return None;
        }
        // An attempt that a node has taken is not in a queue any more, whatever arrives late.
        let is_late = attempt == self.attempt && self.state == State::Running;
        self.heard = now.at;
        if !event.model.is_empty() {
            self.model = short(&event.model);
        }
        if event.client.is_some() {
            self.client.clone_from(&event.client);
        }
        match event.what {
            What::Queued if !is_late => {
                (self.state, self.attempt, self.node) = (State::Waiting, attempt, None);
                self.queued = Some(now.unix_ms);
                (self.position, self.expected_wait_ms) = (event.position, event.expected_wait_ms);
            }
            What::Placed => {
                let node = event.node.as_ref()?;
                self.runs_at(node, attempt);
                self.why = event.why.clone().and_then(echo_bus::message::Relayed::read);
            }
            What::Released if !is_late => self.state = State::Moving,
            What::Lost | What::Retried => (self.state, self.node) = (State::Moving, None),
            What::Done => return self.ends(State::Done, event, now),
            What::Failed => return self.ends(State::Failed, event, now),
            What::Cancelled => return self.ends(State::Cancelled, event, now),
            _ => return None,
        }
        self.detail = short(&event.detail);
        None
    }

    fn runs_at(&mut self, node: &NodeId, attempt: u32) {
        (self.state, self.attempt) = (State::Running, attempt);
        self.prompt = true;
        self.node = Some(node.clone());
        if self.nodes.last() != Some(node) {
            self.nodes.push(node.clone());
            let more = self.nodes.len().saturating_sub(NODES);
            self.nodes.drain(..more);
        }
    }

    fn ends(&mut self, state: State, event: &Event, now: Now) -> Option<Made> {
        self.state = state;
        self.ended = Some(now.unix_ms);
        self.prompt = false;
        self.latency_ms = event.latency_ms;
        self.detail = short(&event.detail);
        if let Some(why) = event.why.clone().and_then(echo_bus::message::Relayed::read) {
            self.why = Some(why);
        }
        if let Some(node) = &event.node
            && self.nodes.last() != Some(node)
        {
            self.nodes.push(node.clone());
        }
        self.node = self.nodes.last().cloned();
        self.counts(event.tokens.unwrap_or(self.tokens))
    }

    /// A node's heartbeat lists an attempt of it. `None` if it says nothing new.
    pub fn hear(
        &mut self,
        node: &NodeId,
        attempt: u32,
        progress: Option<&Progress>,
        now: Now,
    ) -> Option<Made> {
        if self.state.is_end() || attempt < self.attempt {
            return None;
        }
        // The node that has lost it may not know that yet.
        if attempt == self.attempt && self.state == State::Moving && !self.nodes.is_empty() {
            return None;
        }
        self.heard = now.at;
        if self.state != State::Running || self.node.as_ref() != Some(node) {
            self.runs_at(node, attempt);
        }
        let progress = progress?;
        self.model = short(&progress.model);
        self.prompt = progress.prompt;
        self.counts(self.tokens.max(progress.tokens))
    }

    fn counts(&mut self, tokens: u64) -> Option<Made> {
        let made = tokens.saturating_sub(self.tokens);
        self.tokens = tokens;
        self.node.clone().filter(|_| made > 0).map(|node| Made(node, made))
    }

    /// No node has it now, and it has not ended.
    pub fn waits(&self) -> bool {
        matches!(self.state, State::Waiting | State::Moving)
    }

    /// It has ended, and nobody has told us.
    pub fn is_unseen(&self, now: Instant) -> bool {
        let patience = match self.state {
            State::Waiting => UNSEEN_WAITING,
            State::Moving => UNSEEN_MOVING,
            _ => UNSEEN,
        };
        !self.state.is_end() && now.saturating_duration_since(self.heard) >= patience
    }

    /// We could not have heard of it.
    pub fn excuse(&mut self, now: Instant) {
        self.heard = now;
    }
}
