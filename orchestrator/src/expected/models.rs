//! All that is known of a model over the whole mesh, under a number of its own.

use std::collections::HashMap;

use super::lengths::Lengths;
use echo_bus::model_name::ModelName;

/// Arrivals are counted over about this many seconds.
const MEMORY: f64 = 180.0;

/// A model's number, for as long as a node serves it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(u32);

/// The models that are served.
#[derive(Debug, Default)]
pub struct Models {
    ids: HashMap<ModelName, Id>,
    kept: Vec<Mesh>,
    vacant: Vec<Id>,
    /// Of all models together.
    pub any: Lengths,
}

/// A model in the mesh.
#[derive(Debug, Default)]
pub struct Mesh {
    /// Nodes that serve it.
    serving: u32,
    pub lengths: Lengths,
    /// Tokens for 1,000 bytes: the sum over nodes that have measured it, and their number.
    per_kb: (f64, u32),
    /// The fastest that is known of any node, alone; found again when speeds change.
    pub fastest: Option<f64>,
    /// The same of prompts.
    pub prompt: Option<f64>,
    /// Arrivals a second, and when that was counted.
    rate: (f64, f64),
}

impl Models {
    pub fn id(&self, name: &ModelName) -> Option<Id> {
        self.ids.get(name).copied()
    }

    pub fn get(&self, id: Id) -> &Mesh {
        &self.kept[id.0 as usize]
    }

    pub fn get_mut(&mut self, id: Id) -> &mut Mesh {
        &mut self.kept[id.0 as usize]
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Mesh> {
        self.kept.iter_mut()
    }

    pub fn note_fastest(&mut self, id: Id, speed: f64) {
        let fastest = &mut self.kept[id.0 as usize].fastest;
        *fastest = Some(fastest.map_or(speed, |before| before.max(speed)));
    }

    pub fn note_prompt(&mut self, id: Id, speed: f64) {
        let prompt = &mut self.kept[id.0 as usize].prompt;
        *prompt = Some(prompt.map_or(speed, |before| before.max(speed)));
    }

    /// A node serves this model from now on.
    pub fn join(&mut self, name: ModelName) -> Id {
        let (kept, vacant) = (&mut self.kept, &mut self.vacant);
        let id = *self.ids.entry(name).or_insert_with(|| {
            vacant.pop().unwrap_or_else(|| {
                kept.push(Mesh::default());
                Id(u32::try_from(kept.len() - 1).expect("fewer models than memory"))
            })
        });
        self.kept[id.0 as usize].serving += 1;
        id
    }

    /// A node serves it no more; what nobody serves is forgotten.
    pub fn leave(&mut self, id: Id) {
        let kept = &mut self.kept[id.0 as usize];
        kept.serving = kept.serving.saturating_sub(1);
        if kept.serving == 0 {
            *kept = Mesh::default();
            self.ids.retain(|_, known| *known != id);
            self.vacant.push(id);
        }
    }

    pub fn lengths(&self, id: Id) -> &Lengths {
        let own = &self.get(id).lengths;
        if own.is_known() { own } else { &self.any }
    }

    pub fn replace_lengths(&mut self, id: Id, before: &[u16], now: &[u16]) {
        self.kept[id.0 as usize].lengths.replace(before, now);
        self.any.replace(before, now);
    }
}

impl Mesh {
    /// A task for it has come.
    pub fn arrived(&mut self, now: f64) {
        self.rate = (self.arrivals(now) + 1.0 / MEMORY, now);
    }

    /// Tasks a second lately.
    pub fn arrivals(&self, now: f64) -> f64 {
        let (rate, at) = self.rate;
        rate * (-(now - at).max(0.0) / MEMORY).exp()
    }

    pub fn replace_per_kb(&mut self, before: Option<f64>, now: Option<f64>) {
        let (sum, count) = &mut self.per_kb;
        if let Some(before) = before {
            (*sum, *count) = (*sum - before, count.saturating_sub(1));
        }
        if let Some(now) = now {
            (*sum, *count) = (*sum + now, *count + 1);
        }
        if *count == 0 {
            *sum = 0.0;
        }
    }

    /// Tokens of a text of so many bytes.
    pub fn tokens(&self, bytes: f64) -> f64 {
        const UNKNOWN: f64 = 250.0;
        let (sum, count) = self.per_kb;
        let per_kb = if count > 0 { (sum / f64::from(count)).clamp(1.0, 1_000.0) } else { UNKNOWN };
        (bytes * per_kb / 1_000.0).max(1.0)
    }
}
