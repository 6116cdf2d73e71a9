//! What `up` decides before it starts anything: which engines are found and used, which ports it takes or refuses, and
//! what it asks before it downloads.

use echo_testing::skip;
use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
    process::{Command, Stdio},
    time::Duration,
};

use echo_scripted_engine::{Api, Engine, Model, Script};
use echo_testing::{
    client::{Client, Stream},
    mesh::{Mesh, RealEngine, binaries, free_ports},
};
use portable_pty::{CommandBuilder, PtySize, native_pty_system};
use serde_json::json;
use tempfile::TempDir;

/// What one start is told, in a folder of its own.
struct Start {
    folder: TempDir,
    env: Vec<(String, String)>,
}

struct Said {
    code: Option<i32>,
    text: String,
}

impl Said {
    #[track_caller]
    fn has(&self, words: &str) -> &Self {
        assert!(self.text.contains(words), "no {words:?} in (exit code {:?}):\n{}", self.code, self.text);
        self
    }

    #[track_caller]
    fn ended(&self, code: i32) -> &Self {
        assert_eq!(self.code, Some(code), "{}", self.text);
        self
    }
}

impl Start {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let ports = free_ports(4);
        let at = |number: usize| format!("127.0.0.1:{}", ports[number]);
        let dir = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
        let env = [
            ("ECHO_RUN_DIR", dir("run")),
            ("HOME", dir("home")),
            ("ECHO_EDGE_LISTEN", at(0)),
            ("ECHO_NATS_LISTEN", at(1)),
            ("ECHO_NATS_MONITOR", at(2)),
            ("ECHO_AGENT_LISTEN", at(3)),
            ("ECHO_NODE_ID", "box".to_owned()),
            ("ECHO_CACHE_DIR", cache()),
        ];
        let env = env.map(|(name, value)| (name.to_owned(), value)).to_vec();
        Self { folder, env }
    }

    fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.env.retain(|(known, _)| known != name);
        self.env.push((name.to_owned(), value.into()));
        self
    }

    fn setting(&self, name: &str) -> &str {
        &self.env.iter().find(|(known, _)| known == name).unwrap().1
    }

    /// The variables of the test's own that a mesh must not see.
    fn foreign() -> Vec<String> {
        let names = std::env::vars().map(|(name, _)| name);
        names.filter(|name| is_foreign(name)).collect()
    }

    async fn says(&self, words: &[&str]) -> Said {
        let mut command = Command::new(binaries::program("echo-mesh"));
        for name in Self::foreign() {
            command.env_remove(name);
        }
        command.args(words).envs(self.env.iter().cloned()).stdin(Stdio::null());
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        Said { code: output.status.code(), text }
    }

    async fn plan(&self) -> Said {
        self.says(&["up", "--dry-run"]).await
    }

    /// In a terminal, where a person answers the question.
    async fn answered(&self, words: &[&str], answer: &'static str) -> Said {
        let pty = native_pty_system().openpty(PtySize { cols: 250, ..PtySize::default() }).unwrap();
        let mut command = CommandBuilder::new(binaries::program("echo-mesh"));
        for name in Self::foreign() {
            command.env_remove(name);
        }
        command.args(words);
        command.cwd(self.folder.path());
        self.env.iter().for_each(|(name, value)| command.env(name, value));
        let mut child = pty.slave.spawn_command(command).unwrap();
        drop(pty.slave);
        let (mut screen, mut keys) =
            (pty.master.try_clone_reader().unwrap(), pty.master.take_writer().unwrap());
        let told = tokio::task::spawn_blocking(move || {
            let (mut seen, mut piece, mut asked) = (Vec::new(), [0; 4096], false);
            // The end of the terminal is an error on Linux.
            while let Ok(count @ 1..) = screen.read(&mut piece) {
                seen.extend_from_slice(&piece[..count]);
                if !asked && String::from_utf8_lossy(&seen).contains("[y/N]") {
                    asked = true;
                    keys.write_all(answer.as_bytes()).unwrap();
                }
            }
            String::from_utf8_lossy(&seen).into_owned()
        });
        let code = tokio::task::spawn_blocking(move || child.wait().unwrap().exit_code()).await.unwrap();
        let text = told.await.unwrap();
        drop(pty.master);
        Said { code: i32::try_from(code).ok(), text }
    }

    fn wrote_nothing(&self) {
        assert!(!self.folder.path().join("run").exists(), "a start that is refused leaves nothing behind");
    }
}

impl Drop for Start {
    /// A test that fails leaves no mesh.
    fn drop(&mut self) {
        if self.folder.path().join("run/mesh.json").exists() {
            let mut down = Command::new(binaries::program("echo-mesh"));
            let _ = down.arg("down").envs(self.env.iter().cloned()).output();
        }
    }
}

fn is_foreign(name: &str) -> bool {
    let kept = ["ECHO_CACHE_DIR", "ECHO_NATS_SERVER"];
    (name.starts_with("ECHO_") && !kept.contains(&name)) || name.starts_with("OLLAMA_")
}

/// What was fetched once is not fetched into every folder.
fn cache() -> String {
    let home = || format!("{}/.cache/echo-system", std::env::var("HOME").unwrap());
    std::env::var("ECHO_CACHE_DIR").unwrap_or_else(|_| home())
}

async fn engine(api: Api, models: &[&str]) -> Engine {
    let models = models.iter().map(|name| Model { name: (*name).to_owned(), ..Model::default() }).collect();
    Engine::start(Script { api, models, ..Script::default() }).await
}

/// How often it was told to pull.
fn pulls(engine: &Engine) -> usize {
    engine.requests().iter().filter(|seen| seen.path == "/api/pull").count()
}

#[tokio::test]
async fn engines_that_answer_become_nodes_whatever_they_speak_and_serve() {
    let (ollama, openai) = (engine(Api::Ollama, &["phi"]).await, engine(Api::Openai, &["qwen"]).await);
    let start = Start::new().with("ECHO_ENGINE_URL", format!("{},{}", ollama.url(), openai.url()));
    let plan = start.plan().await;
    plan.ended(0).has("Engines that already answer: Ollama at ").has("(phi:latest)").has("(qwen)");
    let listen = start.setting("ECHO_AGENT_LISTEN");
    plan.has(&format!("box           ollama at {} (answers already), agent at {listen}", ollama.url()));
    plan.has(&format!("box-2         openai at {} (answers already)", openai.url()));
    start.wrote_nothing();
}

#[tokio::test]
async fn engines_are_found_where_they_usually_listen() {
    let ollama = engine(Api::Ollama, &["phi"]).await;
    let start = Start::new().with("OLLAMA_HOST", ollama.url().trim_start_matches("http://"));
    start.plan().await.ended(0).has(&format!("ollama at {} (answers already)", ollama.url()));
    let start = start.with("ECHO_ENGINE_A_URL", "http://127.0.0.1:1");
    start.plan().await.ended(0).has("note: ECHO_ENGINE_A_URL is a setting of --nodes (ECHO_NODES)");
}

#[tokio::test]
async fn a_number_of_nodes_has_one_model_or_a_sentence() {
    let (one, other) = (engine(Api::Openai, &["a", "m"]).await, engine(Api::Openai, &["m", "z"]).await);
    let start = |other: &Engine| {
        let agents = free_ports(2);
        let agent = |number: usize| format!("127.0.0.1:{}", agents[number]);
        let start = Start::new().with("ECHO_NODES", "2").with("ECHO_ENGINE_A_URL", one.url());
        let start = start.with("ECHO_ENGINE_B_URL", other.url());
        start.with("ECHO_AGENT_A_LISTEN", agent(0)).with("ECHO_AGENT_B_LISTEN", agent(1))
    };
    let both = start(&other);
    both.plan().await.ended(0).has(", with m.").has("tasks that name no model get m").has("node-b ");
    both.with("ECHO_MODEL", "z")
        .plan()
        .await
        .ended(2)
        .has("ECHO_MODEL=z is not served at ")
        .has("which has: a m.");
    let third = engine(Api::Openai, &["x"]).await;
    let said = start(&third).plan().await;
    said.ended(2).has("the two engines have no model in common (node-a: a m; node-b: x)");
}

#[tokio::test]
async fn an_edge_of_a_mesh_is_no_engine() {
    let mesh = Mesh::start().nodes(1).await;
    let url = format!("http://{}", mesh.edge(0).address());
    let start = Start::new().with("ECHO_ENGINE_URL", &url);
    start.plan().await.ended(2).has(&format!("ECHO_ENGINE_URL={url} is an edge of a mesh, not an engine."));
}

#[tokio::test]
async fn a_taken_port_is_named_with_its_owner_and_one_that_is_free() {
    let ollama = engine(Api::Ollama, &["phi"]).await;
    let start = Start::new().with("ECHO_ENGINE_URL", ollama.url());
    let _taken = TcpListener::bind(start.setting("ECHO_EDGE_LISTEN")).unwrap();
    let address = start.setting("ECHO_EDGE_LISTEN").to_owned();
    let refused = start.says(&["up"]).await;
    refused.ended(2).has(&format!("{address} (ECHO_EDGE_LISTEN) is taken by "));
    if ["lsof", "ss"].iter().any(|tool| Command::new(tool).arg("-h").output().is_ok()) {
        refused.has(&format!("(pid {})", std::process::id()));
    }
    start.wrote_nothing();
    let (_, free) = refused.text.split_once("choose another port: ECHO_EDGE_LISTEN=").unwrap();
    let free = free.split_whitespace().next().unwrap();
    start.with("ECHO_EDGE_LISTEN", free).plan().await.ended(0).has(&format!("http://{free}"));
}

#[tokio::test]
async fn an_agents_port_that_nobody_has_named_is_the_next_free_one() {
    // Whoever has it, it is taken.
    let _taken = TcpListener::bind("127.0.0.1:9001");
    let ollama = engine(Api::Ollama, &["phi"]).await;
    let mut start = Start::new().with("ECHO_ENGINE_URL", ollama.url());
    start.env.retain(|(name, _)| name != "ECHO_AGENT_LISTEN");
    let plan = start.plan().await;
    plan.ended(0).has("agent at 127.0.0.1:");
    assert!(!plan.text.contains("agent at 127.0.0.1:9001"), "{}", plan.text);
    start
        .with("ECHO_AGENT_LISTEN", "127.0.0.1:9001")
        .plan()
        .await
        .ended(2)
        .has("(ECHO_AGENT_LISTEN) is taken by");
}

#[tokio::test]
async fn nothing_is_pulled_without_a_word() {
    let ollama = engine(Api::Ollama, &["phi"]).await;
    let start = Start::new().with("ECHO_ENGINE_URL", ollama.url()).with("ECHO_MODEL", "absent");
    let question = "The model absent is missing on this machine. It is of unknown size";
    let refused = start.says(&["up"]).await;
    refused.ended(2).has(question).has("allow it with ECHO_PULL=1").has("this machine: phi:latest");
    assert!(!refused.text.contains("[y/N]"), "nobody is there to be asked: {}", refused.text);
    let no = start.answered(&["up"], "\n").await;
    no.ended(2).has(question).has("Pull it now? [y/N]").has("nothing is pulled without your word");
    let never = start.answered(&["up", "--pull=0"], "y\n").await;
    never.ended(2).has("nothing is pulled without your word");
    assert!(!never.text.contains("[y/N]"), "{}", never.text);
    start.wrote_nothing();
    assert_eq!(pulls(&ollama), 0);
}

#[tokio::test]
async fn a_model_is_pulled_once_the_user_agrees_and_the_mesh_serves_it() {
    let ollama = engine(Api::Ollama, &["phi"]).await;
    ollama.edit(|script| (script.pull_steps, script.pull_delay) = (4, Duration::from_millis(200)));
    let start = Start::new().with("ECHO_ENGINE_URL", ollama.url()).with("ECHO_MODEL", "absent");
    let yes = start.answered(&["up", "--detach"], "y\n").await;
    yes.ended(0)
        .has("Pull it now? [y/N]")
        .has("Pulling absent into the engine of box")
        .has("box serves absent");
    assert!(yes.text.contains("[####"), "no bar for a person: {:?}", yes.text);
    start.says(&["down"]).await.ended(0);
    let lines = Start::new().with("ECHO_ENGINE_URL", ollama.url()).with("ECHO_MODEL", "other");
    let agreed = lines.says(&["up", "--detach", "--pull"]).await;
    agreed.ended(0).has("pulling manifest").has(" 20% of").has(" 70% of").has("box serves other");
    assert!(!agreed.text.contains("[####"), "a bar where no terminal is: {}", agreed.text);
    lines.says(&["down"]).await.ended(0);
    assert_eq!(pulls(&ollama), 2);
}

#[tokio::test]
async fn the_embedded_engine_is_started_and_answers() {
    if let Err(reason) = RealEngine::start().await {
        let test = "the_embedded_engine_is_started_and_answers";
        return skip::skip(test, &format!("llama.cpp with its model cannot be had here: {reason}"));
    }
    let at = format!("http://127.0.0.1:{}", free_ports(1)[0]);
    let start = Start::new().with("ECHO_ENGINE_MODE", "embedded").with("ECHO_ENGINE_URL", &at);
    let up = start.says(&["up", "--detach"]).await;
    up.ended(0).has("because ECHO_ENGINE_MODE=embedded asks for it").has(&format!("{at} (openai)"));
    let edge = Client::new(start.setting("ECHO_EDGE_LISTEN").parse().unwrap());
    let task = json!({ "prompt": "What is 2 + 2?", "options": { "num_predict": 8 } });
    let answer = Stream::open(edge.post("/task/stream", &task)).rest().await;
    assert!(answer.status == 200 && !answer.content().is_empty(), "{}", answer.summary());
    start.says(&["down"]).await.ended(0).has("engine-box: stopped");
}
