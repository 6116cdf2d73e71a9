//! How a request wants its answer to be generated.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::skip::is_default;

/// How to generate. What the client left out stays out: the engine's own defaults hold.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Tokens at most; negative is Ollama's for no limit.
    #[serde(default, skip_serializing_if = "is_default")]
    pub max_tokens: Option<i64>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub temperature: Option<f64>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub top_p: Option<f64>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub min_p: Option<f64>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub top_k: Option<i64>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub seed: Option<i64>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub stop: Vec<String>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub repeat_penalty: Option<f64>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub presence_penalty: Option<f64>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub frequency_penalty: Option<f64>,
    /// `"json"` or a JSON schema. An answer under it cannot be continued.
    #[serde(default, skip_serializing_if = "is_default")]
    pub format: Option<Value>,
    /// `true`, `false` or a level.
    #[serde(default, skip_serializing_if = "is_default")]
    pub think: Option<Value>,
    /// Thinking is a wish: a model that cannot answers without it. Else such a model refuses.
    #[serde(default, skip_serializing_if = "is_default")]
    pub think_if_able: bool,
    #[serde(default, skip_serializing_if = "is_default")]
    pub logprobs: Option<bool>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub top_logprobs: Option<u32>,
    /// As the client said it: a number of seconds or a Go duration.
    #[serde(default, skip_serializing_if = "is_default")]
    pub keep_alive: Option<Value>,
    /// Ollama's own top-level fields with no place above, passed as they are to an Ollama node; its `options` object
    /// holds the options with no place above.
    #[serde(default, skip_serializing_if = "is_default")]
    pub extra: Map<String, Value>,
    /// OpenAI's fields with no place above (`logit_bias`, `user`, …), passed as they are to a node with that API.
    #[serde(default, skip_serializing_if = "is_default")]
    pub openai: Map<String, Value>,
}

impl Settings {
    /// Whether the answer has a format; clients say the empty one for none.
    pub fn has_format(&self) -> bool {
        self.format.as_ref().is_some_and(|format| !format.is_null() && format != "")
    }

    /// Whether the model has to be one that thinks.
    pub(super) fn must_think(&self) -> bool {
        !self.think_if_able
            && self.think.as_ref().is_some_and(|think| *think != Value::Bool(false) && !think.is_null())
    }
}
