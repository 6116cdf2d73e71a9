//! What a scripted engine runs on, where it is to be as slow as a real one: speeds, load times, and memory for models.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

/// A machine. An engine on one has the script's slots for each model in memory, and none of the script's delays.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Hardware {
    /// Bytes for models.
    pub memory: u64,
    /// `k` answers at once have together `k` to the power of this times the speed of one.
    pub sharing: f64,
    /// What each request costs beside its prompt.
    #[serde(rename = "overhead_ms", with = "super::script::millis")]
    pub overhead: Duration,
    /// By the models' names; one that is not here has the default speeds.
    pub models: BTreeMap<String, Pace>,
    /// What is in memory from the start.
    pub loaded: Vec<String>,
}

impl Default for Hardware {
    fn default() -> Self {
        Self {
            memory: 8 << 30,
            sharing: 0.5,
            overhead: Duration::from_millis(50),
            models: BTreeMap::new(),
            loaded: Vec::new(),
        }
    }
}

/// What a machine does with a model.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Pace {
    /// Tokens per second of an answer that is alone.
    pub decode: f64,
    /// Prompt tokens per second.
    pub prompt: f64,
    #[serde(rename = "load_ms", with = "super::script::millis")]
    pub load: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self { decode: 30.0, prompt: 600.0, load: Duration::from_secs(5) }
    }
}

impl Pace {
    /// A script is written by hand: a speed of zero would be for ever.
    pub fn checked(self) -> Self {
        Self { decode: self.decode.clamp(0.01, 1e6), prompt: self.prompt.clamp(0.01, 1e9), ..self }
    }
}
