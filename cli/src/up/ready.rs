//! How it is seen that the parts are ready.

use std::fmt;
use std::fs;
use std::path::Path;

use anyhow::Result;
use echo_bus::message::{Capability, Model};
use echo_bus::model_name::ModelName;
use serde::Deserialize;
use serde_json::Value;

use super::plan::Node;
use crate::clean::Clean;
use crate::edge::Edge;
use crate::keys::local;
use crate::record::Serves;

/// What the broker says of itself.
#[derive(Debug, Deserialize)]
pub struct Bus {
    pub nats: String,
    pub monitor: Option<String>,
}

/// Where the bus is, once the broker has written it down.
pub fn bus(ready: &Path) -> Result<Bus, String> {
    let text = fs::read(ready).map_err(|_| "it starts nats-server".to_owned())?;
    serde_json::from_slice(&text).map_err(|error| error.to_string())
}

/// The nodes of a mesh that must be able to work.
pub struct Nodes {
    edge: Edge,
    ids: Vec<String>,
    model: Option<String>,
}

impl Nodes {
    pub fn of(nodes: &[Node], model: Option<&String>, edge: Option<&str>, run: &Path) -> Result<Self> {
        let ids = nodes.iter().map(|node| node.id.to_string()).collect();
        let edge =
            Edge::own(edge.unwrap_or_default().parse()?)?.with_key(local::read(&local::file(run)).ok());
        Ok(Self { edge, ids, model: model.cloned() })
    }

    /// What each of them serves, when `/status` shows all at work or ready for it, with the model; else what it shows
    /// instead.
    pub async fn look(&self) -> Result<Vec<Serves>, String> {
        let status: Value =
            self.edge.get("/status").await.map_err(|_| "no answer from GET /status yet".to_owned())?;
        self.judged(&status)
    }

    fn judged(&self, status: &Value) -> Result<Vec<Serves>, String> {
        let wrong: Vec<String> = self.ids.iter().filter_map(|id| self.wrong(status, id)).collect();
        if wrong.is_empty() { Ok(self.serve(status)) } else { Err(Clean::of(&wrong.join("; ")).to_string()) }
    }

    fn serve(&self, status: &Value) -> Vec<Serves> {
        let nodes = status["nodes"].as_array().map(Vec::as_slice).unwrap_or_default();
        let node = |id: &String| nodes.iter().find(|node| node["node_id"] == id.as_str());
        self.ids.iter().map(|id| node(id).map_or(Serves::Unknown, serves)).collect()
    }

    fn wrong(&self, status: &Value, id: &str) -> Option<String> {
        let mut nodes = status["nodes"].as_array().into_iter().flatten();
        let Some(node) = nodes.find(|node| node["node_id"] == id) else {
            return Some(format!("{id} has not registered"));
        };
        let state = node["status"].as_str().unwrap_or_default();
        // One that its owner keeps from work, such as by hours, is ready for it all the same.
        if !matches!(state, "idle" | "busy" | "draining") {
            let why = node["reason"].as_str().filter(|why| !why.is_empty());
            return Some(format!(
                "{id} is {state}{}",
                why.map_or_else(String::new, |why| format!(" ({why})"))
            ));
        }
        let models: Vec<&str> =
            node["models"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let wanted = self.model.as_deref().map(ModelName::of)?;
        let serves = models.iter().any(|model| ModelName::of(model) == wanted);
        (!serves).then(|| match models.as_slice() {
            [] => format!("{id} serves no model"),
            models => format!("{id} serves {}", models.join(", ")),
        })
    }
}

fn serves(node: &Value) -> Serves {
    let models = node["model_details"].as_array().into_iter().flatten();
    let models: Vec<Model> = models.filter_map(|model| Model::deserialize(model).ok()).collect();
    let some = |what: &Capability| models.iter().any(|model| model.can(what));
    match (some(&Capability::Completion), some(&Capability::Embedding), models.is_empty()) {
        (true, ..) => Serves::Answers,
        (_, true, _) => Serves::EmbeddingsOnly,
        (.., true) => Serves::Nothing,
        // Models of some other kind.
        _ => Serves::Unknown,
    }
}

impl fmt::Display for Nodes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to be ready", self.ids.join(" and "))?;
        self.model.as_ref().map_or(Ok(()), |model| write!(f, " with {model}"))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_node_serves_what_its_models_can_do() {
        let embeds = json!({"name": "nomic-embed-text", "capabilities": ["embedding"]});
        let answers = json!({"name": "mistral", "capabilities": ["completion"]});
        let unknown = json!({"name": "gguf"});
        for (models, serve) in [
            (json!([]), Serves::Nothing),
            (json!([embeds]), Serves::EmbeddingsOnly),
            (json!([embeds, answers]), Serves::Answers),
            (json!([unknown]), Serves::Answers),
        ] {
            assert_eq!(serves(&json!({"model_details": models})), serve);
        }
    }

    #[test]
    fn what_an_engine_says_of_itself_moves_no_cursor() {
        let nodes = Nodes {
            edge: Edge::own("http://127.0.0.1:1".parse().unwrap()).unwrap(),
            ids: vec!["a".into()],
            model: None,
        };
        let node = json!({"node_id": "a", "status": "unhealthy", "reason": "\u{1b}[2Jall is well"});
        let seen = nodes.judged(&json!({"nodes": [node]})).unwrap_err();
        assert_eq!(seen, "a is unhealthy (\u{fffd}[2Jall is well)");
    }
}
