//! `POST /v1/messages/count_tokens`: how many tokens a prompt has, by a node that can count, else by its length.

use std::time::Duration;

use axum::Json;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use echo_bus::message::{self, Chat, Code, Done, Prefix};
use serde_json::json;
use tokio::sync::Semaphore;

use super::ask;
use super::refusal::{id_of, named, new_id, refusal};
use crate::http::api::{Api, trace_of};
use crate::http::error::ApiError;
use crate::http::route_headers::RouteHeaders;
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

/// `POST /v1/messages/count_tokens`.
pub async fn tokens(State(api): State<Api>, request: Request) -> Result<Response, ApiError> {
    let trace = trace_of(request.headers());
    let asked = ask::messages(api.fields(request).await?)?;
    let as_chat = message::Request::Chat(asked.chat);
    let estimate = Prefix::of(&as_chat).bytes.div_ceil(USUAL_BYTES).max(1);
    let message::Request::Chat(chat) = as_chat else { unreachable!("made two lines above") };
    let counting = tokio::time::timeout(WITHIN, count(&api, chat, trace)).await;
    let Some((task, report)) = counting.ok().flatten() else {
        return Ok(named(counted(None, estimate, &asked.model)?, &new_id()));
    };
    let answer = counted(Some(&report), estimate, &asked.model).map_err(|error| error.of(&task, "", 0))?;
    let mut answer = named(answer, &id_of(&task));
    RouteHeaders::of(&task, &report).put(answer.headers_mut());
    Ok(answer)
}

/// Asks one node. One that has enough to do says so at once, and a second one would cost more than the count is worth.
async fn count(api: &Api, chat: Chat, traceparent: Option<String>) -> Option<(String, Box<Report>)> {
    let _turn = TURNS.acquire().await.ok()?;
    let limits = Limits { attempts: 1, ..api.tasks().limits.clone() };
    let wishes = Wishes { traceparent, limits: Some(limits), ..Wishes::default() };
    let mut feed = api.begin_with(message::Request::Count(chat), wishes, false);
    while let Some(news) = feed.next().await {
        if let News::End(report) = news {
            return Some((feed.task().to_string(), report));
        }
    }
    None
}

fn counted(report: Option<&Report>, estimate: u64, model: &str) -> Result<Response, ApiError> {
    let (tokens, how) = match report.map(|report| &report.ending) {
        Some(Ok(Done { prompt_tokens: Some(tokens), estimated: false, .. })) => (*tokens, "exact"),
        Some(Ok(Done { prompt_tokens: Some(tokens), .. })) => (*tokens, "estimate"),
        Some(Err(failure)) if matches!(failure.code, Code::ModelNotServed | Code::ModelMissing) => {
            return Err(refusal(failure, model));
        }
        _ => (estimate, "estimate"),
    };
    Ok(([("x-echo-count", how)], Json(json!({"input_tokens": tokens}))).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::ollama::tests::report;
    use axum::http::StatusCode;
    use echo_bus::message::Failure;

    fn how(ending: Option<Result<Done, Failure>>) -> Result<String, StatusCode> {
        let report = ending.map(|ending| Report { ending, ..report("") });
        let answer = counted(report.as_ref(), 9, "m").map_err(|error| error.status())?;
        Ok(answer.headers()["x-echo-count"].to_str().unwrap().to_owned())
    }

    #[test]
    fn whatever_a_node_says_there_is_a_number_unless_nobody_serves_the_model() {
        let done = |prompt_tokens, estimated| Some(Ok(Done { prompt_tokens, estimated, ..Done::default() }));
        let failed = |code| Some(Err(Failure::give_up(code, "x")));
        assert_eq!(how(done(Some(5), false)), Ok("exact".to_owned()));
        let estimates =
            [Code::Full, Code::BadRequest, Code::Expired, Code::NoNode, Code::Unavailable].map(failed);
        for ending in estimates.into_iter().chain([None, done(Some(5), true), done(None, false)]) {
            assert_eq!(how(ending), Ok("estimate".to_owned()));
        }
        for code in [Code::ModelNotServed, Code::ModelMissing] {
            assert_eq!(how(failed(code)), Err(StatusCode::NOT_FOUND));
        }
    }
}
