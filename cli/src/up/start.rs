//! What `up` and `join` have in common: one supervisor for a run directory, which is shown where it runs already.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use echo_bus::id::{NodeId, SiteName};
use echo_bus::process::{self, BadConfig, LogArgs};

use super::agent_args::AgentArgs;
use super::plan::Plan;
use super::voice::Voice;
use super::{detach, run, summary};
use crate::clean::visible_error;
use crate::down::{self, StopArgs};
use crate::join::member::{self, Member};
use crate::place::{Place, PlaceArgs};
use crate::record::{Lock, Record};
use crate::say::say;
use crate::supervise::Asks;
use crate::typed::Typed;

/// How it is started.
#[derive(Debug, clap::Args)]
pub struct StartArgs {
    /// Come back once all is ready, and leave it running
    #[arg(long, short)]
    pub detach: bool,

    #[command(flatten)]
    pub agents: AgentArgs,

    /// Where this machine stands, as you call it: tasks go to nodes at the site of the edge that they came to first
    #[arg(long, env = "ECHO_SITE", value_name = "NAME")]
    pub site: Option<SiteName>,

    #[command(flatten)]
    pub place: PlaceArgs,

    #[command(flatten)]
    pub stop: StopArgs,

    #[command(flatten)]
    pub log: LogArgs,
}

/// What is going to be started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wants {
    /// A mesh of this machine's own.
    Mesh,
    /// A part of one that runs elsewhere, by a code or as before.
    Member { by_code: bool },
}

/// Runs it on a thread of its own.
pub fn main(work: impl Future<Output = Result<()>>) -> ExitCode {
    // One thread: the kernel ends engines with the thread that has started them.
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return process::ended(Err(error.into())),
    };
    let ended = runtime.block_on(work);
    runtime.shutdown_background();
    process::ended(ended.map_err(visible_error))
}

/// Whether it runs here already, which is then shown. What a supervisor that was killed has left is ended.
///
/// # Errors
/// Something else runs here.
pub async fn runs_already(place: &Place, patience: Duration, wants: Wants) -> Result<bool> {
    let Some(record) = Record::read(&place.run)? else { return Ok(false) };
    if record.supervisor.runs() {
        fits(&record, place, wants)?;
        if record.joined {
            still_let_in(&record, place).await?;
        }
        return show(&record, place).map(|()| true);
    }
    clear(&record, place, patience).await?;
    Ok(false)
}

/// Starts what is planned, as `args` say. Comes back when all is ready, or when all has ended.
pub async fn start(plan: Plan, place: Place, args: &StartArgs, config: Option<PathBuf>) -> Result<()> {
    let config = config.map(|path| std::path::absolute(&path).unwrap_or(path));
    let (agent_flags, site, log) = (args.agents.flags()?, args.site.clone(), args.log.log_format);
    let plan = Plan { agent_flags, site, log, config, ..plan };
    let patience = args.stop.patience();
    if !args.detach {
        return run::run(plan, place, patience, &mut Voice::terminal()).await;
    }
    let code = detach::start(plan, place.clone(), patience).await?;
    if let Some(record) = Record::read(&place.run)? {
        summary::print(&record, &place);
    }
    summary::print_code(code.as_ref());
    Ok(())
}

async fn clear(record: &Record, place: &Place, patience: Duration) -> Result<()> {
    let Some(_lock) = Lock::take(&place.run)? else { return Ok(()) };
    if !record.dead().is_empty() || record.parts.iter().any(|part| part.process.runs()) {
        say("The mesh that ran here has lost its supervisor. Stopping what is left of it:");
        down::stop_parts(record, patience, |_| Asks::Here).await?;
    }
    Record::remove(&place.run);
    Ok(())
}

/// A machine is in one mesh at a time, as far as one run directory goes.
fn fits(record: &Record, place: &Place, wants: Wants) -> Result<(), BadConfig> {
    let (bus, down) = (record.bus.as_deref().unwrap_or_default(), Typed::of(place, None).stop);
    Err(BadConfig(match (record.joined, wants) {
        (false, Wants::Mesh) | (true, Wants::Member { by_code: false }) => return Ok(()),
        (false, Wants::Member { .. }) => format!(
            "a mesh of this machine's own runs here: end it with {down} before this machine joins another one"
        ),
        (true, Wants::Mesh) => format!(
            "this machine is in the mesh at {bus}, which runs elsewhere: leave it with {down} before it has a mesh of \
             its own"
        ),
        (true, Wants::Member { by_code: true }) => format!(
            "this machine is in the mesh at {bus} already: leave it with {down} before it joins another one; the code \
             was not used"
        ),
    }))
}

/// Of a machine that was cut off, the agents run on and go on trying: that is not being in the mesh.
async fn still_let_in(record: &Record, place: &Place) -> Result<()> {
    let Some(member) = Member::read(place)? else { return Ok(()) };
    let Some(keys) = member.keys(place) else { return Ok(()) };
    let nodes: Vec<NodeId> = record.nodes.iter().filter_map(|node| node.id.parse().ok()).collect();
    let stop = Typed::of(place, None).stop;
    member::still_let_in(&member.nats, &keys, &nodes)
        .await
        .map_err(|error| anyhow!("{error:#}. First end what runs here: {stop}"))
}

/// What is up is shown, not started twice. What is half dead is said to be so.
fn show(record: &Record, place: &Place) -> Result<()> {
    let (run, down) = (place.run.display(), Typed::of(place, None).stop);
    let pid = record.supervisor.pid;
    if record.stopping {
        bail!("this mesh is being stopped (pid {pid}): start it again once that is done");
    }
    if !record.ready {
        bail!("another start of this mesh is under way (pid {pid}): wait for it, or end it with {down}");
    }
    let age = summary::age(record);
    match &record.bus {
        Some(bus) if record.joined => say(format!("This machine is in the mesh at {bus}, for {age} by now.")),
        _ => say(format!("This mesh is already running, for {age} by now ({run}).")),
    }
    summary::print_parts(record);
    let dead = record.dead();
    if !dead.is_empty() {
        bail!(
            "not running any more: {}. It is started again by itself; if that does not help, see the logs in {}, and \
             start afresh: {down}",
            dead.join(", "),
            record.logs.display()
        );
    }
    summary::print_lines_to_try(record, place);
    Ok(())
}
