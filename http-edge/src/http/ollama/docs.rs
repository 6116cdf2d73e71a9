//! The routes of Ollama's dialect.

use serde_json::json;

use crate::http::route::{PLAIN, RUNS_A_TASK, Route};

/// All of them, in the order in which they are read.
pub fn routes() -> Vec<Route> {
    [answers(), models()].into_iter().flatten().collect()
}

fn answers() -> Vec<Route> {
    let route = |path, summary, takes, example, media, gives| Route {
        method: "post",
        path,
        tag: "Ollama",
        summary,
        takes,
        example,
        media,
        gives,
        fails: RUNS_A_TASK,
        ..PLAIN
    };
    let lines = "application/x-ndjson";
    let messages = json!([{"role": "user", "content": "Say hello"}]);
    vec![
        route(
            "/api/generate",
            "Completes a prompt",
            &[
                ("model!", "string"),
                ("prompt", "string"),
                ("suffix", "string"),
                ("system", "string"),
                ("template", "string"),
                ("context", "array"),
                ("stream", "boolean"),
                ("raw", "boolean"),
                ("format", "string|object"),
                ("keep_alive", "string|number"),
                ("images", "array"),
                ("options", "object"),
                ("think", "boolean|string"),
                ("logprobs", "boolean"),
                ("top_logprobs", "integer"),
            ],
            json!({"model": "mistral", "prompt": "Say hello"}),
            lines,
            &["model", "created_at", "response", "done"],
        ),
        route(
            "/api/chat",
            "The next message of a conversation",
            &[
                ("model!", "string"),
                ("messages", "array"),
                ("tools", "array"),
                ("stream", "boolean"),
                ("format", "string|object"),
                ("keep_alive", "string|number"),
                ("options", "object"),
                ("think", "boolean|string"),
                ("logprobs", "boolean"),
                ("top_logprobs", "integer"),
            ],
            json!({"model": "mistral", "messages": messages}),
            lines,
            &["model", "created_at", "message", "done"],
        ),
        route(
            "/api/embed",
            "Vectors for texts",
            &[
                ("model!", "string"),
                ("input!", "string|array"),
                ("dimensions", "integer"),
                ("truncate", "boolean"),
                ("keep_alive", "string|number"),
                ("options", "object"),
            ],
            json!({"model": "nomic-embed-text", "input": ["Why is the sky blue?"]}),
            "application/json",
            &["model", "embeddings"],
        ),
        route(
            "/api/embeddings",
            "The vector of one text, in Ollama's older form",
            &[
                ("model!", "string"),
                ("prompt", "string"),
                ("keep_alive", "string|number"),
                ("options", "object"),
            ],
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

fn models() -> Vec<Route> {
    let read = |path, summary, gives| Route { path, tag: "Ollama", summary, gives, fails: &[503], ..PLAIN };
    let manage = |method, path, summary, takes, example| Route {
        method,
        path,
        tag: "Ollama",
        summary,
        takes,
        example,
        fails: &[400, 403, 404, 408, 413, 415, 502, 503, 504],
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
        Route {
            path: "/",
            tag: "Ollama",
            summary: "A sign of life; for a browser (Accept: text/html) the page of the mesh",
            media: "text/plain",
            ..PLAIN
        },
        Route {
            fails: &[],
            ..read("/api/version", "The version of Ollama whose API is spoken here", &["version"])
        },
        read("/api/tags", "The models of all nodes, each once", &["models"]),
        read("/api/ps", "The models in memory, and on which node", &["models"]),
        Route {
            media: "application/x-ndjson",
            gives: &["status"],
            ..manage(
                "post",
                "/api/pull",
                "Fetches a model onto the nodes in `nodes`, or onto the one with the most room",
                fields,
                json!({"model": "all-minilm"}),
            )
        },
        Route {
            media: "",
            ..manage(
                "delete",
                "/api/delete",
                "Deletes a model from the nodes in `nodes`, or from all that have it",
                &fields[..2],
                json!({"model": "all-minilm"}),
            )
        },
        never("/api/create"),
        never("/api/copy"),
        never("/api/push"),
        never("/api/blobs/{digest}"),
    ]
}
