//! Ollama's requests as tasks of the mesh. What has no place in a task goes on as it is, in `extra`.

use std::borrow::Cow;

use echo_bus::id::NodeId;
use echo_bus::message::{Chat, Embed, Flat, Generate, Message, Named, OLLAMA, Request, Settings, ToolCall};
use serde_json::{Map, Value};

use super::refusal::not_found;
use crate::http::error::ApiError;
use crate::http::fields::{Fields, check_model};
use crate::http::{image, options};

/// A request that has been understood.
#[derive(Debug)]
pub struct Asked {
    pub request: Request,
    /// As the client wrote it: the answer repeats it.
    pub model: String,
    pub streams: bool,
    pub shape: Shape,
}

/// The shape of the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    Generate,
    Chat,
    Embed,
    /// The older route of embeddings.
    Embedding,
    /// What the engine said, as it is.
    Plain,
}

type Read<T> = Result<T, ApiError>;

/// Ollama's order to show how a prompt is rendered, and to answer nothing.
const RENDER_ONLY: &str = "_debug_render_only";

/// `POST /api/generate`.
pub fn generate(mut fields: Fields) -> Read<Asked> {
    let model = model(&mut fields)?;
    if model.is_empty() {
        return Err(not_found(&model));
    }
    let streams = fields.flag("stream")?.unwrap_or(true);
    let mut request = Generate {
        model: Some(model.clone()),
        prompt: fields.text("prompt")?.unwrap_or_default(),
        system: fields.text("system")?.unwrap_or_default(),
        suffix: fields.text("suffix")?.unwrap_or_default(),
        images: image::all("images", fields.texts("images")?)?,
        raw: fields.flag("raw")?.unwrap_or_default(),
        settings: Settings::default(),
    };
    request.settings = settings(fields)?;
    // Loading a model is no stream, whatever was asked.
    let streams = streams && !request.prompt.is_empty();
    Ok(Asked { request: Request::Generate(request), model, streams, shape: Shape::Generate })
}

/// `POST /api/chat`.
pub fn chat(mut fields: Fields) -> Read<Asked> {
    let model = required_model(&mut fields)?;
    let streams = fields.flag("stream")?.unwrap_or(true);
    let messages = fields.list("messages")?.into_iter().enumerate();
    let messages: Vec<Message> =
        messages.map(|(place, value)| message(place, value)).collect::<Result<_, _>>()?;
    let tools = fields.list("tools")?;
    let streams = streams && !messages.is_empty();
    let settings = settings(fields)?;
    let request = Chat { model: Some(model.clone()), messages, tools, settings, ..Chat::default() };
    Ok(Asked { request: Request::Chat(request), model, streams, shape: Shape::Chat })
}

fn message(place: usize, value: Value) -> Read<Message> {
    let mut fields = Fields::within(format!("messages[{place}]"), value)?;
    let calls = fields.list("tool_calls")?.into_iter().enumerate();
    let calls = calls.map(|(number, call)| tool_call(&fields.place(&format!("tool_calls[{number}]")), call));
    let tool_calls = calls.map(|call| call.map(Cow::Owned)).collect::<Result<_, _>>()?;
    let mut text = |name| fields.text(name).map(|text| Cow::from(text.unwrap_or_default()));
    let mut flat = Flat {
        role: text("role")?,
        content: text("content")?,
        thinking: text("thinking")?,
        tool_name: text("tool_name")?,
        tool_call_id: text("tool_call_id")?,
        tool_calls,
        ..Flat::default()
    };
    let images = image::all(&fields.place("images"), fields.texts("images")?)?;
    flat.images = images.into_iter().map(Cow::from).collect();
    let mut message = Message::from(flat);
    message.foreign = fields.foreign(OLLAMA);
    Ok(message)
}

fn tool_call(place: &str, value: Value) -> Read<ToolCall> {
    let mut call = Fields::within(place, value)?;
    let function = call.take("function").unwrap_or_default();
    let mut function = Fields::within(call.place("function"), function)?;
    let mut understood = ToolCall {
        id: call.text("id")?.unwrap_or_default(),
        index: function.count("index")?.unwrap_or_default(),
        name: function.required_text("name")?,
        arguments: function.arguments()?,
        extra: call.rest(),
    };
    let of_function = function.rest();
    if !of_function.is_empty() {
        understood.extra.insert("function".to_owned(), of_function.into());
    }
    Ok(understood)
}

/// `POST /api/embed`.
pub fn embed(mut fields: Fields) -> Read<Asked> {
    let model = model(&mut fields)?;
    if model.is_empty() {
        return Err(not_found(&model));
    }
    // To Ollama an empty text alone is nothing to embed, and one in a list is a text.
    let nothing = fields.peek("input").is_some_and(|input| input == "");
    let input = if nothing { fields.take("input").map(|_| Vec::new()) } else { None };
    let size = fields.whole("dimensions")?.filter(|size| *size > 0);
    let request = Embed {
        model: Some(model.clone()),
        input: input.map_or_else(|| fields.text_or_texts("input"), Ok)?,
        // It takes no notice of a size that is none.
        dimensions: size.and_then(|size| u32::try_from(size).ok()),
        truncate: fields.flag("truncate")?,
        unscaled: false,
        settings: settings(fields)?,
    };
    Ok(Asked { request: Request::Embed(request), model, streams: false, shape: Shape::Embed })
}

/// `POST /api/embeddings`.
pub fn embeddings(mut fields: Fields) -> Read<Asked> {
    let model = model(&mut fields)?;
    if model.is_empty() {
        return Err(not_found(&model));
    }
    let request = Embed {
        model: Some(model.clone()),
        input: fields.text("prompt")?.filter(|prompt| !prompt.is_empty()).into_iter().collect(),
        dimensions: None,
        // This route of Ollama's shortens nothing.
        truncate: Some(false),
        unscaled: true,
        settings: settings(fields)?,
    };
    Ok(Asked { request: Request::Embed(request), model, streams: false, shape: Shape::Embedding })
}

/// `POST /api/show`.
pub fn show(mut fields: Fields) -> Read<Asked> {
    let model = required_model(&mut fields)?;
    let nodes = named(&fields.texts("nodes")?)?;
    let request = Named { model: model.clone(), nodes, extra: fields.rest() };
    Ok(Asked { request: Request::Show(request), model, streams: false, shape: Shape::Plain })
}

/// The model, by either of its two names; empty if there is none.
pub fn model(fields: &mut Fields) -> Read<String> {
    let model = fields.text("model")?.filter(|model| !model.is_empty());
    let old = fields.text("name")?;
    let model = model.or(old).unwrap_or_default();
    check_model("model", &model)?;
    Ok(model)
}

/// The same where Ollama says what is missing.
pub fn required_model(fields: &mut Fields) -> Read<String> {
    let model = model(fields)?;
    if model.is_empty() {
        return Err(ApiError::bad_request("model is required").param("model"));
    }
    Ok(model)
}

fn settings(mut fields: Fields) -> Read<Settings> {
    // The engine would answer without an answer, and be taken for a broken one.
    if fields.flag(RENDER_ONLY)?.unwrap_or_default() {
        let message = format!("{RENDER_ONLY}: a mesh shows no rendered prompts; ask an engine itself");
        return Err(ApiError::bad_request(message).param(RENDER_ONLY));
    }
    let mut named = fields.object("options")?;
    // Ollama does not know this one: it goes on as it is.
    let foreign = named.remove("max_tokens");
    let mut settings = options::settings(named).map_err(ApiError::bad_request)?;
    if let Some(value) = foreign {
        let options = settings.extra.entry("options").or_insert_with(|| Map::new().into());
        options["max_tokens"] = value;
    }
    settings.format = fields.take("format");
    settings.think = fields.take("think");
    settings.logprobs = fields.flag("logprobs")?;
    settings.top_logprobs = fields.count("top_logprobs")?;
    settings.keep_alive = fields.take("keep_alive");
    fields.take("stream");
    settings.extra.extend(fields.rest());
    Ok(settings)
}

/// Nodes that one request may name.
const MOST_NODES: usize = 256;

/// The nodes that a request names, each once.
///
/// # Errors
/// 400 for what is no node's id, and for too many.
pub fn named(nodes: &[String]) -> Result<Vec<NodeId>, ApiError> {
    if nodes.len() > MOST_NODES {
        return Err(ApiError::bad_request(format!("nodes: at most {MOST_NODES} at once")));
    }
    let mut ids: Vec<NodeId> = Vec::new();
    for node in nodes {
        let id =
            node.parse().map_err(|error| ApiError::bad_request(format!("nodes: {error}")).param("nodes"))?;
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    Ok(ids)
}
