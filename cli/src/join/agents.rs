//! The agents of a machine that has joined: a process for each engine.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, Result, anyhow};
use futures::future::{join_all, select_all};
use tokio::process::{Child, Command};

use super::engine::Engine;
use super::member::Member;
use super::os;
use crate::place::Place;

/// Where the first agent listens; the others come after it.
const FIRST_PORT: u16 = 9001;
/// The end of a log in which a reason is looked for.
const LAST_WORDS: u64 = 8192;

/// Agents that run. Dropped, they are killed.
pub struct Agents<'mesh> {
    member: &'mesh Member,
    place: &'mesh Place,
    running: Vec<Agent>,
}

struct Agent {
    engine: Engine,
    port: u16,
    child: Child,
    log: PathBuf,
}

impl<'mesh> Agents<'mesh> {
    /// Starts one for each engine.
    ///
    /// # Errors
    /// A log cannot be written, or there is no process to be had.
    pub fn start(member: &'mesh Member, place: &'mesh Place) -> Result<Self> {
        std::fs::create_dir_all(&place.logs)
            .with_context(|| format!("cannot write to {}", place.logs.display()))?;
        let mut ports = free_ports();
        let running = member.engines.iter().map(|engine| {
            let port = ports.next().ok_or_else(|| anyhow!("no port is free for the agent"))?;
            start(engine, member, place, port)
        });
        Ok(Self { member, place, running: running.collect::<Result<_>>()? })
    }

    /// Waits until one ends, which none does unasked; why it has. Cancel-safe.
    pub async fn ended(&mut self) -> anyhow::Error {
        loop {
            let ends = self.running.iter_mut().map(|agent| Box::pin(agent.child.wait()));
            let (status, at, _) = select_all(ends).await;
            let how = status.map_or_else(|error| error.to_string(), |status| status.to_string());
            let agent = &mut self.running[at];
            let why = last_error(&agent.log).unwrap_or_else(|| format!("it ended with {how}"));
            // Somebody else took the port between our look and its start: now the system chooses one.
            if agent.port != 0
                && why.starts_with("cannot listen on")
                && let Ok(another) = start(&agent.engine, self.member, self.place, 0)
            {
                *agent = another;
                continue;
            }
            let (node, log) = (&agent.engine.node, agent.log.display());
            return anyhow!("the agent of {node} has ended: {why} (its log is {log})");
        }
    }

    /// Asks all to end, and waits until they have: each lets its tasks go on for a while.
    pub async fn stop(mut self) {
        for agent in &self.running {
            let _ = os::terminate(&agent.child);
        }
        join_all(self.running.iter_mut().map(|agent| agent.child.wait())).await;
    }
}

fn start(engine: &Engine, member: &Member, place: &Place, port: u16) -> Result<Agent> {
    let log = place.logs.join(format!("agent-{}.log", engine.node));
    let mut command = Command::new(std::env::current_exe()?);
    command
        .arg("agent")
        .args(["--node", engine.node.as_str(), "--nats", &member.nats])
        .args(["--engine", engine.api.as_str(), "--engine-url", &engine.url])
        .args(["--listen", &format!("127.0.0.1:{port}")]);
    let secret = Member::secret_file(place);
    if secret.exists() {
        command.arg("--secret-file").arg(secret);
    }
    let (out, err) = (appended(&log)?, appended(&log)?);
    // A group of its own: Ctrl-C is for us, and we stop it in order.
    command.stdin(Stdio::null()).stdout(out).stderr(err).process_group(0).kill_on_drop(true);
    os::end_with_parent(&mut command);
    let child = command.spawn().context("cannot start an agent")?;
    Ok(Agent { engine: engine.clone(), port, child, log })
}

/// A log to be written on.
pub fn appended(path: &Path) -> Result<File> {
    let file = OpenOptions::new().create(true).append(true).open(path);
    file.with_context(|| format!("cannot write {}", path.display()))
}

fn free_ports() -> impl Iterator<Item = u16> {
    (FIRST_PORT..=u16::MAX).filter(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
}

/// The sentence with which a program of ours ends, if it is at the end of this log.
pub fn last_error(log: &Path) -> Option<String> {
    let mut file = File::open(log).ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(LAST_WORDS))).ok()?;
    let mut bytes = Vec::new();
    file.take(LAST_WORDS).read_to_end(&mut bytes).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    text.lines().rev().take(3).find_map(|line| line.strip_prefix("error: ")).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_is_the_last_error_and_none_of_long_ago() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        assert_eq!(last_error(&log), None);
        std::fs::write(&log, format!("{}\nerror: first\nINFO x\nerror: cannot listen\n", "x".repeat(9000)))
            .unwrap();
        assert_eq!(last_error(&log).as_deref(), Some("cannot listen"));
        std::fs::write(&log, "error: of the last start\nINFO a\nINFO b\nINFO c\n").unwrap();
        assert_eq!(last_error(&log), None);
    }
}
