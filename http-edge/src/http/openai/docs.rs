//! The routes of OpenAI's dialect.

use serde_json::json;

use crate::http::route::{PLAIN, RUNS_A_TASK, Route};

const CHAT_FIELDS: &[(&str, &str)] = &[
    ("model", "string"),
    ("messages!", "array"),
    ("stream", "boolean"),
    ("stream_options", "object"),
    ("tools", "array"),
    ("tool_choice", "string|object"),
    ("parallel_tool_calls", "boolean"),
    ("response_format", "object"),
    ("n", "integer"),
    ("stop", "string|array"),
    ("seed", "integer"),
    ("temperature", "number"),
    ("top_p", "number"),
    ("max_tokens", "integer"),
    ("max_completion_tokens", "integer"),
    ("presence_penalty", "number"),
    ("frequency_penalty", "number"),
    ("logprobs", "boolean"),
    ("top_logprobs", "integer"),
    ("reasoning_effort", "string"),
    ("reasoning", "object"),
];

const RESPONSE_FIELDS: &[(&str, &str)] = &[
    ("model", "string"),
    ("input!", "string|array"),
    ("instructions", "string"),
    ("previous_response_id", "string"),
    ("stream", "boolean"),
    ("store", "boolean"),
    ("background", "boolean"),
    ("tools", "array"),
    ("tool_choice", "string|object"),
    ("parallel_tool_calls", "boolean"),
    ("reasoning", "object"),
    ("text", "object"),
    ("max_output_tokens", "integer"),
    ("temperature", "number"),
    ("top_p", "number"),
    ("truncation", "string"),
    ("metadata", "object"),
];

/// What a response always has.
const RESPONSE: &[&str] = &["id", "object", "created_at", "status", "model", "output", "usage", "error"];

/// All of them, in the order in which they are read.
pub fn routes() -> Vec<Route> {
    let route = |path, summary, takes, example, gives| Route {
        method: "post",
        path,
        tag: "OpenAI",
        summary,
        takes,
        example,
        gives,
        fails: RUNS_A_TASK,
        ..PLAIN
    };
    let answer: &[&str] = &["id", "object", "created", "model", "choices", "usage"];
    let messages = json!([{"role": "user", "content": "Say hello"}]);
    let read = |path, summary, gives, fails| Route { path, tag: "OpenAI", summary, gives, fails, ..PLAIN };
    let kept = |method, path, summary, gives, fails| Route { method, ..read(path, summary, gives, fails) };
    vec![
        route(
            "/v1/chat/completions",
            "The next message of a conversation; with \"stream\": true as server-sent events",
            CHAT_FIELDS,
            json!({"model": "mistral", "messages": messages}),
            answer,
        ),
        route(
            "/v1/completions",
            "Goes on with a text, without a template; with \"stream\": true as server-sent events",
            &[
                ("model", "string"),
                ("prompt!", "string|array"),
                ("suffix", "string"),
                ("stream", "boolean"),
                ("n", "integer"),
                ("max_tokens", "integer"),
                ("temperature", "number"),
                ("stop", "string|array"),
                ("seed", "integer"),
                ("logprobs", "integer"),
            ],
            json!({"model": "mistral", "prompt": "Once upon a time"}),
            answer,
        ),
        route(
            "/v1/embeddings",
            "Vectors for texts, as numbers or as base64",
            &[
                ("model!", "string"),
                ("input!", "string|array"),
                ("encoding_format", "string"),
                ("dimensions", "integer"),
            ],
            json!({"model": "nomic-embed-text", "input": "Why is the sky blue?"}),
            &["object", "data", "model", "usage"],
        ),
        route(
            "/v1/responses",
            "The next turn of a conversation, kept for a while; with \"stream\": true as server-sent events",
            RESPONSE_FIELDS,
            json!({"model": "mistral", "input": "Say hello"}),
            RESPONSE,
        ),
        read(
            "/v1/responses/{response}",
            "A response that is kept; with ?stream=true its events, after ?starting_after=N",
            RESPONSE,
            &[400, 404, 503],
        ),
        kept(
            "delete",
            "/v1/responses/{response}",
            "Ends a response, or forgets it",
            &["id", "object", "deleted"],
            &[404, 503],
        ),
        kept(
            "post",
            "/v1/responses/{response}/cancel",
            "Ends a response that is made in the background; what there is of it stays",
            RESPONSE,
            &[400, 404, 503],
        ),
        read(
            "/v1/responses/{response}/input_items",
            "What was asked, the conversation before it included; by ?order, ?limit and ?after",
            &["object", "data", "first_id", "last_id", "has_more"],
            &[400, 404, 503],
        ),
        read("/v1/models", "The models of all nodes, each once", &["object", "data"], &[503]),
        read("/v1/models/{id}", "One model", &["id", "object", "created", "owned_by"], &[404, 503]),
    ]
}
