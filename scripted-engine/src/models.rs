//! The engine's models: which it has, which are loaded or loading, and who uses them.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, SystemTime},
};

use serde_json::{Map, Value};
use tokio::{sync::watch, time::Instant};

use super::{
    ask::Refusal,
    clock::Keep,
    counters::Tally,
    lock::held,
    script::{Model, tagged},
};

const KEEP_ALIVE: Keep = Keep::For(Duration::from_secs(300));
/// What stands for "forever" where a date has to be shown.
const CENTURY: Duration = Duration::from_secs(100 * 365 * 86_400);

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    Cold,
    Loading,
    Ready,
}

struct Entry {
    model: Model,
    phase: watch::Sender<Phase>,
    options: Map<String, Value>,
    users: usize,
    keep: Keep,
    used: Instant,
}

impl Entry {
    fn new(model: Model) -> Self {
        let (phase, _) = watch::channel(Phase::Cold);
        Self { model, phase, options: Map::new(), users: 0, keep: KEEP_ALIVE, used: Instant::now() }
    }

    fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// Whether these options need another load. Who asks for the length that the context has anyway asks for nothing.
    fn differs(&self, options: &Map<String, Value>) -> bool {
        let whole = |options: &Map<String, Value>| {
            let mut options = options.clone();
            options.entry("num_ctx").or_insert_with(|| self.model.context.into());
            options
        };
        whole(options) != whole(&self.options)
    }

    fn left(&self) -> Duration {
        match self.keep {
            Keep::Forever => CENTURY,
            Keep::For(keep) if self.users > 0 => keep.min(CENTURY),
            Keep::For(keep) => keep.min(CENTURY).saturating_sub(self.used.elapsed()),
        }
    }

    fn expire(&mut self) {
        if self.users == 0 && self.phase() == Phase::Ready && self.left().is_zero() {
            self.phase.send_replace(Phase::Cold);
        }
    }
}

/// How a request wants its model.
#[derive(Clone, Debug, Default)]
pub struct Load {
    /// The load-time options; others than the loaded ones reload the model. `None`: as it is.
    pub options: Option<Map<String, Value>>,
    pub keep: Option<Keep>,
    pub delay: Duration,
    pub queue_limit: usize,
}

/// A model that is loaded or on its way there.
pub struct Loaded {
    pub model: Model,
    pub expires: SystemTime,
    pub context: u64,
}

impl Loaded {
    /// It stays until it is thrown out.
    pub fn for_good(model: Model) -> Self {
        Self { expires: SystemTime::now() + CENTURY, context: model.context, model }
    }
}

pub struct Models {
    entries: Mutex<BTreeMap<String, Entry>>,
    pending: AtomicUsize,
    tally: Arc<Tally>,
}

impl Models {
    pub fn new(models: &[Model], tally: Arc<Tally>) -> Self {
        let this = Self { entries: Mutex::default(), pending: AtomicUsize::new(0), tally };
        this.stock(models);
        this
    }

    /// Exactly these models; those that stay keep their state.
    pub fn stock(&self, models: &[Model]) {
        let mut entries = held(&self.entries);
        entries.retain(|name, _| models.iter().any(|model| tagged(&model.name) == *name));
        for model in models {
            let entry = entries.entry(tagged(&model.name)).or_insert_with(|| Entry::new(model.clone()));
            entry.model = model.clone();
        }
    }

    pub fn add(&self, model: Model) {
        held(&self.entries).entry(tagged(&model.name)).or_insert_with(|| Entry::new(model));
    }

    pub fn remove(&self, name: &str) -> bool {
        held(&self.entries).remove(&tagged(name)).is_some()
    }

    pub fn all(&self) -> Vec<Model> {
        held(&self.entries).values().map(|entry| entry.model.clone()).collect()
    }

    pub fn find(&self, name: &str) -> Option<Model> {
        held(&self.entries).get(&tagged(name)).map(|entry| entry.model.clone())
    }

    pub fn phase(&self, name: &str) -> Phase {
        held(&self.entries).get(&tagged(name)).map_or(Phase::Cold, Entry::phase)
    }

    pub fn loaded(&self) -> Vec<Loaded> {
        let mut loaded = Vec::new();
        for entry in held(&self.entries).values_mut() {
            entry.expire();
            if entry.phase() != Phase::Cold {
                let context = entry.options.get("num_ctx").and_then(Value::as_u64);
                let expires = SystemTime::now() + entry.left();
                let context = context.unwrap_or(entry.model.context);
                loaded.push(Loaded { model: entry.model.clone(), expires, context });
            }
        }
        loaded
    }

    /// Nothing is loaded any more.
    pub fn cool(&self) {
        for entry in held(&self.entries).values_mut() {
            entry.phase.send_replace(Phase::Cold);
        }
    }

    /// Unloads a model now or, where it is in use, after its last use.
    pub fn unload(&self, name: &str) {
        if let Some(entry) = held(&self.entries).get_mut(&tagged(name)) {
            entry.keep = Keep::For(Duration::ZERO);
            entry.expire();
        }
    }

    /// Starts loading without waiting for it.
    pub fn begin(&self, name: &str, delay: Duration) {
        if let Some(entry) = held(&self.entries).get_mut(&tagged(name))
            && entry.phase() == Phase::Cold
        {
            self.tally.loaded(false);
            load(entry, delay);
        }
    }

    /// The model, loaded, for as long as the loan is held.
    pub async fn lend(self: &Arc<Self>, name: &str, want: Load) -> Result<Loan, Refusal> {
        let name = tagged(name);
        let (mut phase, loan) = self.open(&name, want.clone()).ok_or_else(|| Refusal::missing(&name))?;
        if *phase.borrow_and_update() == Phase::Ready {
            return Ok(loan);
        }
        let place = Place(self.clone());
        if self.pending.fetch_add(1, SeqCst) >= want.queue_limit {
            return Err(Refusal::busy());
        }
        let ready = phase.wait_for(|phase| *phase == Phase::Ready).await.is_ok();
        drop(place);
        if ready { Ok(loan) } else { Err(Refusal::missing(&name)) }
    }

    fn open(self: &Arc<Self>, name: &str, want: Load) -> Option<(watch::Receiver<Phase>, Loan)> {
        let mut entries = held(&self.entries);
        let entry = entries.get_mut(name)?;
        entry.expire();
        entry.keep = want.keep.unwrap_or(entry.keep);
        let other = want.options.as_ref().is_some_and(|options| entry.differs(options));
        let again = other && entry.phase() == Phase::Ready;
        if entry.phase() == Phase::Cold || again {
            entry.options = want.options.unwrap_or_default();
            self.tally.loaded(again);
            load(entry, want.delay);
        }
        entry.users += 1;
        Some((entry.phase.subscribe(), Loan { models: self.clone(), name: name.to_owned() }))
    }
}

/// Loading goes on by itself, whoever leaves meanwhile.
fn load(entry: &mut Entry, delay: Duration) {
    if delay.is_zero() {
        entry.phase.send_replace(Phase::Ready);
        return;
    }
    entry.phase.send_replace(Phase::Loading);
    entry.used = Instant::now() + delay;
    let phase = entry.phase.clone();
    tokio::spawn(async move {
        tokio::time::sleep(delay).await;
        phase.send_if_modified(|now| {
            let loading = *now == Phase::Loading;
            if loading {
                *now = Phase::Ready;
            }
            loading
        });
    });
}

/// One among those that wait for a model.
struct Place(Arc<Models>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.pending.fetch_sub(1, SeqCst);
    }
}

/// The use of a loaded model; its time to live counts from the last one's end.
pub struct Loan {
    models: Arc<Models>,
    name: String,
}

impl Drop for Loan {
    fn drop(&mut self) {
        if let Some(entry) = held(&self.models.entries).get_mut(&self.name) {
            entry.users = entry.users.saturating_sub(1);
            entry.used = Instant::now();
            entry.expire();
        }
    }
}
