//! What an attempt does on its node, as spans: the attempt itself, and the request to the engine, in the words of OpenTelemetry's
//! conventions for generative AI. No prompt and no answer is among them.

use std::time::Instant;

use echo_bus::id::{AttemptId, NodeId};
use echo_bus::message::{Done, Failure, Reason, Request};
use echo_telemetry::{Kind, Span, attribute};

use crate::engine::Order;

/// Nothing where there is no tracing.
#[derive(Debug, Default)]
pub struct Trace {
    run: Span,
    engine: Span,
    asked: Option<Instant>,
    gives: bool,
}

/// Where the engine is, for traces.
#[derive(Debug, Clone)]
pub struct Server {
    pub kind: &'static str,
    pub host: String,
    pub port: u16,
}

impl Trace {
    /// The node has the attempt: below its placement.
    pub fn begin(parent: Option<&str>, key: AttemptId, node: &NodeId, loaded: bool) -> Self {
        let mut run = Span::begin(|| "run".into(), Kind::Consumer, parent);
        if run.is_recorded() {
            run.set([
                attribute("echo.task", key.task.to_string()),
                attribute("echo.attempt", i64::from(key.attempt)),
                attribute("echo.node", node.to_string()),
                attribute("echo.model.loaded", loaded),
            ]);
        }
        Self { run, ..Self::default() }
    }

    /// The engine is asked.
    pub fn asks(&mut self, server: &Server, model: &str, order: &Order) {
        if !self.run.is_recorded() {
            return;
        }
        let operation = operation(&order.request);
        let name = || format!("{operation} {model}").into();
        let mut span = Span::begin(name, Kind::Client, self.run.traceparent().as_deref());
        let Server { kind, host, port } = server;
        span.set([
            attribute("gen_ai.operation.name", operation),
            attribute("gen_ai.provider.name", *kind),
            attribute("gen_ai.request.model", model.to_owned()),
            attribute("gen_ai.response.model", order.model.clone()),
            attribute("server.address", host.clone()),
            attribute("server.port", i64::from(*port)),
        ]);
        (self.engine, self.asked) = (span, Some(Instant::now()));
    }

    /// The engine gives something; the first time is told.
    pub fn gave(&mut self) {
        if self.gives {
            return;
        }
        self.gives = true;
        if let Some(asked) = self.asked {
            let seconds = asked.elapsed().as_secs_f64();
            self.engine.event("first_token", []);
            self.engine.set([attribute("gen_ai.server.time_to_first_token", seconds)]);
        }
    }

    /// The engine is done.
    pub fn answered(&mut self, done: &Done) {
        if self.engine.is_recorded() {
            let count = |name, count: Option<u64>| {
                count.map(|count| attribute(name, i64::try_from(count).unwrap_or(i64::MAX)))
            };
            self.engine.set(count("gen_ai.usage.input_tokens", done.prompt_tokens));
            self.engine.set(count("gen_ai.usage.output_tokens", done.tokens));
            self.engine.set([attribute("gen_ai.response.finish_reasons", finish(done.reason))]);
        }
        self.engine.end();
    }

    pub fn failed(&mut self, failure: &Failure) {
        if self.run.is_recorded() {
            self.engine.fail(failure.code.word());
            self.run.fail(failure.code.word());
        }
        self.engine.end();
    }
}

/// What is asked, in the conventions' words where they have one.
fn operation(request: &Request) -> &'static str {
    match request {
        Request::Chat(_) => "chat",
        Request::Generate(_) => "text_completion",
        Request::Embed(_) => "embeddings",
        Request::Count(_) => "count",
        Request::Pull(_) => "pull",
        Request::Delete(_) => "delete",
        Request::Unload(_) => "unload",
        _ => "other",
    }
}

fn finish(reason: Reason) -> echo_telemetry::Value {
    let word = match reason {
        Reason::Stop => "stop",
        Reason::Length => "length",
        Reason::ToolCalls => "tool_calls",
        Reason::Load => "load",
        Reason::Unload => "unload",
        Reason::Unknown => "unknown",
    };
    echo_telemetry::list(word)
}
