//! The machines of the traces.

use std::sync::Arc;

use crate::sim::engine::{Machine, Pace};
use crate::sim::rng::Rng;

/// A kind of machine: what it does with a model of 6 GiB.
#[derive(Debug, Clone, Copy)]
pub struct Kind {
    pub name: &'static str,
    pub decode: f64,
    pub prompt: f64,
    pub slots: usize,
    pub alpha: f64,
    /// GiB per second from disk.
    pub disk: f64,
}

const fn kind(name: &'static str, decode: f64, prompt: f64, slots: usize, alpha: f64, disk: f64) -> Kind {
    Kind { name, decode, prompt, slots, alpha, disk }
}

/// From a processor alone to a good graphics card.
pub const KINDS: [Kind; 5] = [
    kind("a", 12.0, 60.0, 1, 0.13, 0.16),
    kind("b", 20.0, 200.0, 2, 0.3, 0.35),
    kind("c", 30.0, 600.0, 2, 0.4, 0.45),
    kind("d", 45.0, 1_400.0, 4, 0.5, 0.8),
    kind("e", 60.0, 2_500.0, 4, 0.55, 1.0),
];

/// The models of [`Fleet::many`], in GiB.
const SIZES: [f64; 10] = [5.0, 6.0, 2.0, 9.0, 4.0, 14.0, 3.0, 20.0, 7.0, 1.5];

/// Machines, what each has loaded at first, and the names of the models.
#[derive(Debug)]
pub struct Fleet {
    pub models: Vec<String>,
    pub machines: Vec<(Arc<Machine>, Vec<usize>)>,
}

/// A machine of ten and one of 58 tokens a second.
pub fn two() -> Fleet {
    let machine = |name: &str, decode, prompt, load| {
        let models = vec![Some(Pace { decode, prompt, load, size: 5.0 })];
        (Arc::new(Machine { name: name.to_owned(), slots: 2, alpha: 0.4, memory: 16.0, models }), vec![0])
    };
    let machines = vec![machine("a", 10.3, 250.0, 12.0), machine("b", 57.7, 2_500.0, 5.0)];
    Fleet { models: vec!["m".to_owned()], machines }
}

impl Fleet {
    /// Machines of these kinds with all models, one of them loaded on each.
    pub fn uneven(seed: u64, kinds: &[Kind], models: &[(&str, f64)], memory: f64, loaded: &[usize]) -> Self {
        let mut rng = Rng::new(seed.wrapping_mul(31).wrapping_add(7));
        let mut machine = |(number, (kind, &loaded)): (usize, (&Kind, &usize))| {
            let mut pace = |&(_, size): &(&str, f64)| Some(pace(kind, size, (0.12 * rng.gauss()).exp(), 1.0));
            let models = models.iter().map(&mut pace).collect();
            let name = format!("{}{number}", kind.name);
            (Arc::new(Machine { name, slots: kind.slots, alpha: kind.alpha, memory, models }), vec![loaded])
        };
        let machines = kinds.iter().zip(loaded).enumerate().map(&mut machine).collect();
        Self { models: models.iter().map(|(name, _)| (*name).to_owned()).collect(), machines }
    }

    /// Many machines, each with some of ten models and memory for one to three of them.
    pub fn many(seed: u64, count: usize) -> Self {
        let mut rng = Rng::new(seed.wrapping_mul(101).wrapping_add(3));
        let mut machine = |number| {
            let kind = KINDS[rng.below(KINDS.len())];
            let memory = [10.0, 12.0, 16.0, 24.0][rng.below(4)];
            let has: Vec<_> = SIZES
                .iter()
                .enumerate()
                .map(|(model, size)| *size <= memory && (rng.unit() < 0.6 || model == 0))
                .collect();
            let factor = (0.15 * rng.gauss()).exp();
            let mut pace = |(has, size): (&bool, &f64)| {
                has.then(|| pace(&kind, *size, (0.1 * rng.gauss()).exp(), factor))
            };
            let models: Vec<_> = has.iter().zip(&SIZES).map(&mut pace).collect();
            let there: Vec<_> = (0..models.len()).filter(|&model| has[model]).collect();
            let loaded = vec![there[rng.below(there.len())]];
            let name = format!("n{number}");
            (Arc::new(Machine { name, slots: kind.slots, alpha: kind.alpha, memory, models }), loaded)
        };
        let machines = (0..count).map(&mut machine).collect();
        Self { models: (0..SIZES.len()).map(|model| format!("m{model}")).collect(), machines }
    }

    /// Requests of this size per second that all machines do together at best, each full.
    pub fn capacity(&self, prompt: f64, answer: f64) -> f64 {
        let best = |machine: &Arc<Machine>| {
            let together = (machine.slots as f64).powf(machine.alpha);
            let rate = |pace: &Pace| 1.0 / (prompt / pace.prompt + answer / (pace.decode * together));
            machine.models.iter().flatten().map(rate).fold(0.0, f64::max)
        };
        self.machines.iter().map(|(machine, _)| best(machine)).sum()
    }
}

/// Answers are bound by memory and prompts by computing; both go with the model's size.
fn pace(kind: &Kind, size: f64, wobble: f64, factor: f64) -> Pace {
    Pace {
        decode: kind.decode * factor * (6.0 / size).powf(0.8) * wobble,
        prompt: kind.prompt * factor * (6.0 / size) * wobble,
        load: (size / kind.disk).clamp(5.0, 60.0),
        size,
    }
}
