//! `echo-mesh drain` and `echo-mesh resume`: over the bus, for the owner of a machine.

use std::path::Path;

use echo_testing::mesh::{Mesh, soon};
use tokio::io::{AsyncBufReadExt as _, BufReader};

use crate::terminal::{Run, Terminal, command, run};

async fn say(mesh: &Mesh, what: &str, more: &[&str]) -> Run {
    let (url, folder) = (mesh.broker.url(), mesh.folder().to_string_lossy().into_owned());
    let args = [&[what, "--nats", &url, "--run-dir", &folder], more].concat();
    run(&args).await
}

#[tokio::test]
async fn drain_waits_until_the_node_is_empty_and_says_what_still_runs() {
    let mesh = Mesh::start().nodes(1).await;
    let mut stream = mesh.ask("[tokens=150] [delay=20]");
    let node = stream.node().await;
    let url = mesh.broker.url();
    let mut child = command(&["drain", &node, "--nats", &url]).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let first = soon("a line", lines.next_line()).await.unwrap().unwrap();
    assert!(first.starts_with("node-a drains and still runs 1 task: scripted ("), "{first}");
    assert!(child.try_wait().unwrap().is_none(), "it waits");
    stream.rest().await.assert_every_token_once(150);
    let last = soon("a line", lines.next_line()).await.unwrap().unwrap();
    assert_eq!(last, "node-a is drained: nothing runs there, and it takes nothing new.");
    assert_eq!(soon("its end", child.wait()).await.unwrap().code(), Some(0));
    assert_eq!(mesh.seen("node-a").await["status"], "draining");

    let resumed = say(&mesh, "resume", &["node-a"]).await;
    assert_eq!(
        (resumed.code, resumed.out.as_str()),
        (Some(0), "node-a takes work again.\n"),
        "{}",
        resumed.err
    );
    mesh.ask("[tokens=3]").rest().await.assert_every_token_once(3);
}

#[tokio::test]
async fn ctrl_c_ends_the_waiting_and_the_node_still_drains() {
    let mesh = Mesh::start().nodes(1).await;
    let mut stream = mesh.ask("[tokens=100000] [delay=20]");
    stream.node().await;
    let mut terminal = Terminal::start((60, 10), &["drain", "node-a", "--nats", &mesh.broker.url()], &[]);
    terminal.shows(&["node-a drains and still runs 1 task: scripted"]).await;
    terminal.press("\x03");
    assert_eq!(terminal.exit().await.exit_code(), 130);
    terminal.shows(&["node-a still drains", "echo-mesh resume node-a"]).await;
    assert_eq!(mesh.seen("node-a").await["status"], "draining");
}

#[tokio::test]
async fn without_waiting_it_ends_at_once_and_works_without_edge_and_orchestrator() {
    let mesh = Mesh::start().nodes(1).await;
    mesh.orchestrator(0).kill().await;
    mesh.edge(0).kill().await;
    let drained = say(&mesh, "drain", &["node-a", "--no-wait"]).await;
    assert_eq!(drained.code, Some(0), "{}", drained.err);
    assert_eq!(drained.out, "node-a takes nothing new, and finishes what it has.\n");
    let unknown = say(&mesh, "drain", &["node-x"]).await;
    assert_eq!(unknown.code, Some(2));
    assert!(unknown.err.contains("no orchestrator answers"), "{}", unknown.err);
}

#[tokio::test]
async fn an_unknown_node_and_none_at_all_are_answered_with_the_nodes() {
    let mesh = Mesh::start().await;
    for (what, node) in [("drain", &["node-x"][..]), ("resume", &["node-x"]), ("drain", &[]), ("resume", &[])]
    {
        let said = say(&mesh, what, node).await;
        assert_eq!((said.code, said.out.as_str()), (Some(2), ""), "{}", said.err);
        assert!(said.err.contains("The nodes of this mesh are: node-a, node-b."), "{}", said.err);
    }
}

#[tokio::test]
async fn who_is_resumed_meanwhile_is_said_to_work_again() {
    let mesh = Mesh::start().nodes(1).await;
    let mut stream = mesh.ask("[tokens=100000] [delay=20]");
    stream.node().await;
    let url = mesh.broker.url();
    let mut child = command(&["drain", "node-a", "--nats", &url]).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    soon("a line", lines.next_line()).await.unwrap().unwrap();
    let resumed = say(&mesh, "resume", &["node-a"]).await;
    assert_eq!(resumed.code, Some(0), "{}", resumed.err);
    let output = soon("its end", child.wait_with_output()).await.unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("somebody has resumed it"));
}

#[tokio::test]
async fn a_node_that_is_stopped_or_cannot_work_is_said_to_be() {
    let mesh = Mesh::start().nodes(1).await;
    mesh.node(0).pause().await;
    let said = say(&mesh, "drain", &["node-a"]).await;
    assert_eq!(said.code, Some(1));
    assert!(said.err.contains("node-a does not answer: it is stopped or cut off"), "{}", said.err);
    mesh.node(0).resume();
    // The order was not lost.
    mesh.node_is("node-a", "draining").await;
    assert_eq!(say(&mesh, "resume", &["node-a"]).await.code, Some(0));
    mesh.engine(0).stop().await;
    mesh.node_is("node-a", "unavailable").await;
    assert_eq!(say(&mesh, "drain", &["node-a"]).await.code, Some(0));
    let said = say(&mesh, "resume", &["node-a"]).await;
    assert_eq!(said.code, Some(1), "{}", said.out);
    assert!(said.err.contains("node-a is resumed, and cannot work: "), "{}", said.err);
}

#[tokio::test]
async fn without_a_broker_and_without_its_key_it_says_what_to_do() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let run_dir = folder.path().to_string_lossy().into_owned();
    let nats = format!("nats://who:a-password@{free}");
    let said = run(&["drain", "node-a", "--nats", &nats, "--run-dir", &run_dir]).await;
    assert_eq!(said.code, Some(1));
    assert!(said.err.contains("no broker lets us in") && said.err.contains("--nkey"), "{}", said.err);
    assert!(!said.err.contains("a-password"), "{}", said.err);
    let missing = Path::new(&run_dir).join("none");
    let said = run(&["drain", "node-a", "--nkey", &missing.to_string_lossy(), "--run-dir", &run_dir]).await;
    assert_eq!(said.code, Some(2), "{}", said.err);
}
