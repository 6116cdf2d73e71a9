//! Neutral requests in Ollama's words. What the client left out stays out; nothing is invented.

use echo_bus::message::{Chat, Embed, Flat, Generate, Message, Named, OLLAMA, Request, Settings, ToolCall};
use serde_json::{Map, Value, json};

use crate::engine::contract::Order;

/// How much a model may be told to think.
const LEVELS: [&str; 4] = ["low", "medium", "high", "max"];

/// A request as it goes to the engine.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    pub path: &'static str,
    pub body: Value,
}

/// The request of an answer that has not begun.
pub fn fresh(order: &Order) -> Option<Call> {
    match &order.request {
        Request::Generate(it) => Some(Call { path: "/api/generate", body: generate(&order.model, it) }),
        Request::Chat(it) => Some(Call { path: "/api/chat", body: chat(&order.model, it) }),
        _ => None,
    }
}

/// The body of /api/generate.
pub fn generate(model: &str, generate: &Generate) -> Value {
    let mut body = common(model, &generate.settings);
    body.insert("prompt".into(), generate.prompt.as_str().into());
    set(&mut body, "system", text(&generate.system));
    set(&mut body, "suffix", text(&generate.suffix));
    set(&mut body, "images", list(&generate.images));
    set(&mut body, "raw", generate.raw.then_some(Value::Bool(true)));
    body.into()
}

/// The body of /api/chat.
pub fn chat(model: &str, chat: &Chat) -> Value {
    let mut body = common(model, &chat.settings);
    body.insert("messages".into(), chat.messages.iter().flat_map(Message::flat).map(message).collect());
    set(&mut body, "tools", list(&chat.tools));
    body.into()
}

/// The body of /api/embed.
pub fn embed(model: &str, embed: &Embed) -> Value {
    let mut body = common(model, &embed.settings);
    body.remove("stream");
    body.insert("input".into(), json!(embed.input));
    set(&mut body, "dimensions", embed.dimensions.map(Value::from));
    set(&mut body, "truncate", embed.truncate.map(Value::from));
    body.into()
}

/// The body of /api/embeddings, which takes one text and gives the vector as the model makes it.
pub fn embed_one(model: &str, embed: &Embed) -> Value {
    let mut body = common(model, &embed.settings);
    body.remove("stream");
    body.insert("prompt".into(), embed.input.first().cloned().unwrap_or_default().into());
    body.into()
}

/// The body of /api/generate that unloads a model.
pub fn unload(model: &str) -> Value {
    json!({"model": model, "keep_alive": 0})
}

/// The body of requests about one model.
pub fn named(model: &str, named: &Named) -> Value {
    let mut body = named.extra.clone();
    body.insert("model".into(), model.into());
    body.into()
}

fn common(model: &str, settings: &Settings) -> Map<String, Value> {
    let mut body = settings.extra.clone();
    let options = options(settings);
    body.remove("options");
    set(&mut body, "options", (!options.is_empty()).then_some(options.into()));
    set(&mut body, "format", settings.format.clone());
    set(&mut body, "think", think(settings));
    set(&mut body, "keep_alive", settings.keep_alive.clone());
    set(&mut body, "logprobs", settings.logprobs.map(Value::from));
    set(&mut body, "top_logprobs", settings.top_logprobs.map(Value::from));
    body.insert("model".into(), model.into());
    body.insert("stream".into(), true.into());
    body
}

/// What a client said in Ollama's words goes on as it was said. Where it is a wish, a word that Ollama would refuse the
/// whole request for is one to think.
fn think(settings: &Settings) -> Option<Value> {
    let known = |think: &Value| think.as_str().is_none_or(|level| LEVELS.contains(&level));
    let think = settings.think.as_ref()?;
    Some(if settings.think_if_able && !known(think) { true.into() } else { think.clone() })
}

fn options(settings: &Settings) -> Map<String, Value> {
    let mut options = match settings.extra.get("options") {
        Some(Value::Object(options)) => options.clone(),
        _ => Map::new(),
    };
    set(&mut options, "num_predict", settings.max_tokens.map(Value::from));
    set(&mut options, "temperature", settings.temperature.map(Value::from));
    set(&mut options, "top_p", settings.top_p.map(Value::from));
    set(&mut options, "min_p", settings.min_p.map(Value::from));
    set(&mut options, "top_k", settings.top_k.map(Value::from));
    set(&mut options, "seed", settings.seed.map(Value::from));
    set(&mut options, "stop", list(&settings.stop));
    set(&mut options, "repeat_penalty", settings.repeat_penalty.map(Value::from));
    set(&mut options, "presence_penalty", settings.presence_penalty.map(Value::from));
    set(&mut options, "frequency_penalty", settings.frequency_penalty.map(Value::from));
    options
}

fn message(message: Flat<'_>) -> Value {
    let mut body = message.foreign.get(OLLAMA).cloned().unwrap_or_default();
    body.insert("role".into(), message.role.into());
    body.insert("content".into(), message.content.into());
    set(&mut body, "thinking", text(&message.thinking));
    set(&mut body, "images", list(&message.images));
    let calls: Vec<Value> = message.tool_calls.iter().map(|call| tool_call(call)).collect();
    set(&mut body, "tool_calls", list(&calls));
    set(&mut body, "tool_name", text(&message.tool_name));
    set(&mut body, "tool_call_id", text(&message.tool_call_id));
    body.into()
}

fn tool_call(call: &ToolCall) -> Value {
    let mut body = call.extra.clone();
    let mut function = match body.remove("function") {
        Some(Value::Object(function)) => function,
        _ => Map::new(),
    };
    function.insert("index".into(), call.index.into());
    function.insert("name".into(), call.name.as_str().into());
    function.insert("arguments".into(), call.arguments.clone());
    set(&mut body, "id", text(&call.id));
    body.insert("function".into(), function.into());
    body.into()
}

fn set(body: &mut Map<String, Value>, name: &str, value: Option<Value>) {
    if let Some(value) = value {
        body.insert(name.to_owned(), value);
    }
}

fn text(text: &str) -> Option<Value> {
    (!text.is_empty()).then(|| text.into())
}

fn list<T: Clone + Into<Value>>(items: &[T]) -> Option<Value> {
    (!items.is_empty()).then(|| items.to_vec().into())
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;

    #[test]
    fn a_bare_prompt_stays_bare() {
        let it = Generate { prompt: "hi".into(), ..Generate::default() };
        assert_eq!(generate("m:latest", &it), json!({"model": "m:latest", "prompt": "hi", "stream": true}));
    }

    #[test]
    fn an_engine_does_not_hear_which_nodes_were_meant() {
        for (place, said) in [
            ("now", r#""nodes":["node-a"],"extra":{"insecure":true}"#),
            ("older edges", r#""extra":{"nodes":["node-a"],"insecure":true}"#),
        ] {
            let it: Named = serde_json::from_str(&format!(r#"{{"model":"m",{said}}}"#)).unwrap();
            assert_eq!(it.nodes.len(), 1, "{place}");
            assert_eq!(named("m:latest", &it), json!({"model": "m:latest", "insecure": true}), "{place}");
        }
    }

    #[test]
    fn settings_become_options_and_the_rest_stays_on_top() {
        let mut settings = Settings {
            max_tokens: Some(7),
            temperature: Some(0.5),
            stop: vec!["x".into()],
            think: Some("high".into()),
            keep_alive: Some(300.into()),
            ..Settings::default()
        };
        settings.extra.insert("options".into(), json!({"num_ctx": 64, "temperature": 2}));
        settings.extra.insert("truncate".into(), true.into());
        settings.extra.insert("stream".into(), false.into());
        let it = Generate {
            prompt: "hi".into(),
            suffix: "end".into(),
            raw: true,
            settings,
            ..Generate::default()
        };
        assert_eq!(
            generate("m", &it),
            json!({"model": "m", "prompt": "hi", "suffix": "end", "raw": true, "stream": true, "think": "high",
                "keep_alive": 300, "truncate": true,
                "options": {"num_predict": 7, "temperature": 0.5, "stop": ["x"], "num_ctx": 64}})
        );
    }

    #[test]
    fn a_conversation_keeps_its_images_and_tools() {
        let call = ToolCall {
            id: "c1".into(),
            index: 1,
            name: "now".into(),
            arguments: json!({"tz": "UTC"}),
            ..ToolCall::default()
        };
        let messages = vec![
            Flat { role: "user".into(), content: "?".into(), images: vec!["AA".into()], ..Flat::default() },
            Flat { role: "assistant".into(), tool_calls: vec![Cow::Owned(call)], ..Flat::default() },
            Flat { role: "tool".into(), content: "12".into(), tool_name: "now".into(), ..Flat::default() },
        ];
        let messages = messages.into_iter().map(Message::from).collect();
        let it = Chat { messages, tools: vec![json!({"type": "function"})], ..Chat::default() };
        assert_eq!(
            chat("m", &it),
            json!({"model": "m", "stream": true, "tools": [{"type": "function"}], "messages": [
                {"role": "user", "content": "?", "images": ["AA"]},
                {"role": "assistant", "content": "", "tool_calls":
                    [{"id": "c1", "function": {"index": 1, "name": "now", "arguments": {"tz": "UTC"}}}]},
                {"role": "tool", "content": "12", "tool_name": "now"}]})
        );
    }

    #[test]
    fn embeddings_are_not_streamed() {
        let input = vec!["a".into()];
        let it = Embed { input, dimensions: Some(8), truncate: Some(false), ..Embed::default() };
        let body = json!({"model": "m", "input": ["a"], "dimensions": 8, "truncate": false});
        assert_eq!(embed("m", &it), body);
        assert_eq!(embed_one("m", &it), json!({"model": "m", "prompt": "a"}));
    }
}
