//! Slots, each of which keeps the prompt that it had last, with its answer.

use super::{Job, Phase};

/// A slot with less than this part of a prompt is no better than any other: llama.cpp's `--slot-prompt-similarity`.
const SIMILAR: f64 = 0.1;

/// A slot of a model in memory.
#[derive(Clone, Debug, Default)]
pub struct Slot {
    pub busy: bool,
    pub kept: Vec<u64>,
    /// When its last request ended; zero if there was none.
    pub used: f64,
}

impl Slot {
    /// Tokens of a prompt that need not be worked off here: never all of them.
    fn common(&self, prompt: &[u64]) -> usize {
        let same = self.kept.iter().zip(prompt).take_while(|(kept, new)| kept == new).count();
        same.min(prompt.len().saturating_sub(1))
    }
}

/// The free slot for a prompt, and what it has of it: that with the longest beginning in common over a tenth of the
/// prompt, else the least recently used.
pub fn choose(slots: &[Slot], prompt: &[u64]) -> Option<(usize, usize)> {
    let free = slots.iter().enumerate().filter(|(_, slot)| !slot.busy);
    let free: Vec<_> = free.map(|(index, slot)| (index, slot.common(prompt), slot.used)).collect();
    let similar = |common: usize| common as f64 > SIMILAR * prompt.len() as f64;
    // Of equals the first one.
    let alike = free.iter().filter(|(_, common, _)| similar(*common));
    let best = alike.reduce(|best, next| if next.1 > best.1 { next } else { best });
    let oldest = || free.iter().min_by(|a, b| a.2.total_cmp(&b.2));
    best.or_else(oldest).map(|(index, common, _)| (*index, *common))
}

impl Job {
    /// What it leaves in its slot.
    pub(super) fn kept(&self) -> Vec<u64> {
        let made = usize::try_from(self.made()).unwrap_or(usize::MAX);
        match self.phase {
            // Given up in the middle of its prompt.
            Phase::Prompt => {
                let worked = self.prompt.len().saturating_sub(self.left.max(0.0) as usize);
                self.prompt[..worked.max(self.cached)].to_vec()
            }
            _ => self.prompt.iter().chain(self.answer.iter().take(made)).copied().collect(),
        }
    }
}
