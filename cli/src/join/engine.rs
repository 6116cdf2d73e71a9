//! The engines of this machine: whether they answer, and in which dialect.

use std::time::Duration;

use anyhow::Result;
use echo_bus::id::NodeId;
use echo_bus::process::BadConfig;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Where Ollama listens.
pub const USUAL: &str = "http://127.0.0.1:11434";
/// An engine that loads a model may be slow even to say its version.
const PATIENCE: Duration = Duration::from_secs(5);

/// An engine, and the node that it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Engine {
    pub node: NodeId,
    pub url: String,
    pub api: Api,
}

/// Which API it speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Api {
    Ollama,
    Openai,
}

impl Api {
    /// As in the agent's `--engine`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ollama => "ollama",
            Self::Openai => "openai",
        }
    }
}

/// The engines at these addresses, with a node's name each. They are asked before a code is used up.
///
/// # Errors
/// One does not answer, or there is no name for its node.
pub async fn engines(urls: Vec<String>, first: &NodeId) -> Result<Vec<Engine>> {
    let mut engines = Vec::new();
    for (number, url) in urls.into_iter().enumerate() {
        let (node, api) = (named(first, number)?, api(&url).await?);
        engines.push(Engine { node, url, api });
    }
    Ok(engines)
}

/// `name`, then `name-2` and so on.
fn named(first: &NodeId, number: usize) -> Result<NodeId, BadConfig> {
    if number == 0 {
        return Ok(first.clone());
    }
    format!("{first}-{}", number + 1).parse().map_err(BadConfig::because)
}

async fn api(url: &str) -> Result<Api> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build()?;
    let base = url.trim_end_matches('/').trim_end_matches("/v1").to_owned();
    let has = async |path: &str, field: &str| {
        let reply = client.get(format!("{base}{path}")).send().await.ok()?;
        let reply: Value = reply.error_for_status().ok()?.json().await.ok()?;
        reply.get(field).map(drop)
    };
    if has("/api/version", "version").await.is_some() {
        return Ok(Api::Ollama);
    }
    if has("/v1/models", "data").await.is_some() {
        return Ok(Api::Openai);
    }
    anyhow::bail!(
        "no engine answers at {base}: start it (`ollama serve`), or say where it is with --engine-url URL; the code was \
         not used"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_engine_is_a_node_of_its_own() {
        let first: NodeId = "box".parse().unwrap();
        let names: Vec<String> = (0..3).map(|number| named(&first, number).unwrap().to_string()).collect();
        assert_eq!(names, ["box", "box-2", "box-3"]);
        let long: NodeId = "a".repeat(63).parse().unwrap();
        assert!(named(&long, 1).is_err());
    }
}
