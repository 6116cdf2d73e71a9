//! Answers that are joined again: `GET` and `DELETE /task/{task}`, `GET /task/{task}/stream`. Any edge serves them; one
//! that does not own the task asks the owner over the bus.

use axum::Json;
use axum::extract::Path;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use echo_bus::client::CallError;
use echo_bus::id::{NodeId, TaskId};
use echo_bus::message::{AnswerPart, ReadAnswer, ToolCall};
use serde::Serialize;
use serde_json::json;

use super::say::TaskVoice;
use crate::edge::{Absent, Gone, Unjoined};
use crate::feed::{SoFar, Unread, WITHIN, ask, join, so_far};
use crate::http::api::Api;
use crate::http::error::ApiError;
use crate::http::fields::wrong;
use crate::http::reply;

/// The answer of `GET /task/{task}`.
#[derive(Serialize)]
struct TaskState<'a> {
    task_id: TaskId,
    /// `waiting`, `running`, `done` or `failed`.
    state: &'static str,
    /// How many pieces the answer has: where a stream goes on after this.
    pieces: u64,
    content: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    thinking: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<ToolCall>,
    routed_to: Option<&'a NodeId>,
    model_used: &'a str,
    attempts: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    latency_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

/// `GET /task/{task}`.
pub async fn state(api: Api, Path(task): Path<String>) -> Result<Response, ApiError> {
    let task = id(&task)?;
    let answer = so_far(api.tasks(), api.asks(ReadAnswer::after(task, 0))).await.map_err(unread)?;
    Ok(Json(said(task, &answer)).into_response())
}

fn said(task_id: TaskId, answer: &SoFar) -> TaskState<'_> {
    let (pieces, turn, end) = (&answer.pieces, answer.turn.as_ref(), answer.end.as_deref());
    let ending = end.map(|end| &end.ending);
    let done = ending.and_then(|ending| ending.as_ref().ok());
    let failure = ending.and_then(|ending| ending.as_ref().err());
    TaskState {
        task_id,
        state: match ending {
            Some(Ok(_)) => "done",
            Some(Err(_)) => "failed",
            None if turn.is_some() => "running",
            None => "waiting",
        },
        pieces: pieces.len() as u64,
        content: pieces.iter().map(|piece| piece.content.as_str()).collect(),
        thinking: pieces.iter().map(|piece| piece.thinking.as_str()).collect(),
        tool_calls: pieces.iter().flat_map(|piece| piece.tool_calls.iter().cloned()).collect(),
        routed_to: turn.map(|turn| &turn.node),
        model_used: turn.map_or("", |turn| &turn.model),
        attempts: turn.map_or(0, |turn| turn.attempts),
        tokens: done.and_then(|done| done.tokens),
        latency_ms: end.map(|end| end.latency_ms),
        error: failure.map(|failure| failure.message.as_str()),
    }
}

/// `GET /task/{task}/stream`: goes on after `Last-Event-ID`, or after `?after=N`.
pub async fn stream(
    api: Api,
    Path(task): Path<String>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let task = id(&task)?;
    let after = place(&uri, &headers)?;
    match join(api.tasks(), api.asks(ReadAnswer::after(task, after))).await {
        Ok(feed) => {
            let started = api.started(feed);
            let voice = TaskVoice::new(&started, api.url().clone(), after);
            reply::answer(started, voice, true).await
        }
        // A browser's EventSource comes again after each end, until it hears this.
        Err(Unread::Unjoined(Unjoined::AtEnd)) => Ok(StatusCode::NO_CONTENT.into_response()),
        Err(other) => Err(unread(other)),
    }
}

/// `DELETE /task/{task}`.
pub async fn stop(api: Api, Path(task): Path<String>) -> Result<Response, ApiError> {
    let task = id(&task)?;
    let state = if end(&api, task).await? { "cancelled" } else { "forgotten" };
    Ok(Json(json!({"task_id": task, "success": true, "state": state})).into_response())
}

/// Ends a task, or drops its answer; whether it ran.
async fn end(api: &Api, task: TaskId) -> Result<bool, ApiError> {
    ended(api, ReadAnswer { stops: true, ..ReadAnswer::after(task, 0) }).await
}

/// Ends a task if it runs, be it another client's if the key manages, and leaves its answer so far; whether it ran.
pub async fn cancel(api: &Api, task: TaskId) -> Result<bool, ApiError> {
    let manages = api.caller.name().is_some() && api.caller.manages().is_ok();
    ended(api, ReadAnswer { cancels: true, manages, ..ReadAnswer::after(task, 0) }).await
}

async fn ended(api: &Api, question: ReadAnswer) -> Result<bool, ApiError> {
    match ask(api.tasks(), &api.asks(question), WITHIN).await.map_err(|error| silent(&error))? {
        AnswerPart::Stopped { ran } => Ok(ran),
        other => Err(refused(Unjoined::of(&other))),
    }
}

/// The pieces that a client has: the number of the last one.
fn place(uri: &Uri, headers: &HeaderMap) -> Result<u64, ApiError> {
    let fields = uri.query().into_iter().flat_map(|query| query.split('&'));
    let asked = fields.filter_map(|field| field.strip_prefix("after=")).next();
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok());
    // A browser that comes back asks under the same address, and says by the header how far it has come.
    let number = last.or(asked).unwrap_or("0").trim().parse();
    number.map_err(|_| wrong("after", "the id of the last event that was read, a number from 0 on"))
}

fn id(text: &str) -> Result<TaskId, ApiError> {
    text.parse().map_err(|_| refused(Unjoined::Absent(Absent::Unknown)))
}

fn unread(unread: Unread) -> ApiError {
    match unread {
        Unread::Silent(error) => silent(&error),
        Unread::Unjoined(unjoined) => refused(unjoined),
    }
}

fn refused(unjoined: Unjoined) -> ApiError {
    match unjoined {
        Unjoined::Absent(Absent::Gone(Gone::Expired)) => {
            ApiError::gone("the answer is kept no longer: its time (\"keep\") was over; ask again")
        }
        Unjoined::Absent(Absent::Gone(Gone::Evicted)) => ApiError::gone(
            "the answer is kept no longer: it made room for newer ones (--keep-memory); ask again",
        ),
        Unjoined::Ahead(pieces) => wrong("after", &format!("the answer has {pieces} pieces so far")),
        Unjoined::Never => ApiError::bad_request(
            "only answers of /task, /task/stream and stored ones of /v1/responses can be joined; those of other routes are let go \
             as they are read",
        ),
        Unjoined::AtEnd | Unjoined::Absent(Absent::Unknown) => ApiError::not_found(
            "there is no such task: it ended with its client, or its id is wrong. With \"keep\": \"60s\" a task goes on \
             and its answer stays",
        ),
    }
}

/// The owner of the task says nothing.
fn silent(error: &CallError) -> ApiError {
    match error {
        CallError::NoResponders(_) => ApiError::not_found(
            "there is no such task: the edge that made its id is not in the mesh, and its answers ended with it",
        ),
        _ => {
            ApiError::unavailable(format!("the edge that owns the task does not answer ({error}); ask again"))
        }
    }
}
