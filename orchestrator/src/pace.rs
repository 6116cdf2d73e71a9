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
        self.mean(model, now, Duration::ZERO)
    }

    /// How much longer a task keeps its slot that has had it for so long: as those that took longer, on average. One
    /// that is beyond them all takes half as long again. `None` when nothing has ended lately.
    pub fn left(&self, model: &ModelName, has_run: Duration, now: Instant) -> Option<Duration> {
        let longer = self.mean(model, now, has_run).map(|mean| mean.saturating_sub(has_run));
        longer.or_else(|| self.of(model, now).map(|_| has_run / 2))
    }

    /// The mean of those that took longer than this.
    fn mean(&self, model: &ModelName, now: Instant, than: Duration) -> Option<Duration> {
        let recent = self.models.get(model)?.iter().filter(|sample| is_recent(sample, now));
        let longer = recent.filter(|(_, took)| than.is_zero() || *took > than);
        let (count, sum) = longer.fold((0_u32, Duration::ZERO), |(n, sum), (_, took)| (n + 1, sum + *took));
        (count > 0).then(|| sum / count.max(1))
    }
}

/// When the slots that a line waits for become free.
#[derive(Debug)]
pub struct Outlook {
    /// In how many milliseconds each slot is free, as things stand.
    free_in: Vec<u64>,
    /// How long each of those who wait will keep one.
    each: u64,
}

impl Outlook {
    /// `None` without a slot.
    pub fn new(free_in: Vec<Duration>, each: Duration) -> Option<Self> {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let free_in: Vec<_> = free_in.into_iter().map(millis).collect();
        (!free_in.is_empty()).then(|| Self { free_in, each: millis(each).max(1) })
    }

    /// Until a task at this position has a slot, where 1 is next and everybody takes the first that is free.
    pub fn wait(&self, position: u32) -> Duration {
        let position = u64::from(position.max(1));
        let first = self.free_in.iter().min().copied().unwrap_or_default();
        let (mut early, mut late) = (first, first.saturating_add(self.each.saturating_mul(position - 1)));
        while early < late {
            let middle = early + (late - early) / 2;
            if self.begun_by(middle) >= position { late = middle } else { early = middle + 1 }
        }
        Duration::from_millis(late)
    }

    /// How many of those who wait have begun by then.
    fn begun_by(&self, time: u64) -> u64 {
        let begun = |free: &u64| time.checked_sub(*free).map_or(0, |since| since / self.each + 1);
        self.free_in.iter().map(begun).fold(0, u64::saturating_add)
    }

    /// The time from one beginning to the next, in the long run.
    pub fn between(&self) -> Duration {
        Duration::from_millis(self.each) / u32::try_from(self.free_in.len()).unwrap_or(u32::MAX)
    }
}

fn is_recent(sample: &(Instant, Duration), now: Instant) -> bool {
    now.saturating_duration_since(sample.0) <= RECENT
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

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
    fn what_is_left_is_as_those_had_left_that_took_longer() {
        let (mut pace, now, model) = (Pace::default(), Instant::now(), ModelName::of("m"));
        let seconds = Duration::from_secs;
        assert_eq!(pace.left(&model, seconds(1), now), None);
        for took in [1, 4, 6] {
            pace.note(model.clone(), seconds(took), now);
        }
        assert_eq!(pace.left(&model, seconds(0), now), pace.of(&model, now));
        assert_eq!(pace.left(&model, seconds(2), now), Some(seconds(3)));
        assert_eq!(pace.left(&model, seconds(8), now), Some(seconds(4)), "half as long again");
    }

    proptest! {
        #[test]
        fn a_wait_is_what_a_line_of_equals_would_have(
            free_in in vec(0..5_000_u64, 1..6), each in 1..3_000_u64, position in 1..40_u32,
        ) {
            let mut slots = free_in.clone();
            let mut begins = 0;
            for _ in 0..position {
                let next = slots.iter_mut().min().unwrap();
                begins = *next;
                *next += each;
            }
            let millis = Duration::from_millis;
            let outlook = Outlook::new(free_in.into_iter().map(millis).collect(), millis(each)).unwrap();
            prop_assert_eq!(outlook.wait(position), millis(begins));
        }
    }

    #[test]
    fn without_a_slot_there_is_no_outlook_and_a_great_number_is_no_trouble() {
        assert!(Outlook::new(Vec::new(), Duration::from_secs(1)).is_none());
        let outlook = Outlook::new(vec![Duration::MAX, Duration::from_secs(1)], Duration::MAX).unwrap();
        assert_eq!(outlook.wait(1), Duration::from_secs(1));
        assert!(outlook.wait(u32::MAX) > Duration::from_secs(u64::from(u32::MAX)));
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
