//! OpenAI's API, on nodes of both kinds.

use echo_scripted_engine::{Api, Engine, Model, Script};
use echo_testing::mesh::Mesh;
use serde_json::{Value, json};

use super::wire::{ABLE, EMBEDDER, able, events, post, said, send, weather, whole};

const CHAT: &str = "/v1/chat/completions";

fn ask(prompt: &str) -> Value {
    json!({"model": ABLE, "messages": [{"role": "user", "content": prompt}], "reasoning_effort": "none"})
}

fn with(mut body: Value, more: Value) -> Value {
    body.as_object_mut().expect("an object").extend(more.as_object().cloned().unwrap_or_default());
    body
}

async fn answers(api: Api) {
    let mesh = able(api).await;
    let (status, answer) = whole(mesh.client(), CHAT, &ask("[tokens=4]")).await;
    assert_eq!(status, 200, "{answer}");
    let choice = &answer["choices"][0];
    assert_eq!(
        (&choice["message"]["role"], &choice["message"]["content"]),
        (&json!("assistant"), &json!("t0 t1 t2 t3 "))
    );
    assert_eq!((&choice["finish_reason"], &choice["index"]), (&json!("stop"), &json!(0)));
    assert_eq!((&answer["object"], &answer["model"]), (&json!("chat.completion"), &json!(ABLE)));
    assert_eq!(answer["usage"]["completion_tokens"], 4, "{answer}");
    assert!(
        answer["id"].as_str().is_some_and(|id| id.starts_with("chatcmpl-")) && answer["created"].is_u64()
    );

    let limited = with(ask("[tokens=9]"), json!({"max_completion_tokens": 3, "stop": ["t8"]}));
    let (_, answer) = whole(mesh.client(), CHAT, &limited).await;
    assert_eq!(
        (&answer["choices"][0]["message"]["content"], &answer["choices"][0]["finish_reason"]),
        (&json!("t0 t1 t2 "), &json!("length"))
    );

    let stream = with(ask("[tokens=3]"), json!({"stream": true, "stream_options": {"include_usage": true}}));
    let reply = post(mesh.client(), CHAT, &stream).await;
    assert_eq!((reply.status(), reply.header("content-type")), (200, "text/event-stream"));
    let told = events(reply).await;
    assert_eq!(said(&told), "t0 t1 t2 ");
    assert_eq!(told[0]["choices"][0]["delta"]["role"], "assistant");
    let count = told.len();
    assert_eq!(told[count - 1], "[DONE]");
    assert_eq!(
        (&told[count - 2]["choices"], &told[count - 2]["usage"]["completion_tokens"]),
        (&json!([]), &json!(3))
    );
    assert_eq!(told[count - 3]["choices"][0]["finish_reason"], "stop");

    tools(&mesh).await;
    formats(&mesh).await;
    texts(&mesh).await;
    vectors(&mesh).await;
    models(&mesh).await;
}

async fn tools(mesh: &Mesh) {
    let body = with(ask("weather?"), json!({"tools": [weather()]}));
    let (_, answer) = whole(mesh.client(), CHAT, &body).await;
    let message = &answer["choices"][0]["message"];
    assert_eq!(
        (&answer["choices"][0]["finish_reason"], &message["content"]),
        (&json!("tool_calls"), &Value::Null),
        "{answer}"
    );
    let call = &message["tool_calls"][0];
    assert_eq!((&call["type"], &call["function"]["name"]), (&json!("function"), &json!("weather")));
    let arguments: Value =
        serde_json::from_str(call["function"]["arguments"].as_str().expect("a text")).expect("JSON");
    assert_eq!(arguments, json!({"city": "Oslo", "at": [1, 2]}));
    let told = events(post(mesh.client(), CHAT, &with(body, json!({"stream": true}))).await).await;
    let called: Vec<&Value> = told
        .iter()
        .map(|event| &event["choices"][0]["delta"]["tool_calls"])
        .filter(|it| it.is_array())
        .collect();
    assert_eq!(
        (called.len(), &called[0][0]["index"], &called[0][0]["function"]["name"]),
        (1, &json!(0), &json!("weather"))
    );
    let back = json!({"model": ABLE, "reasoning_effort": "none", "messages": [{"role": "user", "content": "[tokens=2]"},
        {"role": "assistant", "content": null, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": call["id"], "content": "rain"}]});
    let (status, answer) = whole(mesh.client(), CHAT, &back).await;
    assert_eq!((status, &answer["choices"][0]["message"]["content"]), (200, &json!("t0 t1 ")), "{answer}");
}

async fn formats(mesh: &Mesh) {
    let schema = json!({"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object",
        "properties": {"zeta": {"type": "string"}, "alpha": {"type": "string"}}}}});
    for format in [json!({"type": "json_object"}), schema] {
        let (_, answer) =
            whole(mesh.client(), CHAT, &with(ask("[tokens=2]"), json!({"response_format": format}))).await;
        assert_eq!(answer["choices"][0]["message"]["content"], "{\"text\":\"t0 t1 \"}", "{answer}");
    }
    let requests = mesh.engine(0).requests();
    let sent = requests.last().expect("a request").body.to_string();
    assert!(sent.find("zeta") < sent.find("alpha"), "the order of a schema's fields is kept: {sent}");
    let body = with(ask("[tokens=2]"), json!({"logprobs": true, "top_logprobs": 1}));
    let (_, answer) = whole(mesh.client(), CHAT, &body).await;
    let entries = answer["choices"][0]["logprobs"]["content"].as_array().expect("log probabilities");
    assert!(
        entries.len() == 2 && entries[0]["bytes"].is_array() && entries[0]["top_logprobs"].is_array(),
        "{answer}"
    );
    let picture = json!({"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}});
    let parts = json!([{"role": "user", "content": [{"type": "text", "text": "see [tokens=1]"}, picture]}]);
    let (status, answer) = whole(mesh.client(), CHAT, &json!({"model": ABLE, "messages": parts})).await;
    assert_eq!(status, 200, "{answer}");
    let requests = mesh.engine(0).requests();
    assert!(requests.last().expect("a request").body.to_string().contains("iVBORw0KGgo="));
}

async fn texts(mesh: &Mesh) {
    let body = json!({"model": ABLE, "prompt": "[tokens=3]", "logprobs": 1});
    let (status, answer) = whole(mesh.client(), "/v1/completions", &body).await;
    let choice = &answer["choices"][0];
    assert_eq!(
        (status, &choice["text"], &answer["object"]),
        (200, &json!("t0 t1 t2 "), &json!("text_completion")),
        "{answer}"
    );
    assert_eq!(choice["logprobs"]["text_offset"], json!([0, 3, 6]), "{answer}");
    let told =
        events(post(mesh.client(), "/v1/completions", &with(body, json!({"stream": true}))).await).await;
    assert_eq!((said(&told).as_str(), told.last()), ("t0 t1 t2 ", Some(&json!("[DONE]"))));
}

async fn vectors(mesh: &Mesh) {
    let body = json!({"model": EMBEDDER, "input": ["one", "two"]});
    let (status, answer) = whole(mesh.client(), "/v1/embeddings", &body).await;
    let data = answer["data"].as_array().expect("data");
    assert_eq!((status, data.len(), &data[1]["index"]), (200, 2, &json!(1)), "{answer}");
    let (_, one) = whole(mesh.client(), "/v1/embeddings", &json!({"model": EMBEDDER, "input": "one"})).await;
    assert_eq!(one["data"][0]["embedding"], data[0]["embedding"], "to the last digit");
    let (_, packed) =
        whole(mesh.client(), "/v1/embeddings", &with(body, json!({"encoding_format": "base64"}))).await;
    let text = packed["data"][0]["embedding"].as_str().expect("a text");
    let length = data[0]["embedding"].as_array().map_or(0, Vec::len) * 4;
    assert_eq!(text.len(), length.div_ceil(3) * 4, "{packed}");
}

async fn models(mesh: &Mesh) {
    let list = mesh.client().get("/v1/models").send().await.expect("a reply").json().await;
    let ids: Vec<&Value> = list["data"].as_array().expect("data").iter().map(|model| &model["id"]).collect();
    assert!(list["object"] == "list" && ids.contains(&&json!("able:latest")), "{list}");
    // Each has the name by which it was asked for.
    for (asked, id) in [("able", "able"), ("able:latest", "able:latest"), ("able%3Alatest", "able:latest")] {
        let one = mesh.client().get(&format!("/v1/models/{asked}")).send().await.expect("a reply");
        assert_eq!((one.status(), one.json().await["id"].clone()), (200, json!(id)));
    }
    let none = mesh.client().get("/v1/models/hf.co/a/b").send().await.expect("a reply");
    assert_eq!((none.status(), none.json().await["error"]["code"].clone()), (404, json!("model_not_found")));
}

#[tokio::test]
async fn a_node_with_ollama_serves_openais_clients() {
    answers(Api::Ollama).await;
}

#[tokio::test]
async fn a_node_with_openais_own_api_does_too() {
    answers(Api::Openai).await;
}

#[tokio::test]
async fn a_chat_never_lands_on_a_server_that_only_embeds_and_the_other_way_round() {
    let mesh = Mesh::start().nodes(0).await;
    let mut nodes = Vec::new();
    for (id, model) in [("talks", Model::named("same")), ("embeds", Model::embedding("same"))] {
        let script = Script { api: Api::Openai, models: vec![model], slots: 4, ..Script::default() };
        let engine = Engine::start(script.clone()).await;
        let agent = mesh.agent(id, &engine.url(), &script);
        agent.start().await;
        mesh.node_is(id, "idle").await;
        nodes.push((engine, agent));
    }
    for stream in [true, false] {
        for _ in 0..3 {
            let hello = json!([{"role": "user", "content": "[tokens=1]"}]);
            for (path, body, node) in [
                (CHAT, json!({"model": "same", "messages": hello, "stream": stream}), "talks"),
                (CHAT, json!({"messages": hello, "stream": stream}), "talks"),
                (
                    "/api/generate",
                    json!({"model": "same", "prompt": "[tokens=1]", "stream": stream}),
                    "talks",
                ),
                ("/v1/embeddings", json!({"model": "same", "input": "x"}), "embeds"),
                ("/api/embed", json!({"model": "same", "input": "x"}), "embeds"),
            ] {
                let reply = post(mesh.client(), path, &body).await;
                assert_eq!((reply.status(), reply.header("x-echo-node")), (200, node), "{path} {body}");
                assert_eq!(reply.header("x-echo-attempts"), "1", "nobody had to refuse it");
            }
        }
    }
}

#[tokio::test]
async fn a_text_completion_goes_to_every_engine_without_a_template() {
    for (api, path) in [(Api::Ollama, "/api/generate"), (Api::Openai, "/v1/completions")] {
        let mesh = able(api).await;
        let prompt = "def add(a, b): [tokens=2]";
        let body = json!({"model": ABLE, "prompt": prompt});
        let (status, answer) = whole(mesh.client(), "/v1/completions", &body).await;
        assert_eq!((status, &answer["choices"][0]["text"]), (200, &json!("t0 t1 ")), "{answer}");
        let requests = mesh.engine(0).requests();
        let sent = requests.last().expect("a request");
        assert_eq!((sent.path.as_str(), &sent.body["prompt"]), (path, &json!(prompt)), "{}", sent.body);
        assert!(api != Api::Ollama || sent.body["raw"] == true, "{}", sent.body);
        // The count is of the prompt alone: no engine has put anything around it.
        assert_eq!(answer["usage"]["prompt_tokens"], 4, "{answer}");
    }
}

#[tokio::test]
async fn errors_have_openais_shape() {
    let mesh = able(Api::Ollama).await;
    for (path, body, status, code, param) in [
        (
            CHAT,
            json!({"model": "nobody", "messages": [{"role": "user", "content": "x"}]}),
            404,
            json!("model_not_found"),
            json!("model"),
        ),
        (CHAT, with(ask("x"), json!({"n": 2})), 400, Value::Null, json!("n")),
        (CHAT, json!({"model": ABLE}), 400, Value::Null, json!("messages")),
        (
            CHAT,
            json!({"model": "plain", "messages": [{"role": "user", "content": "x"}], "reasoning_effort": "high"}),
            400,
            json!("not_capable"),
            Value::Null,
        ),
        ("/v1/embeddings", json!({"model": ABLE, "input": "x"}), 400, json!("not_capable"), Value::Null),
        ("/v1/assistants", json!({}), 404, json!("not_found"), Value::Null),
        ("/v1/responses", json!({}), 400, Value::Null, json!("input")),
    ] {
        for stream in [false, true] {
            let (got, answer) =
                whole(mesh.client(), path, &with(body.clone(), json!({"stream": stream}))).await;
            let error = &answer["error"];
            assert_eq!(
                (got, &error["code"], &error["param"]),
                (status, &code, &param),
                "{path} {body}: {answer}"
            );
            assert_eq!(error["type"], "invalid_request_error");
            assert!(error["message"].as_str().is_some_and(|text| !text.is_empty()));
        }
    }
    let broken = send(mesh.client().post(CHAT, &Value::Null).body("{")).await;
    assert_eq!(
        (broken.status(), broken.json().await["error"]["type"].clone()),
        (400, json!("invalid_request_error"))
    );
}

#[tokio::test]
async fn an_error_in_mid_stream_is_an_error_and_no_end() {
    let mesh = able(Api::Ollama).edge_args(["--attempts", "1"]).await;
    let body = with(ask("[tokens=9] [delay=5] [fault=error@4]"), json!({"stream": true}));
    let told = events(post(mesh.client(), CHAT, &body).await).await;
    assert_eq!(said(&told), "t0 t1 t2 t3 ");
    let last = told.last().expect("a last event");
    assert!(last["error"]["message"].as_str().is_some_and(|text| text.contains("scripted fault")), "{last}");
    assert!(!told.contains(&json!("[DONE]")));
}

#[tokio::test]
async fn without_a_model_the_mesh_chooses_and_says_which() {
    let mesh = Mesh::start().nodes(1).await;
    let body = json!({"messages": [{"role": "user", "content": "[tokens=1]"}]});
    let (status, answer) = whole(mesh.client(), CHAT, &body).await;
    assert_eq!((status, &answer["model"]), (200, &json!("scripted:latest")), "{answer}");
    let told = events(post(mesh.client(), CHAT, &with(body, json!({"stream": true}))).await).await;
    assert_eq!(told[0]["model"], "scripted:latest");
}

#[tokio::test]
async fn an_answer_goes_on_when_its_node_dies() {
    let mesh = Mesh::start().await;
    let body = json!({"model": "scripted", "stream": true,
        "messages": [{"role": "user", "content": "[tokens=40] [delay=5] [fault=die@10]"}]});
    let told = events(post(mesh.client(), CHAT, &body).await).await;
    let wanted: String = (0..40).map(|index| format!("t{index} ")).collect();
    assert_eq!((said(&told), told.last()), (wanted, Some(&json!("[DONE]"))));
}
