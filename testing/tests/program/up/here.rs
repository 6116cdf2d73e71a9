//! A machine for one mesh: folders, ports and engines of its own, and the commands that a person types there.

use std::{
    net::{SocketAddr, TcpListener},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use echo_scripted_engine::{Engine, Script};
use echo_testing::{
    client::{Client, Stream},
    mesh::{
        binaries, free_ports, holds,
        logs::Logs,
        spawn::{Running, spawn},
        until, until_within,
    },
};
use serde_json::{Value, json};
use tempfile::TempDir;

/// As many as fit on the two nodes.
pub const CLIENTS: usize = 32;
/// Variables of the test's own that the commands may see.
const PASSED_ON: [&str; 2] = ["ECHO_CACHE_DIR", "ECHO_NATS_SERVER"];

pub struct Here {
    folder: TempDir,
    _engines: Vec<Engine>,
    env: Vec<(String, String)>,
    edge: SocketAddr,
}

/// What a command has said, and how it ended.
pub struct Said {
    pub code: Option<i32>,
    pub text: String,
}

impl Said {
    #[track_caller]
    pub fn has(&self, words: &str) -> &Self {
        assert!(self.text.contains(words), "no {words:?} in (exit code {:?}):\n{}", self.code, self.text);
        self
    }

    #[track_caller]
    pub fn ended(&self, code: i32) -> &Self {
        assert_eq!(self.code, Some(code), "{}", self.text);
        self
    }
}

impl Here {
    /// Two engines that answer, and nothing else.
    pub async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let script = Script { slots: CLIENTS / 2, ..Script::default() };
        let engines = vec![Engine::start(script.clone()).await, Engine::start(script).await];
        let ports = free_ports(5);
        let at = |port: usize| format!("127.0.0.1:{}", ports[port]);
        let dir = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
        std::fs::create_dir(folder.path().join("tmp")).unwrap();
        let env = [
            ("ECHO_RUN_DIR", dir("run")),
            ("ECHO_LOG_DIR", dir("logs")),
            ("HOME", dir("home")),
            ("TMPDIR", dir("tmp")),
            ("ECHO_EDGE_LISTEN", at(0)),
            ("ECHO_NATS_LISTEN", at(1)),
            ("ECHO_NATS_MONITOR", at(2)),
            ("ECHO_AGENT_A_LISTEN", at(3)),
            ("ECHO_AGENT_B_LISTEN", at(4)),
            ("ECHO_ENGINE_A_URL", engines[0].url()),
            ("ECHO_ENGINE_B_URL", engines[1].url()),
            ("ECHO_MODEL", "scripted".to_owned()),
            ("ECHO_NODES", "2".to_owned()),
            ("ECHO_SLOTS", (CLIENTS / 2).to_string()),
            ("ECHO_NO_CALIBRATION", "true".to_owned()),
        ];
        let env = env.map(|(name, value)| (name.to_owned(), value)).to_vec();
        let edge = at(0).parse().unwrap();
        Self { folder, _engines: engines, env, edge }
    }

    /// No engine answers, and an `ollama` is there that can be started: a scripted engine, with a runner beside it as the
    /// real one has them.
    pub async fn with_ollama() -> Self {
        let mut here = Self::new().await;
        here._engines.clear();
        let engine = binaries::program("echo-scripted-engine");
        let slots = CLIENTS / 2;
        let script = format!(
            "#!/bin/sh\nsleep 600 &\nexec {} --listen \"$OLLAMA_HOST\" --api ollama --model scripted --slots {slots}\n",
            engine.display()
        );
        let ollama = here.file("ollama", &script);
        std::fs::set_permissions(&ollama, std::fs::Permissions::from_mode(0o755)).unwrap();
        let path = std::env::var("PATH").unwrap_or_default();
        here.set("PATH", format!("{}:{path}", here.folder.path().display()));
        here.set("ECHO_ENGINE_MODE", "ollama");
        here.set("ECHO_PULL", "1");
        for (port, name) in free_ports(2).into_iter().zip(["ECHO_ENGINE_A_URL", "ECHO_ENGINE_B_URL"]) {
            here.set(name, format!("http://127.0.0.1:{port}"));
        }
        here
    }

    /// A setting for all commands from now on.
    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        self.env.retain(|(known, _)| known != name);
        self.env.push((name.to_owned(), value.into()));
    }

    pub fn setting(&self, name: &str) -> String {
        self.env.iter().find(|(known, _)| known == name).unwrap().1.clone()
    }

    /// A file of this machine, with this in it.
    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    pub fn run_dir(&self) -> PathBuf {
        self.folder.path().join("run")
    }

    pub fn logs(&self) -> PathBuf {
        self.setting("ECHO_LOG_DIR").into()
    }

    /// `echo-mesh` with these words.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(binaries::program("echo-mesh"));
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("ECHO_")) {
            if !PASSED_ON.contains(&name.as_str()) {
                command.env_remove(name);
            }
        }
        command.args(words).envs(self.env.iter().cloned()).env_remove("RUST_LOG").stdin(Stdio::null());
        command.current_dir(self.folder.path());
        command
    }

    /// What it says, once it has ended.
    pub async fn says(&self, words: &[&str]) -> Said {
        let mut command = self.command(words);
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let text = [output.stdout, output.stderr].concat();
        Said { code: output.status.code(), text: String::from_utf8(text).unwrap() }
    }

    /// `up --detach`, which must come back with success.
    pub async fn up(&self) -> Said {
        let said = self.says(&["up", "--detach"]).await;
        said.ended(0).has("Ready: ");
        said
    }

    /// `up --lan --detach`: each part has a key, and the broker is open to others of this network.
    pub async fn lan(&mut self) -> Said {
        let nats = self.setting("ECHO_NATS_LISTEN");
        self.set("ECHO_NATS_LISTEN", nats.replace("127.0.0.1", "0.0.0.0"));
        self.set("ECHO_ADVERTISE", "127.0.0.1");
        let said = self.says(&["up", "--lan", "--detach"]).await;
        said.ended(0).has("Ready: ");
        said
    }

    /// No part has been refused a subject by the broker.
    pub fn nothing_was_denied(&self) {
        for name in entries(&self.logs()) {
            let path = self.logs().join(name);
            let text = if path.is_file() { std::fs::read(&path).unwrap() } else { Vec::new() };
            let text = String::from_utf8_lossy(&text).to_lowercase();
            assert!(!text.contains("permissions violation"), "{}: {text}", path.display());
        }
    }

    /// `up` in the foreground, once it is ready.
    pub async fn foreground(&self) -> (Running, Logs) {
        let logs = Logs::default();
        let running = spawn(self.command(&["up"]), logs.clone()).await.unwrap();
        until("`up` to be ready", || async { holds(logs.tail(100).contains("Stop it:"), logs.tail(100)) })
            .await;
        (running, logs)
    }

    /// What the supervisor has written down.
    pub fn record(&self) -> Value {
        let text = std::fs::read(self.run_dir().join("mesh.json")).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }

    pub fn part(&self, name: &str) -> Value {
        let record = self.record();
        let parts = record["parts"].as_array().cloned().unwrap_or_default();
        parts.into_iter().find(|part| part["name"] == name).unwrap_or_default()
    }

    /// The pid of a part, of `supervisor`, or of `nats-server`.
    pub fn pid(&self, name: &str) -> i32 {
        let pid = match name {
            "supervisor" => self.record()["supervisor"]["pid"].clone(),
            "nats-server" => self.bus()["server_pid"].clone(),
            part => self.part(part)["process"]["pid"].clone(),
        };
        i32::try_from(pid.as_i64().unwrap_or_else(|| panic!("no pid of {name}: {}", self.record()))).unwrap()
    }

    fn bus(&self) -> Value {
        let text = std::fs::read(self.run_dir().join("broker.json")).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }

    /// SIGKILL for one process, and waits for its end.
    pub async fn kill(&self, name: &str) -> i32 {
        let pid = self.pid(name);
        signal(pid, libc::SIGKILL);
        until(&format!("{name} to be dead"), || async { holds(!lives(pid), pid) }).await;
        pid
    }

    /// Listens where a part would, as soon as that is dead.
    pub async fn take(&self, setting: &str) -> TcpListener {
        let address = self.setting(setting);
        until(&format!("{address} to be free"), || async {
            TcpListener::bind(&address).map_err(|error| error.to_string())
        })
        .await
    }

    /// Every process that was started here and lives: the pid and its command line.
    pub fn processes(&self) -> Vec<(i32, String)> {
        // Each part may have temporary files of its own; the home is that of all.
        let mark = format!("HOME={}", self.setting("HOME"));
        let all = std::fs::read_dir("/proc").unwrap().flatten();
        let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let ours = pids.filter(|pid| {
            let environ = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environ.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes()) && lives(*pid)
        });
        let line = |pid| {
            let words = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&words).replace('\0', " ")
        };
        ours.map(|pid: i32| (pid, line(pid))).collect()
    }

    /// Waits until nothing runs here any more.
    pub async fn is_empty_within(&self, limit: Duration) {
        until_within(limit, "all processes to be gone", || async {
            let left = self.processes();
            holds(left.is_empty(), format!("{left:?}"))
        })
        .await;
    }

    /// Nothing runs, and nothing is left in the run directory or of temporary files.
    pub fn assert_clean(&self) {
        assert_eq!(self.processes(), [], "processes are left");
        for dir in [self.run_dir(), self.setting("TMPDIR").into()] {
            assert_eq!(entries(&dir), Vec::<String>::new(), "something is left in {}", dir.display());
        }
    }

    pub fn client(&self) -> Client {
        Client::new(self.edge)
    }

    pub fn ask(&self, prompt: &str) -> Stream {
        Stream::open(self.client().post("/task/stream", &json!({ "prompt": prompt })))
    }

    /// Waits until both nodes can work and a prompt is answered.
    pub async fn serves(&self) {
        until("a prompt to be answered and both nodes to be there", || async {
            let status = self.client().get("/status").send().await.map_err(|error| error.to_string())?;
            let status: Value = status.json().await;
            let nodes = status["nodes"].as_array().cloned().unwrap_or_default();
            let idle = nodes.iter().filter(|node| matches!(node["status"].as_str(), Some("idle" | "busy")));
            holds(idle.count() == 2, &status)?;
            let answer = self.ask("count [tokens=3]").rest().await;
            holds(answer.status == 200 && answer.content() == "t0 t1 t2 ", answer.summary())
        })
        .await;
    }
}

impl Drop for Here {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for log in entries(&self.logs()) {
                let text = std::fs::read_to_string(self.logs().join(&log)).unwrap_or_default();
                let lines: Vec<&str> = text.lines().collect();
                eprintln!("==== {log}\n{}", lines[lines.len().saturating_sub(25)..].join("\n"));
            }
        }
        for (pid, _) in self.processes() {
            signal(pid, libc::SIGKILL);
        }
    }
}

fn entries(dir: &Path) -> Vec<String> {
    let files = std::fs::read_dir(dir).into_iter().flatten().flatten();
    files.map(|file| file.file_name().to_string_lossy().into_owned()).collect()
}

pub fn lives(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit(')').next().and_then(|rest| rest.trim().chars().next());
    !matches!(state, None | Some('Z' | 'X'))
}

#[allow(unsafe_code)]
pub fn signal(pid: i32, signal: i32) {
    // Safe: no memory is involved.
    unsafe { libc::kill(pid, signal) };
}
