//! OpenAI's Responses API, on nodes of both kinds.

use echo_scripted_engine::Api;
use echo_testing::client::Reply;
use serde_json::{Value, json};

use super::wire::{ABLE, able, post, whole};

const PATH: &str = "/v1/responses";

fn ask(prompt: &str) -> Value {
    json!({"model": ABLE, "input": prompt, "reasoning": {"effort": "none"}})
}

fn with(mut body: Value, more: Value) -> Value {
    body.as_object_mut().expect("an object").extend(more.as_object().cloned().unwrap_or_default());
    body
}

fn streamed(body: Value) -> Value {
    with(body, json!({"stream": true}))
}

/// The events of a stream, each named in its head as in its data. A sign of life repeats the last number: it is left out.
async fn events(reply: Reply) -> Vec<Value> {
    assert_eq!((reply.status(), reply.header("content-type")), (200, "text/event-stream"));
    let text = reply.text().await;
    let mut events: Vec<Value> = Vec::new();
    for frame in text.split_terminator("\n\n") {
        let (head, data) = frame.split_once('\n').expect("two lines");
        let event: Value = serde_json::from_str(data.strip_prefix("data: ").expect("data")).expect("JSON");
        assert_eq!(head.strip_prefix("event: "), event["type"].as_str(), "{frame}");
        let number = &event["sequence_number"];
        if events.last().is_none_or(|last| last["sequence_number"] != *number) {
            events.push(event);
        }
    }
    events
}

/// That events are numbered without a gap, beginning with this number.
#[track_caller]
fn numbered(events: &[Value], first: u64) {
    let numbers: Vec<u64> = events.iter().filter_map(|event| event["sequence_number"].as_u64()).collect();
    assert_eq!(numbers, (first..first + events.len() as u64).collect::<Vec<_>>());
}

/// All text of the events.
fn said(events: &[Value]) -> String {
    let deltas = events.iter().filter(|event| event["type"] == "response.output_text.delta");
    deltas.filter_map(|event| event["delta"].as_str()).collect()
}

fn tokens(count: u64) -> String {
    (0..count).map(|index| format!("t{index} ")).collect()
}

#[tokio::test]
async fn an_answer_is_one_object_or_the_events_that_make_it_up() {
    for api in [Api::Ollama, Api::Openai] {
        let mesh = able(api).await;
        let (status, answer) = whole(mesh.client(), PATH, &ask("[tokens=4]")).await;
        assert_eq!((status, &answer["status"]), (200, &json!("completed")), "{answer}");
        let message = &answer["output"][0];
        assert_eq!((&message["type"], &message["role"]), (&json!("message"), &json!("assistant")));
        assert_eq!(message["content"][0]["text"], tokens(4));
        assert_eq!(answer["usage"]["output_tokens"], 4, "{answer}");
        let told = events(post(mesh.client(), PATH, &streamed(ask("[tokens=4]"))).await).await;
        numbered(&told, 0);
        assert_eq!(said(&told), tokens(4));
        let last = told.last().expect("an end");
        assert_eq!(
            (&last["type"], &last["response"]["status"]),
            (&json!("response.completed"), &json!("completed"))
        );
        assert_eq!(last["response"]["output"][0]["content"], message["content"]);
        assert_eq!(last["response"]["id"], told[0]["response"]["id"]);
    }
}
