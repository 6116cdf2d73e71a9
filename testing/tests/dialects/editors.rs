//! What editors and home automation send, and what they read of the answers with a reader that forgives nothing: no
//! more fields than their sources read, in the types that they take for granted, on both kinds of node.

use echo_scripted_engine::Api;
use echo_testing::mesh::Mesh;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::wire::{ABLE, able, events, lines, post, said, send, weather};

const BOTH: [Api; 2] = [Api::Ollama, Api::Openai];

fn read<T: DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value.clone()).unwrap_or_else(|error| panic!("{error}: {value}"))
}

async fn get<T: DeserializeOwned>(mesh: &Mesh, path: &str) -> T {
    let reply = send(mesh.client().get(path)).await;
    assert_eq!(reply.status(), 200, "{path}");
    read(reply.json().await)
}

async fn asked<T: DeserializeOwned>(mesh: &Mesh, path: &str, body: Value) -> T {
    let reply = post(mesh.client(), path, &body).await;
    assert_eq!(reply.status(), 200, "{path} {body}");
    read(reply.json().await)
}

#[derive(Deserialize)]
struct Version {
    version: String,
}

#[derive(Deserialize)]
struct Tags {
    models: Vec<Tag>,
}

#[derive(Deserialize)]
struct Tag {
    name: String,
    model: String,
}

#[derive(Deserialize)]
struct CopilotShow {
    capabilities: Vec<String>,
    details: Family,
    model_info: serde_json::Map<String, Value>,
}

#[derive(Deserialize)]
struct Family {
    family: String,
}

/// VS Code's Copilot refuses an address whose API is older than 0.6.4, and shows a model by what it is told of it.
#[tokio::test]
async fn vs_code_offers_every_model_and_talks_to_it() {
    for api in BOTH {
        let mesh = able(api).await;
        let Version { version } = get(&mesh, "/api/version").await;
        let numbers: Vec<u64> = version.split('.').map(|part| part.parse().expect("a number")).collect();
        assert!(numbers >= vec![0, 6, 4], "{version}");
        let Tags { models } = get(&mesh, "/api/tags").await;
        assert!(models.iter().any(|tag| tag.model == "able:latest"), "{api:?}");
        for tag in models {
            assert_eq!(tag.name, tag.model);
            let shown: CopilotShow = asked(&mesh, "/api/show", json!({"model": tag.model})).await;
            let text = |name: &str| shown.model_info.get(name).and_then(Value::as_str).unwrap_or_default();
            let family = text("general.architecture");
            assert!(
                !family.is_empty() && !text("general.basename").is_empty(),
                "{api:?} {:?}",
                shown.model_info
            );
            let window = shown.model_info[&format!("{family}.context_length")].as_u64();
            assert!(window.is_some_and(|tokens| tokens > 0), "{api:?} {:?}", shown.model_info);
            assert!(!shown.details.family.is_empty() && !shown.capabilities.is_empty(), "{api:?}");
        }
        let body = json!({"model": "able:latest", "messages": [{"role": "system", "content": "You are an assistant."},
                {"role": "user", "content": [{"type": "text", "text": "[tokens=3]"}]}],
            "temperature": 0.1, "top_p": 1, "max_tokens": 4096, "n": 1, "stream": true,
            "stream_options": {"include_usage": true}});
        let told = events(post(mesh.client(), "/v1/chat/completions", &body).await).await;
        assert_eq!((said(&told).as_str(), told.last()), ("t0 t1 t2 ", Some(&json!("[DONE]"))), "{api:?}");
        mesh.is_quiet().await;
    }
}

/// Continue reads the parameters line by line, and one that is no pair makes it give up on the whole description.
fn parameters(shown: &Value) -> Vec<(String, String)> {
    let Some(text) = shown.get("parameters").filter(|it| !it.is_null()) else { return Vec::new() };
    let text = text.as_str().expect("parameters are a text");
    let pair = |line: &str| {
        let (name, value) = line.split_once(' ').unwrap_or_else(|| panic!("no pair: {line:?} of {text:?}"));
        let value = value.trim_start();
        assert!(value.starts_with('"') && value.ends_with('"') || !value.contains(' '), "{line:?}");
        (name.to_owned(), value.to_owned())
    };
    if text.is_empty() { Vec::new() } else { text.split('\n').map(pair).collect() }
}

#[tokio::test]
async fn continue_learns_the_length_and_completes_code_either_way() {
    for api in BOTH {
        let mesh = able(api).await;
        let shown: Value = asked(&mesh, "/api/show", json!({"name": ABLE})).await;
        assert!(shown["template"].as_str().is_none_or(|text| !text.contains(".Suffix")), "{shown}");
        let told = parameters(&shown);
        if api == Api::Openai {
            // 4096 tokens for four slots: more than that Continue must not send.
            assert!(told.contains(&("num_ctx".to_owned(), "1024".to_owned())), "{shown}");
        }
        let options =
            json!({"temperature": 0.01, "num_predict": 8, "stop": ["<fim_prefix>", "\n\n"], "num_ctx": 1024});
        let raw = json!({"model": ABLE, "prompt": "<fim_prefix>[tokens=3]<fim_suffix>", "raw": true, "options": options,
            "keep_alive": 1800, "stream": true});
        let mut filled = raw.clone();
        filled["raw"] = false.into();
        filled["suffix"] = "}\n".into();
        for body in [raw, filled] {
            let reply = post(mesh.client(), "/api/generate", &body).await;
            if api == Api::Openai && body.get("suffix").is_some() {
                assert_eq!(reply.status(), 400, "such a server has no way to fill in");
                continue;
            }
            assert_eq!(reply.status(), 200, "{api:?} {body}");
            // It reads `response` of each line, and `undefined` would be text in the user's file.
            let told: Vec<String> =
                lines(reply).await.into_iter().map(|line| read(line["response"].clone())).collect();
            assert_eq!(told.concat(), "t0 t1 t2 ", "{api:?} {body}");
        }
        let body = json!({"model": ABLE, "messages": [{"role": "user", "content": "[tokens=2]"}], "options": options,
            "keep_alive": 1800, "stream": true});
        for line in lines(post(mesh.client(), "/api/chat", &body).await).await {
            assert_eq!(line["message"]["role"], "assistant", "{line}");
            assert!(line["message"]["content"].is_string(), "{line}");
        }
        mesh.is_quiet().await;
    }
}

/// Cline sends its own length to every model, and a system prompt as long as a book.
#[tokio::test]
async fn cline_gets_its_answer_with_a_length_of_its_own() {
    for api in BOTH {
        let mesh = able(api).script(|script| script.models[0].context = 131_072).await;
        let system = "You are Cline, a highly skilled software engineer. ".repeat(400);
        let body = json!({"model": ABLE, "messages": [{"role": "system", "content": system},
                {"role": "user", "content": "<task>[tokens=3]</task>"}],
            "stream": true, "options": {"num_ctx": 32_768}});
        let reply = post(mesh.client(), "/api/chat", &body).await;
        assert_eq!(reply.status(), 200, "{api:?}");
        let told = lines(reply).await;
        let text: String = told.iter().filter_map(|line| line["message"]["content"].as_str()).collect();
        assert_eq!(text, "t0 t1 t2 ", "{api:?}");
        let last = told.last().expect("an end");
        assert!(last["prompt_eval_count"].is_u64() && last["eval_count"].is_u64(), "{last}");
    }
}

#[derive(Deserialize)]
struct Said {
    message: Message,
}

#[derive(Deserialize)]
struct Message {
    #[serde(default)]
    content: Option<String>,
    #[serde(default)]
    tool_calls: Vec<Call>,
}

#[derive(Deserialize)]
struct Call {
    function: Function,
}

#[derive(Deserialize)]
struct Function {
    name: String,
    arguments: serde_json::Map<String, Value>,
}

/// Home Assistant's tool results carry neither name nor id: they belong to the calls before them, in their order.
#[tokio::test]
async fn home_assistants_nameless_tool_results_find_their_calls() {
    for api in BOTH {
        let mesh = able(api).await;
        let body = |messages: &Value| {
            json!({"model": ABLE, "messages": messages, "tools": [weather()], "stream": true, "keep_alive": -1,
                "options": {"num_ctx": 8192}})
        };
        let question = json!({"role": "user", "content": r#"rain? [call=weather {"city": "Oslo"}] [call=weather {"city": "Lima"}] [tokens=2]"#});
        let mut messages = json!([{"role": "system", "content": "You are a voice assistant."}, question]);
        let told = lines(post(mesh.client(), "/api/chat", &body(&messages)).await).await;
        let told: Vec<Said> = told.into_iter().map(read).collect();
        let calls: Vec<&Function> =
            told.iter().flat_map(|said| &said.message.tool_calls).map(|call| &call.function).collect();
        let cities: Vec<_> = calls.iter().map(|call| call.arguments["city"].clone()).collect();
        assert_eq!(cities, ["Oslo", "Lima"], "{api:?}");
        let called =
            calls.iter().map(|call| json!({"function": {"name": call.name, "arguments": call.arguments}}));
        let list = messages.as_array_mut().expect("a list");
        list.push(json!({"role": "assistant", "content": "", "tool_calls": called.collect::<Value>()}));
        list.push(json!({"role": "tool", "content": "{\"rain\": true}"}));
        list.push(json!({"role": "tool", "content": "{\"rain\": false}"}));
        let reply = post(mesh.client(), "/api/chat", &body(&messages)).await;
        assert_eq!((reply.status(), reply.header("x-echo-attempts")), (200, "1"), "{api:?}");
        let told: Vec<Said> = lines(reply).await.into_iter().map(read).collect();
        let text: String = told.iter().filter_map(|said| said.message.content.as_deref()).collect();
        assert_eq!(text, "t0 t1 ", "{api:?}");
        let requests = mesh.engine(0).requests();
        let sent = &requests.last().expect("a request").body["messages"];
        assert_eq!(sent[4]["content"], "{\"rain\": false}", "{sent}");
        if api == Api::Openai {
            // There a result without the id of its call is an error.
            for at in [0, 1] {
                let (call, result) = (&sent[2]["tool_calls"][at]["id"], &sent[3 + at]["tool_call_id"]);
                assert!(call.is_string() && call == result, "{sent}");
            }
        }
        mesh.is_quiet().await;
    }
}

/// n8n and LangChain test an address with the list of models, and with whatever key or password was typed.
#[tokio::test]
async fn a_key_or_a_password_that_nobody_asked_for_is_no_fault() {
    let mesh = able(Api::Ollama).await;
    for given in ["Bearer any", "Bearer ", "Basic dXNlcjpwYXNz"] {
        let reply = send(mesh.client().get("/api/tags").header("authorization", given)).await;
        assert_eq!(reply.status(), 200, "{given}");
        let Tags { models } = read(reply.json().await);
        assert!(!models.is_empty(), "{given}");
        let body =
            json!({"model": ABLE, "messages": [{"role": "user", "content": "[tokens=1]"}], "stream": false});
        let call = mesh.client().post("/api/chat", &body).header("authorization", given);
        assert_eq!(send(call).await.status(), 200, "{given}");
    }
}
