//! The whole way with a real model behind it.

use echo_scripted_engine::{Api, Script};
use echo_testing::{
    client::{Client, Event, Reply, Stream, Transcript, package},
    mesh::{Mesh, Program, RealEngine, holds, until},
};
use serde_json::{Value, json};
use tokio::{
    process::Command,
    sync::{Mutex, MutexGuard},
};

use echo_testing::skip::skip;

/// Two real engines at once are all that a small machine bears.
static TURN: Mutex<()> = Mutex::const_new(());

struct Real {
    mesh: Mesh,
    agents: Vec<Program>,
    _engines: Vec<RealEngine>,
    _turn: MutexGuard<'static, ()>,
}

/// A mesh on as many real engines as there are lists of flags.
async fn real(test: &str, engines_flags: &[&[&str]]) -> Option<Real> {
    let turn = TURN.lock().await;
    let (mut engines, mut agents) = (Vec::new(), Vec::new());
    for flags in engines_flags {
        match RealEngine::start_with(flags).await {
            Ok(engine) => engines.push(engine),
            Err(reason) => {
                skip(test, &format!("llama.cpp with its model cannot be had here: {reason}"));
                return None;
            }
        }
    }
    let mesh = Mesh::start().nodes(0).await;
    for (number, engine) in engines.iter().enumerate() {
        let script = Script { api: Api::Openai, ..Script::default() };
        let agent = mesh.agent(&format!("real-{number}"), engine.url(), &script);
        agent.start().await;
        agents.push(agent);
    }
    until("the real nodes to be ready", || async {
        let status = mesh.try_status().await?;
        let ready = status["nodes"].as_array().is_some_and(|nodes| {
            nodes.len() == agents.len()
                && nodes.iter().all(|node| node["status"] == "idle" && node["models"][0].is_string())
        });
        holds(ready, status)
    })
    .await;
    Some(Real { mesh, agents, _engines: engines, _turn: turn })
}

fn body(tokens: u64) -> Value {
    let options = json!({"num_predict": tokens, "temperature": 0, "seed": 7});
    json!({"prompt": "Write a short story about a lighthouse keeper.", "options": options})
}

async fn stream(real: &Real, tokens: u64) -> Stream {
    real.mesh.stream(&body(tokens))
}

#[tokio::test]
async fn a_real_model_streams_its_answer_through_the_mesh() {
    let Some(real) = real("a_real_model_streams_its_answer_through_the_mesh", &[&[]]).await else { return };
    let answer = stream(&real, 40).await.rest().await;
    answer.assert_answered();
    assert!(answer.tokens().len() >= 20, "{}", answer.summary());
    assert!(answer.content().split_whitespace().count() > 10, "{}", answer.content());
    assert!(
        answer.last()["model_used"].as_str().is_some_and(|model| model.starts_with("smollm2")),
        "{}",
        answer.last()
    );
    let (status, whole) =
        real.mesh.task(&json!({"prompt": "What is 2 + 2?", "options": {"num_predict": 20}})).await;
    assert_eq!(status, 200, "{whole}");
    assert!(whole["content"].as_str().is_some_and(|content| !content.trim().is_empty()), "{whole}");
}

#[tokio::test]
async fn a_real_answer_goes_on_from_another_node_where_it_broke_off() {
    let Some(real) = real("a_real_answer_goes_on_from_another_node_where_it_broke_off", &[&[], &[]]).await
    else {
        return;
    };
    let whole = stream(&real, 80).await.rest().await;
    whole.assert_answered();
    let mut interrupted = stream(&real, 80).await;
    interrupted.read_tokens(25).await;
    let node = interrupted.node().await;
    real.agents.iter().find(|agent| agent.name().ends_with(&node)).expect("that node").kill().await;
    let before = interrupted.so_far().content();
    let answer = interrupted.rest().await;
    answer.assert_answered();
    assert_eq!((answer.nodes().len(), answer.attempts()), (2, 2), "{}", answer.summary());
    assert!(answer.content().starts_with(&before), "what was said before the kill is unchanged");
    // The same model, no randomness: the seam is right if the text goes on as it would have.
    let said: String = whole.content().chars().take(before.chars().count() + 12).collect();
    assert!(answer.content().starts_with(&said), "{before:?} went on as {:?}", answer.content());
    assert!(answer.tokens().len() <= 81, "the token limit holds: {}", answer.tokens().len());
    for count in ["tokens", "prompt_tokens", "done_reason"] {
        assert_eq!(answer.last()[count], whole.last()[count], "{count}");
    }
}

/// The thoughts and the text of an answer.
fn told(answer: &Transcript) -> (String, String) {
    let said = |event: &Event, name: &str| event.json[name].as_str().unwrap_or_default().to_owned();
    let all = |name: &str| answer.events.iter().map(|event| said(event, name)).collect();
    (all("thinking"), all("token"))
}

/// By the server's own support for it, and by a raw prompt where that is turned off.
#[tokio::test]
async fn real_thoughts_go_on_from_another_node_where_they_broke_off() {
    let test = "real_thoughts_go_on_from_another_node_where_they_broke_off";
    let template = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/mesh/thinking.jinja");
    for flags in [&["--template", template] as &[&str], &["--template", template, "--no-prefill"]] {
        let Some(real) = real(test, &[flags, flags]).await else { return };
        for thinks in [false, true] {
            goes_on(&real, thinks).await;
        }
        goes_on_into_text(&real).await;
    }
}

async fn goes_on(real: &Real, thinks: bool) {
    let mut body = body(60);
    body["think"] = thinks.into();
    let whole = real.mesh.stream(&body).rest().await;
    let (before, answer) = cut(real, &body, 15).await;
    let of = |told: (String, String)| if thinks { told.0 } else { told.1 };
    let (before, wanted, said) = (of(before), of(told(&whole)), of(told(&answer)));
    let until_then: String = wanted.chars().take(before.chars().count() + 12).collect();
    assert!(said.starts_with(&until_then), "{said:?} in place of {wanted:?}");
    for answer in [&whole, &answer] {
        let (thoughts, text) = told(answer);
        assert_eq!((thoughts.is_empty(), text.is_empty()), (!thinks, thinks), "nothing is in a wrong place");
    }
    for count in ["tokens", "prompt_tokens", "done_reason"] {
        assert_eq!(answer.last()[count], whole.last()[count], "{count} in {}", answer.last());
    }
}

/// Cut in thoughts that end, so that the other node has to find their end and the text behind it.
async fn goes_on_into_text(real: &Real) {
    // The model says it once more, and so ends its thoughts where the mark stands; no word of it is in doubt.
    let words = "<think>\nI think of the sea and of the ships that pass by, one after the other, all through the \
        night.\n</think>\n\nHello, keeper of the light.";
    let mut body = body(120);
    body["prompt"] = format!("Copy:\n{words}").into();
    body["think"] = true.into();
    let whole = real.mesh.stream(&body).rest().await;
    let (before, answer) = cut(real, &body, 8).await;
    assert_eq!(before.1, "", "it was in its thoughts");
    let (thoughts, text) = told(&whole);
    assert!(!thoughts.is_empty() && text.contains("keeper"), "{thoughts:?} and {text:?}");
    assert_eq!(told(&answer), (thoughts, text));
    assert_eq!(answer.last()["done_reason"], "stop");
}

/// The node that answers is killed after so many pieces, and started again: what was said until then, and the whole.
async fn cut(real: &Real, body: &Value, pieces: usize) -> ((String, String), Transcript) {
    let mut interrupted = real.mesh.stream(body);
    interrupted.read_tokens(pieces).await;
    let node = interrupted.node().await;
    let agent = real.agents.iter().find(|agent| agent.name().ends_with(&node)).expect("that node");
    agent.kill().await;
    let before = told(interrupted.so_far());
    let answer = interrupted.rest().await;
    answer.assert_answered();
    assert_eq!((answer.nodes().len(), answer.attempts()), (2, 2), "{}", answer.summary());
    agent.start().await;
    until("the node to be back", || async {
        let status = real.mesh.try_status().await?;
        let idle =
            status["nodes"].as_array().map(|nodes| nodes.iter().filter(|it| it["status"] == "idle").count());
        holds(idle == Some(real.agents.len()), status)
    })
    .await;
    (before, answer)
}

/// A character of several tokens is cut at no place where its counts or its limit could show it.
#[tokio::test]
async fn a_real_answer_of_emoji_keeps_its_limit_and_its_counts() {
    let Some(real) = real("a_real_answer_of_emoji_keeps_its_limit_and_its_counts", &[&[], &[]]).await else {
        return;
    };
    let body = json!({"prompt": "\u{1f600}".repeat(12), "max_tokens": 60, "temperature": 0, "stream": true,
        "stream_options": {"include_usage": true}});
    let usage = |events: &str| {
        let events =
            events.lines().filter_map(|line| serde_json::from_str(line.strip_prefix("data: ")?).ok());
        let usage = events.map(|event: Value| event["usage"].clone()).rfind(|usage| !usage.is_null());
        let mut usage = usage.expect("usage");
        // Whether the last node had seen the prompt before is the mesh's choice.
        let details = usage.as_object_mut().and_then(|usage| usage.remove("prompt_tokens_details"));
        let cached = details.and_then(|it| it["cached_tokens"].as_u64()).expect("llama.cpp tells it");
        assert!(Some(cached) <= usage["prompt_tokens"].as_u64(), "{cached} of {usage}");
        usage
    };
    let uncut = usage(&post(real.mesh.client(), "/v1/completions", body.clone()).await.text().await);
    assert_eq!(uncut["completion_tokens"], 60);
    let mut reply = post(real.mesh.client(), "/v1/completions", body).await;
    let mut text = String::new();
    while text.matches("\"text\":\"\u{1f600}").count() < 5 {
        let bytes = reply.chunk().await.expect("a chunk").expect("five smileys");
        text.push_str(std::str::from_utf8(&bytes).expect("whole events"));
    }
    let node = reply.header("x-echo-node").to_owned();
    real.agents.iter().find(|agent| agent.name().ends_with(&node)).expect("that node").kill().await;
    text.push_str(&reply.text().await);
    assert_eq!(usage(&text), uncut);
}

async fn post(client: Client, path: &str, body: Value) -> Reply {
    let reply = client.post(path, &body).send().await.expect("a reply");
    assert_eq!(reply.status(), 200, "{path}");
    reply
}

/// One server generates, the other makes vectors too; both have the same model.
async fn both(test: &str) -> Option<Real> {
    real(test, &[&[], &["--embeddings"]]).await
}

#[tokio::test]
async fn real_vectors_come_only_from_the_server_that_makes_them() {
    let Some(real) = both("real_vectors_come_only_from_the_server_that_makes_them").await else { return };
    let client = real.mesh.client();
    let mut vectors = Vec::new();
    for (path, field, place) in [
        ("/v1/embeddings", "input", "/data/0/embedding"),
        ("/api/embed", "input", "/embeddings/0"),
        ("/api/embeddings", "prompt", "/embedding"),
    ] {
        for _ in 0..3 {
            let reply =
                post(client, path, json!({"model": "smollm2", field: "a lighthouse in the fog"})).await;
            let from = (reply.header("x-echo-node"), reply.header("x-echo-attempts"));
            assert_eq!(from, ("real-1", "1"), "{path}: the other was not even asked");
            let answer = reply.json().await;
            let vector: Vec<f64> =
                serde_json::from_value(answer.pointer(place).cloned().unwrap_or_default()).expect("numbers");
            vectors.push(vector);
        }
    }
    let product = |a: &[f64], b: &[f64]| -> f64 { a.iter().zip(b).map(|(a, b)| a * b).sum() };
    let alike = |a: &[f64], b: &[f64]| product(a, b) / (product(a, a) * product(b, b)).sqrt();
    for vector in &vectors {
        assert!(vector.len() == 576 && alike(vector, &vectors[0]) > 0.999, "{} numbers", vector.len());
    }
    too_long(client).await;
    // The line between the two is the ability, not the server: either of them talks.
    let hello = json!([{"role": "user", "content": "Say hello."}]);
    let body = json!({"model": "smollm2", "messages": hello, "max_tokens": 8, "temperature": 0});
    let answer = post(client, "/v1/chat/completions", body).await.json().await;
    assert!(
        answer["choices"][0]["message"]["content"].as_str().is_some_and(|text| text.len() > 2),
        "{answer}"
    );
}

/// A text that is longer than llama.cpp's batch of 512 tokens is shortened for Ollama's clients, or refused by its place.
async fn too_long(client: Client) {
    let (first, all) = ("word ".repeat(511), "word ".repeat(20_000));
    let body = json!({"model": "smollm2", "input": ["a lighthouse", all, format!("{first}word")]});
    let answer = post(client, "/api/embed", body.clone()).await.json().await;
    let vector = |place: usize| answer["embeddings"][place].as_array().map(Vec::len);
    assert_eq!((vector(0), vector(1), vector(2)), (Some(576), Some(576), Some(576)));
    assert_eq!(answer["embeddings"][1], answer["embeddings"][2], "exactly its first 512 tokens");
    for (path, field, value) in
        [("/v1/embeddings", "user", json!("ann")), ("/api/embed", "truncate", json!(false))]
    {
        let mut body = body.clone();
        body[field] = value;
        let reply = client.post(path, &body).send().await.expect("a reply");
        assert_eq!((reply.status(), reply.header("x-echo-attempts")), (400, "1"), "{path}");
        let answer = reply.json().await.to_string();
        assert!(
            answer.contains("input[1]: it has 20001 tokens") && answer.contains("at most 512"),
            "{answer}"
        );
    }
}

#[tokio::test]
async fn real_clients_talk_to_a_real_model_in_both_dialects() {
    let test = "real_clients_talk_to_a_real_model_in_both_dialects";
    let python = match package::set_up("python").await {
        Ok(python) => python,
        Err(why) => return skip(test, &why),
    };
    let Some(real) = both(test).await else { return };
    let mut command = Command::new(python);
    command.arg(package::folder().join("check_real.py"));
    package::run(command, &format!("http://{}", real.mesh.edge(0).address()), "").await;
}

/// The real template, with all that it puts around a conversation, and the marks that its tokens begin with.
#[tokio::test]
async fn a_real_count_is_what_a_real_chat_then_says() {
    let Some(real) = real("a_real_count_is_what_a_real_chat_then_says", &[&[]]).await else { return };
    let model = real.mesh.status().await["nodes"][0]["models"][0].clone();
    let user = |text: &str| json!({"role": "user", "content": text});
    let turns = json!([{"role": "system", "content": "Be brief."}, user("Name a colour."),
        {"role": "assistant", "content": "Blue."}, user("Another one: \u{1f600} <|im_start|> na\u{ef}ve\n\n  twice")]);
    for messages in [json!([user("hi")]), turns] {
        let mut chat = json!({"model": model, "messages": messages});
        let counted = crate::count::count(&real.mesh, chat.clone()).await;
        chat["max_tokens"] = 1.into();
        let answer = post(real.mesh.client(), "/v1/chat/completions", chat).await.json().await;
        let told = &answer["usage"]["prompt_tokens"];
        assert!(told.as_u64().is_some_and(|tokens| tokens > 5), "{answer}");
        assert_eq!((&counted["prompt_tokens"], &counted["estimated"]), (told, &Value::Null), "{answer}");
    }
}
