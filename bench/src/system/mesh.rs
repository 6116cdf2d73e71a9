//! The mesh as its users run it: broker with nats-server, orchestrator, an agent for each engine, one edge.

use echo_bus::subject::Duty;
use echo_testing::mesh::{Broker, Keys, Program, holds, until};
use serde_json::Value;
use tempfile::TempDir;

use super::{Kind, System};
use crate::{client::Connection, engines::Engines};

const ORCHESTRATOR: (&str, Duty) = ("orchestrator", Duty::Orchestrator);
const EDGE: (&str, Duty) = ("edge", Duty::Edge);
const NODES: [(&str, Duty); 2] = [("node-a", Duty::Agent), ("node-b", Duty::Agent)];

/// Starts it. The programs of the harness say by a panic why they do not come up.
pub async fn start(kind: Kind, engines: &Engines, slots: usize) -> System {
    let folder = (kind == Kind::MeshKeys).then(|| tempfile::tempdir().expect("a folder for keys"));
    let (broker, orchestrator) = bare(folder.as_ref()).await;
    let slots = slots.to_string();
    let mut agents = Vec::new();
    for (node, engine) in NODES.into_iter().zip(engines.addresses()) {
        let engine = format!("http://{engine}");
        let mut args = vec!["--node", node.0, "--engine", "ollama", "--engine-url", &engine];
        args.extend(["--slots", &slots, "--listen", "127.0.0.1:0", "--no-calibration"]);
        agents.push(part(node, &broker, &args).await);
    }
    let edge = part(EDGE, &broker, &["--listen", "127.0.0.1:0"]).await;
    let address = edge.address();
    until("both nodes to be ready", || async {
        let status = status(address).await.unwrap_or_default();
        let nodes = status["nodes"].as_array().cloned().unwrap_or_default();
        let ready = nodes.iter().filter(|node| node["models"][0].is_string()).count();
        holds(ready == 2, status)
    })
    .await;
    let mut programs = vec![broker.into(), orchestrator];
    programs.extend(agents);
    programs.push(edge);
    let roots = programs.iter().map(|program| (program.name().to_owned(), program.pid())).collect();
    // Users first, the broker last.
    programs.reverse();
    System::new(kind, vec![address], roots, (programs, folder))
}

/// Broker and orchestrator alone, and where the bus is.
pub async fn bare_mesh() -> (Vec<Program>, String) {
    let (broker, orchestrator) = bare(None).await;
    let url = broker.url();
    (vec![broker.into(), orchestrator], url)
}

/// With a folder for them, each part of the mesh has a key of its own, and speaks TLS.
async fn bare(keys: Option<&TempDir>) -> (Broker, Program) {
    let parts = [ORCHESTRATOR, EDGE].into_iter().chain(NODES);
    let broker = Broker::new(keys.map(|folder| Keys::of(folder.path(), parts))).as_users_run_it();
    broker.begin().await;
    let orchestrator = part(ORCHESTRATOR, &broker, &[]).await;
    (broker, orchestrator)
}

async fn part((id, duty): (&str, Duty), broker: &Broker, args: &[&str]) -> Program {
    let (name, binary) = match duty {
        Duty::Agent => (format!("agent {id}"), "agent"),
        Duty::Edge => (id.to_owned(), "edge"),
        _ => (id.to_owned(), "orchestrator"),
    };
    let mut all = vec!["--nats".to_owned(), broker.url()];
    all.extend(args.iter().map(|arg| (*arg).to_owned()));
    all.extend(broker.login(id, duty));
    let program = Program::new(name, binary, all).as_users_run_it();
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
