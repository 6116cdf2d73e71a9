//! An agent leaves politely: nobody's answer suffers.

use echo_testing::{
    client::Client,
    mesh::{Mesh, Node, holds},
};

pub async fn order(node: &Node, what: &str) -> u16 {
    let call =
        Client::new(node.address()).call("POST", what).header("content-type", "application/json").body("{}");
    call.send().await.expect("a reply").status()
}

#[tokio::test]
async fn sigterm_lets_an_agent_finish_what_it_has() {
    let mesh = Mesh::start().await;
    let mut stream = mesh.ask("count [tokens=150] [delay=10]");
    let node = stream.node().await;
    mesh.node(&node).term();
    mesh.node_is(&node, "draining").await;
    for _ in 0..3 {
        let next = mesh.ask("count [tokens=3]").rest().await;
        next.assert_every_token_once(3);
        assert_ne!(next.nodes(), [node.as_str()], "a draining node gets nothing new");
    }
    let answer = stream.rest().await;
    answer.assert_every_token_once(150);
    assert_eq!(answer.attempts(), 1);
    let status = mesh.node(&node).exit().await;
    assert!(status.success(), "{status}");
}

#[tokio::test]
async fn drain_and_resume_are_orders_on_the_agents_own_port() {
    let mesh = Mesh::start().await;
    let mut stream = mesh.ask("count [tokens=150] [delay=10]");
    let node = stream.node().await;
    let without =
        Client::new(mesh.node(&node).address()).call("POST", "/drain").send().await.expect("a reply");
    assert_eq!(without.status(), 415, "no web page can drain a node unasked");
    assert_eq!(order(mesh.node(&node), "/drain").await, 200);
    mesh.node_is(&node, "draining").await;
    assert_ne!(mesh.ask("count [tokens=3]").rest().await.nodes(), [node.as_str()]);
    stream.rest().await.assert_every_token_once(150);
    mesh.node_is(&node, "draining").await;
    assert_eq!(order(mesh.node(&node), "/resume").await, 200);
    mesh.node_is(&node, "idle").await;
    assert!(mesh.node(&node).runs());
}

#[tokio::test]
async fn a_mesh_whose_only_node_drains_holds_new_tasks_back() {
    let mesh = Mesh::start().nodes(1).await;
    assert_eq!(order(mesh.node(0), "/drain").await, 200);
    mesh.node_is("node-a", "draining").await;
    let mut waiting = mesh.ask("count [tokens=4]");
    if waiting.status().await == 200 {
        waiting.comment("queued").await;
        assert_eq!(order(mesh.node(0), "/resume").await, 200);
        waiting.rest().await.assert_every_token_once(4);
    } else {
        assert_eq!(waiting.status().await, 503, "{}", waiting.so_far().summary());
    }
    mesh.until("no engine to have been asked in vain", || async {
        let started = mesh.engine(0).counters().started;
        holds(started <= 1, format!("{started} started"))
    })
    .await;
}
