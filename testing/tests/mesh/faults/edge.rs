//! The edge goes away, rudely and politely.

use std::time::Duration;

use echo_testing::{client::Stream, mesh::Mesh};
use serde_json::json;

const FREED: Duration = Duration::from_secs(6);

#[tokio::test]
async fn when_an_edge_is_killed_its_engines_stop_and_others_do_not_notice() {
    let mesh = Mesh::start().slots(2).edges(2).await;
    let long = json!({"prompt": "count [tokens=6000] [delay=10]"});
    let mut lost = Stream::open(mesh.client_of(1).post("/task/stream", &long));
    let mut queued = mesh.ask("count [tokens=700] [delay=10]");
    lost.read_tokens(3).await;
    queued.read_tokens(3).await;
    mesh.edge(1).kill().await;
    let killed = std::time::Instant::now();
    let broken = lost.rest().await;
    assert!(broken.broken.is_some(), "{}", broken.summary());
    mesh.until("the dead edge's engine to stop", || async {
        let cancelled: u64 = mesh.nodes().iter().map(|node| node.engine().counters().cancelled).sum();
        echo_testing::mesh::holds(cancelled == 1, format!("{cancelled} cancelled"))
    })
    .await;
    assert!(killed.elapsed() < FREED, "after {:?}", killed.elapsed());
    queued.rest().await.assert_every_token_once(700);
    mesh.is_quiet_within(Duration::from_secs(1)).await;
}

#[tokio::test]
async fn a_draining_edge_finishes_what_it_has_and_refuses_new_connections() {
    let mesh = Mesh::start().edges(2).slots(2).await;
    let body = json!({"prompt": "count [tokens=150] [delay=10]"});
    let mut stream = Stream::open(mesh.client_of(1).post("/task/stream", &body));
    stream.read_tokens(3).await;
    mesh.edge(1).term();
    mesh.until("new connections to be refused", || async {
        match mesh.client_of(1).get("/health").send().await {
            Err(error) => Ok(error),
            Ok(reply) => Err(format!("status {}", reply.status())),
        }
    })
    .await;
    stream.rest().await.assert_every_token_once(150);
    let status = mesh.edge(1).exit().await;
    assert!(status.success(), "{status}");
}

#[tokio::test]
async fn a_second_signal_ends_a_draining_edge_at_once() {
    let mesh = Mesh::start().await;
    let mut stream = mesh.ask("count [tokens=6000] [delay=10]");
    stream.read_tokens(3).await;
    mesh.edge(0).term();
    mesh.edge(0).mentions("second signal").await;
    mesh.edge(0).term();
    let began = std::time::Instant::now();
    let status = mesh.edge(0).exit().await;
    assert!(!status.success() && began.elapsed() < Duration::from_secs(2), "{status} {:?}", began.elapsed());
}

#[tokio::test]
async fn an_edge_that_comes_back_serves_at_once() {
    let mesh = Mesh::start().await;
    mesh.edge(0).restart().await;
    mesh.ask("count [tokens=5]").rest().await.assert_every_token_once(5);
}
