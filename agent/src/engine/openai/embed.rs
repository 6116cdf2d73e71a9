//! Vectors from a server with OpenAI's API, and what becomes of a text that is too long for it.

use echo_bus::message::{Code, Done, Embed, Failure, Vector};
use reqwest::{Method, StatusCode};
use serde_json::{Number, Value, json};

use super::request;
use crate::engine::http::{Http, HttpError};
use crate::engine::steps::nonsense;

/// The vectors of all texts.
///
/// A server like llama.cpp's answers 500 to a text that is longer than its batch, but it is not the server's fault and
/// no other try would help: so the request is refused, or, as Ollama does, the texts are shortened.
///
/// # Errors
/// When the engine refuses or fails.
pub async fn vectors(http: &Http, model: &str, embed: &Embed) -> Result<Done, Failure> {
    if embed.input.is_empty() {
        return Ok(done(Vec::new(), Some(0)));
    }
    let mut body = request::embed(model, embed);
    let limit = match ask(http, &body).await? {
        Ok(answer) => return embedded(answer, embed.dimensions),
        Err(limit) => limit,
    };
    let long = too_long(http, &embed.input, limit.tokens).await;
    if embed.truncate == Some(false) || long.is_empty() {
        return Err(refused(&embed.input, &long, &limit));
    }
    for text in &long {
        body["input"][text.place] = text.tokens.clone().into();
    }
    match ask(http, &body).await? {
        Ok(answer) => embedded(answer, embed.dimensions),
        Err(limit) => Err(refused(&embed.input, &long, &limit)),
    }
}

async fn ask(http: &Http, body: &Value) -> Result<Result<Value, Limit>, Failure> {
    match http.try_call(Method::POST, "/v1/embeddings", body).await {
        Ok(answer) => Ok(Ok(answer)),
        Err(error) => Limit::of(&error).map(Err).ok_or_else(|| http.failure(error)),
    }
}

/// What a server says of a text that is too long for it.
struct Limit {
    /// The most that it takes, if it says so.
    tokens: Option<usize>,
    reason: String,
}

impl Limit {
    /// `input (601 tokens) is too large to process. increase the physical batch size (current batch size: 512)`, or
    /// `input (601 tokens) is larger than the max context size (512 tokens). skipping`.
    fn of(error: &HttpError) -> Option<Self> {
        let HttpError::Rejected(it) = error else { return None };
        let of_size = it.status == StatusCode::INTERNAL_SERVER_ERROR || it.status == StatusCode::BAD_REQUEST;
        let says = ["too large to process", "larger than the max context size"];
        if !of_size || !says.iter().any(|words| it.reason.contains(words)) {
            return None;
        }
        let (_, behind) = it.reason.split_once(" tokens)")?;
        let digits = behind.split(|c: char| !c.is_ascii_digit()).find(|digits| !digits.is_empty());
        Some(Self { tokens: digits.and_then(|digits| digits.parse().ok()), reason: it.reason.clone() })
    }
}

/// A text that is too long.
struct Long {
    place: usize,
    /// How many tokens it has.
    count: usize,
    /// As many of them as fit.
    tokens: Vec<Value>,
}

/// Which of the texts are; none if the server does not count tokens.
async fn too_long(http: &Http, texts: &[String], limit: Option<usize>) -> Vec<Long> {
    let mut long = Vec::new();
    let Some(limit) = limit else { return long };
    for (place, text) in texts.iter().enumerate() {
        // No token is shorter than a byte, but for those that a model puts around a text.
        if text.len() + MOST_SPECIAL <= limit {
            continue;
        }
        let Some(all) = tokens(http, text, true).await else { return Vec::new() };
        if all.len() > limit {
            let plain = tokens(http, text, false).await.unwrap_or_default();
            long.push(Long { place, count: all.len(), tokens: shortened(&all, &plain, limit) });
        }
    }
    long
}

/// Tokens that a model puts around a text.
const MOST_SPECIAL: usize = 8;

async fn tokens(http: &Http, text: &str, special: bool) -> Option<Vec<Value>> {
    let mut answer =
        http.ask_with("/tokenize", &json!({"content": text, "add_special": special})).await.ok()?;
    serde_json::from_value(answer["tokens"].take()).ok()
}

/// The first tokens of a text, between those that the model puts around it.
fn shortened(all: &[Value], plain: &[Value], limit: usize) -> Vec<Value> {
    let around = all.len().saturating_sub(plain.len());
    let before = (0..=around).find(|at| all[*at..].starts_with(plain)).unwrap_or(around);
    let kept = limit.saturating_sub(around).min(plain.len());
    let behind = &all[(before + plain.len()).min(all.len())..];
    let tokens = all[..before].iter().chain(&plain[..kept]).chain(behind);
    tokens.take(limit).cloned().collect()
}

fn refused(texts: &[String], long: &[Long], limit: &Limit) -> Failure {
    let message = match (long.first(), limit.tokens) {
        (Some(text), Some(most)) => {
            let place = if texts.len() == 1 { String::new() } else { format!("[{}]", text.place) };
            format!(
                "input{place}: it has {} tokens, and this node takes at most {most} in one text",
                text.count
            )
        }
        _ => format!("input: a text is too long for this node: {}", limit.reason),
    };
    Failure::give_up(Code::EngineRefused, message)
}

/// The answer of /v1/embeddings.
///
/// # Errors
/// When it holds no vectors.
pub fn embedded(mut answer: Value, dimensions: Option<u32>) -> Result<Done, Failure> {
    let data = answer.get_mut("data").map(Value::take);
    let Some(Value::Array(data)) = data else { return Err(nonsense("embeddings without vectors")) };
    let mut vectors: Vec<(u64, Vector)> = Vec::with_capacity(data.len());
    for (place, mut item) in (0..).zip(data) {
        let index = item["index"].as_u64().unwrap_or(place);
        let vector =
            item.get_mut("embedding").map(Value::take).and_then(|it| serde_json::from_value(it).ok());
        let vector = vector.ok_or_else(|| nonsense("an embedding that is no vector"))?;
        vectors.push((index, of_length(vector, dimensions)));
    }
    vectors.sort_by_key(|(index, _)| *index);
    let vectors = vectors.into_iter().map(|(_, vector)| vector).collect();
    Ok(done(vectors, answer["usage"]["prompt_tokens"].as_u64()))
}

/// A vector with no more numbers than were asked for, of length one again: llama.cpp does not look at that wish.
fn of_length(vector: Vector, dimensions: Option<u32>) -> Vector {
    let wanted = dimensions.map_or(0, |size| size as usize);
    if wanted == 0 || wanted >= vector.len() {
        return vector;
    }
    let kept: Vec<f64> = vector[..wanted].iter().map(|number| number.as_f64().unwrap_or_default()).collect();
    let length = kept.iter().map(|x| x * x).sum::<f64>().sqrt().max(1e-12);
    // Only what is no number at all has no JSON, and nothing divided by a length above zero becomes that.
    kept.into_iter().filter_map(|x| Number::from_f64(x / length)).collect()
}

fn done(vectors: Vec<Vector>, prompt_tokens: Option<u64>) -> Done {
    Done { prompt_tokens, vectors: Some(vectors), ..Done::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::http::Rejection;
    use proptest::prelude::*;

    fn rejected(status: u16, reason: &str) -> HttpError {
        let status = StatusCode::from_u16(status).unwrap();
        HttpError::Rejected(Rejection { status, reason: reason.to_owned() })
    }

    #[test]
    fn vectors_come_in_the_order_of_the_inputs() {
        let answer = json!({"data": [{"index": 1, "embedding": [2.0]}, {"index": 0, "embedding": [1.0]}],
            "usage": {"prompt_tokens": 3}});
        let done = embedded(answer, None).unwrap();
        assert_eq!((json!(done.vectors), done.prompt_tokens), (json!([[1.0], [2.0]]), Some(3)));
        for none in [
            json!({"data": [{}]}),
            Value::Null,
            json!({"data": [1]}),
            json!({"data": [{"embedding": ["x"]}]}),
        ] {
            assert!(embedded(none.clone(), None).is_err(), "{none}");
        }
    }

    #[test]
    fn a_vector_has_as_many_numbers_as_were_asked_for() {
        let answer = json!({"data": [{"embedding": [3.0, 4.0, 12.0]}]});
        let vector = |size| json!(embedded(answer.clone(), size).unwrap().vectors.unwrap()[0]);
        assert_eq!(vector(Some(2)), json!([0.6, 0.8]));
        for whole in [None, Some(0), Some(3), Some(4)] {
            assert_eq!(vector(whole), json!([3.0, 4.0, 12.0]));
        }
    }

    #[test]
    fn the_limit_is_read_from_either_sentence() {
        let batch = "input (601 tokens) is too large to process. increase the physical batch size (current batch size: 512)";
        let context = "input (601 tokens) is larger than the max context size (256 tokens). skipping";
        for (status, reason, limit) in [(500, batch, Some(512)), (400, context, Some(256))] {
            assert_eq!(Limit::of(&rejected(status, reason)).unwrap().tokens, limit);
        }
        let bare = "input (9 tokens) is too large to process";
        assert_eq!(Limit::of(&rejected(500, bare)).unwrap().tokens, None);
        for other in [rejected(500, "out of memory"), rejected(503, batch), HttpError::Slow] {
            assert!(Limit::of(&other).is_none());
        }
    }

    #[test]
    fn the_tokens_around_a_text_stay_around_it() {
        let tokens = |list: &[u64]| list.iter().map(|token| json!(token)).collect::<Vec<_>>();
        let plain = tokens(&[5, 6, 7, 8]);
        assert_eq!(shortened(&plain, &plain, 3), tokens(&[5, 6, 7]));
        assert_eq!(shortened(&tokens(&[1, 5, 6, 7, 8, 2]), &plain, 4), tokens(&[1, 5, 6, 2]));
        assert_eq!(shortened(&tokens(&[1, 5, 6, 7, 8]), &plain, 2), tokens(&[1, 5]));
    }

    proptest! {
        #[test]
        fn what_is_shortened_fits(
            all in prop::collection::vec(0..4_u64, 0..12), plain in prop::collection::vec(0..4_u64, 0..12),
            limit in 0..12_usize,
        ) {
            let values = |list: &[u64]| list.iter().map(|token| json!(token)).collect::<Vec<_>>();
            prop_assert!(shortened(&values(&all), &values(&plain), limit).len() <= limit);
        }
    }
}
