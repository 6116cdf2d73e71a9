//! What cannot be continued honestly ends with an error that says so and carries what there is.

use echo_testing::{client::Transcript, mesh::Mesh};
use serde_json::{Value, json};

async fn interrupted(mesh: &Mesh, body: &Value) -> Transcript {
    let mut stream = mesh.stream(body);
    stream.read_tokens(10).await;
    let node = stream.node().await;
    mesh.node(&node).kill().await;
    let answer = stream.rest().await;
    assert_eq!((answer.status, answer.ends(), answer.broken.clone()), (200, 1, None), "{}", answer.summary());
    assert_eq!(answer.last()["success"], false, "{}", answer.summary());
    assert_eq!(answer.last()["content"], answer.content(), "the error carries the partial answer");
    assert!(answer.tokens().len() < 60, "it was interrupted");
    mesh.is_quiet().await;
    answer
}

#[tokio::test]
async fn an_interrupted_json_answer_ends_with_an_error_and_the_partial_answer() {
    let mesh = Mesh::start().await;
    let schema = json!({"type": "object", "properties": {"text": {"type": "string"}}});
    for format in [json!("json"), schema] {
        let body = json!({"prompt": "count [tokens=60] [delay=20]", "format": format});
        let answer = interrupted(&mesh, &body).await;
        assert_eq!(answer.code(), "cannot_continue", "{}", answer.summary());
        let dead = mesh.nodes().iter().find(|node| !node.runs()).expect("the killed one");
        dead.start().await;
        mesh.is_whole().await;
    }
}

#[tokio::test]
async fn an_uninterrupted_json_answer_is_whole() {
    let mesh = Mesh::start().nodes(1).await;
    let (status, answer) = mesh.task(&json!({"prompt": "count [tokens=3]", "format": "json"})).await;
    assert_eq!(status, 200, "{answer}");
    let content: Value = serde_json::from_str(answer["content"].as_str().expect("text")).expect("JSON");
    assert_eq!(content["text"], "t0 t1 t2 ");
}

#[tokio::test]
async fn where_continuation_is_turned_off_the_error_is_explicit() {
    let mesh = Mesh::start().edge_args(["--continue", "never"]).await;
    let answer = interrupted(&mesh, &json!({"prompt": "count [tokens=60] [delay=20]"})).await;
    assert!(!answer.code().is_empty());
}

#[tokio::test]
async fn before_the_first_token_a_json_answer_simply_starts_again() {
    let mesh = Mesh::start().await;
    let body = json!({"prompt": "count [tokens=3] [fault=fail]", "format": "json"});
    let (status, answer) = mesh.task(&body).await;
    // The order in the prompt makes every node fail: what two engines say is the answer, in their words.
    assert_eq!((status, &answer["success"]), (500, &json!(false)), "{answer}");
    assert!(answer["attempts"].as_u64().is_some_and(|attempts| attempts >= 2), "{answer}");
}

#[tokio::test]
async fn when_the_last_node_fails_in_mid_answer_the_error_carries_the_partial_answer() {
    let mesh = Mesh::start().nodes(1).edge_args(["--attempts", "1"]).await;
    let answer = mesh.ask("count [tokens=40] [delay=10] [fault=error@10]").rest().await;
    assert_eq!((answer.status, answer.ends()), (200, 1), "{}", answer.summary());
    assert_eq!(answer.tokens().len(), 10);
    assert_eq!(answer.last()["content"], answer.content(), "{}", answer.summary());
    assert!(answer.error().is_some_and(|error| !error.is_empty()));
}
