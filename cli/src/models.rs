//! `echo-mesh models`: which there are and where; pulling and removing them.

mod progress;
mod pull;
mod remove;
mod table;

use std::process::ExitCode;

use anyhow::Result;
use clap::Subcommand;
use echo_bus::process::ended;

use self::pull::PullArgs;
use self::remove::RemoveArgs;
use crate::clean::visible_error;
use crate::edge::{Edge, EdgeArgs};
use crate::known::Known;
use crate::say::say;

#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Args {
    /// As JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    edge: EdgeArgs,

    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Fetch a model to nodes that allow it (--allow-model-management)
    Pull(PullArgs),
    /// Remove a model from nodes that allow it (--allow-model-management)
    #[command(visible_alias = "remove")]
    Rm(RemoveArgs),
}

pub fn main(args: Args) -> ExitCode {
    match run(args) {
        Ok(code) => code,
        Err(error) => ended(Err(visible_error(error))),
    }
}

fn run(args: Args) -> Result<ExitCode> {
    let runtime = tokio::runtime::Runtime::new()?;
    match args.what {
        None => runtime.block_on(list(args.edge.edge()?, args.json)),
        Some(What::Pull(pull)) => runtime.block_on(pull.run()),
        Some(What::Rm(remove)) => runtime.block_on(remove.run()),
    }
}

async fn list(edge: Edge, json: bool) -> Result<ExitCode> {
    let rows = table::rows(&Known::of(&edge).await?);
    if json {
        say(serde_json::to_string_pretty(&rows)?);
    } else {
        for line in table::lines(&rows) {
            say(line);
        }
    }
    Ok(ExitCode::SUCCESS)
}
