use proptest::prelude::*;
use serde_json::json;

use super::*;

fn call(id: &str) -> ToolCall {
    ToolCall { id: id.into(), name: "f".into(), arguments: json!({"a": 1}), ..ToolCall::default() }
}

fn result(id: &str, content: Vec<Part>) -> Part {
    Part::ToolResult { id: id.into(), name: "f".into(), content }
}

#[track_caller]
fn golden(message: &Message, text: &str) {
    assert_eq!(serde_json::to_string(message).unwrap(), text);
    assert_eq!(&serde_json::from_str::<Message>(text).unwrap(), message);
}

#[test]
fn each_part_has_its_shape() {
    golden(&Message::said("user", "hi"), r#"{"role":"user","content":"hi"}"#);
    golden(&Message { role: "user".into(), ..Message::default() }, r#"{"role":"user"}"#);
    let content = vec![
        Part::Thinking { text: "hm".into(), signature: "s".into() },
        Part::text("a"),
        Part::Image { data: "AA".into() },
        Part::ToolCall(call("c")),
        result("d", vec![Part::text("12")]),
    ];
    let foreign = json!({"openai": {"name": "ann"}});
    let foreign = serde_json::from_value(foreign).unwrap();
    golden(
        &Message { role: "assistant".into(), content, foreign },
        r#"{"role":"assistant","content":[{"type":"thinking","text":"hm","signature":"s"},{"type":"text","text":"a"},{"type":"image","data":"AA"},{"type":"tool_call","id":"c","name":"f","arguments":{"a":1}},{"type":"tool_result","id":"d","name":"f","content":[{"type":"text","text":"12"}]}],"foreign":{"openai":{"name":"ann"}}}"#,
    );
}

#[test]
fn a_message_of_an_older_edge_is_understood() {
    let read = |json: Value| serde_json::from_value::<Message>(json).unwrap();
    let old = json!({"role": "assistant", "content": "c", "thinking": "h", "images": ["AA"], "extra": {"mood": 1},
        "tool_calls": [{"id": "i", "name": "f", "arguments": {"a": 1}}]});
    let content = vec![
        Part::Thinking { text: "h".into(), signature: String::new() },
        Part::text("c"),
        Part::Image { data: "AA".into() },
        Part::ToolCall(call("i")),
    ];
    let foreign = serde_json::from_value(json!({"ollama": {"mood": 1}})).unwrap();
    assert_eq!(read(old), Message { role: "assistant".into(), content, foreign });
    let old = json!({"role": "tool", "content": "12", "tool_name": "f", "tool_call_id": "i"});
    assert_eq!(read(old).content, [result("i", vec![Part::text("12")])]);
    assert!(
        serde_json::from_value::<Message>(json!({"role": "user", "content": [{"type": "smell"}]})).is_err()
    );
}

#[test]
fn results_among_other_parts_become_messages_before_the_rest() {
    let results = [result("c", vec![Part::text("1")]), result("d", vec![Part::text("2"), Part::text("3")])];
    let content = results.iter().cloned().chain([Part::text("and?")]).collect();
    let both = Message { role: "user".into(), content, ..Message::default() };
    let flat = both.flat();
    let told: Vec<_> = flat.iter().map(|it| (&*it.role, &*it.tool_call_id, &*it.content)).collect();
    assert_eq!(told, [("tool", "c", "1"), ("tool", "d", "2\n3"), ("user", "", "and?")]);
    let only = Message { role: "user".into(), content: results[..1].to_vec(), ..Message::default() };
    let flat = only.flat();
    assert_eq!((flat.len(), &*flat[0].role, &*flat[0].content), (1, "tool", "1"));
}

#[test]
fn a_text_goes_on_where_it_ended() {
    let mut message = Message::said("assistant", "one");
    message.push_thinking("hm");
    message.push_text(" two");
    message.push_thinking(", well");
    assert_eq!((&*message.text(), &*message.thinking(), message.content.len()), ("one two", "hm, well", 2));
}

fn flat() -> impl Strategy<Value = Flat<'static>> {
    let texts = ("(system|user|assistant|tool|)", "\\PC{0,9}", "\\PC{0,4}", "[a-z]{0,2}", "[a-z]{0,2}");
    let lists = (prop::collection::vec("[A-Za-z/]{0,6}", 0..3), 0..3_usize);
    (texts, lists).prop_map(|((role, content, thinking, name, id), (images, calls))| Flat {
        role: role.into(),
        content: content.into(),
        thinking: thinking.into(),
        images: images.into_iter().map(Cow::from).collect(),
        tool_calls: (0..calls).map(|number| Cow::Owned(call(&number.to_string()))).collect(),
        tool_name: name.into(),
        tool_call_id: id.into(),
        foreign: Cow::default(),
    })
}

proptest! {
    #[test]
    fn a_flat_message_comes_back_as_it_was(flat in flat()) {
        let message = Message::from(flat.clone());
        let back = message.flat();
        prop_assert_eq!(back.len(), 1);
        let is_result = !flat.tool_name.is_empty() || !flat.tool_call_id.is_empty();
        let role = if flat.role == "user" && is_result { "tool".into() } else { flat.role.clone() };
        prop_assert_eq!(&back[0], &Flat { role, ..flat });
        let json = serde_json::to_string(&message).unwrap();
        prop_assert_eq!(serde_json::from_str::<Message>(&json).unwrap(), message);
    }
}
