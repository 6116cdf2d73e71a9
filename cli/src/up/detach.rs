//! Leaving a mesh running: the supervisor goes into a session of its own, and whoever has started it waits until all is
//! ready.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use echo_bus::process::{self, BadConfig, LogArgs};
use serde::{Deserialize, Serialize};

use super::parts::CONFIG;
use super::plan::Plan;
use super::run;
use super::signals::Signals;
use super::voice::{Code, Terminal, Voice, Word, relay};
use crate::log_file::LogFile;
use crate::os;
use crate::place::Place;
use crate::process::Process;

/// What the supervisor is told.
#[derive(Serialize, Deserialize)]
struct Order {
    plan: Plan,
    place: Place,
    patience: Duration,
}

/// Starts the supervisor, shows what it does, and comes back when all is ready: with the code that invites a machine.
pub async fn start(plan: Plan, place: Place, patience: Duration) -> Result<Option<Code>> {
    std::fs::create_dir_all(&place.logs).with_context(|| format!("cannot make {}", place.logs.display()))?;
    let program = std::env::current_exe().context("this program's own file cannot be found")?;
    let mut command = Command::new(program);
    command.args(["up", "--supervise"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    if let Some(config) = &plan.config {
        command.env(CONFIG, config);
    }
    let mut child = command.stderr(LogFile::of(&place.logs, "up").append()?).spawn()?;
    let order = serde_json::to_vec(&Order { plan, place, patience })?;
    child.stdin.take().context("a pipe to the supervisor")?.write_all(&order)?;
    let told = child.stdout.take().context("a pipe from the supervisor")?;
    let supervisor = Process::of(child.id());
    let mut signals = Signals::new()?;
    let mut shown = tokio::task::spawn_blocking(move || relay(told, &mut Terminal::default()));
    let end = loop {
        tokio::select! {
            end = &mut shown => break end?,
            // It stops what it has started, and says so.
            () = signals.next() => supervisor.iter().try_for_each(|it| it.signal(libc::SIGTERM))?,
        }
    };
    if let Some(Word::Ready(code)) = end {
        return Ok(code);
    }
    // Nothing of it is left when this comes back.
    let status = tokio::task::spawn_blocking(move || child.wait()).await??;
    match end {
        Some(Word::Failed { why, bad_config: true }) => Err(BadConfig(why).into()),
        Some(Word::Failed { why, .. }) => bail!(why),
        _ => bail!("the supervisor ended without a word ({status})"),
    }
}

/// The supervisor itself.
pub async fn supervise(log: &LogArgs) -> Result<()> {
    let order = serde_json::from_reader(std::io::stdin().lock());
    let Order { plan, place, patience } = order.context("only `up --detach` starts this")?;
    os::leave_session().context("cannot leave the session of the terminal")?;
    process::logs(log.log_format, "info,async_nats=warn");
    let mut voice = Voice::caller();
    let ended = run::run(plan, place, patience, &mut voice).await;
    if let Err(error) = &ended {
        voice.failed(format!("{error:#}"), error.is::<BadConfig>());
    }
    Ok(())
}
