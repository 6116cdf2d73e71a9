//! What dashboards and the `nats` CLI hear of tasks. Nothing depends on it, and no token waits for it.

use std::sync::Arc;

use echo_bus::id::{NodeId, Role, TaskId};
use echo_bus::message::{Event, Relayed, What, unix_millis};
use echo_bus::subject;
use tracing::{debug, info};

use crate::desk::Lost;
use crate::driver::Report;
use crate::owner::Owner;

/// Something happened to a task.
pub fn task(owner: &Arc<Owner>, task: TaskId, what: What, detail: String) {
    say(owner, task, Event { detail, ..event(what, task) });
}

/// A task has ended.
pub fn ended(owner: &Arc<Owner>, task: TaskId, report: &Report) {
    let (what, detail) = match &report.ending {
        Ok(_) => (What::Done, String::new()),
        Err(failure) => (What::Failed, failure.for_log()),
    };
    let node = report.nodes.last().cloned();
    let why = report.why.clone().map(Relayed::from);
    say(owner, task, Event { node, attempt: Some(report.attempts), detail, why, ..event(what, task) });
}

/// One line for each task: at `info` if it did not go smoothly.
pub fn log(task: TaskId, report: &Report) {
    let (attempts, model) = (report.attempts, report.model.as_str());
    let nodes = || report.nodes.iter().map(NodeId::as_str).collect::<Vec<_>>().join(" ");
    let latency_ms = report.latency.as_millis();
    match &report.ending {
        Err(failure) => {
            let (code, error) = (failure.code, failure.for_log());
            info!(%task, model, attempts, nodes = nodes(), latency_ms, ?code, error, "task failed");
        }
        Ok(_) if attempts > 1 => {
            info!(%task, model, attempts, nodes = nodes(), latency_ms, "task went on elsewhere")
        }
        Ok(_) => {
            let expected_ms = report.why.as_ref().and_then(|why| why.expected_ms.whole);
            debug!(%task, model, nodes = nodes(), latency_ms, expected_ms, "task ended");
        }
    }
}

/// An attempt has lost its holder.
pub fn lost(owner: &Arc<Owner>, lost: &Lost) {
    let agent = lost.holder.peer.role == Role::Agent;
    let node = agent.then(|| lost.holder.peer.id.as_str().parse::<NodeId>().ok()).flatten();
    let detail = lost.loss.as_str().to_owned();
    let event = Event { node, attempt: Some(lost.attempt), detail, ..event(What::Lost, lost.task) };
    say(owner, lost.task, event);
}

fn event(what: What, task: TaskId) -> Event {
    Event {
        what,
        at: unix_millis(),
        node: None,
        task: Some(task),
        attempt: None,
        detail: String::new(),
        why: None,
    }
}

fn say(owner: &Arc<Owner>, task: TaskId, event: Event) {
    let speaker = owner.clone();
    owner.tracker.spawn(async move {
        // An event that nobody could hear is no loss.
        let _ = speaker.bus.publish(&subject::task_event(task, event.what), &event).await;
    });
}
