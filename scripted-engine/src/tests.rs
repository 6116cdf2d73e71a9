//! The engine over HTTP: the shapes of both APIs, the faults, and what the counters see.

mod hardware;

use std::time::{Duration, Instant};

use futures::{StreamExt, future::join_all};
use reqwest::{Client, Response, StatusCode};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::{Api, Engine, Fault, FaultKind, Model, Script, ToolCall};

/// Longer than any answer here takes: what takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(20);

fn client() -> Client {
    // The second test of this process finds it installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder().no_proxy().timeout(PATIENCE).build().expect("a client")
}

async fn post(url: &str, path: &str, body: Value) -> Response {
    client().post(format!("{url}{path}")).body(body.to_string()).send().await.expect("an answer")
}

async fn get(url: &str, path: &str) -> Value {
    client().get(format!("{url}{path}")).send().await.expect("an answer").json().await.expect("JSON")
}

async fn json_of(response: Response) -> Value {
    response.json().await.expect("JSON")
}

/// All that arrives, and whether the body ended as it should.
async fn body(response: Response) -> (Vec<u8>, bool) {
    let mut stream = response.bytes_stream();
    let mut all = Vec::new();
    while let Some(bytes) = stream.next().await {
        match bytes {
            Ok(bytes) => all.extend_from_slice(&bytes),
            Err(error) if error.is_timeout() => {
                panic!("the body neither goes on nor ends after {} bytes", all.len())
            }
            Err(_) => return (all, false),
        }
    }
    (all, true)
}

/// The complete lines of an NDJSON body.
async fn lines(response: Response) -> (Vec<Value>, bool) {
    let (bytes, whole) = body(response).await;
    let lines = bytes.split_inclusive(|byte| *byte == b'\n').filter(|line| line.ends_with(b"\n"));
    (lines.map(|line| serde_json::from_slice(line).expect("a JSON line")).collect(), whole)
}

/// The events of an SSE body, and whether `[DONE]` came last.
async fn events(response: Response) -> (Vec<Value>, bool) {
    let (bytes, _) = body(response).await;
    let text = String::from_utf8(bytes).expect("UTF-8");
    let mut events: Vec<_> = text.split("\n\n").filter_map(|event| event.strip_prefix("data: ")).collect();
    let done = events.last() == Some(&"[DONE]");
    events.retain(|event| *event != "[DONE]");
    (events.into_iter().map(|event| serde_json::from_str(event).expect("a JSON event")).collect(), done)
}

fn said(lines: &[Value], pointer: &str) -> String {
    lines.iter().filter_map(|line| line.pointer(pointer).and_then(Value::as_str)).collect()
}

fn tokens(from: u64, to: u64) -> String {
    (from..to).map(|index| format!("t{index} ")).collect()
}

fn script(tokens: u64) -> Script {
    Script { tokens, ..Script::default() }
}

fn ask(prompt: &str) -> Value {
    json!({"model": "scripted", "prompt": prompt})
}

fn talk(messages: Value) -> Value {
    json!({"model": "scripted", "messages": messages})
}

#[tokio::test]
async fn ollama_streams_one_line_for_each_token_and_counts_at_the_end() {
    let engine = Engine::start(script(5)).await;
    let response = post(&engine.url(), "/api/generate", ask("hello there")).await;
    assert_eq!(response.headers()["content-type"], "application/x-ndjson");
    let (lines, whole) = lines(response).await;
    assert!(whole);
    assert_eq!(lines.len(), 6);
    assert_eq!(said(&lines, "/response"), tokens(0, 5));
    assert_eq!(lines[0]["model"], "scripted");
    assert_eq!(lines[0]["done"], false);
    assert!(lines[0].get("done_reason").is_none());
    assert!(lines[0]["created_at"].as_str().expect("a time").ends_with('Z'));
    let end = &lines[5];
    assert_eq!(
        (&end["done"], &end["done_reason"], &end["eval_count"]),
        (&json!(true), &json!("stop"), &json!(5))
    );
    assert!(end["total_duration"].as_u64().expect("nanoseconds") > 0);
    assert!(end["prompt_eval_count"].as_u64().expect("a count") >= 2);
    let counters = engine.counters();
    assert_eq!((counters.started, counters.finished, counters.tokens), (1, 1, 5));
    assert_eq!(engine.requests()[0].body["prompt"], "hello there");
}

#[tokio::test]
async fn ollama_answers_in_one_piece_when_asked() {
    let engine = Engine::start(script(3)).await;
    let mut request = talk(json!([{"role": "user", "content": "hi"}]));
    request["stream"] = false.into();
    let reply = json_of(post(&engine.url(), "/api/chat", request).await).await;
    assert_eq!(reply["message"], json!({"role": "assistant", "content": tokens(0, 3)}));
    assert_eq!((&reply["done"], &reply["done_reason"]), (&json!(true), &json!("stop")));
}

#[tokio::test]
async fn budgets_and_stop_strings_end_an_answer() {
    let engine = Engine::start(script(20)).await;
    let mut request = ask("hi");
    request["options"] = json!({"num_predict": 4});
    let (limited, _) = lines(post(&engine.url(), "/api/generate", request.clone()).await).await;
    assert_eq!(said(&limited, "/response"), tokens(0, 4));
    assert_eq!(limited[4]["done_reason"], "length");
    request["options"] = json!({"num_predict": 0, "stop": ["t7 ", "nothing"]});
    let (stopped, _) = lines(post(&engine.url(), "/api/generate", request.clone()).await).await;
    assert_eq!(said(&stopped, "/response"), tokens(0, 7));
    assert_eq!(stopped[7]["done_reason"], "stop");
    request["options"] = json!({"stop": ["3"]});
    let (cut, _) = lines(post(&engine.url(), "/api/generate", request).await).await;
    assert_eq!(said(&cut, "/response"), format!("{}t", tokens(0, 3)));
}

#[tokio::test]
async fn orders_in_the_prompt_stand_above_the_script() {
    let engine = Engine::start(script(2)).await;
    let prompt = "[tokens=6] [chunk=4] [final=text] please";
    let (lines, _) = lines(post(&engine.url(), "/api/generate", ask(prompt)).await).await;
    let texts: Vec<_> = lines.iter().map(|line| line["response"].as_str().expect("text")).collect();
    assert_eq!(texts, [&tokens(0, 4), "t4 ", "t5 "]);
    assert_eq!((&lines[2]["done"], &lines[2]["eval_count"]), (&json!(true), &json!(6)));
}

#[tokio::test]
async fn ollama_continues_a_trailing_assistant_message_and_a_raw_prompt() {
    let engine = Engine::start(script(8)).await;
    let messages = json!([{"role": "user", "content": "hi"}, {"role": "assistant", "content": tokens(0, 3)}]);
    let (chat, _) = lines(post(&engine.url(), "/api/chat", talk(messages.clone())).await).await;
    assert_eq!(said(&chat, "/message/content"), tokens(3, 8));

    let mut debug = talk(json!([{"role": "user", "content": "hi"}]));
    debug["_debug_render_only"] = true.into();
    let rendered = json_of(post(&engine.url(), "/api/chat", debug).await).await;
    let prompt = rendered["_debug_info"]["rendered_template"].as_str().expect("a prompt").to_owned();
    let mut raw = ask(&format!("{prompt}{}", tokens(0, 5)));
    raw["raw"] = true.into();
    raw["options"] = json!({"num_predict": 2});
    let (raw, _) = lines(post(&engine.url(), "/api/generate", raw).await).await;
    assert_eq!(said(&raw, "/response"), tokens(5, 7));
    assert_eq!(raw[2]["done_reason"], "length");
    let counters = engine.counters();
    assert_eq!((counters.resumed, counters.misfits), (2, 0));

    let broken = json!([{"role": "user", "content": "hi"}, {"role": "assistant", "content": "t0 t2 "}]);
    post(&engine.url(), "/api/chat", talk(broken)).await;
    assert_eq!(engine.counters().misfits, 1);

    engine.edit(|script| script.continues = false);
    let (anew, _) = lines(post(&engine.url(), "/api/chat", talk(messages)).await).await;
    assert_eq!(said(&anew, "/message/content"), tokens(0, 8));
}

#[tokio::test]
async fn ollama_thinks_calls_tools_and_writes_json_when_told() {
    let models = vec![Model::named("scripted").able("thinking"), Model::named("plain")];
    let engine = Engine::start(Script { models, ..script(2) }).await;
    let messages = json!([{"role": "user", "content": "hi"}]);
    let (thought, _) = lines(post(&engine.url(), "/api/chat", talk(messages.clone())).await).await;
    assert_eq!(said(&thought, "/message/thinking"), "h0 h1 h2 ");
    assert_eq!(said(&thought, "/message/content"), tokens(0, 2));
    let plain = json!({"model": "plain", "messages": messages, "think": true});
    let refused = post(&engine.url(), "/api/chat", plain).await;
    assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
    assert_eq!(json_of(refused).await["error"], "\"plain\" does not support thinking");

    let arguments = json!({"city": "Berlin"}).as_object().cloned().expect("an object");
    engine.edit(|script| script.tool_call = Some(ToolCall { name: "weather".to_owned(), arguments }));
    let tools = json!([{"type": "function", "function": {"name": "weather"}}]);
    let request = json!({"model": "plain", "messages": messages, "tools": tools});
    let (called, _) = lines(post(&engine.url(), "/api/chat", request).await).await;
    assert_eq!(called[0]["message"]["tool_calls"][0]["function"]["arguments"]["city"], "Berlin");
    assert_eq!(called[1]["done_reason"], "stop");

    let request = json!({"model": "plain", "prompt": "hi", "format": "json", "stream": false});
    let reply = json_of(post(&engine.url(), "/api/generate", request).await).await;
    let answer: Value = serde_json::from_str(reply["response"].as_str().expect("text")).expect("JSON");
    assert_eq!(answer, json!({"text": tokens(0, 2)}));
    let request = json!({"model": "plain", "prompt": "hi", "logprobs": true, "top_logprobs": 1});
    let (lines, _) = lines(post(&engine.url(), "/api/generate", request).await).await;
    assert_eq!(lines[1]["logprobs"][0]["top_logprobs"][0]["token"], "t1 ");
}

#[tokio::test]
async fn ollama_tells_about_its_models_and_forgets_the_unloaded() {
    let models = vec![Model::named("scripted"), Model::embedding("vectors:v1")];
    let engine = Engine::start(Script { models, ..script(2) }).await;
    let url = engine.url();
    let root = client().get(&url).send().await.expect("an answer");
    assert_eq!(root.text().await.expect("text"), "Ollama is running");
    assert!(client().head(&url).send().await.expect("an answer").status().is_success());
    assert!(get(&url, "/api/version").await["version"].is_string());
    let tags = get(&url, "/api/tags").await;
    assert_eq!(tags["models"][0]["name"], "scripted:latest");
    assert_eq!(tags["models"][1]["name"], "vectors:v1");
    assert_eq!(tags["models"][0]["details"]["format"], "gguf");
    assert_eq!(tags["models"][0]["digest"].as_str().map(str::len), Some(64));
    let shown = json_of(post(&url, "/api/show", json!({"model": "vectors:v1"})).await).await;
    assert_eq!(shown["capabilities"], json!(["embedding"]));
    let refused = post(&url, "/api/generate", json!({"model": "vectors:v1", "prompt": "x"})).await;
    assert_eq!(refused.status(), StatusCode::BAD_REQUEST);

    assert_eq!(get(&url, "/api/ps").await["models"], json!([]));
    let loaded = json_of(post(&url, "/api/generate", json!({"model": "scripted"})).await).await;
    assert_eq!((&loaded["done_reason"], &loaded["response"]), (&json!("load"), &json!("")));
    assert_eq!(get(&url, "/api/ps").await["models"][0]["context_length"], 4096);
    let unload = json!({"model": "scripted", "messages": [], "keep_alive": 0});
    assert_eq!(json_of(post(&url, "/api/chat", unload).await).await["done_reason"], "unload");
    assert_eq!(get(&url, "/api/ps").await["models"], json!([]));
    let wrong = post(&url, "/api/generate", json!({"model": "scripted", "keep_alive": "300"})).await;
    assert_eq!(wrong.status(), StatusCode::BAD_REQUEST);

    let missing = post(&url, "/api/chat", json!({"model": "none", "messages": []})).await;
    assert_eq!(missing.status(), StatusCode::NOT_FOUND);
    assert_eq!(json_of(missing).await, json!({"error": "model 'none' not found"}));
}

#[tokio::test]
async fn ollama_embeds_pulls_and_deletes() {
    let able = Script { models: vec![Model::default().able("embedding")], ..script(2) };
    let engine = Engine::start(able).await;
    let url = engine.url();
    let two = json!({"model": "scripted", "input": ["a", "b"]});
    let vectors = json_of(post(&url, "/api/embed", two).await).await["embeddings"].clone();
    assert_eq!((vectors[0].as_array().map(Vec::len), vectors[0] == vectors[1]), (Some(8), false));
    let one = json_of(post(&url, "/api/embeddings", json!({"model": "scripted", "prompt": "a"})).await).await;
    assert_eq!(one["embedding"], vectors[0]);
    let openai = json_of(post(&url, "/v1/embeddings", json!({"input": "a"})).await).await;
    assert_eq!(openai["data"][0]["embedding"], vectors[0]);

    let (pulled, _) = lines(post(&url, "/api/pull", json!({"model": "fresh"})).await).await;
    assert_eq!(pulled[0]["status"], "pulling manifest");
    assert_eq!(pulled[4]["completed"], pulled[4]["total"]);
    assert_eq!(pulled[pulled.len() - 1], json!({"status": "success"}));
    assert_eq!(get(&url, "/api/tags").await["models"][0]["name"], "fresh:latest");
    let delete = client().delete(format!("{url}/api/delete")).body(json!({"model": "fresh"}).to_string());
    assert!(delete.send().await.expect("an answer").status().is_success());
    engine.edit(|script| script.pull_error = Some("pull model manifest: file does not exist".to_owned()));
    let response = post(&url, "/api/pull", json!({"model": "fresh"})).await;
    assert_eq!(response.status(), StatusCode::OK);
    let (failed, _) = lines(response).await;
    assert_eq!(failed[1]["error"], "pull model manifest: file does not exist");
}

#[tokio::test]
async fn llama_streams_events_with_a_null_first_and_usage_last() {
    let engine = Engine::start(Script { api: Api::Openai, ..script(4) }).await;
    let mut request = talk(json!([{"role": "user", "content": [{"type": "text", "text": "hi"}]}]));
    request["stream"] = true.into();
    request["stream_options"] = json!({"include_usage": true});
    let (chat, done) = events(post(&engine.url(), "/v1/chat/completions", request).await).await;
    assert!(done);
    assert_eq!(chat[0]["choices"][0]["delta"], json!({"role": "assistant", "content": null}));
    assert_eq!(said(&chat, "/choices/0/delta/content"), tokens(0, 4));
    assert_eq!(chat[5]["choices"][0]["finish_reason"], "stop");
    assert_eq!((&chat[6]["choices"], &chat[6]["usage"]["completion_tokens"]), (&json!([]), &json!(4)));
    let request = json!({"prompt": "hi", "stream": true, "max_tokens": 2});
    let (text, done) = events(post(&engine.url(), "/v1/completions", request.clone()).await).await;
    assert!(done);
    assert_eq!(said(&text, "/choices/0/text"), tokens(0, 2));
    assert_eq!(text[2]["choices"][0]["finish_reason"], "length");
    let (own, done) = events(post(&engine.url(), "/completion", request).await).await;
    assert!(!done);
    assert_eq!((said(&own, "/content"), &own[2]["stop"]), (tokens(0, 2), &json!(true)));
    let none = client().get(format!("{}/api/tags", engine.url())).send().await.expect("an answer");
    assert_eq!(none.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_wide_text_takes_several_tokens_wherever_they_are_counted() {
    let engine = Engine::start(script(9)).await;
    let asked = json!({"model": "scripted", "stream": true, "prompt": "[wide=1]\n", "max_tokens": 7,
        "timings_per_token": true, "stream_options": {"include_usage": true}});
    let (told, _) = events(post(&engine.url(), "/v1/completions", asked).await).await;
    assert_eq!(said(&told, "/choices/0/text"), "\u{1f600}t0 \u{1f600}t1 ");
    let counts =
        |at: usize| (told[at]["timings"]["prompt_n"].clone(), told[at]["timings"]["predicted_n"].clone());
    assert_eq!((counts(0), counts(1)), ((json!(1), json!(3)), (json!(1), json!(6))));
    let so_far = json!({"content": "one \u{1f600}t0 "});
    let tokens = json_of(post(&engine.url(), "/tokenize", so_far).await).await;
    assert_eq!(tokens["tokens"].as_array().map(Vec::len), Some(4));
    let asked =
        json!({"model": "scripted", "raw": true, "prompt": "[wide=1]\n\u{1f600}t0 ", "stream": false});
    let rest = json_of(post(&engine.url(), "/api/generate", asked).await).await;
    assert_eq!((&rest["prompt_eval_count"], &rest["eval_count"]), (&json!(4), &json!(24)));
}

#[tokio::test]
async fn llama_continues_without_the_prefix_in_a_stream_and_with_it_in_one_piece() {
    let engine = Engine::start(Script { api: Api::Openai, ..script(6) }).await;
    let messages = json!([{"role": "user", "content": "hi"}, {"role": "assistant", "content": tokens(0, 2)}]);
    let mut request = talk(messages);
    let whole = json_of(post(&engine.url(), "/v1/chat/completions", request.clone()).await).await;
    assert_eq!(whole["choices"][0]["message"]["content"], tokens(0, 6));
    assert_eq!(whole["usage"]["completion_tokens"], 4);
    request["stream"] = true.into();
    request["max_tokens"] = 3.into();
    let (events, _) = events(post(&engine.url(), "/v1/chat/completions", request).await).await;
    assert_eq!(said(&events, "/choices/0/delta/content"), tokens(2, 5));
}

#[tokio::test]
async fn llama_calls_tools_and_tells_about_itself() {
    let engine = Engine::start(Script { api: Api::Openai, slots: 2, ..script(6) }).await;
    let url = engine.url();
    let mut request = talk(json!([{"role": "user", "content": "[tool=look]"}]));
    request["tools"] = json!([{"type": "function", "function": {"name": "look"}}]);
    request["stream"] = true.into();
    let (called, _) = events(post(&url, "/v1/chat/completions", request).await).await;
    assert_eq!(called[1]["choices"][0]["delta"]["tool_calls"][0]["function"]["name"], "look");
    assert_eq!(called[2]["choices"][0]["delta"]["tool_calls"][0]["function"]["arguments"], "{}");
    assert_eq!(called[3]["choices"][0]["finish_reason"], "tool_calls");
    assert_eq!(get(&url, "/health").await, json!({"status": "ok"}));
    assert_eq!(get(&url, "/slots").await.as_array().map(Vec::len), Some(2));
    assert_eq!(get(&url, "/props").await["total_slots"], 2);
    assert_eq!(get(&url, "/v1/models").await["data"][0]["id"], "scripted");
    let prompt =
        json_of(post(&url, "/apply-template", talk(json!([{"role": "user", "content": "a"}]))).await).await;
    assert_eq!(prompt["prompt"], "<|user|>\na\n<|assistant|>\n");
    let ids = json_of(post(&url, "/tokenize", json!({"content": "one two"})).await).await;
    assert_eq!(ids["tokens"].as_array().map(Vec::len), Some(2));
    let bad = post(&url, "/v1/chat/completions", json!({"messages": []})).await;
    assert_eq!(bad.status(), StatusCode::BAD_REQUEST);
    assert_eq!(json_of(bad).await["error"]["type"], "invalid_request_error");
}

#[tokio::test]
async fn ordered_calls_are_made_until_a_tool_has_answered() {
    let engine = Engine::start(script(2)).await;
    let question = json!({"role": "user", "content": r#"[call=look {"at": 1}] [call=see {"of": "x"}]"#});
    let ask = |messages: Value, stream: bool| {
        let mut request = talk(messages);
        request["tools"] = json!([{"type": "function", "function": {"name": "look"}}]);
        request["stream"] = stream.into();
        request
    };
    let called = ask(json!([question]), false);
    let reply = json_of(post(&engine.url(), "/v1/chat/completions", called.clone()).await).await;
    let calls = &reply["choices"][0]["message"]["tool_calls"];
    assert_eq!((&calls[0]["id"], &calls[1]["id"]), (&json!("call_scripted"), &json!("call_scripted1")));
    assert_eq!(calls[1]["function"], json!({"name": "see", "arguments": r#"{"of":"x"}"#}));
    let native = json_of(post(&engine.url(), "/api/chat", called).await).await;
    assert_eq!(
        native["message"]["tool_calls"][1]["function"],
        json!({"index": 1, "name": "see", "arguments": {"of": "x"}})
    );
    let (streamed, _) =
        events(post(&engine.url(), "/v1/chat/completions", ask(json!([question]), true)).await).await;
    let begun = streamed.iter().filter_map(|event| event["choices"][0]["delta"]["tool_calls"].as_array());
    let numbers: Vec<_> = begun.map(|calls| calls[0]["index"].clone()).collect();
    assert_eq!(numbers, [0, 0, 1, 1]);
    let told = json!([question, {"role": "assistant", "content": ""}, {"role": "tool", "content": "here"}]);
    let (answered, _) = lines(post(&engine.url(), "/api/chat", ask(told, true)).await).await;
    assert_eq!(said(&answered, "/message/content"), tokens(0, 2));
}

#[tokio::test]
async fn a_loading_model_is_listed_and_refuses_only_beyond_its_queue() {
    let load_delay = Duration::from_millis(300);
    let engine = Engine::start(Script { load_delay, queue_limit: 1, slots: 9, ..script(2) }).await;
    let url = engine.url();
    let first = tokio::spawn({
        let url = url.clone();
        async move { lines(post(&url, "/api/generate", ask("hi")).await).await }
    });
    engine.until(|counters| counters.loads == 1).await.expect("loading");
    assert_eq!(get(&url, "/api/ps").await["models"][0]["name"], "scripted:latest");
    let health = client().get(format!("{url}/health")).send().await.expect("an answer");
    assert_eq!(health.status(), StatusCode::SERVICE_UNAVAILABLE);
    let refused = post(&url, "/api/generate", ask("hi")).await;
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    let busy = "server busy, please try again.  maximum pending requests exceeded";
    assert_eq!(json_of(refused).await["error"], busy);
    let (answered, _) = first.await.expect("no panic");
    let loading = answered[2]["load_duration"].as_u64().expect("nanoseconds");
    assert!(loading >= 290_000_000, "{loading}");

    let mut other = ask("hi");
    other["options"] = json!({"num_ctx": 1024, "temperature": 0.5});
    post(&url, "/api/generate", other.clone()).await;
    post(&url, "/api/generate", other).await;
    assert_eq!(engine.counters().reloads, 1);
}

#[tokio::test]
async fn requests_beyond_the_slots_wait_without_headers_and_may_leave() {
    let engine = Engine::start(script(2)).await;
    let url = engine.url();
    let holder = tokio::spawn({
        let url = url.clone();
        async move { post(&url, "/api/generate", ask("[tokens=9000] [delay=20]")).await }
    });
    let held = holder.await.expect("no panic");
    let waiting = timeout(Duration::from_millis(150), post(&url, "/api/generate", ask("hi"))).await;
    assert!(waiting.is_err(), "the second has headers while the first has the slot");
    engine.until(|counters| counters.cancelled == 1 && counters.waiting == 0).await.expect("seen to leave");
    assert_eq!(engine.counters().running, 1);
    drop(held);
    engine.until(|counters| counters.cancelled == 2 && counters.running == 0).await.expect("seen to leave");
    let (next, _) = lines(post(&url, "/api/generate", ask("hi")).await).await;
    assert_eq!(said(&next, "/response"), tokens(0, 2));
    assert_eq!(engine.counters().max_running, 1);
}

#[tokio::test]
async fn a_closed_request_is_cancelled_except_where_llama_runs_on() {
    let engine = Engine::start(Script { slots: 9, ..script(2) }).await;
    let slow = |path: &'static str, stream: bool| {
        let url = engine.url();
        let messages = json!([{"role": "user", "content": "[tokens=40] [delay=20] [first=100]"}]);
        let request = json!({"model": "scripted", "messages": messages, "stream": stream});
        let answered = async move { body(post(&url, path, request).await).await };
        timeout(Duration::from_millis(250), answered)
    };
    assert!(slow("/api/chat", false).await.is_err());
    engine.until(|counters| counters.cancelled == 1).await.expect("cancelled");
    assert!(slow("/v1/chat/completions", true).await.is_err());
    engine.until(|counters| counters.cancelled == 2).await.expect("cancelled");
    assert!(slow("/v1/chat/completions", false).await.is_err());
    assert_eq!(engine.counters().running, 1, "llama.cpp goes on generating");
    engine.until(|counters| counters.finished == 1).await.expect("it ran to its end");
    assert_eq!(engine.counters().cancelled, 2);
}

#[tokio::test]
async fn a_fault_comes_in_place_of_its_chunk_and_only_as_often_as_asked() {
    let engine = Engine::start(script(6)).await;
    let url = engine.url();
    let run = |kind: FaultKind| {
        engine.fault(Fault::at(kind, 3).times(1));
        let url = url.clone();
        async move { lines(post(&url, "/api/generate", ask("hi")).await).await }
    };
    let (error, whole) = run(FaultKind::Error).await;
    assert!(whole && error[3]["error"].is_string() && error.len() == 4);
    let (end, whole) = run(FaultKind::End).await;
    assert!(whole && end.len() == 3 && end[2]["done"] == false);
    let (cut, whole) = run(FaultKind::Cut).await;
    assert!(!whole, "a cut connection looks like a proper end");
    assert_eq!(said(&cut, "/response"), tokens(0, 3));
    engine.fault(Fault::at(FaultKind::Cut, 3).times(1));
    let (bytes, whole) = body(post(&url, "/api/generate", ask("hi")).await).await;
    assert!(!whole && !bytes.ends_with(b"\n"), "the cut is not in mid-chunk");
    engine.fault(Fault::at(FaultKind::Garbage, 3).times(1));
    let (bytes, _) = body(post(&url, "/api/generate", ask("hi")).await).await;
    assert!(String::from_utf8(bytes).is_err());
    let (healthy, _) = lines(post(&url, "/api/generate", ask("hi")).await).await;
    assert_eq!(said(&healthy, "/response"), tokens(0, 6));
    assert_eq!(engine.counters().failed, 5);

    for (kind, status) in [
        (FaultKind::Busy, StatusCode::SERVICE_UNAVAILABLE),
        (FaultKind::Fail, StatusCode::INTERNAL_SERVER_ERROR),
        (FaultKind::Missing, StatusCode::NOT_FOUND),
    ] {
        engine.fault(Fault::at(kind, 0).times(1));
        assert_eq!(post(&url, "/api/generate", ask("hi")).await.status(), status);
    }
    assert_eq!(engine.counters().refused, 3);
    let (events, done) =
        events(post(&url, "/v1/completions", json!({"prompt": "[fault=error@2]", "stream": true})).await)
            .await;
    assert!(!done && events[2]["error"]["message"].is_string());
}

#[tokio::test]
async fn a_stalled_answer_keeps_its_slot_until_the_client_leaves() {
    let engine = Engine::start(script(6)).await;
    let response = post(&engine.url(), "/api/generate", ask("[fault=stall@2]")).await;
    let mut stream = response.bytes_stream();
    let first = stream.next().await.expect("a chunk").expect("bytes");
    assert_eq!(first.iter().filter(|byte| **byte == b'\n').count(), 2);
    assert!(timeout(Duration::from_millis(100), stream.next()).await.is_err());
    assert_eq!(engine.counters().running, 1);
    drop(stream);
    engine.until(|counters| counters.cancelled == 1 && counters.running == 0).await.expect("freed");
}

#[tokio::test]
async fn a_dead_engine_refuses_until_it_is_restarted_and_a_continuation_gets_past_the_fault() {
    let engine = Engine::start(Script { slots: 2, ..script(6) }).await;
    let url = engine.url();
    let other = post(&url, "/api/generate", ask("[tokens=900] [delay=20]")).await;
    let (lines_seen, whole) = lines(post(&url, "/api/generate", ask("[fault=die@4]")).await).await;
    assert!(!whole);
    assert_eq!(said(&lines_seen, "/response"), tokens(0, 4));
    assert!(!lines(other).await.1, "the other connection ended properly");
    assert!(client().get(&url).send().await.is_err());
    assert_eq!(engine.until(|counters| counters.running == 0).await.expect("idle").failed, 2);
    engine.restart().await.expect("its port is free");
    let messages =
        json!([{"role": "user", "content": "[fault=die@4]"}, {"role": "assistant", "content": tokens(0, 4)}]);
    let (rest, _) = lines(post(&url, "/api/chat", talk(messages)).await).await;
    assert_eq!(said(&rest, "/message/content"), tokens(4, 6));
}

#[tokio::test]
async fn paced_tokens_keep_to_their_own_moments() {
    let engine = Engine::start(script(40)).await;
    let began = Instant::now();
    let response = post(&engine.url(), "/api/generate", ask("[delay=10] [first=50]")).await;
    let mut stream = response.bytes_stream();
    let mut chunks = 0;
    while let Some(Ok(bytes)) = stream.next().await {
        chunks += bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).count();
    }
    assert_eq!(chunks, 41);
    assert!(began.elapsed() >= Duration::from_millis(50 + 39 * 10), "{:?}", began.elapsed());
}

#[tokio::test]
async fn many_clients_get_each_token_once_and_in_order() {
    let engine = Engine::start(Script { slots: 64, ..script(2000) }).await;
    let url = engine.url();
    let answers = (0..64).map(|_| async { lines(post(&url, "/api/generate", ask("hi")).await).await });
    for (lines, whole) in join_all(answers).await {
        assert!(whole);
        assert_eq!(said(&lines, "/response"), tokens(0, 2000));
    }
    assert_eq!(engine.counters().tokens, 64 * 2000);
}
