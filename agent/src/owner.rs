//! What the owner of the machine has decided: when it works for others, with how much of itself, and for which models. Plain
//! data: time and measurements come from outside.

mod args;
mod busy;
mod hours;
mod rules;

use std::time::Instant;

use echo_bus::message::Paused;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

pub use args::OwnerArgs;
use busy::Gate;
pub use busy::{Limits, Usage};
pub use rules::Rules;

/// Whether the node works for others now, by its owner's will.
#[derive(Debug)]
pub struct Owner {
    pub rules: Rules,
    zone: TimeZone,
    gate: Option<Gate>,
    order: Option<Order>,
    /// The local time when the owner's decisions were looked at last.
    local: DateTime,
}

/// What the owner has ordered beside the hours.
#[derive(Debug, Clone, Copy)]
struct Order {
    drain: bool,
    /// The hours when it was given: an order lasts until they change, even if the clock has jumped over that.
    open: bool,
    /// The local time at which they were to change.
    until: Option<DateTime>,
}

impl Owner {
    /// In the time zone of this machine.
    pub fn new(rules: Rules, zone: TimeZone, unix_ms: u64) -> Self {
        let gate = rules.busy.map(|(limits, patience)| Gate::new(limits, patience));
        let mut owner = Self { rules, zone, gate, order: None, local: DateTime::default() };
        owner.look(unix_ms);
        owner
    }

    /// Looks at the clock. To be done before anything is decided.
    pub fn look(&mut self, unix_ms: u64) {
        let Some(hours) = &self.rules.hours else { return };
        let at = i64::try_from(unix_ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
        self.local = self.zone.to_datetime(at.unwrap_or(Timestamp::MAX));
        let (local, open) = (self.local, hours.open(self.local));
        let is_over = |order: &Order| order.open != open || order.until.is_some_and(|until| local >= until);
        self.order = self.order.filter(|order| !is_over(order));
    }

    /// The machine's time zone: people take their machines along.
    pub fn travelled(&mut self, zone: TimeZone) {
        self.zone = zone;
    }

    /// The machine has been measured.
    pub fn measured(&mut self, usage: Usage, now: Instant) {
        self.gate.iter_mut().for_each(|gate| gate.measured(usage, now));
    }

    /// The owner wants the node to drain, or to work, until the hours change.
    pub fn order(&mut self, drain: bool) {
        let hours = self.rules.hours.as_ref();
        let (open, until) = match hours {
            Some(hours) => (hours.open(self.local), hours.next_change(self.local)),
            None => (true, None),
        };
        // To work in its hours is no order but what holds anyway.
        self.order = (drain || !open).then_some(Order { drain, open, until });
        if !drain {
            self.gate.iter_mut().for_each(Gate::overrule);
        }
    }

    /// Why the node takes nothing new, if so.
    pub fn paused(&self) -> Option<(Paused, String)> {
        let closed = || self.rules.hours.as_ref().filter(|hours| !hours.open(self.local));
        match self.order {
            Some(Order { drain: true, .. }) => {
                return Some((Paused::Owner, "drained by its owner".to_owned()));
            }
            None if closed().is_some() => return closed().map(|it| (Paused::Hours, it.closed(self.local))),
            _ => {}
        }
        let busy = self.gate.as_ref().and_then(Gate::why)?;
        Some((Paused::Load, busy))
    }
}

#[cfg(test)]
mod tests;
