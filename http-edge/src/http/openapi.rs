//! `GET /openapi.json`: every route of the edge, described so that a test can call each as it stands here.

use std::sync::OnceLock;

use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use super::error::ApiError;
use super::route::Route;
use super::{caller, dialects};

/// `GET /openapi.json`.
pub async fn openapi() -> Response {
    static TEXT: OnceLock<String> = OnceLock::new();
    let text = TEXT.get_or_init(|| document().to_string());
    ([("content-type", "application/json")], text.as_str()).into_response()
}

/// The whole document.
pub fn document() -> Value {
    let mut paths = Map::new();
    for route in dialects::documented() {
        let (path, method, operation) = route.described();
        paths.entry(path).or_insert_with(|| json!({}))[method] = operation;
    }
    let tags: Vec<Value> = dialects::all()
        .filter(|dialect| !dialect.about.is_empty())
        .map(|dialect| json!({"name": dialect.name, "description": dialect.about}))
        .collect();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Echo-System",
            "version": env!("CARGO_PKG_VERSION"),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            "description": "One HTTP API for a mesh of language models: its own routes, Ollama's API, OpenAI's and Anthropic's. \
                Every answer of a task says where it was made, in the headers x-echo-task-id, x-echo-node, \
                x-echo-model, x-echo-attempts and x-echo-queue-ms, and in x-echo-why why it was made there. A header x-request-id is given back.",
        },
        // An edge may want no key at all.
        "security": [{"bearer": []}, {"header": []}, {}],
        "components": {"securitySchemes": {
            "bearer": {"type": "http", "scheme": "bearer", "description": "A key of `echo-mesh keys add`, where the edge wants one"},
            "header": {"type": "apiKey", "in": "header", "name": "x-api-key", "description": "The same in Anthropic's header"},
        }},
        "tags": tags,
        "paths": paths,
    })
}

impl Route {
    fn described(self) -> (String, &'static str, Value) {
        let mut responses = Map::new();
        responses.insert(self.status.to_string(), self.answer());
        for status in self.fails {
            responses.insert(status.to_string(), self.refusal(*status));
        }
        let is_open = caller::is_open(&self.method.to_uppercase(), self.path);
        if !is_open {
            responses.insert("401".to_owned(), self.refusal(401));
        }
        let mut operation = json!({"tags": [self.tag], "summary": self.summary, "responses": responses});
        if is_open {
            operation["security"] = json!([]);
        }
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
        let properties: Map<String, Value> =
            self.gives.iter().map(|name| ((*name).to_owned(), json!({}))).collect();
        let schema = match self.media {
            "text/plain" | "text/html" => json!({"type": "string"}),
            _ => json!({"type": "object", "required": self.gives, "properties": properties}),
        };
        let description = match self.media {
            "text/event-stream" => "Server-sent events, each with an object of this kind",
            "application/x-ndjson" => {
                "One object of this kind a line; with \"stream\": false one in all, as application/json"
            }
            _ => "The answer",
        };
        if self.media.is_empty() {
            return json!({"description": "Done"});
        }
        json!({"description": description, "content": {self.media: {"schema": schema}}})
    }

    fn refusal(&self, status: u16) -> Value {
        let error = ApiError::bad_request("…");
        let dialect = dialects::all().find(|dialect| dialect.name == self.tag);
        let example = dialect.map(|dialect| (dialect.refusal)(&error));
        json!({"description": meaning(status), "content": {"application/json": {"example": example}}})
    }

    fn parameter(&self) -> Option<(&'static str, &'static str)> {
        let (_, rest) = self.path.split_once('{')?;
        let name = rest.split('}').next()?;
        let example = match name {
            "id" => "mistral:latest",
            "node" => "node-a",
            "shown" => "0011223344556677",
            "response" => "resp_00000000-0000-8000-8000-0000000000000000000000000000",
            "task" => "00000000-0000-8000-8000-000000000000",
            _ => "sha256:0",
        };
        Some((name, example))
    }
}

fn meaning(status: u16) -> &'static str {
    match status {
        400 => "Malformed, or something that no node can do; the error names it",
        401 => "This edge wants an API key, and this is none, or none any more",
        403 => "The operators of the nodes do not allow it",
        404 => "Not there",
        408 => "The body did not go on",
        409 => "The task_id is in use",
        410 => "It was kept, and is not any more",
        413 => "The body is too large",
        415 => {
            "The content type cannot be JSON, or the body is encoded as something else than gzip, deflate or zstd"
        }
        429 => "The queue is full; Retry-After says when to ask again, once that is measured",
        501 => "Not possible on a mesh; the error says what to do instead",
        502 => "Every attempt has failed",
        503 => {
            "Nobody can serve it now: no orchestrator, no node, too many connections, or (on /task) no such model"
        }
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
