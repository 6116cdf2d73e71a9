//! An agent is killed: before the first token, in mid-answer, alone or under load.

use echo_testing::mesh::Mesh;
use serde_json::json;

const SIXTY: &str = "count [tokens=60] [delay=20]";

fn other(node: &str) -> &'static str {
    if node == "node-a" { "node-b" } else { "node-a" }
}

#[tokio::test]
async fn killed_before_the_first_token_a_whole_answer_comes_from_another_node() {
    let mesh = Mesh::start().await;
    let kill = async {
        let node = mesh.worker().await;
        mesh.node(&node).kill().await;
        node
    };
    let body = json!({"prompt": "count [tokens=5] [first=1500]"});
    let ((status, answer), node) = tokio::join!(mesh.task(&body), kill);
    assert_eq!((status, answer["content"].as_str()), (200, Some("t0 t1 t2 t3 t4 ")), "{answer}");
    assert_eq!((answer["routed_to"].as_str(), &answer["attempts"]), (Some(other(&node)), &json!(2)));
}

#[tokio::test]
async fn killed_in_mid_answer_a_whole_answer_comes_as_if_nothing_had_happened() {
    let mesh = Mesh::start().await;
    let kill = async {
        let node = mesh.worker().await;
        mesh.engine(&node).until(|counters| counters.tokens >= 10).await.expect("ten tokens");
        mesh.node(&node).kill().await;
    };
    let body = json!({ "prompt": SIXTY });
    let ((status, answer), ()) = tokio::join!(mesh.task(&body), kill);
    let whole: String = (0..60).map(echo_testing::client::scripted).collect();
    assert_eq!((status, answer["content"].as_str()), (200, Some(whole.as_str())), "{answer}");
    assert_eq!(answer["attempts"], 2, "{answer}");
}

#[tokio::test]
async fn a_token_limit_holds_over_both_parts_of_an_answer() {
    let mesh = Mesh::start().await;
    let body = json!({"prompt": SIXTY, "options": {"num_predict": 30}});
    let mut stream = mesh.stream(&body);
    stream.read_tokens(10).await;
    let node = stream.node().await;
    mesh.node(&node).kill().await;
    stream.rest().await.assert_every_token_once(30);
}

#[tokio::test]
async fn agents_killed_one_after_the_other_under_load_fail_no_request() {
    let mesh = Mesh::start().nodes(3).slots(3).await;
    super::nobody_notices(&mesh, 6, async {
        for node in mesh.nodes() {
            let seen = node.engine().counters().started;
            node.engine().until(|counters| counters.started > seen).await.expect("load on every node");
            node.restart().await;
            mesh.node_is(node.id(), "idle").await;
        }
    })
    .await;
    let misfits: u64 = mesh.nodes().iter().map(|node| node.engine().counters().misfits).sum();
    assert_eq!(misfits, 0);
}

#[tokio::test]
async fn a_killed_node_gets_no_more_work_and_leaves_the_status() {
    let mesh = Mesh::start().await;
    mesh.node(0).kill().await;
    for _ in 0..6 {
        let answer = mesh.ask("count [tokens=3]").rest().await;
        answer.assert_every_token_once(3);
        assert_eq!((answer.nodes(), answer.attempts()), (vec!["node-b".to_owned()], 1));
    }
    mesh.until("the dead node to be evicted", || async {
        let seen = mesh.seen("node-a").await;
        echo_testing::mesh::holds(seen.is_null(), seen)
    })
    .await;
    mesh.node(0).start().await;
    mesh.node_is("node-a", "idle").await;
}
