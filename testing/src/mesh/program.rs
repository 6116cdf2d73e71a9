//! One program of the mesh and its life: started, killed, paused, ended politely, started again.

use std::{
    net::SocketAddr,
    process::{Command, ExitStatus},
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::{
    binaries,
    logs::{Line, Logs},
    spawn::{Running, spawn},
    until::{holds, soon, until},
};

/// Variables of a mesh that runs outside must not reach the one under test; where to find nats-server may, where traces are
/// told, which the benchmark can measure so, and with how many threads the parts run.
const PASSED_ON: [&str; 6] = [
    "ECHO_AGENT_THREADS",
    "ECHO_BROKER_THREADS",
    "ECHO_CACHE_DIR",
    "ECHO_EDGE_THREADS",
    "ECHO_NATS_SERVER",
    "ECHO_OTLP",
];

/// A program with the arguments that it is started with each time.
pub struct Program {
    name: String,
    /// A part of the mesh by its name, or a program.
    binary: &'static str,
    /// As in RUST_LOG; absent: the program's own choice.
    logging: Option<&'static str>,
    state: Mutex<State>,
    logs: Logs,
}

struct State {
    args: Vec<String>,
    /// The network namespace that it runs in; else the test's own.
    host: Option<String>,
    /// Variables beside those of the test.
    env: Vec<(String, String)>,
    running: Option<Running>,
    /// Where a broker keeps its server's ports file. It is killed in the end, and cannot clean up then.
    folder: Option<tempfile::TempDir>,
    /// The number of the first log line of this start.
    since: u64,
    address: Option<SocketAddr>,
}

impl Program {
    /// Not started yet. `name` is for people who read the logs of a failed test.
    pub fn new(name: impl Into<String>, binary: &'static str, args: Vec<String>) -> Self {
        let folder = (binary == "broker").then(|| tempfile::tempdir().expect("a folder"));
        let (env, running, since) = (Vec::new(), None, 0);
        let state = State { args, host: None, env, running, folder, since, address: None };
        let (logging, state) = (Some("info,echo=debug"), Mutex::new(state));
        Self { name: name.into(), binary, logging, state, logs: Logs::default() }
    }

    /// Logs what it logs for its users, so that a measurement is of what they run.
    #[must_use]
    pub fn as_users_run_it(mut self) -> Self {
        self.logging = None;
        self
    }

    /// The same on another host: a network namespace.
    #[must_use]
    pub fn on(self, host: &str) -> Self {
        self.state().host = Some(host.to_owned());
        self
    }

    /// A variable for the next start.
    pub fn env(&self, name: &str, value: impl Into<String>) {
        self.state().env.push((name.to_owned(), value.into()));
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Starts it and waits until it says `ready`.
    ///
    /// # Panics
    /// When it ends or stays silent instead.
    pub async fn start(&self) {
        self.launch().await;
        self.ready().await;
    }

    /// Starts it, where it listened before if somebody knows that address, and waits for nothing.
    ///
    /// # Panics
    /// When there is no such program.
    pub async fn launch(&self) {
        // Nobody has an agent's address but from its heartbeats, and its port may be another's by now.
        let keeps = self.is_ours() && self.binary != "agent";
        let before = self.state().address;
        if let Some(before) = before.filter(|_| keeps) {
            self.set("--listen", before.to_string());
        }
        let mut command = self.command();
        command.args(self.args());
        if self.is_ours() {
            command.args(["--log-format", "json"]);
        }
        match self.logging {
            Some(filter) => command.env("RUST_LOG", filter),
            None => command.env_remove("RUST_LOG"),
        };
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("ECHO_")) {
            if !PASSED_ON.contains(&name.as_str()) {
                command.env_remove(name);
            }
        }
        // Nor the configuration of whoever runs the tests.
        command.env("ECHO_CONFIG", "/dev/null");
        command.envs(self.state().env.iter().cloned());
        command.envs(self.state().folder.iter().map(|folder| ("TMPDIR", folder.path().to_owned())));
        let since = self.logs.end();
        self.logs.push(format!("--- {} {}", self.binary, self.args().join(" ")));
        let running = match spawn(command, self.logs.clone()).await {
            Ok(running) => running,
            Err(error) => panic!("cannot start {}: {error}", self.name),
        };
        let mut state = self.state();
        (state.running, state.since) = (Some(running), since);
    }

    /// Waits until this start has said `ready`, and learns its address if it listens.
    ///
    /// # Panics
    /// When it ends or stays silent instead.
    pub async fn ready(&self) {
        let from = self.state().since;
        let ready = soon("a program to be ready", self.logs.line(from, |line| is_ready(line).then_some(())));
        tokio::select! {
            () = ready => {}
            status = self.exit() => panic!("{} ended with {status}:\n{}", self.name, self.logs.tail(20)),
        }
        let address = self.logs.since(from).iter().find_map(|line| address(line));
        self.state().address = address;
    }

    /// The first log line of this start for which `pick` has an answer.
    ///
    /// # Panics
    /// When none comes.
    pub async fn says<T>(&self, what: &str, pick: impl Fn(&Line) -> Option<T>) -> T {
        let from = self.state().since;
        let what = format!("{} to log {what}", self.name);
        soon(&what, self.logs.line(from, |line| Line::read(line).as_ref().and_then(&pick))).await
    }

    /// The first line of this start that contains `text`, whatever its format.
    ///
    /// # Panics
    /// When none comes.
    pub async fn mentions(&self, text: &str) -> String {
        let from = self.state().since;
        let what = format!("{} to mention {text:?}", self.name);
        let line = self
            .logs
            .line(from, |line| (line.contains(text) && !line.starts_with("---")).then(|| line.to_owned()));
        soon(&what, line).await
    }

    /// Where it listens.
    ///
    /// # Panics
    /// When it does not.
    pub fn address(&self) -> SocketAddr {
        self.state().address.unwrap_or_else(|| panic!("{} has logged no address", self.name))
    }

    pub fn args(&self) -> Vec<String> {
        self.state().args.clone()
    }

    /// The value of a flag for the next start.
    pub fn set(&self, flag: &str, value: impl Into<String>) {
        let (args, value) = (&mut self.state().args, value.into());
        match args.iter().position(|arg| arg == flag) {
            Some(at) => args[at + 1] = value,
            None => args.extend([flag.to_owned(), value]),
        }
    }

    pub fn logs(&self) -> &Logs {
        &self.logs
    }

    /// The process id.
    ///
    /// # Panics
    /// When it does not run.
    pub fn pid(&self) -> i32 {
        self.state().running.as_ref().unwrap_or_else(|| panic!("{} does not run", self.name)).pid()
    }

    pub fn runs(&self) -> bool {
        self.state().running.as_ref().is_some_and(|running| running.exited().is_none())
    }

    /// SIGKILL, and waits for the end.
    pub async fn kill(&self) {
        self.signal(libc::SIGKILL, "SIGKILL");
        self.exit().await;
    }

    /// SIGUSR2: a nats-server takes nobody new, sends its clients away one by one, and ends.
    pub async fn lame_duck(&self) -> ExitStatus {
        self.signal(libc::SIGUSR2, "SIGUSR2");
        self.exit().await
    }

    /// SIGTERM; see [`Program::exit`] for the end.
    pub fn term(&self) {
        self.signal(libc::SIGTERM, "SIGTERM");
    }

    /// SIGTERM, and waits for the end.
    pub async fn stop(&self) -> ExitStatus {
        self.term();
        self.exit().await
    }

    /// SIGSTOP, and waits until it stands still.
    pub async fn pause(&self) {
        self.signal(libc::SIGSTOP, "SIGSTOP");
        let pid = self.pid();
        if cfg!(target_os = "linux") {
            until("the process to stop", || async move {
                let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
                let letter = stat.rsplit(')').next().unwrap_or_default().trim().chars().next();
                holds(letter == Some('T'), stat)
            })
            .await;
        }
    }

    /// SIGCONT.
    pub fn resume(&self) {
        self.signal(libc::SIGCONT, "SIGCONT");
    }

    /// Kills it if it runs, and starts it again.
    pub async fn restart(&self) {
        if self.runs() {
            self.kill().await;
        }
        self.start().await;
    }

    /// Waits for the end of this start.
    ///
    /// # Panics
    /// When it goes on.
    pub async fn exit(&self) -> ExitStatus {
        let exit = self.state().running.as_ref().map(Running::exit);
        let Some(exit) = exit else { panic!("{} was never started", self.name) };
        soon(&format!("{} to end", self.name), exit).await
    }

    /// Memory held now, in bytes.
    ///
    /// # Panics
    /// Where the system does not say.
    pub fn resident(&self) -> u64 {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("the process runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("Linux says VmRSS");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number of kB") * 1024
    }

    /// Files that it has open now; each connection is one.
    pub fn open_files(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.pid())).map_or(0, Iterator::count)
    }

    /// The scripted engine is no part of the product and logs nothing; nats-server has its own words.
    fn is_ours(&self) -> bool {
        !matches!(self.binary, "echo-scripted-engine" | "nats-server")
    }

    fn command(&self) -> Command {
        let program = match self.binary {
            "broker" | "orchestrator" | "agent" | "edge" => binaries::part(self.binary),
            "nats-server" => Command::new(binaries::nats_server()),
            other => Command::new(binaries::program(other)),
        };
        let Some(host) = self.state().host.clone() else { return program };
        // `ip` becomes the program: the process id is the program's own.
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &host]).arg(program.get_program()).args(program.get_args());
        command
    }

    fn signal(&self, signal: i32, name: &str) {
        self.logs.push(format!("--- {name}"));
        if let Some(running) = &self.state().running {
            running.signal(signal);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a nats-server says when clients can connect, and before that where.
const SERVER_READY: &str = "Server is ready";
const SERVER_LISTENS: &str = "Listening for client connections on ";

fn is_ready(text: &str) -> bool {
    let ready = |line: Line| line.message() == "ready" || line.message() == "the bus is ready";
    text.ends_with(SERVER_READY) || Line::read(text).is_some_and(ready)
}

/// Edge and agent say where they listen, the broker where its clients connect.
fn address(text: &str) -> Option<SocketAddr> {
    if let Some((_, address)) = text.split_once(SERVER_LISTENS) {
        return address.parse().ok();
    }
    let line = Line::read(text)?;
    let listening = line.field("address").filter(|_| line.message() == "listening");
    let bus = line.field("url").filter(|_| is_ready(text)).and_then(|url| url.split_once("://"));
    listening.or(bus.map(|(_, address)| address))?.parse().ok()
}
