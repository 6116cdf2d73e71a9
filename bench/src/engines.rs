//! The two scripted engines behind all systems: processes of their own, at the same addresses for the whole run.

use std::{
    net::SocketAddr,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use echo_scripted_engine::Counters;
use echo_testing::mesh::binaries;

use crate::{
    client::{Connection, request::MODEL},
    process::Process,
};

const START: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(5);

/// One engine and where it listens.
pub struct Engine {
    process: Process,
    address: SocketAddr,
    slots: usize,
}

/// Both engines.
pub struct Engines {
    pub engines: [Engine; 2],
}

impl Engines {
    /// Starts both, with so many slots each that no system has to wait for one.
    ///
    /// # Errors
    /// When one does not come up.
    pub async fn start(slots: usize) -> anyhow::Result<Self> {
        let first = Engine::start("127.0.0.1:0", slots).await?;
        let second = Engine::start("127.0.0.1:0", slots).await?;
        let engines = Self { engines: [first, second] };
        engines.load().await?;
        Ok(engines)
    }

    /// Both load their model, as engines that have been at work: a mesh prefers an engine that has it loaded.
    ///
    /// # Errors
    /// When one does not answer.
    pub async fn load(&self) -> anyhow::Result<()> {
        for engine in &self.engines {
            engine.load().await?;
        }
        Ok(())
    }

    pub fn addresses(&self) -> [SocketAddr; 2] {
        [self.engines[0].address, self.engines[1].address]
    }

    /// Requests that the engines work on now.
    pub async fn working(&self) -> anyhow::Result<u64> {
        let mut working = 0;
        for engine in &self.engines {
            let counters = engine.counters().await?;
            working += counters.running + counters.waiting;
        }
        Ok(working)
    }

    /// Waits until the engines have nothing to do; says how long that took.
    ///
    /// # Errors
    /// When they still work after `limit`.
    pub async fn free(&self, limit: Duration) -> anyhow::Result<Duration> {
        let start = Instant::now();
        loop {
            let working = self.working().await?;
            match working {
                0 => return Ok(start.elapsed()),
                _ if start.elapsed() > limit => {
                    bail!("the engines still have {working} requests after {limit:?}")
                }
                _ => tokio::time::sleep(PAUSE).await,
            }
        }
    }
}

impl Engine {
    async fn start(listen: &str, slots: usize) -> anyhow::Result<Self> {
        let mut command = Command::new(binaries::program("echo-scripted-engine"));
        command.args(["--listen", listen, "--api", "both", "--model", MODEL, "--slots", &slots.to_string()]);
        // A token is a write of its own, as engines do it.
        command.args(["--batch", "1"]);
        let process = Process::start("engine", command).await?;
        let address = process.says(START, |line| line.parse().ok()).await?;
        Ok(Self { process, address, slots })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn pid(&self) -> i32 {
        self.process.pid()
    }

    /// SIGKILL.
    pub async fn kill(&self) {
        self.process.kill().await;
    }

    /// Starts it again where it was.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn revive(&mut self) -> anyhow::Result<()> {
        *self = Self::start(&self.address.to_string(), self.slots).await?;
        Ok(())
    }

    /// Without a prompt, Ollama loads the model.
    async fn load(&self) -> anyhow::Result<()> {
        self.ask("POST /api/generate", &format!("{{\"model\":\"{MODEL}\",\"keep_alive\":-1}}")).await?;
        Ok(())
    }

    /// What it has done since its start.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn counters(&self) -> anyhow::Result<Counters> {
        let reply = self.ask("GET /counters", "").await?;
        serde_json::from_slice(&reply).context("the engine's counters cannot be read")
    }

    async fn ask(&self, route: &str, body: &str) -> anyhow::Result<Vec<u8>> {
        let mut connection = Connection::new(self.address, 4 << 10);
        let request = format!(
            "{route} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        );
        let mut reply = Vec::new();
        let status = connection.ask(request.as_bytes(), |bytes| reply.extend_from_slice(bytes)).await?;
        ensure!(status == 200, "{route} of the engine at {}: status {status}", self.address);
        Ok(reply)
    }
}
