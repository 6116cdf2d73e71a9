//! What an orchestrator promises, one claim a test.

mod asking;
mod fair;
mod leaving;
mod loading;
mod planning;
mod site;
mod submitting;
mod waiting;

use echo_bus::id::{BootId, Inbox};
use echo_bus::message::{
    Cancel, Failure, Frame, Heartbeat, Model, NodeStatus, PulseAnswer, Speed, Submission, Task, Verdict,
};
use serde_json::{Value, json};

use super::*;
use crate::event::{Answer, Asked};
use crate::testkit::{self, Clock, Words as _, beat, inbox, model, reply};

/// An orchestrator that has heard of everybody, its clock, and what it did.
struct Rig {
    state: State,
    clock: Clock,
}

impl Rig {
    fn new(limits: Limits) -> Self {
        let clock = Clock::new();
        let state = State::new("o".parse().unwrap(), "o-1".parse().unwrap(), limits, clock.now());
        Self { state, clock }
    }

    /// Past the time in which a started orchestrator learns the mesh.
    fn settled() -> Self {
        let mut rig = Self::new(Limits::default());
        rig.wait(3_000);
        rig
    }

    fn with(beats: impl IntoIterator<Item = Heartbeat>) -> Self {
        let mut rig = Self::settled();
        for beat in beats {
            rig.beat(beat);
        }
        rig
    }

    fn apply(&mut self, event: Event) -> Vec<Action> {
        self.state.apply(event, self.clock.now())
    }

    fn beat(&mut self, beat: Heartbeat) -> Vec<Action> {
        self.apply(Event::Beat(Box::new(beat)))
    }

    /// Lets time pass as it does, tick by tick.
    fn wait(&mut self, ms: u64) -> Vec<Action> {
        let mut done = Vec::new();
        for _ in 0..ms / 50 {
            self.clock.pass(50);
            done.extend(self.apply(Event::Tick));
        }
        done
    }

    fn submit(&mut self, id: u128, more: Value) -> Vec<Action> {
        let task = Ok(Box::new(testkit::task(id, more)));
        self.apply(Event::Submitted { task, reply: Some(reply()) })
    }

    fn answer(&mut self, asked: &Asked, answer: Answer) -> Vec<Action> {
        self.apply(Event::Answered { asked: asked.clone(), answer })
    }

    fn cancel(&mut self, id: u128, attempt: u32) -> Vec<Action> {
        self.apply(Event::Cancelled(Cancel(testkit::held(id, attempt).id)))
    }

    fn used(&self, node: &str) -> u32 {
        self.state.registry.iter().find(|(_, it)| it.id().as_str() == node).unwrap().1.used()
    }
}

fn one(node: &str) -> Heartbeat {
    beat(node, 1).models([model("m")]).build()
}

/// A node whose answers have 200 tokens, 100 of them in a second, however many it gives at once.
fn measured(id: &str, number: u64, slots: u32) -> Heartbeat {
    let mut lengths = vec![0; 17];
    lengths[15] = 5;
    let speeds = [1, 2, 4].map(|at_once| Speed { at_once, tokens_per_second: 100.0, age_s: 0 }).to_vec();
    let told = Model { speeds, lengths, prompt_tokens_per_second: Some(10_000.0), ..model("m").loaded() };
    beat(id, number).slots(slots).models([told]).build()
}

fn asked(actions: &[Action]) -> Vec<(Asked, Task)> {
    let asked = actions.iter().filter_map(|action| match action {
        Action::Dispatch { asked, task, reason } => {
            let (chosen, why) = (reason.words().to_owned(), reason.why().cloned());
            Some((asked.clone(), Task { chosen, why, ..(**task).clone() }))
        }
        _ => None,
    });
    asked.collect()
}

fn only_asked(actions: &[Action]) -> Asked {
    let asked = asked(actions);
    assert_eq!(asked.len(), 1, "{actions:?}");
    asked[0].0.clone()
}

fn refusal(actions: &[Action]) -> Failure {
    match actions {
        [Action::Answer { answer: Submission::Refused(failure), .. }] => failure.clone(),
        other => panic!("no refusal: {other:?}"),
    }
}

fn frames(actions: &[Action]) -> Vec<(Inbox, Frame)> {
    let frames = actions.iter().filter_map(|action| match action {
        Action::Frame { to, frame } => Some((to.clone(), frame.clone())),
        _ => None,
    });
    frames.collect()
}

fn failures(actions: &[Action]) -> Vec<(Inbox, Failure)> {
    let failed = frames(actions).into_iter().filter_map(|(to, frame)| match frame {
        Frame::Failed { seq: None, failure } => Some((to, *failure)),
        _ => None,
    });
    failed.collect()
}

fn positions(actions: &[Action]) -> Vec<(Inbox, u32, Option<u64>)> {
    let queued = frames(actions).into_iter().filter_map(|(to, frame)| match frame {
        Frame::Queued { position, expected_wait_ms, .. } => Some((to, position, expected_wait_ms)),
        _ => None,
    });
    queued.collect()
}

fn cancels(actions: &[Action]) -> Vec<(String, Cancel)> {
    let cancels = actions.iter().filter_map(|action| match action {
        Action::CancelAt { node, cancel } => Some((node.to_string(), *cancel)),
        _ => None,
    });
    cancels.collect()
}

fn pulses(actions: &[Action]) -> Vec<(String, Vec<Held>)> {
    let pulses = actions.iter().filter_map(|action| match action {
        Action::Pulse { edge, pulse } => Some((edge.to_string(), pulse.held.clone())),
        _ => None,
    });
    pulses.collect()
}

fn refusals(actions: &[Action]) -> Vec<&Failure> {
    let refused = actions.iter().filter_map(|action| match action {
        Action::Answer { answer: Submission::Refused(failure), .. } => Some(failure),
        _ => None,
    });
    refused.collect()
}

const ACCEPTED: Answer = Answer::Accepted { heartbeat: 1 };
