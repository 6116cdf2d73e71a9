//! What this node's own tasks have made of the engine's memory: how each model is loaded, and whose wait was a load.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use echo_bus::message::{LoadOptions, Loading, Model};

/// Ollama gives each answer a load time, also where nothing was loaded. A shorter one is none: it was there already.
const SHORTEST: Duration = Duration::from_millis(150);

/// The models that this node's tasks have used since they were loaded.
#[derive(Debug, Default)]
pub struct Loads {
    models: HashMap<String, Use>,
}

/// What is known of a model in memory because a task of this node asked for it.
#[derive(Debug)]
struct Use {
    with: LoadOptions,
    /// No task has ended well since it had to be loaded.
    coming: bool,
    /// A task has ended well with these options.
    proved: bool,
    /// The context's length that the engine told when it was at rest with these options.
    context: Option<u64>,
    /// When a task last began or ended.
    last: Instant,
}

/// What a task that begins finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Start {
    /// The model is in memory as the task needs it.
    pub ready: bool,
    /// The engine loads it for this task and for nobody before it, so that the time it takes is that of a load.
    pub loads: bool,
}

impl Loads {
    /// A task begins on a model that the engine describes so; `alone` if no other task of this node uses it. Also says
    /// whether the model is described differently from now on.
    ///
    /// A load that comes while others answer waits for their ends first, and one that somebody else has begun is half
    /// over: neither is measured.
    pub fn starts(
        &mut self,
        model: &Model,
        wanted: &LoadOptions,
        alone: bool,
        now: Instant,
    ) -> (Start, bool) {
        let described = self.in_memory(model);
        let suits = Loading::of(&described).answers(wanted.key());
        let ready = suits && described.loaded;
        let known = self.models.get_mut(&model.name);
        let loads = !ready && alone && known.as_ref().is_none_or(|known| !known.coming);
        match known {
            Some(known) if suits => {
                known.last = now;
                (Start { ready, loads }, false)
            }
            _ => {
                let fresh =
                    Use { with: wanted.clone(), coming: !ready, proved: false, context: None, last: now };
                self.models.insert(model.name.clone(), fresh);
                (Start { ready, loads }, true)
            }
        }
    }

    /// The options that it is in memory with: not those of a task that has not ended well with them.
    pub fn with(&self, model: &str) -> Option<&LoadOptions> {
        self.models.get(model).filter(|known| known.proved).map(|known| &known.with)
    }

    /// A task on this model has ended, well or not; `others` if some still run on it. Whether that is news.
    pub fn ended(&mut self, model: &str, well: bool, others: bool, now: Instant) -> bool {
        let Some(known) = self.models.get_mut(model) else { return false };
        known.last = now;
        let arrived = known.coming && well && !others;
        known.coming &= !arrived;
        known.proved |= well;
        arrived
    }

    /// The engine describes a model in answer to a question asked at `asked`; `None` if it has it no more. Whether that
    /// is news.
    pub fn told(&mut self, name: &str, model: Option<&Model>, in_use: bool, asked: Instant) -> bool {
        let Some(known) = self.models.get_mut(name) else { return false };
        // What runs may change it yet, and what was asked before a task knows nothing of it.
        if model.is_some() && (in_use || known.last >= asked) {
            return false;
        }
        match model.filter(|model| model.loaded) {
            Some(model) if known.context.is_none_or(|seen| model.context_length == Some(seen)) => {
                let before = (known.coming, known.context);
                (known.coming, known.context) = (false, model.context_length);
                before != (known.coming, known.context)
            }
            // Unloaded, or loaded anew by somebody else.
            _ => self.models.remove(name).is_some(),
        }
    }

    /// The models that something is known of.
    pub fn names(&self) -> Vec<String> {
        self.models.keys().cloned().collect()
    }

    /// How a model is in memory as far as is known, and nothing else of its description: that is long, and each task asks.
    pub fn in_memory(&self, model: &Model) -> Model {
        let mut described = Model {
            name: model.name.clone(),
            loaded: model.loaded,
            loaded_with: model.loaded_with.clone(),
            context_length: model.context_length,
            ..Model::default()
        };
        self.describe(&mut described);
        described
    }

    /// Adds what is known to the engine's own description, which is as old as the last question.
    pub fn describe(&self, model: &mut Model) {
        let Some(known) = self.models.get(&model.name) else { return };
        model.loaded |= !known.coming;
        model.loaded_with = Some(known.with.clone());
        model.context_length = known.context;
    }
}

/// A time that an engine calls its load, if it was one.
pub fn plausible(load: Duration) -> bool {
    load >= SHORTEST
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    struct Bench {
        loads: Loads,
        model: Model,
        now: Instant,
    }

    impl Bench {
        fn new(loaded: bool) -> Self {
            let model = Model { name: "m".into(), loaded, ..Model::default() };
            Self { loads: Loads::default(), model, now: Instant::now() }
        }

        fn starts(&mut self, context: u64, alone: bool) -> (bool, bool) {
            let wanted = serde_json::from_value(json!({ "num_ctx": context })).unwrap();
            self.now += Duration::from_secs(1);
            let (start, _) = self.loads.starts(&self.model, &wanted, alone, self.now);
            (start.ready, start.loads)
        }

        fn ends(&mut self, well: bool) -> bool {
            self.now += Duration::from_secs(1);
            self.loads.ended("m", well, false, self.now)
        }

        /// The engine is asked, and says so.
        fn told(&mut self, context: Option<u64>) {
            self.now += Duration::from_secs(1);
            (self.model.loaded, self.model.context_length) = (context.is_some(), context);
            self.loads.told("m", Some(&self.model), false, self.now);
        }

        fn described(&self) -> (bool, Option<String>) {
            let mut model = self.model.clone();
            self.loads.describe(&mut model);
            (model.loaded, model.loaded_with.map(|with| with.to_string()))
        }
    }

    #[test]
    fn of_several_that_start_on_a_cold_model_only_the_first_loads() {
        let mut bench = Bench::new(false);
        assert_eq!(bench.starts(1, true), (false, true));
        assert_eq!(bench.starts(1, false), (false, false), "it waits for the first one's load");
        assert_eq!(bench.described(), (false, Some("num_ctx 1".into())), "on its way");
    }

    #[test]
    fn what_has_just_answered_is_there_before_the_engine_is_asked() {
        let mut bench = Bench::new(false);
        bench.starts(1, true);
        assert!(bench.ends(true));
        assert!(bench.described().0);
        assert_eq!(bench.starts(1, true), (true, false));
    }

    #[test]
    fn a_load_that_an_ended_task_began_is_nobody_elses() {
        let mut bench = Bench::new(false);
        bench.starts(1, true);
        assert!(!bench.ends(false), "cancelled while it waited for the load");
        assert_eq!(bench.starts(1, true), (false, false), "half of that load is over");
        bench.ends(false);
        bench.told(None);
        assert_eq!(bench.starts(1, true), (false, true));
    }

    #[test]
    fn another_context_is_a_load_and_the_same_one_is_none() {
        let mut bench = Bench::new(false);
        bench.starts(1, true);
        bench.ends(true);
        bench.told(Some(1));
        assert_eq!(bench.starts(1, true), (true, false));
        assert_eq!(bench.starts(2, false), (false, false), "it waits for the answer that runs");
        bench.ends(true);
        bench.told(Some(2));
        assert_eq!(bench.starts(1, true), (false, true));
        assert_eq!(bench.described().1, Some("num_ctx 1".into()));
    }

    #[test]
    fn what_others_do_to_the_engine_is_noticed() {
        let mut bench = Bench::new(false);
        bench.starts(1, true);
        bench.ends(true);
        bench.told(Some(1));
        bench.told(Some(9));
        assert_eq!(bench.described(), (true, None), "loaded anew by somebody else");
        bench.starts(9, true);
        bench.ends(true);
        bench.told(None);
        assert_eq!(bench.described(), (false, None), "unloaded");
    }

    #[test]
    fn an_answer_from_before_a_task_says_nothing_of_it() {
        let mut bench = Bench::new(false);
        let before = bench.now;
        bench.starts(1, true);
        bench.ends(true);
        bench.loads.told("m", Some(&bench.model), false, before);
        assert_eq!(bench.described(), (true, Some("num_ctx 1".into())));
        bench.loads.told("m", None, false, before);
        assert_eq!(bench.described(), (false, None), "the engine has it no more");
    }
}
