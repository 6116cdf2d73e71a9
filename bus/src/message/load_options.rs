//! How a model is loaded: the options that an engine can only apply by loading the model anew.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Number, Value};

use super::settings::Settings;

/// Ollama's names of the options that belong to a loaded model and not to one answer.
const NAMES: [&str; 6] = ["num_ctx", "num_batch", "num_gpu", "main_gpu", "use_mmap", "num_thread"];

/// The load-time options of a request, or those that a model was loaded with. None is a request for the engine's defaults.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Map<String, Value>")]
pub struct LoadOptions(BTreeMap<String, Value>);

impl From<Map<String, Value>> for LoadOptions {
    /// Anything else is left out, so that what a stranger sends stays small.
    fn from(mut options: Map<String, Value>) -> Self {
        options.retain(|name, value| {
            NAMES.contains(&name.as_str()) && matches!(value, Value::Number(_) | Value::Bool(_))
        });
        options.values_mut().for_each(whole);
        Self(options.into_iter().collect())
    }
}

impl LoadOptions {
    /// Those of a request.
    pub fn of(settings: &Settings) -> Self {
        let Some(Value::Object(options)) = settings.extra.get("options") else { return Self::default() };
        let ours = options.iter().filter(|(name, _)| NAMES.contains(&name.as_str()));
        ours.map(|(name, value)| (name.clone(), value.clone())).collect::<Map<_, _>>().into()
    }

    /// Puts them into a request's settings.
    pub fn put(&self, settings: &mut Settings) {
        if !self.is_empty() {
            let options: Map<_, _> =
                self.0.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
            settings.extra.insert("options".to_owned(), options.into());
        }
    }

    /// Those of a model that is in memory with this length of context; none where it is not known.
    pub fn with_length(length: Option<u64>) -> Self {
        length.map_or_else(Self::default, |length| Self::default().with_context(length))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The same for equal options, and with all likelihood only for those.
    pub fn key(&self) -> LoadKey {
        // FNV-1a: the same in every process, whatever its version.
        let mut hash = 0x811c_9dc5_u32;
        for (name, value) in &self.0 {
            let text = format!("{name}={value};");
            hash = text.bytes().fold(hash, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
        }
        LoadKey(hash.clamp(LoadKey::NOTHING + 1, LoadKey::ANYTHING - 1))
    }

    pub(super) fn with_context(&self, length: u64) -> Self {
        let mut options = self.0.clone();
        options.insert("num_ctx".to_owned(), length.into());
        Self(options)
    }
}

impl fmt::Display for LoadOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, (name, value)) in self.0.iter().enumerate() {
            let comma = if number == 0 { "" } else { ", " };
            write!(f, "{comma}{name} {value}")?;
        }
        Ok(())
    }
}

/// `4096.0` is `4096`.
fn whole(value: &mut Value) {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if let Some(number) = value.as_f64().filter(|number| number.fract() == 0.0 && number.abs() < EXACT) {
        *value = Value::Number(Number::from(number as i64));
    }
}

/// Stands for load-time options where they are compared often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoadKey(pub(super) u32);

impl LoadKey {
    /// No options have these keys: they stand for a model that answers nobody, and for one that answers everybody.
    pub(super) const NOTHING: u32 = 0;
    pub(super) const ANYTHING: u32 = u32::MAX;
}

impl Default for LoadKey {
    fn default() -> Self {
        LoadOptions::default().key()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn options(value: Value) -> LoadOptions {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn only_what_makes_an_engine_load_counts_and_a_float_is_a_number_too() {
        let asked = json!({"num_ctx": 4096.0, "temperature": 1, "use_mmap": null, "num_gpu": "many"});
        let settings: Settings = serde_json::from_value(json!({"extra": {"options": asked}})).unwrap();
        assert_eq!(LoadOptions::of(&settings), options(json!({"num_ctx": 4096})));
        assert_eq!(LoadOptions::of(&settings).to_string(), "num_ctx 4096");
        let two = options(json!({"num_gpu": 3, "num_ctx": 9}));
        assert_eq!(two.key(), options(json!({"num_ctx": 9, "num_gpu": 3})).key(), "in whatever order");
        assert_ne!(two.key(), options(json!({"num_ctx": 93})).key());
        assert!(LoadOptions::of(&Settings::default()).is_empty());
    }
}
