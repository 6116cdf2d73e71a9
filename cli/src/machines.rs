//! `echo-mesh machines`: which machines may get onto the bus.

pub mod ask;
mod table;

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Subcommand;
use echo_broker::trust::Trust;
use echo_bus::Bus;
use echo_bus::id::NodeId;
use echo_bus::key::PublicKey;
use echo_bus::message::NewKey;
use echo_bus::permission::Machine;
use echo_bus::process::{self, BadConfig};
use echo_bus::subject::Duty;

use crate::bus::WhichBus;
use crate::here::{Here, here};
use crate::join::member;
use crate::place::PlaceArgs;
use crate::say::say;
use crate::{clean, table as tables};

use ask::{admit, list};

const HELP: &str = "It goes over the bus with the operator's key, to the part that keeps the broker. On a machine whose mesh is \
not running, the list in its run directory is read and changed itself.

Exit code: 0 if that is so now, 1 if it could not be done, 2 if it may not be done from here.";

#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Show who may get in
    List(ListArgs),
    /// Let a key in that was made elsewhere, as by `echo-mesh key`
    Add(AddArgs),
    /// Cut off, at once, whoever has these names
    Revoke(RevokeArgs),
}

#[derive(Debug, clap::Args)]
struct ListArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    which: Which,
}

#[derive(Debug, clap::Args)]
struct AddArgs {
    /// What it is called; no two have one name
    name: String,

    /// The public half of its key: U and 55 more letters and digits
    key: PublicKey,

    /// What it is for: agent, orchestrator, edge, operator or watch
    #[arg(long, value_parser = duty)]
    duty: Duty,

    /// Of an agent: the node that it is
    #[arg(long, env = "ECHO_NODE_ID", value_name = "ID")]
    node: Option<NodeId>,

    #[command(flatten)]
    which: Which,
}

#[derive(Debug, clap::Args)]
struct RevokeArgs {
    /// As `echo-mesh machines list` shows them; all of them or none
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,

    #[command(flatten)]
    which: Which,
}

#[derive(Debug, clap::Args)]
struct Which {
    #[command(flatten)]
    bus: WhichBus,

    #[command(flatten)]
    place: PlaceArgs,
}

pub fn main(args: Args) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start");
    process::ended(runtime.and_then(|runtime| runtime.block_on(run(args.action))))
}

async fn run(action: Action) -> Result<()> {
    match action {
        Action::List(ListArgs { json, which }) => {
            let machines = which.list().await?.list().await?;
            if json {
                say(clean::json(&serde_json::json!({ "machines": machines })));
            } else {
                table::lines(&machines, tables::width()).iter().for_each(say);
            }
        }
        Action::Add(AddArgs { name, key, duty, node, which }) => {
            let new = NewKey { name: name.clone(), duty, node, key };
            which.list().await?.admit(new).await?;
            say(format_args!("{name} may get in, from now on."));
        }
        Action::Revoke(RevokeArgs { names, which }) => {
            which.list().await?.revoke(&names).await?;
            let (is, its) = if names.len() == 1 { ("is", "its key is") } else { ("are", "their keys are") };
            let names = names.join(" and ");
            say(format_args!(
                "{names} {is} cut off: {its} good for nothing any more. What ran there goes on elsewhere."
            ));
        }
    }
    Ok(())
}

/// The duties that a person may give.
fn duty(text: &str) -> Result<Duty, String> {
    let all = [Duty::Agent, Duty::Orchestrator, Duty::Edge, Duty::Operator, Duty::Watch];
    let known = all.into_iter().find(|duty| table::word(*duty) == text);
    known.ok_or_else(|| "write agent, orchestrator, edge, operator or watch".to_owned())
}

/// Where the list is kept.
enum List {
    /// By a broker that runs.
    Running { bus: Bus, at: String },
    /// By one of this machine that does not run.
    Stopped(Trust),
}

impl Which {
    async fn list(&self) -> Result<List> {
        let place = self.place.place()?;
        let here = here(&place.run).filter(|here| here.runs).unwrap_or_default();
        let is_named = self.bus.nats.is_some();
        if !is_named && !here.runs && place.trust().is_dir() {
            return Ok(List::Stopped(Trust::open(&place.trust()).map_err(BadConfig::because)?));
        }
        if !is_named && self.bus.access.nkey.is_none() && is_only_joined(&here) {
            return Err(BadConfig(format!(
                "this machine has only joined the mesh at {}, and who may get in there is no business of its key: run \
                 this on the machine where `echo-mesh up --lan` runs",
                here.bus.unwrap_or_default()
            ))
            .into());
        }
        let meant = self.bus.meant(here.bus.as_deref(), here.access.as_ref());
        let access = meant.access.read().map_err(BadConfig::because)?;
        if access.key().is_none() {
            return Err(BadConfig(format!(
                "the mesh at {} has no keys: it is open to this machine alone; `echo-mesh up --lan` starts one with keys",
                meant.nats
            ))
            .into());
        }
        let bus = member::bus_of(&meant.nats, access).await?;
        Ok(List::Running { bus, at: meant.nats })
    }
}

fn is_only_joined(here: &Here) -> bool {
    !here.agents.is_empty()
}

impl List {
    async fn list(&self) -> Result<Vec<Machine>> {
        match self {
            Self::Running { bus, at } => Ok(list(bus).await.map_err(|error| error.at(at))?),
            Self::Stopped(trust) => Ok(trust.machines()?),
        }
    }

    async fn admit(&self, new: NewKey) -> Result<()> {
        match self {
            Self::Running { bus, at } => admit(bus, vec![new]).await.map(drop).map_err(|error| error.at(at)),
            Self::Stopped(trust) => Ok(trust.admit(&[new]).map(drop)?),
        }
    }

    async fn revoke(&self, names: &[String]) -> Result<()> {
        match self {
            Self::Running { bus, at } => {
                ask::revoke(bus, names.to_vec()).await.map(drop).map_err(|error| error.at(at))
            }
            Self::Stopped(trust) => Ok(trust.revoke(names).map(drop)?),
        }
    }
}
