//! Anthropic's requests as tasks of the mesh. What has no place in a task is left out: no node speaks this API.

use echo_bus::message::{Chat, Settings, ToolChoice};
use serde_json::{Map, Value, json};
use tracing::debug;

use super::message::conversation;
use crate::http::error::ApiError;
use crate::http::fields::{Fields, check_model, wrong};

/// A request that has been understood.
#[derive(Debug)]
pub struct Asked {
    pub chat: Chat,
    /// As the client wrote it; empty for the mesh's default model.
    pub model: String,
    pub streams: bool,
}

type Read<T> = Result<T, ApiError>;

/// `POST /v1/messages`, and what is counted.
pub fn messages(mut fields: Fields) -> Read<Asked> {
    let model = fields.text("model")?.unwrap_or_default();
    check_model("model", &model)?;
    let streams = fields.flag("stream")?.unwrap_or_default();
    let messages = conversation(&mut fields)?;
    let tools = tools(&mut fields)?;
    let (tools, tool_choice, parallel_tool_calls) = choice(&mut fields, tools)?;
    let settings = settings(&mut fields)?;
    let named = (!model.is_empty()).then(|| model.clone());
    let chat = Chat { model: named, messages, tools, tool_choice, parallel_tool_calls, settings };
    Ok(Asked { chat, model, streams })
}

/// The tools that the client runs itself, in the words of the mesh. Those that Anthropic's servers would run have a type
/// of their own: they are left out, since many clients offer them unasked.
fn tools(fields: &mut Fields) -> Read<Vec<Value>> {
    let mut tools = Vec::new();
    for (place, value) in fields.list("tools")?.into_iter().enumerate() {
        let mut tool = Fields::within(format!("tools[{place}]"), value)?;
        let kind = tool.text("type")?.unwrap_or_default();
        if !matches!(kind.as_str(), "" | "custom") {
            debug!(kind, "left out a tool that only its maker's servers can run");
            continue;
        }
        let mut function = Map::new();
        function.insert("name".to_owned(), tool.required_text("name")?.into());
        function.extend(tool.text("description")?.map(|text| ("description".to_owned(), text.into())));
        let schema = tool.take("input_schema").filter(Value::is_object);
        let schema = schema.ok_or_else(|| tool.wrong("input_schema", "a JSON schema"))?;
        function.insert("parameters".to_owned(), schema);
        tools.push(json!({"type": "function", "function": function}));
    }
    Ok(tools)
}

type Choice = (Vec<Value>, Option<ToolChoice>, Option<bool>);

/// What has to be called, if anything. A tool that has to be called is the only one that the model is shown.
fn choice(fields: &mut Fields, tools: Vec<Value>) -> Read<Choice> {
    let Some(choice) = fields.take("tool_choice") else { return Ok((tools, None, None)) };
    let mut choice = Fields::within("tool_choice", choice)?;
    let parallel = choice.flag("disable_parallel_tool_use")?.map(|disabled| !disabled);
    let kind = choice.text("type")?.unwrap_or_default();
    match kind.as_str() {
        "auto" => Ok((tools, None, parallel)),
        "any" => {
            let required = (!tools.is_empty()).then_some(ToolChoice::Required);
            Ok((tools, required, parallel))
        }
        "none" => Ok((Vec::new(), None, None)),
        "tool" => {
            let wanted = choice.required_text("name")?;
            let is_wanted = |tool: &Value| tool["function"]["name"] == wanted.as_str();
            let chosen: Vec<Value> = tools.into_iter().filter(is_wanted).collect();
            if chosen.is_empty() {
                return Err(wrong("tool_choice.name", "names none of the tools"));
            }
            Ok((chosen, Some(ToolChoice::Only(wanted)), parallel))
        }
        _ => Err(choice.wrong("type", "auto, any, tool or none")),
    }
}

fn settings(fields: &mut Fields) -> Read<Settings> {
    let max_tokens = fields.whole("max_tokens")?;
    if max_tokens.is_some_and(|most| most < 1) {
        return Err(wrong("max_tokens", "at least 1"));
    }
    let mut output = Fields::within("output_config", fields.object("output_config")?.into())?;
    let think = think(fields, output.text("effort")?)?;
    Ok(Settings {
        max_tokens,
        temperature: fields.number("temperature")?,
        top_p: fields.number("top_p")?,
        top_k: fields.whole("top_k")?,
        stop: fields.texts("stop_sequences")?,
        format: format(&mut output)?,
        // Clients ask models that they do not know to think: those that cannot answer without it.
        think_if_able: think.as_ref().is_some_and(|think| *think != false),
        think,
        ..Settings::default()
    })
}

/// How much to think, in Ollama's words. Who does not ask for it gets no thoughts: so this API promises.
fn think(fields: &mut Fields, effort: Option<String>) -> Read<Option<Value>> {
    let effort = effort.map(|effort| match effort.as_str() {
        "low" | "medium" | "high" | "max" => effort.into(),
        "minimal" => "low".into(),
        "xhigh" => "max".into(),
        // A level of tomorrow.
        _ => Value::Bool(true),
    });
    let Some(thinking) = fields.take("thinking") else { return Ok(Some(effort.unwrap_or(false.into()))) };
    let mut thinking = Fields::within("thinking", thinking)?;
    let kind = thinking.text("type")?.unwrap_or_default();
    match kind.as_str() {
        "disabled" => Ok(Some(false.into())),
        // No engine has a budget.
        "enabled" | "adaptive" => {
            thinking.count("budget_tokens")?;
            Ok(Some(effort.unwrap_or(true.into())))
        }
        _ => Err(thinking.wrong("type", "enabled, disabled or adaptive")),
    }
}

/// The schema of an answer that is to be JSON.
fn format(output: &mut Fields) -> Read<Option<Value>> {
    let Some(format) = output.take("format") else { return Ok(None) };
    let mut format = Fields::within(output.place("format"), format)?;
    if format.text("type")?.as_deref() != Some("json_schema") {
        return Err(format.wrong("type", "json_schema"));
    }
    let schema = format.take("schema").filter(Value::is_object);
    schema.map(Some).ok_or_else(|| format.wrong("schema", "a JSON schema"))
}
