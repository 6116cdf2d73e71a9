//! The messages of a conversation, in OpenAI's words.

use echo_bus::message::{Message, OPENAI, Part, ToolCall};
use serde_json::Value;

use crate::http::error::ApiError;
use crate::http::fields::Fields;
use crate::http::image;

type Read<T> = Result<T, ApiError>;

/// All messages.
///
/// # Errors
/// 400 that names the place of what cannot be understood.
pub fn messages(list: Vec<Value>) -> Read<Vec<Message>> {
    list.into_iter().enumerate().map(|(place, value)| message(place, value)).collect()
}

fn message(place: usize, value: Value) -> Read<Message> {
    let mut fields = Fields::within(format!("messages[{place}]"), value)?;
    let role = fields.text("role")?.unwrap_or_default();
    let role = match role.as_str() {
        // The newer word for the same; templates know the older one.
        "developer" => "system".to_owned(),
        "system" | "user" | "assistant" | "tool" => role,
        _ => return Err(fields.wrong("role", "system, developer, user, assistant or tool")),
    };
    let mut message = Message { role, ..Message::default() };
    let said = content(&mut fields)?;
    let thinking = fields.text("reasoning_content")?;
    message.push_thinking(&thinking.or(fields.text("reasoning")?).unwrap_or_default());
    let calls = fields.list("tool_calls")?.into_iter().enumerate();
    let calls =
        calls.map(|(number, call)| tool_call(&fields.place(&format!("tool_calls[{number}]")), number, call));
    let calls = calls.collect::<Read<Vec<_>>>()?;
    if message.role == "tool" {
        let id = fields.text("tool_call_id")?.unwrap_or_default();
        let name = fields.text("name")?.unwrap_or_default();
        message.content.push(Part::ToolResult { id, name, content: said });
    } else {
        message.content.extend(said);
    }
    message.content.extend(calls.into_iter().map(Part::ToolCall));
    message.foreign = fields.foreign(OPENAI);
    Ok(message)
}

/// A text, or a list of texts and pictures.
fn content(fields: &mut Fields) -> Read<Vec<Part>> {
    match fields.take("content") {
        None => Ok(Vec::new()),
        Some(Value::String(text)) if text.is_empty() => Ok(Vec::new()),
        Some(Value::String(text)) => Ok(vec![Part::text(text)]),
        Some(Value::Array(parts)) => {
            let parts = parts.into_iter().enumerate();
            parts.map(|(number, value)| part(&fields.place(&format!("content[{number}]")), value)).collect()
        }
        Some(_) => Err(fields.wrong("content", "a text or a list of parts")),
    }
}

fn part(place: &str, value: Value) -> Read<Part> {
    let mut part = Fields::within(place, value)?;
    let kind = part.text("type")?.unwrap_or_default();
    match kind.as_str() {
        "text" | "refusal" => Ok(Part::text(part.text(&kind)?.unwrap_or_default())),
        "image_url" => Ok(Part::Image { data: image(&mut part)? }),
        _ => Err(part.wrong("type", "text or image_url")),
    }
}

/// The base64 of a picture that travels in the request.
fn image(part: &mut Fields) -> Read<String> {
    let url = match part.take("image_url") {
        Some(Value::String(url)) => url,
        Some(value @ Value::Object(_)) => {
            Fields::within(part.place("image_url"), value)?.text("url")?.unwrap_or_default()
        }
        _ => return Err(part.wrong("image_url", "an object with a url")),
    };
    image::of_url(&part.place("image_url.url"), &url)
}

fn tool_call(place: &str, number: usize, value: Value) -> Read<ToolCall> {
    let mut call = Fields::within(place, value)?;
    let function = call.take("function").unwrap_or_default();
    let mut function = Fields::within(call.place("function"), function)?;
    // What models write where a function takes nothing.
    if function.peek("arguments").is_some_and(|said| said == "null") {
        function.take("arguments");
    }
    Ok(ToolCall {
        id: call.text("id")?.unwrap_or_default(),
        index: u32::try_from(number).unwrap_or_default(),
        name: function.required_text("name")?,
        arguments: function.arguments()?,
        ..ToolCall::default()
    })
}
