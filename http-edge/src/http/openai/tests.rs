//! OpenAI's words there and back, without a mesh.

use std::time::Duration;

use echo_bus::id::TaskId;
use echo_bus::message::{Done, Piece, Reason, ToolCall};
use futures::StreamExt;
use proptest::prelude::*;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::ask::{self, Asked, Shape};
use super::refusal::shape;
use super::{ApiError, Fields, embed, say};
use crate::feed::Feed;
use crate::http::any::{any_json, any_piece, report};
use crate::http::reply::{self, Started, Voice};
use crate::report::{News, Report};

fn fields(body: Value) -> Fields {
    Fields::new(body.as_object().cloned().unwrap())
}

fn chat(body: Value) -> Value {
    serde_json::to_value(ask::chat(fields(body)).unwrap().request).unwrap()
}

fn refused<T: std::fmt::Debug>(asked: Result<T, ApiError>) -> (String, String) {
    let error = shape(&asked.unwrap_err());
    assert_eq!(error["error"]["type"], "invalid_request_error");
    let text = |name: &str| error["error"][name].as_str().unwrap_or_default().to_owned();
    (text("message"), text("param"))
}

fn hello() -> Value {
    json!([{"role": "user", "content": "hi"}])
}

fn tool(name: &str) -> Value {
    json!({"type": "function", "function": {"name": name, "parameters": {"type": "object"}}})
}

#[test]
fn every_field_of_a_chat_has_its_place_and_the_others_go_on() {
    let asked = ask::chat(fields(json!({"model": "m", "messages": hello(), "stream": true,
        "stream_options": {"include_usage": true}, "n": 1, "temperature": 0.5, "top_p": 0.25, "seed": 7, "stop": "x",
        "max_completion_tokens": 9, "max_tokens": 3, "presence_penalty": 1, "frequency_penalty": -1,
        "logprobs": true, "top_logprobs": 2, "reasoning_effort": "minimal", "logit_bias": {"1": 2},
        "response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}}},
        "tools": [tool("f")], "tool_choice": "required", "parallel_tool_calls": false})))
    .unwrap();
    assert!(asked.streams && asked.tells_usage && asked.model == "m");
    assert_eq!(
        serde_json::to_value(asked.request).unwrap(),
        json!({"kind": "chat", "model": "m", "messages": hello(), "tools": [tool("f")],
            "tool_choice": "required", "parallel_tool_calls": false,
            "settings": {"max_tokens": 9, "temperature": 0.5, "top_p": 0.25, "seed": 7, "stop": ["x"],
                "presence_penalty": 1.0, "frequency_penalty": -1.0, "format": {"type": "object"}, "think": "low", "think_if_able": true,
                "logprobs": true, "top_logprobs": 2,
                "openai": {"logit_bias": {"1": 2}}}})
    );
}

#[test]
fn nothing_is_invented() {
    let wanted = json!({"kind": "chat", "model": "m", "messages": hello()});
    assert_eq!(chat(json!({"model": "m", "messages": hello()})), wanted);
    let text = ask::text(fields(json!({"prompt": ["p"]}))).unwrap();
    let wanted = json!({"kind": "generate", "prompt": "p", "raw": true});
    assert_eq!(serde_json::to_value(text.request).unwrap(), wanted);
}

#[test]
fn messages_keep_their_parts_calls_and_pictures() {
    let messages = json!([
        {"role": "developer", "content": "be brief"},
        {"role": "user", "name": "ann", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw==", "detail": "low"}}]},
        {"role": "assistant", "content": null, "reasoning_content": "hm", "tool_calls": [
            {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{\"a\": 1}"}},
            {"id": "d", "type": "function", "function": {"name": "g", "arguments": {"b": 2}}}]},
        {"role": "tool", "tool_call_id": "c", "content": "12"},
    ]);
    assert_eq!(
        chat(json!({"messages": messages}))["messages"],
        json!([
            {"role": "system", "content": "be brief"},
            {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"},
                {"type": "image", "data": "iVBORw=="}], "foreign": {"openai": {"name": "ann"}}},
            {"role": "assistant", "content": [{"type": "thinking", "text": "hm"},
                {"type": "tool_call", "id": "c", "name": "f", "arguments": {"a": 1}},
                {"type": "tool_call", "id": "d", "index": 1, "name": "g", "arguments": {"b": 2}}]},
            {"role": "tool", "content": [
                {"type": "tool_result", "id": "c", "content": [{"type": "text", "text": "12"}]}]},
        ])
    );
}

#[test]
fn a_choice_of_tools_is_kept_as_far_as_every_node_can() {
    let with = |choice: Value| {
        chat(json!({"messages": hello(), "tools": [tool("f"), tool("g")], "tool_choice": choice}))
    };
    assert!(with(json!("none")).get("tools").is_none());
    assert_eq!(with(json!("auto"))["tools"].as_array().map(Vec::len), Some(2));
    let one = with(json!({"type": "function", "function": {"name": "g"}}));
    assert_eq!(one["tools"], json!([tool("g")]));
    assert_eq!(one["tool_choice"], json!({"only": "g"}));
}

#[test]
fn formats_have_three_forms() {
    let with = |format: Value| {
        chat(json!({"messages": hello(), "response_format": format}))["settings"]["format"].clone()
    };
    assert_eq!(with(json!({"type": "json_object"})), "json");
    assert_eq!(with(json!({"type": "text"})), Value::Null);
}

#[test]
fn what_is_wrong_is_named() {
    for (body, param) in [
        (json!({}), "messages"),
        (json!({"messages": hello(), "n": 0}), "n"),
        (json!({"messages": hello(), "n": 9}), "n"),
        (json!({"messages": hello(), "n": 2.5}), "n"),
        (json!({"messages": hello(), "n": 2, "best_of": 3}), "best_of"),
        (json!({"messages": hello(), "max_tokens": 0}), "max_tokens"),
        (json!({"messages": hello(), "top_logprobs": 21}), "top_logprobs"),
        (json!({"messages": hello(), "temperature": "hot"}), "temperature"),
        (json!({"messages": [{"role": "king"}]}), "messages[0].role"),
        (
            json!({"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]}),
            "messages[0].content[0].type",
        ),
        (json!({"messages": hello(), "tools": [{}]}), "tools[0]"),
        (json!({"messages": hello(), "tool_choice": {"function": {"name": "x"}}}), "tool_choice"),
        (json!({"messages": hello(), "response_format": {"type": "xml"}}), "response_format.type"),
        (
            json!({"messages": hello(), "response_format": {"type": "json_schema"}}),
            "response_format.json_schema.schema",
        ),
        (json!({"messages": hello(), "functions": []}), "functions"),
        (json!({"messages": hello(), "model": "a\nb"}), "model"),
    ] {
        assert_eq!(refused(ask::chat(fields(body.clone()))).1, param, "{body}");
    }
    let picture =
        json!([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://x/y.png"}}]}]);
    let (message, param) = refused(ask::chat(fields(json!({ "messages": picture }))));
    assert!(message.contains("not fetched") && param == "messages[0].content[0].image_url.url", "{message}");
    for body in [json!({}), json!({"prompt": ["a", "b"]}), json!({"prompt": [1, 2]}), json!({"prompt": ""})] {
        assert_eq!(refused(ask::text(fields(body))).1, "prompt");
    }
    for body in [json!({"input": "a"}), json!({"model": "m"}), json!({"model": "m", "input": [[1]]})] {
        refused(embed::read(fields(body)));
    }
}

fn events(out: &[u8]) -> Vec<Value> {
    let text = std::str::from_utf8(out).unwrap();
    let data = text.split("\n\n").filter_map(|event| event.strip_prefix("data: "));
    data.map(|data| serde_json::from_str(data).unwrap_or_else(|_| data.into())).collect()
}

fn voice(shape: Shape, tells_usage: bool) -> say::Chunks {
    say::Chunks::new(TaskId::from_u128(7), "m".into(), shape, tells_usage, 1)
}

#[test]
fn a_chat_is_told_in_chunks() {
    let mut voice = voice(Shape::Chat, true);
    let call = |name: &str| ToolCall { name: name.into(), arguments: json!({"a": 1}), ..ToolCall::default() };
    let mut out = Vec::new();
    let thought = Piece { thinking: "hm".into(), ..Piece::default() };
    voice.pieces(vec![thought, Piece::text("a")], &mut out);
    for name in ["f", "g"] {
        voice.pieces(vec![Piece { tool_calls: vec![call(name)], ..Piece::default() }], &mut out);
    }
    let done = Done { reason: Reason::ToolCalls, prompt_tokens: Some(2), tokens: Some(3), ..Done::default() };
    voice.answered(&report(""), &done, &mut out);
    let events = events(&out);
    let deltas: Vec<&Value> = events.iter().map(|event| &event["choices"][0]["delta"]).collect();
    assert_eq!(deltas[0], &json!({"role": "assistant", "content": ""}));
    assert_eq!(deltas[1], &json!({"reasoning_content": "hm"}));
    assert_eq!(deltas[2], &json!({"content": "a"}));
    let id = |number: u32| format!("call_00000000-0000-0000-0000-000000000007_{number}");
    let function = |name: &str| json!({"name": name, "arguments": "{\"a\":1}"});
    let called =
        |at: u32, name| json!([{"index": at, "id": id(at), "type": "function", "function": function(name)}]);
    assert_eq!(deltas[3], &json!({"tool_calls": called(0, "f")}));
    assert_eq!(deltas[4], &json!({"tool_calls": called(1, "g")}));
    assert_eq!(events[5]["choices"][0]["finish_reason"], "tool_calls");
    assert_eq!((&events[5]["usage"], &events[6]["choices"]), (&Value::Null, &json!([])));
    assert_eq!(events[6]["usage"], json!({"prompt_tokens": 2, "completion_tokens": 3, "total_tokens": 5}));
    assert_eq!(events[7], "[DONE]");
}

#[test]
fn a_sign_of_life_of_one_choice_moves_no_text_of_another() {
    let mut voice = say::Chunks::new(TaskId::from_u128(7), "m".into(), Shape::Chat, true, 2);
    let mut out = Vec::new();
    voice.choice(1);
    voice.pieces(vec![Piece::text("a")], &mut out);
    voice.idle(&mut out);
    // Whose news come is told only when that changes.
    voice.pieces(vec![Piece::text("b")], &mut out);
    let events = events(&out);
    let said = events.iter().map(|event| &event["choices"][0]);
    let said = said.filter(|choice| choice["delta"]["content"].as_str().is_some_and(|text| !text.is_empty()));
    let said: Vec<_> =
        said.map(|choice| (choice["index"].clone(), choice["delta"]["content"].clone())).collect();
    assert_eq!(said, [(json!(1), json!("a")), (json!(1), json!("b"))]);
}

#[test]
fn each_choice_has_its_own_role_calls_and_end() {
    let mut voice = say::Chunks::new(TaskId::from_u128(7), "m".into(), Shape::Chat, true, 3);
    let mut out = Vec::new();
    let call = ToolCall { name: "f".into(), arguments: json!({}), ..ToolCall::default() };
    for choice in [1, 0, 1] {
        voice.choice(choice);
        voice.pieces(vec![Piece { tool_calls: vec![call.clone()], ..Piece::default() }], &mut out);
    }
    voice.choice_ended(Reason::Stop, &mut out);
    // The second has ended: a sign of life is of one that has not.
    voice.idle(&mut out);
    voice.choice(2);
    voice.choice_ended(Reason::Length, &mut out);
    voice.choice(0);
    voice.choice_ended(Reason::Stop, &mut out);
    let of = |tokens, cached_tokens| Done {
        prompt_tokens: Some(9),
        tokens: Some(tokens),
        cached_tokens,
        ..Done::default()
    };
    let other = |done| Report { ending: Ok(done), ..report("") };
    let whole = Report { others: vec![other(of(2, Some(9))), other(of(3, None))], ..report("") };
    voice.answered(&whole, &of(1, Some(4)), &mut out);
    let events = events(&out);
    let told = |of: &dyn Fn(&Value) -> Value| {
        let choices = events.iter().filter_map(|event| event["choices"].get(0));
        choices
            .map(|choice| (choice["index"].as_u64().unwrap(), of(choice)))
            .filter(|(_, it)| !it.is_null())
            .collect::<Vec<_>>()
    };
    let id = |of: &str| json!(format!("call_00000000-0000-0000-0000-000000000007_{of}"));
    assert_eq!(
        told(&|choice| choice["delta"]["tool_calls"][0]["id"].clone()),
        [(1, id("1_0")), (0, id("0")), (1, id("1_1"))]
    );
    let role = json!("assistant");
    assert_eq!(
        told(&|choice| choice["delta"]["role"].clone()),
        [(1, role.clone()), (0, role.clone()), (2, role)]
    );
    assert_eq!(
        told(&|choice| choice["finish_reason"].clone()),
        [(1, json!("tool_calls")), (2, json!("length")), (0, json!("tool_calls"))]
    );
    let usage = &events[events.len() - 2]["usage"];
    let wanted = json!({"prompt_tokens": 9, "completion_tokens": 6, "total_tokens": 15,
        "prompt_tokens_details": {"cached_tokens": 4}});
    assert_eq!((usage, events.last()), (&wanted, Some(&json!("[DONE]"))));
    // What one of them does not know is not known of all.
    let lost = Report { attempts: 2, ..other(Done::default()) };
    let mut out = Vec::new();
    voice.answered(&Report { others: vec![lost], ..report("") }, &of(1, None), &mut out);
    assert_eq!(self::events(&out)[0]["usage"], Value::Null);
}

#[test]
fn a_sign_of_life_adds_nothing_and_does_not_fix_the_model() {
    for shape in [Shape::Chat, Shape::Text] {
        let mut voice = say::Chunks::new(TaskId::from_u128(7), String::new(), shape, false, 1);
        let mut out = Vec::new();
        voice.idle(&mut out);
        voice.idle(&mut out);
        voice.accepted(&"n".parse().unwrap(), "m:latest", &mut out);
        voice.pieces(vec![Piece::text("a")], &mut out);
        let events = events(&out);
        let models: Vec<&Value> = events.iter().map(|event| &event["model"]).collect();
        assert_eq!(models, ["", "", "m:latest"], "{shape:?}");
        assert_eq!(
            events.iter().filter(|event| event["choices"][0]["delta"]["role"].is_string()).count(),
            usize::from(shape == Shape::Chat)
        );
        let sign = &events[1]["choices"][0];
        assert!(sign["delta"] == json!({}) || sign["text"] == "", "{sign}");
    }
}

/// This dialect does not tell them: for its client they are silence.
#[tokio::test]
async fn news_of_the_line_put_no_sign_of_life_off() {
    let (out, news) = mpsc::channel(1);
    let feed = Feed::Gathered(TaskId::from_u128(7), news);
    let line = async {
        loop {
            let _ = out.send(News::Queued { position: 1, expected_wait_ms: None }).await;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let first = async {
        let started = Started::new(feed, Duration::from_millis(50), None, None);
        let answer = reply::answer(started, voice(Shape::Chat, false), true).await.expect("a stream");
        answer.into_body().into_data_stream().next().await
    };
    tokio::select! {
        first = first => assert!(first.unwrap().unwrap().starts_with(b"data: ")),
        () = line => {}
        () = tokio::time::sleep(Duration::from_secs(5)) => panic!("no sign of life"),
    }
}

#[test]
fn a_count_that_nobody_knows_is_not_said_to_be_zero() {
    let usage = |attempts: u32, prompt_tokens: Option<u64>| {
        let done = Done { prompt_tokens, tokens: Some(3), ..Done::default() };
        let mut out = Vec::new();
        voice(Shape::Text, true).answered(&Report { attempts, ..report("") }, &done, &mut out);
        events(&out)[1]["usage"].clone()
    };
    assert_eq!(usage(2, None), Value::Null);
    assert_eq!(
        (&usage(2, Some(2))["total_tokens"], &usage(1, None)["prompt_tokens"]),
        (&json!(5), &json!(0))
    );
}

#[test]
fn nothing_follows_an_error() {
    let mut voice = voice(Shape::Text, false);
    let mut out = Vec::new();
    voice.pieces(vec![Piece::text("a")], &mut out);
    voice.broken(ApiError::unavailable("lost"), None, &mut out);
    let events = events(&out);
    assert_eq!((events.len(), &events[0]["choices"][0]["text"]), (2, &json!("a")));
    assert_eq!(events[1]["error"]["message"], "lost");
}

proptest! {
    #[test]
    fn no_json_makes_a_translation_panic(value in any_json(), messages in any_json()) {
        let mut map = value.as_object().cloned().unwrap_or_default();
        let _ = ask::text(Fields::new(map.clone()));
        let _ = embed::read(Fields::new(map.clone()));
        map.insert("messages".into(), Value::Array(vec![messages]));
        let _ = ask::chat(Fields::new(map));
    }

    #[test]
    fn no_piece_makes_an_answer_panic_and_every_event_is_json(
        pieces in prop::collection::vec(any_piece(), 0..6), extra in any_json(), as_chat in any::<bool>(),
    ) {
        let shape = if as_chat { Shape::Chat } else { Shape::Text };
        let mut voice = voice(shape, true);
        let mut out = Vec::new();
        let calls = pieces.iter().flat_map(|piece| piece.tool_calls.clone()).collect();
        let logprobs = pieces.iter().filter_map(|piece| piece.logprobs.as_deref().cloned()).collect();
        let gathered = Report { tool_calls: calls, logprobs, ..report("text") };
        let texts: String = pieces.iter().map(|piece| piece.content.as_str()).collect();
        voice.pieces(pieces, &mut out);
        let done = Done { extra: extra.as_object().cloned().unwrap_or_default(), ..Done::default() };
        voice.whole(&gathered, &done);
        voice.answered(&gathered, &done, &mut out);
        let told = events(&out);
        prop_assert_eq!(told.last(), Some(&json!("[DONE]")));
        let text = |event: &Value| {
            let choice = &event["choices"][0];
            choice["delta"]["content"].as_str().or(choice["text"].as_str()).unwrap_or_default().to_owned()
        };
        prop_assert_eq!(told.iter().map(text).collect::<String>(), texts);
    }

    #[test]
    fn a_request_keeps_what_it_carries(
        texts in prop::collection::vec("\\PC{0,12}", 1..5), seed in any::<i64>(), unknown in any_json(),
    ) {
        let messages: Vec<Value> = texts.iter().map(|text| json!({"role": "user", "content": text})).collect();
        let Asked { request, .. } =
            ask::chat(fields(json!({"messages": messages, "seed": seed, "unknown_one": unknown}))).unwrap();
        let echo_bus::message::Request::Chat(chat) = request else { panic!("another request") };
        let kept: Vec<_> = chat.messages.iter().map(|message| message.text().into_owned()).collect();
        prop_assert_eq!(kept, texts);
        prop_assert_eq!(chat.settings.seed, Some(seed));
        prop_assert_eq!(&chat.settings.openai["unknown_one"], &unknown);
    }

    #[test]
    fn an_answer_keeps_its_pieces(texts in prop::collection::vec("\\PC{0,6}", 0..20), as_chat in any::<bool>()) {
        let mut voice = voice(if as_chat { Shape::Chat } else { Shape::Text }, false);
        let mut out = Vec::new();
        texts.iter().for_each(|text| voice.pieces(vec![Piece::text(text)], &mut out));
        voice.answered(&report(""), &Done::default(), &mut out);
        let said = events(&out).iter().map(|event| {
            let choice = &event["choices"][0];
            choice["delta"]["content"].as_str().or(choice["text"].as_str()).unwrap_or_default().to_owned()
        }).collect::<String>();
        prop_assert_eq!(said, texts.concat());
    }
}

#[test]
fn spoilt_bodies() {
    let image = format!("data:image/png;base64,{}", crate::http::image::tests::PNG);
    let chat = json!({"model": "m", "stream": true, "stream_options": {"include_usage": true}, "n": 2, "max_completion_tokens": 9,
        "messages": [{"role": "developer", "content": "s"}, {"role": "user", "name": "ann", "content": [{"type": "text", "text": "see"},
            {"type": "image_url", "image_url": {"url": image, "detail": "low"}}]},
            {"role": "assistant", "content": null, "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{\"a\":[1,-2.5e3]}"}}]},
            {"role": "tool", "tool_call_id": "c", "content": "1"}],
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
        "tool_choice": {"type": "function", "function": {"name": "f"}}, "parallel_tool_calls": false, "logprobs": true, "top_logprobs": 3,
        "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}}, "reasoning_effort": "high",
        "temperature": 0.5, "seed": 9223372036854775807_i64, "stop": ["x"], "logit_bias": {"1": 5}});
    let text = json!({"model": "m", "prompt": ["p"], "suffix": "s", "max_tokens": 3, "n": 8, "logprobs": 2, "echo": false, "stop": "x"});
    let embed =
        json!({"model": "m", "input": ["a", "b"], "dimensions": 3, "encoding_format": "base64", "user": "u"});
    let read = |ask: fn(Fields) -> Result<ask::Asked, ApiError>| {
        move |fields| {
            let asked = ask(fields)?;
            assert!(asked.further().len() < 8);
            Ok(echo_bus::message::size(&asked.request))
        }
    };
    crate::http::any::spoilt_bodies("openai: /v1/chat/completions", &[chat], read(ask::chat));
    crate::http::any::spoilt_bodies("openai: /v1/completions", &[text], read(ask::text));
    crate::http::any::spoilt_bodies("openai: /v1/embeddings", &[embed], |fields| {
        super::embed::read(fields).map(|(embed, _)| echo_bus::message::size(&embed))
    });
}
