//! How long tasks of a model keep a slot, measured from recent completions: the only source of expected waits.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use crate::model_name::ModelName;

/// The newest completions of a model that are kept.
const KEPT: usize = 32;
/// What is older says little about now.
const RECENT: Duration = Duration::from_secs(300);
/// Models that are kept, so that hostile names cannot fill the memory.
const MODELS: usize = 1_000;

/// Recent completions by model.
#[derive(Debug, Default)]
pub struct Pace {
    models: BTreeMap<ModelName, VecDeque<(Instant, Duration)>>,
}

impl Pace {
    /// A task has left its slot after this time.
    pub fn note(&mut self, model: ModelName, took: Duration, now: Instant) {
        if self.models.len() >= MODELS && !self.models.contains_key(&model) {
            self.models.retain(|_, samples| samples.back().is_some_and(|last| is_recent(last, now)));
            if self.models.len() >= MODELS {
                return;
            }
        }
        let samples = self.models.entry(model).or_default();
        if samples.len() == KEPT {
            samples.pop_front();
        }
        samples.push_back((now, took));
    }

    /// How long a task keeps its slot on average; `None` when nothing has ended lately.
    pub fn of(&self, model: &ModelName, now: Instant) -> Option<Duration> {
        let recent = self.models.get(model)?.iter().filter(|sample| is_recent(sample, now));
        let (count, sum) = recent.fold((0_u32, Duration::ZERO), |(n, sum), (_, took)| (n + 1, sum + *took));
        (count > 0).then(|| sum / count.max(1))
    }
}

fn is_recent(sample: &(Instant, Duration), now: Instant) -> bool {
    now.saturating_duration_since(sample.0) <= RECENT
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_measured_or_unknown() {
        let (mut pace, start, model) = (Pace::default(), Instant::now(), ModelName::of("m"));
        assert_eq!(pace.of(&model, start), None);
        pace.note(model.clone(), Duration::from_secs(2), start);
        pace.note(model.clone(), Duration::from_secs(4), start + Duration::from_secs(200));
        assert_eq!(pace.of(&model, start + Duration::from_secs(201)), Some(Duration::from_secs(3)));
        assert_eq!(pace.of(&model, start + Duration::from_secs(400)), Some(Duration::from_secs(4)));
        assert_eq!(pace.of(&model, start + Duration::from_secs(600)), None);
    }

    #[test]
    fn many_models_do_not_fill_the_memory() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        for n in 0..MODELS * 2 {
            pace.note(ModelName::of(&format!("m{n}")), Duration::from_secs(1), now);
        }
        assert_eq!(pace.models.len(), MODELS);
    }
}
