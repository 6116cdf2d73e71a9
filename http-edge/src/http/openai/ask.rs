//! OpenAI's requests as tasks of the mesh. What has no place in a task goes on, as it is, to nodes with this API.

use echo_bus::message::{Chat, Generate, Request, Settings, ToolChoice};
use serde_json::{Value, json};

use super::message::messages;
use crate::http::error::ApiError;
use crate::http::fields::{Fields, check_model, wrong};

/// Tokens whose probabilities may be asked for at each place.
const MOST_LOGPROBS: u32 = 20;

/// Answers that may be asked for at once.
const MOST_CHOICES: u8 = 8;

/// A request that has been understood.
#[derive(Debug)]
pub struct Asked {
    pub request: Request,
    /// As the client wrote it; empty for the mesh's default model.
    pub model: String,
    pub streams: bool,
    /// A stream ends with a chunk that holds the counts.
    pub tells_usage: bool,
    pub shape: Shape,
    /// Further answers to the same.
    pub further: u8,
}

impl Asked {
    /// The requests of the further answers. With a seed each has another one: the same would make the same answer.
    pub fn further(&self) -> Vec<Request> {
        let request = |number: u8| {
            let mut request = self.request.clone();
            if let Some(seed) = request.settings_mut().and_then(|settings| settings.seed.as_mut()) {
                *seed = seed.wrapping_add(number.into());
            }
            request
        };
        (1..=self.further).map(request).collect()
    }
}

/// The shape of the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    Chat,
    Text,
}

type Read<T> = Result<T, ApiError>;

/// `POST /v1/chat/completions`.
pub fn chat(mut fields: Fields) -> Read<Asked> {
    let model = model(&mut fields)?;
    let (streams, tells_usage) = stream(&mut fields)?;
    let further = choices(&mut fields)? - 1;
    for old in ["functions", "function_call"] {
        if fields.take(old).is_some() {
            return Err(wrong(old, "this old form is not understood; use tools and tool_choice"));
        }
    }
    if fields.texts("modalities")?.iter().any(|kind| kind != "text") || fields.take("audio").is_some() {
        return Err(wrong("modalities", "only text can be made"));
    }
    let messages = messages(fields.list("messages")?)?;
    if messages.is_empty() {
        return Err(wrong("messages", "is empty; say something"));
    }
    let (tools, tool_choice) = tools(&mut fields)?;
    let parallel_tool_calls = fields.flag("parallel_tool_calls")?;
    let format = format(&mut fields)?;
    let think = effort(&mut fields)?;
    let logprobs = fields.flag("logprobs")?;
    let top_logprobs = fields.count("top_logprobs")?;
    check_logprobs("top_logprobs", top_logprobs)?;
    // Clients name an effort whatever the model is: one that cannot think, or not so, answers all the same.
    let think_if_able = think.is_some();
    let settings = Settings { format, think, think_if_able, logprobs, top_logprobs, ..settings(fields)? };
    let request = Chat { model: named(&model), messages, tools, tool_choice, parallel_tool_calls, settings };
    Ok(Asked { request: Request::Chat(request), model, streams, tells_usage, shape: Shape::Chat, further })
}

/// `POST /v1/completions`: the prompt goes to the model as it is, without a template, on every node.
///
/// That is what OpenAI's route means: the client's text goes on, and a client that wants a template (an editor that
/// completes code, for one) has written it into the prompt already. llama.cpp and vLLM do so too. Ollama's own route of
/// this name puts the model's template around the prompt; were it done here, the same model would continue the text on
/// one node and answer it on the next. Whoever wants the template has `/v1/chat/completions` or `/api/generate`.
pub fn text(mut fields: Fields) -> Read<Asked> {
    let model = model(&mut fields)?;
    let (streams, tells_usage) = stream(&mut fields)?;
    let further = choices(&mut fields)? - 1;
    if fields.flag("echo")?.unwrap_or_default() {
        return Err(wrong("echo", "the prompt is not repeated here"));
    }
    let mut prompts = fields.text_or_texts("prompt")?;
    let prompt = prompts.pop().filter(|prompt| prompts.is_empty() && !prompt.is_empty());
    let prompt = prompt
        .ok_or_else(|| wrong("prompt", "send one text that is not empty, not several and no tokens"))?;
    let suffix = fields.text("suffix")?.unwrap_or_default();
    let format = format(&mut fields)?;
    let top_logprobs = fields.count("logprobs")?;
    check_logprobs("logprobs", top_logprobs)?;
    let logprobs = top_logprobs.map(|_| true);
    let settings = Settings { format, logprobs, top_logprobs, ..settings(fields)? };
    // What comes after the answer is a matter of the model's template.
    let raw = suffix.is_empty();
    let request = Generate { model: named(&model), prompt, suffix, raw, settings, ..Generate::default() };
    Ok(Asked {
        request: Request::Generate(request),
        model,
        streams,
        tells_usage,
        shape: Shape::Text,
        further,
    })
}
/// The model as the client wrote it; empty if it named none.
pub fn model(fields: &mut Fields) -> Read<String> {
    let model = fields.text("model")?.unwrap_or_default();
    check_model("model", &model)?;
    Ok(model)
}

fn named(model: &str) -> Option<String> {
    (!model.is_empty()).then(|| model.to_owned())
}

fn stream(fields: &mut Fields) -> Read<(bool, bool)> {
    let streams = fields.flag("stream")?.unwrap_or_default();
    let options = fields.object("stream_options")?;
    let mut options = Fields::within("stream_options", options.into())?;
    Ok((streams, streams && options.flag("include_usage")?.unwrap_or_default()))
}

/// How many answers are wanted.
fn choices(fields: &mut Fields) -> Read<u8> {
    let wanted = fields.whole("n")?.unwrap_or(1);
    let choices = u8::try_from(wanted).ok().filter(|wanted| (1..=MOST_CHOICES).contains(wanted));
    let choices = choices.ok_or_else(|| wrong("n", &format!("between 1 and {MOST_CHOICES}")))?;
    // Of more answers than are given, nobody here can tell the best.
    if fields.whole("best_of")?.is_some_and(|of| of != 1 && of != wanted) {
        return Err(wrong("best_of", "answers are not compared here; ask for all of them with n"));
    }
    Ok(choices)
}

/// The tools that the model may call. One that has to be called is the only one that it is shown; that some tool has
/// to be called is said to nodes that understand it.
fn tools(fields: &mut Fields) -> Read<(Vec<Value>, Option<ToolChoice>)> {
    let tools = fields.list("tools")?;
    fn name(tool: &Value) -> Option<&str> {
        tool["function"]["name"].as_str()
    }
    for (place, tool) in tools.iter().enumerate() {
        if tool["type"] != "function" || name(tool).is_none() {
            return Err(wrong(
                &format!("tools[{place}]"),
                "expected {\"type\":\"function\",\"function\":{\"name\":…}}",
            ));
        }
    }
    let Some(choice) = fields.take("tool_choice") else { return Ok((tools, None)) };
    match &choice {
        Value::String(word) if word == "none" => Ok((Vec::new(), None)),
        Value::String(word) if word == "auto" => Ok((tools, None)),
        Value::String(word) if word == "required" => Ok((tools, Some(ToolChoice::Required))),
        Value::Object(_) => {
            let wanted = name(&choice).unwrap_or_default();
            let chosen: Vec<Value> = tools.into_iter().filter(|tool| name(tool) == Some(wanted)).collect();
            if chosen.is_empty() {
                return Err(wrong("tool_choice", "names none of the tools"));
            }
            Ok((chosen, Some(ToolChoice::Only(wanted.to_owned()))))
        }
        _ => Err(wrong("tool_choice", "expected none, auto, required or a function")),
    }
}

fn format(fields: &mut Fields) -> Read<Option<Value>> {
    let Some(format) = fields.take("response_format") else { return Ok(None) };
    let mut format = Fields::within("response_format", format)?;
    let kind = format.text("type")?.unwrap_or_default();
    match kind.as_str() {
        "text" => Ok(None),
        // llama.cpp's own form has a schema here.
        "json_object" => Ok(Some(format.take("schema").unwrap_or_else(|| json!("json")))),
        "json_schema" => {
            let schema = Fields::within("response_format.json_schema", format.object("json_schema")?.into())?
                .take("schema");
            let schema = schema.filter(Value::is_object);
            schema
                .map(Some)
                .ok_or_else(|| wrong("response_format.json_schema.schema", "expected a JSON schema"))
        }
        _ => Err(wrong("response_format.type", "expected text, json_object or json_schema")),
    }
}

/// How much to think, in Ollama's words, under both names that clients use.
fn effort(fields: &mut Fields) -> Read<Option<Value>> {
    let older = fields.text("reasoning_effort")?;
    let newer = Fields::within("reasoning", fields.object("reasoning")?.into())?.text("effort")?;
    Ok(newer.or(older).map(|effort| match effort.as_str() {
        "none" => false.into(),
        "minimal" => "low".into(),
        "xhigh" => "max".into(),
        other => other.into(),
    }))
}

fn check_logprobs(field: &str, top: Option<u32>) -> Read<()> {
    if top.is_some_and(|top| top > MOST_LOGPROBS) {
        return Err(wrong(field, &format!("at most {MOST_LOGPROBS}")));
    }
    Ok(())
}

/// What both routes share; all that is left goes on as it is.
fn settings(mut fields: Fields) -> Read<Settings> {
    let newer = fields.whole("max_completion_tokens")?;
    let limit = newer.or(fields.whole("max_tokens")?);
    fields.take("max_tokens");
    if limit == Some(0) {
        return Err(wrong("max_tokens", "at least 1"));
    }
    let penalty = fields.number("repeat_penalty")?;
    let mut settings = Settings {
        max_tokens: limit,
        temperature: fields.number("temperature")?,
        top_p: fields.number("top_p")?,
        min_p: fields.number("min_p")?,
        top_k: fields.whole("top_k")?,
        seed: fields.whole("seed")?,
        stop: fields.text_or_texts("stop")?,
        repeat_penalty: penalty.or(fields.number("repetition_penalty")?),
        presence_penalty: fields.number("presence_penalty")?,
        frequency_penalty: fields.number("frequency_penalty")?,
        ..Settings::default()
    };
    settings.openai = fields.rest();
    Ok(settings)
}
