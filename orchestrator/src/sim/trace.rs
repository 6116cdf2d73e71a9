//! Who asks for what and when, and of which mesh. All of it follows from the seed.
//!
//! A script is a closed loop: its next turn comes a while after the last answer.

mod fleet;
mod script;
mod scripts;

use std::sync::Arc;

use super::engine::{Engine, Machine, Pace};
use fleet::{Fleet, KINDS, Kind};
pub use script::{Script, Turn};
use scripts::Scripts;

/// All traces, by name.
pub const NAMES: [&str; 9] = ["two", "five", "chat", "code", "burst", "owner", "mixed", "fifty", "flood"];

/// From this time on a node has this share of its speed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Change {
    pub at: f64,
    pub node: usize,
    pub factor: f64,
}

/// A mesh and what comes to it.
#[derive(Debug, Clone, PartialEq)]
pub struct Trace {
    pub name: &'static str,
    /// Names of the models.
    pub models: Vec<String>,
    /// Each machine, and what it has loaded at first.
    pub machines: Vec<(Arc<Machine>, Vec<usize>)>,
    pub scripts: Vec<Script>,
    pub changes: Vec<Change>,
}

/// How heavy a trace is; what is left out is as the trace has it.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Weight {
    /// Arrivals as a share of what all nodes together can do at best.
    pub load: Option<f64>,
    /// Scripts, or bursts of them.
    pub count: Option<usize>,
}

impl Trace {
    /// A trace by its name; `None` if there is none of that name.
    pub fn of(name: &str, seed: u64, weight: Weight) -> Option<Self> {
        let weigh = |load, count| Size {
            seed,
            load: weight.load.unwrap_or(load),
            count: weight.count.unwrap_or(count),
        };
        Some(match name {
            "two" => two(weigh(0.6, 500)),
            "five" => five(weigh(0.4, 700)),
            "chat" => chat(weigh(0.55, 130)),
            "code" => code(weigh(0.5, 40)),
            "burst" => burst(weigh(0.5, 30)),
            "owner" => owner(weigh(0.4, 700)),
            "mixed" => mixed(weigh(0.5, 220)),
            "fifty" => fifty(weigh(0.25, 400)),
            "flood" => flood(weigh(0.2, 120)),
            _ => return None,
        })
    }

    /// The engines as they are at first.
    pub fn engines(&self) -> Vec<Engine> {
        self.machines.iter().map(|(machine, loaded)| Engine::new(machine.clone(), loaded)).collect()
    }

    /// The same in a world that is so many times faster: engines, loads, arrivals and pauses. What the orchestrator and
    /// the agents wait for keeps its length, and so does what each request costs beside its prompt.
    #[must_use]
    pub fn compressed(mut self, factor: f64) -> Self {
        for (machine, _) in &mut self.machines {
            for pace in Arc::make_mut(machine).models.iter_mut().flatten() {
                *pace = Pace {
                    decode: pace.decode * factor,
                    prompt: pace.prompt * factor,
                    load: pace.load / factor,
                    ..*pace
                };
            }
        }
        for script in &mut self.scripts {
            script.at /= factor;
            script.turns.iter_mut().for_each(|turn| turn.think /= factor);
        }
        self.changes.iter_mut().for_each(|change| change.at /= factor);
        self
    }

    /// Without the scripts that begin later.
    #[must_use]
    pub fn until(mut self, seconds: f64) -> Self {
        self.scripts.retain(|script| script.at < seconds);
        self
    }

    /// All requests.
    pub fn total(&self) -> usize {
        self.scripts.iter().map(|script| script.turns.len()).sum()
    }
}

/// Seed, load and count of scripts.
#[derive(Debug, Clone, Copy)]
struct Size {
    seed: u64,
    load: f64,
    count: usize,
}

fn built(name: &'static str, fleet: Fleet, scripts: Scripts) -> Trace {
    let Fleet { models, machines } = fleet;
    Trace { name, models, machines, scripts: scripts.finish(), changes: Vec::new() }
}

/// Two nodes, 10 and 58 tokens a second, and one model that both have loaded.
fn two(size: Size) -> Trace {
    let fleet = fleet::two();
    let mut scripts = Scripts::new(size.seed);
    for at in scripts.poisson(size.load * fleet.capacity(400.0, 275.0), size.count) {
        let (prompt, answer) = (scripts.tokens(300.0, 0.8, 10, 6_000), scripts.tokens(200.0, 0.8, 5, 3_000));
        scripts.single(at, 0, prompt, answer);
    }
    built("two", fleet, scripts)
}

/// Five uneven nodes, three models, and memory for one of them each.
fn five(size: Size) -> Trace {
    let models = [("s", 5.0), ("m", 6.0), ("l", 9.0)];
    let fleet = Fleet::uneven(size.seed, &KINDS, &models, 9.5, &[0, 0, 1, 2, 1]);
    let mut scripts = Scripts::new(size.seed);
    for at in scripts.poisson(size.load * fleet.capacity(400.0, 250.0), size.count) {
        let model = scripts.rng.weighted(&[0.5, 0.35, 0.15]);
        let (prompt, answer) = (scripts.tokens(300.0, 0.9, 10, 6_000), scripts.tokens(180.0, 0.8, 5, 2_500));
        scripts.single(at, model, prompt, answer);
    }
    built("five", fleet, scripts)
}

/// Chats of 4 to 12 turns that grow, five system texts, four uneven nodes, one model.
fn chat(size: Size) -> Trace {
    let kinds = [KINDS[0], KINDS[1], KINDS[2], KINDS[4]];
    let fleet = Fleet::uneven(size.seed, &kinds, &[("m", 6.0)], 10.0, &[0; 4]);
    let mut scripts = Scripts::new(size.seed);
    for at in scripts.poisson(size.load * fleet.capacity(350.0, 250.0) / 8.0, size.count) {
        let system = scripts.rng.below(5) as u32;
        let turns = scripts.rng.between(4, 12);
        scripts.chat(at, 0, turns, (u64::from(system), 300 + 300 * system), 25.0);
    }
    built("chat", fleet, scripts)
}

/// Coding agents: prompts of 8,000 to 30,000 tokens that grow, short answers, short pauses; four uneven nodes.
fn code(size: Size) -> Trace {
    let kinds = [KINDS[1], KINDS[2], Kind { slots: 2, ..KINDS[3] }, KINDS[4]];
    let fleet = Fleet::uneven(size.seed, &kinds, &[("m", 6.0)], 10.0, &[0; 4]);
    let mut scripts = Scripts::new(size.seed);
    for at in scripts.poisson(size.load * fleet.capacity(2_500.0, 150.0) / 16.0, size.count) {
        let (system, steps) = (scripts.rng.below(2) as u64, scripts.rng.between(8, 24));
        let base = scripts.rng.between(2_000, 10_000) as u32;
        scripts.coder(at, 0, steps, system, base);
    }
    built("code", fleet, scripts)
}

/// Twenty at once, again and again.
fn burst(size: Size) -> Trace {
    const AT_ONCE: usize = 20;
    let fleet = Fleet::uneven(size.seed, &KINDS, &[("m", 6.0)], 10.0, &[0; 5]);
    let mut scripts = Scripts::new(size.seed);
    for at in scripts.poisson(size.load * fleet.capacity(400.0, 250.0) / AT_ONCE as f64, size.count) {
        for k in 0..AT_ONCE {
            let prompt = scripts.tokens(300.0, 0.8, 10, 6_000);
            let answer = scripts.tokens(180.0, 0.8, 5, 2_500);
            scripts.single(at + 0.001 * k as f64, 0, prompt, answer);
        }
    }
    built("burst", fleet, scripts)
}

/// One client asks two hundred things at once, another one something every few seconds.
fn flood(size: Size) -> Trace {
    const AT_ONCE: usize = 200;
    const AFTER: f64 = 30.0;
    let fleet = Fleet::uneven(size.seed, &KINDS, &[("m", 6.0)], 10.0, &[0; 5]);
    let mut scripts = Scripts::new(size.seed);
    scripts.client = Some("polite");
    for at in scripts.poisson(size.load * fleet.capacity(400.0, 250.0), size.count) {
        let (prompt, answer) = (scripts.tokens(300.0, 0.8, 10, 6_000), scripts.tokens(180.0, 0.8, 5, 2_500));
        scripts.single(at, 0, prompt, answer);
    }
    scripts.client = Some("flood");
    for k in 0..AT_ONCE {
        let (prompt, answer) = (scripts.tokens(300.0, 0.8, 10, 6_000), scripts.tokens(180.0, 0.8, 5, 2_500));
        scripts.single(AFTER + 0.001 * k as f64, 0, prompt, answer);
    }
    built("flood", fleet, scripts)
}

/// The fastest of four nodes is five times slower for the middle third: its owner plays.
fn owner(size: Size) -> Trace {
    let fleet = Fleet::uneven(size.seed, &KINDS[1..], &[("m", 6.0)], 10.0, &[0; 4]);
    let mut scripts = Scripts::new(size.seed);
    let mut end = 0.0;
    for at in scripts.poisson(size.load * fleet.capacity(400.0, 250.0), size.count) {
        let (prompt, answer) = (scripts.tokens(300.0, 0.8, 10, 6_000), scripts.tokens(180.0, 0.8, 5, 2_500));
        scripts.single(at, 0, prompt, answer);
        end = at;
    }
    let changes = [(end / 3.0, 0.2), (2.0 * end / 3.0, 1.0)];
    let changes = changes.map(|(at, factor)| Change { at, node: 3, factor }).to_vec();
    Trace { changes, ..built("owner", fleet, scripts) }
}

/// Eight nodes, two models, everything at once.
fn mixed(size: Size) -> Trace {
    let kinds = [0, 1, 1, 2, 2, 3, 4, 4].map(|kind| KINDS[kind]);
    let loaded = [0, 1, 0, 0, 1, 0, 0, 0];
    let fleet = Fleet::uneven(size.seed, &kinds, &[("m", 6.0), ("s", 3.0)], 10.0, &loaded);
    let mut scripts = Scripts::new(size.seed);
    for at in scripts.poisson(size.load * fleet.capacity(1_000.0, 200.0) / 5.0, size.count) {
        let (kind, model) = (scripts.rng.unit(), scripts.rng.weighted(&[0.7, 0.3]));
        if kind < 0.55 {
            let prompt = scripts.tokens(300.0, 0.9, 10, 6_000);
            let answer = scripts.tokens(200.0, 0.9, 5, 2_500);
            scripts.single(at, model, prompt, answer);
        } else if kind < 0.85 {
            let (turns, system) = (scripts.rng.between(3, 10), scripts.rng.below(3) as u64);
            scripts.chat(at, model, turns, (10 * model as u64 + system, 700), 20.0);
        } else {
            let (steps, base) = (scripts.rng.between(6, 20), scripts.rng.between(2_000, 8_000) as u32);
            scripts.coder(at, 0, steps, 100, base);
        }
    }
    built("mixed", fleet, scripts)
}

/// Fifty nodes, ten models; chats, single questions and coding agents.
fn fifty(size: Size) -> Trace {
    let fleet = Fleet::many(size.seed, 50);
    let mut scripts = Scripts::new(size.seed);
    let weights: Vec<_> = (1..=fleet.models.len()).map(|rank| 1.0 / rank as f64).collect();
    for at in scripts.poisson(size.load * fleet.capacity(900.0, 200.0) / 5.4, size.count) {
        let (model, kind) = (scripts.rng.weighted(&weights), scripts.rng.unit());
        if kind < 0.5 {
            let prompt = scripts.tokens(300.0, 0.9, 10, 6_000);
            let answer = scripts.tokens(200.0, 0.8, 5, 2_500);
            scripts.single(at, model, prompt, answer);
        } else if kind < 0.85 {
            let (turns, system) = (scripts.rng.between(3, 9), scripts.rng.below(3) as u64);
            scripts.chat(at, model, turns, (10 * model as u64 + system, 600), 20.0);
        } else {
            let (model, steps) = (scripts.rng.below(4), scripts.rng.between(6, 20));
            let base = scripts.rng.between(2_000, 8_000) as u32;
            scripts.coder(at, model, steps, 1_000 + model as u64, base);
        }
    }
    built("fifty", fleet, scripts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_follows_from_its_seed() {
        for name in NAMES {
            let trace = |seed| Trace::of(name, seed, Weight::default()).unwrap();
            assert_eq!(trace(1), trace(1), "{name}");
            assert_ne!(trace(1).scripts, trace(2).scripts, "{name}");
        }
        assert!(Trace::of("three", 1, Weight::default()).is_none());
    }

    #[test]
    fn a_compressed_trace_is_the_same_in_less_time() {
        let trace = Trace::of("mixed", 1, Weight::default()).unwrap();
        let fast = trace.clone().compressed(10.0);
        let (before, after) = (&trace.scripts[9], &fast.scripts[9]);
        assert!((before.at - 10.0 * after.at).abs() < 1e-9 && before.turns.len() == after.turns.len());
        let pace = |trace: &Trace| trace.machines[3].0.pace(1);
        assert!((pace(&fast).decode - 10.0 * pace(&trace).decode).abs() < 1e-9);
        assert!((pace(&fast).load - pace(&trace).load / 10.0).abs() < 1e-9);
        let end = after.at;
        assert!(fast.until(end).scripts.len() == 9);
    }

    #[test]
    fn prompts_of_a_script_extend_each_other_and_every_model_has_a_node() {
        for name in NAMES {
            let trace = Trace::of(name, 3, Weight::default()).unwrap();
            for script in &trace.scripts {
                assert!(script.turns.windows(2).all(|pair| pair[0].prompt <= pair[1].prompt), "{name}");
                for turn in &script.turns {
                    assert!(
                        turn.prompt > 0 && turn.answer > 0 && turn.system_tokens <= turn.prompt,
                        "{name}"
                    );
                    assert!(trace.machines.iter().any(|(it, _)| it.has(turn.model)), "{name}");
                }
            }
        }
    }
}
