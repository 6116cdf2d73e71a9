//! `GET /openapi.json`: every route of the edge, described so that a test can call each as it stands here.

use std::sync::OnceLock;

use axum::Router;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::{Map, Value, json};

use super::{Api, docs};

/// The two routes of the documentation.
pub fn routes() -> Router<Api> {
    Router::new().route("/openapi.json", get(openapi)).route("/docs", get(docs::page))
}

async fn openapi() -> Response {
    static TEXT: OnceLock<String> = OnceLock::new();
    let text = TEXT.get_or_init(|| document().to_string());
    ([("content-type", "application/json")], text.as_str()).into_response()
}

/// The whole document.
pub fn document() -> Value {
    let mut paths = Map::new();
    for route in all() {
        let (path, method, operation) = route.described();
        paths.entry(path).or_insert_with(|| json!({}))[method] = operation;
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Echo-System",
            "version": env!("CARGO_PKG_VERSION"),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            "description": "One HTTP API for a mesh of language models: its own routes, Ollama's API and OpenAI's. \
                Every answer of a task says where it was made, in the headers x-echo-task-id, x-echo-node, \
                x-echo-model, x-echo-attempts and x-echo-queue-ms. A header x-request-id is given back.",
        },
        "tags": [
            {"name": "Echo", "description": "The mesh's own routes"},
            {"name": "Ollama", "description": "Set OLLAMA_HOST to this address"},
            {"name": "OpenAI", "description": "Set the base URL to this address and /v1; any key will do"},
        ],
        "paths": paths,
    })
}

/// One route, in the words of this file.
struct Route {
    method: &'static str,
    path: &'static str,
    tag: &'static str,
    summary: &'static str,
    /// The fields of the request, by type; a name that ends in `!` is required.
    takes: &'static [(&'static str, &'static str)],
    example: Value,
    status: u16,
    media: &'static str,
    /// Fields that an answer always has.
    gives: &'static [&'static str],
    fails: &'static [u16],
}

impl Route {
    fn described(self) -> (String, &'static str, Value) {
        let mut responses = Map::new();
        responses.insert(self.status.to_string(), self.answer());
        for status in self.fails {
            responses.insert(status.to_string(), self.refusal(*status));
        }
        let mut operation = json!({"tags": [self.tag], "summary": self.summary, "responses": responses});
        if !self.takes.is_empty() {
            let content = json!({"schema": schema(self.takes), "example": self.example});
            operation["requestBody"] = json!({"required": true, "content": {"application/json": content}});
        }
        if let Some((name, example)) = self.parameter() {
            operation["parameters"] = json!([{"name": name, "in": "path", "required": true,
                "schema": {"type": "string"}, "example": example}]);
        }
        (self.path.to_owned(), self.method, operation)
    }

    fn answer(&self) -> Value {
        let properties: Map<String, Value> = self.gives.iter().map(|name| ((*name).to_owned(), json!({}))).collect();
        let schema = match self.media {
            "text/plain" | "text/html" => json!({"type": "string"}),
            _ => json!({"type": "object", "required": self.gives, "properties": properties}),
        };
        let description = match self.media {
            "text/event-stream" => "Server-sent events, each with an object of this kind",
            "application/x-ndjson" => "One object of this kind a line; with \"stream\": false one in all, as application/json",
            _ => "The answer",
        };
        if self.media.is_empty() {
            return json!({"description": "Done"});
        }
        json!({"description": description, "content": {self.media: {"schema": schema}}})
    }

    fn refusal(&self, status: u16) -> Value {
        let example = match self.tag {
            "Ollama" => json!({"error": "model 'x' not found"}),
            "OpenAI" => json!({"error": {"message": "…", "type": "invalid_request_error", "param": null, "code": null}}),
            _ => json!({"success": false, "error": "…", "code": "bad_request"}),
        };
        json!({"description": meaning(status), "content": {"application/json": {"example": example}}})
    }

    fn parameter(&self) -> Option<(&'static str, &'static str)> {
        let (_, rest) = self.path.split_once('{')?;
        let name = rest.split('}').next()?;
        Some((name, if name == "id" { "mistral:latest" } else { "sha256:0" }))
    }
}

fn meaning(status: u16) -> &'static str {
    match status {
        400 => "Malformed, or something that no node can do; the error names it",
        403 => "The operators of the nodes do not allow it",
        404 => "Not there",
        409 => "The task_id is in use",
        413 => "The body is too large",
        415 => "The content type is not JSON",
        429 => "The queue is full; Retry-After says when to ask again, once that is measured",
        501 => "Not possible on a mesh; the error says what to do instead",
        502 => "Every attempt has failed",
        503 => "Nobody can serve it now: no orchestrator, no node, or (on /task) no such model",
        504 => "The task was not finished in time",
        _ => "Refused",
    }
}

fn schema(takes: &[(&str, &str)]) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for (name, kind) in takes {
        if let Some(name) = name.strip_suffix('!') {
            required.push(name);
        }
        let types: Vec<&str> = kind.split('|').collect();
        let kind = if types.len() == 1 { json!(types[0]) } else { json!(types) };
        properties.insert(name.trim_end_matches('!').to_owned(), json!({ "type": kind }));
    }
    json!({"type": "object", "required": required, "properties": properties})
}

const TASK: &[u16] = &[400, 409, 413, 415, 429, 502, 503, 504];
const DIALECT: &[u16] = &[400, 404, 413, 415, 429, 502, 503, 504];
const TASK_FIELDS: &[(&str, &str)] = &[
    ("prompt!", "string"),
    ("model_hint", "string"),
    ("task_id", "string"),
    ("options", "object"),
    ("system", "string"),
    ("format", "string|object"),
    ("think", "boolean|string"),
    ("images", "array"),
];

fn all() -> Vec<Route> {
    [own(), ollama(), ollama_models(), openai()].into_iter().flatten().collect()
}

const PLAIN: Route = Route {
    method: "get",
    path: "",
    tag: "Echo",
    summary: "",
    takes: &[],
    example: Value::Null,
    status: 200,
    media: "application/json",
    gives: &[],
    fails: &[],
};

fn own() -> Vec<Route> {
    let example = || json!({"prompt": "Say hello", "model_hint": "mistral"});
    let task = Route { method: "post", takes: TASK_FIELDS, fails: TASK, ..PLAIN };
    vec![
        Route {
            path: "/task",
            summary: "One prompt, one whole answer",
            example: example(),
            gives: &["task_id", "content", "routed_to", "latency_ms", "success", "model_used", "attempts"],
            ..task
        },
        Route {
            method: "post",
            path: "/task/stream",
            summary: "One prompt, its answer as it is made",
            takes: TASK_FIELDS,
            example: example(),
            media: "text/event-stream",
            gives: &["task_id", "token", "done"],
            fails: TASK,
            ..PLAIN
        },
        Route {
            path: "/status",
            summary: "The nodes, and what they have and do",
            gives: &["nodes", "node_count", "server_time"],
            fails: &[503],
            ..PLAIN
        },
        Route { path: "/health", summary: "Whether this edge lives", media: "text/plain", ..PLAIN },
        Route { path: "/metrics", summary: "Measurements, for Prometheus", media: "text/plain", ..PLAIN },
        Route { path: "/openapi.json", summary: "This description", gives: &["openapi", "paths"], ..PLAIN },
        Route { path: "/docs", summary: "This description, to be read", media: "text/html", ..PLAIN },
    ]
}

fn ollama() -> Vec<Route> {
    let route = |path, summary, takes, example, media, gives| Route {
        method: "post",
        path,
        tag: "Ollama",
        summary,
        takes,
        example,
        media,
        gives,
        fails: DIALECT,
        ..PLAIN
    };
    let lines = "application/x-ndjson";
    let messages = json!([{"role": "user", "content": "Say hello"}]);
    vec![
        route(
            "/api/generate",
            "Completes a prompt",
            &[("model!", "string"), ("prompt", "string"), ("suffix", "string"), ("system", "string"),
                ("template", "string"), ("context", "array"), ("stream", "boolean"), ("raw", "boolean"),
                ("format", "string|object"), ("keep_alive", "string|number"), ("images", "array"),
                ("options", "object"), ("think", "boolean|string"), ("logprobs", "boolean"),
                ("top_logprobs", "integer")],
            json!({"model": "mistral", "prompt": "Say hello"}),
            lines,
            &["model", "created_at", "response", "done"],
        ),
        route(
            "/api/chat",
            "The next message of a conversation",
            &[("model!", "string"), ("messages", "array"), ("tools", "array"), ("stream", "boolean"),
                ("format", "string|object"), ("keep_alive", "string|number"), ("options", "object"),
                ("think", "boolean|string"), ("logprobs", "boolean"), ("top_logprobs", "integer")],
            json!({"model": "mistral", "messages": messages}),
            lines,
            &["model", "created_at", "message", "done"],
        ),
        route(
            "/api/embed",
            "Vectors for texts",
            &[("model!", "string"), ("input!", "string|array"), ("dimensions", "integer"), ("truncate", "boolean"),
                ("keep_alive", "string|number"), ("options", "object")],
            json!({"model": "nomic-embed-text", "input": ["Why is the sky blue?"]}),
            "application/json",
            &["model", "embeddings"],
        ),
        route(
            "/api/embeddings",
            "The vector of one text, in Ollama's older form",
            &[("model!", "string"), ("prompt", "string"), ("keep_alive", "string|number"), ("options", "object")],
            json!({"model": "nomic-embed-text", "prompt": "Why is the sky blue?"}),
            "application/json",
            &["embedding"],
        ),
        route(
            "/api/show",
            "What a node knows of a model",
            &[("model!", "string"), ("verbose", "boolean")],
            json!({"model": "mistral"}),
            "application/json",
            &["details", "capabilities"],
        ),
    ]
}

fn ollama_models() -> Vec<Route> {
    let read = |path, summary, gives| Route { path, tag: "Ollama", summary, gives, fails: &[503], ..PLAIN };
    let manage = |method, path, summary, takes, example| Route {
        method,
        path,
        tag: "Ollama",
        summary,
        takes,
        example,
        fails: &[400, 403, 404, 413, 415, 502, 503, 504],
        ..PLAIN
    };
    let never = |path| Route {
        method: "post",
        path,
        tag: "Ollama",
        summary: "Not possible on a mesh",
        status: 501,
        gives: &["error"],
        ..PLAIN
    };
    let fields: &[(&str, &str)] =
        &[("model!", "string"), ("nodes", "array"), ("stream", "boolean"), ("insecure", "boolean")];
    vec![
        Route { path: "/", tag: "Ollama", summary: "A sign of life", media: "text/plain", ..PLAIN },
        Route { fails: &[], ..read("/api/version", "The oldest Ollama of the mesh", &["version"]) },
        read("/api/tags", "The models of all nodes, each once", &["models"]),
        read("/api/ps", "The models in memory, and on which node", &["models"]),
        Route {
            media: "application/x-ndjson",
            gives: &["status"],
            ..manage("post", "/api/pull", "Fetches a model onto the nodes in `nodes`, or onto the one with the most room",
                fields, json!({"model": "all-minilm"}))
        },
        Route {
            media: "",
            ..manage("delete", "/api/delete", "Deletes a model from the nodes in `nodes`, or from all that have it",
                &fields[..2], json!({"model": "all-minilm"}))
        },
        never("/api/create"),
        never("/api/copy"),
        never("/api/push"),
        never("/api/blobs/{digest}"),
    ]
}

const OPENAI_FIELDS: &[(&str, &str)] = &[
    ("model", "string"), ("messages!", "array"), ("stream", "boolean"), ("stream_options", "object"),
    ("tools", "array"), ("tool_choice", "string|object"), ("response_format", "object"), ("n", "integer"),
    ("stop", "string|array"), ("seed", "integer"), ("temperature", "number"), ("top_p", "number"),
    ("max_tokens", "integer"), ("max_completion_tokens", "integer"), ("presence_penalty", "number"),
    ("frequency_penalty", "number"), ("logprobs", "boolean"), ("top_logprobs", "integer"),
    ("reasoning_effort", "string"),
];

fn openai() -> Vec<Route> {
    let route = |path, summary, takes, example, gives| Route {
        method: "post",
        path,
        tag: "OpenAI",
        summary,
        takes,
        example,
        gives,
        fails: DIALECT,
        ..PLAIN
    };
    let answer: &[&str] = &["id", "object", "created", "model", "choices", "usage"];
    let messages = json!([{"role": "user", "content": "Say hello"}]);
    let read = |path, summary, gives, fails| Route { path, tag: "OpenAI", summary, gives, fails, ..PLAIN };
    vec![
        route(
            "/v1/chat/completions",
            "The next message of a conversation; with \"stream\": true as server-sent events",
            OPENAI_FIELDS,
            json!({"model": "mistral", "messages": messages}),
            answer,
        ),
        route(
            "/v1/completions",
            "Goes on with a text, without a template; with \"stream\": true as server-sent events",
            &[("model", "string"), ("prompt!", "string|array"), ("suffix", "string"), ("stream", "boolean"),
                ("max_tokens", "integer"), ("temperature", "number"), ("stop", "string|array"), ("seed", "integer"),
                ("logprobs", "integer")],
            json!({"model": "mistral", "prompt": "Once upon a time"}),
            answer,
        ),
        route(
            "/v1/embeddings",
            "Vectors for texts, as numbers or as base64",
            &[("model!", "string"), ("input!", "string|array"), ("encoding_format", "string"), ("dimensions", "integer")],
            json!({"model": "nomic-embed-text", "input": "Why is the sky blue?"}),
            &["object", "data", "model", "usage"],
        ),
        read("/v1/models", "The models of all nodes, each once", &["object", "data"], &[503]),
        read("/v1/models/{id}", "One model", &["id", "object", "created", "owned_by"], &[404, 503]),
    ]
}
