//! Anthropic's words there and back, without a mesh.

use echo_bus::message::{Chat, Code, Done, Failure, Part, Piece, Reason, ToolCall};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::ask::{self, Asked};
use super::refusal::shape;
use super::{ApiError, say};
use crate::http::any::{any_piece, json_with, report};
use crate::http::fields::Fields;
use crate::http::image::tests::PNG;
use crate::http::reply::Voice;
use crate::report::Report;

fn read(body: Value) -> Result<Asked, ApiError> {
    ask::messages(Fields::new(body.as_object().cloned().unwrap()))
}

fn chat(body: Value) -> Chat {
    read(body).unwrap().chat
}

fn as_json(body: Value) -> Value {
    serde_json::to_value(chat(body)).unwrap()
}

fn hello() -> Value {
    json!([{"role": "user", "content": "hi"}])
}

fn tool(name: &str) -> Value {
    json!({"name": name, "input_schema": {"type": "object"}})
}

#[test]
fn every_field_of_a_request_has_its_place_and_what_no_node_knows_is_left_out() {
    let body = json!({"model": "m", "stream": true, "max_tokens": 9, "temperature": 0.5, "top_p": 0.25, "top_k": 4,
        "stop_sequences": ["x"], "system": [{"type": "text", "text": "be brief", "cache_control": {"type": "ephemeral"}}],
        "messages": hello(), "metadata": {"user_id": "u"}, "service_tier": "auto", "context_management": {"edits": []},
        "thinking": {"type": "enabled", "budget_tokens": 1024}, "tools": [
            {"name": "f", "description": "d", "input_schema": {"type": "object"}, "defer_loading": true, "type": "custom"},
            {"name": "web_search", "type": "web_search_20250305", "max_uses": 3}],
        "tool_choice": {"type": "any", "disable_parallel_tool_use": true},
        "output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}}});
    let asked = read(body).unwrap();
    assert!(asked.streams && asked.model == "m");
    assert_eq!(
        serde_json::to_value(asked.chat).unwrap(),
        json!({"model": "m", "messages": [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hi"}],
            "tools": [{"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object"}}}],
            "tool_choice": "required", "parallel_tool_calls": false,
            "settings": {"max_tokens": 9, "temperature": 0.5, "top_p": 0.25, "top_k": 4, "stop": ["x"],
                "format": {"type": "object"}, "think": true, "think_if_able": true}})
    );
}

#[test]
fn every_block_has_its_place() {
    let picture =
        json!({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}});
    let said = as_json(json!({"messages": [
        {"role": "user", "content": [picture, {"type": "text", "text": "see"}, {"type": "text", "text": ""}]},
        {"role": "assistant", "content": [
            {"type": "thinking", "thinking": "hm", "signature": "s"}, {"type": "redacted_thinking", "data": "x"},
            {"type": "text", "text": "a"}, {"type": "tool_use", "id": "c", "name": "f", "input": {"a": 1}},
            {"type": "tool_use", "id": "d", "name": "g", "input": {}}]},
        {"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "d", "content": [{"type": "text", "text": "1"}, picture,
                {"type": "tool_reference", "tool_name": "h"}]},
            {"type": "tool_result", "tool_use_id": "c", "content": "2", "is_error": true},
            {"type": "document", "source": {"type": "text", "data": "page"}}]}]}));
    let image = json!({"type": "image", "data": PNG});
    let text = |text: &str| json!({"type": "text", "text": text});
    assert_eq!(
        said["messages"],
        json!([
            {"role": "user", "content": [image, text("see")]},
            {"role": "assistant", "content": [
                {"type": "thinking", "text": "hm", "signature": "s"}, text("a"),
                {"type": "tool_call", "id": "c", "name": "f", "arguments": {"a": 1}},
                {"type": "tool_call", "id": "d", "index": 1, "name": "g", "arguments": {}}]},
            {"role": "user", "content": [
                {"type": "tool_result", "id": "d", "name": "g", "content": [
                    text("1"), image, text("{\"type\":\"tool_reference\",\"tool_name\":\"h\"}")]},
                {"type": "tool_result", "id": "c", "name": "f", "content": [text("Error:"), text("2")]},
                text("page")]}])
    );
}

#[test]
fn instructions_come_first_and_later_ones_with_what_the_user_says() {
    let accounts = "x-anthropic-billing-header: cc_version=1; cch=5f2e;";
    let said = as_json(json!({"system": [{"type": "text", "text": accounts}, {"type": "text", "text": "a"}],
        "messages": [{"role": "system", "content": "b"}, {"role": "user", "content": "hi"},
            {"role": "system", "content": [{"type": "text", "text": "c"}]}, {"role": "user", "content": "you"},
            {"role": "assistant", "content": "yes"}, {"role": "system", "content": "d"}]}));
    let text = |text: &str| json!({"type": "text", "text": text});
    let reminder = |told: &str| format!("<system-reminder>\n{told}\n</system-reminder>");
    assert_eq!(
        said["messages"],
        json!([{"role": "system", "content": [text("a"), text("b")]},
            {"role": "user", "content": [text("hi"), text(&reminder("c")), text("you")]},
            {"role": "assistant", "content": "yes"}, {"role": "user", "content": reminder("d")}])
    );
}

#[test]
fn calls_of_messages_that_become_one_are_numbered_through() {
    let call = |id: &str| json!([{"type": "tool_use", "id": id, "name": "f", "input": {}}]);
    let said = as_json(json!({"messages": [{"role": "user", "content": "x"},
        {"role": "assistant", "content": call("a")}, {"role": "assistant", "content": call("b")},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a"}]},
        {"role": "assistant", "content": call("c")}]}));
    let index = |message: usize, part: usize| said["messages"][message]["content"][part]["index"].as_u64();
    assert_eq!((index(1, 0), index(1, 1), index(3, 0)), (None, Some(1), None), "{said}");
}

#[test]
fn thinking_is_a_wish_and_only_whoever_asks_gets_thoughts() {
    let enabled = json!({"type": "enabled", "budget_tokens": 1024});
    for (thinking, effort, think) in [
        (Value::Null, Value::Null, json!(false)),
        (json!({"type": "disabled"}), json!("high"), json!(false)),
        (enabled.clone(), Value::Null, json!(true)),
        (json!({"type": "adaptive", "display": "omitted"}), Value::Null, json!(true)),
        (json!({"type": "adaptive"}), json!("high"), json!("high")),
        (enabled, json!("xhigh"), json!("max")),
        (json!({"type": "adaptive"}), json!("a level of tomorrow"), json!(true)),
        // An effort does not switch it on.
        (Value::Null, json!("low"), json!(false)),
    ] {
        let body = json!({"messages": hello(), "thinking": thinking, "output_config": {"effort": effort}});
        let settings = chat(body).settings;
        assert_eq!(settings.think_if_able, think != json!(false), "{thinking} {effort}");
        assert_eq!(settings.think, Some(think), "{thinking} {effort}");
    }
}

#[test]
fn a_choice_of_tools_is_kept_as_far_as_every_node_can() {
    let with = |choice: Value| {
        as_json(json!({"messages": hello(), "tools": [tool("f"), tool("g")], "tool_choice": choice}))
    };
    assert!(with(json!({"type": "none"})).get("tools").is_none());
    let auto = with(json!({"type": "auto"}));
    assert_eq!((auto["tools"].as_array().map(Vec::len), auto.get("tool_choice")), (Some(2), None));
    let one = with(json!({"type": "tool", "name": "g"}));
    assert_eq!(
        (&one["tools"][0]["function"]["name"], one["tools"].as_array().map(Vec::len)),
        (&json!("g"), Some(1))
    );
    assert_eq!(one["tool_choice"], json!({"only": "g"}));
    let none = as_json(json!({"messages": hello(), "tool_choice": {"type": "any"}}));
    assert!(none.get("tool_choice").is_none(), "nothing can be called");
}

#[test]
fn what_is_wrong_is_named() {
    let block = |block: Value| json!({"messages": [{"role": "user", "content": [block]}]});
    let image = |source: Value| block(json!({"type": "image", "source": source}));
    for (body, place) in [
        (json!({}), "messages"),
        (json!({"messages": hello(), "max_tokens": 0}), "max_tokens"),
        (json!({"messages": hello(), "temperature": "hot"}), "temperature"),
        (json!({"messages": hello(), "model": "a\nb"}), "model"),
        (json!({"messages": hello(), "stop_sequences": "x"}), "stop_sequences"),
        (json!({"messages": hello(), "system": 5}), "system"),
        (json!({"messages": [{"role": "king", "content": "x"}]}), "messages[0].role"),
        (json!({"messages": [{"role": "user", "content": 5}]}), "messages[0].content"),
        (block(json!({"type": "video"})), "messages[0].content[0].type"),
        (block(json!({"type": "tool_use", "name": "f"})), "messages[0].content[0].id"),
        (
            block(json!({"type": "tool_use", "id": "c", "name": "f", "input": 5})),
            "messages[0].content[0].input",
        ),
        (block(json!({"type": "tool_result"})), "messages[0].content[0].tool_use_id"),
        (
            block(json!({"type": "tool_result", "tool_use_id": "c", "content": [{"type": "image"}]})),
            "messages[0].content[0].content[0].source",
        ),
        (image(json!({"type": "url", "url": "http://x"})), "messages[0].content[0].source.url"),
        (image(json!({"type": "base64", "data": "x"})), "messages[0].content[0].source.data"),
        (image(json!({"type": "file"})), "messages[0].content[0].source.type"),
        (
            block(json!({"type": "document", "source": {"type": "base64", "data": PNG}})),
            "messages[0].content[0].source.type",
        ),
        (json!({"messages": hello(), "tools": [{"name": "f"}]}), "tools[0].input_schema"),
        (json!({"messages": hello(), "tools": [tool("")]}), "tools[0].name"),
        (json!({"messages": hello(), "tool_choice": {"type": "tool", "name": "x"}}), "tool_choice.name"),
        (json!({"messages": hello(), "tool_choice": {"type": "all"}}), "tool_choice.type"),
        (json!({"messages": hello(), "thinking": {"type": "deep"}}), "thinking.type"),
        (
            json!({"messages": hello(), "output_config": {"format": {"type": "xml"}}}),
            "output_config.format.type",
        ),
        (
            json!({"messages": hello(), "output_config": {"format": {"type": "json_schema"}}}),
            "output_config.format.schema",
        ),
    ] {
        let error = read(body.clone()).unwrap_err();
        assert_eq!(error.field(), Some(place), "{body}");
        let said = shape(&error);
        assert!(said["error"]["message"].as_str().unwrap().starts_with(place), "{said}");
        assert_eq!(said["error"]["type"], "invalid_request_error");
    }
}

/// The events of a stream, each under the name that it has in its data too.
fn events(out: &[u8]) -> Vec<Value> {
    let text = std::str::from_utf8(out).unwrap();
    let event = |event: &str| -> Value {
        let (name, data) =
            event.strip_prefix("event: ").and_then(|event| event.split_once("\ndata: ")).unwrap();
        let data: Value = serde_json::from_str(data).unwrap();
        assert_eq!(data["type"], name);
        data
    };
    text.split_terminator("\n\n").map(event).collect()
}

/// What a reader that puts the events together has at the end: the blocks, and how it ended. It is strict about the order.
fn gathered(events: &[Value]) -> (Vec<Value>, Value) {
    let (mut blocks, mut open, mut end): (Vec<Value>, Option<usize>, Value) = (Vec::new(), None, Value::Null);
    let mut arguments = String::new();
    for (place, event) in events.iter().enumerate() {
        assert_eq!(place == 0, event["type"] == "message_start", "{event}");
        let index = event["index"].as_u64().map(|index| index as usize);
        match event["type"].as_str().unwrap() {
            "content_block_start" => {
                assert_eq!((open, index), (None, Some(blocks.len())), "{event}");
                open = index;
                arguments.clear();
                blocks.push(event["content_block"].clone());
            }
            "content_block_delta" => {
                assert!(open.is_some() && open == index && end.is_null(), "{event}");
                let block = blocks.last_mut().unwrap();
                let (delta, mut add) = (&event["delta"], |name: &str| {
                    let more = event["delta"][name].as_str().unwrap();
                    block[name] = format!("{}{more}", block[name].as_str().unwrap()).into();
                });
                match delta["type"].as_str().unwrap() {
                    "text_delta" => add("text"),
                    "thinking_delta" => add("thinking"),
                    "signature_delta" => add("signature"),
                    "input_json_delta" => arguments += delta["partial_json"].as_str().unwrap(),
                    other => panic!("{other}"),
                }
            }
            "content_block_stop" => {
                assert!(open.is_some() && open == index, "{event}");
                open = None;
                let block = blocks.last_mut().unwrap();
                if block["type"] == "tool_use" {
                    block["input"] = serde_json::from_str(&arguments).unwrap();
                }
            }
            "message_delta" => {
                assert!(open.is_none(), "{event}");
                end = event.clone();
            }
            "message_stop" => assert!(place + 1 == events.len() && !end.is_null()),
            _ => {}
        }
    }
    (blocks, end)
}

fn voice() -> say::Events {
    say::Events::new("t", "m".into())
}

fn called(id: &str, name: &str, arguments: Value) -> Piece {
    let call = ToolCall { id: id.into(), name: name.into(), arguments, ..ToolCall::default() };
    Piece { tool_calls: vec![call], ..Piece::default() }
}

#[test]
fn blocks_are_numbered_and_never_overlap() {
    let (mut voice, mut out) = (voice(), Vec::new());
    let thought = |text: &str| Piece { thinking: text.into(), ..Piece::default() };
    voice.pieces(vec![thought("h"), thought("m"), Piece::text("a"), Piece::text("b")], &mut out);
    voice.pieces(vec![called("", "f", json!({"a": 1})), called("mine", "g", json!("{\"b\":2}"))], &mut out);
    voice.pieces(vec![Piece::text("c"), thought("n")], &mut out);
    let done = Done {
        reason: Reason::Stop,
        prompt_tokens: Some(7),
        cached_tokens: Some(5),
        tokens: Some(3),
        ..Done::default()
    };
    voice.answered(&report(""), &done, &mut out);
    let (blocks, end) = gathered(&events(&out));
    assert_eq!(
        blocks,
        [
            json!({"type": "thinking", "thinking": "hm", "signature": "echo-t"}),
            json!({"type": "text", "text": "ab"}),
            json!({"type": "tool_use", "id": "toolu_t_0", "name": "f", "input": {"a": 1}}),
            json!({"type": "tool_use", "id": "mine", "name": "g", "input": {"b": 2}}),
            json!({"type": "text", "text": "c"}),
            json!({"type": "thinking", "thinking": "n", "signature": "echo-t"}),
        ]
    );
    assert_eq!(end["delta"], json!({"stop_reason": "tool_use", "stop_sequence": null}));
    assert_eq!(
        end["usage"],
        json!({"input_tokens": 2, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 5, "output_tokens": 3})
    );
}

#[test]
fn an_answer_ends_for_one_of_four_reasons() {
    let word = |word: &str| json!({ "stopping_word": word }).as_object().cloned().unwrap();
    for (reason, extra, said) in [
        (Reason::Stop, word(""), json!({"stop_reason": "end_turn", "stop_sequence": null})),
        (Reason::Unknown, word("</s>"), json!({"stop_reason": "stop_sequence", "stop_sequence": "</s>"})),
        (Reason::Length, word(""), json!({"stop_reason": "max_tokens", "stop_sequence": null})),
        (Reason::ToolCalls, word(""), json!({"stop_reason": "tool_use", "stop_sequence": null})),
    ] {
        let mut out = Vec::new();
        voice().answered(&report(""), &Done { reason, extra, ..Done::default() }, &mut out);
        assert_eq!(gathered(&events(&out)).1["delta"], said);
    }
}

#[test]
fn a_sign_of_life_comes_behind_the_head_and_adds_nothing() {
    let mut voice = say::Events::new("t", String::new());
    let mut out = Vec::new();
    voice.accepted(&"n".parse().unwrap(), "m:latest", &mut out);
    voice.idle(&mut out);
    voice.pieces(vec![Piece::text("a")], &mut out);
    voice.idle(&mut out);
    voice.pieces(vec![Piece::text("b")], &mut out);
    voice.answered(&report(""), &Done::default(), &mut out);
    let events = events(&out);
    let kinds: Vec<&str> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(kinds[..3], ["message_start", "ping", "content_block_start"]);
    assert_eq!(events[0]["message"]["model"], "m:latest");
    assert_eq!(gathered(&events).0, [json!({"type": "text", "text": "ab"})], "one block");
}

#[test]
fn nothing_follows_an_error() {
    let (mut voice, mut out) = (voice(), Vec::new());
    voice.pieces(vec![Piece::text("a")], &mut out);
    voice.broken(ApiError::unavailable("lost"), None, &mut out);
    let last = events(&out).pop().unwrap();
    let error = json!({"type": "overloaded_error", "message": "lost"});
    assert_eq!(last, json!({"type": "error", "error": error, "request_id": "req_t"}));
}

#[test]
fn what_nobody_has_counted_is_estimated_and_no_cache_of_another_node_counts() {
    let usage = |report: &Report, done: &Done| {
        let mut out = Vec::new();
        let mut voice = voice();
        voice.pieces(vec![Piece::text("eight by")], &mut out);
        voice.answered(report, done, &mut out);
        gathered(&events(&out)).1["usage"].clone()
    };
    assert_eq!(usage(&report(""), &Done::default())["output_tokens"], 2);
    let moved = Report { attempts: 2, ..report("") };
    let done = Done { prompt_tokens: Some(7), cached_tokens: Some(9), tokens: Some(3), ..Done::default() };
    let usage = usage(&moved, &done);
    assert_eq!((&usage["input_tokens"], &usage["cache_read_input_tokens"]), (&json!(7), &json!(0)));
}

#[test]
fn a_prompt_that_is_too_long_is_told_in_the_words_that_make_claude_code_shorten_it() {
    let words = "request (9000 tokens) exceeds the available context size (4096 tokens), try increasing it";
    let mut failure = Failure::give_up(Code::EngineRefused, "refused").saying(Some(400), words);
    failure.said.as_mut().unwrap().too_long = true;
    let said = shape(&ApiError::failed(&failure));
    assert_eq!(said["error"]["message"], format!("prompt is too long: {words}"));
    let other = Failure::give_up(Code::EngineRefused, "refused").saying(Some(400), "no such thing");
    assert_eq!(shape(&ApiError::failed(&other))["error"]["message"], "no such thing");
}

/// Any JSON, with the fields of the dialect among its names and its kinds among its texts.
fn any_json() -> impl Strategy<Value = Value> {
    let kind = "(text|image|document|thinking|redacted_thinking|tool_use|tool_result|base64|url|json_schema|any|tool|auto|\
        none|enabled|adaptive|user|assistant|system)";
    json_with(
        kind,
        [
            "(model|messages|system|role|content|tools|tool_choice|thinking|output_config|format|schema|effort|type|max_tokens)",
            "(text|source|data|url|id|name|input|tool_use_id|is_error|signature|input_schema|stop_sequences|budget_tokens|type)",
        ],
    )
}

/// A block that a model may have said.
fn any_block() -> impl Strategy<Value = Value> {
    let input = prop::collection::btree_map("[a-z]{1,4}", any::<i32>(), 0..3);
    prop_oneof![
        "\\PC{1,12}".prop_map(|text| json!({"type": "text", "text": text})),
        ("\\PC{1,12}", "[a-z0-9]{1,8}").prop_map(
            |(text, signature)| json!({"type": "thinking", "thinking": text, "signature": signature})
        ),
        ("[a-z0-9_]{1,8}", "[a-z]{1,6}", input).prop_map(
            |(id, name, input)| json!({"type": "tool_use", "id": id, "name": name, "input": input})
        ),
    ]
}

/// The part of the mesh that a block is.
fn part(block: &Value, calls: u32) -> Part {
    let text = |name: &str| block[name].as_str().unwrap().to_owned();
    match block["type"].as_str().unwrap() {
        "text" => Part::text(text("text")),
        "thinking" => Part::Thinking { text: text("thinking"), signature: text("signature") },
        _ => Part::ToolCall(ToolCall {
            id: text("id"),
            index: calls,
            name: text("name"),
            arguments: block["input"].clone(),
            ..ToolCall::default()
        }),
    }
}

proptest! {
    #[test]
    fn no_json_makes_a_translation_panic(value in any_json(), messages in any_json(), blocks in any_json()) {
        let mut map = value.as_object().cloned().unwrap_or_default();
        let _ = ask::messages(Fields::new(map.clone()));
        map.insert("messages".into(), json!([messages, {"role": "user", "content": blocks}]));
        let _ = ask::messages(Fields::new(map));
    }

    #[test]
    fn a_request_keeps_its_blocks_in_their_order(blocks in prop::collection::vec(any_block(), 1..8)) {
        let asked = chat(json!({"messages": [{"role": "assistant", "content": blocks}]}));
        let mut calls = 0;
        let parts: Vec<Part> = blocks.iter().map(|block| {
            let part = part(block, calls);
            calls += u32::from(matches!(part, Part::ToolCall(_)));
            part
        }).collect();
        prop_assert_eq!(&asked.messages[0].content, &parts);
    }

    /// What a client has put together from the events, and sends back, is what the model has said.
    #[test]
    fn an_answer_comes_back_as_it_was_said(blocks in prop::collection::vec(any_block(), 1..8)) {
        let (mut voice, mut out) = (voice(), Vec::new());
        let mut calls = 0;
        for block in &blocks {
            let piece = match part(block, calls) {
                Part::Text { text } => Piece::text(text),
                Part::Thinking { text, .. } => Piece { thinking: text, ..Piece::default() },
                Part::ToolCall(call) => {
                    calls += 1;
                    Piece { tool_calls: vec![call], ..Piece::default() }
                }
                other => panic!("{other:?}"),
            };
            voice.pieces(vec![piece], &mut out);
        }
        voice.answered(&report(""), &Done::default(), &mut out);
        let (told, _) = gathered(&events(&out));
        let back = chat(json!({"messages": [{"role": "assistant", "content": told}]}));
        let message = &back.messages[0];
        let said = |kind: &str, name: &str| -> String {
            blocks.iter().filter(|block| block["type"] == kind).map(|block| block[name].as_str().unwrap()).collect()
        };
        prop_assert_eq!(message.text().replace('\n', ""), said("text", "text"));
        prop_assert_eq!(message.thinking().replace('\n', ""), said("thinking", "thinking"));
        let calls: Vec<Value> = message.tool_calls().map(|call| json!([call.id, call.name, call.arguments])).collect();
        let wanted: Vec<Value> = blocks.iter().filter(|block| block["type"] == "tool_use")
            .map(|block| json!([block["id"], block["name"], block["input"]])).collect();
        prop_assert_eq!(calls, wanted);
    }

    #[test]
    fn no_piece_makes_an_answer_panic_and_a_strict_reader_can_read_it(
        pieces in prop::collection::vec(any_piece(), 0..6), extra in any_json(),
    ) {
        let (mut voice, mut out) = (voice(), Vec::new());
        let calls = pieces.iter().flat_map(|piece| piece.tool_calls.clone()).collect();
        let whole = Report { tool_calls: calls, ..report("text") };
        let texts: String = pieces.iter().map(|piece| piece.content.as_str()).collect();
        voice.pieces(pieces, &mut out);
        let done = Done { extra: extra.as_object().cloned().unwrap_or_default(), ..Done::default() };
        voice.whole(&whole, &done);
        voice.idle(&mut out);
        voice.answered(&whole, &done, &mut out);
        let (blocks, _) = gathered(&events(&out));
        prop_assert!(blocks.iter().all(|block| block["type"] != "tool_use" || block["input"].is_object()));
        let said: String = blocks.iter().filter_map(|block| block["text"].as_str()).collect();
        prop_assert_eq!(said, texts);
    }
}

/// A body with everything in it.
fn body() -> Value {
    json!({"model": "m", "max_tokens": 9, "stream": true, "system": [{"type": "text", "text": "be \u{1f600} brief"}],
        "messages": [{"role": "user", "content": [{"type": "text", "text": "see"},
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}]},
            {"role": "assistant", "content": [{"type": "thinking", "thinking": "hm", "signature": "s"},
                {"type": "tool_use", "id": "c", "name": "f", "input": {"a": [1, -2.5e3, null]}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c", "is_error": true, "content": [
                {"type": "text", "text": "\\ud83d half"}]}]}, {"role": "system", "content": "so"}],
        "tools": [{"name": "f", "input_schema": {"type": "object"}}], "tool_choice": {"type": "tool", "name": "f"},
        "thinking": {"type": "enabled", "budget_tokens": 1024}, "stop_sequences": ["x"],
        "output_config": {"effort": "high", "format": {"type": "json_schema", "schema": {}}}})
}

#[test]
fn spoilt_bodies() {
    crate::http::any::spoilt_bodies("anthropic: /v1/messages", &[body()], |fields| {
        ask::messages(fields).map(|asked| echo_bus::message::size(&asked.chat))
    });
}
