//! What is told of a task: to whoever watches the bus, and to its readers at its end.

use std::sync::Arc;
use std::time::Instant;

use echo_bus::id::{NodeId, Role, TaskId};
use echo_bus::message::{Code, Event as Announcement, Relayed, What};

use crate::attempts::{Attempts, Ending};
use crate::holders::Lost;
use crate::report::Report;

/// Of which nothing more is known. Whoever says it has a clock.
pub fn announcement(task: TaskId, what: What) -> Announcement {
    Announcement { task: Some(task), ..Announcement::new(what, 0) }
}

/// A task has ended.
pub fn ended(task: TaskId, report: &Report) -> Announcement {
    let (what, detail) = match &report.ending {
        Ok(_) => (What::Done, String::new()),
        Err(failure) if failure.code == Code::Cancelled => (What::Cancelled, failure.for_log()),
        Err(failure) => (What::Failed, failure.for_log()),
    };
    Announcement {
        node: report.nodes.last().cloned(),
        attempt: Some(report.attempts),
        model: report.model.clone(),
        tokens: report.ending.as_ref().ok().and_then(|done| done.tokens),
        latency_ms: u64::try_from(report.latency.as_millis()).ok(),
        detail,
        why: report.why_text.clone(),
        ..announcement(task, what)
    }
}

/// The node that has lost an attempt, if it was a node.
pub fn node_of(lost: &Lost) -> Option<NodeId> {
    let agent = lost.holder.peer.role == Role::Agent;
    agent.then(|| lost.holder.peer.id.as_str().parse().ok()).flatten()
}

/// How a task went; the answer itself is in its log.
pub fn report(attempts: &Attempts, ending: Ending, now: Instant) -> Report {
    let ending = match ending {
        Ending::Answered(done) => Ok(done),
        Ending::Failed(failure) => Err(failure),
    };
    let why = attempts.why().cloned().map(Arc::new);
    Report {
        ending,
        content: String::new(),
        thinking: String::new(),
        tool_calls: Vec::new(),
        logprobs: Vec::new(),
        extra: serde_json::Map::new(),
        nodes: attempts.nodes.clone(),
        model: attempts.model.clone(),
        chosen: attempts.chosen.clone(),
        why: why.clone(),
        why_text: why.and_then(|why| Relayed::written(&why).ok()),
        attempts: attempts.attempts_made(),
        latency: now.duration_since(attempts.began()),
        waited: attempts.waited(),
        continued: attempts.continued(),
        others: Vec::new(),
        order: Vec::new(),
    }
}
