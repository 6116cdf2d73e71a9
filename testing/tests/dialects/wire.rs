//! What the tests here share: a mesh whose models can do everything, and replies cut into lines and events.

use echo_scripted_engine::{Api, Model, ToolCall};
use echo_testing::{
    client::{Call, Client, Reply},
    mesh::{Builder, Mesh},
};
use serde_json::{Value, json};

/// The model that can do everything but embed.
pub const ABLE: &str = "able";
/// The model that embeds.
pub const EMBEDDER: &str = "vectors";

/// One node with a model for everything, and a tool that is called whenever there are tools.
pub fn able(api: Api) -> Builder {
    Mesh::start().nodes(1).slots(4).api(api).script(|script| {
        let able =
            ["vision", "thinking", "insert"].iter().fold(Model::named(ABLE), |model, what| model.able(what));
        script.models = vec![able, Model::embedding(EMBEDDER), Model::named("plain")];
        script.thoughts = 2;
        let arguments = json!({"city": "Oslo", "at": [1, 2]}).as_object().cloned().unwrap_or_default();
        script.tool_call = Some(ToolCall { name: "weather".to_owned(), arguments });
    })
}

/// A tool as both dialects describe it.
pub fn weather() -> Value {
    json!({"type": "function", "function": {"name": "weather", "description": "The weather of a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}})
}

pub async fn send(call: Call) -> Reply {
    call.send().await.expect("a reply")
}

pub async fn post(client: Client, path: &str, body: &Value) -> Reply {
    send(client.post(path, body)).await
}

/// Status and JSON of a reply in one piece.
pub async fn whole(client: Client, path: &str, body: &Value) -> (u16, Value) {
    let reply = post(client, path, body).await;
    (reply.status(), reply.json().await)
}

/// The lines of a reply, each read as JSON; a text that is none stays a text.
pub async fn lines(reply: Reply) -> Vec<Value> {
    let text = reply.text().await;
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| line.into())).collect()
}

/// The events of a stream: JSON, or the text of the last marker.
pub async fn events(reply: Reply) -> Vec<Value> {
    let text = reply.text().await;
    let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
    data.map(|data| serde_json::from_str(data).unwrap_or_else(|_| data.into())).collect()
}

/// The texts of all events, put together.
pub fn said(events: &[Value]) -> String {
    let text = |event: &Value| {
        let choice = &event["choices"][0];
        let places = [&choice["delta"]["content"], &choice["text"], &event["delta"]["text"]];
        places.iter().find_map(|text| text.as_str()).unwrap_or_default().to_owned()
    };
    events.iter().map(text).collect()
}

/// Whether a value is a time as Go writes it and Python reads it: `2026-11-24T15:21:10.302317872Z`.
pub fn wire_time(value: &Value) -> bool {
    let Some((day, time)) = value.as_str().and_then(|text| text.split_once('T')) else { return false };
    let clock = time.trim_end_matches('Z').split(['+', '.']).next().unwrap_or_default();
    let numbers = |text: &str, by: char| text.split(by).map(str::parse::<u32>).collect::<Result<Vec<_>, _>>();
    let three = |found: Result<Vec<u32>, _>| found.is_ok_and(|found| found.len() == 3);
    three(numbers(day, '-')) && three(numbers(clock, ':'))
}
