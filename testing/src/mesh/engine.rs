//! A scripted engine as a process of its own, so that it can be killed and stopped for real.

use std::{
    collections::HashMap,
    net::SocketAddr,
    process::Command,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::{
    binaries,
    logs::Logs,
    spawn::{Running, spawn},
    until::soon,
};
use crate::client::Client;
use echo_scripted_engine::{Api, Counters, Script, Times};

/// An engine that does not say its counts by then has been stopped.
const SOON: Duration = Duration::from_secs(1);

pub struct EngineProgram {
    args: Vec<String>,
    address: SocketAddr,
    running: Mutex<Running>,
    logs: Logs,
    /// What the killed ones had done.
    past: Mutex<HashMap<u64, Times>>,
}

impl EngineProgram {
    /// Starts it on a port that the kernel chooses, where it stays.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start(script: &Script) -> Self {
        let api = if script.api == Api::Openai { "openai" } else { "ollama" };
        let args = ["--api", api, "--slots", &script.slots.to_string()].map(str::to_owned).to_vec();
        let logs = Logs::default();
        let (running, address) = launch(&args, "127.0.0.1:0", &logs).await;
        Self { args, address, running: Mutex::new(running), logs, past: Mutex::default() }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn logs(&self) -> &Logs {
        &self.logs
    }

    /// SIGKILL, and waits for the end.
    pub async fn kill(&self) {
        let past = self.ledger().await;
        self.signal(libc::SIGKILL, "SIGKILL");
        let exit = held(&self.running).exit();
        soon("an engine to end", exit).await;
        *held(&self.past) = past;
    }

    /// Starts it again where it was.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn restart(&self) {
        let (running, _) = launch(&self.args, &self.address.to_string(), &self.logs).await;
        *held(&self.running) = running;
    }

    /// SIGSTOP.
    pub fn pause(&self) {
        self.signal(libc::SIGSTOP, "SIGSTOP");
    }

    /// SIGCONT.
    pub fn resume(&self) {
        self.signal(libc::SIGCONT, "SIGCONT");
    }

    /// Its counts since its start, unless it is dead or stopped.
    pub async fn counters(&self) -> Option<Counters> {
        self.get("/counters").await
    }

    /// What became of each numbered task, over all starts.
    pub async fn ledger(&self) -> HashMap<u64, Times> {
        let now: HashMap<u64, Times> = self.get("/ledger").await.unwrap_or_default();
        let mut all = held(&self.past).clone();
        for (task, times) in now {
            all.entry(task).or_default().add(times);
        }
        all
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Option<T> {
        let reply = async { Some(Client::new(self.address).get(path).send().await.ok()?.json().await) };
        serde_json::from_value(timeout(SOON, reply).await.ok()??).ok()
    }

    fn signal(&self, signal: i32, name: &str) {
        self.logs.push(format!("--- {name}"));
        held(&self.running).signal(signal);
    }
}

async fn launch(args: &[String], listen: &str, logs: &Logs) -> (Running, SocketAddr) {
    let mut command = Command::new(binaries::program("echo-scripted-engine"));
    command.args(args).args(["--listen", listen]);
    let since = logs.end();
    let running = spawn(command, logs.clone()).await.expect("the scripted engine was built");
    // Its first line is where it listens.
    let address = soon("an engine to say where it listens", logs.line(since, |line| line.parse().ok())).await;
    (running, address)
}

fn held<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}
