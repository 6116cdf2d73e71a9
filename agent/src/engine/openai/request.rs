//! Neutral requests in OpenAI's words, with llama.cpp's further fields where there are no others.

use std::borrow::Cow;

use echo_bus::message::{
    Chat, Code, Embed, Failure, Flat, Generate, Message, OPENAI, Part, Request, Settings, ToolCall,
    ToolChoice,
};
use serde_json::{Map, Value, json};

use super::dialect::Dialect;
use crate::engine::continuation;
use crate::engine::contract::Order;

/// What a client may set for the model's template.
pub const TEMPLATE_SETTINGS: &str = "chat_template_kwargs";

/// A request as it goes to the engine.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    pub path: &'static str,
    pub body: Value,
}

/// The request of an answer that has not begun; `None` for what is no completion.
///
/// # Errors
/// When this API has no words for it.
pub fn fresh(order: &Order, dialect: Dialect) -> Result<Option<Call>, Failure> {
    Ok(match &order.request {
        Request::Generate(it) if !it.suffix.is_empty() => return Err(no_suffix()),
        Request::Generate(it) if it.raw => Some(completion(&order.model, it, dialect)),
        Request::Generate(it) => Some(chat(&order.model, &continuation::as_chat(it), dialect)),
        Request::Chat(it) => Some(chat(&order.model, it, dialect)),
        _ => None,
    })
}

/// This API has no words for a text that comes after the answer.
pub fn no_suffix() -> Failure {
    Failure::elsewhere(Code::NotCapable, "the engine of this node cannot fill in before a suffix")
}

/// A conversation.
pub fn chat(model: &str, chat: &Chat, dialect: Dialect) -> Call {
    let settings = &chat.settings;
    let mut body = common(model, settings, dialect);
    body.insert("messages".into(), messages(&chat.messages));
    if !chat.tools.is_empty() {
        body.insert("tools".into(), chat.tools.clone().into());
        set(&mut body, "tool_choice", chat.tool_choice.as_ref().map(tool_choice));
        set(&mut body, "parallel_tool_calls", chat.parallel_tool_calls.map(Value::from));
    }
    if let Some(format) = settings.format.as_ref().and_then(response_format) {
        body.insert("response_format".into(), format);
    }
    set(&mut body, "logprobs", settings.logprobs.map(Value::from));
    set(&mut body, "top_logprobs", settings.top_logprobs.map(Value::from));
    match &settings.think {
        Some(Value::Bool(think)) if dialect.has_template_settings() => {
            set_thinking(&mut body, *think);
        }
        Some(Value::String(level)) => {
            set(&mut body, "reasoning_effort", effort(level, settings.think_if_able))
        }
        _ => {}
    }
    Call { path: "/v1/chat/completions", body: body.into() }
}

/// Says in the settings of the template whether to think, beside what the client has set there.
pub fn set_thinking(body: &mut Map<String, Value>, thinks: bool) {
    let settings = body.entry(TEMPLATE_SETTINGS).or_insert_with(|| json!({}));
    if !settings.is_object() {
        *settings = json!({});
    }
    settings["enable_thinking"] = thinks.into();
}

/// A level of thinking. As a wish it is said only in words that every server of this kind takes.
fn effort(level: &str, is_wish: bool) -> Option<Value> {
    match level {
        "low" | "medium" | "high" => Some(level.into()),
        "max" if is_wish => Some("high".into()),
        _ => (!is_wish).then(|| level.into()),
    }
}

fn tool_choice(choice: &ToolChoice) -> Value {
    match choice {
        ToolChoice::Required => "required".into(),
        ToolChoice::Only(name) => json!({"type": "function", "function": {"name": name}}),
    }
}

/// A prompt that goes to the model as it is.
pub fn completion(model: &str, generate: &Generate, dialect: Dialect) -> Call {
    let mut body = common(model, &generate.settings, dialect);
    body.insert("prompt".into(), generate.prompt.as_str().into());
    let format = generate.settings.format.as_ref();
    match dialect {
        // Without a template llama.cpp's server reads no `response_format`.
        Dialect::LlamaCpp => set(&mut body, "json_schema", format.and_then(json_schema)),
        _ => set(&mut body, "response_format", format.and_then(response_format)),
    }
    if generate.settings.logprobs == Some(true) {
        body.insert("logprobs".into(), generate.settings.top_logprobs.unwrap_or(1).into());
    }
    Call { path: "/v1/completions", body: body.into() }
}

/// The body of /v1/embeddings.
pub fn embed(model: &str, embed: &Embed) -> Value {
    let mut body = Map::new();
    body.insert("model".into(), model.into());
    body.insert("input".into(), json!(embed.input));
    body.insert("encoding_format".into(), "float".into());
    set(&mut body, "dimensions", embed.dimensions.map(Value::from));
    body.into()
}

/// A conversation's messages.
pub fn messages(messages: &[Message]) -> Value {
    // Ollama's clients leave out the ids that tie a tool's answer to its call; here they are needed.
    let mut open: Vec<String> = Vec::new();
    let body = messages.iter().flat_map(parted).enumerate().map(|(place, (message, parts))| {
        if !message.tool_calls.is_empty() {
            let id = |(call, number): (&Cow<'_, ToolCall>, usize)| {
                if call.id.is_empty() { format!("call_{place}_{number}") } else { call.id.clone() }
            };
            open = message.tool_calls.iter().zip(0..).map(id).collect();
        }
        let answers = if message.role == "tool" && message.tool_call_id.is_empty() && !open.is_empty() {
            open.remove(0)
        } else {
            message.tool_call_id.to_string()
        };
        one_message(&message, parts, &open, &answers)
    });
    body.collect()
}

/// The flat messages of a message, and the parts of the one that has them all.
fn parted(message: &Message) -> Vec<(Flat<'_>, &[Part])> {
    let flat = message.flat();
    let parts = if flat.len() == 1 { message.content.as_slice() } else { &[] };
    flat.into_iter().map(|flat| (flat, parts)).collect()
}

fn one_message(message: &Flat<'_>, parts: &[Part], calls: &[String], answers: &str) -> Value {
    let mut body = message.foreign.get(OPENAI).cloned().unwrap_or_default();
    body.insert("role".into(), message.role.as_ref().into());
    body.insert("content".into(), content(message, parts));
    if !message.thinking.is_empty() {
        body.insert("reasoning_content".into(), message.thinking.as_ref().into());
    }
    if !message.tool_calls.is_empty() {
        let calls = message.tool_calls.iter().zip(calls).map(|(call, id)| tool_call(call, id));
        body.insert("tool_calls".into(), calls.collect());
    }
    if !answers.is_empty() {
        body.insert("tool_call_id".into(), answers.into());
    }
    if !message.tool_name.is_empty() {
        body.insert("name".into(), message.tool_name.as_ref().into());
    }
    body.into()
}

/// One text; with images a list, in the order of the client where it is known.
fn content(message: &Flat<'_>, parts: &[Part]) -> Value {
    if message.images.is_empty() {
        return message.content.as_ref().into();
    }
    let text = |text: &str| json!({"type": "text", "text": text});
    let image = |data: &str| {
        let url = format!("data:{};base64,{data}", image_type(data));
        json!({"type": "image_url", "image_url": {"url": url}})
    };
    let in_order = parts.iter().filter_map(|part| match part {
        Part::Text { text: said } => Some(text(said)),
        Part::Image { data } => Some(image(data)),
        _ => None,
    });
    let in_order: Vec<Value> = in_order.collect();
    if !in_order.is_empty() {
        return in_order.into();
    }
    let said = (!message.content.is_empty()).then(|| text(&message.content));
    said.into_iter().chain(message.images.iter().map(|data| image(data))).collect()
}

/// The type of an image by the first bytes of its base64.
fn image_type(data: &str) -> &'static str {
    let begins = |with| data.starts_with(with);
    match () {
        () if begins("iVBOR") => "image/png",
        () if begins("R0lG") => "image/gif",
        () if begins("UklG") => "image/webp",
        () if begins("Qk") => "image/bmp",
        () => "image/jpeg",
    }
}

fn tool_call(call: &ToolCall, id: &str) -> Value {
    let arguments = match &call.arguments {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    json!({"id": id, "type": "function", "function": {"name": call.name, "arguments": arguments}})
}

fn response_format(format: &Value) -> Option<Value> {
    match format {
        Value::String(word) if word == "json" => Some(json!({"type": "json_object"})),
        Value::Object(_) => {
            let schema = json!({"name": "answer", "schema": format, "strict": true});
            Some(json!({"type": "json_schema", "json_schema": schema}))
        }
        _ => None,
    }
}

/// The same as a schema: any JSON has the empty one.
fn json_schema(format: &Value) -> Option<Value> {
    match format {
        Value::String(word) if word == "json" => Some(json!({})),
        Value::Object(_) => Some(format.clone()),
        _ => None,
    }
}

fn common(model: &str, settings: &Settings, dialect: Dialect) -> Map<String, Value> {
    let mut body = settings.openai.clone();
    body.insert("model".into(), model.into());
    body.insert("stream".into(), true.into());
    let mut options = json!({"include_usage": true});
    // Each in its own words is asked to count while it streams, since a server that dies has no last word.
    match dialect {
        Dialect::LlamaCpp => set(&mut body, "timings_per_token", Some(true.into())),
        Dialect::Vllm => options["continuous_usage_stats"] = true.into(),
        Dialect::Plain => {}
    }
    body.insert("stream_options".into(), options);
    let limit = settings.max_tokens.filter(|limit| *limit > 0);
    set(&mut body, "max_tokens", limit.map(Value::from));
    set(&mut body, "temperature", settings.temperature.map(Value::from));
    set(&mut body, "top_p", settings.top_p.map(Value::from));
    set(&mut body, "min_p", settings.min_p.map(Value::from));
    set(&mut body, "top_k", settings.top_k.map(Value::from));
    set(&mut body, "seed", settings.seed.map(Value::from));
    set(&mut body, "repeat_penalty", settings.repeat_penalty.map(Value::from));
    set(&mut body, "presence_penalty", settings.presence_penalty.map(Value::from));
    set(&mut body, "frequency_penalty", settings.frequency_penalty.map(Value::from));
    set(&mut body, "stop", (!settings.stop.is_empty()).then(|| json!(settings.stop)));
    body
}

fn set(body: &mut Map<String, Value>, name: &str, value: Option<Value>) {
    if let Some(value) = value {
        body.insert(name.to_owned(), value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(request: Request) -> Value {
        let order = Order { request, model: "m".into(), so_far: None };
        fresh(&order, Dialect::LlamaCpp).unwrap().unwrap().body
    }

    #[test]
    fn a_prompt_becomes_a_conversation() {
        let it = Generate { prompt: "hi".into(), system: "be brief".into(), ..Generate::default() };
        assert_eq!(
            body(Request::Generate(it)),
            json!({"model": "m", "stream": true, "stream_options": {"include_usage": true}, "timings_per_token": true,
                "messages": [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hi"}]})
        );
    }

    #[test]
    fn a_raw_prompt_stays_raw() {
        let settings = Settings { max_tokens: Some(-1), logprobs: Some(true), ..Settings::default() };
        let it = Generate { prompt: "hi".into(), raw: true, settings, ..Generate::default() };
        let call = completion("m", &it, Dialect::Vllm);
        assert_eq!(call.path, "/v1/completions");
        assert_eq!(
            call.body,
            json!({"model": "m", "stream": true, "prompt": "hi", "logprobs": 1,
                "stream_options": {"include_usage": true, "continuous_usage_stats": true}})
        );
    }

    #[test]
    fn a_raw_prompt_has_its_schema_in_the_words_of_its_server() {
        let schema = json!({"type": "object"});
        let it = |format: &Value| Generate {
            raw: true,
            settings: Settings { format: Some(format.clone()), ..Settings::default() },
            ..Generate::default()
        };
        let body = |format: Value, dialect| completion("m", &it(&format), dialect).body;
        assert_eq!(body(schema.clone(), Dialect::LlamaCpp)["json_schema"], schema);
        assert_eq!(body(json!("json"), Dialect::LlamaCpp)["json_schema"], json!({}));
        for none in [json!(""), json!("xml"), json!(7), Value::Null] {
            assert_eq!(body(none.clone(), Dialect::LlamaCpp).get("json_schema"), None, "{none}");
        }
        assert_eq!(body(schema.clone(), Dialect::Vllm)["response_format"]["json_schema"]["schema"], schema);
    }

    #[test]
    fn settings_formats_and_thinking_have_their_places() {
        let settings = Settings {
            max_tokens: Some(5),
            top_k: Some(3),
            min_p: Some(0.5),
            stop: vec!["x".into()],
            format: Some(json!({"type": "object"})),
            think: Some(false.into()),
            keep_alive: Some("5m".into()),
            ..Settings::default()
        };
        let it = Chat { settings, tools: vec![json!({"type": "function"})], ..Chat::default() };
        assert_eq!(
            body(Request::Chat(it)),
            json!({"model": "m", "stream": true, "stream_options": {"include_usage": true}, "messages": [],
                "timings_per_token": true,
                "max_tokens": 5, "top_k": 3, "min_p": 0.5, "stop": ["x"], "tools": [{"type": "function"}],
                "response_format": {"type": "json_schema",
                    "json_schema": {"name": "answer", "schema": {"type": "object"}, "strict": true}},
                "chat_template_kwargs": {"enable_thinking": false}})
        );
        assert_eq!(response_format(&json!("json")), Some(json!({"type": "json_object"})));
    }

    #[test]
    fn fields_of_this_api_pass_through_and_replace_nothing() {
        let openai = json!({"tool_choice": "required", "stream": false}).as_object().cloned().unwrap();
        let body = body(Request::Chat(Chat {
            settings: Settings { openai, ..Settings::default() },
            ..Chat::default()
        }));
        assert_eq!((&body["tool_choice"], &body["stream"]), (&json!("required"), &json!(true)));
    }

    #[test]
    fn images_are_parts_and_tool_answers_find_their_calls() {
        let call =
            |name: &str| ToolCall { name: name.into(), arguments: json!({"a": 1}), ..ToolCall::default() };
        let message = |role: &'static str, content: &'static str| Flat {
            role: role.into(),
            content: content.into(),
            ..Flat::default()
        };
        let list = [
            Flat { images: vec!["iVBORx".into(), "/9j/".into()], ..message("user", "?") },
            Flat {
                tool_calls: vec![Cow::Owned(call("f")), Cow::Owned(call("g"))],
                ..message("assistant", "")
            },
            message("tool", "1"),
            message("tool", "2"),
        ]
        .map(Message::from);
        let function = |name: &str| json!({"name": name, "arguments": "{\"a\":1}"});
        assert_eq!(
            messages(&list),
            json!([
                {"role": "user", "content": [{"type": "text", "text": "?"},
                    {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORx"}},
                    {"type": "image_url", "image_url": {"url": "data:image/jpeg;base64,/9j/"}}]},
                {"role": "assistant", "content": "", "tool_calls": [
                    {"id": "call_1_0", "type": "function", "function": function("f")},
                    {"id": "call_1_1", "type": "function", "function": function("g")}]},
                {"role": "tool", "content": "1", "tool_call_id": "call_1_0"},
                {"role": "tool", "content": "2", "tool_call_id": "call_1_1"}])
        );
    }

    #[test]
    fn parts_keep_their_order_and_each_result_is_a_message() {
        let list: Vec<Message> = serde_json::from_value(json!([
            {"role": "user", "foreign": {"openai": {"name": "ann"}, "ollama": {"mood": 1}}, "content": [
                {"type": "text", "text": "before"}, {"type": "image", "data": "iVBORx"}, {"type": "text", "text": "after"}]},
            {"role": "user", "content": [
                {"type": "tool_result", "id": "c", "content": [{"type": "text", "text": "1"}]},
                {"type": "tool_result", "id": "d", "content": [{"type": "text", "text": "2"}]},
                {"type": "text", "text": "so?"}]},
        ]))
        .unwrap();
        assert_eq!(
            messages(&list),
            json!([
                {"role": "user", "name": "ann", "content": [{"type": "text", "text": "before"},
                    {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORx"}},
                    {"type": "text", "text": "after"}]},
                {"role": "tool", "content": "1", "tool_call_id": "c"},
                {"role": "tool", "content": "2", "tool_call_id": "d"},
                {"role": "user", "content": "so?"}])
        );
    }

    #[test]
    fn a_picture_is_named_by_what_it_is() {
        let named = ["iVBORw0K", "/9j/4AAQ", "R0lGODlh", "UklGRiQA", "Qk1G"].map(image_type);
        assert_eq!(named, ["image/png", "image/jpeg", "image/gif", "image/webp", "image/bmp"]);
    }

    #[test]
    fn what_this_api_cannot_say_goes_elsewhere() {
        let it = Generate { suffix: "x".into(), ..Generate::default() };
        let order = Order { request: Request::Generate(it), model: "m".into(), so_far: None };
        assert_eq!(fresh(&order, Dialect::Plain).unwrap_err().code, Code::NotCapable);
    }
}
