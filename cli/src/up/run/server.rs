//! The nats-server that the broker will run: found, or fetched, which may take a while.

use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context as _, Result, anyhow, bail};
use echo_bus::process::BadConfig;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::Command;

use super::Mesh;
use crate::process::{Process, TOKEN};

/// What is said meanwhile.
const LOOKING: &str = "Looking for nats-server";

impl Mesh<'_> {
    /// Where it is. Another process looks, so that what that takes is not held as long as the mesh runs; the path is
    /// given to each start of the broker.
    pub(super) async fn find_server(&mut self) -> Result<PathBuf> {
        self.voice.waits(LOOKING, "");
        let mut command = Command::new(&self.program);
        command.args(["broker", "fetch", "--cache-dir"]).arg(&self.place.cache);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        command.env(TOKEN, self.children.token());
        let mut child = command.spawn().context("this program cannot be started")?;
        // With what it has started: a signal ends the search at once.
        let _search =
            child.id().and_then(|pid| Process::started(pid, self.children.token())).map(KilledOnDrop);
        let mut found = child.stdout.take().context("a pipe from the search")?;
        let mut said = BufReader::new(child.stderr.take().context("a pipe from the search")?).lines();
        let mut last = String::new();
        while let Some(line) = self.watched("nats-server", async { Ok(said.next_line().await?) }).await? {
            self.voice.waits(LOOKING, &line);
            last = line;
        }
        let mut path = String::new();
        found.read_to_string(&mut path).await?;
        let status = child.wait().await?;
        let why = last.strip_prefix("error: ").unwrap_or(&last);
        match status.code() {
            Some(0) => Ok(PathBuf::from(path.trim())),
            Some(2) => Err(BadConfig(why.to_owned()).into()),
            _ if why.is_empty() => bail!("there is no nats-server to start ({status})"),
            _ => Err(anyhow!("there is no nats-server to start: {why}")),
        }
    }
}

struct KilledOnDrop(Process);

impl Drop for KilledOnDrop {
    fn drop(&mut self) {
        self.0.kill();
    }
}
