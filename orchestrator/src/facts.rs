//! What the choice among nodes needs of a model, worked out once when a node says it and not for each task.

use echo_bus::message::{Capability, Loading, Model};

/// Some of [`Capability::KNOWN`], as bits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Abilities(u8);

impl Abilities {
    pub fn of<'a>(some: impl IntoIterator<Item = &'a Capability>) -> Self {
        let bit = |it| Capability::KNOWN.iter().position(|known| known == it).map_or(0, |index| 1 << index);
        Self(some.into_iter().fold(0, |all, it| all | bit(it)))
    }

    pub fn include(self, others: Self) -> bool {
        self.0 & others.0 == others.0
    }

    pub fn iter(self) -> impl Iterator<Item = &'static Capability> {
        Capability::KNOWN.iter().filter(move |it| self.include(Self::of([*it])))
    }
}

/// At best, in seconds: what a task takes there that finds the node idle. In few bytes, since a look at many nodes reads them
/// all.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct AtBest {
    pub per_token: f32,
    pub per_prompt_token: f32,
    pub load: f32,
    /// The most tokens that a slot of its cache holds.
    pub kept: f32,
}

/// One model of one node.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Facts {
    pub loaded: bool,
    /// The node takes nothing for this model now.
    pub closed: bool,
    /// How it is in memory, or will be once what was placed there has been loaded.
    pub loading: Loading,
    /// Measured speed in steps of about a tenth; a model that was never measured goes first, so that it will be.
    pub speed: i32,
    /// What it is known to do.
    pub says: Abilities,
    /// What may be tried: a list of capabilities is the truth, but llama.cpp does not say what its models can do, and
    /// refusing would cost more than asking.
    pub may: Abilities,
    pub at_best: AtBest,
}

impl From<&Model> for Facts {
    fn from(model: &Model) -> Self {
        let says = Abilities::of(Capability::KNOWN.iter().filter(|what| model.can(what)));
        let may = if model.capabilities.is_empty() { Abilities::of(Capability::KNOWN) } else { says };
        let closed = !model.unavailable.is_empty();
        let loading = Loading::of(model);
        Self {
            loaded: model.loaded,
            closed,
            loading,
            speed: model.tokens_per_second.map_or(i32::MAX, step),
            says,
            may,
            at_best: AtBest::default(),
        }
    }
}

/// Steps of about a tenth: what differs by less is as good, and the next criterion decides.
pub fn step(value: f64) -> i32 {
    if value > 0.0 { (value.ln() / 1.1_f64.ln()).round() as i32 } else { i32::MIN }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::{Words as _, model};
    use Capability::{Completion, Vision};

    #[test]
    fn a_list_of_capabilities_is_the_truth_and_none_is_no_promise() {
        let sees = Abilities::of(&[Completion, Vision]);
        let blind = Facts::from(&model("m"));
        assert!(!blind.may.include(sees));
        let silent = Facts::from(&model("m").can(&[]));
        assert!(silent.may.include(sees) && !silent.says.include(sees));
        assert!(silent.says.include(Abilities::of(&[Completion])), "it is taken to generate");
        assert_eq!(sees.iter().collect::<Vec<_>>(), [&Completion, &Vision]);
    }

    #[test]
    fn a_tenth_is_one_step() {
        assert_eq!(step(40.0), step(40.5));
        assert!(step(40.0) < step(45.0) && step(0.0) < step(0.1));
    }
}
