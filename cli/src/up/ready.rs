//! How it is seen that the parts are ready.

use std::fmt;
use std::fs;
use std::path::Path;

use anyhow::Result;
use echo_bus::model_name::ModelName;
use serde::Deserialize;
use serde_json::Value;

use super::plan::Plan;
use crate::edge::Edge;

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
    pub fn of(plan: &Plan, edge: Option<&str>) -> Result<Self> {
        let ids = plan.nodes.iter().map(|node| node.id.to_string()).collect();
        Ok(Self { edge: Edge::at(edge.unwrap_or_default().parse()?)?, ids, model: plan.model.clone() })
    }

    /// Ok when `/status` shows each of them at work or ready for it, with the model; else what it shows instead.
    pub async fn look(&self) -> Result<(), String> {
        let status: Value =
            self.edge.get("/status").await.map_err(|_| "no answer from GET /status yet".to_owned())?;
        let wrong: Vec<String> = self.ids.iter().filter_map(|id| self.wrong(&status, id)).collect();
        if wrong.is_empty() { Ok(()) } else { Err(wrong.join("; ")) }
    }

    fn wrong(&self, status: &Value, id: &str) -> Option<String> {
        let mut nodes = status["nodes"].as_array().into_iter().flatten();
        let Some(node) = nodes.find(|node| node["node_id"] == id) else {
            return Some(format!("{id} has not registered"));
        };
        let state = node["status"].as_str().unwrap_or_default();
        if !matches!(state, "idle" | "busy") {
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

impl fmt::Display for Nodes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to be ready", self.ids.join(" and "))?;
        self.model.as_ref().map_or(Ok(()), |model| write!(f, " with {model}"))
    }
}
