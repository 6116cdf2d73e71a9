//! A mirror of the engine's prompt caches: which text sits in which slot of each model in memory.
//!
//! llama.cpp's server, which also works behind Ollama, gives a prompt to the free slot that has the longest beginning in
//! common with it, if that is over a tenth of the prompt, and else to the free slot that was used least recently. The
//! slot then holds that prompt and its answer. A text that loses its slot may be kept aside in memory and come back.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use echo_bus::id::{AttemptId, BootId, NodeId};
use echo_bus::message::cache::{ASIDE as TOLD, SLOTS};
use echo_bus::message::{CacheDigest, Held, ModelCache, SlotCache};

use super::text::Text;

/// The part of a prompt that has to be in a slot for that slot to be chosen.
const SIMILAR: f64 = 0.1;

/// A slot that keeps less of its text than this part gives it to the memory aside.
const KEPT: f64 = 0.5;

/// A text aside comes back if the new prompt has this part of it, so that a long one is not thrown away for its head.
const WORTH: f64 = 0.25;

/// Texts aside that are remembered. How many the engine keeps depends on their size, which it alone knows.
const ASIDE: usize = 32;

/// For so long an ended attempt is named: whoever has placed it may not know of its end yet.
const NAMED: Duration = Duration::from_secs(2);

/// The difference to the engine's own count that is none: what a template adds, and the block that is not whole.
const SLACK: u64 = 400;

/// All models in memory.
#[derive(Debug, Default)]
pub struct Mirror {
    models: HashMap<String, Model>,
    /// Counts the changes, and of these the ends of attempts.
    pub changes: u64,
    pub ends: u64,
}

#[derive(Debug, Default)]
struct Model {
    slots: Vec<Slot>,
    /// What lost its slot, oldest first.
    aside: Vec<Slot>,
    /// The engine was seen to bring a text back, or not to.
    keeps: Option<bool>,
}

#[derive(Debug, Clone, Default)]
struct Slot {
    text: Text,
    tokens: u64,
    /// Tokens of that text, where the engine has counted them.
    counted: Option<u64>,
    tool: bool,
    /// The mesh's attempt that runs in it, or was the last.
    attempt: Option<AttemptId>,
    /// What runs in it, and what was there before.
    run: Option<Run>,
    /// When its last attempt began or ended.
    used: Option<Instant>,
}

#[derive(Debug, Clone)]
struct Run {
    id: u64,
    before: Box<Slot>,
    /// Bytes that the prompt has in common with what was there.
    common: u64,
    /// The same of a text aside that the engine should have brought back.
    aside: Option<u64>,
}

/// How an attempt ended, as far as its slot is concerned.
#[derive(Debug, Default)]
pub struct Left {
    /// Prompt and answer, or the prompt alone.
    pub text: Text,
    pub tokens: u64,
    /// Tokens of the text by the engine's count. What is in the slot beside it (thoughts) is not among them.
    pub counted: Option<u64>,
    pub tool: bool,
    /// The prompt's length, and how much of it the engine says it had, both in bytes of text.
    pub prompt: u64,
    pub cached: Option<u64>,
}

impl Mirror {
    /// An attempt begins at the engine, one of the mesh's if it has a key. How many bytes of its prompt are in its slot, as far as is known.
    pub fn begin(
        &mut self,
        model: &str,
        slots: u32,
        (run, attempt): (u64, Option<AttemptId>),
        text: &Text,
        now: Instant,
    ) -> Option<u64> {
        if slots as usize > SLOTS {
            self.forget(model);
            return None;
        }
        let model = self.models.entry(model.to_owned()).or_default();
        if model.slots.len() < slots as usize {
            model.slots.resize_with(slots as usize, Slot::default);
        }
        let place = model.choose(text)?;
        self.changes += 1;
        let common = model.take(place, run, text, now);
        model.slots[place].attempt = attempt;
        Some(common)
    }

    /// An attempt is over.
    pub fn end(&mut self, name: &str, run: u64, left: Left, now: Instant) {
        let Some(model) = self.models.get_mut(name) else { return };
        let Some(place) = model.slots.iter().position(|slot| slot.runs(run)) else { return };
        (self.changes, self.ends) = (self.changes + 1, self.ends + 1);
        let ended = model.slots[place].run.take();
        if let (Some(run), Some(cached)) = (ended, left.cached) {
            model.learn(&run, cached, left.prompt);
        }
        let attempt = model.slots[place].attempt;
        let Left { text, tokens, counted, tool, .. } = left;
        model.slots[place] = Slot { text, tokens, counted, tool, attempt, run: None, used: Some(now) };
    }

    /// An attempt was given up while its prompt was worked off: nobody knows how far that came.
    pub fn give_up(&mut self, name: &str, run: u64, now: Instant) {
        let Some(model) = self.models.get_mut(name) else { return };
        let Some(slot) = model.slots.iter_mut().find(|slot| slot.runs(run)) else { return };
        (self.changes, self.ends) = (self.changes + 1, self.ends + 1);
        let Some(run) = slot.run.take() else { return };
        let tokens = run.before.tokens.saturating_mul(run.common) / run.before.text.bytes().max(1);
        let (text, attempt) = (slot.text.first(run.common), slot.attempt);
        *slot = Slot { text, tokens, attempt, used: Some(now), ..Slot::default() };
    }

    /// An attempt does not find the model in memory. Where others are in its slots it comes for them already.
    pub fn loads(&mut self, model: &str) {
        let in_use = |known: &Model| known.slots.iter().any(|slot| slot.run.is_some());
        if !self.models.get(model).is_some_and(in_use) {
            self.forget(model);
        }
    }

    /// The tokens of the longest text in a slot with which this one begins, and its bytes.
    pub fn counted(&self, model: &str, text: &Text) -> Option<(u64, u64)> {
        let slots = self.models.get(model)?.slots.iter().filter(|slot| slot.run.is_none());
        let begins =
            slots.filter(|slot| slot.text.whole() > 0 && slot.text.common(text) >= slot.text.whole());
        let counts = begins.filter_map(|slot| Some((slot.counted?, slot.text.bytes())));
        counts.max_by_key(|(_, bytes)| *bytes)
    }

    /// The model was unloaded, or its engine has died: its slots are empty.
    pub fn forget(&mut self, model: &str) {
        self.changes += u64::from(self.models.remove(model).is_some());
    }

    /// Keeps the mirrors of these models only.
    pub fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        let before = self.models.len();
        self.models.retain(|model, _| keep(model));
        self.changes += (before - self.models.len()) as u64;
    }

    /// What is told of it.
    pub fn told(&self, node: &NodeId, boot: &BootId, now: Instant) -> CacheDigest {
        let mut models: Vec<_> = self.models.iter().map(|(name, model)| model.told(name, now)).collect();
        models.sort_by(|one, other| one.model.cmp(&other.model));
        CacheDigest { node: node.clone(), boot: boot.clone(), models }
    }
}

impl Model {
    /// The slot that the engine takes for this prompt.
    fn choose(&self, text: &Text) -> Option<usize> {
        let free = || self.slots.iter().enumerate().filter(|(_, slot)| slot.run.is_none());
        let share = |slot: &Slot| slot.text.common(text) as f64 / text.bytes().max(1) as f64;
        let alike = free().map(|(place, slot)| (place, share(slot))).filter(|(_, share)| *share > SIMILAR);
        // Of equals the first one.
        let best = alike.reduce(|best, next| if next.1 > best.1 { next } else { best });
        let least_recent = || free().min_by_key(|(_, slot)| slot.used).map(|(place, _)| place);
        best.map(|(place, _)| place).or_else(least_recent)
    }

    fn take(&mut self, place: usize, run: u64, text: &Text, now: Instant) -> u64 {
        let before = std::mem::take(&mut self.slots[place]);
        let mut common = before.text.common(text);
        let mut aside = None;
        let kept = common as f64 / before.text.bytes().max(1) as f64;
        if kept < KEPT && self.keeps != Some(false) {
            self.put_aside(before.clone());
            if let Some(place) = self.worth_fetching(text, kept, common) {
                let found = self.aside.remove(place).text.common(text);
                // Until it was seen once nobody counts on it.
                common = if self.keeps == Some(true) { found } else { common };
                aside = Some(found);
            }
        }
        let run = Run { id: run, before: Box::new(before), common, aside };
        self.slots[place] = Slot { text: text.clone(), run: Some(run), used: Some(now), ..Slot::default() };
        common
    }

    fn put_aside(&mut self, slot: Slot) {
        if slot.text.bytes() == 0 {
            return;
        }
        self.aside.retain(|old| old.text.common(&slot.text) < old.text.whole());
        if self.aside.len() == ASIDE {
            self.aside.remove(0);
        }
        self.aside.push(Slot { run: None, attempt: None, ..slot });
    }

    fn worth_fetching(&self, text: &Text, mut kept: f64, mut common: u64) -> Option<usize> {
        let mut best = None;
        for (place, slot) in self.aside.iter().enumerate() {
            let here = slot.text.common(text);
            let share = here as f64 / slot.text.bytes().max(1) as f64;
            if share >= WORTH && share > kept && here > common {
                (best, kept, common) = (Some(place), share, here);
            }
        }
        best
    }

    /// Corrects what is known of the other slots by how much of its prompt an attempt had in the engine's cache.
    fn learn(&mut self, run: &Run, cached: u64, prompt: u64) {
        let fits = |bytes: u64| bytes.abs_diff(cached) <= SLACK + prompt / 20;
        if let Some(aside) = run.aside {
            if self.keeps.is_none() && fits(aside) != fits(run.common) {
                self.keeps = Some(fits(aside));
            }
            if !fits(aside) {
                // It was too old to be kept, and so are those from before it.
                self.aside.clear();
            }
        } else if cached < run.common && !fits(run.common) {
            // Somebody else has used that slot. The engine gives away those first that were not used for longer.
            for slot in self.slots.iter_mut().filter(|slot| slot.run.is_none() && slot.used < run.before.used)
            {
                *slot = Slot { used: slot.used, ..Slot::default() };
            }
        }
    }

    fn told(&self, name: &str, now: Instant) -> ModelCache {
        let aside = self.aside.iter().filter(|_| self.keeps == Some(true));
        ModelCache {
            model: name.to_owned(),
            slots: self.slots.iter().map(|slot| slot.told(now)).collect(),
            aside: aside.rev().take(TOLD).map(|slot| slot.told(now)).collect(),
        }
    }
}

impl Slot {
    fn runs(&self, id: u64) -> bool {
        self.run.as_ref().is_some_and(|run| run.id == id)
    }

    fn told(&self, now: Instant) -> SlotCache {
        let busy = self.run.is_some();
        let idle = self.used.filter(|_| !busy).map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        SlotCache {
            blocks: self.text.blocks().to_vec(),
            tokens: self.tokens,
            attempt: self.attempt.filter(|_| idle < NAMED).map(|id| Held { id, seq: None, ended: false }),
            busy,
            idle_ms: u64::try_from(idle.as_millis()).unwrap_or(u64::MAX),
            session: self.text.session(),
            tool: self.tool,
        }
    }
}

#[cfg(test)]
mod tests;
