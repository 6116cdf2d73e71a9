//! What the scripted engine is told to do: its models, its pace and its faults.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{hardware::Hardware, template::Style};

/// What a loaded model takes beside its weights, none of it on the graphics card.
const AROUND: u64 = 64 << 20;

/// Which of the two APIs the engine answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Api {
    /// Ollama's native API.
    Ollama,
    /// llama.cpp's server: OpenAI's routes and its own.
    Openai,
    /// Both sets of routes on one port; `/` then answers as Ollama.
    #[default]
    Both,
}

impl Api {
    pub fn ollama(self) -> bool {
        self != Api::Openai
    }

    pub fn openai(self) -> bool {
        self != Api::Ollama
    }
}

/// One model that the engine has on its disk.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Model {
    /// As a user would write it; Ollama's API shows it with its tag.
    pub name: String,
    pub size: u64,
    pub family: String,
    pub parameter_size: String,
    pub quantization: String,
    pub context: u64,
    /// Ollama's words: `completion`, `tools`, `vision`, `thinking`, `insert`, `embedding`.
    pub capabilities: Vec<String>,
    /// It cannot be loaded.
    pub broken: bool,
}

impl Default for Model {
    fn default() -> Self {
        Self {
            name: "scripted".to_owned(),
            size: 98_362_432,
            family: "llama".to_owned(),
            parameter_size: "135M".to_owned(),
            quantization: "Q4_1".to_owned(),
            context: 4096,
            capabilities: vec!["completion".to_owned(), "tools".to_owned()],
            broken: false,
        }
    }
}

impl Model {
    /// A model that generates and can call tools.
    pub fn named(name: impl Into<String>) -> Self {
        Self { name: name.into(), ..Self::default() }
    }

    /// A model that embeds and cannot generate.
    pub fn embedding(name: impl Into<String>) -> Self {
        Self { capabilities: vec!["embedding".to_owned()], ..Self::named(name) }
    }

    /// A model that is on the disk and cannot be loaded.
    pub fn unloadable(name: impl Into<String>) -> Self {
        Self { broken: true, ..Self::named(name) }
    }

    /// Bytes that it takes in memory.
    pub fn in_memory(&self) -> u64 {
        self.size.saturating_add(AROUND)
    }

    /// The size of one that takes so many bytes in memory.
    pub fn of_memory(bytes: u64) -> u64 {
        bytes.saturating_sub(AROUND)
    }

    #[must_use]
    pub fn able(mut self, capability: &str) -> Self {
        self.capabilities.push(capability.to_owned());
        self
    }

    pub fn can(&self, capability: &str) -> bool {
        self.capabilities.iter().any(|have| have == capability)
    }
}

/// A model's name with its tag, as Ollama compares them.
pub fn tagged(name: &str) -> String {
    let last = name.rsplit('/').next().unwrap_or(name);
    if last.contains(':') { name.to_owned() } else { format!("{name}:latest") }
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FaultKind {
    /// The engine dies: the process exits, or listener and connections close.
    Die,
    /// Nothing more is sent; the connection and the slot stay.
    Stall,
    /// An error in place of the chunk: a last line, or status 500 before the first byte.
    Error,
    /// The body ends properly, without `done`.
    End,
    /// The connection closes in the middle of the chunk.
    Cut,
    /// Bytes that are no JSON and no UTF-8, then the end of the body.
    Garbage,
    /// 503 before anything.
    Busy,
    /// 500 before anything.
    Fail,
    /// 404, as if the model were not there.
    Missing,
}

/// One fault, waiting for the requests that it is meant for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    pub kind: FaultKind,
    /// How many chunks of the answer go out before it. Without meaning for busy, fail and missing.
    #[serde(default)]
    pub at: u64,
    /// How many requests it hits; absent: all of them.
    #[serde(default)]
    pub times: Option<u64>,
}

impl Fault {
    /// A fault for every request from now on.
    pub fn at(kind: FaultKind, at: u64) -> Self {
        Self { kind, at, times: None }
    }

    /// Only for the next `times` requests.
    #[must_use]
    pub fn times(mut self, times: u64) -> Self {
        self.times = Some(times);
        self
    }
}

/// The tool call that ends an answer to a request that brought tools.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToolCall {
    pub name: String,
    #[serde(default)]
    pub arguments: serde_json::Map<String, serde_json::Value>,
}

/// The whole script. Every field but `api` and `hardware` may be changed while the engine runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Script {
    pub api: Api,
    pub models: Vec<Model>,
    /// Requests that run at once; more wait without headers.
    pub slots: usize,
    /// Requests that may wait for a model that is not loaded; more get 503.
    pub queue_limit: usize,
    /// Length of an answer, the text so far included.
    pub tokens: u64,
    pub tokens_per_chunk: u64,
    #[serde(rename = "first_token_delay_ms", with = "millis")]
    pub first_token_delay: Duration,
    #[serde(rename = "token_delay_ms", with = "millis")]
    pub token_delay: Duration,
    #[serde(rename = "load_delay_ms", with = "millis")]
    pub load_delay: Duration,
    /// Chunks that may share one write while there is no delay between them.
    pub batch: usize,
    /// Whether the chat template continues a trailing assistant message.
    pub continues: bool,
    /// Whether it marks thoughts and tool calls so that a reader of raw text sees them.
    pub marks: bool,
    /// The chat template refuses a system message that is not the first.
    pub strict_template: bool,
    /// Thinking tokens before the answer of a model that can think.
    pub thoughts: u64,
    /// The last text travels in the chunk that says `done`.
    pub text_in_final: bool,
    /// Asked of requests that bring tools.
    pub tool_call: Option<ToolCall>,
    /// The same to the letter, in place of it: each is one chunk's `tool_calls`, however odd.
    pub tool_chunks: Vec<serde_json::Value>,
    /// Speaks as vLLM and not as llama.cpp: with this length in its list of models, and no /props or /slots.
    pub max_model_len: Option<u64>,
    /// Speaks OpenAI's API and nothing of its own, as many servers do.
    pub plain: bool,
    /// The longest text that is embedded, in words; absent: any.
    pub embedding_limit: Option<usize>,
    pub pull_steps: u64,
    #[serde(rename = "pull_delay_ms", with = "millis")]
    pub pull_delay: Duration,
    /// What a pull fails with, as a line on a 200.
    pub pull_error: Option<String>,
    /// A closed request that does not stream runs to its end, as llama.cpp's server does.
    pub openai_runs_on: bool,
    /// The first that has requests left hits.
    pub faults: Vec<Fault>,
    /// The machine that it runs on; absent: one that takes no time but the delays.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hardware: Option<Hardware>,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            api: Api::default(),
            models: vec![Model::default()],
            slots: 1,
            queue_limit: 512,
            tokens: 16,
            tokens_per_chunk: 1,
            first_token_delay: Duration::ZERO,
            token_delay: Duration::ZERO,
            load_delay: Duration::ZERO,
            batch: 64,
            continues: true,
            marks: true,
            strict_template: false,
            thoughts: 3,
            text_in_final: false,
            tool_call: None,
            tool_chunks: Vec::new(),
            max_model_len: None,
            plain: false,
            embedding_limit: None,
            pull_steps: 4,
            pull_delay: Duration::ZERO,
            pull_error: None,
            openai_runs_on: true,
            faults: Vec::new(),
            hardware: None,
        }
    }
}

impl Script {
    /// What the template does with the end of a conversation. llama.cpp's server can leave thoughts open; Ollama's
    /// templates close them.
    pub fn style(&self, api: Api) -> Style {
        let continues_thoughts = self.continues && api == Api::Openai;
        Style { continues: self.continues, continues_thoughts, marks: self.marks }
    }

    /// Speaks as llama.cpp's server, which tells more of itself than others.
    pub fn is_llama_cpp(&self) -> bool {
        self.max_model_len.is_none() && !self.plain
    }

    /// This script with the fields of a JSON object in place of its own.
    pub fn patched(&self, patch: &serde_json::Value) -> Result<Self, String> {
        let patch = patch.as_object().ok_or("a script is a JSON object")?;
        let mut whole = serde_json::to_value(self).map_err(|error| error.to_string())?;
        if let Some(fields) = whole.as_object_mut() {
            fields.extend(patch.clone());
        }
        let script: Self = serde_json::from_value(whole).map_err(|error| error.to_string())?;
        if script.api != self.api {
            return Err("the API is chosen at the start and cannot change".to_owned());
        }
        if script.hardware != self.hardware {
            return Err("the machine is chosen at the start and cannot change".to_owned());
        }
        Ok(script)
    }
}

/// A duration as a whole number of milliseconds.
pub mod millis {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(value: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(u64::try_from(value.as_millis()).unwrap_or(u64::MAX))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        u64::deserialize(from).map(Duration::from_millis)
    }
}
