//! Removing a model from one node, several or all that have it.

use std::io::{self, IsTerminal as _, Write as _};
use std::process::ExitCode;

use anyhow::Result;
use echo_bus::process::BadConfig;
use serde_json::json;

use crate::clean::visible;
use crate::edge::EdgeArgs;
use crate::known::{Known, Node};
use crate::say::{say, warn};

#[derive(Debug, clap::Args)]
pub struct RemoveArgs {
    /// The model
    #[arg(value_name = "NAME")]
    model: String,

    /// From which nodes (several with commas), or `all` that have it
    #[arg(long, value_delimiter = ',', value_name = "NODE|all", required = true)]
    on: Vec<String>,

    /// Without asking
    #[arg(short, long)]
    yes: bool,

    #[command(flatten)]
    edge: EdgeArgs,
}

impl RemoveArgs {
    pub async fn run(self) -> Result<ExitCode> {
        let edge = self.edge.edge()?;
        let known = Known::of(&edge).await?;
        let (having, without): (Vec<&Node>, Vec<&Node>) =
            known.meant(&self.on)?.into_iter().partition(|node| node.has(&self.model));
        let mut code = ExitCode::SUCCESS;
        let all = self.on.iter().any(|word| word == "all");
        for node in without.iter().filter(|_| !all || having.is_empty()) {
            warn(visible(&format!("error: {}: has no {}", node.node_id, self.model)));
            code = ExitCode::FAILURE;
        }
        let names: Vec<&str> = having.iter().map(|node| node.node_id.as_str()).collect();
        if names.is_empty() || !self.agreed(&names.join(", "))? {
            return Ok(ExitCode::FAILURE);
        }
        for node in names {
            let body = json!({"model": self.model, "nodes": [node]});
            match edge.delete_with("/api/delete", &body).await {
                Ok(()) => say(visible(&format!("{node}: {} is removed", self.model))),
                Err(error) => {
                    warn(visible(&format!("error: {node}: {error:#}")));
                    code = ExitCode::FAILURE;
                }
            }
        }
        Ok(code)
    }

    fn agreed(&self, nodes: &str) -> Result<bool> {
        if self.yes {
            return Ok(true);
        }
        if !io::stdin().is_terminal() {
            return Err(BadConfig("nobody can be asked here: say --yes to remove it".to_owned()).into());
        }
        let mut answer = String::new();
        eprint!("{}", visible(&format!("remove {} from {nodes}? [y/N] ", self.model)));
        io::stderr().flush()?;
        io::stdin().read_line(&mut answer)?;
        Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
    }
}
