//! The attempts of a task as spans, each with a link to the one before. The edge makes them: a node that dies cannot tell its own.

use echo_bus::id::NodeId;
use echo_bus::message::{Code, Done, Task};
use echo_telemetry::{Kind, Link, Span, attribute};

/// The span of the current attempt.
#[derive(Debug, Default)]
pub struct Trace {
    /// Of the request.
    parent: Option<String>,
    span: Span,
    earlier: Option<Link>,
    gives: bool,
}

impl Trace {
    /// Below the request's own span.
    pub fn below(parent: Option<String>) -> Self {
        Self { parent, ..Self::default() }
    }

    /// An attempt begins; what still runs of the one before has ended. What it does elsewhere is told below it.
    pub fn begin(&mut self, task: &mut Task) {
        self.span =
            Span::linked(|| "attempt".into(), Kind::Producer, self.parent.as_deref(), self.earlier.take());
        (self.earlier, self.gives) = (self.span.link(), false);
        task.traceparent = self.span.traceparent().or_else(|| self.parent.clone());
        if !self.span.is_recorded() {
            return;
        }
        self.span.set([
            attribute("echo.task", task.task.to_string()),
            attribute("echo.attempt", i64::from(task.attempt)),
        ]);
        if let Some(so_far) = &task.so_far {
            self.span.set([attribute("echo.continues.tokens", signed(so_far.tokens))]);
        }
    }

    pub fn accepted(&mut self, node: &NodeId, chosen: &str) {
        if self.span.is_recorded() {
            self.span.set([
                attribute("echo.node", node.to_string()),
                attribute("echo.placement.reason", chosen.to_owned()),
            ]);
        }
    }

    /// The attempt gives something; the first time is told.
    pub fn gave(&mut self) {
        if !self.gives {
            self.gives = true;
            self.span.event("first_token", []);
        }
    }

    pub fn failed(&mut self, code: Code) {
        self.ends_by(code.word());
    }

    pub fn lost(&mut self) {
        self.ends_by("node_lost");
    }

    pub fn answered(&mut self, done: &Done) {
        if self.span.is_recorded() {
            let tokens = done.tokens.map(|tokens| attribute("echo.tokens", signed(tokens)));
            self.span.set(tokens);
        }
        self.span.end();
    }

    fn ends_by(&mut self, code: impl Into<std::borrow::Cow<'static, str>>) {
        if self.span.is_recorded() {
            self.span.fail(code.into());
        }
        self.span.end();
    }
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
