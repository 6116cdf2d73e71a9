//! What a node has measured of a model, and what is taken for granted until it has.

use std::sync::LazyLock;

use echo_bus::message::Model;

use super::bounds::within;
use super::models::Id;

/// How much slower one answer becomes with more at once, where that was not measured: the speed goes with k to this power.
const SHARED: f64 = -0.6;
/// In about this many seconds an old slow measurement goes back to the long-run speed.
const RECOVERY: f64 = 120.0;
/// A measurement that is younger is taken as it is, in seconds.
const FRESH: f64 = 5.0;
/// Answers at once that are told apart.
const AT_ONCE: usize = 16;
const GIB: f64 = (1_u64 << 30) as f64;
/// A model of which nobody knows the size.
const UNKNOWN_SIZE: f64 = 4.0 * GIB;
/// What nobody has measured: tokens a second, and seconds to load a GiB.
pub const UNKNOWN_SPEED: f64 = 20.0;
pub const UNKNOWN_LOAD: f64 = 3.0 / GIB;
/// The least that a request takes before its answer: connection, template, first token.
pub const OVERHEAD: f64 = 0.05;

/// A node that does not say whether it can do this may turn out not to: the price of a trial, in seconds.
pub const TRIAL: f64 = 5.0;

/// A model of a node.
#[derive(Debug, Clone)]
pub struct Facts {
    pub id: Id,
    pub loaded: bool,
    /// Bytes in memory.
    pub size: f64,
    /// Of one answer, by how many answer at once: tokens a second, and when that was measured.
    speeds: Vec<(u32, f64, f64)>,
    /// What one answer alone does in the long run, which a slow hour hardly changes.
    pub alone: Option<f64>,
    /// Prompt tokens a second.
    pub prompt: Option<f64>,
    /// Seconds to load it.
    pub load: Option<f64>,
    pub per_kb: Option<f64>,
    pub lengths: Vec<u16>,
}

impl Facts {
    pub fn new(id: Id) -> Self {
        Self {
            id,
            loaded: false,
            size: UNKNOWN_SIZE,
            speeds: Vec::new(),
            alone: None,
            prompt: None,
            load: None,
            per_kb: None,
            lengths: Vec::new(),
        }
    }

    /// Takes what the node says now.
    pub fn hear(&mut self, told: &Model, now: f64) {
        self.loaded = told.loaded;
        self.size = match (told.memory, told.size) {
            (0, 0) => UNKNOWN_SIZE,
            (0, on_disk) => within(on_disk as f64 * 1.2, 1e6, 1e13),
            (memory, _) => within(memory as f64, 1e6, 1e13),
        };
        self.prompt = told.prompt_tokens_per_second.and_then(|it| measured(it, 0.1, 1e6));
        self.load = told.load_ms.map(|ms| within(ms as f64 / 1e3, 0.1, 600.0));
        self.per_kb = told.tokens_per_kb.and_then(|it| measured(it, 1.0, 1_000.0));
        self.lengths.clear();
        self.lengths.extend(told.lengths.iter().take(echo_bus::message::lengths::CLASSES));
        self.hear_speeds(told, now);
    }

    fn hear_speeds(&mut self, told: &Model, now: f64) {
        self.speeds.clear();
        for told in told.speeds.iter().take(AT_ONCE) {
            let Some(speed) = measured(told.tokens_per_second, 0.01, 1e5) else { continue };
            let at_once = told.at_once.clamp(1, 1_024);
            let at = now - within(told.age_s as f64, 0.0, 1e6);
            self.speeds.push((at_once, speed, at));
        }
        // An agent that is too old to tell speeds by company.
        if self.speeds.is_empty()
            && let Some(speed) = told.tokens_per_second.and_then(|it| measured(it, 0.01, 1e5))
        {
            self.speeds.push((1, speed, now));
        }
        let long_run = told.long_run.and_then(|it| measured(it, 0.01, 1e5));
        self.alone = long_run.or_else(|| self.speeds.iter().map(alone).reduce(f64::max));
    }

    /// The fastest that is known or to be expected of one answer.
    pub fn fastest(&self) -> Option<f64> {
        self.speeds.iter().map(alone).chain(self.alone).reduce(f64::max)
    }

    /// Tokens a second of one answer while so many are given at once; `None` if it was never measured. Whoever made an
    /// old measurement slow may be gone, and a node that gets no task measures nothing. That is decided here, by who asks
    /// at some moment, and not by the agent, which would have to tell new numbers for as long as time passes.
    pub fn speed(&self, at_once: usize, now: f64) -> Option<f64> {
        let at_once = at_once.max(1);
        let near = self.speeds.iter().min_by_key(|(k, ..)| (*k as usize).abs_diff(at_once))?;
        let &(k, speed, at) = near;
        let speed = speed * share(at_once) / share(k as usize);
        let slow = self.alone.unwrap_or(speed) * share(at_once);
        if slow <= speed {
            return Some(speed);
        }
        let age = (now - at - FRESH).max(0.0);
        Some(slow + (speed - slow) * (-age / RECOVERY).exp())
    }
}

/// What one answer alone would get, by what was measured of several.
fn alone((k, speed, _): &(u32, f64, f64)) -> f64 {
    speed / share(*k as usize)
}

/// The speed of one answer of so many at once.
pub fn shared(alone: f64, at_once: usize) -> f64 {
    alone * share(at_once)
}

/// What is left of the speed of one answer when so many run. Asked for often, so most are worked out once.
fn share(at_once: usize) -> f64 {
    static SHARES: LazyLock<[f64; 65]> =
        LazyLock::new(|| std::array::from_fn(|at_once| (at_once.max(1) as f64).powf(SHARED)));
    SHARES.get(at_once).copied().unwrap_or_else(|| (at_once as f64).powf(SHARED))
}

fn measured(value: f64, least: f64, most: f64) -> Option<f64> {
    (value.is_finite() && value > 0.0).then(|| value.clamp(least, most))
}

#[cfg(test)]
mod tests {
    use super::*;
    use echo_bus::message::Speed;

    fn told(speeds: &[(u32, f64, u64)]) -> Facts {
        let speeds = speeds.iter().map(|&(at_once, tokens_per_second, age_s)| Speed {
            at_once,
            tokens_per_second,
            age_s,
        });
        let mut models = super::super::models::Models::default();
        let mut facts = Facts::new(models.join(echo_bus::model_name::ModelName::of("m")));
        facts.hear(&Model { speeds: speeds.collect(), ..Model::default() }, 1_000.0);
        facts
    }

    #[test]
    fn a_speed_is_that_of_the_nearest_company() {
        let facts = told(&[(1, 40.0, 0), (4, 20.0, 0)]);
        assert_eq!(facts.speed(1, 1_000.0), Some(40.0));
        assert_eq!(facts.speed(4, 1_000.0), Some(20.0));
        let two = facts.speed(2, 1_000.0).unwrap();
        assert!((20.0..40.0).contains(&two), "{two}");
    }

    #[test]
    fn an_old_slow_hour_is_forgotten() {
        let mut facts = told(&[]);
        let slow = |age_s| vec![Speed { at_once: 1, tokens_per_second: 8.0, age_s }];
        let mut model = Model { speeds: slow(0), long_run: Some(40.0), ..Model::default() };
        facts.hear(&model, 1_000.0);
        assert_eq!(facts.speed(1, 1_000.0 + FRESH), Some(8.0));
        assert!(facts.speed(1, 1_011.0).unwrap() < 10.0);
        assert!((27.0..40.0).contains(&facts.speed(1, 1_000.0 + FRESH + RECOVERY).unwrap()));
        assert!(facts.speed(1, 1_500.0).unwrap() > 39.0);
        let unheard = facts.speed(1, 1_060.0);
        model.speeds = slow(60);
        facts.hear(&model, 1_060.0);
        assert_eq!(facts.speed(1, 1_060.0), unheard, "to be told again changes nothing");
        model.speeds[0].tokens_per_second = 90.0;
        facts.hear(&model, 1_060.0);
        assert_eq!(facts.speed(1, 9_000.0), Some(90.0), "a fast one stays");
    }

    #[test]
    fn what_is_no_number_is_not_known() {
        let facts = told(&[(1, f64::NAN, 0), (2, f64::INFINITY, 0), (3, -1.0, 0), (4, 0.0, 0)]);
        assert_eq!(facts.speed(1, 0.0), None);
        assert!(told(&[(u32::MAX, 1e300, u64::MAX)]).speed(1, 0.0).unwrap().is_finite());
    }
}
