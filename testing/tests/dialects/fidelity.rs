//! The same request sent straight to an engine and through the mesh gets the same JSON. What differs is listed here.

use echo_testing::{
    client::Client,
    engine::Api,
    mesh::{Mesh, holds, until},
};
use serde_json::{Value, json};

use super::wire::{ABLE, EMBEDDER, able, lines, weather};

/// Times are those of each request, and durations are measured.
const TIMES: [&str; 6] =
    ["created_at", "expires_at", "total_duration", "load_duration", "prompt_eval_duration", "eval_duration"];

/// Requests that the mesh answers in other words than the engine; all else is the same, line by line.
const DIFFERENT: [(&str, &str); 4] = [
    ("chat, a wrong think", "the agent says who refused, before the engine's own words"),
    ("chat, tools without the skill", "the mesh names what no node can do, before any engine is asked"),
    ("generate, a wrong type", "the edge names the field"),
    ("ps", "each loaded model has its node"),
];

/// A request: its name, method, path and body.
type Case = (&'static str, &'static str, &'static str, Value);

fn cases() -> Vec<Case> {
    let ask = |content: &str| json!([{"role": "user", "content": content}]);
    let schema = json!({"type": "object", "properties": {"zeta": {"type": "string"}, "alpha": {"type": "string"}}});
    let called = json!([{"role": "user", "content": "weather? [tokens=3] [tool=none]"},
        {"role": "assistant", "content": "", "thinking": "hm", "tool_calls": [
            {"id": "c1", "function": {"index": 0, "name": "weather", "arguments": {"city": "Oslo"}}}]},
        {"role": "tool", "content": "rain", "tool_name": "weather", "tool_call_id": "c1"}]);
    let seen = json!([{"role": "user", "content": "see [tokens=2]", "images": ["iVBORw0KGgo="]}]);
    let options = json!({"num_predict": 3, "temperature": 0.7, "seed": 42, "top_k": 4, "top_p": 0.9, "min_p": 0.05,
        "typical_p": 0.7, "repeat_last_n": 33, "repeat_penalty": 1.2, "presence_penalty": 1.5,
        "frequency_penalty": 1.0, "stop": ["t9"], "num_keep": 5, "mirostat": 1});
    vec![
        ("generate", "POST", "/api/generate", json!({"model": ABLE, "prompt": "[tokens=5] [chunk=2]"})),
        ("generate, whole", "POST", "/api/generate", json!({"model": ABLE, "prompt": "[tokens=5]", "stream": false})),
        ("generate, text in the last line", "POST", "/api/generate", json!({"model": ABLE, "prompt": "[tokens=4] [final=text]"})),
        ("generate, raw", "POST", "/api/generate", json!({"model": ABLE, "prompt": "[tokens=3]", "raw": true})),
        ("generate, thinking", "POST", "/api/generate", json!({"model": ABLE, "prompt": "[tokens=3]", "think": true})),
        ("generate, a level of thinking", "POST", "/api/generate", json!({"model": ABLE, "prompt": "[tokens=3]", "think": "high", "stream": false})),
        ("generate, options", "POST", "/api/generate", json!({"model": ABLE, "prompt": "[tokens=9]", "options": options})),
        ("generate, everything", "POST", "/api/generate", json!({"model": "able:latest", "prompt": "[tokens=3]", "suffix": "end",
            "system": "be brief", "template": "{{ .Prompt }}", "context": [1, 2], "images": ["iVBORw0KGgo="],
            "keep_alive": 300, "truncate": true, "shift": true, "logprobs": true, "top_logprobs": 2, "a_new_field": {"b": 1}})),
        ("generate, whole with logprobs", "POST", "/api/generate", json!({"model": ABLE, "prompt": "[tokens=3]", "stream": false, "logprobs": true})),
        ("generate, JSON", "POST", "/api/generate", json!({"model": ABLE, "prompt": "[tokens=3]", "format": "json"})),
        ("generate, a schema", "POST", "/api/generate", json!({"model": ABLE, "prompt": "[tokens=3]", "format": schema, "stream": false})),
        ("generate, load", "POST", "/api/generate", json!({"model": ABLE, "keep_alive": "5m"})),
        ("generate, unload", "POST", "/api/generate", json!({"model": ABLE, "keep_alive": 0})),
        ("generate, no model", "POST", "/api/generate", json!({"prompt": "x"})),
        ("generate, an unknown model", "POST", "/api/generate", json!({"model": "nobody", "prompt": "x"})),
        ("generate, a wrong type", "POST", "/api/generate", json!({"model": ABLE, "prompt": 5})),
        ("chat", "POST", "/api/chat", json!({"model": ABLE, "messages": ask("[tokens=5]")})),
        ("chat, whole", "POST", "/api/chat", json!({"model": ABLE, "messages": ask("[tokens=5]"), "stream": false})),
        ("chat, no thinking", "POST", "/api/chat", json!({"model": ABLE, "messages": ask("[tokens=2] [final=text]"), "think": false})),
        ("chat, tools", "POST", "/api/chat", json!({"model": ABLE, "messages": ask("hi"), "tools": [weather()]})),
        ("chat, tools and text", "POST", "/api/chat", json!({"model": ABLE, "messages": ask("[tokens=3]"), "tools": [weather()], "stream": false})),
        ("chat, the answer of a tool", "POST", "/api/chat", json!({"model": ABLE, "messages": called})),
        ("chat, pictures", "POST", "/api/chat", json!({"model": ABLE, "messages": seen})),
        ("chat, a schema", "POST", "/api/chat", json!({"model": ABLE, "messages": ask("[tokens=3]"), "format": schema})),
        ("chat, logprobs", "POST", "/api/chat", json!({"model": ABLE, "messages": ask("[tokens=3]"), "logprobs": true, "top_logprobs": 1, "stream": false})),
        ("chat, continued", "POST", "/api/chat", json!({"model": ABLE, "messages": [{"role": "user", "content": "[tokens=5]"}, {"role": "assistant", "content": "t0 t1 "}]})),
        ("chat, load", "POST", "/api/chat", json!({"model": ABLE, "messages": []})),
        ("chat, unload", "POST", "/api/chat", json!({"model": ABLE, "keep_alive": 0})),
        ("chat, no model", "POST", "/api/chat", json!({"messages": ask("x")})),
        ("chat, an unknown model", "POST", "/api/chat", json!({"model": "nobody:7b", "messages": ask("x")})),
        ("chat, a wrong think", "POST", "/api/chat", json!({"model": ABLE, "messages": ask("x"), "think": "much"})),
        ("chat, tools without the skill", "POST", "/api/chat", json!({"model": EMBEDDER, "messages": ask("x"), "tools": [weather()]})),
        ("embed", "POST", "/api/embed", json!({"model": EMBEDDER, "input": ["one", "two words"], "truncate": true})),
        ("embed, one text", "POST", "/api/embed", json!({"model": EMBEDDER, "input": "one", "dimensions": 4, "keep_alive": "1m"})),
        ("embed, nothing", "POST", "/api/embed", json!({"model": EMBEDDER, "input": []})),
        ("embed, an unknown model", "POST", "/api/embed", json!({"model": "nobody", "input": "x"})),
        ("embeddings", "POST", "/api/embeddings", json!({"model": EMBEDDER, "prompt": "one", "options": {"num_ctx": 64}})),
        ("show", "POST", "/api/show", json!({"model": ABLE})),
        ("show, by the old name", "POST", "/api/show", json!({"name": "able:latest", "verbose": true})),
        ("show, an unknown model", "POST", "/api/show", json!({"model": "nobody"})),
        ("show, no model", "POST", "/api/show", json!({})),
        ("pull", "POST", "/api/pull", json!({"model": "fresh"})),
        ("pull, whole", "POST", "/api/pull", json!({"model": "fresh", "stream": false})),
        ("tags", "GET", "/api/tags", Value::Null),
        ("version", "GET", "/api/version", Value::Null),
        ("root", "GET", "/", Value::Null),
        ("root, the head", "HEAD", "/", Value::Null),
        ("delete", "DELETE", "/api/delete", json!({"model": "fresh"})),
        ("delete, an unknown model", "DELETE", "/api/delete", json!({"model": "nobody"})),
        ("a broken body", "POST", "/api/chat", Value::Null),
    ]
}

/// What came back, without times.
async fn told(client: Client, (_, method, path, body): &Case) -> (u16, String, Vec<Value>) {
    let call = client.call(method, path);
    let call = if body.is_null() { call } else { call.body(body.to_string()) };
    let reply = call.send().await.expect("a reply");
    let (status, media) = (reply.status(), reply.header("content-type").to_owned());
    if *method == "HEAD" {
        return (status, media, Vec::new());
    }
    let mut lines = lines(reply).await;
    lines.iter_mut().for_each(timeless);
    (status, media, lines)
}

fn timeless(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|name, _| !TIMES.contains(&name.as_str()));
            map.values_mut().for_each(timeless);
        }
        Value::Array(list) => list.iter_mut().for_each(timeless),
        _ => {}
    }
}

#[tokio::test]
async fn the_mesh_answers_like_the_engine_and_what_differs_is_listed() {
    let mesh = able(Api::Ollama).agent_args(["--allow-model-management"]).await;
    let engine = Client::new(mesh.engine(0).addr());
    let mut different = Vec::new();
    for case in cases() {
        if case.0.starts_with("delete") {
            // Each side deletes one that is there.
            lines(super::wire::post(engine, "/api/pull", &json!({"model": "fresh"})).await).await;
            is_listed(&mesh, "fresh:latest").await;
        }
        if case.0 == "tags" {
            is_listed(&mesh, "fresh:latest").await;
        }
        let through = told(mesh.client(), &case).await;
        if case.0 == "delete" {
            lines(super::wire::post(engine, "/api/pull", &json!({"model": "fresh"})).await).await;
        }
        let straight = told(engine, &case).await;
        if straight != through {
            eprintln!("{} differs:\n  engine {straight:?}\n  mesh   {through:?}", case.0);
            different.push(case.0);
        }
    }
    let ps = ps_differs(&mesh, engine).await;
    different.extend(ps.then_some("ps"));
    different.sort_unstable();
    assert_eq!(different, DIFFERENT.map(|(case, _)| case));
}

async fn is_listed(mesh: &Mesh, model: &str) {
    until("a pulled model to be listed", || async {
        let tags = mesh.client().get("/api/tags").send().await.expect("a reply").json().await;
        let names: Vec<&str> = tags["models"].as_array().into_iter().flatten().filter_map(|it| it["name"].as_str()).collect();
        holds(names.contains(&model), format!("{names:?}"))
    })
    .await;
}

/// Whether the two lists of loaded models differ in more than times; the mesh hears of a change within a second.
async fn ps_differs(mesh: &Mesh, engine: Client) -> bool {
    let load = json!({"model": ABLE});
    super::wire::whole(mesh.client(), "/api/generate", &load).await;
    let case = ("ps", "GET", "/api/ps", Value::Null);
    let straight = told(engine, &case).await;
    until("the loaded models to be the same but for their node", || async {
        let mut through = told(mesh.client(), &case).await;
        let models = through.2[0]["models"].as_array_mut().expect("a list");
        models.iter_mut().for_each(|model| assert_eq!(model.as_object_mut().expect("a model").remove("node"), Some(json!("node-a"))));
        sort(models);
        let mut wanted = straight.clone();
        sort(wanted.2[0]["models"].as_array_mut().expect("a list"));
        holds(through == wanted, format!("{through:?} instead of {wanted:?}"))
    })
    .await;
    true
}

fn sort(models: &mut [Value]) {
    models.sort_by_key(|model| model["name"].to_string());
}

#[tokio::test]
async fn every_field_of_a_request_reaches_the_engine_as_it_was_sent() {
    let mesh = able(Api::Ollama).await;
    for (name, method, path, body) in cases() {
        if method != "POST" || !["/api/generate", "/api/chat", "/api/embed", "/api/embeddings"].contains(&path) {
            continue;
        }
        let before = mesh.engine(0).requests().len();
        told(mesh.client(), &(name, method, path, body.clone())).await;
        let requests = mesh.engine(0).requests();
        let Some(seen) = requests[before..].iter().find(|seen| seen.path == path) else { continue };
        let wanted = as_sent(path, body);
        assert_eq!(as_sent(path, seen.body.clone()).to_string(), wanted.to_string(), "{name}");
    }
}

/// In one order, with what is the same said in the same way: an engine is always asked for a stream, by its own name
/// for the model, and one text is a list of one.
fn as_sent(path: &str, mut body: Value) -> Value {
    let fields = body.as_object_mut().expect("an object");
    fields.remove("stream");
    let model = fields.get("model").and_then(Value::as_str).unwrap_or_default().trim_end_matches(":latest").to_owned();
    fields.insert("model".to_owned(), model.into());
    if path == "/api/embed" && fields["input"].is_string() {
        let text = fields["input"].take();
        fields.insert("input".to_owned(), json!([text]));
    }
    if path == "/api/generate" {
        fields.entry("prompt").or_insert_with(|| "".into());
    }
    if path == "/api/chat" {
        fields.entry("messages").or_insert_with(|| json!([]));
    }
    // The order of fields means something only inside schemas and tools.
    let mut sorted: Vec<(String, Value)> = std::mem::take(fields).into_iter().collect();
    sorted.sort_by(|a, b| a.0.cmp(&b.0));
    for (name, value) in &mut sorted {
        if name == "options" || name == "messages" {
            order(value);
        }
    }
    sorted.into_iter().collect()
}

fn order(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.values_mut().for_each(order);
            map.sort_keys();
        }
        Value::Array(list) => list.iter_mut().for_each(order),
        // Ollama reads both alike.
        Value::Number(number) => *value = json!(number.as_f64()),
        _ => {}
    }
}
