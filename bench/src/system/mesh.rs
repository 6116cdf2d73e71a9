//! The mesh as its users run it: broker with nats-server, orchestrator, an agent for each engine, one edge.

use echo_testing::mesh::{Program, binaries, holds, until};
use serde_json::Value;

use super::{Kind, System};
use crate::{client::Connection, engines::Engines};

/// Starts it. The programs of the harness say by a panic why they do not come up.
pub async fn start(kind: Kind, engines: &Engines, slots: usize) -> System {
    let (mut programs, url) = bare_mesh().await;
    let slots = slots.to_string();
    for (id, engine) in ["node-a", "node-b"].into_iter().zip(engines.addresses()) {
        let engine = format!("http://{engine}");
        let mut args = vec!["--nats", &url, "--node", id, "--engine", "ollama", "--engine-url", &engine];
        args.extend(["--slots", &slots, "--listen", "127.0.0.1:0", "--no-calibration"]);
        programs.push(program(format!("agent {id}"), "agent", &args).await);
    }
    let edge = program("edge", "edge", &["--nats", &url, "--listen", "127.0.0.1:0"]).await;
    let address = edge.address();
    programs.push(edge);
    until("both nodes to be ready", || async {
        let status = status(address).await.unwrap_or_default();
        let nodes = status["nodes"].as_array().cloned().unwrap_or_default();
        let ready = nodes.iter().filter(|node| node["models"][0].is_string()).count();
        holds(ready == 2, status)
    })
    .await;
    let roots = programs.iter().map(|program| (program.name().to_owned(), program.pid())).collect();
    // Users first, the broker last.
    programs.reverse();
    System::new(kind, vec![address], roots, programs)
}

/// Broker and orchestrator alone, and where the bus is.
pub async fn bare_mesh() -> (Vec<Program>, String) {
    let config = binaries::root().join("nats.conf");
    let args =
        ["--nats-conf", &config.to_string_lossy(), "--listen", "127.0.0.1:0", "--monitor", "127.0.0.1:0"];
    let broker = program("broker", "broker", &args).await;
    let url = format!("nats://{}", broker.address());
    let orchestrator = program("orchestrator", "orchestrator", &["--nats", &url]).await;
    (vec![broker, orchestrator], url)
}

async fn program(name: impl Into<String>, binary: &'static str, args: &[&str]) -> Program {
    let args = args.iter().map(|arg| (*arg).to_owned()).collect();
    let program = Program::new(name, binary, args).as_users_run_it();
    program.start().await;
    program
}

async fn status(edge: std::net::SocketAddr) -> Option<Value> {
    let request = format!("GET /status HTTP/1.1\r\nHost: {edge}\r\nConnection: close\r\n\r\n");
    let mut reply = Vec::new();
    let mut connection = Connection::new(edge, 16 << 10);
    connection.ask(request.as_bytes(), |bytes| reply.extend_from_slice(bytes)).await.ok()?;
    serde_json::from_slice(&reply).ok()
}
