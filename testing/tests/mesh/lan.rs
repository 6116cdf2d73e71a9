//! A second machine: a network namespace with an address of its own. Nobody is told where the broker is.

use std::path::Path;
use std::time::{Duration, Instant};

use echo_bus::subject::Duty;
use echo_testing::mesh::{Keys, Lan, Program, holds, soon, until, until_within};
use serde_json::{Value, json};

use echo_testing::skip::machine_lacks;

/// From the start of an agent to its place in the mesh.
const JOINED: Duration = Duration::from_secs(3);

/// Everything on one network, with the broker on host 1 and a node on host 2.
struct Far {
    edge: Program,
    agent: Program,
    _engine: Program,
    _orchestrator: Program,
    broker: Program,
    trust: tempfile::TempDir,
    // Last: nothing may live in a network that is gone.
    lan: Lan,
}

fn program(binary: &'static str, host: &str, args: &[&str]) -> Program {
    let args = args.iter().map(|arg| (*arg).to_owned()).collect();
    Program::new(format!("{binary} on {host}"), binary, args).on(host)
}

fn broker(host: &str, listen: &str, trust: &Path) -> Program {
    let config = echo_testing::mesh::binaries::root().join("nats.conf");
    let config = config.to_string_lossy().into_owned();
    let trust = trust.to_string_lossy();
    program("broker", host, &["--nats-conf", &config, "--listen", listen, "--trust", &trust])
}

async fn far(test: &str) -> Option<Far> {
    let lan = match Lan::new(3) {
        Ok(lan) => lan,
        Err(why) => {
            machine_lacks(&format!("{test}: no network namespaces: {why}"));
            return None;
        }
    };
    let trust = tempfile::tempdir().expect("a folder");
    let keys = Keys::new(trust.path());
    let auto = |name, duty| {
        let login = keys.args(name, duty);
        ["--nats", "auto"].map(str::to_owned).into_iter().chain(login).collect::<Vec<_>>()
    };
    let with = |binary, host, login: Vec<String>, more: &[&str]| {
        let args: Vec<&str> = login.iter().map(String::as_str).chain(more.iter().copied()).collect();
        program(binary, host, &args)
    };
    let orchestrator = with("orchestrator", lan.host(1), auto("orchestrator", Duty::Orchestrator), &[]);
    let edge = with("edge", lan.host(1), auto("edge", Duty::Edge), &["--listen", "127.0.0.1:8080"]);
    let agent = ["--node", "far", "--listen", "127.0.0.1:9001", "--no-calibration"];
    let agent = with("agent", lan.host(2), auto("far", Duty::Agent), &agent);
    let broker = broker(lan.host(1), "0.0.0.0:4222", trust.path());
    broker.start().await;
    let engine =
        program("echo-scripted-engine", lan.host(2), &["--api", "ollama", "--listen", "127.0.0.1:11434"]);
    engine.launch().await;
    engine.mentions("127.0.0.1:11434").await;
    tokio::join!(orchestrator.start(), edge.start());
    Some(Far { edge, agent, _engine: engine, _orchestrator: orchestrator, broker, trust, lan })
}

impl Far {
    async fn ask(&self, method: &str, path: &str, body: &str) -> Result<Value, String> {
        let request = format!(
            "{method} {path} HTTP/1.0\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n\
             content-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        );
        let answer = self.lan.ask(1, self.edge.address(), &request).await?;
        serde_json::from_str(&answer).map_err(|error| format!("{error} in {answer:?}"))
    }

    async fn is_whole_within(&self, limit: Duration) {
        until_within(limit, "the far node to be idle", || async {
            let status = self.ask("GET", "/status", "").await?;
            let node = &status["nodes"][0];
            holds(
                node["node_id"] == "far" && node["status"] == "idle" && node["models"][0].is_string(),
                &status,
            )
        })
        .await;
    }

    async fn answers(&self) {
        until("an answer of the far node", || async {
            let body = json!({"prompt": "[tokens=3]"}).to_string();
            let answer = self.ask("POST", "/task", &body).await?;
            holds(answer["content"] == "t0 t1 t2 " && answer["routed_to"] == "far", answer)
        })
        .await;
    }
}

#[tokio::test]
async fn a_second_machine_joins_without_an_address_and_finds_the_broker_where_it_moves() {
    let Some(far) = far("a_second_machine_joins_without_an_address").await else { return };
    let began = Instant::now();
    far.agent.launch().await;
    far.is_whole_within(JOINED).await;
    eprintln!("joined {:?} after its start", began.elapsed());
    far.answers().await;

    // Without a key it is told what it needs, and where.
    let stranger = ["--nats", "auto", "--node", "stranger", "--listen", "127.0.0.1:9001"];
    let stranger = program("agent", far.lan.host(3), &stranger);
    stranger.launch().await;
    let status = soon("the stranger to leave", stranger.exit()).await;
    let said = stranger.logs().since(1).join("\n");
    assert_eq!(status.code(), Some(2), "{said}");
    for word in [&format!("{}:4222", far.lan.address(1)), "--nkey"] {
        assert!(said.contains(word), "{word:?} is not in {said}");
    }

    // The broker goes, and comes back on another machine under another port.
    assert!(far.broker.stop().await.success());
    let moved = broker(far.lan.host(3), "0.0.0.0:4333", far.trust.path());
    moved.start().await;
    let back = Instant::now();
    far.is_whole_within(Duration::from_secs(15)).await;
    far.answers().await;
    eprintln!("whole again {:?} after the broker was back elsewhere", back.elapsed());
}
