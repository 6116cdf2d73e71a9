//! A second machine: a network namespace with an address of its own. Nobody is told where the broker is.

use std::time::{Duration, Instant};

use echo_testing::mesh::{Lan, Program, holds, soon, until, until_within};
use serde_json::{Value, json};

use echo_testing::skip::machine_lacks;

/// From the start of an agent to its place in the mesh.
const JOINED: Duration = Duration::from_secs(3);
const SECRET: &str = "nothing-that-anybody-could-guess";

/// Everything on one network, with the broker on host 1 and a node on host 2.
struct Far {
    edge: Program,
    agent: Program,
    _engine: Program,
    _orchestrator: Program,
    broker: Program,
    secret: tempfile::NamedTempFile,
    // Last: nothing may live in a network that is gone.
    lan: Lan,
}

fn program(binary: &'static str, host: &str, args: &[&str]) -> Program {
    let args = args.iter().map(|arg| (*arg).to_owned()).collect();
    Program::new(format!("{binary} on {host}"), binary, args).on(host)
}

fn broker(host: &str, listen: &str, secret: &str) -> Program {
    let config = echo_testing::mesh::binaries::root().join("nats.conf");
    let config = config.to_string_lossy().into_owned();
    program("broker", host, &["--nats-conf", &config, "--listen", listen, "--secret-file", secret])
}

async fn far(test: &str) -> Option<Far> {
    let lan = match Lan::new(3) {
        Ok(lan) => lan,
        Err(why) => {
            machine_lacks(&format!("{test}: no network namespaces: {why}"));
            return None;
        }
    };
    let secret = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(secret.path(), SECRET).expect("it can be written");
    let path = secret.path().to_string_lossy().into_owned();
    let broker = broker(lan.host(1), "0.0.0.0:4222", &path);
    broker.start().await;
    let auto = ["--nats", "auto", "--secret-file", &path];
    let orchestrator = program("orchestrator", lan.host(1), &auto);
    let edge = program("edge", lan.host(1), &[&auto[..], &["--listen", "127.0.0.1:8080"]].concat());
    let engine =
        program("echo-scripted-engine", lan.host(2), &["--api", "ollama", "--listen", "127.0.0.1:11434"]);
    engine.launch().await;
    engine.mentions("127.0.0.1:11434").await;
    let agent = [&auto[..], &["--node", "far", "--listen", "127.0.0.1:9001", "--no-calibration"]].concat();
    let agent = program("agent", lan.host(2), &agent);
    tokio::join!(orchestrator.start(), edge.start());
    Some(Far { edge, agent, _engine: engine, _orchestrator: orchestrator, broker, secret, lan })
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

    // Without the secret it is told what it needs, and where.
    let stranger = ["--nats", "auto", "--node", "stranger", "--listen", "127.0.0.1:9001"];
    let stranger = program("agent", far.lan.host(3), &stranger);
    stranger.launch().await;
    let status = soon("the stranger to leave", stranger.exit()).await;
    let said = stranger.logs().since(1).join("\n");
    assert_eq!(status.code(), Some(2), "{said}");
    for word in [&format!("{}:4222", far.lan.address(1)), "--secret-file"] {
        assert!(said.contains(word), "{word:?} is not in {said}");
    }
    assert!(!said.contains(SECRET), "{said}");

    // The broker goes, and comes back on another machine under another port.
    assert!(far.broker.stop().await.success());
    let moved = broker(far.lan.host(3), "0.0.0.0:4333", &far.secret.path().to_string_lossy());
    moved.start().await;
    let back = Instant::now();
    far.is_whole_within(Duration::from_secs(15)).await;
    far.answers().await;
    eprintln!("whole again {:?} after the broker was back elsewhere", back.elapsed());
}
