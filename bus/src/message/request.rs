//! What a task asks of an engine, in words that are neither Ollama's nor OpenAI's.

use std::hash::{DefaultHasher, Hasher as _};
use std::io;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::capability::Capability;
use super::content::Message;
use super::load_options::LoadOptions;
use super::settings::Settings;
use super::skip::is_default;
use crate::id::NodeId;

/// The request of a task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Request {
    Generate(Generate),
    Chat(Chat),
    Embed(Embed),
    /// How many tokens the prompt of this conversation has; nothing is generated, and no slot is taken. The answer is in
    /// [`Done::prompt_tokens`](super::Done::prompt_tokens).
    Count(Chat),
    Show(Named),
    Pull(Named),
    Delete(Named),
    /// Out of memory, whatever still uses it.
    Unload(Named),
    /// A word of a newer version: to be refused.
    #[serde(other)]
    Unknown,
}

impl Request {
    /// The model that the client asked for.
    pub fn model(&self) -> Option<&str> {
        match self {
            Self::Generate(it) => it.model.as_deref(),
            Self::Chat(it) | Self::Count(it) => it.model.as_deref(),
            Self::Embed(it) => it.model.as_deref(),
            Self::Show(it) | Self::Pull(it) | Self::Delete(it) | Self::Unload(it) => Some(&it.model),
            Self::Unknown => None,
        }
    }

    /// How its answer is to be generated, if one is.
    pub fn settings_mut(&mut self) -> Option<&mut Settings> {
        match self {
            Self::Generate(it) => Some(&mut it.settings),
            Self::Chat(it) => Some(&mut it.settings),
            _ => None,
        }
    }

    /// Its model is to be loaded, and nothing is asked of it.
    pub fn is_load(&self) -> bool {
        match self {
            Self::Generate(it) => it.prompt.is_empty() && it.images.is_empty(),
            Self::Chat(it) => it.messages.is_empty(),
            _ => false,
        }
    }

    /// The same for requests that ask the same, within one process and nowhere else.
    pub fn fingerprint(&self) -> u64 {
        struct Hashed(DefaultHasher);
        impl io::Write for Hashed {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0.write(bytes);
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut hashed = Hashed(DefaultHasher::new());
        // What cannot be written was never read from anywhere either.
        let _ = serde_json::to_writer(&mut hashed, self);
        hashed.0.finish()
    }

    /// What a model must be able to do for this request.
    pub fn needs(&self) -> Vec<Capability> {
        let mut needs = Vec::new();
        let mut need = |wanted: bool, what| {
            if wanted {
                needs.push(what)
            }
        };
        match self {
            Self::Generate(it) => {
                need(true, Capability::Completion);
                need(!it.images.is_empty(), Capability::Vision);
                need(!it.suffix.is_empty(), Capability::Insert);
                need(it.settings.must_think(), Capability::Thinking);
            }
            Self::Chat(it) => {
                need(true, Capability::Completion);
                need(it.messages.iter().any(|message| message.images().next().is_some()), Capability::Vision);
                need(!it.tools.is_empty(), Capability::Tools);
                need(it.settings.must_think(), Capability::Thinking);
            }
            Self::Embed(_) => need(true, Capability::Embedding),
            Self::Count(_)
            | Self::Show(_)
            | Self::Pull(_)
            | Self::Delete(_)
            | Self::Unload(_)
            | Self::Unknown => {}
        }
        needs
    }

    /// The options with which the model is to be loaded; `None` if this request loads none.
    pub fn load_options(&self) -> Option<LoadOptions> {
        match self {
            Self::Generate(it) => Some(LoadOptions::of(&it.settings)),
            Self::Chat(it) => Some(LoadOptions::of(&it.settings)),
            Self::Embed(it) => Some(LoadOptions::of(&it.settings)),
            Self::Count(_)
            | Self::Show(_)
            | Self::Pull(_)
            | Self::Delete(_)
            | Self::Unload(_)
            | Self::Unknown => None,
        }
    }
}

/// A completion of a prompt.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Generate {
    /// Absent: the mesh's default model.
    #[serde(default, skip_serializing_if = "is_default")]
    pub model: Option<String>,
    #[serde(default)]
    pub prompt: String,
    #[serde(default, skip_serializing_if = "is_default")]
    pub system: String,
    /// What comes after the answer (fill in the middle).
    #[serde(default, skip_serializing_if = "is_default")]
    pub suffix: String,
    /// Base64, without a data URL's head.
    #[serde(default, skip_serializing_if = "is_default")]
    pub images: Vec<String>,
    /// The prompt goes to the model as it is, with no template.
    #[serde(default, skip_serializing_if = "is_default")]
    pub raw: bool,
    #[serde(default, skip_serializing_if = "is_default")]
    pub settings: Settings,
}

/// The next message of a conversation.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Chat {
    /// Absent: the mesh's default model.
    #[serde(default, skip_serializing_if = "is_default")]
    pub model: Option<String>,
    #[serde(default)]
    pub messages: Vec<Message>,
    /// As the client described them; both dialects use the same shape.
    #[serde(default, skip_serializing_if = "is_default")]
    pub tools: Vec<Value>,
    /// Absent: the model calls what it wants to.
    #[serde(default, skip_serializing_if = "is_default")]
    pub tool_choice: Option<ToolChoice>,
    /// Whether it may call several at once; absent: as the engine does.
    #[serde(default, skip_serializing_if = "is_default")]
    pub parallel_tool_calls: Option<bool>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub settings: Settings,
}

/// What has to be called. An engine without a word for it (Ollama) gets the tools alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToolChoice {
    /// Some tool.
    Required,
    /// This one. The request has no other tools.
    Only(String),
}

/// Vectors for texts.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Embed {
    /// Absent: refused; there is no default model for embeddings.
    #[serde(default, skip_serializing_if = "is_default")]
    pub model: Option<String>,
    pub input: Vec<String>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub dimensions: Option<u32>,
    /// `false`: a text that is too long is refused; else it may be shortened, as Ollama's `/api/embed` does.
    #[serde(default, skip_serializing_if = "is_default")]
    pub truncate: Option<bool>,
    /// The vectors as the model makes them, not scaled to length one: Ollama's older route.
    #[serde(default, skip_serializing_if = "is_default")]
    pub unscaled: bool,
    #[serde(default, skip_serializing_if = "is_default")]
    pub settings: Settings,
}

/// Something about one model.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "NamedJson")]
pub struct Named {
    pub model: String,
    /// Only these nodes may be asked; empty: any.
    #[serde(skip_serializing_if = "is_default")]
    pub nodes: Vec<NodeId>,
    /// Further fields, passed as they are to an Ollama node.
    #[serde(skip_serializing_if = "is_default")]
    pub extra: Map<String, Value>,
}

#[derive(Deserialize)]
struct NamedJson {
    model: String,
    #[serde(default)]
    nodes: Vec<NodeId>,
    #[serde(default)]
    extra: Map<String, Value>,
}

impl TryFrom<NamedJson> for Named {
    type Error = serde_json::Error;

    /// An older edge names the nodes in `extra`: a delete that passed over them would reach other nodes.
    fn try_from(json: NamedJson) -> serde_json::Result<Self> {
        let NamedJson { model, mut nodes, mut extra } = json;
        if let Some(named) = extra.remove("nodes") {
            nodes = serde_json::from_value(named)?;
        }
        Ok(Self { model, nodes, extra })
    }
}
