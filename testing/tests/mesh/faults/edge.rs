//! The edge goes away, rudely and politely.

use std::time::Duration;

use echo_testing::mesh::Mesh;

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
