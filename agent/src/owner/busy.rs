//! When other programs need the machine. What was measured and the time go in; whether the node pauses comes out, and not
//! on a moment's notice: there are different times for the one way and the other (hysteresis).

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, Instant};

/// The share of the newest measurement in the running average: what lasts a second is nothing to pause for.
const NEWEST: f64 = 0.4;

/// Measurements that are further apart say nothing together: the machine slept, or this process did.
const APART: Duration = Duration::from_secs(5);

const SHARES: std::ops::RangeInclusive<f64> = 0.01..=1.0;

/// What others may use before the node pauses; at least one of the two is set.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// Of the processor, all cores together.
    pub processor: Option<f64>,
    /// Of the memory of the GPUs, all together.
    pub gpu: Option<f64>,
}

/// What other programs use now; absent: it cannot be told.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Usage {
    pub processor: Option<f64>,
    pub gpu: Option<f64>,
    /// The engine should be on this machine, and its processes are not found: its work counts as that of others.
    pub engine_is_hidden: bool,
}

/// Why a text is no limit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no share: write a number from 0.01 to 1 such as 0.5, or cpu=0.5,gpu=0.8 to tell them apart"
)]
pub struct InvalidLimits(String);

impl FromStr for Limits {
    type Err = InvalidLimits;

    fn from_str(text: &str) -> Result<Self, InvalidLimits> {
        let wrong = || InvalidLimits(text.chars().take(40).collect());
        let share = |text: &str| {
            let share = text.trim().parse().ok();
            share.filter(|share| SHARES.contains(share)).ok_or_else(wrong)
        };
        if !text.contains('=') {
            let both = Some(share(text)?);
            return Ok(Self { processor: both, gpu: both });
        }
        let mut limits = Self { processor: None, gpu: None };
        for part in text.split(',') {
            let (name, value) = part.split_once('=').ok_or_else(wrong)?;
            let place = match name.trim() {
                "cpu" => &mut limits.processor,
                "gpu" => &mut limits.gpu,
                _ => return Err(wrong()),
            };
            if place.replace(share(value)?).is_some() {
                return Err(wrong());
            }
        }
        Ok(limits)
    }
}

impl fmt::Display for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.processor, self.gpu) {
            (Some(processor), Some(gpu)) if processor.to_bits() == gpu.to_bits() => write!(f, "{processor}"),
            (Some(processor), Some(gpu)) => write!(f, "cpu={processor},gpu={gpu}"),
            (Some(processor), None) => write!(f, "cpu={processor}"),
            (None, Some(gpu)) => write!(f, "gpu={gpu}"),
            (None, None) => Ok(()),
        }
    }
}

impl Limits {
    /// In a sentence.
    pub fn told(&self) -> String {
        let processor = self.processor.map(|share| format!("more than {share} of the processor"));
        let gpu = self.gpu.map(|share| format!("more than {share} of the GPU's memory"));
        let what: Vec<_> = processor.into_iter().chain(gpu).collect();
        format!("pauses while others use {}", what.join(" or "))
    }
}

/// How long it takes to pause, and to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    pub pause: Duration,
    pub resume: Duration,
}

/// Whether the node pauses for others.
#[derive(Debug)]
pub struct Gate {
    limits: Limits,
    patience: Patience,
    average: Usage,
    measured: Option<Instant>,
    /// Since when what is measured speaks against how things stand.
    otherwise: Option<Instant>,
    paused: bool,
    /// The owner wants it to work all the same, until the others have ended.
    overruled: bool,
}

impl Gate {
    /// The node works until something else was measured for long enough.
    pub fn new(limits: Limits, patience: Patience) -> Self {
        Self {
            limits,
            patience,
            average: Usage::default(),
            measured: None,
            otherwise: None,
            paused: false,
            overruled: false,
        }
    }

    /// Takes a measurement.
    pub fn measured(&mut self, usage: Usage, now: Instant) {
        if self.measured.is_none_or(|last| now.saturating_duration_since(last) > APART) {
            (self.average, self.otherwise) = (Usage::default(), None);
        }
        self.measured = Some(now);
        average(&mut self.average.processor, usage.processor);
        average(&mut self.average.gpu, usage.gpu);
        if self.over().is_some() == self.paused {
            self.otherwise = None;
            return;
        }
        let since = *self.otherwise.get_or_insert(now);
        let patience = if self.paused { self.patience.resume } else { self.patience.pause };
        if now.saturating_duration_since(since) >= patience {
            (self.paused, self.otherwise, self.overruled) = (!self.paused, None, false);
        }
    }

    /// The owner wants the node to work: this pause is over, and the next one begins when the machine was calm again.
    pub fn overrule(&mut self) {
        self.overruled = self.paused;
    }

    /// Why the node pauses, if it does.
    pub fn why(&self) -> Option<String> {
        if !self.paused || self.overruled {
            return None;
        }
        Some(self.over().map_or_else(
            || {
                let calm = self.patience.resume;
                format!("the machine was busy until just now: it works again once it was calm for {calm:?}")
            },
            |over| format!("the machine is busy: {over} is used by others"),
        ))
    }

    /// What others use too much of.
    fn over(&self) -> Option<String> {
        let over =
            |used: Option<f64>, limit: Option<f64>| used.zip(limit).filter(|(used, limit)| used > limit);
        if let Some((used, _)) = over(self.average.processor, self.limits.processor) {
            return Some(format!("{used:.2} of the processor"));
        }
        over(self.average.gpu, self.limits.gpu).map(|(used, _)| format!("{used:.2} of the GPU's memory"))
    }
}

fn average(known: &mut Option<f64>, newest: Option<f64>) {
    let newest = newest.filter(|share| share.is_finite());
    *known = newest.map(|newest| known.map_or(newest, |known| known + NEWEST * (newest - known)));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PATIENCE: Patience = Patience { pause: Duration::from_secs(10), resume: Duration::from_secs(30) };

    struct Bench {
        gate: Gate,
        now: Instant,
    }

    impl Bench {
        fn new(limits: &str) -> Self {
            Self { gate: Gate::new(limits.parse().unwrap(), PATIENCE), now: Instant::now() }
        }

        /// Others use so much for so many seconds; whether the node pauses then.
        fn pass(&mut self, seconds: u64, processor: f64, gpu: Option<f64>) -> bool {
            for _ in 0..seconds {
                self.now += Duration::from_secs(1);
                self.gate.measured(Usage { processor: Some(processor), gpu, ..Usage::default() }, self.now);
            }
            self.gate.why().is_some()
        }
    }

    #[test]
    fn what_lasts_pauses_the_node_and_calm_that_lasts_ends_it() {
        let mut bench = Bench::new("0.5");
        assert!(!bench.pass(60, 0.5, None));
        assert!(!bench.pass(9, 0.9, None), "it may be over in a moment");
        assert!(bench.pass(3, 0.9, None));
        let why = bench.gate.why().unwrap();
        assert_eq!(why, "the machine is busy: 0.90 of the processor is used by others");
        assert!(bench.pass(20, 0.1, None) && bench.gate.why().unwrap().contains("calm for 30s"));
        assert!(bench.pass(4, 1.0, None) && bench.pass(29, 0.1, None), "the calm begins anew");
        assert!(!bench.pass(4, 0.1, None));
    }

    #[test]
    fn the_memory_of_the_gpu_counts_where_it_can_be_told() {
        let mut bench = Bench::new("cpu=0.9,gpu=0.3");
        assert!(bench.pass(12, 0.5, Some(0.4)));
        assert!(bench.gate.why().unwrap().contains("0.40 of the GPU's memory"));
        assert!(!bench.pass(33, 0.5, None), "what cannot be told any more pauses nobody");
        assert!(!Bench::new("gpu=0.3").pass(60, 1.0, Some(0.2)));
    }

    #[test]
    fn an_owner_who_resumes_is_obeyed_until_the_machine_is_busy_anew() {
        let mut bench = Bench::new("0.5");
        assert!(bench.pass(12, 0.9, None));
        bench.gate.overrule();
        assert!(!bench.pass(600, 0.9, None));
        assert!(!bench.pass(40, 0.1, None));
        assert!(bench.pass(15, 0.9, None));
        let mut calm = Bench::new("0.5");
        calm.gate.overrule();
        assert!(calm.pass(12, 0.9, None), "what did not pause is not overruled");
    }

    #[test]
    fn a_machine_that_slept_was_not_busy_meanwhile() {
        let mut bench = Bench::new("0.5");
        assert!(!bench.pass(8, 0.9, None));
        bench.now += Duration::from_secs(3_600);
        assert!(!bench.pass(10, 0.9, None), "ten measurements are nine seconds");
        assert!(bench.pass(1, 0.9, None));
    }

    #[test]
    fn what_is_no_share_is_told_so() {
        for text in [
            "",
            "0",
            "1.1",
            "-1",
            "NaN",
            "inf",
            "half",
            "cpu=",
            "cpu=2",
            "disk=0.5",
            "cpu=0.5,cpu=0.6",
            "0.5,0.6",
        ] {
            let error = text.parse::<Limits>().expect_err(text).to_string();
            assert!(error.contains("0.01 to 1"), "{text}: {error}");
        }
        for text in ["0.5", "1", "cpu=0.5", "gpu=0.25", "cpu=0.5,gpu=0.8"] {
            assert_eq!(text.parse::<Limits>().unwrap().to_string(), text);
        }
    }

    proptest! {
        #[test]
        fn a_node_neither_flaps_nor_pauses_for_nothing(
            spells in prop::collection::vec((0.0f64..1.0, 1u64..40, 300u64..2_500), 1..40),
        ) {
            let mut gate = Gate::new("0.5".parse().unwrap(), PATIENCE);
            let (mut now, mut paused, mut changed) = (Instant::now(), false, None);
            // Since when all that was measured was clearly above, or below; the average follows within six measurements.
            let (mut above, mut below) = (None, None);
            let late = Duration::from_secs(15);
            for (used, count, step) in spells {
                for _ in 0..count {
                    now += Duration::from_millis(step);
                    gate.measured(Usage { processor: Some(used), ..Usage::default() }, now);
                    above = above.or(Some(now)).filter(|_| used > 0.55);
                    below = below.or(Some(now)).filter(|_| used < 0.45);
                    let lasts = |since: Option<Instant>| since.map_or(Duration::ZERO, |since| now - since);
                    let is = gate.why().is_some();
                    if is != paused {
                        let before = changed.map_or(Duration::MAX, |changed| now - changed);
                        let patience = if is { PATIENCE.pause } else { PATIENCE.resume };
                        prop_assert!(before >= patience, "{before:?}");
                        (paused, changed) = (is, Some(now));
                    }
                    prop_assert!(is || lasts(above) < PATIENCE.pause + late, "it should have paused");
                    prop_assert!(!is || lasts(below) < PATIENCE.resume + late, "it should have gone on");
                }
            }
        }

        #[test]
        fn no_text_makes_the_reader_panic(text in ".{0,30}") {
            let _ = text.parse::<Limits>();
        }
    }
}
