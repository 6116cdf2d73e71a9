//! What the routes of one engine share: its script, its models, its slots, its counts and its life.

use std::sync::{Arc, Mutex, atomic::Ordering::SeqCst};

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::{
    counters::{Counters, Tally},
    lock::held,
    models::{Loaded, Models},
    script::{Fault, Script, tagged},
    seat::Rig,
};

/// What a `die` does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnDeath {
    /// Listener and connections close; `restart` brings the engine back on its port.
    Close,
    /// The whole process ends.
    Exit,
}

pub struct Core {
    script: Mutex<Arc<Script>>,
    life: Mutex<CancellationToken>,
    on_death: OnDeath,
    pub models: Arc<Models>,
    pub slots: Arc<Semaphore>,
    pub tally: Arc<Tally>,
    /// The machine, if the script gives it one.
    pub rig: Option<Arc<Rig>>,
}

impl Core {
    pub fn new(script: Script, on_death: OnDeath) -> Self {
        let tally = Arc::new(Tally::default());
        let rig = script.hardware.as_ref().map(|it| Arc::new(Rig::new(it, script.slots, &script.models)));
        Self {
            models: Arc::new(Models::new(&script.models, tally.clone())),
            slots: Arc::new(Semaphore::new(script.slots)),
            script: Mutex::new(Arc::new(script)),
            life: Mutex::default(),
            on_death,
            tally,
            rig,
        }
    }

    pub fn script(&self) -> Arc<Script> {
        held(&self.script).clone()
    }

    /// Changes the script for the requests to come.
    pub fn edit(&self, change: impl FnOnce(&mut Script)) {
        let mut script = held(&self.script);
        let before = script.clone();
        change(Arc::make_mut(&mut script));
        if script.models != before.models {
            self.models.stock(&script.models);
        }
        if script.slots > before.slots {
            self.slots.add_permits(script.slots - before.slots);
        } else if script.slots < before.slots {
            self.retire(before.slots - script.slots);
        }
    }

    /// The fault that the next request meets, and one request fewer for it.
    pub fn take_fault(&self) -> Option<Fault> {
        let mut script = held(&self.script);
        let place = script.faults.iter().position(|fault| fault.times != Some(0))?;
        let fault = script.faults[place].clone();
        if fault.times.is_some() {
            let faults = &mut Arc::make_mut(&mut script).faults;
            if let Some(left) = &mut faults[place].times {
                *left -= 1;
            }
            faults.retain(|fault| fault.times != Some(0));
        }
        Some(fault)
    }

    /// A new life, after the start or a death.
    pub fn revive(&self) -> CancellationToken {
        let fresh = CancellationToken::new();
        *held(&self.life) = fresh.clone();
        self.tally.dead.store(false, SeqCst);
        fresh
    }

    /// Every connection and the listener close at once, and no model stays loaded.
    pub fn die(&self) {
        if self.on_death == OnDeath::Exit {
            std::process::exit(1);
        }
        self.close();
    }

    /// The same without the end of the process.
    pub fn close(&self) {
        self.tally.dead.store(true, SeqCst);
        held(&self.life).cancel();
        self.models.cool();
        self.rig.iter().for_each(|rig| rig.cool());
    }

    /// The models in memory or on their way there.
    pub fn loaded(&self) -> Vec<Loaded> {
        let Some(rig) = &self.rig else { return self.models.loaded() };
        let there = rig.in_memory();
        let models = self.models.all().into_iter().filter(|model| there.contains(&tagged(&model.name)));
        models.map(Loaded::for_good).collect()
    }

    /// Unloads a model now or, where it is in use, after its last use.
    pub fn unload(&self, model: &str) {
        match &self.rig {
            Some(rig) => rig.unload(model),
            None => self.models.unload(model),
        }
    }

    pub fn counters(&self) -> Counters {
        let counters = self.tally.counters();
        match &self.rig {
            Some(rig) => Counters { loads: rig.loads(), ..counters },
            None => counters,
        }
    }

    /// Takes slots away as they become free.
    fn retire(&self, slots: usize) {
        let held = self.slots.clone();
        tokio::spawn(async move {
            for _ in 0..slots {
                if let Ok(slot) = held.acquire().await {
                    slot.forget();
                }
            }
        });
    }
}
