//! How fast one answer of a model comes, by how many answers are made at once.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use echo_broker::message::Speed;

/// The share of the newest measurement in the running average.
const NEWEST: f64 = 0.3;

/// Fewer tokens than these are no measurement yet; they wait for more.
const FEWEST: f64 = 8.0;

/// The numbers of answers at once that are told apart: the nearest one below counts.
const STEPS: [u32; 16] = [1, 2, 3, 4, 5, 6, 7, 8, 11, 16, 23, 32, 45, 64, 91, 128];

/// A slow measurement holds for so long, and then goes back to the long-run speed within about this time: whoever used
/// the machine may be gone, and a node that gets no task measures nothing.
const HOLDS: Duration = Duration::from_secs(5);
const RECOVERS: Duration = Duration::from_secs(120);

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
    /// One answer got so many tokens in so many seconds while `at_once` answers were made.
    pub fn add(&mut self, at_once: u32, tokens: f64, seconds: f64, now: Instant) {
        if !(tokens.is_finite() && seconds.is_finite() && tokens >= 0.0 && seconds > 0.0) {
            return;
        }
        let step = step(at_once);
        let fresh = Measured { speed: None, at: now, tokens: 0.0, seconds: 0.0 };
        let measured = self.by_count.entry(step).or_insert(fresh);
        measured.tokens += tokens;
        measured.seconds += seconds;
        if measured.tokens < FEWEST {
            return;
        }
        let newest = measured.tokens / measured.seconds;
        (measured.tokens, measured.seconds, measured.at) = (0.0, 0.0, now);
        measured.speed = Some(measured.speed.map_or(newest, |known| known + NEWEST * (newest - known)));
        let alone = newest * f64::from(step).powf(SHARING);
        self.alone = Some(self.alone.map_or(alone, |known| {
            let share = if alone > known { BETTER } else { WORSE };
            known + share * (alone - known)
        }));
    }

    /// What holds now, in ascending order.
    pub fn told(&self, now: Instant) -> Vec<Speed> {
        let told = |(&at_once, measured): (&u32, &Measured)| {
            let age = now.saturating_duration_since(measured.at);
            let speed = self.recovered(at_once, measured.speed?, age);
            let tokens_per_second = (speed * 100.0).round() / 100.0;
            Some(Speed { at_once, tokens_per_second, age_s: age.as_secs() })
        };
        self.by_count.iter().filter_map(told).collect()
    }

    fn recovered(&self, at_once: u32, speed: f64, age: Duration) -> f64 {
        let long_run = self.alone.unwrap_or_default() / f64::from(at_once).powf(SHARING);
        if long_run <= speed {
            return speed;
        }
        let idle = age.saturating_sub(HOLDS).as_secs_f64();
        long_run + (speed - long_run) * (-idle / RECOVERS.as_secs_f64()).exp()
    }
}

fn step(at_once: u32) -> u32 {
    STEPS.iter().rev().copied().find(|step| *step <= at_once).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;
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
    fn a_slow_measurement_goes_back_to_the_long_run_and_a_fast_one_stays() {
        let (mut speeds, mut now) = (Speeds::default(), Instant::now());
        for _ in 0..10 {
            speeds.add(1, 100.0, 2.0, now);
        }
        for _ in 0..10 {
            speeds.add(1, 20.0, 2.0, now);
        }
        let slow = speed(&speeds, 1, now).unwrap();
        assert!((10.0..13.0).contains(&slow), "{slow}");
        assert_eq!(speed(&speeds, 1, now + HOLDS), Some(slow));
        now += HOLDS + RECOVERS;
        let later = speed(&speeds, 1, now).unwrap();
        assert!((27.0..40.0).contains(&later), "{later}");
        now += RECOVERS * 4;
        assert!(speed(&speeds, 1, now).unwrap() > 40.0);
        speeds.add(1, 1000.0, 2.0, now);
        let fast = speed(&speeds, 1, now).unwrap();
        assert!(speed(&speeds, 1, now + RECOVERS * 9).unwrap() >= fast);
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
