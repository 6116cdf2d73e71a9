//! OpenAI's API, on nodes of both kinds.

use echo_scripted_engine::{Api, Engine, Hardware, Model, Script};
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
        (CHAT, with(ask("x"), json!({"n": 9})), 400, Value::Null, json!("n")),
        (CHAT, json!({"model": ABLE}), 400, Value::Null, json!("messages")),
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

#[tokio::test]
async fn an_effort_is_a_wish_under_both_names_and_no_word_for_it_is_an_error() {
    let thought = |answer: &Value| answer["choices"][0]["message"]["reasoning_content"].is_string();
    for api in [Api::Ollama, Api::Openai] {
        let mesh = able(api).await;
        for word in ["minimal", "low", "medium", "high", "xhigh", "max", "turbo", "", "none"] {
            for effort in [json!({"reasoning_effort": word}), json!({"reasoning": {"effort": word}})] {
                for model in [ABLE, "plain"] {
                    let body = with(ask("[tokens=2]"), json!({"model": model, "reasoning_effort": null}));
                    let body = with(body, effort.clone());
                    let (status, answer) = whole(mesh.client(), CHAT, &body).await;
                    assert_eq!(status, 200, "{api:?} {model} {effort}: {answer}");
                    assert_eq!(answer["choices"][0]["message"]["content"], "t0 t1 ", "{answer}");
                    assert_eq!(
                        thought(&answer),
                        model == ABLE && word != "none",
                        "{api:?} {effort}: {answer}"
                    );
                }
            }
        }
        let sent = mesh.engine(0).requests();
        let words = sent
            .iter()
            .map(|request| &request.body[if api == Api::Ollama { "think" } else { "reasoning_effort" }]);
        let levels = ["low", "medium", "high", "max"];
        assert!(
            words.filter_map(Value::as_str).all(|word| levels.contains(&word)),
            "no engine hears a word that it may not know"
        );
    }
}

#[tokio::test]
async fn who_asks_in_ollamas_words_for_thinking_that_is_not_there_is_refused_as_before() {
    let mesh = able(Api::Ollama).await;
    let messages = json!([{"role": "user", "content": "x"}]);
    for (model, think) in [("plain", json!(true)), ("plain", json!("high")), (ABLE, json!("turbo"))] {
        let body = json!({"model": model, "messages": messages, "think": think, "stream": false});
        let (status, answer) = whole(mesh.client(), "/api/chat", &body).await;
        assert_eq!(status, 400, "{model} {think}: {answer}");
    }
}

#[tokio::test]
async fn what_the_engine_had_of_a_prompt_is_told_where_it_says_so() {
    for (api, says) in [(Api::Openai, true), (Api::Ollama, false)] {
        let mesh = able(api).script(|script| script.hardware = Some(Hardware::default())).await;
        let body = ask("a long prompt that is asked twice, word for word [tokens=1]");
        let mut told = Vec::new();
        for _ in 0..2 {
            let (status, answer) = whole(mesh.client(), CHAT, &body).await;
            assert_eq!(status, 200, "{answer}");
            told.push(answer["usage"]["prompt_tokens_details"]["cached_tokens"].as_u64());
        }
        let streamed = with(body, json!({"stream": true, "stream_options": {"include_usage": true}}));
        let events = events(post(mesh.client(), CHAT, &streamed).await).await;
        let usage = &events[events.len() - 2]["usage"];
        told.push(usage["prompt_tokens_details"]["cached_tokens"].as_u64());
        assert_eq!(told[0], says.then_some(0), "{told:?}");
        assert!(told[1..].iter().all(|cached| cached.is_some_and(|cached| cached > 5) == says), "{told:?}");
    }
}

/// The fields that reach an engine with OpenAI's API as they were said, and leave an Ollama node with what it knows.
#[tokio::test]
async fn a_choice_of_tools_and_a_developers_word_reach_each_engine_in_its_own_words() {
    let tools = json!([weather(), {"type": "function", "function": {"name": "clock", "parameters": {"type": "object"}}}]);
    let clock = json!({"type": "function", "function": {"name": "clock"}});
    for api in [Api::Ollama, Api::Openai] {
        let mesh = able(api).await;
        for (choice, parallel, names) in [
            (json!("auto"), Value::Null, 2),
            (json!("required"), json!(false), 2),
            (clock.clone(), json!(true), 1),
            (json!("none"), Value::Null, 0),
        ] {
            let messages = json!([{"role": "developer", "content": "be brief"}, {"role": "user", "content": "[tokens=1]"}]);
            let more = json!({"tools": tools, "tool_choice": choice, "parallel_tool_calls": parallel,
                "messages": messages, "max_completion_tokens": 9});
            let (status, answer) = whole(mesh.client(), CHAT, &with(ask(""), more)).await;
            assert_eq!(status, 200, "{answer}");
            let requests = mesh.engine(0).requests();
            let sent = &requests.last().expect("a request").body;
            assert_eq!(sent["tools"].as_array().map_or(0, Vec::len), names, "{sent}");
            assert_eq!(sent["messages"][0]["role"], "system", "{sent}");
            let limit =
                if api == Api::Ollama { &sent["options"]["num_predict"] } else { &sent["max_tokens"] };
            assert_eq!(*limit, 9, "{sent}");
            let said = |name: &str| sent.get(name).cloned().unwrap_or_default();
            if api == Api::Ollama {
                // It has no words for these.
                assert_eq!((said("tool_choice"), said("parallel_tool_calls")), (Value::Null, Value::Null));
            } else {
                let wanted =
                    if ["auto", "none"].iter().any(|word| choice == *word) { Value::Null } else { choice };
                assert_eq!((said("tool_choice"), said("parallel_tool_calls")), (wanted, parallel), "{sent}");
            }
        }
    }
}
