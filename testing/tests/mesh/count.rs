//! How many tokens a prompt has, asked of a node as an edge asks it.

use echo_scripted_engine::Api;
use echo_testing::mesh::{Mesh, Observer, holds, until};
use futures::future::join_all;
use serde_json::{Value, json};

/// Where the frames go; edges have a part of their own in this place.
const INBOX: &str = "_INBOX.edge.0123456789ab";

/// What a node says of the prompt of a conversation: the `done` frame, or the one that says why not.
pub async fn count(mesh: &Mesh, chat: Value) -> Value {
    let inbox = format!("{INBOX}.{}", rand_key());
    let part = Observer::listen(&mesh.broker.url(), &inbox).await;
    let mut request = chat;
    request["kind"] = "count".into();
    let task = json!({"inbox": inbox, "request": request, "remaining_ms": 30_000});
    let answer = part.client().request("echo.task.submit", task.to_string().into()).await.expect("an answer");
    let answer: Value = serde_json::from_slice(&answer.payload).expect("JSON");
    until("the end of a count", || async {
        let frames =
            part.seen().into_iter().filter_map(|it| serde_json::from_slice::<Value>(&it.payload).ok());
        let frames: Vec<Value> = frames.collect();
        let end = frames.iter().find(|frame| frame["frame"] == "done" || frame["frame"] == "failed").cloned();
        holds(end.is_some(), format!("{answer}, then {frames:?}"))?;
        Ok::<_, String>(end.expect("seen just now"))
    })
    .await
}

fn rand_key() -> String {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("count{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

fn conversation(text: &str) -> Value {
    json!({"model": "scripted", "messages": [{"role": "system", "content": "be brief and kind"},
        {"role": "user", "content": text}, {"role": "assistant", "content": "as you say"},
        {"role": "user", "content": "go on [tokens=1]"}]})
}

#[tokio::test]
async fn a_count_is_exact_on_llama_cpp_and_waits_for_no_slot() {
    let mesh = Mesh::start().nodes(1).slots(1).api(Api::Openai).await;
    let mut running = mesh.ask("count [tokens=2000] [delay=10]");
    running.read_tokens(1).await;
    let chat = conversation("one two three \u{1f600} four five");
    // The only slot is taken: who waited for it would wait for twenty seconds.
    let counted = join_all((0..40).map(|_| count(&mesh, chat.clone()))).await;
    running.read_tokens(1).await;
    let counters = mesh.engine(0).counters();
    assert_eq!((counters.running, counters.started, counters.max_running), (1, 1, 1), "{counters:?}");
    drop(running);
    mesh.is_quiet().await;
    let reply = mesh.client().post("/v1/chat/completions", &chat).send().await.expect("a reply");
    let told = reply.json().await["usage"]["prompt_tokens"].clone();
    assert!(told.as_u64().is_some_and(|tokens| tokens > 15), "{told}");
    for done in counted {
        assert_eq!(
            (&done["prompt_tokens"], &done["estimated"], &done["tokens"]),
            (&told, &Value::Null, &Value::Null),
            "{done}"
        );
    }
}

#[tokio::test]
async fn a_count_that_an_engine_cannot_make_is_an_estimate_that_says_so() {
    let picture =
        "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
    let mut seen = conversation("see");
    seen["messages"][1]["content"] =
        json!([{"type": "text", "text": "see"}, {"type": "image", "data": picture}]);
    for (api, vllm, chat) in [
        (Api::Ollama, None, conversation(&"word ".repeat(80))),
        (Api::Openai, Some(4096), conversation(&"word ".repeat(80))),
        (Api::Openai, None, seen),
    ] {
        let mesh =
            Mesh::start().nodes(1).slots(1).api(api).script(|script| script.max_model_len = vllm).await;
        let mut running = mesh.ask("count [tokens=2000] [delay=10]");
        running.read_tokens(1).await;
        let done = count(&mesh, chat).await;
        let tokens = done["prompt_tokens"].as_u64().unwrap_or_default();
        assert!(done["estimated"] == true && (10..300).contains(&tokens), "{api:?}: {done}");
        assert_eq!(mesh.engine(0).counters().started, 1, "{api:?}: the engine was asked for no answer");
    }
}

#[tokio::test]
async fn the_next_turn_of_a_conversation_is_estimated_from_what_ollama_has_counted() {
    let mesh = Mesh::start().nodes(1).slots(1).await;
    // A token to each word of one letter: far from the usual four bytes.
    let words = "a ".repeat(600);
    let ask = |prompt: &str| json!({"model": "scripted", "stream": false, "messages": [{"role": "user", "content": prompt}]});
    let prompt = format!("{words} [tokens=4]");
    let reply = mesh.client().post("/api/chat", &ask(&prompt)).send().await.expect("a reply");
    let answer = reply.json().await;
    let exact = answer["prompt_eval_count"].as_u64().expect("a count");
    mesh.is_quiet().await;
    let next = json!({"model": "scripted", "messages": [{"role": "user", "content": prompt},
        {"role": "assistant", "content": answer["message"]["content"]}, {"role": "user", "content": "more"}]});
    let done = count(&mesh, next).await;
    let tokens = done["prompt_tokens"].as_u64().unwrap_or_default();
    assert!(done["estimated"] == true && (exact + 4..exact + 40).contains(&tokens), "{exact}: {done}");
}

#[tokio::test]
async fn a_count_for_a_model_that_nobody_has_is_refused() {
    let mesh = Mesh::start().nodes(1).await;
    let done = count(&mesh, json!({"model": "nobody", "messages": []})).await;
    assert_eq!((&done["frame"], &done["code"]), (&json!("failed"), &json!("model_not_served")), "{done}");
}
