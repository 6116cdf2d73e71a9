//! `echo-mesh join`: brings this machine's engines into a mesh that runs elsewhere.

mod agents;
mod arrival;
pub mod code;
mod engine;
pub mod exchange;
mod find;
pub mod member;
mod os;
pub mod pake;
mod prompt;

use std::process::{ExitCode, Stdio};

use anyhow::{Context as _, Result, anyhow};
use echo_bus::Bus;
use echo_bus::id::NodeId;
use echo_bus::message::JoinWish;
use echo_bus::process::{self, BadConfig};
use reqwest::Url;
use tokio_util::sync::CancellationToken;

use crate::place::{Place, PlaceArgs};
use crate::say::{say, warn};
use agents::Agents;
use arrival::Arrived;
use code::Code;
use member::Member;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The code that `echo-mesh invite` shows on a machine of the mesh; not needed on a machine that has joined before
    #[arg(value_name = "CODE")]
    code: Vec<String>,

    /// The name of this machine's node [default: the host name]
    #[arg(long, env = "ECHO_NODE_ID", value_name = "NAME", allow_hyphen_values = true)]
    node: Option<NodeId>,

    /// Where an engine is; may be repeated [default: Ollama at http://127.0.0.1:11434]
    #[arg(long, env = "ECHO_ENGINE_URL", value_name = "URL")]
    engine_url: Vec<Url>,

    /// Come back once the node is in the mesh, and leave it running
    #[arg(long)]
    detach: bool,

    #[command(flatten)]
    place: PlaceArgs,
}

pub fn main(args: Args) -> ExitCode {
    execute(args)
}

#[tokio::main(flavor = "current_thread")]
async fn execute(args: Args) -> ExitCode {
    process::ended(run(args).await)
}

async fn run(args: Args) -> Result<()> {
    let shutdown = process::shutdown();
    let place = args.place.place()?;
    let Some(member) = shutdown.run_until_cancelled(member_of(&args, &place)).await.transpose()? else {
        return Ok(());
    };
    let Some(bus) = shutdown
        .run_until_cancelled(member::bus_of(&member.nats, Member::secret(&place)?))
        .await
        .transpose()?
    else {
        return Ok(());
    };
    if args.detach {
        left_running(&bus, &member, &place).await
    } else {
        runs(&bus, &member, &place, &shutdown).await
    }
}

/// What this machine is in its mesh: as before, or by a code.
async fn member_of(args: &Args, place: &Place) -> Result<Member> {
    let before = Member::read(place)?;
    if args.code.is_empty()
        && let Some(mut member) = before
    {
        say(format_args!(
            "This machine is in the mesh at {}. (For another one: echo-mesh join CODE.)",
            member.nats
        ));
        if !args.engine_url.is_empty() || args.node.is_some() {
            member.engines = engines(args, Some(&member)).await?;
            member.write(place, Member::secret(place)?.as_ref())?;
        }
        return Ok(member);
    }
    let given: Option<Code> = match args.code.concat() {
        none if none.is_empty() => None,
        text => Some(text.parse().map_err(BadConfig::because)?),
    };
    // Before the code is used up, or even asked for.
    let engines = engines(args, None).await?;
    let code = match given {
        Some(code) => code,
        None => prompt::code(find::announced().await).await?,
    };
    joined(&code, engines, place).await
}

async fn engines(args: &Args, before: Option<&Member>) -> Result<Vec<engine::Engine>> {
    let known = before.and_then(|member| member.engines.first());
    let node = match (&args.node, known) {
        (Some(node), _) => node.clone(),
        (None, Some(known)) => known.node.clone(),
        (None, None) => host_name()?,
    };
    let urls = match (args.engine_url.as_slice(), before) {
        ([], Some(member)) => member.engines.iter().map(|engine| engine.url.clone()).collect(),
        ([], None) => vec![engine::USUAL.to_owned()],
        (urls, _) => urls.iter().map(Url::to_string).collect(),
    };
    engine::engines(urls, &node).await
}

fn host_name() -> Result<NodeId, BadConfig> {
    let host = sysinfo::System::host_name().unwrap_or_default();
    NodeId::from_host_name(&host).map_err(|_| {
        BadConfig(format!("the host name {host:?} makes no node's name: choose one with --node"))
    })
}

/// Has the code exchanged for what this machine needs, and keeps that.
async fn joined(code: &Code, engines: Vec<engine::Engine>, place: &Place) -> Result<Member> {
    let own = env!("CARGO_PKG_VERSION");
    let nodes = engines.iter().map(|engine| engine.node.clone()).collect();
    let (broker, grant) = find::ask(code, &JoinWish { nodes, version: own.to_owned() }).await?;
    if grant.version != own {
        let theirs: String = grant.version.chars().filter(char::is_ascii_graphic).take(20).collect();
        warn(format_args!("the mesh has version {theirs} of echo-mesh, and this machine has {own}"));
    }
    let edge = grant.edge.filter(|edge| Url::parse(edge).is_ok());
    let member = Member { nats: format!("nats://{broker}"), edge, engines };
    member.write(place, grant.secret.as_ref())?;
    say(format_args!("This machine may join the mesh at {broker}, from now on without a code."));
    Ok(member)
}

/// In the foreground, until it is told to stop.
async fn runs(bus: &Bus, member: &Member, place: &Place, shutdown: &CancellationToken) -> Result<()> {
    let mut agents = Agents::start(member, place)?;
    let ended = tokio::select! {
        biased;
        () = shutdown.cancelled() => None,
        why = agents.ended() => Some(why),
        why = async {
            match arrival::arrival(bus, &nodes(member)).await {
                Ok(arrived) => told(&arrived, member),
                // It goes on by itself as soon as it can.
                Err(why) => warn(format_args!("warning: {why}")),
            }
            bus.close().await;
            std::future::pending().await
        } => why,
    };
    agents.stop().await;
    ended.map_or(Ok(()), Err)
}

/// The same in the background; comes back when the nodes are in the mesh.
async fn left_running(bus: &Bus, member: &Member, place: &Place) -> Result<()> {
    std::fs::create_dir_all(&place.logs)
        .with_context(|| format!("cannot write to {}", place.logs.display()))?;
    let log = place.logs.join("join.log");
    let mut child = tokio::process::Command::new(std::env::current_exe()?)
        .arg("join")
        .arg("--run-dir")
        .arg(&place.run)
        .arg("--log-dir")
        .arg(&place.logs)
        .env_remove("ECHO_NODE_ID")
        .env_remove("ECHO_ENGINE_URL")
        .stdin(Stdio::null())
        .stdout(agents::appended(&log)?)
        .stderr(agents::appended(&log)?)
        .process_group(0)
        .spawn()
        .context("cannot start it in the background")?;
    let pid = child.id().unwrap_or_default();
    let nodes = nodes(member);
    let arrived = tokio::select! {
        biased;
        status = child.wait() => {
            let how = status.map_or_else(|error| error.to_string(), |status| status.to_string());
            let why = agents::last_error(&log).unwrap_or_else(|| format!("it ended with {how}"));
            return Err(anyhow!("{why} (the log is {})", log.display()));
        }
        arrived = arrival::arrival(bus, &nodes) => arrived,
    };
    bus.close().await;
    match arrived {
        Ok(arrived) => told(&arrived, member),
        Err(why) => {
            return Err(anyhow!("{why}. It goes on trying, as process {pid}; the log is {}", log.display()));
        }
    }
    say(format_args!("It runs on as process {pid}; the log is {}.", log.display()));
    Ok(())
}

fn nodes(member: &Member) -> Vec<NodeId> {
    member.engines.iter().map(|engine| engine.node.clone()).collect()
}

fn told(arrived: &Arrived, member: &Member) {
    arrived.lines().into_iter().for_each(say);
    if let Some(warning) = arrived.warning() {
        warn(format_args!("warning: {warning}"));
    }
    if let Some(edge) = &member.edge {
        say(format_args!("The mesh answers at {edge}"));
    }
}
