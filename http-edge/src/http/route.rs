//! One documented route: what it takes, what it gives, how it fails, and an example that works.

use serde_json::Value;

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

/// How a route that runs a task fails.
pub const RUNS_A_TASK: &[u16] = &[400, 404, 408, 413, 415, 429, 502, 503, 504];

/// A route that takes and gives nothing.
pub const PLAIN: Route = Route {
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
