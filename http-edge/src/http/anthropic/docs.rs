//! The routes of Anthropic's dialect. It also answers `GET /v1/models` for clients that send `anthropic-version`.

use serde_json::json;

use crate::http::route::{PLAIN, RUNS_A_TASK, Route};

const FIELDS: &[(&str, &str)] = &[
    ("model", "string"),
    ("messages!", "array"),
    ("system", "string|array"),
    ("max_tokens", "integer"),
    ("stream", "boolean"),
    ("tools", "array"),
    ("tool_choice", "object"),
    ("thinking", "object"),
    ("output_config", "object"),
    ("stop_sequences", "array"),
    ("temperature", "number"),
    ("top_p", "number"),
    ("top_k", "integer"),
];

/// All of them, in the order in which they are read.
pub fn routes() -> Vec<Route> {
    let messages = json!([{"role": "user", "content": "Say hello"}]);
    let route = |path, summary, takes, example, gives, fails| Route {
        method: "post",
        path,
        tag: "Anthropic",
        summary,
        takes,
        example,
        gives,
        fails,
        ..PLAIN
    };
    vec![
        route(
            "/v1/messages",
            "The next message of a conversation; with \"stream\": true as server-sent events",
            FIELDS,
            json!({"model": "mistral", "max_tokens": 1024, "messages": messages}),
            &["id", "type", "role", "model", "content", "stop_reason", "stop_sequence", "usage"],
            RUNS_A_TASK,
        ),
        route(
            "/v1/messages/count_tokens",
            "How many tokens a prompt has; x-echo-count says whether they were counted (exact) or not (estimate)",
            &[("model", "string"), ("messages!", "array"), ("system", "string|array"), ("tools", "array")],
            json!({"model": "mistral", "messages": messages}),
            &["input_tokens"],
            &[400, 404, 408, 413, 415],
        ),
    ]
}
