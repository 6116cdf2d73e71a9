//! A real engine with a real model: llama.cpp's server with SmolLM2, as the quick start uses it without Ollama.

use std::{process::Command, time::Duration};

use super::{
    binaries,
    logs::Logs,
    spawn::{Running, spawn},
};

/// The first start on a machine fetches the model; every later one takes seconds.
const LIMIT: Duration = Duration::from_secs(300);

/// Dropping it ends it.
pub struct RealEngine {
    url: String,
    logs: Logs,
    _running: Running,
}

impl RealEngine {
    /// Starts it with one slot on a port that the kernel chooses.
    ///
    /// # Errors
    /// Why this machine cannot have one.
    pub async fn start() -> Result<Self, String> {
        Self::start_with(&[]).await
    }

    /// The same with further flags.
    ///
    /// # Errors
    /// Why this machine cannot have one.
    pub async fn start_with(flags: &[&str]) -> Result<Self, String> {
        let script = binaries::root().join("cli/src/up/embedded/embedded-engine.py");
        let mut command = Command::new("python3");
        command.arg(&script).args(["--port", "0", "--slots", "1"]).args(flags);
        let logs = Logs::default();
        let running = spawn(command, logs.clone()).await.map_err(|error| format!("no python3: {error}"))?;
        let ready = logs.line(0, |line| line.strip_prefix("ready ").map(str::to_owned));
        let url = tokio::select! {
            url = ready => url,
            status = running.exit() => return Err(format!("{status}: {}", logs.tail(3))),
            () = tokio::time::sleep(LIMIT) => return Err(format!("not ready after {LIMIT:?}: {}", logs.tail(3))),
        };
        Ok(Self { url, logs, _running: running })
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    pub fn logs(&self) -> &Logs {
        &self.logs
    }
}
