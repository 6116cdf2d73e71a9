//! A mirror of an engine's prompt caches: as its agent tells it, and what we have placed there since.

use std::sync::Arc;

use echo_broker::message::{ModelCache, Prefix, SlotCache, prefix};

use super::node::Attempt;
use super::within;

/// A slot with less than this share of a prompt in common is no better than any other, as engines see it.
const SIMILAR: f64 = 0.1;
/// Slots of a model that are mirrored, whatever a node says.
const SLOTS: usize = 64;
/// A digest may have been made before a task came that was placed so many seconds before we heard it.
const OVERTAKEN: f64 = 1.0;

/// A prompt as far as caches are concerned.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Prompt {
    pub blocks: Vec<u64>,
    pub session: u64,
    pub tokens: f64,
    /// Tokens in a block.
    pub block: f64,
}

impl Prompt {
    /// Of a text with so many tokens for 1,000 bytes.
    pub fn new(prefix: Prefix, tokens: f64) -> Self {
        let blocks = (prefix.bytes as f64 / prefix::BLOCK as f64).max(1.0);
        Self { blocks: prefix.blocks, session: prefix.session, tokens, block: tokens / blocks }
    }
}

/// The slots of one model in memory.
#[derive(Debug, Clone, Default)]
pub struct Mirror {
    pub slots: Vec<Slot>,
}

/// What one slot holds.
#[derive(Debug, Clone, Default)]
pub struct Slot {
    pub blocks: Vec<u64>,
    pub tokens: f64,
    pub busy: bool,
    /// Our own attempt that runs in it.
    by: Option<Attempt>,
    /// Its attempt has ended, and how is not told yet.
    untold: bool,
    /// When its last attempt ended.
    pub used: f64,
    pub session: u64,
    pub tool: bool,
}

impl Slot {
    fn told(told: &SlotCache, now: f64) -> Self {
        Self {
            blocks: told.blocks[..told.blocks.len().min(prefix::BLOCKS)].to_vec(),
            tokens: within(told.tokens as f64, 0.0, 1e9),
            busy: told.busy,
            by: None,
            untold: false,
            used: now - within(told.idle_ms as f64 / 1e3, 0.0, 1e6),
            session: told.session,
            tool: told.tool,
        }
    }

    fn empty() -> Self {
        Self { used: f64::NEG_INFINITY, ..Self::default() }
    }

    pub fn is_empty(&self) -> bool {
        self.tokens < 1.0
    }

    /// Tokens of the prompt that need not be worked off here.
    pub fn common(&self, prompt: &Prompt) -> f64 {
        let common = prefix::common(&self.blocks, &prompt.blocks);
        let most = (prompt.tokens - 1.0).max(0.0);
        // All whole blocks are the same, and so is the conversation: then the rest is too.
        let same = self.session != 0 && self.session == prompt.session && common == self.blocks.len();
        let tokens = if same { self.tokens } else { common as f64 * prompt.block };
        tokens.min(self.tokens).min(most)
    }
}

impl Mirror {
    pub fn with(slots: usize) -> Self {
        Self { slots: (0..slots.min(SLOTS)).map(|_| Slot::empty()).collect() }
    }

    /// As the agent says, which may not know yet of what runs here by our hand.
    pub fn hear(&mut self, told: &ModelCache, slots: usize, ours: &[(Attempt, f64, Arc<Prompt>)], now: f64) {
        self.slots = told.slots.iter().take(SLOTS).map(|slot| Slot::told(slot, now)).collect();
        while self.slots.len() < slots.min(SLOTS) {
            self.slots.push(Slot::empty());
        }
        for (attempt, placed, prompt) in ours {
            let theirs = |slot: &Slot| slot.busy && slot.by.is_none() && slot.session == prompt.session;
            if let Some(slot) = self.slots.iter_mut().find(|slot| theirs(slot)) {
                slot.by = Some(*attempt);
            } else if now - placed < OVERTAKEN {
                self.take(*attempt, prompt);
            }
        }
    }

    /// The most that a slot has in common with the prompt, in tokens.
    pub fn most_common(&self, prompt: &Prompt) -> f64 {
        self.slots.iter().map(|slot| slot.common(prompt)).fold(0.0, f64::max)
    }

    /// The most tokens in a slot.
    pub fn most(&self) -> f64 {
        self.slots.iter().map(|slot| slot.tokens).fold(0.0, f64::max)
    }

    /// The slot that the engine gives to a prompt: the longest common beginning, else the least recently used.
    pub fn pick(&self, prompt: &Prompt, taken: &[usize]) -> Option<usize> {
        let (mut best, mut oldest): (Option<(f64, usize)>, Option<usize>) = (None, None);
        for (index, slot) in self.slots.iter().enumerate() {
            if slot.busy || taken.contains(&index) {
                continue;
            }
            let common = slot.common(prompt);
            if common > SIMILAR * prompt.tokens && best.is_none_or(|(most, _)| common > most) {
                best = Some((common, index));
            }
            if oldest.is_none_or(|oldest: usize| slot.used < self.slots[oldest].used) {
                oldest = Some(index);
            }
        }
        best.map(|(_, index)| index).or(oldest)
    }

    /// An attempt of ours goes there.
    pub fn take(&mut self, attempt: Attempt, prompt: &Prompt) {
        if let Some(index) = self.pick(prompt, &[]) {
            let slot = &mut self.slots[index];
            slot.blocks.clone_from(&prompt.blocks);
            (slot.tokens, slot.session, slot.tool) = (prompt.tokens, prompt.session, false);
            (slot.busy, slot.by, slot.untold) = (true, Some(attempt), false);
        }
    }

    /// It has ended. What it answered the agent tells. Of an attempt that another orchestrator placed it is not known
    /// which slot it had: one that was busy by somebody else's hand, or else a stranger would get it for nothing.
    pub fn end(&mut self, attempt: Attempt, now: f64) {
        let ours = self.slots.iter().position(|slot| slot.by == Some(attempt));
        let theirs = || self.slots.iter().position(|slot| slot.busy && slot.by.is_none());
        if let Some(slot) = ours.or_else(theirs).map(|index| &mut self.slots[index]) {
            (slot.busy, slot.by, slot.untold, slot.used) = (false, None, true, now);
        }
    }
}

/// The agent tells of an end before long. Until then it may have been a tool call.
const UNTOLD: f64 = 1.0;

/// How often a prompt that was left alone for so long is still to be continued: odds, at most 16.
pub fn odds(slot: &Slot, waits: bool, now: f64) -> f64 {
    let idle = within(now - slot.used, 0.0, 1e4);
    match (waits, slot.tool || (slot.untold && idle < UNTOLD)) {
        (true, _) => 16.0,
        (_, true) => 16.0 * (-(idle - 15.0).max(0.0) / 15.0).exp(),
        (_, false) => (-idle / 30.0).exp(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use echo_broker::id::TaskId;

    fn prompt(session: u64) -> Prompt {
        Prompt { blocks: vec![session; 8], session, tokens: 8_000.0, block: 1_000.0 }
    }

    #[test]
    fn what_another_orchestrator_placed_leaves_its_slot_as_soon_as_it_has_ended() {
        let busy =
            SlotCache { blocks: vec![7; 8], tokens: 8_000, busy: true, session: 7, ..SlotCache::default() };
        let told = ModelCache { model: "m".to_owned(), slots: vec![busy], aside: Vec::new() };
        let mut mirror = Mirror::default();
        mirror.hear(&told, 1, &[], 100.0);
        assert_eq!(mirror.pick(&prompt(9), &[]), None);
        mirror.end((TaskId::from_u128(1), 1), 101.0);
        let slot = mirror.pick(&prompt(9), &[]).unwrap();
        let odds = odds(&mirror.slots[slot], false, 101.1);
        assert!(odds > 10.0, "it may have been a tool call, so the prompt is kept for now: {odds}");
    }
}
