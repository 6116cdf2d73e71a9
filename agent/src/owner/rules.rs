//! What an owner has decided, checked, and in sentences for those who look at the mesh.

use echo_bus::model_pattern::Patterns;

use super::busy::{Limits, Patience};
use super::hours::Hours;

/// The checked decisions.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    pub hours: Option<Hours>,
    /// Slots that others get at most, whatever the engine has.
    pub max_slots: Option<u32>,
    pub offer: Patterns,
    pub busy: Option<(Limits, Patience)>,
}

impl Rules {
    /// Whether time or the machine's use decides anything, so that they have to be looked at.
    pub fn watch(&self) -> bool {
        self.hours.is_some() || self.busy.is_some()
    }

    /// How many of the engine's slots others get.
    pub fn offered_slots(&self, engine: u32) -> u32 {
        self.max_slots.map_or(engine, |most| most.min(engine))
    }

    /// What others do not get, or not always, a sentence each.
    pub fn limits(&self, engine_slots: u32) -> Vec<String> {
        let offered = self.offered_slots(engine_slots);
        let slots = (offered < engine_slots).then(|| format!("offers {offered} of {engine_slots} slots"));
        let hours = self.hours.as_ref().map(|hours| format!("works for others at {hours}"));
        let busy = self.busy.map(|(limits, _)| limits.told());
        let models = (!self.offer.is_all()).then(|| format!("offers only the models {}", self.offer));
        slots.into_iter().chain(models).chain(hours).chain(busy).collect()
    }
}
