//! `echo-mesh down`: stops what `up` has started here, and nothing else.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use echo_bus::process;
use echo_bus::time;
use tokio::time::timeout;

use crate::place::{Place, PlaceArgs};
use crate::record::{Lock, Part, Record};
use crate::say::say;
use crate::supervise::{self, Asks};

/// How long a supervisor that has nothing left to stop may take to end.
const SUPERVISOR: Duration = Duration::from_secs(10);

/// Stops the mesh that `up` has started: edge, agents, orchestrator, broker, engines.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    place: PlaceArgs,

    #[command(flatten)]
    stop: StopArgs,
}

/// How parts are stopped.
#[derive(Debug, Clone, clap::Args)]
pub struct StopArgs {
    /// How long each part may take to end before it is killed; edge and agents let their tasks finish for 30 s
    #[arg(long, env = "ECHO_STOP_SECONDS", value_name = "TIME", default_value = "40s", value_parser = time::some)]
    stop_timeout: Duration,
}

impl StopArgs {
    pub fn patience(&self) -> Duration {
        self.stop_timeout
    }
}

pub fn main(args: Args) -> ExitCode {
    process::ended(down(&args))
}

#[tokio::main(flavor = "current_thread")]
async fn down(args: &Args) -> Result<()> {
    let place = args.place.place()?;
    let Some(record) = Record::read(&place.run)? else {
        say(format!("Nothing to stop: no start is recorded in {}.", place.run.display()));
        return Ok(());
    };
    let patience = args.stop.patience();
    if record.supervisor.runs() {
        ask_supervisor(&record, patience).await?;
    }
    // A supervisor that has stopped in order leaves no record.
    if let Some(record) = Record::read(&place.run)? {
        stop_rest(&record, &place, patience).await?;
    }
    say("Stopped.");
    Ok(())
}

/// The supervisor stops its parts; this looks on, says what becomes of each, and kills what does not end.
async fn ask_supervisor(record: &Record, patience: Duration) -> Result<()> {
    let supervisor = &record.supervisor;
    let pid = supervisor.pid;
    if !record.ready {
        say(format!("`up` is still at work (pid {pid}): ending it"));
    }
    let dead: Vec<String> = record.dead().into_iter().map(str::to_owned).collect();
    supervisor.ask_to_end().with_context(|| {
        format!(
            "the supervisor (pid {pid}) cannot be stopped by this user; stop it as the one who started it"
        )
    })?;
    stop_parts(record, patience, |part| if dead.contains(part) { Asks::Here } else { Asks::Supervisor })
        .await?;
    if timeout(SUPERVISOR, supervisor.ended()).await.is_err() {
        say(format!("the supervisor (pid {pid}) does not end, so SIGKILL for it"));
        supervisor.kill();
        let _ = timeout(SUPERVISOR, supervisor.ended()).await;
    }
    Ok(())
}

/// What a supervisor has left that was killed.
async fn stop_rest(record: &Record, place: &Place, patience: Duration) -> Result<()> {
    let lock = Lock::take(&place.run).with_context(|| format!("cannot write in {}", place.run.display()))?;
    let Some(_lock) = lock else {
        bail!("another `up` or `down` is at work in {}: wait for it", place.run.display());
    };
    stop_parts(record, patience, |_| Asks::Here).await?;
    Record::remove(&place.run);
    Ok(())
}

/// Waits for the end of each part, the last started first, and says what becomes of it.
///
/// # Errors
/// One of them still runs.
pub async fn stop_parts(record: &Record, patience: Duration, asks: impl Fn(&String) -> Asks) -> Result<()> {
    let mut left = Vec::new();
    for part in record.parts.iter().rev() {
        say(supervise::end(&part.name, &part.process, patience, asks(&part.name)).await);
        if part.process.runs() {
            left.push(part);
        }
    }
    all_stopped(left)
}

/// # Errors
/// These parts still run.
pub fn all_stopped<'a>(left: impl IntoIterator<Item = &'a Part>) -> Result<()> {
    let left = left.into_iter().map(|part| format!("{} (pid {})", part.name, part.process.pid));
    let left: Vec<String> = left.collect();
    if left.is_empty() {
        return Ok(());
    }
    bail!("not everything could be stopped; still running: {}", left.join(", "))
}
