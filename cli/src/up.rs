//! `echo-mesh up`: this machine's whole mesh, supervised.

mod address;
mod agent_args;
mod decide;
mod detach;
mod disk;
mod embedded;
mod engine_command;
mod engines;
mod keys;
mod parts;
pub mod plan;
mod ports;
mod progress;
mod ready;
mod run;
pub mod settings;
mod signals;
pub mod start;
pub mod summary;
mod voice;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;

use crate::say::say;
use settings::Settings;
use start::{StartArgs, Wants};

/// This machine's whole mesh: broker, orchestrator, edge, and an agent for each engine.
///
/// What crashes is started again. Ctrl-C stops everything, in order.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    settings: Settings,

    /// Be the process that `--detach` leaves running; the plan comes on stdin
    #[arg(long, hide = true)]
    supervise: bool,

    #[command(flatten)]
    start: StartArgs,
}

/// `config` is the configuration file that was named.
pub fn main(args: Args, config: Option<PathBuf>) -> ExitCode {
    start::main(up(args, config))
}

async fn up(args: Args, config: Option<PathBuf>) -> Result<()> {
    if args.supervise {
        return detach::supervise().await;
    }
    args.start.agents.flags()?;
    let place = args.start.place.place()?;
    if args.settings.engines.dry_run {
        say(args.settings.plan(&place).await?);
        return Ok(());
    }
    if start::runs_already(&place, args.start.stop.patience(), Wants::Mesh).await? {
        return Ok(());
    }
    let plan = args.settings.plan(&place).await?;
    start::start(plan, place, &args.start, config).await
}
