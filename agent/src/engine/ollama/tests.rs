//! Ollama's words in both directions, by property.

use std::collections::VecDeque;

use echo_bus::message::{Message, OLLAMA, Request};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::embed::{embedded, embedded_one};
use super::reply::{Pull, Reply};
use super::request;
use crate::engine::steps::Translate;
use crate::engine::{Order, Step, any};

proptest! {
    #[test]
    fn no_json_makes_a_reader_panic(lines in prop::collection::vec(any::json(), 0..6)) {
        let (mut reply, mut steps) = (Reply::default(), VecDeque::new());
        for line in &lines {
            let _ = reply.line(line.to_string().as_bytes(), &mut steps);
            let _ = Pull.line(line.to_string().as_bytes(), &mut steps);
            let _ = (embedded(line.clone()), embedded_one(line.clone()));
        }
    }

    #[test]
    fn a_chunk_keeps_whatever_its_message_and_its_calls_hold(
        text in "\\PC{0,12}", thought in "\\PC{0,6}", arguments in any::object(), unknown in any::json(),
    ) {
        let function = json!({"index": 1, "name": "f", "arguments": arguments, "new_one": unknown});
        let call = json!({"id": "c", "function": function, "new_one": unknown});
        let line = json!({"message": {"role": "assistant", "content": text, "thinking": thought,
            "tool_calls": [call], "new_one": unknown}, "new_one": unknown, "done": false});
        let mut steps = VecDeque::new();
        Reply::default().line(line.to_string().as_bytes(), &mut steps).unwrap();
        let Some(Step::Piece(piece)) = steps.pop_front() else { panic!("no piece") };
        prop_assert_eq!((&piece.content, &piece.thinking), (&text, &thought));
        prop_assert_eq!(&Value::from(*piece.extra.unwrap()), &json!({"new_one": unknown, "message": {"new_one": unknown}}));
        let call = &piece.tool_calls[0];
        prop_assert_eq!(&call.arguments, &Value::from(arguments));
        let extra = json!({"new_one": unknown, "function": {"new_one": unknown}});
        prop_assert_eq!(&Value::from(call.extra.clone()), &extra);
    }

    #[test]
    fn a_request_keeps_whatever_it_carries(chat in any::chat()) {
        let order = Order { request: Request::Chat(chat.clone()), model: "m".into(), so_far: None };
        let body = request::fresh(&order).expect("a chat can be asked").body;
        prop_assert_eq!((&body["model"], &body["stream"]), (&json!("m"), &json!(true)));
        if !chat.tools.is_empty() {
            prop_assert_eq!(&body["tools"], &Value::from(chat.tools.clone()));
        }
        for (message, said) in chat.messages.iter().flat_map(Message::flat).zip(body["messages"].as_array().unwrap()) {
            prop_assert_eq!(&said["content"], &json!(message.content));
            for (call, said) in message.tool_calls.iter().zip(said["tool_calls"].as_array().into_iter().flatten()) {
                prop_assert_eq!(&said["function"]["arguments"], &call.arguments);
                prop_assert_eq!(&said["function"]["name"], &json!(call.name));
            }
            for (name, value) in message.foreign.get(OLLAMA).into_iter().flatten() {
                let known = ["role", "content", "thinking", "images", "tool_calls", "tool_name", "tool_call_id"];
                prop_assert!(known.contains(&name.as_str()) || said[name] == *value, "{name} is lost: {said}");
            }
        }
    }
}
