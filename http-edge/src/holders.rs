//! Who holds each attempt, and whether they live: the edge's failure detector.
//!
//! A holder (an agent, or an orchestrator that has a task in its queue) renews its lease on all it holds with one pulse.
//! Silence alone ends nothing: after two missed pulses the holder is asked (ping), and only its answer, its absence or
//! a hang decides. The server's word that a connection has ended makes the edge ask at once. Nobody's silence counts
//! while this edge is cut off or has slept itself (suspend detection). Where several servers are the bus, one of them dies
//! without a word of its clients, which are on others a moment later: whom nobody reports as gone has that moment. A process is known by its boot id (incarnation):
//! a new one has lost what the earlier one held.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use echo_bus::clock::Now;
use echo_bus::holding::{GONE, HANG, LocalHealth, MOVING, SILENCE};
use echo_bus::id::{AttemptId, BootId, IdMap, Peer, Role, TaskId};
use echo_bus::message::{Held, Pong, Pulse, Submission};

/// A start of a process that holds attempts.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Holder {
    pub peer: Peer,
    pub boot: BootId,
}

impl Holder {
    /// Who has the task by the answer to its submission: a node, or an orchestrator.
    pub fn of(submission: &Submission) -> Option<Self> {
        let Submission::Taken { orchestrator, boot, by } = submission else { return None };
        if let Some(by) = by {
            return Some(Self { peer: Peer::agent(&by.node), boot: by.boot.clone() });
        }
        let peer = Peer { role: Role::Orchestrator, id: orchestrator.clone() };
        Some(Self { peer, boot: boot.clone() })
    }
}

/// Why an attempt will give nothing more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// Its holder has died or was started anew.
    Died,
    /// Nobody says that its holder has ended, and it cannot be reached: perhaps a server of the bus is away.
    Unreachable,
    /// Its holder is connected and silent.
    Hangs,
    /// Its holder knows nothing of it.
    Forgotten,
}

impl Loss {
    /// For people.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Died => "its process died",
            Self::Unreachable => "it cannot be reached",
            Self::Hangs => "its process hangs",
            Self::Forgotten => "its process no longer knew the task",
        }
    }
}

/// An attempt that has lost its holder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    pub task: TaskId,
    pub attempt: u32,
    pub holder: Holder,
    pub loss: Loss,
}

/// A holder to be asked whether it lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    pub holder: Holder,
    pub within: Duration,
}

/// What became of a ping.
#[derive(Debug)]
pub enum Heard {
    Pong(Pong),
    NobodyThere,
    Nothing,
    /// We were cut off meanwhile: it says nothing about the holder.
    CutOff,
}

/// A lease: who holds a task's current attempt.
#[derive(Debug)]
struct Lease {
    attempt: u32,
    holder: Option<Holder>,
    /// Since when this holder is believed to hold it.
    since: Instant,
    /// Pulses in a row that did not list it.
    omitted: u8,
}

#[derive(Debug)]
struct Watched {
    heard: Instant,
    asked: bool,
    gone: bool,
}

/// All leases of an edge.
#[derive(Debug)]
pub struct Holders {
    leases: IdMap<Lease>,
    watched: HashMap<Holder, Watched>,
    health: LocalHealth,
}

impl Holders {
    pub fn new(now: Now) -> Self {
        Self { leases: IdMap::default(), watched: HashMap::new(), health: LocalHealth::new(now) }
    }

    /// Whether no attempt is watched.
    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.leases.is_empty()
    }

    /// Begins an attempt, which nobody holds yet.
    pub fn begin(&mut self, task: TaskId, attempt: u32, now: Instant) {
        self.leases.insert(task, Lease { attempt, holder: None, since: now, omitted: 0 });
    }

    /// Forgets a task.
    pub fn end(&mut self, task: TaskId) {
        self.leases.remove(&task);
    }

    /// The attempt has been taken, as the answer to its submission says; an agent's own word may have been quicker.
    pub fn taken(&mut self, task: TaskId, attempt: u32, holder: Holder, now: Instant) {
        let lease = self.leases.get_mut(&task).filter(|lease| lease.attempt == attempt);
        if lease.is_some_and(|lease| lease.holder.is_none()) {
            self.hold(task, holder, now);
        }
    }

    /// This process holds the current attempt of a task now.
    pub fn hold(&mut self, task: TaskId, holder: Holder, now: Instant) {
        let Some(lease) = self.leases.get_mut(&task) else { return };
        if lease.holder.as_ref() != Some(&holder) {
            self.watched.entry(holder.clone()).or_insert_with(|| Watched::new(now));
            (lease.holder, lease.since, lease.omitted) = (Some(holder), now, 0);
        }
    }

    /// A holder's proof of what it holds: what it turns out to have lost.
    pub fn pulse(&mut self, pulse: &Pulse, now: Instant) -> Vec<Lost> {
        let holder = Holder { peer: pulse.holder.clone(), boot: pulse.boot.clone() };
        let mut lost = self.restarted(&holder);
        for held in pulse.held.iter().filter(|held| held.seq.is_some()) {
            if self.may_hold(held, &holder.peer) {
                self.hold(held.id.task, holder.clone(), now);
            }
        }
        if let Some(watched) = self.watched.get_mut(&holder) {
            (watched.heard, watched.gone) = (now, false);
            lost.extend(self.omitted(&holder, pulse, now));
        }
        lost
    }

    /// Whether this process may be the holder of the current attempt. An attempt is never placed twice: once an agent has
    /// proved by the inbox's key that it holds it, no other agent's word counts.
    pub fn may_hold(&self, held: &Held, peer: &Peer) -> bool {
        let lease = self.leases.get(&held.id.task).filter(|lease| lease.attempt == held.id.attempt);
        lease.is_some_and(|lease| {
            lease.holder.as_ref().is_none_or(|known| known.peer.role != Role::Agent || known.peer == *peer)
        })
    }

    /// What this holder no longer lists; twice in a row, since a frame may be under way.
    fn omitted(&mut self, holder: &Holder, pulse: &Pulse, now: Instant) -> Vec<Lost> {
        let listed = listed(&pulse.held);
        let mut lost = Vec::new();
        for (task, lease) in &mut self.leases {
            if lease.holder.as_ref() != Some(holder) || now.duration_since(lease.since) < SILENCE {
                continue;
            }
            let id = AttemptId { task: *task, attempt: lease.attempt };
            lease.omitted = if listed.contains(&id) { 0 } else { lease.omitted.saturating_add(1) };
            if lease.omitted >= 2 {
                lost.push(lease.lose(*task, holder, Loss::Forgotten));
            }
        }
        lost
    }

    /// The same process under another boot: what the earlier one held is lost.
    fn restarted(&mut self, holder: &Holder) -> Vec<Lost> {
        let is_earlier = |other: &&Holder| other.peer == holder.peer && other.boot != holder.boot;
        let earlier: Vec<Holder> = self.watched.keys().filter(is_earlier).cloned().collect();
        earlier.iter().flat_map(|other| self.lose_all(other, Loss::Died)).collect()
    }

    fn lose_all(&mut self, holder: &Holder, loss: Loss) -> Vec<Lost> {
        self.watched.remove(holder);
        let held = self.leases.iter_mut().filter(|(_, lease)| lease.holder.as_ref() == Some(holder));
        held.map(|(task, lease)| lease.lose(*task, holder, loss)).collect()
    }

    /// A connection has ended: asks at once if it was a holder's.
    pub fn gone(&mut self, peer: Peer, boot: BootId, now: Instant) -> Option<Ask> {
        let holder = Holder { peer, boot };
        let is_holding = self.leases.values().any(|lease| lease.holder.as_ref() == Some(&holder));
        if !self.health.can_judge(now) || !is_holding {
            return None;
        }
        let watched = self.watched.get_mut(&holder)?;
        watched.gone = true;
        // A ping that is already under way has a longer limit: this one will be quicker.
        watched.asked = true;
        Some(Ask { holder, within: GONE })
    }

    /// Whom to ask now; to be called several times a second.
    pub fn tick(&mut self, now: Instant) -> Vec<Ask> {
        let holding: HashSet<&Holder> =
            self.leases.values().filter_map(|lease| lease.holder.as_ref()).collect();
        self.watched.retain(|holder, _| holding.contains(holder));
        let silent = |watched: &Watched| self.health.silent_for(watched.heard, now) > SILENCE;
        let mut asks = Vec::new();
        for (holder, watched) in &mut self.watched {
            if !watched.asked && silent(watched) {
                watched.asked = true;
                let within = if watched.gone { GONE } else { HANG };
                asks.push(Ask { holder: holder.clone(), within });
            }
        }
        asks
    }

    /// What a ping has brought, and what is lost by it.
    pub fn heard(&mut self, holder: &Holder, heard: Heard, now: Instant) -> Vec<Lost> {
        let Some(watched) = self.watched.get_mut(holder) else { return Vec::new() };
        watched.asked = false;
        match heard {
            Heard::CutOff => Vec::new(),
            _ if !self.health.can_judge(now) => Vec::new(),
            // It is asked again at the next tick.
            Heard::NobodyThere if !watched.gone && self.health.silent_for(watched.heard, now) < MOVING => {
                Vec::new()
            }
            Heard::NobodyThere if watched.gone => self.lose_all(holder, Loss::Died),
            Heard::NobodyThere => self.lose_all(holder, Loss::Unreachable),
            Heard::Nothing if watched.gone => self.lose_all(holder, Loss::Died),
            // A pulse came while we waited: it is slow, not hanging.
            Heard::Nothing if now.duration_since(watched.heard) < SILENCE => Vec::new(),
            Heard::Nothing => self.lose_all(holder, Loss::Hangs),
            Heard::Pong(pong) if pong.boot != holder.boot => self.lose_all(holder, Loss::Died),
            Heard::Pong(pong) => {
                (watched.heard, watched.gone) = (now, false);
                self.not_in(holder, &pong.held, now)
            }
        }
    }

    fn not_in(&mut self, holder: &Holder, held: &[Held], now: Instant) -> Vec<Lost> {
        let known = listed(held);
        let mut lost = Vec::new();
        for (task, lease) in &mut self.leases {
            let mine = lease.holder.as_ref() == Some(holder);
            let settled = now.duration_since(lease.since) >= SILENCE;
            if mine && settled && !known.contains(&AttemptId { task: *task, attempt: lease.attempt }) {
                lost.push(lease.lose(*task, holder, Loss::Forgotten));
            }
        }
        lost
    }

    /// Whether we could hear the others: our own connection, and our own sleep.
    pub fn health(&mut self) -> &mut LocalHealth {
        &mut self.health
    }
}

fn listed(held: &[Held]) -> HashSet<AttemptId> {
    held.iter().map(|held| held.id).collect()
}

impl Watched {
    fn new(now: Instant) -> Self {
        Self { heard: now, asked: false, gone: false }
    }
}

impl Lease {
    fn lose(&mut self, task: TaskId, holder: &Holder, loss: Loss) -> Lost {
        self.holder = None;
        self.omitted = 0;
        Lost { task, attempt: self.attempt, holder: holder.clone(), loss }
    }
}

#[cfg(test)]
mod tests;
