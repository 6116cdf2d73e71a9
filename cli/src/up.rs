//! `echo-mesh up`: this machine's whole mesh, supervised.

mod address;
mod decide;
mod detach;
mod disk;
mod embedded;
mod engine_command;
mod engines;
mod parts;
mod plan;
mod ports;
mod progress;
mod ready;
mod run;
mod settings;
mod signals;
mod summary;
mod voice;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, bail};
use echo_bus::process::{self, LogArgs};

use crate::down::{self, StopArgs};
use crate::place::{Place, PlaceArgs};
use crate::record::{Lock, Record};
use crate::say::say;
use crate::supervise::Asks;
use crate::typed::Typed;

pub use settings::Settings;

/// This machine's whole mesh: broker, orchestrator, edge, and an agent for each engine.
///
/// What crashes is started again. Ctrl-C stops everything, in order.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Come back once the mesh is ready, and leave it running
    #[arg(long, short)]
    detach: bool,

    /// Be the process that `--detach` leaves running; the plan comes on stdin
    #[arg(long, hide = true)]
    supervise: bool,

    #[command(flatten)]
    settings: Settings,

    #[command(flatten)]
    place: PlaceArgs,

    #[command(flatten)]
    stop: StopArgs,

    #[command(flatten)]
    log: LogArgs,
}

pub fn main(args: Args) -> ExitCode {
    // One thread: the kernel ends engines with the thread that has started them.
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return process::ended(Err(error.into())),
    };
    let ended = runtime.block_on(start(args));
    runtime.shutdown_background();
    process::ended(ended)
}

async fn start(args: Args) -> Result<()> {
    if args.supervise {
        return detach::supervise(&args.log).await;
    }
    let place = args.place.place()?;
    if args.settings.dry_run {
        say(args.settings.plan(&place).await?);
        return Ok(());
    }
    if let Some(record) = Record::read(&place.run) {
        if record.supervisor.runs() {
            return show(&record, &place).await;
        }
        clear(&record, &place, args.stop.patience()).await?;
    }
    let plan = args.settings.plan(&place).await?;
    if args.detach {
        detach::start(plan, place.clone(), args.stop.patience()).await?;
        if let Some(record) = Record::read(&place.run) {
            summary::print(&record, &place);
        }
        return Ok(());
    }
    run::run(plan, place, args.stop.patience(), &mut voice::Voice::terminal()).await
}

/// What a supervisor that was killed has left is ended before anything is started.
async fn clear(record: &Record, place: &Place, patience: Duration) -> Result<()> {
    let Some(_lock) = Lock::take(&place.run)? else { return Ok(()) };
    if !record.dead().is_empty() || record.parts.iter().any(|part| part.process.runs()) {
        say("The mesh that ran here has lost its supervisor. Stopping what is left of it:");
        down::stop_parts(record, patience, |_| Asks::Here).await?;
    }
    Record::remove(&place.run);
    Ok(())
}

/// A mesh that is up is shown, not started twice. One that is half dead is said to be so.
async fn show(record: &Record, place: &Place) -> Result<()> {
    let (run, down) = (place.run.display(), Typed::of(place, None).stop);
    if !record.ready {
        let pid = record.supervisor.pid;
        bail!("another start of this mesh is under way (pid {pid}): wait for it, or end it with {down}");
    }
    say(format!("This mesh is already running, for {} by now ({run}).", summary::age(record)));
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
