//! What the choice of engines is made from, and what it comes to.

use std::path::PathBuf;

use echo_bus::process::BadConfig;
use reqwest::Url;

use crate::typed::Typed;
use crate::up::address::shown;
use crate::up::plan::{Api, Engine};

/// The model that the mesh's first users asked for.
pub const USUAL_MODEL: &str = "mistral";
/// What the embedded engine serves.
pub const EMBEDDED_MODEL: &str = "smollm2";
/// Where Ollama comes from.
pub const OLLAMA: &str = "https://ollama.com/download";

/// Which engines are wanted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mode {
    #[default]
    Auto,
    Ollama,
    Openai,
    Embedded,
}

/// What the user has set about engines.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wish {
    pub mode: Mode,
    /// As it was written, such as `ECHO_ENGINE_MODE=ollama`.
    pub mode_said: String,
    pub model: Option<String>,
    /// As it was written, such as `ECHO_MODEL=mistral`.
    pub model_said: String,
    pub slots: Option<u32>,
    /// A pull is allowed, or never asked for.
    pub pull: Option<bool>,
}

/// An address where an engine may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seat {
    /// The node that it would be, for sentences.
    pub node: String,
    /// The setting that names the address.
    pub name: String,
    pub url: Url,
    pub found: Found,
}

/// What answers at an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    Ollama(Vec<String>),
    Openai(Vec<String>),
    /// An edge of a mesh, which speaks for engines elsewhere.
    Edge,
    /// A port that speaks something else.
    Other,
    Nothing,
}

/// What this machine has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Machine {
    /// The ollama command is on the PATH.
    pub ollama: bool,
    /// OLLAMA_NUM_PARALLEL.
    pub ollama_slots: Option<u32>,
    pub stores: Stores,
}

/// The model folders that an Ollama that we start may be given. The first is the user's own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stores {
    pub own: Store,
    /// The one of Ollama's system service, where it can be read.
    pub system: Option<Store>,
    /// The folder of the system service that this user cannot read.
    pub hidden: Option<PathBuf>,
}

/// A folder of models.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Store {
    pub path: PathBuf,
    pub models: Vec<String>,
}

/// The choice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    pub engines: Vec<Engine>,
    /// The model of tasks that name none.
    pub model: Option<String>,
    pub slots: Vec<Option<u32>>,
    pub why: String,
    pub missing: Option<Missing>,
}

/// A model that has to be pulled, which needs the user's word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    pub model: String,
    pub nodes: Vec<String>,
    /// Where it will lie, as far as that is known.
    pub at: Option<PathBuf>,
    /// What could be served without a pull, for the person: `node-a: phi:latest; node-b: none`.
    pub there: String,
}

impl Found {
    /// Its API and its models, if it is an engine.
    pub fn engine(&self) -> Option<(Api, &[String])> {
        match self {
            Self::Ollama(models) => Some((Api::Ollama, models)),
            Self::Openai(models) => Some((Api::Openai, models)),
            Self::Edge | Self::Other | Self::Nothing => None,
        }
    }

    pub fn is_ollama(&self) -> bool {
        matches!(self, Self::Ollama(_))
    }

    /// In one word, as a wait that fails says it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Ollama(_) => "ollama",
            Self::Openai(_) => "openai",
            Self::Edge => "an edge of a mesh",
            Self::Other => "something that is no engine",
            Self::Nothing => "no answer",
        }
    }
}

impl Stores {
    /// The one that has a model, else the user's own.
    pub fn with(&self, model: &str) -> &Store {
        let has = |store: &&Store| serves(model, &store.models);
        let others = self.system.iter();
        [&self.own].into_iter().chain(others).find(has).unwrap_or(&self.own)
    }

    /// The first that has any model at all.
    pub fn stocked(&self) -> Option<&Store> {
        [&self.own].into_iter().chain(self.system.iter()).find(|store| !store.models.is_empty())
    }

    pub fn models(&self) -> Vec<String> {
        let system = self.system.iter().flat_map(|store| &store.models);
        self.own.models.iter().chain(system).cloned().collect()
    }

    /// What a person whose models are in the hidden folder wonders about.
    pub fn note(&self) -> Option<String> {
        self.hidden.as_ref().map(|hidden| {
            format!(
                "Ollama's system service keeps its models in {}, which this user cannot read, so an Ollama that is \
                 started here has its own in {}.",
                hidden.display(),
                self.own.path.display()
            )
        })
    }
}

impl Wish {
    /// The embedded engine has one model.
    ///
    /// # Errors
    /// Another one is wished for.
    pub fn takes_embedded(&self) -> Result<(), BadConfig> {
        match &self.model {
            Some(model) if model != EMBEDDED_MODEL => Err(BadConfig(format!(
                "{}: the embedded engine serves {EMBEDDED_MODEL} only; leave ECHO_MODEL unset, or use Ollama.",
                self.model_said
            ))),
            _ => Ok(()),
        }
    }

    /// Nothing answers and there is no Ollama: is the embedded engine what is meant?
    ///
    /// # Errors
    /// A model is wished for that it does not have.
    pub fn falls_back(&self) -> Result<(), BadConfig> {
        match &self.model {
            Some(model) if model != EMBEDDED_MODEL => Err(BadConfig(format!(
                "{} needs Ollama, but none answers and the ollama command is not on the PATH: install it ({OLLAMA}) \
                 and start again, or leave ECHO_MODEL unset to talk to the small embedded model.",
                self.model_said
            ))),
            _ => Ok(()),
        }
    }
}

/// Whether a model is among others: `mistral` is `mistral:latest`.
pub fn serves(model: &str, models: &[String]) -> bool {
    models.iter().any(|one| one == model || one.strip_suffix(":latest") == Some(model))
}

/// `a b c`, or `none`.
pub fn listed(models: &[String]) -> String {
    if models.is_empty() { "none".to_owned() } else { models.join(" ") }
}

/// `a, b and c`.
pub fn joined(words: &[String]) -> String {
    match words {
        [] => String::new(),
        [one] => one.clone(),
        [before @ .., last] => format!("{} and {last}", before.join(", ")),
    }
}

/// The addresses of seats, for a sentence.
pub fn urls(seats: &[Seat]) -> String {
    joined(&seats.iter().map(|seat| shown(&seat.url).to_owned()).collect::<Vec<_>>())
}

/// The way to the usual model, for those who have got another one.
pub fn how_to_usual(model: &str, ollama: bool, typed: &Typed) -> String {
    if model.starts_with(USUAL_MODEL) {
        return String::new();
    }
    let (stop, start) = (&typed.stop, &typed.start);
    if ollama {
        format!(" For {USUAL_MODEL}: {stop}, then ECHO_ENGINE_MODE=ollama ECHO_PULL=1 {start}")
    } else {
        format!(" For {USUAL_MODEL}: install Ollama ({OLLAMA}), {stop}, then ECHO_PULL=1 {start}")
    }
}
