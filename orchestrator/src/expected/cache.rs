//! A mirror of an engine's prompt caches: as its agent tells it, and what we have placed there since.

use std::sync::Arc;

use echo_bus::id::AttemptId;
use echo_bus::message::cache::{ASIDE, SLOTS};
use echo_bus::message::{ModelCache, Prefix, SlotCache, prefix};

use super::bounds::within;

/// A slot with less than this share of a prompt in common is no better than any other, as engines see it.
const SIMILAR: f64 = 0.1;
/// An engine that keeps less than this share of a text in its slot puts it aside, if it does so at all, and brings
/// another one back of which this share is wanted.
const KEPT: f64 = 0.5;
const WORTH: f64 = 0.25;
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
    /// Texts that the engine brings back into whichever slot it gives to a prompt.
    aside: Vec<Slot>,
}

/// What one slot holds.
#[derive(Debug, Clone, Default)]
pub struct Slot {
    pub blocks: Vec<u64>,
    pub tokens: f64,
    pub busy: bool,
    /// The attempt that runs in it, or was the last.
    by: Option<AttemptId>,
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
            by: told.attempt.map(|held| held.id),
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

    /// Tokens of the prompt that this text holds.
    fn common(&self, prompt: &Prompt) -> f64 {
        let common = common(&self.blocks, &prompt.blocks);
        let most = (prompt.tokens - 1.0).max(0.0);
        // All whole blocks are the same, and so is the conversation: then the rest is too. Where there are more than are
        // compared, those who agree in all of them are one conversation.
        let session = self.session != 0 && self.session == prompt.session;
        let same = common == prefix::BLOCKS || (session && common == self.blocks.len());
        let tokens = if same { self.tokens } else { common as f64 * prompt.block };
        tokens.min(self.tokens).min(most)
    }
}

/// How many blocks two texts have in common. Most differ from their beginning on, or one goes on from the other.
fn common(one: &[u64], other: &[u64]) -> usize {
    let shorter = one.len().min(other.len());
    match shorter {
        0 => 0,
        _ if one[0] != other[0] => 0,
        _ if one[shorter - 1] == other[shorter - 1] => shorter,
        _ => prefix::common(one, other),
    }
}

impl Mirror {
    pub fn with(slots: usize) -> Self {
        let slots = if slots > SLOTS { 0 } else { slots };
        Self { slots: (0..slots).map(|_| Slot::empty()).collect(), aside: Vec::new() }
    }

    /// As the agent says, which may not know yet of what runs here by our hand.
    pub fn hear(
        &mut self,
        told: &ModelCache,
        slots: usize,
        ours: &[(AttemptId, f64, Arc<Prompt>)],
        now: f64,
    ) {
        self.slots = told.slots.iter().take(SLOTS).map(|slot| Slot::told(slot, now)).collect();
        self.aside = told.aside.iter().take(ASIDE).map(|slot| Slot::told(slot, now)).collect();
        while self.slots.len() < slots.min(SLOTS) {
            self.slots.push(Slot::empty());
        }
        for (attempt, placed, prompt) in ours {
            // It may be told to be over before the heartbeat says so.
            let is_told = self.slots.iter().any(|slot| slot.by == Some(*attempt));
            if !is_told && now - placed < OVERTAKEN {
                self.take(*attempt, prompt);
            }
        }
    }

    /// Tokens of the prompt that need not be worked off in that slot.
    pub fn common(&self, slot: usize, prompt: &Prompt) -> f64 {
        let slot = &self.slots[slot];
        let here = slot.common(prompt);
        if here >= KEPT * slot.tokens.max(1.0) {
            return here;
        }
        let aside = self.aside.iter().map(|text| (text.common(prompt), text.tokens));
        aside.filter(|(common, of)| *common >= WORTH * of).map(|(common, _)| common).fold(here, f64::max)
    }

    /// Tokens in that slot that are gone when the prompt is there.
    pub fn lost(&self, slot: usize, prompt: &Prompt) -> f64 {
        let slot = &self.slots[slot];
        let common = slot.common(prompt);
        let is_kept = !self.aside.is_empty() && common < KEPT * slot.tokens;
        if is_kept { 0.0 } else { slot.tokens - common }
    }

    /// The most that a text has in common with the prompt, in tokens.
    pub fn most_common(&self, prompt: &Prompt) -> f64 {
        self.texts().map(|slot| slot.common(prompt)).fold(0.0, f64::max)
    }

    /// The most tokens of a text.
    pub fn most(&self) -> f64 {
        self.texts().map(|slot| slot.tokens).fold(0.0, f64::max)
    }

    fn texts(&self) -> impl Iterator<Item = &Slot> {
        self.slots.iter().chain(&self.aside)
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
    pub fn take(&mut self, attempt: AttemptId, prompt: &Prompt) {
        if let Some(index) = self.pick(prompt, &[]) {
            let slot = &mut self.slots[index];
            slot.blocks.clone_from(&prompt.blocks);
            (slot.tokens, slot.session, slot.tool) = (prompt.tokens, prompt.session, false);
            (slot.busy, slot.by, slot.untold) = (true, Some(attempt), false);
        }
    }

    /// It has ended. What it answered the agent tells. Of an attempt that another orchestrator placed it is not known
    /// which slot it had: one that was busy by somebody else's hand, or else a stranger would get it for nothing.
    pub fn end(&mut self, attempt: AttemptId, now: f64) {
        let ours = self.slots.iter().position(|slot| slot.by == Some(attempt));
        let theirs = || self.slots.iter().position(|slot| slot.busy && slot.by.is_none());
        let slot = ours.or_else(theirs).map(|index| &mut self.slots[index]);
        if let Some(slot) = slot.filter(|slot| slot.busy) {
            (slot.busy, slot.untold, slot.used) = (false, true, now);
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
    use echo_bus::id::TaskId;
    use echo_bus::message::Held;

    fn prompt(blocks: std::ops::Range<u64>, tokens: f64, session: u64) -> Arc<Prompt> {
        let blocks: Vec<u64> = blocks.collect();
        Arc::new(Prompt { block: tokens / blocks.len().max(1) as f64, blocks, session, tokens })
    }

    fn text(of: &Prompt) -> SlotCache {
        let (blocks, session) = (of.blocks.clone(), of.session);
        SlotCache { blocks, session, tokens: of.tokens as u64, ..SlotCache::default() }
    }

    fn hear(slots: Vec<SlotCache>, aside: Vec<SlotCache>, ours: &[(AttemptId, f64, Arc<Prompt>)]) -> Mirror {
        let mut mirror = Mirror::default();
        mirror.hear(&ModelCache { model: "m".into(), slots, aside }, 1, ours, 10.0);
        mirror
    }

    #[test]
    fn a_text_aside_comes_back_for_nothing_and_what_loses_its_slot_goes_there() {
        let (here, aside) = (prompt(0..8, 2_000.0, 1), prompt(100..140, 10_000.0, 2));
        let without = hear(vec![text(&here)], vec![], &[]);
        assert_eq!((without.common(0, &aside), without.most_common(&aside)), (0.0, 0.0));
        assert_eq!((without.lost(0, &aside), without.most()), (2_000.0, 2_000.0));
        let with = hear(vec![text(&here)], vec![text(&aside)], &[]);
        assert_eq!((with.common(0, &aside), with.most_common(&aside)), (9_999.0, 9_999.0));
        assert_eq!((with.lost(0, &aside), with.most()), (0.0, 10_000.0));
        let a_little = prompt(100..104, 1_000.0, 3);
        assert_eq!(with.common(0, &a_little), 0.0, "not for its first tenth");
        let next = prompt(0..9, 2_250.0, 1);
        assert_eq!((with.common(0, &next), with.lost(0, &next)), (2_000.0, 0.0), "the slot goes on as it is");
    }

    #[test]
    fn long_texts_that_agree_as_far_as_is_told_agree_up_to_the_end_of_the_shorter() {
        let long = |tokens: f64, session| {
            let blocks: Vec<u64> = (0..prefix::BLOCKS as u64).collect();
            Prompt { blocks, session, tokens, block: 250.0 }
        };
        let kept = hear(vec![text(&long(60_000.0, 1))], vec![], &[]);
        for session in [0, 1, 2] {
            assert_eq!(kept.common(0, &long(62_000.0, session)), 60_000.0);
            assert_eq!(kept.common(0, &long(50_000.0, session)), 49_999.0);
        }
        let other = Prompt { blocks: (0..100).chain(900..928).collect(), ..long(60_000.0, 1) };
        assert_eq!(kept.common(0, &other), 25_000.0);
    }

    #[test]
    fn how_an_attempt_of_ours_has_ended_is_known_before_its_slot_is_free() {
        let attempt = AttemptId { task: TaskId::from_u128(7), attempt: 1 };
        let ours = prompt(0..8, 2_000.0, 1);
        let held = Held { id: attempt, seq: None, ended: false };
        let ended = SlotCache { tool: true, idle_ms: 1_000, attempt: Some(held), ..text(&ours) };
        let placed = [(attempt, 9.5, ours.clone())];
        let mut mirror = hear(vec![ended.clone()], vec![], &placed);
        mirror.end(attempt, 10.0);
        let slot = &mirror.slots[0];
        assert_eq!((slot.busy, slot.tool, slot.untold, slot.used), (false, true, false, 9.0));
        let mut mirror = hear(vec![SlotCache { busy: true, tool: false, ..ended }], vec![], &placed);
        mirror.end(attempt, 10.0);
        assert_eq!((mirror.slots[0].busy, mirror.slots[0].untold), (false, true));
        let before_it_came = hear(vec![SlotCache::default()], vec![], &placed);
        assert!(before_it_came.slots[0].busy && before_it_came.slots[0].tokens > 0.0);
    }

    #[test]
    fn what_another_orchestrator_placed_leaves_its_slot_as_soon_as_it_has_ended() {
        let busy =
            SlotCache { blocks: vec![7; 8], tokens: 8_000, busy: true, session: 7, ..SlotCache::default() };
        let told = ModelCache { model: "m".to_owned(), slots: vec![busy], aside: Vec::new() };
        let of = |session: u64| Prompt { blocks: vec![session; 8], session, tokens: 8_000.0, block: 1_000.0 };
        let mut mirror = Mirror::default();
        mirror.hear(&told, 1, &[], 100.0);
        assert_eq!(mirror.pick(&of(9), &[]), None);
        mirror.end(AttemptId { task: TaskId::from_u128(1), attempt: 1 }, 101.0);
        let slot = mirror.pick(&of(9), &[]).unwrap();
        let odds = odds(&mirror.slots[slot], false, 101.1);
        assert!(odds > 10.0, "it may have been a tool call, so the prompt is kept for now: {odds}");
    }
}
