//! Which models the mesh has, and where.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Result, bail};
use echo_bus::message::Model;
use echo_bus::model_name::ModelName;
use echo_bus::process::BadConfig;
use serde::Deserialize;

use crate::edge::Edge;

/// How long an edge may take; it asks an orchestrator, for two seconds at most.
const WITHIN: Duration = Duration::from_secs(5);
/// The word for every node.
const ALL: &str = "all";

/// What an edge says of the mesh, as far as models go.
#[derive(Debug, Default, Deserialize)]
pub struct Known {
    pub nodes: Vec<Node>,
    #[serde(default)]
    pub default_model: Option<String>,
}

#[derive(Debug, Deserialize)]
pub struct Node {
    pub node_id: String,
    #[serde(default)]
    pub reason: String,
    #[serde(rename = "model_details")]
    pub models: Vec<Model>,
}

impl Known {
    /// Asks an edge.
    ///
    /// # Errors
    /// Nobody answers, or nobody in time.
    pub async fn of(edge: &Edge) -> Result<Self> {
        match tokio::time::timeout(WITHIN, edge.get("/status")).await {
            Ok(known) => known,
            Err(_) => bail!("the edge at {} does not answer", edge.shown()),
        }
    }

    /// The names of all models, each once.
    pub fn served(&self) -> Vec<&str> {
        let names: BTreeSet<&str> =
            self.nodes.iter().flat_map(|node| &node.models).map(|model| model.name.as_str()).collect();
        names.into_iter().collect()
    }

    pub fn serves(&self, name: &str) -> bool {
        self.nodes.iter().any(|node| node.has(name))
    }

    /// The nodes that are meant by these words: ids, or `all`.
    ///
    /// # Errors
    /// One of them is not there.
    pub fn meant(&self, words: &[String]) -> Result<Vec<&Node>, BadConfig> {
        let Some(missing) =
            words.iter().find(|word| *word != ALL && !self.nodes.iter().any(|node| node.node_id == **word))
        else {
            let meant = |node: &&Node| words.iter().any(|word| word == ALL || *word == node.node_id);
            return Ok(self.nodes.iter().filter(meant).collect());
        };
        let there: Vec<&str> = self.nodes.iter().map(|node| node.node_id.as_str()).collect();
        let there = if there.is_empty() {
            "there is none".to_owned()
        } else {
            format!("there are: {}", there.join(", "))
        };
        Err(BadConfig(format!("no node {missing:?} is in the mesh; {there}")))
    }
}

impl Node {
    /// However the name is spelled.
    pub fn has(&self, name: &str) -> bool {
        self.models
            .iter()
            .any(|model| model.name == name || ModelName::of(&model.name) == ModelName::of(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn known() -> Known {
        let node = |id: &str, model: &str| json!({"node_id": id, "model_details": [{"name": model}]});
        serde_json::from_value(json!({"nodes": [node("a", "m:latest"), node("b", "n:1")]})).unwrap()
    }

    fn meant(words: &[&str]) -> Result<Vec<String>, String> {
        let words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
        let known = known();
        let meant = known.meant(&words).map_err(|error| error.to_string())?;
        Ok(meant.iter().map(|node| node.node_id.clone()).collect())
    }

    #[test]
    fn nodes_are_meant_by_their_ids_or_all_at_once() {
        assert_eq!(meant(&["b"]).unwrap(), ["b"]);
        assert_eq!(meant(&["all"]).unwrap(), ["a", "b"]);
        let error = meant(&["b", "c"]).unwrap_err();
        assert_eq!(error, "no node \"c\" is in the mesh; there are: a, b");
    }

    #[test]
    fn a_model_is_known_however_its_name_is_spelled() {
        assert!(known().serves("m") && known().serves("n:1") && !known().serves("n"));
        assert_eq!(known().served(), ["m:latest", "n:1"]);
    }
}
