//! The way of an attempt from its submission to its node as a span, which ends when the attempt is held no longer.

use echo_bus::id::NodeId;
use echo_bus::message::{Code, Task};
use echo_telemetry::{Kind, Span, attribute};

use crate::reason::Reason;

/// Nothing where there is no tracing.
#[derive(Debug, Default)]
pub struct Placement(Span);

impl Placement {
    /// The attempt is taken: below what the edge has begun. The node's work is told below this.
    pub fn begin(task: &mut Task) -> Self {
        let mut span = Span::begin(|| "place".into(), Kind::Consumer, task.traceparent.as_deref());
        if let Some(own) = span.traceparent() {
            task.traceparent = Some(own);
        }
        if span.is_recorded() {
            span.set([
                attribute("echo.task", task.task.to_string()),
                attribute("echo.attempt", i64::from(task.attempt)),
            ]);
        }
        Self(span)
    }

    pub fn queued(&mut self, position: u32, expected_wait_ms: Option<u64>) {
        let expected = expected_wait_ms.map(|ms| attribute("echo.expected_wait_ms", signed(ms)));
        let position = attribute("echo.queue.position", i64::from(position));
        self.0.event("queued", std::iter::once(position).chain(expected));
    }

    pub fn asked(&mut self, node: &NodeId, reason: &Reason) {
        if self.0.is_recorded() {
            let reason = attribute("echo.placement.reason", reason.words().to_owned());
            self.0.event("asked", [attribute("echo.node", node.to_string()), reason]);
        }
    }

    /// The node that was asked does not take it.
    pub fn refused(&mut self, node: &NodeId, code: Code) {
        if self.0.is_recorded() {
            self.0.event(
                "refused",
                [attribute("echo.node", node.to_string()), attribute("error.type", code.word())],
            );
        }
    }

    pub fn placed(&mut self, node: &NodeId, reason: Option<&Reason>, waited_ms: u64) {
        if self.0.is_recorded() {
            self.0.set([
                attribute("echo.node", node.to_string()),
                attribute("echo.placement.reason", reason.map_or("", Reason::words).to_owned()),
                attribute("echo.waited_ms", signed(waited_ms)),
            ]);
        }
    }

    pub fn failed(&mut self, code: Code) {
        if self.0.is_recorded() {
            self.0.fail(code.word());
        }
    }
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
