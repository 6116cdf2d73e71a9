//! Every answer says why its node: what was expected, what came, and what spoke against the others.

use std::time::Duration;

use echo_testing::mesh::{Mesh, Observer, holds, until};
use serde_json::{Value, json};

/// An answer of twenty tokens: its prompt takes 300 ms, and the rest 950 ms.
const ASK: &str = "count [tokens=20] [delay=50] [first=300]";

/// Nodes whose speed is known as soon as they have answered once; a load takes 700 ms.
async fn mesh() -> Mesh {
    Mesh::start().script(|script| script.load_delay = Duration::from_millis(700)).await
}

/// Has tasks answered until this node has the model in memory and knows its speed; its name if none is given.
async fn warm(mesh: &Mesh) -> String {
    let (status, answer) = mesh.task(&json!({ "prompt": ASK })).await;
    assert_eq!(status, 200, "{answer}");
    let node = answer["routed_to"].as_str().expect("a node").to_owned();
    until("a loaded model whose speed is known", || async {
        let model = mesh.seen(&node).await["model_details"][0].clone();
        holds(model["loaded"] == true && model["speeds"][0].is_object() && model["lengths"].is_array(), model)
    })
    .await;
    mesh.is_quiet().await;
    node
}

fn ms(times: &Value, part: &str) -> u64 {
    times[part].as_u64().unwrap_or_else(|| panic!("{part} in {times}"))
}

#[track_caller]
fn assert_about(what: &str, times: &Value, part: &str, scripted: u64) {
    let measured = ms(times, part);
    // A busy machine takes longer, and never less.
    let fits = (scripted.saturating_sub(60)..scripted * 3 / 2 + 250).contains(&measured);
    assert!(fits, "{what} {part}: {measured} ms for {scripted} ms by script: {times}");
}

/// The last event of a stream, and the header of why.
async fn streamed(mesh: &Mesh) -> (String, Value) {
    let reply = mesh.client().post("/task/stream", &json!({ "prompt": ASK })).send().await.expect("a reply");
    let why = reply.header("x-echo-why").to_owned();
    let text = reply.text().await;
    let last = text.lines().rev().find_map(|line| line.strip_prefix("data: ")).expect("a last event");
    (why, serde_json::from_str(last).expect("JSON"))
}

#[tokio::test]
async fn an_answer_its_stream_and_the_header_say_why_this_node_and_not_the_cold_one() {
    let mesh = mesh().await;
    let observer = mesh.observer().await;
    let here = warm(&mesh).await;
    let cold = if here == "node-a" { "node-b" } else { "node-a" };
    let reply = mesh.client().post("/task", &json!({ "prompt": ASK })).send().await.expect("a reply");
    let header = reply.header("x-echo-why").to_owned();
    let answer = reply.json().await;
    mesh.is_quiet().await;
    let (head, last) = streamed(&mesh).await;
    for (header, answer) in [(&header, &answer), (&head, &last)] {
        let why = &answer["why"];
        assert_eq!((&why["node"], &answer["routed_to"]), (&json!(here), &json!(here)), "{answer}");
        assert_eq!(*header, format!("{here}: {}", answer["chosen"].as_str().expect("words")));
        let other = &why["instead_of"][0];
        let because = other["because"].as_str().expect("a reason");
        assert!(other["node"] == cold && because.starts_with("cold: "), "{why}");
        assert!(header.contains(&format!("; {cold} ")) && header.contains(because), "{header}");
        assert!(ms(other, "expected_ms") > ms(&why["expected_ms"], "whole"), "{why}");
        let (expected, measured) = (&why["expected_ms"], &why["measured_ms"]);
        assert_eq!((ms(expected, "wait"), ms(expected, "load")), (0, 0), "{why}");
        assert_about("expected", expected, "answer", 950);
        assert_about("measured", measured, "prompt", 300);
        assert_about("measured", measured, "answer", 950);
        let parts: u64 = ["wait", "load", "prompt", "answer"].iter().map(|part| ms(measured, part)).sum();
        assert!(ms(measured, "whole").abs_diff(parts) <= 4, "{why}");
        assert!(ms(measured, "whole") <= answer["latency_ms"].as_u64().expect("a latency"), "{answer}");
    }
    let event = event(&observer, &last["task_id"], "done").await;
    assert_eq!(event["why"], last["why"], "{event}");
    let placed = self::event(&observer, &last["task_id"], "placed").await;
    assert_eq!(placed["why"]["expected_ms"], last["why"]["expected_ms"], "{placed}");
    let told = mesh.client().get("/metrics").send().await.expect("a reply").text().await;
    assert!(told.contains(r#"echo_expected_ratio_count{part="whole"} 2"#), "{told}");
}

async fn event(observer: &Observer, task: &Value, what: &str) -> Value {
    let subject = format!("echo.event.task.{}.{what}", task.as_str().expect("an id"));
    serde_json::from_slice(&observer.sees(&subject).await.payload).expect("JSON")
}

#[tokio::test]
async fn a_full_node_is_named_with_its_wait_and_a_load_is_measured() {
    let mesh = mesh().await;
    let full = warm(&mesh).await;
    let mut running = mesh.ask("count [tokens=3000] [delay=50]");
    running.read_tokens(1).await;
    let (status, answer) = mesh.task(&json!({ "prompt": ASK })).await;
    assert_eq!((status, answer["routed_to"] != full.as_str()), (200, true), "{answer}");
    let (why, measured) = (&answer["why"], &answer["why"]["measured_ms"]);
    let other = &why["instead_of"][0];
    let because = other["because"].as_str().expect("a reason");
    assert!(other["node"] == full.as_str() && because.starts_with("waits "), "{why}");
    assert_eq!(why.get("expected_ms"), None, "nothing was ever measured there: {why}");
    assert_about("measured", measured, "load", 700);
    assert_about("measured", measured, "prompt", 300);
}

#[tokio::test]
async fn who_has_waited_hears_what_was_expected_of_that_and_what_came() {
    let mesh = Mesh::start().nodes(1).await;
    warm(&mesh).await;
    let mut running = mesh.ask(ASK);
    running.read_tokens(1).await;
    let mut waiting = mesh.ask(ASK);
    let told: u64 = {
        let comment = waiting.comment("expected wait").await;
        comment.split_whitespace().rev().find_map(|it| it.parse().ok()).expect("a number")
    };
    let answer = waiting.rest().await;
    let why = &answer.last()["why"];
    assert_eq!(ms(&why["expected_ms"], "wait"), told, "{why}");
    let came = ms(&why["measured_ms"], "wait");
    assert!(came.abs_diff(answer.last()["queue_ms"].as_u64().expect("a wait")) <= 1, "{}", answer.last());
    assert!(told < came * 2 && came < told * 2, "{why}");
    assert!(ms(&why["expected_ms"], "whole") > told, "{why}");
}

#[tokio::test]
async fn every_dialect_says_why_in_a_header() {
    let mesh = Mesh::start().nodes(1).slots(8).await;
    let messages = json!([{"role": "user", "content": "count [tokens=3]"}]);
    for (path, stream) in [
        ("/task", false),
        ("/task/stream", true),
        ("/api/generate", false),
        ("/api/generate", true),
        ("/api/chat", false),
        ("/api/chat", true),
        ("/v1/chat/completions", false),
        ("/v1/chat/completions", true),
        ("/v1/completions", false),
    ] {
        let body = json!({"model": "scripted", "prompt": "count [tokens=3]", "messages": messages, "stream": stream});
        let reply = mesh.client().post(path, &body).send().await.expect("a reply");
        assert_eq!(reply.status(), 200, "{path}");
        let why = reply.header("x-echo-why");
        assert!(why.starts_with("node-a: ") && why.len() < 300, "{path} {stream}: {why}");
    }
}

#[tokio::test]
async fn a_continued_answer_says_why_its_last_node() {
    let mesh = Mesh::start().await;
    let mut stream = mesh.ask("count [tokens=60] [delay=30]");
    stream.read_tokens(5).await;
    let first = stream.node().await;
    mesh.node(&*first).kill().await;
    let answer = stream.rest().await;
    answer.assert_every_token_once(60);
    let (last, why) = (answer.last(), &answer.last()["why"]);
    assert_eq!((&why["node"], last["attempts"].as_u64()), (&last["routed_to"], Some(2)), "{last}");
    assert_ne!(why["node"], first.as_str(), "{last}");
    assert!(ms(&why["measured_ms"], "whole") < last["latency_ms"].as_u64().expect("a latency"), "{last}");
}
