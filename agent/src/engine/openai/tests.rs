//! OpenAI's words in both directions, by property.

use std::collections::VecDeque;

use echo_bus::message::{Message, Request};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::dialect::Dialect;
use super::embed::embedded;
use super::reply::Reply;
use super::request;
use crate::engine::steps::Translate;
use crate::engine::{Order, Step, any};

fn dialect() -> impl Strategy<Value = Dialect> {
    prop_oneof![Just(Dialect::LlamaCpp), Just(Dialect::Vllm), Just(Dialect::Plain)]
}

fn event(value: &Value) -> Vec<u8> {
    format!("data: {value}").into_bytes()
}

proptest! {
    #[test]
    fn no_json_makes_a_reader_panic(events in prop::collection::vec(any::json(), 0..6)) {
        let (mut reply, mut whole, mut steps) = (Reply::default(), Reply::default(), VecDeque::new());
        for value in &events {
            let _ = reply.line(&event(value), &mut steps);
            let _ = whole.line(&event(&json!({"choices": [value]})), &mut steps);
            let _ = whole.line(&event(&json!({"choices": [{"delta": value}]})), &mut steps);
            let _ = embedded(value.clone(), Some(2));
        }
        let _ = (reply.end(&mut steps), whole.end(&mut steps));
    }

    #[test]
    fn an_answer_keeps_its_texts_and_the_parts_of_its_call(
        texts in prop::collection::vec("\\PC{0,8}", 0..8), arguments in any::object(), cut in 0..40_usize,
    ) {
        let (mut reply, mut steps) = (Reply::default(), VecDeque::new());
        let mut say = |choice: Value| reply.line(&event(&json!({"choices": [choice]})), &mut steps).unwrap();
        for text in &texts {
            say(json!({"delta": {"content": text}}));
        }
        let whole = Value::from(arguments.clone()).to_string();
        let cut = (cut..whole.len()).find(|at| whole.is_char_boundary(*at)).unwrap_or(whole.len());
        let call = |part: &str| json!({"delta": {"tool_calls": [{"index": 0, "function": {"arguments": part}}]}});
        say(json!({"delta": {"tool_calls": [{"index": 0, "id": "c", "function": {"name": "f"}}]}}));
        say(call(&whole[..cut]));
        say(call(&whole[cut..]));
        say(json!({"delta": {}, "finish_reason": "tool_calls"}));
        reply.end(&mut steps).unwrap();
        let pieces = steps.iter().filter_map(|step| if let Step::Piece(piece) = step { Some(piece) } else { None });
        prop_assert_eq!(pieces.clone().map(|piece| piece.content.as_str()).collect::<String>(), texts.concat());
        let calls: Vec<_> = pieces.flat_map(|piece| &piece.tool_calls).collect();
        prop_assert_eq!((calls.len(), calls[0].name.as_str(), calls[0].id.as_str()), (1, "f", "c"));
        prop_assert_eq!(&calls[0].arguments, &Value::from(arguments));
    }

    #[test]
    fn a_request_keeps_whatever_it_carries(chat in any::chat(), dialect in dialect()) {
        let order = Order { request: Request::Chat(chat.clone()), model: "m".into(), so_far: None };
        let body = request::fresh(&order, dialect).unwrap().expect("a chat can be asked").body;
        prop_assert_eq!((&body["model"], &body["stream"]), (&json!("m"), &json!(true)));
        if !chat.tools.is_empty() {
            prop_assert_eq!(&body["tools"], &Value::from(chat.tools.clone()));
        }
        for (message, said) in chat.messages.iter().flat_map(Message::flat).zip(body["messages"].as_array().unwrap()) {
            let said_text = said["content"].as_str().or_else(|| said["content"][0]["text"].as_str());
            prop_assert_eq!(said_text.unwrap_or_default(), &*message.content);
            for (call, said) in message.tool_calls.iter().zip(said["tool_calls"].as_array().into_iter().flatten()) {
                let arguments = said["function"]["arguments"].as_str().expect("a text");
                match &call.arguments {
                    Value::String(text) => prop_assert_eq!(arguments, text),
                    other => prop_assert_eq!(&serde_json::from_str::<Value>(arguments).unwrap(), other),
                }
            }
        }
    }
}
