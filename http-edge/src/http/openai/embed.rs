//! `POST /v1/embeddings`: vectors as numbers, or as base64 of 32-bit floats.

use axum::extract::Request;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use echo_bus::message::{Done, Embed, Failure, Piece, Request as Ask, Settings, Vector};
use serde_json::{Value, json};

use super::ask::model;
use super::refusal::{json as plain, refusal};
use crate::http::api::{Api, trace_of};
use crate::http::error::ApiError;
use crate::http::fields::{Fields, wrong};
use crate::http::reply::{self, Voice};
use crate::report::Report;

/// Texts in one request.
const MOST_INPUTS: usize = 2048;

/// `POST /v1/embeddings`.
pub async fn embeddings(api: Api, request: Request) -> Result<Response, ApiError> {
    let trace = trace_of(request.headers());
    let (embed, voice) = read(api.fields(request).await?)?;
    let feed = api.begin(Ask::Embed(embed), trace, false)?;
    reply::answer(api.started(feed), voice, false).await
}

/// Understands a request.
pub fn read(mut fields: Fields) -> Result<(Embed, Vectors), ApiError> {
    let model = model(&mut fields)?;
    if model.is_empty() {
        return Err(wrong("model", "name the model: there is no default for embeddings"));
    }
    let input = fields.text_or_texts("input")?;
    if input.is_empty() || input.len() > MOST_INPUTS || input.iter().any(String::is_empty) {
        return Err(wrong("input", &format!("send 1 to {MOST_INPUTS} texts that are not empty")));
    }
    let base64 = match fields.text("encoding_format")?.as_deref() {
        None | Some("float") => false,
        Some("base64") => true,
        Some(_) => return Err(wrong("encoding_format", "expected float or base64")),
    };
    let dimensions = fields.count("dimensions")?;
    let settings = Settings { openai: fields.rest(), ..Settings::default() };
    // OpenAI refuses a text that is too long, and so does every node here.
    let truncate = Some(false);
    let embed = Embed { model: Some(model.clone()), input, dimensions, truncate, unscaled: false, settings };
    Ok((embed, Vectors { model, base64 }))
}

/// The answer of embeddings.
#[derive(Debug)]
pub struct Vectors {
    model: String,
    base64: bool,
}

impl Voice for Vectors {
    fn media(&self) -> &'static str {
        "application/json"
    }

    fn whole(&self, _: &Report, done: &Done) -> Response {
        let vectors = done.vectors.as_deref().unwrap_or_default();
        let vector =
            |vector: &Vector| if self.base64 { STANDARD.encode(bytes(vector)).into() } else { json!(vector) };
        let item = |(index, it)| json!({"object": "embedding", "index": index, "embedding": vector(it)});
        let data: Vec<Value> = vectors.iter().enumerate().map(item).collect();
        let tokens = done.prompt_tokens.unwrap_or_default();
        plain(json!({"object": "list", "data": data, "model": self.model,
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens}}))
    }

    // There are no streams of vectors.
    fn pieces(&mut self, _: Vec<Piece>, _: &mut Vec<u8>) {}

    fn answered(&mut self, _: &Report, _: &Done, _: &mut Vec<u8>) {}

    fn broken(&mut self, _: ApiError, _: Option<&Report>, _: &mut Vec<u8>) {}

    fn error(&self, failure: &Failure, _: &Report) -> ApiError {
        refusal(failure, &self.model)
    }
}

/// A vector as 32-bit floats, little end first.
#[expect(clippy::cast_possible_truncation, reason = "the format has 32 bits for each number")]
fn bytes(vector: &Vector) -> Vec<u8> {
    vector.iter().flat_map(|number| (number.as_f64().unwrap_or_default() as f32).to_le_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vector_is_packed_as_the_standard_says() {
        assert_eq!(STANDARD.encode(bytes(&serde_json::from_str("[1.0, -2.5]").unwrap())), "AACAPwAAIMA=");
    }
}
