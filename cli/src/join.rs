//! `echo-mesh join`: brings this machine's engines into a mesh that runs elsewhere.

pub mod arrival;
pub mod code;
pub mod exchange;
mod find;
pub mod member;
pub mod pake;
mod prompt;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use echo_bus::id::NodeId;
use echo_bus::message::JoinWish;
use echo_bus::process::BadConfig;
use reqwest::Url;

use crate::place::Place;
use crate::say::{say, warn};
use crate::up::plan::{Joined, Mesh};
use crate::up::settings::EngineSettings;
use crate::up::start::{self, StartArgs, Wants};
use code::Code;
use member::Member;

/// Brings this machine's engines into a mesh that runs elsewhere: an agent for each.
///
/// What crashes is started again. Ctrl-C, or `echo-mesh down`, takes them out in order. A machine that has joined once needs
/// no code.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The code that `echo-mesh invite` shows on a machine of the mesh; not needed on a machine that has joined before. Others
    /// on this machine can see an argument: `-`, or none, reads the code from stdin
    #[arg(value_name = "CODE")]
    code: Vec<String>,

    #[command(flatten)]
    engines: EngineSettings,

    #[command(flatten)]
    start: StartArgs,
}

/// `config` is the configuration file that was named.
pub fn main(args: Args, config: Option<PathBuf>) -> ExitCode {
    start::main(join(args, config))
}

async fn join(mut args: Args, config: Option<PathBuf>) -> Result<()> {
    args.start.agents.flags()?;
    let place = args.start.place.place()?;
    let given: Option<Code> = match args.code.concat() {
        none if none.is_empty() => None,
        stdin if stdin == "-" => Some(prompt::piped().await?),
        text => Some(text.parse().map_err(BadConfig::because)?),
    };
    let wants = Wants::Member { by_code: given.is_some() };
    if !args.engines.dry_run && start::runs_already(&place, args.start.stop.patience(), wants).await? {
        return Ok(());
    }
    let before = if given.is_some() { None } else { Member::read(&place)? };
    if let Some(before) = &before {
        say(format_args!(
            "This machine is in the mesh at {}. (For another one: echo-mesh join CODE.)",
            before.nats
        ));
        before.fill(&mut args.engines);
    }
    // Before the code is used up, or even asked for.
    let engines = args.engines.joining(&place).await;
    let engines = if given.is_some() { engines.map_err(unused)? } else { engines? };
    if args.engines.dry_run {
        let nats = before.map_or_else(|| "the one that the code names".to_owned(), |member| member.nats);
        say(engines.plan(Mesh::Joined(Joined { nats, keys: None, edge: None })));
        return Ok(());
    }
    let ids = engines.ids();
    let member = match (before, given) {
        (Some(before), _) => {
            before.knows(&place, &ids)?;
            before.keep(&place, &args.engines, &ids)?
        }
        (None, Some(code)) => joined(&code, &args.engines, &ids, &place).await?,
        (None, None) => {
            let code = prompt::code(find::announced().await).await?;
            joined(&code, &args.engines, &ids, &place).await?
        }
    };
    let plan = engines.plan(Mesh::Joined(member.joined(&place)));
    start::start(plan, place, &args.start, config).await
}

/// Whoever has typed a code wants to know whether it is still good.
fn unused(error: anyhow::Error) -> anyhow::Error {
    match error.downcast::<BadConfig>() {
        Ok(BadConfig(why)) => BadConfig(format!("{why} The code was not used.")).into(),
        Err(error) => error.context("the code was not used"),
    }
}

/// Has the code exchanged for what this machine needs, and keeps that.
async fn joined(code: &Code, engines: &EngineSettings, ids: &[NodeId], place: &Place) -> Result<Member> {
    let own = env!("CARGO_PKG_VERSION");
    let keys = member::public_keys(place, ids).map_err(|error| unused(error.into()))?;
    let wish = JoinWish { nodes: ids.to_vec(), keys, version: own.to_owned() };
    let (broker, grant) = find::ask(code, &wish).await?;
    if grant.version != own {
        let theirs: String = grant.version.chars().filter(char::is_ascii_graphic).take(20).collect();
        warn(format_args!("the mesh has version {theirs} of echo-mesh, and this machine has {own}"));
    }
    let edge = grant.edge.filter(|edge| Url::parse(edge).is_ok());
    let mut member = Member { nats: format!("nats://{broker}"), edge, ..Member::default() };
    member.note(engines, ids);
    if let Some(pem) = &grant.authority {
        member::keep_authority(place, pem)?;
        member.keyed = ids.to_vec();
    }
    member.write(place)?;
    say(format_args!("This machine may join the mesh at {broker}, from now on without a code."));
    Ok(member)
}

impl Member {
    /// What is not said now is as it was said before.
    fn fill(&self, engines: &mut EngineSettings) {
        if engines.node.is_none() {
            engines.node.clone_from(&self.node);
        }
        if engines.engine_urls.is_empty() && engines.engines.is_none() {
            engines.engine_urls.clone_from(&self.engine_urls);
            engines.engines.clone_from(&self.engines);
        }
    }

    fn note(&mut self, engines: &EngineSettings, ids: &[NodeId]) {
        self.node = ids.first().cloned();
        self.engine_urls.clone_from(&engines.engine_urls);
        self.engines.clone_from(&engines.engines);
    }

    /// Keeps what has been said anew.
    fn keep(mut self, place: &Place, engines: &EngineSettings, ids: &[NodeId]) -> Result<Self> {
        let before = self.clone();
        self.note(engines, ids);
        if self != before {
            self.write(place)?;
        }
        Ok(self)
    }

    fn joined(&self, place: &Place) -> Joined {
        Joined { nats: self.nats.clone(), keys: self.keys(place), edge: self.edge.clone() }
    }
}
