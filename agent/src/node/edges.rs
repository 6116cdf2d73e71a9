//! The edges that this node holds something for. A pulse is the renewal of a lease: it tells an edge which attempts are held here,
//! and the edge's answer says which of them it still wants. An edge that answers none is dead, and its slots are freed.

use std::collections::HashMap;
use std::time::Instant;

use echo_bus::holding::{EDGE_DEAD, PULSE, PULSE_AFTER_END};
use echo_bus::id::{AttemptId, Peer, ProcessId};
use echo_bus::message::{Missing, Pulse, PulseAnswer};
use tracing::warn;

use super::Node;
use super::action::Action;

struct Edge {
    next: Instant,
    /// A pulse is under way.
    asked: bool,
    /// When it last answered, or silence began to count.
    heard: Instant,
}

/// The edges, by id.
#[derive(Default)]
pub struct Edges(HashMap<ProcessId, Edge>);

impl Edges {
    /// Something is held for this edge now. `at_once`: it is asked without delay.
    pub fn meet(&mut self, edge: &ProcessId, at_once: bool, now: Instant) {
        let next = if at_once { now } else { now + PULSE };
        let known = self.0.entry(edge.clone()).or_insert(Edge { next, asked: false, heard: now });
        known.next = known.next.min(next);
    }

    /// The next pulse to this edge goes out soon: something has ended.
    pub fn hurry(&mut self, edge: Option<&ProcessId>, now: Instant) {
        if let Some(edge) = edge.and_then(|edge| self.0.get_mut(edge)) {
            edge.next = edge.next.min(now + PULSE_AFTER_END);
        }
    }

    /// Nobody could be heard until now: silence counts from here, and all are asked at once.
    pub fn begin_anew(&mut self, now: Instant) {
        for edge in self.0.values_mut() {
            (edge.heard, edge.next) = (now, now);
        }
    }
}

impl Node {
    /// Sends the pulses that are due, one at a time to each edge.
    pub(super) fn pulse_if_due(&mut self, now: Instant) {
        if !self.link.up {
            return;
        }
        let due = self.edges.0.iter().filter(|(_, edge)| !edge.asked && now >= edge.next);
        let due: Vec<ProcessId> = due.map(|(id, _)| id.clone()).collect();
        for id in due {
            let held = self.holdings.of_edge(&id);
            if held.is_empty() {
                self.edges.0.remove(&id);
                continue;
            }
            if let Some(edge) = self.edges.0.get_mut(&id) {
                (edge.asked, edge.next) = (true, now + PULSE);
            }
            let asked = held.iter().map(|held| held.id).collect();
            let pulse =
                Pulse { holder: Peer::agent(&self.identity.node), boot: self.identity.boot.clone(), held };
            self.out.push(Action::Pulse { edge: id, asked, pulse });
        }
    }

    /// Takes an edge's answer to a pulse that named `asked`.
    pub(super) fn pulsed(
        &mut self,
        id: &ProcessId,
        asked: &[AttemptId],
        answer: Option<PulseAnswer>,
        now: Instant,
    ) {
        if let Some(edge) = self.edges.0.get_mut(id) {
            edge.asked = false;
            if answer.is_some() {
                edge.heard = now;
            }
        }
        let Some(PulseAnswer { unwanted, missing }) = answer else { return };
        for held in &unwanted {
            self.fence.raise(held.id, now);
            self.holdings.drop_up_to(held.id);
        }
        for key in asked {
            // What is named and not unwanted is wanted.
            self.holdings.confirm(*key);
        }
        for Missing { id, from, to } in missing {
            if let Some((to, frames)) = self.holdings.frames(id, from, to)
                && !frames.is_empty()
            {
                self.out.push(Action::Resend { to, frames });
            }
        }
    }

    /// Stops what nobody waits for any more.
    pub(super) fn drop_dead_edges(&mut self, now: Instant) {
        let dead = self.edges.0.iter().filter(|(_, edge)| now.duration_since(edge.heard) >= EDGE_DEAD);
        let dead: Vec<ProcessId> = dead.map(|(id, _)| id.clone()).collect();
        for id in dead {
            self.edges.0.remove(&id);
            let attempts = self.holdings.drop_edge(&id);
            if attempts > 0 {
                warn!(edge = %id, attempts, "an edge does not answer any more; its attempts are stopped");
            }
        }
        // Every edge that something is held for is asked, whatever happened before.
        let unknown: Vec<ProcessId> =
            self.holdings.edges().filter(|id| !self.edges.0.contains_key(*id)).cloned().collect();
        for id in unknown {
            self.edges.meet(&id, true, now);
        }
    }
}
