//! The same request sent straight to an engine and through the mesh gets the same JSON. What differs is listed here.

use echo_scripted_engine::Api;
use echo_testing::{
    client::Client,
    mesh::{Mesh, holds, until},
};
use serde_json::{Value, json};

use super::{
    cases::{Case, cases},
    wire::{ABLE, able, lines},
};

/// Times are those of each request, and durations are measured.
const TIMES: [&str; 6] =
    ["created_at", "expires_at", "total_duration", "load_duration", "prompt_eval_duration", "eval_duration"];

/// Requests that the mesh answers in other words than the engine; all else is the same, line by line.
const DIFFERENT: [(&str, &str); 6] = [
    (
        "chat, logprobs",
        "the scripted engine leaves them out of an answer in one piece; Ollama and the mesh do not",
    ),
    ("chat, tools without the skill", "the mesh names what no node can do, before any engine is asked"),
    ("generate, a wrong type", "the edge names the field"),
    ("generate, whole with logprobs", "the same"),
    ("ps", "each loaded model has its node"),
    ("version", "the level of the API that the edge speaks, whatever its nodes run"),
];

/// What came back, without times.
async fn told(client: Client, (_, method, path, body): &Case) -> (u16, String, Vec<Value>) {
    let call = client.call(method, path);
    let call = if body.is_null() { call } else { call.body(body.to_string()) };
    let reply = call.send().await.expect("a reply");
    let media = reply.header("content-type").split(';').next().unwrap_or_default().to_owned();
    let status = reply.status();
    if *method == "HEAD" {
        return (status, media, Vec::new());
    }
    let mut lines = lines(reply).await;
    lines.iter_mut().for_each(timeless);
    if *path == "/api/tags" {
        sort(lines[0]["models"].as_array_mut().expect("a list"));
    }
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
        let names: Vec<&str> =
            tags["models"].as_array().into_iter().flatten().filter_map(|it| it["name"].as_str()).collect();
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
        models.iter_mut().for_each(|model| {
            assert_eq!(model.as_object_mut().expect("a model").remove("node"), Some(json!("node-a")))
        });
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
        if method != "POST"
            || !["/api/generate", "/api/chat", "/api/embed", "/api/embeddings"].contains(&path)
        {
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
    let model = fields
        .get("model")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .trim_end_matches(":latest")
        .to_owned();
    fields.insert("model".to_owned(), model.into());
    if path == "/api/embed" && fields["input"].is_string() {
        let text = fields["input"].take();
        let texts = if text == "" { json!([]) } else { json!([text]) };
        fields.insert("input".to_owned(), texts);
    }
    if path == "/api/embed" && fields.get("dimensions").and_then(Value::as_i64).is_some_and(|size| size <= 0)
    {
        fields.remove("dimensions");
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
