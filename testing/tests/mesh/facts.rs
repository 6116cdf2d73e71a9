//! What nodes tell of themselves for the scheduler.

use echo_scripted_engine::Api;
use echo_testing::mesh::{Mesh, Observer, holds, until};
use futures::future::join_all;
use serde_json::{Value, json};

/// What `/status` says of the first model of a node, once it holds.
async fn model(mesh: &Mesh, node: &str, what: &str, is: impl Fn(&Value) -> bool) -> Value {
    until(what, || async {
        let model = mesh.seen(node).await["model_details"][0].clone();
        if is(&model) { Ok(model) } else { Err(model) }
    })
    .await
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_default()
}

fn speed(model: &Value, at_once: u64) -> f64 {
    let speeds = model["speeds"].as_array().cloned().unwrap_or_default();
    speeds.iter().find(|speed| speed["at_once"] == at_once).map_or(0.0, |it| number(&it["tokens_per_second"]))
}

async fn ask(mesh: &Mesh, prompt: &str) {
    let (status, answer) = mesh.task(&json!({ "prompt": prompt })).await;
    assert_eq!(status, 200, "{answer}");
}

#[tokio::test]
async fn what_a_node_has_measured_stands_in_its_heartbeats() {
    for api in [Api::Ollama, Api::Openai] {
        let mesh = Mesh::start().nodes(1).slots(2).api(api).await;
        let prompt =
            |name: &str| format!("{name} {} [tokens=30] [delay=20] [first=400]", "word ".repeat(400));
        ask(&mesh, &prompt("one")).await;
        let all = |model: &Value| speed(model, 1) > 0.0 && model["lengths"][9] == 1;
        let told = model(&mesh, "node-a", "speed and length", all).await;
        let alone = speed(&told, 1);
        // Fifty at most; a busy machine makes fewer.
        assert!((15.0..60.0).contains(&alone), "{api:?}: {told}");
        let prompt_speed = number(&told["prompt_tokens_per_second"]);
        assert!((200.0..1_200.0).contains(&prompt_speed), "{api:?}: {told}");
        assert!((100.0..400.0).contains(&number(&told["tokens_per_kb"])), "{api:?}: {told}");
        join_all(["two", "three"].map(|name| async { ask(&mesh, &prompt(name)).await })).await;
        model(&mesh, "node-a", "the speed of two at once", |model| speed(model, 2) > 0.0).await;
    }
}

#[tokio::test]
async fn an_answer_that_runs_tells_how_far_it_is_and_how_fast() {
    let mesh = Mesh::start().nodes(1).await;
    let observer = Observer::watch(&mesh.broker.url(), "echo.node.node-a.heartbeat").await;
    let _stream = mesh.ask("count [tokens=2000] [delay=20]");
    until("progress and a speed while it runs", || async {
        let last = observer.seen().last().map(|message| message.payload.clone()).unwrap_or_default();
        let beat: Value = serde_json::from_slice(&last).unwrap_or_default();
        let progress = &beat["progress"][0];
        let is_fast = speed(&beat["models"][0], 1) > 0.0;
        let is_far = number(&progress["tokens"]) > 50.0 && progress.get("prompt").is_none();
        holds(is_far && is_fast && beat["active"].as_array().is_some_and(|it| it.len() == 1), beat)
    })
    .await;
}

#[tokio::test]
async fn what_the_caches_hold_is_for_the_parts_alone_and_holds_no_text() {
    let mesh = Mesh::start().nodes(1).slots(2).await;
    let watcher = mesh.observer().await;
    let part = Observer::listen(&mesh.broker.url(), "_echo.cache.*").await;
    let secret = "confidential ".repeat(300);
    ask(&mesh, &format!("{secret} [tokens=4]")).await;
    let digest = until("a digest with the prompt in a slot", || async {
        let last = part.seen().last().map(|message| message.payload.clone()).unwrap_or_default();
        let digest: Value = serde_json::from_slice(&last).unwrap_or_default();
        let slots = digest["models"][0]["slots"].as_array().cloned().unwrap_or_default();
        let holding = slots.iter().filter(|slot| slot["blocks"].as_array().is_some_and(|it| it.len() == 3));
        if slots.len() == 2 && holding.count() == 1 { Ok(digest) } else { Err(digest) }
    })
    .await;
    assert!(!digest.to_string().contains("confidential"));
    watcher.sees("echo.node.node-a.heartbeat").await;
    let hidden = watcher.subjects().into_iter().find(|subject| subject.starts_with("_echo."));
    assert_eq!(hidden, None);
    // An unload empties it.
    let unload = json!({"model": "scripted", "keep_alive": 0});
    assert_eq!(mesh.client().post("/api/generate", &unload).send().await.expect("an answer").status(), 200);
    until("an empty digest", || async {
        let last = part.seen().last().map(|message| message.payload.clone()).unwrap_or_default();
        let digest: Value = serde_json::from_slice(&last).unwrap_or_default();
        holds(digest["models"].as_array().is_some_and(Vec::is_empty), digest)
    })
    .await;
}

#[tokio::test]
async fn a_fresh_node_knows_its_speed_and_has_loaded_nothing_for_it() {
    let delay = std::time::Duration::from_millis(10);
    let openai = Mesh::start().nodes(1).api(Api::Openai).calibration();
    let mesh = openai.script(|script| (script.token_delay, script.tokens) = (delay, 40)).await;
    let told = model(&mesh, "node-a", "a speed", |model| speed(model, 1) > 0.0).await;
    assert!(told.get("lengths").is_none(), "nobody has asked for that: {told}");
    let mesh = Mesh::start().nodes(1).calibration().await;
    ask(&mesh, "count [tokens=1]").await;
    model(&mesh, "node-a", "a speed, once something is loaded", |model| speed(model, 1) > 0.0).await;
    assert_eq!(mesh.engine(0).counters().loads, 1);
}

#[tokio::test]
async fn the_first_task_ends_a_calibration() {
    let delay = std::time::Duration::from_millis(500);
    let openai = Mesh::start().nodes(1).api(Api::Openai).calibration();
    let mesh = openai.script(|script| (script.token_delay, script.tokens) = (delay, 40)).await;
    mesh.engine(0).until(|counters| counters.running == 1).await.expect("a calibration");
    ask(&mesh, "count [tokens=3] [delay=0]").await;
    mesh.engine(0).until(|counters| counters.cancelled == 1).await.expect("the end of it");
}
