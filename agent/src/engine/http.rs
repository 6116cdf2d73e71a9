//! The HTTP side of every engine: bounded answers, and errors sorted by what they mean for the task.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use echo_bus::message::{Code, Failure, Fault};
use futures::StreamExt;
use reqwest::Method;
use reqwest::header::HeaderValue;
use serde_json::Value;

use super::address::Address;
use super::contract::Down;
pub use super::http_error::{BuildError, HttpError, Rejection};
use super::verdict;
use super::way::{Answer, Body, Way};

/// How long an engine under load may take for a question about itself.
const ASK: Duration = Duration::from_secs(3);

/// The largest answer that is not a stream, in bytes.
const LARGEST: usize = 64 << 20;

/// The largest part of an error message that is passed on, in characters.
const LONGEST_REASON: usize = 300;

/// A way to one engine; cheap to clone.
#[derive(Clone)]
pub struct Http {
    way: Arc<Way>,
    base: Arc<str>,
}

impl Http {
    pub fn new(address: &Address) -> Result<Self, BuildError> {
        let base = address.url.as_str().trim_end_matches('/').into();
        let way = Arc::new(Way::to(&address.url, bearer(address)?)?);
        Ok(Self { way, base })
    }

    /// Where it leads, for messages.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Asks the engine about itself.
    pub async fn get(&self, path: &str) -> Result<Value, HttpError> {
        self.ask(Method::GET, path, String::new()).await
    }

    /// Asks the engine about itself or about a prompt, quickly answered.
    pub async fn ask_with(&self, path: &str, body: &Value) -> Result<Value, HttpError> {
        self.ask(Method::POST, path, body.to_string()).await
    }

    async fn ask(&self, method: Method, path: &str, body: String) -> Result<Value, HttpError> {
        let answer = async {
            let answer = accepted(self.way.send(method, path, body).await?).await?;
            json(&read(answer).await?)
        };
        tokio::time::timeout(ASK, answer).await.unwrap_or(Err(HttpError::Slow))
    }

    /// Sends a request and waits for its whole answer, as long as it takes.
    pub async fn call(&self, method: Method, path: &str, body: &Value) -> Result<Value, Failure> {
        self.try_call(method, path, body).await.map_err(|error| self.failure(error))
    }

    /// The same, with an error that can be looked at.
    pub async fn try_call(&self, method: Method, path: &str, body: &Value) -> Result<Value, HttpError> {
        let bytes = read(self.try_send(method, path, body).await?).await?;
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Ok(Value::Null);
        }
        json(&bytes)
    }

    /// Sends a request and returns once the head of the answer is here.
    pub async fn send(&self, method: Method, path: &str, body: &Value) -> Result<Body, Failure> {
        self.try_send(method, path, body).await.map_err(|error| self.failure(error))
    }

    /// The same, with an error that can be looked at.
    pub async fn try_send(&self, method: Method, path: &str, body: &Value) -> Result<Body, HttpError> {
        accepted(self.way.send(method, path, body.to_string()).await?).await
    }

    /// What an error means for the task that met it.
    pub fn failure(&self, error: HttpError) -> Failure {
        match error {
            HttpError::Rejected(it) => verdict::rejected(it.status.as_u16(), &it.reason),
            HttpError::Unreachable(why) => {
                let message = format!("the engine at {} cannot be reached: {why}", self.base);
                // Whatever ended it, it was not a request that never got there.
                Failure { fault: Fault::Other, ..Failure::elsewhere(Code::EngineUnreachable, message) }
            }
            HttpError::Lost(why) => lost(&why),
            HttpError::Broken(why) => {
                Failure::elsewhere(Code::EngineError, format!("the engine's answer is unusable: {why}"))
            }
            HttpError::Slow => {
                Failure::elsewhere(Code::EngineStalled, "the engine did not answer a question in time")
            }
        }
    }

    /// What an error means for the node.
    pub fn down(&self, error: HttpError) -> Down {
        let base = &self.base;
        let slow = matches!(error, HttpError::Slow);
        let reason = match error {
            HttpError::Rejected(it) => {
                format!("the engine at {base} answers {}: {}", it.status.as_u16(), it.reason)
            }
            HttpError::Unreachable(why) | HttpError::Lost(why) => {
                format!("the engine at {base} cannot be reached: {why}")
            }
            HttpError::Broken(why) => format!("the engine at {base} answers nonsense: {why}"),
            HttpError::Slow => format!("the engine at {base} does not answer"),
        };
        Down { reason, slow }
    }
}

fn bearer(address: &Address) -> Result<Option<HeaderValue>, BuildError> {
    let Some(path) = &address.key_file else { return Ok(None) };
    let shown = path.display().to_string();
    let text =
        std::fs::read_to_string(path).map_err(|source| BuildError::Key { path: shown.clone(), source })?;
    let key = text.trim();
    let header = HeaderValue::from_str(&format!("Bearer {key}"));
    let Ok(mut header) = header else { return Err(BuildError::BadKey(shown)) };
    if key.is_empty() || key.chars().any(char::is_control) {
        return Err(BuildError::BadKey(shown));
    }
    header.set_sensitive(true);
    Ok(Some(header))
}

async fn accepted(Answer { status, body }: Answer) -> Result<Body, HttpError> {
    if status.is_success() {
        return Ok(body);
    }
    let body = tokio::time::timeout(ASK, read(body)).await;
    let reason = body.ok().and_then(Result::ok).map(|body| reason(&body)).unwrap_or_default();
    Err(HttpError::Rejected(Rejection { status, reason }))
}

/// The engine's own words for an error, or none: `{"error": "…"}`, `{"error": {"message": "…"}}`, `{"message": "…"}`,
/// and `{"detail": …}` of servers that check their requests by FastAPI.
pub fn reason(body: &[u8]) -> String {
    let value: Value = serde_json::from_slice(body).unwrap_or_default();
    let detail = &value["detail"];
    let places = [&value["error"], &value["message"], detail, &detail[0]["msg"]];
    let told = places.into_iter().map(words).find(|words| !words.is_empty());
    told.unwrap_or_default()
}

/// The words in the value of an `error` field.
pub fn said(error: &Value) -> String {
    let words = words(error);
    if words.is_empty() { "it does not say why".to_owned() } else { words }
}

fn words(error: &Value) -> String {
    let text = error.as_str().or_else(|| error["message"].as_str()).unwrap_or_default();
    text.chars().filter(|c| !c.is_control()).take(LONGEST_REASON).collect()
}

async fn read(mut body: Body) -> Result<Bytes, HttpError> {
    let mut whole = BytesMut::new();
    while let Some(part) = body.next().await {
        let part = part.map_err(HttpError::Lost)?;
        if whole.len() + part.len() > LARGEST {
            return Err(HttpError::Broken(format!("it is larger than {LARGEST} bytes")));
        }
        whole.extend_from_slice(&part);
    }
    Ok(whole.freeze())
}

fn json(body: &[u8]) -> Result<Value, HttpError> {
    serde_json::from_slice(body).map_err(|_| HttpError::Broken("it is not JSON".to_owned()))
}

/// The engine was there, and ended its connection before its answer was whole.
pub fn lost(why: &str) -> Failure {
    Failure::elsewhere(Code::EngineUnreachable, format!("the engine's answer broke off: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn both_shapes_of_an_error_are_read() {
        assert_eq!(reason(br#"{"error":"model 'x' not found"}"#), "model 'x' not found");
        assert_eq!(reason(br#"{"error":{"code":501,"message":"no"}}"#), "no");
        assert_eq!(reason(br#"{"detail":"x must be positive"}"#), "x must be positive");
        assert_eq!(reason(br#"{"detail":[{"msg":"field required"}]}"#), "field required");
        assert_eq!((reason(b"<html>"), reason(b"7")), (String::new(), String::new()));
    }

    proptest! {
        #[test]
        fn any_error_body_makes_a_short_reason(body in prop::collection::vec(any::<u8>(), 0..2000)) {
            prop_assert!(reason(&body).chars().count() <= LONGEST_REASON);
        }
    }
}
