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

#[cfg(test)]
mod tests {
    use super::*;

    fn said(kind: &str, status: &str, reason: &str) -> Looked {
        let text = serde_json::json!({
            "node_id": "a", "boot": "b", "status": status, "reason": reason, "active_tasks": 0, "slots": 1,
            "models": [], "model_details": [], "agent_host": "h", "agent_port": 1, "last_heartbeat": 0,
            "registered_at": 0, "engine": {"kind": kind}, "memory": {"total": 0, "free": 0},
            "disk": {"total": 0, "free": 0}, "version": "1", "uptime_ms": 0
        });
        node(&serde_json::from_value(text).unwrap())
    }

    #[test]
    fn each_reason_that_agents_give_has_its_cure() {
        for (kind, reason, mend) in [
            ("ollama", "the engine at http://x cannot be reached: connection refused", "`ollama serve`"),
            ("openai", "the engine at http://x cannot be reached: connection refused", "`llama-server`"),
            ("openai", "the engine at http://x answers 401: invalid key", "--engine-key-file"),
            ("ollama", "the engine at http://x answers 404: ", "--engine openai"),
            ("ollama", "what answers at http://x is no Ollama: it has no list of models", "--engine openai"),
            (
                "openai",
                "what answers at http://x has no list of models: is it an OpenAI API?",
                "--engine ollama",
            ),
            ("openai", "the engine is loading its model", "wait a moment"),
            ("ollama", "the engine has not been asked yet", "wait a moment"),
            ("ollama", "m:latest is being tried, because of this: stalled", "wait a moment"),
            ("ollama", "m:latest is resting, because a trial failed: CUDA out of memory", "memory is short"),
            ("ollama", "the engine at http://x does not answer", "start it again"),
            ("ollama", "the engine at http://x answers nonsense: eof", "start it again"),
            ("ollama", "something new", "echo-mesh logs"),
        ] {
            let looked = said(kind, "unavailable", reason);
            assert!(looked.findings[0].mend.contains(mend), "{reason}: {:?}", looked.findings);
            assert_eq!(looked.findings[0].severity, Severity::Wrong);
        }
        assert_eq!(said("ollama", "draining", "").findings[0].severity, Severity::Note);
        assert!(said("ollama", "idle", "").findings.is_empty());
    }
}
