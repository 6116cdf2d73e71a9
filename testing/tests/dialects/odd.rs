//! Requests that are odd or cannot work, on nodes of both kinds: each has one outcome, wherever it lands, and no node is
//! blamed for it.

use std::io::Write;

use echo_scripted_engine::{Api, Engine};
use echo_testing::mesh::{Mesh, until_within};
use flate2::{Compression, write::GzEncoder};
use futures::future::join_all;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};
use serde_json::{Value, json};

use super::wire::{ABLE, able, events, lines, post, said, send, weather, whole};

const PNG: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
const WORDS: &str = "XML syntax error on line 7: element <parameter> closed by </function>";

async fn all_are_idle(mesh: &Mesh) {
    for node in mesh.nodes() {
        mesh.node_is(node.id(), "idle").await;
    }
}

fn started(mesh: &Mesh) -> u64 {
    mesh.nodes().iter().map(|node| node.engine().counters().started).sum()
}

/// What a streamed answer said, and its last line or event.
async fn read(mesh: &Mesh, path: &str, body: &Value) -> (String, Value) {
    let reply = post(mesh.client(), path, body).await;
    assert_eq!(reply.status(), 200);
    let (text, told) = if path == "/api/chat" {
        let told = lines(reply).await;
        let text = told.iter().filter_map(|line| line["message"]["content"].as_str()).collect();
        (text, told)
    } else {
        let told = events(reply).await;
        (said(&told), told)
    };
    (text, told.last().expect("a last word").clone())
}

#[tokio::test]
async fn a_tool_call_that_breaks_each_time_ends_in_the_engines_words_after_the_text_that_came() {
    let words = |said: &Value| {
        said["error"]["message"].as_str().or(said["error"].as_str()).unwrap_or_default().to_owned()
    };
    for (api, continues) in [(Api::Ollama, true), (Api::Ollama, false), (Api::Openai, true)] {
        let mesh = able(api).nodes(3).script(|script| script.continues = continues).await;
        for path in ["/api/chat", "/v1/chat/completions"] {
            let prompt = format!("look [tokens=9] [thoughts=0] [delay=2] [fault=error@3] [words={WORDS}]");
            let mut body = json!({"model": ABLE, "stream": true, "tools": [weather()],
                "messages": [{"role": "user", "content": prompt}]});
            let before = started(&mesh);
            let broken = (0..5).map(|_| read(&mesh, path, &body));
            let good = (0..5).map(|_| async {
                let asked = mesh.ask("good [tokens=20] [delay=2]").rest().await;
                asked.assert_every_token_once(20);
                assert_eq!(asked.attempts(), 1, "{}", asked.summary());
            });
            let (broken, _) = tokio::join!(join_all(broken), join_all(good));
            for (text, last) in broken {
                assert_eq!(text, "t0 t1 t2 ", "{api:?} {path}: no text comes twice");
                assert!(words(&last).contains(WORDS), "{api:?} {path}: {last}");
            }
            let tries = started(&mesh) - before;
            // One whose text nobody had read may begin anew once.
            assert!((10..=15).contains(&tries), "{api:?} {path}: {tries} tries of ten");

            body["stream"] = false.into();
            let before = started(&mesh);
            let (status, answer) = whole(mesh.client(), path, &body).await;
            assert!(status == 500 || status == 502, "{api:?} {path}: {status} {answer}");
            assert!(words(&answer).contains(WORDS), "{api:?} {path}: {answer}");
            assert!(started(&mesh) - before <= 2, "at most one more try");
            all_are_idle(&mesh).await;
        }
    }
}

#[tokio::test]
async fn a_refusal_by_the_template_is_the_same_streamed_and_costs_nobody_anything() {
    let mesh = able(Api::Openai).nodes(3).script(|script| script.strict_template = true).await;
    let history = json!([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"},
        {"role": "system", "content": "c"}, {"role": "user", "content": "d"}]);
    for stream in [true, false] {
        for path in ["/api/chat", "/v1/chat/completions"] {
            let body = json!({"model": ABLE, "messages": history, "stream": stream});
            let asked = (0..5).map(|_| post(mesh.client(), path, &body));
            for reply in join_all(asked).await {
                assert_eq!((reply.status(), reply.header("x-echo-attempts")), (400, "1"), "{path}");
                let text = reply.text().await;
                assert!(text.contains("system message must come first"), "{text}");
            }
        }
    }
    all_are_idle(&mesh).await;
    mesh.ask("[tokens=3]").rest().await.assert_every_token_once(3);
}

#[tokio::test]
async fn a_picture_in_a_tools_result_has_one_outcome_on_every_node() {
    for api in [Api::Ollama, Api::Openai] {
        let mesh = able(api).await;
        let url = format!("data:image/png;base64,{PNG}");
        let called = json!({"role": "assistant", "content": "", "tool_calls":
            [{"id": "c", "type": "function", "function": {"name": "look", "arguments": {}}}]});
        let ask = json!({"role": "user", "content": "look [tokens=1]"});
        let by_parts = json!({"role": "tool", "tool_call_id": "c", "content": [
            {"type": "text", "text": "seen"}, {"type": "image_url", "image_url": {"url": url}}]});
        let by_field = json!({"role": "tool", "tool_name": "look", "content": "seen", "images": [url]});
        for (path, result) in [("/v1/chat/completions", by_parts), ("/api/chat", by_field)] {
            let body = json!({"model": ABLE, "stream": false, "messages": [ask, called, result]});
            let (status, answer) = whole(mesh.client(), path, &body).await;
            assert_eq!(status, 200, "{api:?} {path}: {answer}");
            let sent = mesh.engine(0).requests().last().expect("a request").body.to_string();
            let wanted = if api == Api::Ollama {
                format!("\"images\":[\"{PNG}\"]")
            } else {
                format!("\"url\":\"{url}\"")
            };
            assert!(sent.contains(&wanted) && sent.contains("seen"), "{api:?} {path}: {sent}");
        }
    }
}

#[tokio::test]
async fn bytes_behind_a_compressed_body_are_refused_and_so_is_one_that_is_packed_too_often() {
    let mesh = able(Api::Ollama).await;
    let body =
        json!({"model": ABLE, "stream": false, "messages": [{"role": "user", "content": "[tokens=1]"}]})
            .to_string();
    let gzip = |bytes: &[u8]| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).expect("memory");
        encoder.finish().expect("memory")
    };
    let zstd = compress_to_vec(body.as_bytes(), CompressionLevel::Fastest);
    let with = |bytes: &[u8], more: &[u8]| [bytes, more].concat();
    let at = |coding: &str, bytes: Vec<u8>| {
        let call = mesh.client().call("POST", "/api/chat").header("content-type", "application/json");
        send(call.header("content-encoding", coding).body(bytes))
    };
    for (coding, bytes) in [("gzip", gzip(body.as_bytes())), ("zstd", zstd)] {
        assert_eq!(at(coding, bytes.clone()).await.status(), 200, "{coding}");
        let reply = at(coding, with(&bytes, b"garbage that is no member")).await;
        assert_eq!(reply.status(), 400, "{coding} with a tail: {}", reply.text().await);
    }
    let often = (0..40).fold(body.into_bytes(), |bytes, _| gzip(&bytes));
    let reply = at(&["gzip"; 40].join(", "), often).await;
    assert!((400..500).contains(&reply.status()), "{}", reply.text().await);
    mesh.ask("[tokens=2]").rest().await.assert_every_token_once(2);
}

#[tokio::test]
async fn arguments_of_any_depth_are_refused_by_their_place_or_served_alike() {
    for api in [Api::Ollama, Api::Openai] {
        let mesh = able(api).await;
        for (said, served) in [
            (json!(format!("{}1{}", "[".repeat(50_000), "]".repeat(50_000))), false),
            (json!(format!("{}1{}", "{\"a\":".repeat(50_000), "}".repeat(50_000))), false),
            (json!("{\"a\": 1} trailing"), false),
            (json!("{\"a\": 1, \"a\": 2}"), true),
            (json!("  {\"a\": 1}\n"), true),
            (json!(true), false),
        ] {
            let messages = json!([{"role": "user", "content": "[tokens=1]"},
                {"role": "assistant", "content": "", "tool_calls":
                    [{"id": "c", "type": "function", "function": {"name": "f", "arguments": said}}]},
                {"role": "tool", "tool_call_id": "c", "content": "x"}]);
            for path in ["/api/chat", "/v1/chat/completions"] {
                let body = json!({"model": ABLE, "stream": false, "messages": messages});
                let (status, answer) = whole(mesh.client(), path, &body).await;
                let told = answer.to_string();
                if served {
                    assert_eq!(status, 200, "{api:?} {path}: {told}");
                } else {
                    let place = "messages[1].tool_calls[0].function.arguments";
                    assert!(status == 400 && told.contains(place), "{api:?} {path}: {status} {told}");
                }
            }
        }
    }
}

#[tokio::test]
async fn a_context_length_is_a_fact_of_placement_on_ollama_and_nothing_to_llama_cpp() {
    // One node of each kind has the model; only Ollama's loads by what a request says.
    let mesh = Mesh::start().nodes(0).await;
    let mut nodes = Vec::new();
    for (id, api) in [("llama", Api::Openai), ("ollama", Api::Ollama)] {
        let script = echo_scripted_engine::Script { api, slots: 2, ..Default::default() };
        let engine = Engine::start(script.clone()).await;
        let agent = mesh.agent(id, &engine.url(), &script);
        agent.start().await;
        mesh.node_is(id, "idle").await;
        nodes.push((engine, agent));
    }
    for number in 0..6 {
        let length = [2048, 4096][number % 2];
        let body = json!({"model": "scripted", "prompt": "[tokens=2]", "stream": false, "options": {"num_ctx": length}});
        let (status, answer) = whole(mesh.client(), "/api/generate", &body).await;
        assert_eq!(status, 200, "{answer}");
    }
    let loads = nodes[1].0.counters().loads;
    assert!(loads <= 2, "{loads} loads at Ollama for six answers by two lengths");
    until_within(std::time::Duration::from_secs(5), "both to be idle", || async {
        let seen = mesh.status().await;
        let idle =
            seen["nodes"].as_array().is_some_and(|nodes| nodes.iter().all(|node| node["status"] == "idle"));
        if idle { Ok(()) } else { Err(seen) }
    })
    .await;
}
