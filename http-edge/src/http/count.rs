//! How many tokens a prompt has, by a node that can count, else by its length; for the dialects that have a route for it.

use std::time::Duration;

use axum::http::header::HeaderName;
use axum::response::{IntoResponse, Response};
use echo_bus::message::{Chat, Code, Done, Failure, Prefix, Request};
use serde_json::Value;
use tokio::sync::Semaphore;

use super::api::Api;
use super::route_headers::RouteHeaders;
use crate::limits::Limits;
use crate::report::{News, Report};
use crate::tasks::Wishes;

/// Longer than this nobody waits for a count: an estimate is there at once.
const WITHIN: Duration = Duration::from_secs(3);
/// An editor asks for dozens at once when it starts. A few at a time are through as soon, and leave the machine and the
/// node's places beside its slots to others.
static TURNS: Semaphore = Semaphore::const_new(4);
/// Bytes of a token, where nobody has counted.
const USUAL_BYTES: u64 = 4;
/// Says how the number came about.
const HOW: HeaderName = HeaderName::from_static("x-echo-count");

/// A count, or an estimate.
#[derive(Debug)]
pub struct Count {
    pub tokens: u64,
    exact: bool,
    /// The task that has counted, and how it went.
    made: Option<(String, Box<Report>)>,
}

/// Counts the prompt of a conversation.
///
/// # Errors
/// When nobody serves its model.
pub async fn count(api: &Api, chat: Chat, traceparent: Option<String>) -> Result<Count, Failure> {
    let request = Request::Count(chat);
    let estimate = Prefix::of(&request).bytes.div_ceil(USUAL_BYTES).max(1);
    let made = tokio::time::timeout(WITHIN, ask(api, request, traceparent)).await.ok().flatten();
    let (tokens, exact) = told(made.as_ref().map(|(_, report)| &**report), estimate)?;
    Ok(Count { tokens, exact, made })
}

/// Asks one node. One that has enough to do says so at once, and a second one would cost more than the count is worth.
async fn ask(api: &Api, request: Request, traceparent: Option<String>) -> Option<(String, Box<Report>)> {
    let _turn = TURNS.acquire().await.ok()?;
    let limits = Limits { attempts: 1, ..api.tasks().limits.clone() };
    let wishes = Wishes { traceparent, limits: Some(limits), ..Wishes::default() };
    // Who may not have the model hears so when asking for an answer.
    let mut feed = api.begin_with(request, wishes, false).ok()?;
    while let Some(news) = feed.next().await {
        if let News::End(report) = news {
            return Some((feed.task().to_string(), report));
        }
    }
    None
}

/// The tokens, and whether they were counted.
fn told(report: Option<&Report>, estimate: u64) -> Result<(u64, bool), Failure> {
    match report.map(|report| &report.ending) {
        Some(Ok(Done { prompt_tokens: Some(tokens), estimated, .. })) => Ok((*tokens, !estimated)),
        Some(Err(failure)) if matches!(failure.code, Code::ModelNotServed | Code::ModelMissing) => {
            Err(failure.clone())
        }
        _ => Ok((estimate, false)),
    }
}

impl Count {
    /// The id of the task that has counted; none has where nobody answered in time.
    pub fn task(&self) -> Option<&str> {
        self.made.as_ref().map(|(task, _)| task.as_str())
    }

    /// The answer of a dialect, with the headers that say how the number came about, and where.
    pub fn answer(&self, said: Value) -> Response {
        let how = if self.exact { "exact" } else { "estimate" };
        let mut answer = ([(HOW, how)], axum::Json(said)).into_response();
        if let Some((task, report)) = &self.made {
            RouteHeaders::of(task, report).put(answer.headers_mut());
        }
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::any::report;

    #[test]
    fn whatever_a_node_says_there_is_a_number_unless_nobody_serves_the_model() {
        let of = |ending: Option<Result<Done, Failure>>| {
            let report = ending.map(|ending| Report { ending, ..report("") });
            told(report.as_ref(), 9).map_err(|failure| failure.code)
        };
        let done = |prompt_tokens, estimated| Some(Ok(Done { prompt_tokens, estimated, ..Done::default() }));
        let failed = |code| Some(Err(Failure::give_up(code, "x")));
        assert_eq!(of(done(Some(5), false)), Ok((5, true)));
        assert_eq!(of(done(Some(5), true)), Ok((5, false)));
        let estimates =
            [Code::Full, Code::BadRequest, Code::Expired, Code::NoNode, Code::Unavailable].map(failed);
        for ending in estimates.into_iter().chain([None, done(None, false)]) {
            assert_eq!(of(ending), Ok((9, false)));
        }
        for code in [Code::ModelNotServed, Code::ModelMissing] {
            assert_eq!(of(failed(code)), Err(code));
        }
    }
}
