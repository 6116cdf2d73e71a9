//! The machine of an engine at work: requests wait for what becomes of them there.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

use super::{
    hardware::Hardware,
    lock::held,
    machine::{Job, Machine, Phase},
    script::Model,
};

/// Tokens that are made within so long travel in one write.
const GRAIN: Duration = Duration::from_millis(2);
/// Nothing is due for now.
const LONG: Duration = Duration::from_secs(3600);

/// A machine that is on.
pub struct Rig {
    machine: Mutex<Machine>,
    /// The machine's count of changes, for those who wait for a moment.
    changes: watch::Sender<u64>,
    began: Instant,
}

impl Rig {
    pub fn new(hardware: &Hardware, slots: usize, models: &[Model]) -> Self {
        let machine = Machine::new(hardware, slots, models);
        Self { machine: Mutex::new(machine), changes: watch::channel(0).0, began: Instant::now() }
    }

    /// Takes a request in; `None` if the machine does not know its model.
    pub fn enter(self: &Arc<Self>, model: &str, prompt: Vec<u64>, answer: Vec<u64>) -> Option<Seat> {
        let id = self.with(|machine| machine.enter(model, prompt, answer))?;
        Some(Seat { rig: self.clone(), id, wrote: None })
    }

    /// The models in memory and on their way.
    pub fn in_memory(&self) -> Vec<String> {
        self.with(|machine| machine.in_memory())
    }

    pub fn unload(&self, model: &str) {
        self.with(|machine| machine.unload(model));
    }

    pub fn cool(&self) {
        self.with(Machine::cool);
    }

    pub fn loads(&self) -> u64 {
        self.with(|machine| machine.loads)
    }

    /// Looks at the machine as it is now, or changes it; whoever waits hears of what happened meanwhile.
    fn with<T>(&self, look: impl FnOnce(&mut Machine) -> T) -> T {
        let mut machine = held(&self.machine);
        machine.run_to(self.began.elapsed().as_secs_f64());
        let seen = look(&mut machine);
        let changes = machine.changes;
        self.changes.send_if_modified(|known| std::mem::replace(known, changes) != changes);
        seen
    }

    fn at(&self, seconds: Option<f64>) -> Instant {
        let after = seconds.and_then(|at| Duration::try_from_secs_f64(at).ok());
        after.map_or_else(|| Instant::now() + LONG, |after| self.began + after)
    }
}

/// What became of a request up to its answer, or to its end.
#[derive(Clone, Copy, Debug, Default)]
pub struct Took {
    pub load: Duration,
    pub prompt: Duration,
    pub answer: Duration,
    /// Prompt tokens that were in its slot already.
    pub cached: u64,
}

/// A request in a machine. Dropped before its end, it is given up.
pub struct Seat {
    rig: Arc<Rig>,
    id: u64,
    /// When tokens were last waited for.
    wrote: Option<Instant>,
}

impl Seat {
    /// Until its model is in memory and has a slot for it.
    pub async fn slotted(&self) {
        self.until(|job| !matches!(job.phase, Phase::Load | Phase::Slot)).await;
    }

    /// Until its prompt is worked off.
    pub async fn first(&self) -> Took {
        self.until(|job| matches!(job.phase, Phase::Answer | Phase::Over)).await;
        self.took()
    }

    /// Until there are more tokens of its answer than these, or it is over: so many, and whether it is.
    pub async fn more(&mut self, than: u64) -> (u64, bool) {
        let soonest = self.wrote.map(|wrote| wrote + GRAIN);
        let seen = loop {
            let mut changes = self.rig.changes.subscribe();
            let (seen, due, end) = self.rig.with(|machine| {
                let seen = machine.job(self.id).map(|job| (job.made(), job.phase == Phase::Over));
                (seen, machine.due(self.id, than.saturating_add(1)), machine.due(self.id, u64::MAX))
            });
            // The engine has died meanwhile: its connections end by themselves.
            let Some((made, over)) = seen else { return std::future::pending().await };
            let due = if made > than { Instant::now() } else { self.rig.at(due) };
            let wake = soonest.map_or(due, |soonest| due.max(soonest)).min(self.rig.at(end));
            if over || (made > than && wake <= Instant::now()) {
                break (made, over);
            }
            tokio::select! {
                () = sleep_until(wake) => {}
                _ = changes.changed() => {}
            }
        };
        self.wrote = Some(Instant::now());
        seen
    }

    pub fn took(&self) -> Took {
        let seconds = |seconds: f64| Duration::try_from_secs_f64(seconds).unwrap_or_default();
        let took = |machine: &mut Machine| {
            let job = machine.job(self.id)?;
            Some(Took {
                load: seconds(job.load_seconds()),
                prompt: seconds(machine.prompt_seconds(job)),
                answer: seconds(job.answer_seconds()),
                cached: job.cached as u64,
            })
        };
        self.rig.with(took).unwrap_or_default()
    }

    async fn until(&self, is: impl Fn(&Job) -> bool) {
        loop {
            let mut changes = self.rig.changes.subscribe();
            let (seen, due) = self.rig.with(|machine| (machine.job(self.id).map(&is), machine.next_event()));
            match seen {
                Some(true) => return,
                Some(false) => {}
                None => std::future::pending().await,
            }
            tokio::select! {
                () = sleep_until(self.rig.at(due)) => {}
                _ = changes.changed() => {}
            }
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.rig.with(|machine| machine.leave(self.id));
    }
}

/// A text as the machine knows it: a number for each word, which stands for a token.
pub fn words(text: &str) -> Vec<u64> {
    let number = |word: &str| {
        let mut hasher = DefaultHasher::new();
        word.hash(&mut hasher);
        hasher.finish()
    };
    text.split_whitespace().map(number).collect()
}
