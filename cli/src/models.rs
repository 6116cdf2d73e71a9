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
use crate::clean::{self, visible_error};
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

#[derive(Debug, clap::Args)]
struct ListArgs {
    /// As JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    edge: EdgeArgs,
}

#[derive(Debug, Subcommand)]
enum What {
    /// The same as without a word
    #[command(hide = true, alias = "ls")]
    List(ListArgs),
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
        Some(What::List(args)) => runtime.block_on(list(args.edge.edge()?, args.json)),
        Some(What::Pull(pull)) => runtime.block_on(pull.run()),
        Some(What::Rm(remove)) => runtime.block_on(remove.run()),
    }
}

async fn list(edge: Edge, json: bool) -> Result<ExitCode> {
    let rows = table::rows(&Known::of(&edge).await?);
    if json {
        say(clean::json(&serde_json::to_value(&rows)?));
    } else {
        for line in table::lines(&rows, crate::table::width()) {
            say(line);
        }
    }
    Ok(ExitCode::SUCCESS)
}
