//! `echo-mesh drain` and `echo-mesh resume`: for the owner of a machine who wants its memory back, over the bus.

mod bus;
mod local;
mod wait;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use echo_bus::Bus;
use echo_bus::client::Subscription;
use echo_bus::id::NodeId;
use echo_bus::message::{Heartbeat, NodeStatus, Wish};
use echo_bus::process::{self, BadConfig};
use echo_bus::subject;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::bus::WhichBus;
use crate::clean::Clean;
use crate::here::{Here, here};
use crate::place::RunArgs;
use crate::say::say;
use local::Local;
use wait::{Drain, Runs, Wait};

/// What somebody hears whose node says nothing for so long is that, and nothing else.
const SILENT: Duration = Duration::from_secs(15);
/// By then a node has said that it takes work: it beats each second.
const RESUMED: Duration = Duration::from_secs(4);
/// Where there is no terminal, a line as often as this says that it goes on.
const REMIND: Duration = Duration::from_secs(10);
const DRAIN_HELP: &str = "It goes over the bus, so neither edge nor orchestrator need to run. It waits until nothing runs on \
the node any more; Ctrl-C ends the waiting, and the node still drains.

Exit code: 0 when the node is empty (with --no-wait: when it has taken the order), 1 if that cannot be had, 2 if there is no \
such node, 130 after Ctrl-C.";
const RESUME_HELP: &str = "It goes over the bus, so neither edge nor orchestrator need to run.

Exit code: 0 when the node takes work again, 1 if it does not, 2 if there is no such node.";
/// What a shell reports of a program that Ctrl-C has ended.
const INTERRUPTED: u8 = 130;

#[derive(Debug, clap::Args)]
#[command(after_help = DRAIN_HELP)]
pub struct DrainArgs {
    #[command(flatten)]
    owner: Owner,

    /// Do not wait until the node is empty
    #[arg(long)]
    no_wait: bool,
}

#[derive(Debug, clap::Args)]
#[command(after_help = RESUME_HELP)]
pub struct ResumeArgs {
    #[command(flatten)]
    owner: Owner,
}

#[derive(Debug, clap::Args)]
struct Owner {
    /// The node [default: the one that runs on this machine, if it is the only one]
    node: Option<NodeId>,

    #[command(flatten)]
    bus: WhichBus,

    #[command(flatten)]
    run: RunArgs,
}

pub fn drain(args: DrainArgs) -> ExitCode {
    ended(run_drain(&args))
}

pub fn resume(args: ResumeArgs) -> ExitCode {
    ended(run_resume(&args))
}

fn ended(command: impl Future<Output = Result<ExitCode>>) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    match runtime.context("cannot start").and_then(|runtime| runtime.block_on(command)) {
        Ok(code) => code,
        Err(error) => process::ended(Err(error)),
    }
}

async fn run_drain(args: &DrainArgs) -> Result<ExitCode> {
    let here = args.owner.here()?;
    if let Some(local) = args.owner.local(&here)? {
        return drain_here(&local, args.no_wait).await;
    }
    let (bus, node) = args.owner.begin(&here).await?;
    let mut beats = listen(&bus, &node).await?;
    bus::order(&bus, &node, Wish::Drain).await?;
    forget_old(&mut beats);
    if args.no_wait {
        say(format_args!("{node} takes nothing new, and finishes what it has."));
        return Ok(ExitCode::SUCCESS);
    }
    let code = empty(&node, &mut beats, &process::shutdown()).await;
    bus.close().await;
    code
}

async fn run_resume(args: &ResumeArgs) -> Result<ExitCode> {
    let here = args.owner.here()?;
    if let Some(local) = args.owner.local(&here)? {
        local.order(Wish::Resume).await?;
        timeout(SILENT, local.works()).await.context("it is resumed, and still takes nothing")??;
        say(format_args!("{} takes work again.", local.node()));
        return Ok(ExitCode::SUCCESS);
    }
    let (bus, node) = args.owner.begin(&here).await?;
    let mut beats = listen(&bus, &node).await?;
    let ordered = bus::order(&bus, &node, Wish::Resume).await?;
    forget_old(&mut beats);
    if ordered.stopping {
        bail!("the agent of {node} is leaving, which cannot be taken back: start it again");
    }
    works(&node, &mut beats).await?;
    say(format_args!("{node} takes work again."));
    bus.close().await;
    Ok(ExitCode::SUCCESS)
}

async fn drain_here(local: &Local, no_wait: bool) -> Result<ExitCode> {
    local.order(Wish::Drain).await?;
    let node = local.node();
    if no_wait {
        say(format_args!("{node} takes nothing new, and finishes what it has."));
        return Ok(ExitCode::SUCCESS);
    }
    if local.empty(&process::shutdown()).await? {
        say(format_args!("{node} is drained: nothing runs there, and it takes nothing new."));
        return Ok(ExitCode::SUCCESS);
    }
    say(format_args!(
        "{node} still drains: it takes nothing new. `echo-mesh resume {node}` takes that back."
    ));
    Ok(ExitCode::from(INTERRUPTED))
}

impl Owner {
    fn here(&self) -> Result<Here> {
        Ok(here(&self.run.dir()?).unwrap_or_default())
    }

    /// A machine that has only joined orders its own agents, unless another bus, or a key, is named.
    fn local(&self, here: &Here) -> Result<Option<Local>> {
        let access = &self.bus.access;
        if here.agents.is_empty()
            || self.bus.nats.is_some()
            || access.nkey.is_some()
            || access.creds.is_some()
        {
            return Ok(None);
        }
        Local::of(&here.agents, self.node.as_ref()).map(Some)
    }

    /// The bus, and which node is meant.
    async fn begin(&self, here: &Here) -> Result<(Bus, NodeId)> {
        let meant = self.bus.meant(here.bus.as_deref(), here.access.as_ref());
        let bus = bus::connect(&meant).await?;
        match (&self.node, here.nodes.as_slice()) {
            (Some(node), _) | (None, [node]) => Ok((bus, node.clone())),
            (None, _) => {
                let which = format!("say which node is meant. {}", bus::known(&bus).await);
                Err(BadConfig(which).into())
            }
        }
    }
}

async fn listen(bus: &Bus, node: &NodeId) -> Result<Subscription<Heartbeat>> {
    let beats = bus.subscribe(&subject::heartbeats_of(node)).await?;
    bus.round_trip(Duration::from_secs(2)).await.context("the broker does not answer")?;
    Ok(beats)
}

/// What was said before the order says nothing of what came of it.
fn forget_old(beats: &mut Subscription<Heartbeat>) {
    while beats.ready().is_some() {}
}

/// Waits until the node is empty, and says meanwhile what still runs.
async fn empty(
    node: &NodeId,
    beats: &mut Subscription<Heartbeat>,
    shutdown: &CancellationToken,
) -> Result<ExitCode> {
    let (mut wait, mut progress) = (Wait::default(), Progress::begin(node));
    loop {
        let beat = tokio::select! {
            () = shutdown.cancelled() => {
                progress.end();
                say(format_args!(
                    "{node} still drains: it takes nothing new. `echo-mesh resume {node}` takes that back."
                ));
                return Ok(ExitCode::from(INTERRUPTED));
            }
            beat = timeout(SILENT, beats.next_readable()) => beat,
        };
        let Ok(Some(beat)) = beat else {
            bail!("{node} is not heard of any more: look whether its agent and the broker run");
        };
        match wait.hear(&beat) {
            Drain::Runs(runs) => progress.tell(&runs),
            Drain::Undone => {
                bail!("{node} takes work again: somebody has resumed it, or its agent was started anew")
            }
            Drain::Empty => {
                progress.end();
                say(format_args!("{node} is drained: nothing runs there, and it takes nothing new."));
                return Ok(ExitCode::SUCCESS);
            }
        }
    }
}

/// Waits until the node says that it takes work.
async fn works(node: &NodeId, beats: &mut Subscription<Heartbeat>) -> Result<()> {
    let by = Instant::now() + RESUMED;
    let mut last = None;
    while let Ok(Some(beat)) = timeout_at(by, beats.next_readable()).await {
        if matches!(beat.status, NodeStatus::Idle | NodeStatus::Busy) {
            return Ok(());
        }
        last = Some(beat);
    }
    let Some(beat) = last else { bail!("{node} has taken the order, and is silent since") };
    let reason = Clean::of(&beat.reason);
    let reason = if reason.is_empty() { "it does not say why" } else { reason.as_str() };
    match beat.status {
        NodeStatus::Draining => bail!("{node} is resumed, and still takes nothing: {reason}"),
        _ => bail!("{node} is resumed, and cannot work: {reason}"),
    }
}

/// What a person sees while it waits: one line that changes on a terminal, a line for each change elsewhere.
struct Progress {
    node: NodeId,
    bar: ProgressBar,
    told: Option<(usize, Instant)>,
}

impl Progress {
    fn begin(node: &NodeId) -> Self {
        let bar = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("{spinner} {wide_msg}") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(120));
        Self { node: node.clone(), bar, told: None }
    }

    fn tell(&mut self, runs: &Runs) {
        let line = format!("{} drains and still runs {runs}", self.node);
        if !self.bar.is_hidden() {
            return self.bar.set_message(line);
        }
        let is_news = self.told.is_none_or(|(count, at)| count != runs.count || at.elapsed() >= REMIND);
        if is_news {
            say(line);
            self.told = Some((runs.count, Instant::now()));
        }
    }

    fn end(&self) {
        self.bar.finish_and_clear();
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.end();
    }
}
