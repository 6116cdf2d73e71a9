//! Ollama's words there and back, without a mesh.

use echo_bus::message::{Done, Piece, Reason, Timings, ToolCall};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::ask::{self, Asked, Shape};
use super::refusal::shape;
use super::{ApiError, Fields, say};
use crate::http::any::{any_json, any_piece, report};
use crate::http::reply::Voice;
use crate::report::Report;

fn read(translate: fn(Fields) -> Result<Asked, ApiError>, body: Value) -> Asked {
    translate(Fields::new(body.as_object().cloned().unwrap())).unwrap()
}

fn refused(translate: fn(Fields) -> Result<Asked, ApiError>, body: Value) -> String {
    let error = translate(Fields::new(body.as_object().cloned().unwrap())).unwrap_err();
    shape(&error)["error"].as_str().unwrap().to_owned()
}

fn lines(out: &[u8]) -> Vec<Value> {
    let text = std::str::from_utf8(out).unwrap();
    let timeless = |line: &str| {
        let mut line: Map<String, Value> = serde_json::from_str(line).unwrap();
        line.remove("created_at");
        line.into()
    };
    text.lines().map(timeless).collect()
}

#[test]
fn every_field_of_generate_has_its_place_and_the_others_go_on() {
    let body = json!({"model": "m", "prompt": "p", "suffix": "s", "system": "y", "template": "t", "context": [1],
        "stream": false, "raw": true, "format": {"type": "object"}, "keep_alive": -1, "images": ["iVBORw=="],
        "options": {"num_ctx": 64, "seed": 3, "max_tokens": 9}, "think": "high", "truncate": true, "shift": false,
        "logprobs": true, "top_logprobs": 2, "new_one": {"a": [1]}});
    let asked = read(ask::generate, body);
    assert_eq!((asked.model.as_str(), asked.streams, asked.shape), ("m", false, Shape::Generate));
    assert_eq!(
        serde_json::to_value(asked.request).unwrap(),
        json!({"kind": "generate", "model": "m", "prompt": "p", "system": "y", "suffix": "s", "images": ["iVBORw=="],
            "raw": true, "settings": {"seed": 3, "format": {"type": "object"}, "think": "high", "logprobs": true,
                "top_logprobs": 2, "keep_alive": -1, "extra": {"template": "t", "context": [1], "truncate": true,
                    "shift": false, "options": {"num_ctx": 64, "max_tokens": 9}, "new_one": {"a": [1]}}}})
    );
}

#[test]
fn nothing_is_invented() {
    let asked = read(ask::generate, json!({"model": "m", "prompt": "p"}));
    assert!(asked.streams);
    let said = json!({"kind": "generate", "model": "m", "prompt": "p"});
    assert_eq!(serde_json::to_value(asked.request).unwrap(), said);
}

#[test]
fn every_field_of_a_message_has_its_place() {
    let message = json!({"role": "assistant", "content": "c", "thinking": "h", "images": ["iVBORw=="], "tool_name": "f",
        "tool_call_id": "i", "mood": 1,
        "tool_calls": [{"id": "i", "x": 1,
            "function": {"index": 2, "name": "f", "arguments": {"a": 1}, "y": null}}]});
    let asked =
        read(ask::chat, json!({"model": "m", "messages": [message], "tools": [{"type": "function"}]}));
    assert_eq!(
        serde_json::to_value(asked.request).unwrap()["messages"][0],
        json!({"role": "assistant", "foreign": {"ollama": {"mood": 1}}, "content": [
            {"type": "thinking", "text": "h"},
            {"type": "tool_result", "id": "i", "name": "f", "content": [
                {"type": "text", "text": "c"}, {"type": "image", "data": "iVBORw=="}]},
            {"type": "tool_call", "id": "i", "index": 2, "name": "f", "arguments": {"a": 1},
                "extra": {"x": 1, "function": {"y": null}}}]})
    );
}

#[test]
fn loading_a_model_is_no_stream() {
    assert!(!read(ask::generate, json!({"model": "m"})).streams);
    assert!(!read(ask::chat, json!({"model": "m", "stream": true, "keep_alive": 0})).streams);
    assert!(read(ask::chat, json!({"model": "m", "messages": [{"role": "user"}]})).streams);
}

#[test]
fn what_is_wrong_is_named() {
    assert_eq!(refused(ask::generate, json!({"prompt": "p"})), "model '' not found");
    assert_eq!(refused(ask::chat, json!({})), "model is required");
    assert_eq!(refused(ask::chat, json!({"model": "m", "messages": {}})), "messages: expected a list");
    let call = json!({"model": "m", "messages": [{"tool_calls": [{"function": 3}]}]});
    assert_eq!(refused(ask::chat, call), "messages[0].tool_calls[0].function: expected an object");
    assert_eq!(refused(ask::embed, json!({"model": "m", "input": [1]})), "input: expected a list of texts");
    let options = json!({"model": "m", "options": {"top_k": "x"}});
    assert_eq!(refused(ask::generate, options), "options.top_k: expected a whole number");
    assert!(refused(ask::show, json!({"model": "a\nb"})).contains("control characters"));
}

#[test]
fn a_chat_is_told_line_by_line_and_the_last_piece_travels_with_the_end() {
    let mut voice = say::Lines::new("m".into(), Shape::Chat);
    let call = ToolCall {
        id: "c".into(),
        index: 1,
        name: "f".into(),
        arguments: json!({"a": 1}),
        ..ToolCall::default()
    };
    let extra = json!({"mood": 1, "message": {"tone": 2}}).as_object().cloned().map(Box::new);
    let pieces = vec![
        Piece { thinking: "h".into(), ..Piece::default() },
        Piece { tool_calls: vec![call], extra, ..Piece::default() },
        Piece { last: true, ..Piece::text("end") },
    ];
    let mut out = Vec::new();
    voice.pieces(pieces, &mut out);
    let timings = Timings { total_ns: 9, ..Timings::default() };
    let done = Done { reason: Reason::ToolCalls, tokens: Some(3), timings, ..Done::default() };
    voice.answered(&report(""), &done, &mut out);
    assert_eq!(
        lines(&out),
        [
            json!({"model": "m", "message": {"role": "assistant", "content": "", "thinking": "h"}, "done": false}),
            json!({"model": "m", "mood": 1, "done": false, "message": {"role": "assistant", "content": "", "tone": 2,
                "tool_calls": [{"id": "c", "function": {"index": 1, "name": "f", "arguments": {"a": 1}}}]}}),
            json!({"model": "m", "message": {"role": "assistant", "content": "end"}, "done": true,
                "done_reason": "stop", "eval_count": 3, "total_duration": 9}),
        ]
    );
}

#[test]
fn an_error_in_mid_stream_is_the_last_line_and_loses_no_piece() {
    let mut voice = say::Lines::new("m".into(), Shape::Generate);
    let mut out = Vec::new();
    voice.pieces(vec![Piece { last: true, ..Piece::text("a") }], &mut out);
    voice.broken(ApiError::unavailable("lost"), None, &mut out);
    assert_eq!(
        lines(&out),
        [json!({"model": "m", "response": "a", "done": false}), json!({"error": "lost"})]
    );
}

proptest! {
    #[test]
    fn no_piece_makes_an_answer_panic_and_every_line_is_json(
        pieces in prop::collection::vec(any_piece(), 0..6), extra in any_json(), as_chat in any::<bool>(),
    ) {
        let shape = if as_chat { Shape::Chat } else { Shape::Generate };
        let mut voice = say::Lines::new("m".into(), shape);
        let (count, mut out) = (pieces.len().max(1), Vec::new());
        let gathered = Report { tool_calls: pieces.iter().flat_map(|it| it.tool_calls.clone()).collect(),
            logprobs: pieces.iter().filter_map(|it| it.logprobs.as_deref().cloned()).collect(),
            extra: extra.as_object().cloned().unwrap_or_default(), ..report("text") };
        voice.pieces(pieces, &mut out);
        let done = Done { extra: gathered.extra.clone(), body: Some(extra), ..Done::default() };
        for shape in [shape, Shape::Embed, Shape::Embedding, Shape::Plain] {
            say::Lines::new("m".into(), shape).whole(&gathered, &done);
        }
        voice.answered(&gathered, &done, &mut out);
        let told = lines(&out);
        prop_assert!(told.len() == count || told.len() == count + 1, "{} lines of {count}", told.len());
    }

    #[test]
    fn no_json_makes_a_translation_panic(value in any_json(), named in any::<bool>()) {
        let mut map = value.as_object().cloned().unwrap_or_default();
        if named {
            map.insert("model".into(), "m".into());
        }
        for translate in [ask::generate, ask::chat, ask::embed, ask::embeddings, ask::show] {
            let _ = translate(Fields::new(map.clone()));
        }
    }

    #[test]
    fn a_request_keeps_what_it_carries(
        prompt in "\\PC{1,20}", seed in any::<i64>(), temperature in 0.0_f64..2.0,
        stop in prop::collection::vec("\\PC{1,5}", 0..3), unknown in any_json(), stream in any::<bool>(),
    ) {
        let body = json!({"model": "m", "prompt": prompt, "stream": stream, "unknown_one": unknown,
            "options": {"seed": seed, "temperature": temperature, "stop": stop, "num_ctx": 8}});
        let asked = read(ask::generate, body);
        prop_assert_eq!(asked.streams, stream);
        let echo_bus::message::Request::Generate(it) = asked.request else { panic!("another request") };
        prop_assert_eq!((it.prompt, it.settings.seed, it.settings.stop), (prompt, Some(seed), stop));
        prop_assert_eq!(it.settings.temperature, Some(temperature));
        prop_assert_eq!(&it.settings.extra["unknown_one"], &unknown);
        prop_assert_eq!(&it.settings.extra["options"], &json!({"num_ctx": 8}));
    }

    #[test]
    fn an_answer_keeps_its_pieces(texts in prop::collection::vec("\\PC{0,6}", 0..20), last in any::<bool>()) {
        let mut voice = say::Lines::new("m".into(), Shape::Generate);
        let mut out = Vec::new();
        let end = texts.len().saturating_sub(1);
        for (place, text) in texts.iter().enumerate() {
            voice.pieces(vec![Piece { last: last && place == end, ..Piece::text(text) }], &mut out);
        }
        voice.answered(&report(""), &Done::default(), &mut out);
        let said: String = lines(&out).iter().map(|line| line["response"].as_str().unwrap().to_owned()).collect();
        prop_assert_eq!(said, texts.concat());
    }
}

#[test]
fn spoilt_bodies() {
    let image = crate::http::image::tests::PNG;
    let options =
        json!({"num_ctx": 8, "temperature": 0.5, "stop": ["x"], "seed": -1, "num_predict": 9, "top_k": 4});
    let chat = json!({"model": "m", "stream": false, "think": "low", "format": {"type": "object"}, "keep_alive": "5m", "options": options,
        "messages": [{"role": "user", "content": "see", "images": [image]},
            {"role": "assistant", "content": "", "thinking": "hm", "tool_calls": [{"id": "c", "function": {"index": 1, "name": "f", "arguments": {"a": [1, -2.5e3, null]}}}]},
            {"role": "tool", "content": "1", "tool_name": "f", "tool_call_id": "c", "unknown": {}}],
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]});
    let generate = json!({"model": "m", "prompt": "p", "suffix": "s", "system": "y", "raw": true, "images": [image], "template": "t",
        "context": [1, 2], "logprobs": true, "top_logprobs": 2, "options": options});
    let embed = json!({"model": "m", "input": ["a", "b"], "truncate": false, "dimensions": 3, "prompt": "p"});
    let read = |ask: fn(Fields) -> Result<ask::Asked, ApiError>| {
        move |fields| ask(fields).map(|asked| echo_bus::message::size(&asked.request))
    };
    crate::http::any::spoilt_bodies("ollama: /api/chat", &[chat], read(ask::chat));
    crate::http::any::spoilt_bodies("ollama: /api/generate", &[generate], read(ask::generate));
    crate::http::any::spoilt_bodies("ollama: /api/embed", std::slice::from_ref(&embed), read(ask::embed));
    crate::http::any::spoilt_bodies("ollama: /api/embeddings", &[embed], read(ask::embeddings));
    crate::http::any::spoilt_bodies(
        "ollama: /api/show",
        &[json!({"model": "m", "verbose": true, "system": "s"})],
        read(ask::show),
    );
}
