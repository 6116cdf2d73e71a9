//! Words for how a node has a model.

use crate::need::Need;
use crate::registry::Seen;

/// How a node has the model that is just right for this.
pub(super) fn loaded_words(need: &Need, there: bool) -> String {
    match (need.load_options.is_empty(), there) {
        (true, true) => "has the model loaded".to_owned(),
        (true, false) => "is loading the model".to_owned(),
        (false, true) => format!("has it loaded with {}", need.load_options),
        (false, false) => format!("is loading it with {}", need.load_options),
    }
}

pub(super) fn model_words(model: Option<Seen<'_>>, need: &Need) -> String {
    match model {
        Some(seen) => format!("with {}", seen.model().name),
        None => format!("that may pull {}", need.spelled.as_deref().unwrap_or_default()),
    }
}
