//! A client that does not read: its own stream only, bounded memory, and an end.

use std::time::{Duration, Instant};

use echo_testing::mesh::{Mesh, holds, until};
use serde_json::json;
use tokio::{
    io::AsyncWriteExt,
    net::{TcpSocket, TcpStream},
};

/// More than any socket buffers, at most of a megabyte a second.
const FLOOD: &str = "count [tokens=10000000] [chunk=100] [delay=1]";

/// Asks, and never reads a byte.
async fn asks_and_reads_nothing(mesh: &Mesh, path: &str, stream: bool) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4096).expect("a small buffer");
    let mut socket = socket.connect(mesh.edge(0).address()).await.expect("a connection");
    let body = json!({"model": "scripted", "model_hint": "scripted", "prompt": FLOOD, "stream": stream,
        "messages": [{"role": "user", "content": FLOOD}]})
    .to_string();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    socket.write_all(format!("{head}{body}").as_bytes()).await.expect("it is taken");
    socket
}

#[tokio::test]
async fn who_takes_nothing_for_too_long_counts_as_gone() {
    let mesh = Mesh::start().nodes(1).slots(4).edge_args(["--client-timeout", "2s"]).await;
    let before = mesh.edge(0).resident();
    let began = Instant::now();
    let mut silent = Vec::new();
    for path in ["/task/stream", "/api/chat", "/v1/chat/completions"] {
        silent.push(asks_and_reads_nothing(&mesh, path, true).await);
    }
    mesh.engine(0).until(|counters| counters.running == 3).await.expect("all of them run");
    // Nobody else waits for them.
    let mut slowest = Duration::ZERO;
    while mesh.engine(0).counters().cancelled < 3 {
        let asked = Instant::now();
        mesh.ask("count [tokens=5]").rest().await.assert_every_token_once(5);
        slowest = slowest.max(asked.elapsed());
        assert!(began.elapsed() < Duration::from_secs(20), "{:?}", mesh.engine(0).counters());
    }
    let (took, grown) = (began.elapsed(), mesh.edge(0).resident().saturating_sub(before));
    eprintln!("cancelled after {took:?}; others waited {slowest:?} at most; {grown} bytes more at the edge");
    assert!(took > Duration::from_secs(2), "they had their time: {took:?}");
    assert!(slowest < Duration::from_secs(2), "somebody else waited {slowest:?}");
    assert!(grown < 256 << 20, "{grown} bytes");
    let said = mesh.edge(0).logs().all().iter().filter(|line| line.contains("took nothing")).count();
    assert_eq!(said, 3, "each for this and for nothing else");
    mesh.is_quiet_within(Duration::from_secs(1)).await;
    drop(silent);
}

#[tokio::test]
async fn who_only_pauses_misses_nothing() {
    let mesh = Mesh::start().nodes(1).edge_args(["--client-timeout", "5s"]).await;
    let mut stream = mesh.ask("count [tokens=600000] [chunk=500]");
    stream.read_tokens(3).await;
    // The engine is done long before the client reads on: the edge keeps what is left.
    mesh.engine(0).until(|counters| counters.finished == 1).await.expect("the engine waits for nobody");
    until("the slot to be free", || async {
        let seen = mesh.seen("node-a").await;
        holds(seen["active_tasks"] == 0, seen)
    })
    .await;
    stream.rest().await.assert_every_token_once(600_000);
}
