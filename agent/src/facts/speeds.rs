//! How fast one answer of a model comes, by how many answers are made at once.

use std::collections::BTreeMap;
use std::time::Instant;

use echo_bus::message::Speed;

use super::rounded::rounded;

/// The share of the newest measurement in the running average.
const NEWEST: f64 = 0.3;

/// Fewer tokens than these are no measurement yet; they wait for more.
const FEWEST: f64 = 8.0;

/// The numbers of answers at once that are told apart: the nearest one below counts.
const STEPS: [u32; 16] = [1, 2, 3, 4, 5, 6, 7, 8, 11, 16, 23, 32, 45, 64, 91, 128];

/// Older measurements are all of one age.
const OLDEST: u64 = 3_600;

/// Decode speed falls about like this power of how many answer at once. It only carries the long-run speed from one
/// number to another.
const SHARING: f64 = 0.6;

/// The long-run speed follows better measurements at once and worse ones only if they stay.
const BETTER: f64 = 0.3;
const WORSE: f64 = 0.02;

/// The speeds of one model on this node.
#[derive(Debug, Default)]
pub struct Speeds {
    by_count: BTreeMap<u32, Measured>,
    /// The long-run speed of an answer that is alone.
    alone: Option<f64>,
}

#[derive(Debug)]
struct Measured {
    /// Absent until there are enough tokens.
    speed: Option<f64>,
    at: Instant,
    tokens: f64,
    seconds: f64,
}

impl Speeds {
    /// One answer got so many tokens in so many seconds while `at_once` answers were made. Whether nothing was known of
    /// so many before.
    pub fn add(&mut self, at_once: u32, tokens: f64, seconds: f64, now: Instant) -> bool {
        if !(tokens.is_finite() && seconds.is_finite() && tokens >= 0.0 && seconds > 0.0) {
            return false;
        }
        let step = step(at_once);
        let fresh = Measured { speed: None, at: now, tokens: 0.0, seconds: 0.0 };
        let measured = self.by_count.entry(step).or_insert(fresh);
        measured.tokens += tokens;
        measured.seconds += seconds;
        if measured.tokens < FEWEST {
            return false;
        }
        let newest = measured.tokens / measured.seconds;
        (measured.tokens, measured.seconds, measured.at) = (0.0, 0.0, now);
        let is_first = measured.speed.is_none();
        measured.speed = Some(measured.speed.map_or(newest, |known| known + NEWEST * (newest - known)));
        let alone = newest * f64::from(step).powf(SHARING);
        self.alone = Some(self.alone.map_or(alone, |known| {
            let share = if alone > known { BETTER } else { WORSE };
            known + share * (alone - known)
        }));
        is_first
    }

    /// What was measured, in ascending order. What holds of it after a while is decided by who asks: time alone changes
    /// nothing here, so that nothing has to be told for it.
    pub fn told(&self, now: Instant) -> Vec<Speed> {
        let told = |(&at_once, measured): (&u32, &Measured)| {
            let age = now.saturating_duration_since(measured.at);
            let tokens_per_second = rounded(measured.speed?);
            Some(Speed { at_once, tokens_per_second, age_s: age.as_secs().min(OLDEST) })
        };
        self.by_count.iter().filter_map(told).collect()
    }

    /// What one answer alone gets in the long run.
    pub fn long_run(&self) -> Option<f64> {
        self.alone.map(rounded)
    }
}

fn step(at_once: u32) -> u32 {
    STEPS.iter().rev().copied().find(|step| *step <= at_once).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    use proptest::prelude::*;

    fn speed(speeds: &Speeds, at_once: u32, now: Instant) -> Option<f64> {
        speeds.told(now).iter().find(|told| told.at_once == at_once).map(|told| told.tokens_per_second)
    }

    #[test]
    fn a_few_tokens_wait_for_more_and_then_count_as_one() {
        let (mut speeds, now) = (Speeds::default(), Instant::now());
        speeds.add(1, 4.0, 0.1, now);
        assert_eq!(speed(&speeds, 1, now), None);
        speeds.add(1, 4.0, 0.3, now);
        assert_eq!(speed(&speeds, 1, now), Some(20.0));
        speeds.add(1, 30.0, 1.0, now);
        assert_eq!(speed(&speeds, 1, now), Some(23.0));
        assert_eq!(speed(&speeds, 2, now), None);
    }

    #[test]
    fn a_slow_hour_hardly_changes_the_long_run_and_a_fast_one_does() {
        let (mut speeds, now) = (Speeds::default(), Instant::now());
        for _ in 0..10 {
            speeds.add(1, 100.0, 2.0, now);
        }
        for _ in 0..10 {
            speeds.add(1, 20.0, 2.0, now);
        }
        let slow = speed(&speeds, 1, now).unwrap();
        assert!((10.0..13.0).contains(&slow), "{slow}");
        assert!((40.0..50.0).contains(&speeds.long_run().unwrap()), "{speeds:?}");
        let later = speeds.told(now + Duration::from_secs(99))[0];
        assert_eq!((later.tokens_per_second, later.age_s), (slow, 99), "its age is told, and no guess");
        (0..10).for_each(|_| _ = speeds.add(1, 200.0, 2.0, now));
        assert!(speeds.long_run().unwrap() > 90.0, "{speeds:?}");
    }

    proptest! {
        #[test]
        fn what_is_told_is_bounded_in_order_and_a_number(
            measured in prop::collection::vec((0_u32..5000, any::<f64>(), any::<f64>(), 0_u64..500), 0..100),
        ) {
            let (mut speeds, mut now) = (Speeds::default(), Instant::now());
            for (at_once, tokens, seconds, wait) in measured {
                now += Duration::from_secs(wait);
                speeds.add(at_once, tokens.min(1e9), seconds.clamp(1e-3, 1e9), now);
            }
            let told = speeds.told(now);
            prop_assert!(told.len() <= 16);
            prop_assert!(told.windows(2).all(|two| two[0].at_once < two[1].at_once));
            prop_assert!(told.iter().all(|it| it.tokens_per_second.is_finite() && it.tokens_per_second >= 0.0));
        }
    }
}
