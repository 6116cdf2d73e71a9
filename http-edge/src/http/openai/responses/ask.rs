//! `POST /v1/responses`: the body, as a request of the mesh and what its client gets back with the answer.

use echo_bus::message::{Chat, Memo, Message, Part, Settings, ToolChoice};
use serde_json::{Map, Value, json};
use tracing::debug;

use super::super::ask::model;
use super::id::ResponseId;
use super::item::{self, Item};
use crate::http::error::ApiError;
use crate::http::fields::{self, Fields, wrong};
use crate::http::time;

const NO_LOGPROBS: &str = "no log probabilities on this route; /v1/chat/completions gives them";

type Read<T> = Result<T, ApiError>;

/// A request that has been understood; what it refers to is still to be looked up.
#[derive(Debug)]
pub struct Asked {
    /// Without messages.
    pub chat: Chat,
    pub instructions: Option<String>,
    pub previous: Option<ResponseId>,
    pub input: Vec<Item>,
    pub memo: Memo,
    pub streams: bool,
    /// The answer can be read again.
    pub stores: bool,
    /// It is made whether or not somebody reads.
    pub background: bool,
}

/// What a client gets back with its answer as it said it.
const GIVEN_BACK: [&str; 12] = [
    "background",
    "max_tool_calls",
    "metadata",
    "previous_response_id",
    "prompt_cache_key",
    "reasoning",
    "safety_identifier",
    "service_tier",
    "store",
    "text",
    "tool_choice",
    "truncation",
];

/// Reads a request.
///
/// # Errors
/// 400 that names the field that is not understood, or that asks for what a mesh does not have.
pub fn read(mut fields: Fields) -> Read<Asked> {
    for (field, why) in [
        ("conversation", "no conversations are kept here; use previous_response_id"),
        ("prompt", "no prompts are stored here; send instructions and input"),
    ] {
        if fields.take(field).is_some() {
            return Err(wrong(field, why));
        }
    }
    let memo = memo(&mut fields)?;
    let model = model(&mut fields)?;
    let streams = fields.flag("stream")?.unwrap_or_default();
    let stores = fields.flag("store")?.unwrap_or(true);
    let background = fields.flag("background")?.unwrap_or_default();
    if background && !stores {
        return Err(wrong(
            "background",
            "only an answer that is kept can be made in the background; leave store out",
        ));
    }
    let previous = fields.text("previous_response_id")?.map(|id| of_response(&id)).transpose()?;
    let input = fields.take("input").map(item::all).transpose()?.unwrap_or_default();
    if input.is_empty() && previous.is_none() {
        return Err(wrong("input", "is empty; say something"));
    }
    let instructions = fields.text("instructions")?.filter(|text| !text.is_empty());
    let (tools, tool_choice) = tools(&mut fields)?;
    let parallel_tool_calls = fields.flag("parallel_tool_calls")?;
    let settings = settings(&mut fields)?;
    let model = Some(model).filter(|model| !model.is_empty());
    let chat = Chat { model, messages: Vec::new(), tools, tool_choice, parallel_tool_calls, settings };
    Ok(Asked { chat, instructions, previous, input, memo, streams, stores, background })
}

impl Asked {
    /// Puts the conversation together: the instructions, what was said before, and what is said now.
    ///
    /// # Errors
    /// 400 if nothing is said that a model could answer: without a message it would only be loaded, and of an answer of its
    /// own it would make a longer one.
    pub fn converse(&mut self, before: Vec<Item>) -> Read<()> {
        self.memo.own_system = self.instructions.is_some();
        let own = self
            .instructions
            .take()
            .map(|text| Item::Message { role: "system".to_owned(), content: vec![Part::text(text)] });
        let said = std::mem::take(&mut self.input);
        let says_nothing = said.is_empty();
        self.chat.messages = item::messages(own.into_iter().chain(before).chain(said).collect());
        let last = self.chat.messages.last();
        if last.is_none_or(|last| says_nothing && last.role == "assistant") {
            return Err(wrong("input", "says nothing that can be answered"));
        }
        Ok(())
    }
}

/// The messages of a kept request without its own instructions.
pub fn conversation(chat: &Chat, memo: &Memo) -> Vec<Message> {
    let mut messages = chat.messages.clone();
    if memo.own_system
        && let Some(first) = messages.first_mut()
    {
        first.content.drain(..first.content.len().min(1));
        if first.content.is_empty() {
            messages.remove(0);
        }
    }
    messages
}

fn of_response(id: &str) -> Read<ResponseId> {
    ResponseId::of_response(id).ok_or_else(|| {
        let id: String = id.chars().take(100).collect();
        let error = format!("previous_response_id: there is no response {id:?} here");
        ApiError::not_found(error).param("previous_response_id")
    })
}

fn memo(fields: &mut Fields) -> Read<Memo> {
    let mut said = Map::new();
    for name in GIVEN_BACK {
        if let Some(value) = fields.peek(name).filter(|value| !value.is_null()) {
            said.insert(name.to_owned(), value.clone());
        }
    }
    fields.object("metadata")?;
    Ok(Memo { asked_at: time::unix(), own_system: false, said })
}

/// Functions in the neutral form. Tools that run at the server are left out: agents name them whether or not they are
/// there, and go on without.
fn tools(fields: &mut Fields) -> Read<(Vec<Value>, Option<ToolChoice>)> {
    let said = fields.list("tools")?;
    let (count, mut tools) = (said.len(), Vec::new());
    for (at, tool) in said.into_iter().enumerate() {
        let mut tool = Fields::within(format!("tools[{at}]"), tool)?;
        match tool.text("type")?.as_deref() {
            Some("function") => tools.push(function(tool)?),
            Some(kind) => {
                debug!(kind = fields::shortened(kind), "a tool of a kind that is not served is left out")
            }
            None => return Err(tool.wrong("type", "function")),
        }
    }
    if tools.is_empty() && count > 0 {
        return Err(wrong(
            "tools",
            "only tools of type function can be called; those of the server are not there",
        ));
    }
    choose(fields, tools)
}

fn function(mut tool: Fields) -> Read<Value> {
    let name = tool.required_text("name")?;
    let mut function = json!({"name": name});
    for field in ["description", "parameters", "strict"] {
        if let Some(value) = tool.take(field) {
            function[field] = value;
        }
    }
    Ok(json!({"type": "function", "function": function}))
}

fn choose(fields: &mut Fields, mut tools: Vec<Value>) -> Read<(Vec<Value>, Option<ToolChoice>)> {
    let must = |word: &str, tools: Vec<Value>| match word {
        "none" => Ok((Vec::new(), None)),
        "auto" => Ok((tools, None)),
        "required" => Ok((tools, Some(ToolChoice::Required))),
        _ => Err(wrong("tool_choice", "expected none, auto, required or a function")),
    };
    let mut choice = match fields.take("tool_choice") {
        None => return Ok((tools, None)),
        Some(Value::String(word)) => return must(&word, tools),
        Some(value) => Fields::within("tool_choice", value)?,
    };
    let named = |tool: &Value, name: &str| tool["function"]["name"] == name;
    match choice.text("type")?.unwrap_or_default().as_str() {
        "function" => {
            let name = choice.required_text("name")?;
            tools.retain(|tool| named(tool, &name));
            if tools.is_empty() {
                return Err(wrong("tool_choice", "names none of the tools"));
            }
            Ok((tools, Some(ToolChoice::Only(name))))
        }
        "allowed_tools" => {
            let allowed = choice.list("tools")?;
            tools.retain(|tool| {
                allowed.iter().any(|it| it["name"].as_str().is_some_and(|name| named(tool, name)))
            });
            must(&choice.text("mode")?.unwrap_or_else(|| "auto".to_owned()), tools)
        }
        _ => Err(wrong("tool_choice.type", "expected function or allowed_tools")),
    }
}

fn settings(fields: &mut Fields) -> Read<Settings> {
    let max_tokens = fields.whole("max_output_tokens")?;
    if max_tokens.is_some_and(|limit| limit < 1) {
        return Err(wrong("max_output_tokens", "at least 1"));
    }
    if fields.count("top_logprobs")?.is_some_and(|top| top > 0) {
        return Err(wrong("top_logprobs", NO_LOGPROBS));
    }
    // What else may be included is there anyway, or is nothing that an engine has.
    if fields.texts("include")?.iter().any(|what| what == "message.output_text.logprobs") {
        return Err(wrong("include", NO_LOGPROBS));
    }
    let think = effort(fields)?;
    Ok(Settings {
        max_tokens,
        temperature: fields.number("temperature")?,
        top_p: fields.number("top_p")?,
        format: format(fields)?,
        think_if_able: think.is_some(),
        think,
        ..Settings::default()
    })
}

/// How much to think. It is a wish, whatever the model: profiles of agents name levels that only some models have.
fn effort(fields: &mut Fields) -> Read<Option<Value>> {
    let mut reasoning = Fields::within("reasoning", fields.object("reasoning")?.into())?;
    Ok(reasoning.text("effort")?.filter(|effort| !effort.is_empty()).as_deref().map(fields::effort))
}

fn format(fields: &mut Fields) -> Read<Option<Value>> {
    let mut text = Fields::within("text", fields.object("text")?.into())?;
    let Some(format) = text.take("format") else { return Ok(None) };
    let mut format = Fields::within("text.format", format)?;
    match format.text("type")?.unwrap_or_default().as_str() {
        "text" => Ok(None),
        "json_object" => Ok(Some(json!("json"))),
        "json_schema" => {
            let schema = format.take("schema").filter(Value::is_object);
            schema.map(Some).ok_or_else(|| format.wrong("schema", "a JSON schema"))
        }
        _ => Err(format.wrong("type", "text, json_object or json_schema")),
    }
}
