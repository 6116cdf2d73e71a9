//! Nodes that take no work, and what to do about each of their reasons.

use echo_bus::message::{NodeState, NodeStatus};

use super::finding::{Looked, Severity};
use super::scene::Scene;

pub async fn look(scene: &Scene) -> Looked {
    let Some(mesh) = scene.mesh().await else { return Looked::default() };
    mesh.nodes.iter().map(node).fold(Looked::default(), Looked::with)
}

fn node(node: &NodeState) -> Looked {
    let (id, reason) = (&node.node_id, &node.reason);
    match node.status {
        NodeStatus::Unavailable => Looked::wrong(
            format!("{id} takes no work: {}", if reason.is_empty() { "it gives no reason" } else { reason }),
            "tasks go to other nodes, or wait",
            mend(node, reason),
        ),
        NodeStatus::Draining => Looked::default().and(
            Severity::Note,
            format!(
                "{id} is drained{}",
                if reason.is_empty() { String::new() } else { format!(": {reason}") }
            ),
            "it finishes what it has and takes nothing new",
            format!("if that is no longer wanted: echo-mesh resume {id}"),
        ),
        NodeStatus::Idle | NodeStatus::Busy => models(node),
    }
}

/// Models that rest on a node that works otherwise.
fn models(node: &NodeState) -> Looked {
    let closed = node.model_details.iter().filter(|model| !model.unavailable.is_empty());
    closed.fold(Looked::default(), |looked, model| {
        looked.and_wrong(
            format!("{} takes no task for {}: {}", node.node_id, model.name, model.unavailable),
            "its other models work; tasks for this one go to other nodes, or wait",
            mend(node, &model.unavailable),
        )
    })
}

/// What to do about a reason; agents and engines have these words.
fn mend(node: &NodeState, reason: &str) -> String {
    let ollama = node.engine.kind == "ollama";
    let has = |words: &str| reason.contains(words);
    let start = if ollama { "`ollama serve`" } else { "its server, such as `llama-server`" };
    if has("cannot be reached") {
        format!("start the engine on that machine ({start}), or correct the agent's --engine-url")
    } else if has("answers 401") || has("answers 403") {
        "give the agent the engine's key with --engine-key-file".to_owned()
    } else if has("is no Ollama") || has("is it an OpenAI API") || has("answers 404") {
        let other = if ollama { "openai" } else { "ollama" };
        format!("give the agent --engine {other}, or the engine's own address with --engine-url")
    } else if has("loading its model") || has("not been asked yet") || has("being tried") {
        "wait a moment, and look again".to_owned()
    } else if has("resting, because a trial failed") {
        "look at the engine's own log: most often memory is short, or the model's file is broken; load a smaller one or \
         pull it again"
            .to_owned()
    } else if has("does not answer") || has("nonsense") {
        format!("the engine hangs: end it, and start it again ({start})")
    } else {
        "look at what the agent and the engine of that machine say: `echo-mesh logs`".to_owned()
    }
}
