//! Every route: what it takes, what it gives, how it fails, and an example that works.

use serde_json::{Value, json};

/// One route, in few words.
pub struct Route {
    pub method: &'static str,
    pub path: &'static str,
    pub tag: &'static str,
    pub summary: &'static str,
    /// The fields of the request, by type; a name that ends in `!` is required.
    pub takes: &'static [(&'static str, &'static str)],
    pub example: Value,
    pub status: u16,
    pub media: &'static str,
    /// Fields that an answer always has.
    pub gives: &'static [&'static str],
    pub fails: &'static [u16],
}

const TASK: &[u16] = &[400, 408, 409, 413, 415, 429, 502, 503, 504];
const DIALECT: &[u16] = &[400, 404, 408, 413, 415, 429, 502, 503, 504];
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

/// All routes, in the order in which they are read.
pub fn all() -> Vec<Route> {
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

fn ollama_models() -> Vec<Route> {
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
        Route { path: "/", tag: "Ollama", summary: "A sign of life", media: "text/plain", ..PLAIN },
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
        never("/api/me"),
        never("/api/signout"),
    ]
}

const OPENAI_FIELDS: &[(&str, &str)] = &[
    ("model", "string"),
    ("messages!", "array"),
    ("stream", "boolean"),
    ("stream_options", "object"),
    ("tools", "array"),
    ("tool_choice", "string|object"),
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
            &[
                ("model", "string"),
                ("prompt!", "string|array"),
                ("suffix", "string"),
                ("stream", "boolean"),
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
        read("/v1/models", "The models of all nodes, each once", &["object", "data"], &[503]),
        read("/v1/models/{id}", "One model", &["id", "object", "created", "owned_by"], &[404, 503]),
    ]
}
