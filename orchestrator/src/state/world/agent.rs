//! A node of the small world: what it truly runs, and what it says.

use std::collections::VecDeque;

use echo_bus::id::{AttemptId, BootId, NodeId, Peer};
use echo_bus::message::{Cancel, Code, Failure, Heartbeat, Held};

use crate::event::{Answer, Asked};
use crate::testkit::{Words as _, beat, model};
use serde_json::json;

/// How a dispatch ends.
#[derive(Debug, Clone, Copy)]
pub enum Outcome {
    /// The agent's answer comes back.
    Arrives,
    /// It does not, whether the task had reached the agent or not.
    Lost,
    NoResponders,
    /// The agent's engine does not have the model.
    Missing,
    Disconnected,
}

pub struct Agent {
    pub node: NodeId,
    pub boot: BootId,
    starts: u32,
    slots: u32,
    number: u64,
    pub running: Vec<AttemptId>,
    fences: Vec<Cancel>,
    /// Heartbeats that have not arrived, in order.
    pub on_its_way: VecDeque<Heartbeat>,
}

impl Agent {
    pub fn new(node: &str, slots: u32) -> Self {
        Self {
            node: node.parse().unwrap(),
            boot: format!("{node}-1").parse().unwrap(),
            starts: 1,
            slots,
            number: 0,
            running: Vec::new(),
            fences: Vec::new(),
            on_its_way: VecDeque::new(),
        }
    }

    /// Makes a heartbeat; every other one has the models.
    pub fn speak(&mut self) {
        self.number += 1;
        let active = self.running.iter().map(|&id| Held { id, seq: None, ended: false });
        let mut spoken =
            beat(self.node.as_str(), self.number).boot(self.boot.as_str()).slots(self.slots).active(active);
        if self.number % 2 == 1 {
            let second = if self.slots > 1 { Some(model("n:latest")) } else { None };
            // Each has it loaded in another way, and the third not at all.
            let context = json!({"num_ctx": self.slots + 3});
            let first = if self.slots < 3 { model("m").loaded_with(context) } else { model("m") };
            spoken = spoken.models([first].into_iter().chain(second));
        }
        self.on_its_way.push_back(spoken.build());
    }

    /// Takes a task, or says why not.
    pub fn receive(&mut self, asked: &Asked, aside: bool) -> Answer {
        let over = |Cancel(fence): &Cancel| fence.task == asked.id.task && asked.id.attempt <= fence.attempt;
        if asked.boot != self.boot {
            return Answer::Refused(Failure::wait(Code::WrongBoot, "another start"));
        }
        if self.fences.iter().any(over) {
            return Answer::Refused(Failure::give_up(Code::Cancelled, "cancelled"));
        }
        if aside {
            return Answer::Accepted { heartbeat: self.number };
        }
        if self.running.len() >= self.slots as usize {
            return Answer::Refused(Failure::elsewhere(Code::Full, "no slot"));
        }
        assert!(!self.running.contains(&asked.id), "an attempt came twice");
        self.running.push(asked.id);
        Answer::Accepted { heartbeat: self.number }
    }

    pub fn finish(&mut self, which: usize) {
        if !self.running.is_empty() {
            self.running.swap_remove(which % self.running.len());
        }
    }

    pub fn cancel(&mut self, cancel: Cancel) {
        self.running.retain(|id| id.task != cancel.0.task || id.attempt > cancel.0.attempt);
        self.fences.push(cancel);
    }

    pub fn restart(&mut self) {
        self.starts += 1;
        self.boot = format!("{}-{}", self.node, self.starts).parse().unwrap();
        self.number = 0;
        self.running.clear();
        self.fences.clear();
    }

    pub fn peer(&self) -> (Peer, BootId) {
        (Peer::agent(&self.node), self.boot.clone())
    }
}
