//! Whether a request finds a model in memory as it needs it.

use super::heartbeat::Model;
use super::load_options::{LoadKey, LoadOptions};

/// How a node has a model in memory, or will have it before long: which requests would not load it anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Loading {
    /// The options of the last request that ran there.
    asked: u32,
    /// The same with the context's length that the engine tells: who asks for just that length asks for nothing new.
    found: u32,
}

impl Loading {
    /// It is not there.
    pub const COLD: Self = Self { asked: LoadKey::NOTHING, found: LoadKey::NOTHING };

    /// As a node describes it.
    pub fn of(model: &Model) -> Self {
        let Some(asked) = model.loaded_with.as_ref() else {
            return match (model.loaded, model.context_length) {
                (false, _) => Self::COLD,
                // The engine has no options of this kind, or the agent is too old to tell.
                (true, None) => Self { asked: LoadKey::ANYTHING, found: LoadKey::ANYTHING },
                (true, Some(length)) => Self::told(&LoadOptions::default(), Some(length)),
            };
        };
        Self::told(asked, model.context_length)
    }

    fn told(asked: &LoadOptions, length: Option<u64>) -> Self {
        let found = length.map_or(asked.key(), |length| asked.with_context(length).key());
        Self { asked: asked.key().0, found: found.0 }
    }

    /// After a request with these options has gone there.
    #[must_use]
    pub fn after(self, asked: LoadKey) -> Self {
        if self.answers(asked) { self } else { Self { asked: asked.0, found: asked.0 } }
    }

    /// Whether a request with these options is answered without a load.
    #[inline]
    pub fn answers(self, asked: LoadKey) -> bool {
        (self.asked == LoadKey::ANYTHING) | (asked.0 == self.asked) | (asked.0 == self.found)
    }

    #[inline]
    pub fn is_cold(self) -> bool {
        self.asked == LoadKey::NOTHING
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn options(value: Value) -> LoadOptions {
        serde_json::from_value(value).unwrap()
    }

    fn loaded(with: Option<Value>, context_length: Option<u64>) -> Loading {
        Loading::of(&Model {
            loaded: true,
            loaded_with: with.map(options),
            context_length,
            ..Model::default()
        })
    }

    #[test]
    fn a_model_answers_who_asks_for_it_as_it_is() {
        let key = |value| options(value).key();
        let (none, small, large) =
            (key(json!({})), key(json!({"num_ctx": 4096})), key(json!({"num_ctx": 8192})));
        let by_us = loaded(Some(json!({"num_ctx": 4096})), Some(4096));
        assert!(by_us.answers(small) && !by_us.answers(large) && !by_us.answers(none));
        let plain = loaded(Some(json!({})), Some(4096));
        assert!(plain.answers(none) && plain.answers(small) && !plain.answers(large));
        let by_others = loaded(None, Some(8192));
        assert!(by_others.answers(large) && by_others.answers(none) && !by_others.answers(small));
        let silent = loaded(None, None);
        assert!(silent.answers(large) && silent.answers(none), "an engine without such options");
        assert!(!Loading::COLD.answers(none) && Loading::of(&Model::default()).is_cold());
    }

    #[test]
    fn a_request_makes_a_model_what_it_asks_for() {
        let (small, large) = (options(json!({"num_ctx": 1})).key(), options(json!({"num_ctx": 2})).key());
        let after = Loading::COLD.after(small);
        assert!(after.answers(small) && !after.answers(large));
        assert!(after.after(large).answers(large) && !after.after(large).answers(small));
        let plain = loaded(Some(json!({})), Some(1));
        assert_eq!(plain.after(small), plain, "nothing is loaded for it");
    }
}
