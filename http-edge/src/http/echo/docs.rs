//! The routes of the mesh's own dialect.

use serde_json::json;

use crate::http::route::{PLAIN, Route};

const TASK: &[u16] = &[400, 408, 409, 413, 415, 429, 502, 503, 504];
const TASK_FIELDS: &[(&str, &str)] = &[
    ("prompt!", "string"),
    ("messages", "array"),
    ("model_hint", "string"),
    ("task_id", "string"),
    ("options", "object"),
    ("system", "string"),
    ("format", "string|object"),
    ("think", "boolean|string"),
    ("images", "array"),
    ("keep", "string|number"),
];

/// All of them, in the order in which they are read.
pub fn routes() -> Vec<Route> {
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
            path: "/task/{task}",
            summary: "The state of a task, and its answer so far or whole",
            gives: &["task_id", "state", "pieces", "content"],
            fails: &[404, 410, 503],
            ..PLAIN
        },
        Route {
            method: "delete",
            path: "/task/{task}",
            summary: "Ends a task down to its engine, and forgets its answer",
            gives: &["task_id", "success", "state"],
            fails: &[404, 410, 503],
            ..PLAIN
        },
        Route {
            path: "/task/{task}/stream",
            summary: "The answer of a task from the event after Last-Event-ID on, or after the query's `after`",
            media: "text/event-stream",
            gives: &["task_id", "token", "done"],
            fails: &[400, 404, 410, 503],
            ..PLAIN
        },
        Route {
            path: "/status",
            summary: "The nodes, and what they have and do",
            gives: &["nodes", "node_count", "server_time"],
            fails: &[503],
            ..PLAIN
        },
        Route {
            path: "/mesh/watch",
            summary: "The mesh as it is (the event `snapshot`), then each `change` of it as a merge patch (RFC 7396), until \
                you leave; `alive` is a sign of life. Neither prompts nor answers, and no ids of tasks",
            media: "text/event-stream",
            gives: &["at", "mesh", "nodes", "tasks"],
            ..PLAIN
        },
        Route {
            method: "delete",
            path: "/mesh/tasks/{shown}",
            summary: "Ends a task that goes on and is shown under this name in /mesh/watch, at the edge that shows it; an \
                answer that is kept stays",
            gives: &["success", "shown"],
            fails: &[404, 410, 503],
            ..PLAIN
        },
        Route {
            method: "post",
            path: "/nodes/{node}/drain",
            summary: "The node finishes what it has and takes nothing new",
            gives: &["success", "node_id", "draining"],
            fails: &[400, 404, 503],
            ..PLAIN
        },
        Route {
            method: "post",
            path: "/nodes/{node}/resume",
            summary: "The node takes work again",
            gives: &["success", "node_id", "draining"],
            fails: &[400, 404, 503],
            ..PLAIN
        },
        Route { path: "/health", summary: "Whether this edge lives", media: "text/plain", ..PLAIN },
        Route { path: "/metrics", summary: "Measurements, for Prometheus", media: "text/plain", ..PLAIN },
        Route { path: "/openapi.json", summary: "This description", gives: &["openapi", "paths"], ..PLAIN },
        Route { path: "/docs", summary: "This description, to be read", media: "text/html", ..PLAIN },
    ]
}
