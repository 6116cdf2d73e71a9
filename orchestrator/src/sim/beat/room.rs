//! What an agent learns of its engine's memory: Ollama tells no more than what is there now. As `room` of the agent has
//! it.

/// GiB of a machine, of which its engine uses a part.
const MACHINE: f64 = 32.0;

/// What was seen so far.
#[derive(Debug, Default)]
pub struct Room {
    /// Which models were in memory when the engine was last asked.
    loaded: Vec<bool>,
    /// The most that was there at once, in GiB.
    most: f64,
    /// One was thrown out for another.
    is_bounded: bool,
}

impl Room {
    /// These models are in memory, out of all with these sizes.
    pub fn seen(&mut self, loaded: Vec<bool>, sizes: &[f64]) {
        let was = |model: usize| self.loaded.get(model).copied().unwrap_or_default();
        let sum = |is: &dyn Fn(usize) -> bool| {
            (0..sizes.len()).filter(|&model| is(model)).map(|model| sizes[model]).sum::<f64>()
        };
        let (before, now) = (sum(&was), sum(&|model| loaded[model]));
        let new = sum(&|model| loaded[model] && !was(model));
        let is_gone = (0..loaded.len()).any(|model| was(model) && !loaded[model]);
        if new > 0.0 && is_gone {
            self.is_bounded = true;
            if before + new <= self.most {
                self.most = now;
            }
        }
        self.most = self.most.max(now);
        self.loaded = loaded;
    }

    /// GiB for models.
    pub fn told(&self) -> f64 {
        if self.is_bounded { self.most } else { self.most.max(MACHINE) }
    }
}
