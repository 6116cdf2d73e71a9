//! What the tests of all dialects have in common: a report, and any JSON and any piece that may come.

use echo_bus::message::{Done, Piece, ToolCall};
use proptest::prelude::*;
use serde_json::{Map, Value};

use super::body;
use super::error::ApiError;
use super::fields::Fields;
use crate::report::Report;

/// How a task went that has said this.
pub fn report(content: &str) -> Report {
    Report {
        ending: Ok(Done::default()),
        content: content.to_owned(),
        thinking: String::new(),
        tool_calls: Vec::new(),
        logprobs: Vec::new(),
        extra: Map::new(),
        nodes: Vec::new(),
        model: "m:latest".into(),
        chosen: String::new(),
        why: None,
        why_text: None,
        attempts: 1,
        latency: std::time::Duration::ZERO,
        waited: std::time::Duration::ZERO,
        continued: Default::default(),
        others: Vec::new(),
        order: Vec::new(),
    }
}

/// Any JSON, with fields of the dialects among its names.
pub fn any_json() -> impl Strategy<Value = Value> {
    json_with(
        "\\PC{0,8}",
        [
            "(model|prompt|messages|role|content|tools|tool_calls|function|arguments|index|options|images|stream|format|input)",
            "(type|text|image_url|url|n|stop|logprobs|top_logprobs|response_format|json_schema|tool_choice|stream_options)",
        ],
    )
}

/// Any JSON, with these words among its texts and these names among its fields.
pub fn json_with(words: &'static str, names: [&'static str; 2]) -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,8}".prop_map(Value::from),
        words.prop_map(Value::from),
    ];
    let [some, others] = names;
    let name = prop_oneof![some, others, "[a-z_]{1,6}"];
    leaf.prop_recursive(5, 48, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map(name.clone(), inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// Any piece that the bus may bring.
pub fn any_piece() -> impl Strategy<Value = Piece> {
    let object = || any_json().prop_map(|value| value.as_object().cloned().unwrap_or_default());
    let call = ("[a-z]{0,3}", any::<u32>(), "\\PC{0,5}", any_json(), object());
    let call =
        call.prop_map(|(id, index, name, arguments, extra)| ToolCall { id, index, name, arguments, extra });
    let said = ("\\PC{0,6}", "\\PC{0,6}", prop::collection::vec(call, 0..3));
    (said, prop::option::of(any_json()), object(), any::<bool>()).prop_map(
        |((content, thinking, tool_calls), logprobs, extra, last)| Piece {
            content,
            thinking,
            tool_calls,
            logprobs: logprobs.map(Box::new),
            extra: Piece::extra(extra),
            last,
            ..Piece::default()
        },
    )
}

/// Spoilt bodies, read as a request's body is, and then by its route, which says how much it has understood, in bytes. That is no
/// more than the body holds, and neither is what a refusal says.
#[track_caller]
pub fn spoilt_bodies(name: &str, seeds: &[Value], read: impl Fn(Fields) -> Result<usize, ApiError>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let limits = body::Limits { bytes: 4 << 20, pause: std::time::Duration::from_secs(5) };
    let seeds: Vec<String> = seeds.iter().map(Value::to_string).collect();
    echo_fuzz::parser(name, &seeds, |bytes| {
        let whole = axum::body::Body::from(bytes.to_vec());
        let request = axum::extract::Request::post("/").body(whole).unwrap();
        match runtime.block_on(body::fields(request, limits)).and_then(&read) {
            // Marks are added, and words for an error; a control character takes six bytes.
            Ok(understood) => {
                assert!(understood <= 8 * bytes.len() + 1_024, "{understood} of {}", bytes.len());
                true
            }
            Err(error) => {
                let said = error.message().len();
                assert!(said <= 8 * bytes.len() + 1_024, "{said} of {}", bytes.len());
                false
            }
        }
    });
}
