//! Any JSON at all, with the words of both dialects among its names: for the tests of the translations.

use std::borrow::Cow;

use bytes::Bytes;
use echo_bus::message::{Chat, Flat, Message, OLLAMA, Settings, ToolCall};
use proptest::prelude::*;
use serde_json::{Map, Value};

use super::steps::{self, Translate};

/// Any JSON.
pub fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,8}".prop_map(Value::from),
    ];
    let name = prop_oneof![
        "(message|role|content|thinking|tool_calls|function|name|arguments|index|id|response|error)",
        "(done|done_reason|logprobs|eval_count|total_duration|embedding|embeddings|status|context|data)",
        "(choices|delta|finish_reason|usage|completion_tokens|timings|text|reasoning_content|predicted_ms)",
        "[a-z_]{1,6}",
    ];
    leaf.prop_recursive(5, 32, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(name.clone(), inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// Any object.
pub fn object() -> impl Strategy<Value = Map<String, Value>> {
    json().prop_map(|value| match value {
        Value::Object(map) => map,
        other => [("message".to_owned(), other)].into_iter().collect(),
    })
}

/// A call of a tool, with any arguments and any further fields.
pub fn call() -> impl Strategy<Value = ToolCall> {
    ("[a-z0-9]{0,4}", 0..9_u32, "\\PC{0,6}", json(), object())
        .prop_map(|(id, index, name, arguments, extra)| ToolCall { id, index, name, arguments, extra })
}

fn message() -> impl Strategy<Value = Message> {
    let texts = ("(system|user|assistant|tool|)", "\\PC{0,12}", "\\PC{0,4}", "[a-z]{0,4}", "[a-z]{0,4}");
    let lists =
        (prop::collection::vec("[A-Za-z/]{0,6}", 0..3), prop::collection::vec(call(), 0..3), object());
    (texts, lists).prop_map(
        |((role, content, thinking, tool_name, tool_call_id), (images, tool_calls, extra))| {
            let flat = Flat {
                role: role.into(),
                content: content.into(),
                thinking: thinking.into(),
                images: images.into_iter().map(Cow::from).collect(),
                tool_calls: tool_calls.into_iter().map(Cow::Owned).collect(),
                tool_name: tool_name.into(),
                tool_call_id: tool_call_id.into(),
                foreign: Cow::Owned([(OLLAMA.to_owned(), extra)].into_iter().collect()),
            };
            flat.into()
        },
    )
}

/// A conversation as the bus may bring it.
pub fn chat() -> impl Strategy<Value = Chat> {
    let numbers = (any::<Option<i64>>(), any::<Option<f64>>(), any::<Option<u32>>(), any::<Option<bool>>());
    let words = (json(), json(), object(), object());
    let settings =
        (numbers, words).prop_map(|((whole, number, count, flag), (format, think, extra, openai))| {
            Settings {
                max_tokens: whole,
                seed: whole,
                temperature: number.filter(|number| number.is_finite()),
                top_logprobs: count,
                logprobs: flag,
                format: Some(format),
                think: Some(think),
                extra,
                openai,
                ..Settings::default()
            }
        });
    let lists = (prop::collection::vec(message(), 0..4), prop::collection::vec(json(), 0..3));
    (lists, settings).prop_map(|((messages, tools), settings)| Chat {
        messages,
        tools,
        settings,
        ..Chat::default()
    })
}

/// Whether a stream is an answer. However it is cut into packets, it means the same, and it means no more than it holds.
pub fn is_the_same_in_any_packets<T: Translate + 'static>(
    bytes: &[u8],
    random: &mut echo_fuzz::Random,
    translate: impl Fn() -> T,
) -> bool {
    let whole = steps::of_packets(vec![Bytes::copy_from_slice(bytes)], translate());
    let mut packets = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let most = random.one_of(&[&1, &7, &4_096]);
        let (packet, behind) = rest.split_at(rest.len().min(1 + random.below(*most)));
        packets.push(Bytes::copy_from_slice(packet));
        rest = behind;
    }
    let cut = steps::of_packets(packets, translate());
    assert_eq!(cut, whole);
    assert!(whole.0.len() <= 2 * bytes.len() + 2, "{} steps of {} bytes", whole.0.len(), bytes.len());
    whole.1.is_none()
}
