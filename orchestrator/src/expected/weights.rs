//! How much each part counts in a choice.

/// How much each part counts. Nobody sets this but the simulator, which takes parts out to see what each is worth.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Weights {
    /// A task may wait for a node that is full.
    pub holds: bool,
    /// So many of each line are looked at.
    pub looked_at: usize,
    /// Answers slow each other down.
    pub company: bool,
    /// A second of waiting for a slot counts this much more, since it is uncertain.
    pub uncertain: f64,
    /// What those who run there lose.
    pub others: f64,
    /// Models that are thrown out: their load, and what follows from it.
    pub evicted: f64,
    /// A cached prompt that loses its slot.
    pub lost: f64,
}

impl Default for Weights {
    fn default() -> Self {
        Self {
            holds: true,
            looked_at: 16,
            company: true,
            uncertain: 0.5,
            others: 1.0,
            // Who loads it again throws out another one in turn, and those behind wait meanwhile.
            evicted: 1.5,
            lost: 1.0,
        }
    }
}
