//! When the node takes nothing new: by its owner's order or hours, while others need the machine, or because its agent stops.

use std::time::Instant;

use echo_bus::clock::Now;
use echo_bus::id::Inbox;
use echo_bus::message::{Code, Failure, Ordered, Paused, Wish};
use jiff::tz::TimeZone;
use tracing::info;

use super::action::Action;
use super::{Node, Stop};
use crate::owner::Usage;

impl Node {
    /// Looks at the clock: hours may have begun or ended, also while nothing happened.
    pub(super) fn look_at_the_clock(&mut self, now: Now) {
        self.owner.look(now.unix_ms);
        self.note_pause(now.at);
    }

    /// Whose doing it is that the node takes nothing new, and why; `None` if it does.
    pub(super) fn paused(&self) -> Option<(Paused, String)> {
        if self.stop.is_some() {
            return Some((Paused::Stopping, "its agent is stopping".to_owned()));
        }
        self.owner.paused()
    }

    pub(super) fn is_draining(&self) -> bool {
        self.told_pause.is_some()
    }

    /// Tells the mesh what has come of the owner's will.
    pub(super) fn note_pause(&mut self, now: Instant) {
        let paused = self.paused();
        let word = paused.as_ref().map(|(word, _)| *word);
        if word == self.told_pause {
            return;
        }
        match paused {
            Some((_, reason)) => info!(reason, active = self.slots.taken(), "draining"),
            None => info!("taking tasks again"),
        }
        self.told_pause = word;
        self.schedule.changed(true, now);
    }

    /// The machine has been measured.
    pub(super) fn measured(&mut self, usage: Option<Usage>, zone: TimeZone, now: Instant) {
        self.owner.travelled(zone);
        // Where the engine's processes are not found, nobody can say how much of this is our own work.
        let is_clear = |usage: &Usage| !usage.engine_is_hidden || self.slots.taken() == 0;
        if let Some(usage) = usage.filter(is_clear) {
            self.owner.measured(usage, now);
        }
        self.note_pause(now);
    }

    /// Refuses while the node takes nothing new.
    pub(super) fn is_open(&self) -> Result<(), Failure> {
        match self.paused() {
            None => Ok(()),
            Some((_, why)) => {
                let message = format!("the node is finishing what it has and takes nothing new: {why}");
                Err(Failure::elsewhere(Code::Draining, message))
            }
        }
    }

    pub(super) fn set_draining(&mut self, draining: bool, now: Instant) {
        if self.stop.is_none() {
            self.owner.order(draining);
            self.note_pause(now);
        }
    }

    /// An operator's wish, and how things stand after it.
    pub(super) fn ordered(&mut self, wish: Option<Wish>, to: Option<Inbox>, now: Instant) {
        match wish {
            Some(Wish::Drain) => self.set_draining(true, now),
            Some(Wish::Resume) => self.set_draining(false, now),
            Some(Wish::Unknown) | None => {}
        }
        let now = Ordered { draining: self.is_draining(), stopping: self.stop.is_some() };
        self.out.push(Action::Ordered { to, now });
    }

    pub(super) fn begin_to_stop(&mut self, now: Instant) {
        if self.stop.is_none() {
            self.stop = Some(Stop { deadline: now + self.identity.drain_timeout, idle: None });
            self.note_pause(now);
        }
    }
}
