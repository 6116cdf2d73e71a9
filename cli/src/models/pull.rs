//! Pulling a model to one node, several or all.

use std::process::ExitCode;

use anyhow::{Result, bail};
use echo_bus::process::shutdown;
use futures::future::join_all;
use serde_json::{Value, json};

use super::progress::{Board, Pull};
use crate::clean::visible;
use crate::edge::{Edge, EdgeArgs, Events};
use crate::known::Known;
use crate::say::{say, warn};

#[derive(Debug, clap::Args)]
pub struct PullArgs {
    /// The model, as its engine's library has it
    #[arg(value_name = "NAME")]
    model: String,

    /// Which nodes get it (several with commas), or `all` [default: the one with the most room]
    #[arg(long, value_delimiter = ',', value_name = "NODE|all")]
    on: Vec<String>,

    #[command(flatten)]
    edge: EdgeArgs,
}

/// What a node is called that the mesh is to choose.
const ANY: &str = "the mesh";

impl PullArgs {
    pub async fn run(self) -> Result<ExitCode> {
        let edge = self.edge.edge()?;
        let known = Known::of(&edge).await?;
        let nodes: Vec<Option<&str>> = match known.meant(&self.on)? {
            nodes if nodes.is_empty() => vec![None],
            nodes => nodes.iter().map(|node| Some(node.node_id.as_str())).collect(),
        };
        let (stop, board) = (shutdown(), Board::new());
        let width = nodes.iter().map(|node| node.unwrap_or(ANY).len()).max().unwrap_or_default();
        let pulls = nodes.iter().map(|node| {
            let mut progress = board.pull(node.unwrap_or(ANY), width);
            let (edge, model) = (&edge, &self.model);
            async move { pulled(edge, model, *node, &mut progress).await }
        });
        // Hanging up ends a pull, down to the engine.
        let Some(results) = stop.run_until_cancelled(join_all(pulls)).await else {
            return Ok(ExitCode::from(130));
        };
        Ok(told(&self.model, &nodes, results))
    }
}

fn told(model: &str, nodes: &[Option<&str>], results: Vec<Result<String>>) -> ExitCode {
    let mut code = ExitCode::SUCCESS;
    for (node, result) in nodes.iter().zip(results) {
        match result {
            Ok(node) => say(visible(&format!("{node}: has {model}"))),
            Err(error) => {
                warn(visible(&format!("error: {}: {error:#}", node.unwrap_or(ANY))));
                code = ExitCode::FAILURE;
            }
        }
    }
    code
}

/// The node that has it now.
async fn pulled(edge: &Edge, model: &str, node: Option<&str>, progress: &mut Pull) -> Result<String> {
    let result = pull(edge, model, node, progress).await;
    progress.end(if result.is_ok() { "done" } else { "failed" });
    result
}

async fn pull(edge: &Edge, model: &str, node: Option<&str>, progress: &mut Pull) -> Result<String> {
    let nodes: Vec<&str> = node.into_iter().collect();
    let reply = edge.post("/api/pull", &json!({"model": model, "nodes": nodes})).await?;
    let chosen = reply.headers().get("x-echo-node").and_then(|node| node.to_str().ok());
    let name = node.or(chosen).unwrap_or(ANY).to_owned();
    let mut lines = Events::of(reply);
    let mut succeeded = false;
    while let Some(line) = lines.line().await? {
        let line: Value = serde_json::from_str(&line).unwrap_or_default();
        if let Some(error) = line["error"].as_str() {
            bail!("{error}");
        }
        // Of several nodes' pulls the edge tells a failure as a line of its own.
        let status = line["status"].as_str().unwrap_or_default();
        if let Some(why) = status.strip_prefix("failed: ") {
            bail!("{why}");
        }
        succeeded |= status == "success";
        progress.heard(&line);
    }
    if succeeded {
        Ok(name)
    } else {
        bail!("the connection to the edge broke: pull it again, and it goes on where it was")
    }
}
