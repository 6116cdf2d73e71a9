//! A simulated agent's mirror of its engine's caches, of prompts whose texts are written out.

use std::collections::HashMap;
use std::rc::Rc;

use echo_bus::id::{BootId, NodeId};
use echo_bus::message::{CacheDigest, ModelCache, Prefix, SlotCache};

use super::engine::{Engine, Job, Kept};
use super::ids::held;

/// A text with and without the answer to come.
#[derive(Debug, Clone)]
pub struct Text {
    pub prompt: Rc<Prefix>,
    pub whole: Rc<Prefix>,
}

/// The texts of an agent.
#[derive(Debug, Default)]
pub struct Digests {
    running: HashMap<usize, Text>,
    /// What sessions were left with, by model and session.
    left: HashMap<(usize, u64), Rc<Prefix>>,
}

impl Digests {
    pub fn entered(&mut self, task: usize, text: Text) {
        self.running.insert(task, text);
    }

    /// The bytes of its prompt.
    pub fn ended(&mut self, job: &Job) -> Option<u64> {
        let text = self.running.remove(&job.ask.id)?;
        self.left.insert((job.ask.model, job.ask.session), text.whole);
        Some(text.prompt.bytes)
    }

    pub fn digest(
        &mut self,
        engine: &Engine,
        models: &[Option<String>],
        node: &NodeId,
        boot: &BootId,
    ) -> CacheDigest {
        let loaded = |model: &usize| engine.last_used(*model).is_some();
        let kept = |model: usize| engine.slots(model).iter().filter_map(|slot| slot.kept);
        self.left.retain(|(model, session), _| kept(*model).any(|it| it.session == *session));
        let named = models.iter().enumerate().filter_map(|(model, name)| Some((model, name.as_ref()?)));
        let named = named.filter(|(model, _)| loaded(model));
        let models = named.map(|(model, name)| ModelCache {
            model: name.clone(),
            slots: self.slots(engine, model),
            aside: Vec::new(),
        });
        CacheDigest { node: node.clone(), boot: boot.clone(), models: models.collect() }
    }

    fn slots(&self, engine: &Engine, model: usize) -> Vec<SlotCache> {
        let mine = engine.jobs().filter(|job| job.ask.model == model);
        let busy = mine.map(|job| {
            let text = self.running.get(&job.ask.id);
            let blocks = text.map(|text| text.prompt.blocks.clone()).unwrap_or_default();
            let session = text.map_or(0, |text| text.prompt.session);
            let (tokens, attempt) = (job.ask.prompt as u64, Some(held(job.ask.id)));
            SlotCache { blocks, tokens, attempt, busy: true, session, ..SlotCache::default() }
        });
        let free = engine.slots(model).iter().filter(|slot| !slot.busy);
        let free = free.map(|slot| {
            slot.kept
                .map_or_else(SlotCache::default, |kept| self.free(model, &kept, engine.now() - slot.used))
        });
        busy.chain(free).collect()
    }

    fn free(&self, model: usize, kept: &Kept, idle: f64) -> SlotCache {
        let text = self.left.get(&(model, kept.session));
        SlotCache {
            blocks: text.map(|text| text.blocks.clone()).unwrap_or_default(),
            tokens: kept.tokens as u64,
            busy: false,
            idle_ms: (idle * 1e3) as u64,
            session: text.map_or(0, |text| text.session),
            tool: kept.called_tool,
            attempt: None,
        }
    }
}
