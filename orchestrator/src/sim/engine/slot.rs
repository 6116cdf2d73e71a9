//! Slots, each of which keeps the prompt and the answer it had last.

use super::{Ask, Engine, Job, OVERHEAD};

/// A slot with less than this in common is no better than any other: llama.cpp's `--slot-prompt-similarity`.
const SIMILAR: f64 = 0.1;

/// A slot of a loaded model.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Slot {
    pub busy: bool,
    /// What is in its cache; what it has now, it has not kept yet.
    pub kept: Option<Kept>,
    /// When its last answer ended; negative if there was none.
    pub used: f64,
}

/// A prompt with its answer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Kept {
    pub session: u64,
    pub tokens: f64,
    pub system: u64,
    pub system_tokens: f64,
    pub called_tool: bool,
}

impl Slot {
    pub(super) const EMPTY: Self = Self { busy: false, kept: None, used: -1.0 };

    pub(super) fn after(job: &Job, now: f64) -> Self {
        let Ask { session, prompt, answer, system, system_tokens, calls_tool, .. } = job.ask;
        let kept = Kept { session, tokens: prompt + answer, system, system_tokens, called_tool: calls_tool };
        Self { busy: false, kept: Some(kept), used: now }
    }

    /// Tokens of this prompt that need not be worked off here.
    pub fn common(&self, ask: &Ask) -> f64 {
        let most = ask.prompt - 1.0;
        match self.kept {
            Some(kept) if kept.session == ask.session => kept.tokens.min(most),
            Some(kept) if kept.system == ask.system => kept.system_tokens.min(most),
            _ => 0.0,
        }
    }
}

/// The free slot that the engine takes for a request: the longest common prefix over a tenth of the prompt, else the least
/// recently used.
pub(super) fn choose(slots: &[Slot], ask: &Ask) -> Option<usize> {
    let (mut best, mut oldest): (Option<(f64, usize)>, Option<usize>) = (None, None);
    for (index, slot) in slots.iter().enumerate().filter(|(_, slot)| !slot.busy) {
        let share = slot.common(ask) / ask.prompt;
        if share > SIMILAR && best.is_none_or(|(before, _)| share > before) {
            best = Some((share, index));
        }
        if oldest.is_none_or(|before| slot.used < slots[before].used) {
            oldest = Some(index);
        }
    }
    best.map(|(_, index)| index).or(oldest)
}

impl Engine {
    /// The slot that a request would get now, if its model is loaded and one is free.
    pub fn slot_for(&self, ask: &Ask) -> Option<&Slot> {
        let slots = self.slots(ask.model);
        choose(slots, ask).map(|index| &slots[index])
    }

    /// Gives a request a slot, or lets it wait for one.
    pub(super) fn seat(&mut self, mut job: Job, now: f64) {
        let place = &mut self.places[job.ask.model];
        let Some(index) = choose(&place.slots, &job.ask) else {
            return place.waiting.push_back(job);
        };
        let slot = &mut place.slots[index];
        slot.busy = true;
        (job.slot, job.slotted, job.cached) = (index, now, slot.common(&job.ask));
        job.left = job.ask.prompt - job.cached + OVERHEAD * self.machine.pace(job.ask.model).prompt;
        self.prompts.push_back(job);
    }
}
