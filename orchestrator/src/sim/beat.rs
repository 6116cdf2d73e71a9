//! The agent of a simulated engine: what it knows, and the heartbeats that it makes of that.
//!
//! Whatever agents learn to measure and to say belongs here and nowhere else in the simulator.

mod room;

use echo_bus::id::{BootId, NodeId};
use echo_bus::message::{
    CacheDigest, Capability, Engine as EngineKind, Heartbeat, Model, NodeStatus, Progress, Space,
};

use super::digest::{Digests, Text};
use super::engine::{EPS, Engine, Job};
use super::ids::held;
use super::lack::Lack;
use super::measure::Measured;
use super::rng::Rng;
use room::Room;

/// The shortest times between beats about a change and about a slot that is free again, as the agent's pacer has them.
const CHANGED: f64 = 0.05;
const FREED: f64 = 0.005;
/// How often an agent asks its engine which models are loaded, and how soon after the end of a task.
const PROBE: f64 = 5.0;
const PROBE_SOON: f64 = 1.0;
/// How often it looks at running answers.
const LOOK: f64 = 2.0;
/// How often it tells of the engine's caches: when nothing changes, and at most.
const DIGEST: f64 = 5.0;
const DIGEST_PAUSE: f64 = 0.25;
/// The weight of the newest measurement.
const NEWEST: f64 = 0.3;
const GIB: f64 = (1_u64 << 30) as f64;

/// An agent beside an engine.
#[derive(Debug)]
pub struct Agent {
    pub node: NodeId,
    pub boot: BootId,
    /// Heartbeats so far.
    pub number: u64,
    /// Seconds between heartbeats when nothing changes.
    every: f64,
    lack: Lack,
    last: f64,
    due: f64,
    probe_due: f64,
    /// What it knows of each model that its engine has.
    models: Vec<Option<Known>>,
    room: Room,
    models_changed: bool,
    models_told: bool,
    /// When running answers are looked at next.
    look_due: f64,
    digests: Digests,
    /// When a digest was told last, and when it is told next; never before it has read a text.
    digested: f64,
    digest_due: f64,
}

/// What an agent knows of a model.
#[derive(Debug, Clone)]
struct Known {
    name: String,
    size: f64,
    /// As it was when the engine was asked last.
    loaded: bool,
    /// It was in memory once, so that it is known what it takes there.
    seen: bool,
    tokens_per_second: Option<f64>,
    measured: Measured,
}

impl Agent {
    /// The agent of this engine. It beats at once, and then at times of its own.
    pub fn new(engine: &Engine, models: &[String], every: f64, lack: Lack, rng: &mut Rng) -> Self {
        let machine = engine.machine();
        // It tries one model when it starts.
        let tried = (0..models.len()).find(|&model| engine.last_used(model).is_some());
        let known = |(model, name): (usize, &String)| {
            machine.has(model).then(|| {
                let pace = machine.pace(model);
                Known {
                    name: name.clone(),
                    size: pace.size,
                    loaded: engine.last_used(model).is_some(),
                    seen: engine.last_used(model).is_some(),
                    tokens_per_second: None,
                    measured: match tried {
                        Some(tried) if tried == model => {
                            Measured::calibrated(lack, pace.decode, pace.prompt, rng)
                        }
                        _ => Measured::new(lack),
                    },
                }
            })
        };
        let known = models.iter().enumerate().map(known).collect();
        let mut agent = Self {
            node: machine.name.parse().expect("machines have names that can be ids"),
            boot: format!("{}-1", machine.name).parse().expect("so have their boots"),
            number: 0,
            every,
            lack,
            last: every * (rng.unit() - 1.0),
            due: 0.0,
            probe_due: PROBE * rng.unit(),
            models: known,
            room: Room::default(),
            models_changed: true,
            models_told: false,
            look_due: if lack == Lack::Running { f64::INFINITY } else { LOOK },
            digests: Digests::default(),
            digested: 0.0,
            digest_due: f64::INFINITY,
        };
        agent.look_at_memory();
        agent
    }

    /// When it wants to be woken.
    pub fn wakes(&self) -> f64 {
        self.due.min(self.probe_due).min(self.look_due).min(self.digest_due)
    }

    /// A task has come, or has left a node that was full (`freed`) or was not.
    pub fn changed(&mut self, freed: bool, now: f64) {
        let pause = if freed { FREED } else { CHANGED };
        self.due = self.due.min((self.last + pause).max(now));
        if self.digest_due.is_finite() {
            self.digest_due = self.digest_due.min((self.digested + DIGEST_PAUSE).max(now));
        }
    }

    /// It has read the text of a task that comes.
    pub fn read(&mut self, task: usize, text: Text) {
        self.digests.entered(task, text);
        self.digest_due = self.digest_due.min(self.digested + DIGEST);
    }

    /// A task has ended: what is measured from it.
    pub fn ended(&mut self, job: &Job, now: f64) {
        self.probe_due = self.probe_due.min(now + PROBE_SOON);
        let Some(known) = self.models[job.ask.model].as_mut() else { return };
        let answer = job.ended - job.first;
        let measured = (answer > 0.0).then(|| job.ask.answer / answer);
        average(&mut known.tokens_per_second, measured);
        known.measured.ended(job, self.digests.ended(job), now);
        self.models_changed = true;
    }

    /// Does what is due: asks the engine, and says what there is to say.
    pub fn wake(&mut self, engine: &Engine, now: f64) -> Option<Heartbeat> {
        if self.probe_due <= now + EPS {
            self.probe(engine, now);
        }
        if self.look_due <= now + EPS {
            self.look(engine, now);
        }
        (self.due <= now + EPS).then(|| self.beat(engine, now))
    }

    /// What there is to say of the engine's caches, when it is due.
    pub fn digest(&mut self, engine: &Engine, now: f64) -> Option<CacheDigest> {
        if self.digest_due > now + EPS {
            return None;
        }
        (self.digested, self.digest_due) = (now, now + DIGEST);
        let names: Vec<_> =
            self.models.iter().map(|known| known.as_ref().map(|it| it.name.clone())).collect();
        let mut digest = self.digests.digest(engine, &names, &self.node, &self.boot);
        if self.lack == Lack::Tools {
            let slots = digest.models.iter_mut().flat_map(|told| &mut told.slots);
            slots.for_each(|slot| slot.tool = false);
        }
        Some(digest)
    }

    /// Looks at how fast answers run, where that can be seen.
    fn look(&mut self, engine: &Engine, now: f64) {
        self.look_due = now + LOOK;
        let at_once = engine.answers().count() as u32;
        let seen = engine.answers().find(|(job, ..)| now - job.first > LOOK);
        if let Some((job, Some(rate), _)) = seen
            && let Some(known) = self.models[job.ask.model].as_mut()
        {
            known.measured.speed(at_once, rate, now);
            self.models_changed = true;
        }
    }

    fn progress(&self, engine: &Engine, job: &Job) -> Progress {
        let made = engine.answers().find(|(it, ..)| it.ask.id == job.ask.id).map(|(_, _, made)| made);
        let model = self.models[job.ask.model].as_ref().map(|it| it.name.clone()).unwrap_or_default();
        Progress { model, tokens: made.unwrap_or_default() as u64, prompt: made.is_none() }
    }

    fn probe(&mut self, engine: &Engine, now: f64) {
        self.probe_due = now + PROBE;
        let mut changed = false;
        for (model, known) in self.models.iter_mut().enumerate() {
            let Some(known) = known else { continue };
            // Ollama lists a model that is on its way too.
            let on_its_way = engine.loading().is_some_and(|(loading, _)| loading == model);
            let loaded = on_its_way || engine.last_used(model).is_some();
            changed |= loaded != known.loaded;
            known.loaded = loaded;
            known.seen |= loaded;
        }
        self.look_at_memory();
        if changed {
            self.models_changed = true;
            self.changed(false, now);
        }
    }

    fn look_at_memory(&mut self) {
        let (loaded, sizes): (Vec<_>, Vec<_>) =
            self.models.iter().map(|it| it.as_ref().map_or((false, 0.0), |it| (it.loaded, it.size))).unzip();
        self.room.seen(loaded, &sizes);
    }

    fn beat(&mut self, engine: &Engine, now: f64) -> Heartbeat {
        // The first one is heard by all at the same time; later ones are spread over the second.
        if self.number > 0 {
            self.last = now;
        }
        self.number += 1;
        self.due = self.last + self.every;
        let tells = self.models_changed || !self.models_told || self.lack == Lack::Ages;
        (self.models_changed, self.models_told) = (false, tells);
        let machine = engine.machine();
        Heartbeat {
            node: self.node.clone(),
            boot: self.boot.clone(),
            number: self.number,
            status: if engine.is_full() { NodeStatus::Busy } else { NodeStatus::Idle },
            reason: String::new(),
            paused: None,
            limits: Vec::new(),
            active: engine.jobs().map(|job| held(job.ask.id)).collect(),
            progress: engine.jobs().map(|job| self.progress(engine, job)).collect(),
            slots: machine.slots as u32,
            models: tells.then(|| self.models.iter().flatten().map(|known| known.told(now)).collect()),
            engine: EngineKind { kind: "ollama".to_owned(), version: String::new() },
            memory: space(machine.memory, engine.free()),
            model_memory: (self.room.told() * GIB) as u64,
            disk: space(1_000.0, 500.0),
            agent_host: "127.0.0.1".to_owned(),
            agent_port: 1,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_ms: (now * 1e3) as u64,
            model_management: false,
            site: None,
        }
    }
}

impl Known {
    fn told(&self, now: f64) -> Model {
        let mut model = Model {
            name: self.name.clone(),
            size: (self.size * GIB) as u64,
            loaded: self.loaded,
            capabilities: vec![Capability::Completion, Capability::Tools],
            tokens_per_second: self.tokens_per_second.map(|speed| (speed * 10.0).round() / 10.0),
            memory: if self.seen { (self.size * GIB) as u64 } else { 0 },
            ..Model::default()
        };
        self.measured.tell(&mut model, now);
        model
    }
}

fn average(known: &mut Option<f64>, newest: Option<f64>) {
    if let Some(newest) = newest {
        *known = Some(known.map_or(newest, |known| known + NEWEST * (newest - known)));
    }
}

fn space(total: f64, free: f64) -> Space {
    Space { total: (total * GIB) as u64, free: (free.max(0.0) * GIB) as u64 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::engine::Ask;
    use crate::sim::trace::{Trace, Weight};

    fn ask(id: usize, model: usize) -> Ask {
        let (session, system, calls_tool) = (id as u64, id as u64, false);
        Ask { id, model, prompt: 60.0, answer: 60.0, session, system, system_tokens: 0.0, calls_tool }
    }

    /// An idle engine with one slot and one of three models loaded, and its agent.
    fn one() -> (Engine, Agent) {
        let trace = Trace::of("five", 1, Weight::default()).unwrap();
        let engine = trace.engines().swap_remove(0);
        let agent = Agent::new(&engine, &trace.models, 1.0, Lack::Nothing, &mut Rng::new(1));
        (engine, agent)
    }

    /// All heartbeats up to a moment, with their times.
    fn beats(agent: &mut Agent, engine: &mut Engine, until: f64) -> Vec<(f64, Heartbeat)> {
        let mut beats = Vec::new();
        while agent.wakes() <= until {
            let now = agent.wakes();
            engine.advance(now);
            beats.extend(agent.wake(engine, now).map(|beat| (now, beat)));
        }
        beats
    }

    #[test]
    fn a_beat_comes_each_second_and_leaves_the_models_out_but_never_twice_in_a_row() {
        let (mut engine, mut agent) = one();
        let beats = beats(&mut agent, &mut engine, 10.0);
        assert!(beats[0].0 == 0.0 && beats[0].1.models.as_ref().unwrap().len() == 3);
        assert!(beats.windows(2).all(|pair| pair[1].0 - pair[0].0 <= 1.0 + EPS));
        assert!(beats.windows(2).all(|pair| pair[0].1.models.is_some() || pair[1].1.models.is_some()));
        assert!(beats.iter().any(|(_, beat)| beat.models.is_none()));
        assert!(beats.iter().zip(1..).all(|((_, beat), number)| beat.number == number));
    }

    #[test]
    fn a_change_is_told_soon_and_a_freed_slot_sooner() {
        let (mut engine, mut agent) = one();
        let last = beats(&mut agent, &mut engine, 3.0).pop().unwrap().0;
        engine.enter(ask(0, 0), last);
        agent.changed(false, last);
        assert!((agent.wakes() - last - CHANGED).abs() < EPS);
        agent.changed(true, last);
        assert!((agent.wakes() - last - FREED).abs() < EPS);
        let (at, beat) = beats(&mut agent, &mut engine, last + 0.1).remove(0);
        assert_eq!((beat.active.len(), beat.status), (1, NodeStatus::Busy));
        agent.changed(false, at + 0.5);
        assert!((agent.wakes() - at - 0.5).abs() < EPS, "a change after a pause is told at once");
    }

    #[test]
    fn what_is_measured_is_told() {
        let (mut engine, mut agent) = one();
        beats(&mut agent, &mut engine, 9.0);
        engine.enter(ask(0, 1), 9.0);
        while let Some(next) = engine.next_event() {
            beats(&mut agent, &mut engine, next);
            engine.step(next);
        }
        let job = engine.take_ended().remove(0);
        agent.ended(&job, job.ended);
        let beats = beats(&mut agent, &mut engine, job.ended + 1.0);
        let told = beats.into_iter().find_map(|(_, beat)| beat.models).unwrap();
        let (speed, load) = (told[1].tokens_per_second.unwrap(), told[1].load_ms.unwrap() as f64 / 1e3);
        let pace = engine.machine().pace(1);
        assert!((speed - pace.decode).abs() < 0.1 && (load - pace.load).abs() < 0.01, "{speed} {load}");
    }

    #[test]
    fn what_is_loaded_is_told_as_it_was_when_the_engine_was_asked_last() {
        let (mut engine, mut agent) = one();
        beats(&mut agent, &mut engine, 9.0);
        let asks = agent.probe_due;
        beats(&mut agent, &mut engine, asks - 1.5);
        engine.enter(ask(0, 1), asks - 1.5);
        agent.models_changed = true;
        let told = |beats: Vec<(f64, Heartbeat)>| {
            let models = beats.into_iter().rev().find_map(|(_, beat)| beat.models).unwrap();
            [models[0].loaded, models[1].loaded]
        };
        let before = beats(&mut agent, &mut engine, asks - 0.01);
        assert_eq!(told(before), [true, false], "it has not looked yet");
        let after = beats(&mut agent, &mut engine, asks + 0.1);
        assert_eq!(told(after), [false, true], "one that is on its way is listed too");
        while let Some(next) = engine.next_event() {
            engine.step(next);
        }
        let job = engine.take_ended().remove(0);
        beats(&mut agent, &mut engine, job.ended);
        agent.ended(&job, job.ended);
        assert!(agent.probe_due <= job.ended + PROBE_SOON && agent.probe_due > job.ended);
    }
}
