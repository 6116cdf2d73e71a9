//! Responses there and back, without a mesh.

use echo_bus::id::TaskId;
use echo_bus::message::{
    Chat, Code, Done, Failure, Memo, Message, Part, Piece, Reason, ToolCall, ToolChoice,
};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::ask::{self, Asked};
use super::before::{Room, references};
use super::id::ResponseId;
use super::item::{self, Item, items, messages};
use super::object::Template;
use super::output::{Log, Output};
use super::say::Events;
use crate::answer::Answer;
use crate::http::any::{any_json, any_piece, report};
use crate::http::error::ApiError;
use crate::http::fields::Fields;
use crate::http::image::tests::PNG;
use crate::http::reply::Voice;
use crate::report::Report;

const ID: ResponseId = ResponseId { task: TaskId::from_u128(7), key: 9 };

fn read(body: Value) -> Result<Asked, ApiError> {
    ask::read(Fields::new(body.as_object().cloned().unwrap()))
}

fn asked(body: Value) -> Chat {
    let mut asked = read(body).unwrap();
    asked.converse(Vec::new()).unwrap();
    asked.chat
}

fn voice(has: Option<u64>) -> Events {
    let template =
        Template::new(&Chat { model: Some("m".into()), ..Chat::default() }, &Memo::default()).named(ID);
    match has {
        None => Events::new(ID, template, true, false),
        has => Events::again(ID, template, has),
    }
}

/// Each event of a stream, its head checked against its data.
fn events(out: &[u8]) -> Vec<Value> {
    let text = std::str::from_utf8(out).unwrap();
    let frames = text.split_terminator("\n\n");
    let events = frames.map(|frame| {
        let (head, data) = frame.split_once('\n').unwrap();
        let event: Value = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
        assert_eq!(head.strip_prefix("event: "), event["type"].as_str());
        event
    });
    events.collect()
}

fn call(id: &str) -> ToolCall {
    ToolCall {
        id: id.into(),
        name: "weather".into(),
        arguments: json!({"city": "Oslo"}),
        ..ToolCall::default()
    }
}

fn thought(text: &str) -> Part {
    Part::Thinking { text: text.into(), signature: String::new() }
}

#[test]
fn what_an_agent_sends_becomes_one_conversation() {
    let text = |kind: &str, text: &str| json!([{"type": kind, "text": text}]);
    let body = json!({"model": "m", "instructions": "be brief", "store": false,
    "include": ["reasoning.encrypted_content"], "client_metadata": {"a": "b"}, "prompt_cache_key": "k",
    "reasoning": {"effort": "xhigh", "summary": "auto"}, "parallel_tool_calls": true, "tool_choice": "auto",
    "tools": [{"type": "function", "name": "weather", "strict": false, "parameters": {"type": "object"}},
        {"type": "web_search"}, {"type": "namespace", "name": "n", "tools": []}],
    "input": [
        {"type": "message", "id": "msg_1", "role": "developer", "content": text("input_text", "one")},
        {"type": "message", "role": "developer", "content": text("input_text", "two")},
        {"role": "user", "content": [{"type": "input_text", "text": "hi"},
            {"type": "input_image", "image_url": format!("data:image/png;base64,{PNG}")}]},
        {"type": "reasoning", "id": "rs_1", "summary": text("summary_text", "hm"), "encrypted_content": "x"},
        {"type": "message", "role": "assistant", "status": "completed", "content": text("output_text", "wait")},
        {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "weather", "arguments": "{\"city\":\"Oslo\"}"},
        {"type": "function_call", "call_id": "c2", "name": "weather", "arguments": "{\"city\":\"Oslo\"}"},
        {"type": "function_call_output", "call_id": "c1", "output": "rain"},
        {"type": "function_call_output", "call_id": "c2", "output": text("input_text", "sun")},
        {"role": "user", "content": "and now?"},
    ]});
    let chat = asked(body);
    let message =
        |role: &str, content: Vec<Part>| Message { role: role.into(), content, ..Message::default() };
    let result = |id: &str, text: &str| {
        message(
            "tool",
            vec![Part::ToolResult { id: id.into(), name: "weather".into(), content: vec![Part::text(text)] }],
        )
    };
    let wanted = vec![
        message("system", ["be brief", "one", "two"].map(Part::text).to_vec()),
        message("user", vec![Part::text("hi"), Part::Image { data: PNG.into() }]),
        message(
            "assistant",
            vec![
                thought("hm"),
                Part::text("wait"),
                Part::ToolCall(call("c1")),
                Part::ToolCall(ToolCall { index: 1, ..call("c2") }),
            ],
        ),
        result("c1", "rain"),
        result("c2", "sun"),
        Message::said("user", "and now?"),
    ];
    assert_eq!(chat.messages, wanted);
    let function = json!({"name": "weather", "parameters": {"type": "object"}, "strict": false});
    assert_eq!(chat.tools, [json!({"type": "function", "function": function})]);
    assert_eq!((chat.settings.think, chat.settings.think_if_able), (Some("max".into()), true));
}

#[test]
fn a_word_for_effort_is_never_an_error() {
    for (effort, think) in [
        (json!("none"), Some(json!(false))),
        (json!("minimal"), Some(json!("low"))),
        (json!("high"), Some(json!("high"))),
        (json!("xhigh"), Some(json!("max"))),
        (json!("galactic"), Some(json!(true))),
        (Value::Null, None),
    ] {
        let settings = asked(json!({"input": "x", "reasoning": {"effort": effort}})).settings;
        assert_eq!((settings.think_if_able, settings.think), (think.is_some(), think), "{effort}");
    }
}

#[test]
fn later_instructions_are_told_with_what_the_user_says() {
    let developer = |text: &str| json!({"role": "developer", "content": text});
    let chat = asked(json!({"input": [developer("a"), developer("b"), {"role": "user", "content": "hi"},
        developer("c")]}));
    let said: Vec<(&str, String)> =
        chat.messages.iter().map(|message| (message.role.as_str(), message.text().into_owned())).collect();
    let later = "<system-reminder>\nc\n</system-reminder>".to_owned();
    assert_eq!(said, [("system", "a\nb".to_owned()), ("user", "hi".to_owned()), ("user", later)]);
}

#[test]
fn settings_and_choices_are_translated() {
    let tools = ["a", "b"].map(|name| json!({"type": "function", "name": name}));
    for (choice, wanted, left) in [
        (json!("none"), None, 0),
        (json!("required"), Some(ToolChoice::Required), 2),
        (json!({"type": "function", "name": "b"}), Some(ToolChoice::Only("b".into())), 1),
        (
            json!({"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "a"}]}),
            Some(ToolChoice::Required),
            1,
        ),
    ] {
        let chat = asked(json!({"input": "x", "tools": tools, "tool_choice": choice}));
        assert_eq!((chat.tool_choice, chat.tools.len()), (wanted, left), "{choice}");
    }
    let schema = json!({"type": "object", "properties": {"zeta": {}, "alpha": {}}});
    let format = json!({"type": "json_schema", "name": "n", "strict": true, "schema": schema});
    let chat = asked(json!({"input": "x", "max_output_tokens": 9, "temperature": 0.5, "top_p": 0.1,
        "text": {"format": format, "verbosity": "low"}}));
    assert_eq!((chat.settings.max_tokens, chat.settings.temperature), (Some(9), Some(0.5)));
    assert_eq!((chat.settings.top_p, chat.settings.format), (Some(0.1), Some(schema)));
}

#[test]
fn what_cannot_be_done_is_named() {
    for (body, field) in [
        (json!({}), "input"),
        (json!({"input": ""}), "input"),
        (json!({"input": []}), "input"),
        (json!({"input": 5}), "input"),
        (json!({"input": "x", "conversation": "conv_1"}), "conversation"),
        (json!({"input": "x", "prompt": {"id": "pmpt_1"}}), "prompt"),
        (json!({"input": "x", "background": true, "store": false}), "background"),
        (json!({"input": "x", "previous_response_id": "resp_x"}), "previous_response_id"),
        (json!({"input": "x", "tools": [{"type": "web_search"}]}), "tools"),
        (json!({"input": "x", "tools": [{"type": "function"}]}), "tools[0].name"),
        (json!({"input": "x", "tool_choice": {"type": "file_search"}}), "tool_choice.type"),
        (json!({"input": "x", "top_logprobs": 2}), "top_logprobs"),
        (json!({"input": "x", "max_output_tokens": 0}), "max_output_tokens"),
        (json!({"input": "x", "metadata": "m"}), "metadata"),
        (json!({"input": "x", "text": {"format": {"type": "json_schema"}}}), "text.format.schema"),
        (json!({"input": [{"type": "web_search_call"}]}), "input[0].type"),
        (json!({"input": [{"role": "wizard", "content": "x"}]}), "input[0].role"),
        (
            json!({"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "f"}]}]}),
            "input[0].content[0].type",
        ),
        (
            json!({"input": [{"role": "user", "content": [{"type": "input_image", "file_id": "f"}]}]}),
            "input[0].content[0].file_id",
        ),
        (
            json!({"input": [{"type": "function_call", "name": "f", "arguments": "[1]"}]}),
            "input[0].arguments",
        ),
        (json!({"input": [{"type": "function_call_output", "output": "x"}]}), "input[0].call_id"),
    ] {
        assert_eq!(read(body.clone()).unwrap_err().field(), Some(field), "{body}");
    }
}

#[test]
fn instructions_are_not_handed_on_and_the_rest_of_the_system_is() {
    let body = json!({"instructions": "mine", "input": [{"role": "system", "content": "ours"}, {"role": "user", "content": "x"}]});
    let mut asked = read(body).unwrap();
    asked.converse(Vec::new()).unwrap();
    let handed_on = ask::conversation(&asked.chat, &asked.memo);
    assert_eq!(handed_on, [Message::said("system", "ours"), Message::said("user", "x")]);
    let object = Template::new(&asked.chat, &asked.memo).in_progress("queued", Vec::new());
    assert_eq!(object["instructions"], "mine");
    let mut alone = read(json!({"instructions": "mine", "input": "x"})).unwrap();
    alone.converse(Vec::new()).unwrap();
    assert_eq!(ask::conversation(&alone.chat, &alone.memo), [Message::said("user", "x")]);
}

#[test]
fn a_failure_says_what_agents_act_on() {
    let failed = |failure: Failure| {
        let (mut voice, mut out) = (voice(None), Vec::new());
        voice.pieces(vec![Piece::text("a")], &mut out);
        let report = Report { ending: Err(failure.clone()), ..report("a") };
        voice.broken(voice.error(&failure, &report), Some(&report), &mut out);
        let last = events(&out).pop().unwrap();
        assert_eq!((&last["type"], &last["sequence_number"]), (&json!("response.failed"), &json!(5)));
        assert_eq!(last["response"]["output"][0]["status"], "incomplete");
        (last["response"]["status"].clone(), last["response"]["error"].clone())
    };
    let mut full = Failure::wait(Code::QueueFull, "the queue is full");
    full.retry_after_ms = Some(2_500);
    let error = json!({"code": "rate_limit_exceeded", "message": "the queue is full; try again in 3s"});
    assert_eq!(failed(full), (json!("failed"), error));
    let mut long = Failure::give_up(Code::EngineRefused, "refused").saying(Some(400), "too long");
    long.said.as_mut().unwrap().too_long = true;
    assert_eq!(failed(long.clone()).1["code"], "context_length_exceeded");
    let other = Failure::give_up(Code::EngineRefused, "no such template");
    assert_eq!((voice(None).tells(&long), voice(None).tells(&other)), (true, false));
    assert!(voice(Some(0)).tells(&other), "of an answer that is kept it is a part");
    assert_eq!(failed(Failure::give_up(Code::EngineError, "x")).1["code"], "server_error");
    assert_eq!(failed(Failure::give_up(Code::Cancelled, "x")), (json!("cancelled"), Value::Null));
}

#[test]
fn what_is_no_part_of_the_answer_repeats_the_last_number() {
    let (mut voice, mut out) = (voice(None), Vec::new());
    voice.idle(&mut out);
    voice.idle(&mut out);
    voice.pieces(vec![Piece::text("a")], &mut out);
    voice.idle(&mut out);
    voice.broken(ApiError::unavailable("lost"), None, &mut out);
    let events = events(&out);
    let told: Vec<(&str, u64)> = events
        .iter()
        .map(|event| (event["type"].as_str().unwrap(), event["sequence_number"].as_u64().unwrap()))
        .collect();
    let state = "response.in_progress";
    let wanted = [
        ("response.created", 0),
        (state, 1),
        (state, 1),
        ("response.output_item.added", 2),
        ("response.content_part.added", 3),
        ("response.output_text.delta", 4),
        (state, 4),
        ("error", 4),
    ];
    assert_eq!(told, wanted);
    assert_eq!(events[7]["message"], "lost");
}

#[test]
fn thought_tokens_are_a_share_and_never_more_than_all() {
    let mut output = Output::new(ID);
    let piece = Piece { thinking: "x".repeat(30), content: "y".repeat(10), ..Piece::default() };
    output.piece(&piece, &mut Log::silent(), &mut Vec::new());
    assert_eq!(output.thought_tokens(8), 6);
    assert_eq!(Output::new(ID).thought_tokens(8), 0);
}

#[test]
fn what_nothing_can_be_answered_to_is_not_asked() {
    let mut empty = read(json!({"input": [{"type": "reasoning", "summary": []}]})).unwrap();
    assert_eq!(
        empty.converse(Vec::new()).unwrap_err().field(),
        Some("input"),
        "it would only load the model"
    );
    let before = || vec![Item::Message { role: "assistant".into(), content: vec![Part::text("a")] }];
    let previous = json!({"previous_response_id": ID.response()});
    let mut on = read(previous.clone()).unwrap();
    assert_eq!(
        on.converse(before()).unwrap_err().field(),
        Some("input"),
        "it would go on with its own answer"
    );
    let output = Item::Output { call: "c".into(), content: vec![Part::text("rain")] };
    assert!(read(previous).unwrap().converse(vec![output]).is_ok());
}

#[test]
fn the_ids_of_items_name_their_response_and_its_key() {
    let id = ID.response();
    assert_eq!(id, "resp_00000000-0000-0000-0000-0000000000070000000000000009");
    assert_eq!(ResponseId::of_response(&id), Some(ID));
    let item = Item::Reasoning { text: String::new() }.id(ID, "i3");
    assert_eq!(
        (item.as_str(), ResponseId::of_item(&item)),
        ("rs_00000000-0000-0000-0000-0000000000070000000000000009_i3", Some(ID))
    );
    for bad in [
        "resp_00000000-0000-0000-0000-000000000007",
        "resp_00000000-0000-0000-0000-000000000007+000000000000009",
        "resp_",
        "resp_é000000000000009",
        "",
    ] {
        assert_eq!(ResponseId::of_response(bad), None, "{bad}");
    }
}

#[test]
fn references_are_few_and_each_answer_is_looked_up_once() {
    let other = ResponseId { key: 8, ..ID };
    let refer = |of: ResponseId, count: usize| (0..count).map(move |_| Item::Reference(of.item("msg", "0")));
    let two: Vec<Item> = refer(ID, 1).chain(refer(other, 1)).chain(refer(ID, 1)).collect();
    assert_eq!(references(&two).unwrap(), [(ID, vec![0, 2]), (other, vec![1])]);
    let many: Vec<Item> = refer(ID, 101).collect();
    assert_eq!(references(&many[..100]).unwrap().len(), 1);
    assert_eq!(references(&many).unwrap_err().field(), Some("input[100].id"));
    assert_eq!(references(&[Item::Reference("msg_1".into())]).unwrap_err().field(), Some("input[0].id"));
}

#[test]
fn what_references_bring_has_to_fit_beside_the_request_itself() {
    let item = |bytes: usize| Item::Reasoning { text: "x".repeat(bytes) };
    let mut room = Room::new(100, &[item(50)]);
    assert!(room.take(&item(50), "f").is_ok());
    let refused = room.take(&item(1), "input[0].id").unwrap_err();
    assert_eq!((refused.status(), refused.field()), (413.try_into().unwrap(), Some("input[0].id")));
}

#[test]
fn a_body_of_many_small_items_is_read_in_no_time() {
    let began = std::time::Instant::now();
    let call = Item::Call(ToolCall { name: "f".into(), ..ToolCall::default() });
    let text = Item::Message { role: "assistant".into(), content: vec![Part::text("a")] };
    let thought = Item::Reasoning { text: "t".into() };
    let mut items = vec![text, call.clone()];
    items.extend((0..30_000).flat_map(|_| [call.clone(), thought.clone()]));
    let all = messages(items);
    assert_eq!((all.len(), all[0].tool_calls().count()), (1, 30_001));
    assert_eq!(all[0].tool_calls().last().map(|call| call.index), Some(30_000));
    assert!(began.elapsed() < std::time::Duration::from_secs(3), "{:?}", began.elapsed());
}

fn any_item() -> impl Strategy<Value = Item> {
    let part = || prop_oneof!["\\PC{1,6}".prop_map(Part::text), Just(Part::Image { data: PNG.to_owned() })];
    let parts = move || prop::collection::vec(part(), 1..3);
    let role = prop::sample::select(vec!["system", "user", "assistant"]);
    let text = || prop::collection::vec("\\PC{1,6}".prop_map(Part::text), 1..3);
    prop_oneof![
        (role, parts(), text()).prop_map(|(role, parts, texts)| {
            // The assistant shows no pictures.
            let content = if role == "assistant" { texts } else { parts };
            Item::Message { role: role.to_owned(), content }
        }),
        "\\PC{1,6}".prop_map(|text| Item::Reasoning { text }),
        ("[a-z]{1,3}", "[a-z]{1,5}", "[a-z]{0,3}").prop_map(|(id, name, city)| {
            Item::Call(ToolCall { id, name, arguments: json!({"city": city}), ..ToolCall::default() })
        }),
        ("[a-z]{1,3}", parts()).prop_map(|(call, content)| Item::Output { call, content }),
    ]
}

fn all_pieces(pieces: &[Piece], reason: Reason, has: Option<u64>) -> Vec<Value> {
    let (mut voice, mut out) = (voice(has), Vec::new());
    for piece in pieces {
        voice.pieces(vec![piece.clone()], &mut out);
    }
    voice.answered(&report(""), &Done { reason, ..Done::default() }, &mut out);
    events(&out)
}

proptest! {
    #[test]
    fn messages_come_back_from_their_items_and_items_from_what_clients_read(said in prop::collection::vec(any_item(), 1..8)) {
        let once = messages(said);
        let listed = items(&once);
        prop_assert_eq!(&messages(listed.clone()), &once);
        let read = listed.iter().map(|item| item.said("id", "completed")).collect();
        prop_assert_eq!(item::all(Value::Array(read)).unwrap(), listed);
    }

    #[test]
    fn whoever_has_some_events_gets_exactly_the_rest(
        pieces in prop::collection::vec(any_piece(), 0..6), has in 0_u64..40, cut in any::<bool>(),
    ) {
        let reason = if cut { Reason::Length } else { Reason::Stop };
        let all = all_pieces(&pieces, reason, None);
        for (number, event) in all.iter().enumerate() {
            prop_assert_eq!(event["sequence_number"].as_u64(), Some(number as u64));
        }
        let rest: Vec<Value> = all.iter().skip(has as usize + 1).cloned().collect();
        prop_assert_eq!(all_pieces(&pieces, reason, Some(has)), rest);
        // Pieces that arrive together make the same events.
        let (mut voice, mut out) = (voice(None), Vec::new());
        voice.pieces(pieces.clone(), &mut out);
        voice.answered(&report(""), &Done { reason, ..Done::default() }, &mut out);
        prop_assert_eq!(&events(&out), &all);
        let said = |kind: &str| -> String {
            all.iter().filter(|event| event["type"] == kind).filter_map(|event| event["delta"].as_str()).collect()
        };
        prop_assert_eq!(said("response.output_text.delta"), pieces.iter().map(|it| it.content.as_str()).collect::<String>());
        prop_assert_eq!(said("response.reasoning_summary_text.delta"),
            pieces.iter().map(|it| it.thinking.as_str()).collect::<String>());
        // Who asks for the whole gets the same items, under the same ids.
        let mut log = Answer::default();
        pieces.iter().cloned().for_each(|piece| log.push(piece));
        log.end(Report { ending: Ok(Done { reason, ..Done::default() }), ..report("") }.into());
        let whole = log.report(true).unwrap();
        let whole = self::voice(None).object(&whole, &Done { reason, ..Done::default() });
        prop_assert_eq!(&whole["output"], &all.last().unwrap()["response"]["output"]);
        let counted = |kind: &str| all.iter().filter(|event| event["type"] == kind).count();
        prop_assert_eq!(counted("response.output_item.added"), counted("response.output_item.done"));
    }

    #[test]
    fn no_json_makes_a_request_panic(value in any_json(), input in any_json(), tools in any_json()) {
        let mut map = value.as_object().cloned().unwrap_or_default();
        let _ = ask::read(Fields::new(map.clone()));
        for (name, value) in [("input", json!([input])), ("tools", json!([tools])), ("reasoning", json!({}))] {
            map.insert(name.into(), value);
        }
        if let Ok(mut asked) = ask::read(Fields::new(map)) {
            let _ = asked.converse(Vec::new());
            Template::new(&asked.chat, &asked.memo).in_progress("queued", Vec::new());
            items(&ask::conversation(&asked.chat, &asked.memo));
        }
    }

    #[test]
    fn no_id_makes_a_lookup_panic(id in "(resp|msg|fc)?_?\\PC{0,40}") {
        let _ = (ResponseId::of_item(&id), ResponseId::of_response(&id));
    }
}

/// Bodies that are right, to be spoilt.
fn bodies() -> [Value; 2] {
    [
        json!({"model": "m", "input": "hi", "instructions": "x", "metadata": {"a": "b"}, "store": false}),
        json!({"input": [{"role": "user", "content": [{"type": "input_text", "text": "\u{1f600}"},
            {"type": "input_image", "image_url": format!("data:image/png;base64,{PNG}")}]},
            {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{\"a\":[1,2.5e3,null]}"},
            {"type": "function_call_output", "call_id": "c", "output": [{"type": "input_text", "text": "x"}]},
            {"type": "reasoning", "summary": [{"type": "summary_text", "text": "t"}]},
            {"type": "item_reference", "id": "msg_00000000-0000-8000-8000-000000000000_0"}],
            "tools": [{"type": "function", "name": "f", "parameters": {"type": "object"}}],
            "tool_choice": {"type": "function", "name": "f"}, "reasoning": {"effort": "high"},
            "text": {"format": {"type": "json_schema", "name": "n", "schema": {"type": "object"}}}}),
    ]
}

#[test]
fn spoilt_bodies() {
    crate::http::any::spoilt_bodies("openai: /v1/responses", &bodies(), |fields| {
        let mut asked = ask::read(fields)?;
        let _ = references(&asked.input);
        asked.converse(Vec::new())?;
        let said = items(&asked.chat.messages).iter().map(|item| item.said("i", "completed")).collect();
        Template::new(&asked.chat, &asked.memo).in_progress("queued", said);
        items(&ask::conversation(&asked.chat, &asked.memo));
        Ok(echo_bus::message::size(&asked.chat))
    });
}
