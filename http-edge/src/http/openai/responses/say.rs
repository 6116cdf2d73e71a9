//! The news of a task as a response: one object, or the events of a stream.

use std::time::Duration;

use axum::response::Response;
use echo_bus::id::{NodeId, TaskId};
use echo_bus::message::{Done, Failure, Piece, Reason};
use serde_json::{Value, json};

use super::super::refusal::{json as plain, refusal, shape};
use super::id::ResponseId;
use super::object::Template;
use super::output::{Log, Output};
use crate::http::error::ApiError;
use crate::http::reply::Voice;
use crate::report::Report;

/// Who is to know the id of an answer in the background waits no longer for it.
const BACKGROUND: Duration = Duration::from_secs(2);

/// One response to one client.
pub struct Events {
    id: ResponseId,
    template: Template,
    output: Output,
    log: Log,
    began: bool,
    stored: bool,
    background: bool,
    /// The answer was there before this client asked for it: how it failed is a part of it.
    rejoins: bool,
}

impl Events {
    /// A new answer.
    pub fn new(id: ResponseId, template: Template, stored: bool, background: bool) -> Self {
        let (output, log) = (Output::new(id), Log::after(None));
        Self { id, template, output, log, began: false, stored, background, rejoins: false }
    }

    /// A kept answer, for a client that has its events up to this number.
    pub fn again(id: ResponseId, template: Template, has: Option<u64>) -> Self {
        let log = Log::after(has);
        Self { log, rejoins: true, ..Self::new(id, template, true, false) }
    }

    fn begin(&mut self, out: &mut Vec<u8>) {
        if !std::mem::replace(&mut self.began, true) {
            let response = json!({"response": self.template.in_progress("in_progress", Vec::new())});
            self.log.event("response.created", &response, out);
            self.log.event("response.in_progress", &response, out);
        }
    }

    /// The whole answer, made as the stream's: its items have the same ids there, so they can be referred to.
    pub fn object(&self, report: &Report, done: &Done) -> Value {
        let (mut output, mut log, mut out) = (Output::new(self.id), Log::silent(), Vec::new());
        for piece in report.in_order() {
            output.piece(&piece, &mut log, &mut out);
        }
        output.end(last(done), &mut log, &mut out);
        let mut template = self.template.clone();
        if template.model.is_empty() {
            template.model.clone_from(&report.model);
        }
        template.done(&output, done, report.attempts)
    }

    fn end(&mut self, response: &Value, out: &mut Vec<u8>) {
        let kind = match response["status"].as_str() {
            Some("completed") => "response.completed",
            Some("incomplete") => "response.incomplete",
            _ => "response.failed",
        };
        self.log.event(kind, &json!({"response": response}), out);
    }
}

impl Voice for Events {
    fn media(&self) -> &'static str {
        "text/event-stream"
    }

    fn whole(&self, report: &Report, done: &Done) -> Response {
        plain(self.object(report, done))
    }

    fn location(&self, _: TaskId) -> Option<String> {
        self.stored.then(|| format!("/v1/responses/{}", self.id.response()))
    }

    fn pieces(&mut self, pieces: Vec<Piece>, out: &mut Vec<u8>) {
        self.begin(out);
        for piece in pieces {
            self.output.piece(&piece, &mut self.log, out);
        }
    }

    fn answered(&mut self, report: &Report, done: &Done, out: &mut Vec<u8>) {
        self.begin(out);
        self.output.end(last(done), &mut self.log, out);
        let response = self.template.done(&self.output, done, report.attempts);
        self.end(&response, out);
    }

    /// An end that is not the answer's own has no number: whoever comes back goes on after the last event.
    fn broken(&mut self, error: ApiError, report: Option<&Report>, out: &mut Vec<u8>) {
        self.begin(out);
        match report.and_then(|report| report.ending.as_ref().err()) {
            Some(failure) => {
                let response = self.template.failed(&self.output, failure, error.words());
                self.end(&response, out);
            }
            None => {
                let said = &shape(&error)["error"];
                let (code, message, param) = (&said["code"], &said["message"], &said["param"]);
                self.log.aside("error", &json!({"code": code, "message": message, "param": param}), out);
            }
        }
    }

    fn error(&self, failure: &Failure, _: &Report) -> ApiError {
        refusal(failure, &self.template.model)
    }

    fn patience(&self) -> Duration {
        if self.background { BACKGROUND } else { Duration::MAX }
    }

    fn tells_of_the_line(&self) -> bool {
        self.background
    }

    /// Agents shorten a conversation that is too long only where an event says so; of a status they give up.
    fn tells(&self, failure: &Failure) -> bool {
        self.rejoins || failure.is_too_long()
    }

    fn queued(&mut self, _: u32, _: Option<u64>, out: &mut Vec<u8>) {
        self.begin(out);
    }

    fn accepted(&mut self, _: &NodeId, model: &str, out: &mut Vec<u8>) {
        if self.template.model.is_empty() {
            model.clone_into(&mut self.template.model);
        }
        self.begin(out);
    }

    /// Clients' timers count events, and strict ones read only those that they know: so the state is said once more.
    fn idle(&mut self, out: &mut Vec<u8>) {
        if !self.began {
            return self.begin(out);
        }
        // Without the output: a long answer would be said whole each time.
        let response = self.template.in_progress("in_progress", Vec::new());
        self.log.aside("response.in_progress", &json!({"response": response}), out);
    }
}

/// The status of the last item of an answer that ended so.
pub fn last(done: &Done) -> &'static str {
    if done.reason == Reason::Length { "incomplete" } else { "completed" }
}
