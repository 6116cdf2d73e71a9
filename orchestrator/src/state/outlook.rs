//! When those who wait can expect a slot: what the plan expects of those that it looks at, and from there on by what the
//! nodes get done.

use super::State;
use crate::expected::{self, Step, Waiting};
use crate::holding::Holding;
use crate::need::Line;
use crate::queue::Order;

/// Those in a line who stand behind the ones that the plan looks at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Behind {
    /// Of the last one that it looks at, and what it expects of that one's wait, in seconds.
    position: u32,
    wait: f64,
    per_second: f64,
}

impl State {
    /// How many of a line the plan looks at.
    pub(super) fn looks_at(&self) -> u32 {
        u32::try_from(self.book.weights.looked_at).unwrap_or(u32::MAX)
    }

    /// How long a task has to wait that the plan holds; `None` where nothing of that was ever measured, and where it
    /// makes way for those who need the model as it is: nobody knows for how many.
    pub(super) fn wait_of(&self, waiting: &Waiting, step: &Step) -> Option<f64> {
        let parts = &step.verdict.parts;
        let is_measured = parts.measured && self.book.models.lengths(waiting.ask.model).has_any();
        (is_measured && parts.wait > 0.0).then_some(parts.wait)
    }

    /// What a task is told of its wait, in milliseconds; `None` where nothing was measured.
    pub(super) fn expected_wait(
        &self,
        holding: &Holding,
        position: u32,
        behind: Option<Behind>,
    ) -> Option<u64> {
        let wait = match behind {
            Some(behind) if position > self.looks_at() => behind.wait(position),
            None if position > self.looks_at() => return None,
            _ => holding.outlook?,
        };
        Some(expected::millis(wait))
    }

    /// What those can expect whom the plan does not look at.
    pub(super) fn behind(&self, line: &Line, order: &Order<'_>) -> Option<Behind> {
        let looked_at = (1..=self.looks_at()).zip(order.line(line));
        let told = looked_at.filter_map(|(at, (_, task))| Some((at, self.held.get(&task)?.outlook?)));
        let (position, wait) = told.last()?;
        Some(Behind { position, wait, per_second: self.per_second(line)? })
    }

    /// How many tasks of a line the nodes get done in a second at best.
    pub(super) fn per_second(&self, line: &Line) -> Option<f64> {
        let Line::Model(name) = line else { return None };
        let prompt = self.queue.line(line).find_map(|task| self.held.get(&task)?.prompt.as_ref());
        let tokens = prompt.map_or(0.0, |prompt| prompt.tokens);
        let nodes = self.registry.serving(name).filter(|(_, node, _)| node.is_fit());
        let rates =
            nodes.filter_map(|(key, ..)| self.book.per_second(key.index(), name, tokens, self.seconds()));
        let sum: f64 = rates.sum();
        (sum > 0.0).then_some(sum)
    }
}

impl Behind {
    fn wait(&self, position: u32) -> f64 {
        self.wait + f64::from(position.saturating_sub(self.position)) / self.per_second
    }
}
