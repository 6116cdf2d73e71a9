//! How much a node gets done when all of its slots are in use.

use super::book::Book;
use super::bounds::within;
use super::facts::OVERHEAD;
use echo_bus::model_name::ModelName;

/// A node has no more slots than this, whatever it says.
const MOST_SLOTS: usize = 256;

impl Book {
    /// Tasks of a model that a node ends in a second, each with a prompt of so many tokens; `None` where no speed of it
    /// or no length of an answer was measured.
    pub fn per_second(&self, index: usize, model: &ModelName, prompt: f64, now: f64) -> Option<f64> {
        let (site, id) = (self.site(index)?, self.models.id(model)?);
        let lengths = self.models.lengths(id);
        let facts = site.facts(id)?;
        facts.alone?;
        if !lengths.has_any() {
            return None;
        }
        let slots = site.slots.min(MOST_SLOTS);
        let answer = lengths.left(0.0) / site.speed_of(&self.models, facts, slots, now);
        // Prompts take turns, and answers all but stand still meanwhile.
        let prompt = prompt / site.prompt_speed(&self.models, facts) + OVERHEAD;
        let slots = slots as f64;
        Some(slots / within(slots * prompt + answer, 1e-3, 1e9))
    }
}
