//! What a simulated agent measures of a model, as real agents do.

use std::collections::{BTreeMap, VecDeque};

use echo_bus::message::lengths::{CLASSES, class};
use echo_bus::message::{Model, Speed};

use super::engine::{Job, OVERHEAD};
use super::lack::Lack;
use super::rng::Rng;

/// The weight of the newest measurement.
const NEWEST: f64 = 0.3;
/// The long run follows better measurements at once and worse ones only if they stay.
const BETTER: f64 = 0.3;
const WORSE: f64 = 0.02;
const SHARED: f64 = 0.6;
/// What is kept of each kind.
const PROMPTS: usize = 15;
const LOADS: usize = 8;
const LENGTHS: usize = 200;
/// Fewer tokens say nothing of a speed.
const LEAST_ANSWER: f64 = 8.0;
const LEAST_PROMPT: f64 = 64.0;

/// What is measured of one model.
#[derive(Debug, Clone, Default)]
pub struct Measured {
    lack: Lack,
    /// Of one answer by how many run, and when.
    speeds: BTreeMap<u32, (f64, f64)>,
    long_run: Option<f64>,
    prompts: VecDeque<f64>,
    loads: VecDeque<f64>,
    lengths: VecDeque<u64>,
    per_kb: Option<f64>,
}

impl Measured {
    pub fn new(lack: Lack) -> Self {
        Self { lack, ..Self::default() }
    }

    /// After a small prompt at the agent's start.
    pub fn calibrated(lack: Lack, decode: f64, prompt: f64, rng: &mut Rng) -> Self {
        let about = 1.0 + 0.05 * (2.0 * rng.unit() - 1.0);
        if lack == Lack::Calibration {
            return Self::new(lack);
        }
        let alone = decode * about;
        let (speeds, long_run) = (BTreeMap::from([(1, (alone, 0.0))]), Some(alone));
        Self { speeds, long_run, prompts: VecDeque::from([prompt]), ..Self::new(lack) }
    }

    /// An answer runs at this speed beside so many others.
    pub fn speed(&mut self, at_once: u32, speed: f64, now: f64) {
        let known = self.speeds.entry(at_once.clamp(1, 16)).or_insert((speed, now));
        *known = (known.0 + NEWEST * (speed - known.0), now);
        let alone = speed * f64::from(at_once.clamp(1, 16)).powf(SHARED);
        let share = |known: f64| if alone > known { BETTER } else { WORSE };
        self.long_run = Some(self.long_run.map_or(alone, |known| known + share(known) * (alone - known)));
    }

    /// A task has ended; the bytes of its prompt, if the agent has read it.
    pub fn ended(&mut self, job: &Job, bytes: Option<u64>, now: f64) {
        let clear = job.clear;
        if clear.tokens >= LEAST_ANSWER {
            self.speed((clear.answers / clear.seconds).round() as u32, clear.tokens / clear.seconds, now);
        }
        let cached = if self.lack == Lack::Uncached { 0.0 } else { job.cached };
        let fresh = job.ask.prompt - cached;
        if fresh >= LEAST_PROMPT {
            push(&mut self.prompts, PROMPTS, fresh / (job.prompt_seconds - OVERHEAD).max(1e-3));
        }
        if job.began_load && job.loaded > job.entered {
            push(&mut self.loads, LOADS, job.loaded - job.entered);
        }
        push(&mut self.lengths, LENGTHS, job.ask.answer as u64);
        if let Some(bytes) = bytes.filter(|bytes| *bytes >= 256) {
            let newest = job.ask.prompt * 1e3 / bytes as f64;
            self.per_kb = Some(self.per_kb.map_or(newest, |known| known + 0.1 * (newest - known)));
        }
    }

    /// Puts it into the words of a heartbeat.
    pub fn tell(&self, model: &mut Model, now: f64) {
        let speed = |(&at_once, &(tokens_per_second, at)): (&u32, &(f64, f64))| Speed {
            at_once,
            tokens_per_second,
            age_s: if self.lack == Lack::Ages { 0 } else { (now - at) as u64 },
        };
        model.speeds = self.speeds.iter().map(speed).collect();
        model.long_run = self.long_run;
        let mut prompts: Vec<_> = self.prompts.iter().copied().collect();
        prompts.sort_by(f64::total_cmp);
        model.prompt_tokens_per_second = prompts.get(prompts.len() / 2).copied();
        model.load_ms = match self.lack {
            Lack::Loads => Some(0),
            _ => self.loads.iter().copied().reduce(f64::min).map(|least| (least * 1e3) as u64),
        };
        model.tokens_per_kb = self.per_kb;
        let mut lengths = [0_u16; CLASSES];
        if self.lack != Lack::Lengths {
            self.lengths.iter().for_each(|&tokens| lengths[class(tokens)] += 1);
        }
        let end = lengths.iter().rposition(|&count| count > 0).map_or(0, |last| last + 1);
        model.lengths = lengths[..end].to_vec();
    }
}

fn push<T>(kept: &mut VecDeque<T>, most: usize, newest: T) {
    if kept.len() == most {
        kept.pop_front();
    }
    kept.push_back(newest);
}
