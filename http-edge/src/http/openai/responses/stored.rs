//! Answers that are kept: read again, joined, cancelled, deleted, and gone on from. Any edge serves them; one that does
//! not own the task asks the owner over the bus.

use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::Uri;
use axum::response::Response;
use echo_bus::client::CallError;
use echo_bus::id::TaskId;
use echo_bus::message::{AnswerPart, AnswerTurn, Chat, End, Memo, Piece, Portion, ReadAnswer, Request};
use serde_json::{Value, json};

use super::super::refusal::{json as plain, refusal};
use super::ask::{conversation as without_system, task_of};
use super::item::{Item, items, place};
use super::object::{State as Told, Template, id};
use super::output::{Log, Output};
use super::say::Events;
use crate::feed::{Elsewhere, Feed, ask};
use crate::http::api::Api;
use crate::http::error::ApiError;
use crate::http::fields::wrong;
use crate::http::reply;

/// How long the owner of a task may take; it answers from memory.
const WITHIN: Duration = Duration::from_secs(2);
/// Items of a list that nobody has asked for more of.
const PAGE: usize = 20;
const LARGEST_PAGE: usize = 100;

/// What was asked, where it is kept.
struct Kept {
    task: TaskId,
    chat: Chat,
    memo: Memo,
}

/// How far an answer is.
#[derive(Default)]
struct Answer {
    pieces: Vec<Piece>,
    turn: Option<AnswerTurn>,
    end: Option<Box<End>>,
}

/// `GET /v1/responses/{response}`; with `?stream=true` its events, after `starting_after`.
pub async fn get(
    State(api): State<Api>,
    Path(response): Path<String>,
    uri: Uri,
) -> Result<Response, ApiError> {
    let kept = kept(&api, &response).await?;
    if query(&uri, "stream") != Some("true") {
        let answer = answer(&api, kept.task).await?;
        return Ok(plain(kept.said(&answer)));
    }
    let has = query(&uri, "starting_after").map(str::parse).transpose();
    let has =
        has.map_err(|_| wrong("starting_after", "the sequence_number of the last event that was read"))?;
    let feed = if api.tasks().owns(kept.task) {
        api.tasks().join(kept.task, 0).map(Feed::Here).map_err(|_| gone(&response))?
    } else {
        let first = part(&api, ReadAnswer { stays: true, ..ReadAnswer::after(kept.task, 0) }).await?;
        Feed::Elsewhere(Box::new(Elsewhere::new(api.tasks().clone(), kept.task, 0, first)))
    };
    let voice = Events::again(kept.task, kept.template(), has);
    reply::answer(api.started(feed), voice, true).await
}

/// `POST /v1/responses/{response}/cancel`.
pub async fn cancel(State(api): State<Api>, Path(response): Path<String>) -> Result<Response, ApiError> {
    let kept = kept(&api, &response).await?;
    if kept.memo.said.get("background") != Some(&Value::Bool(true)) {
        return Err(wrong(
            "response_id",
            "only a response in the background can be cancelled; others end with their client",
        ));
    }
    let question = ReadAnswer { cancels: true, ..ReadAnswer::after(kept.task, 0) };
    asked(&api, &question).await?;
    let answer = answer(&api, kept.task).await?;
    Ok(plain(kept.said(&answer)))
}

/// `DELETE /v1/responses/{response}`.
pub async fn delete(State(api): State<Api>, Path(response): Path<String>) -> Result<Response, ApiError> {
    let kept = kept(&api, &response).await?;
    let question = ReadAnswer { stops: true, ..ReadAnswer::after(kept.task, 0) };
    match asked(&api, &question).await? {
        AnswerPart::Stopped { .. } => {
            Ok(plain(json!({"id": id(kept.task), "object": "response", "deleted": true})))
        }
        _ => Err(gone(&response)),
    }
}

/// `GET /v1/responses/{response}/input_items`: all that the model was told, but for the instructions.
pub async fn input_items(
    State(api): State<Api>,
    Path(response): Path<String>,
    uri: Uri,
) -> Result<Response, ApiError> {
    let kept = kept(&api, &response).await?;
    let mut all: Vec<(String, Item)> = kept.input();
    match query(&uri, "order") {
        None | Some("desc") => all.reverse(),
        Some("asc") => {}
        Some(_) => return Err(wrong("order", "expected asc or desc")),
    }
    let limit = query(&uri, "limit").map(str::parse::<usize>).transpose().ok();
    let limit = limit.map(|limit| limit.unwrap_or(PAGE)).filter(|limit| (1..=LARGEST_PAGE).contains(limit));
    let limit = limit.ok_or_else(|| wrong("limit", &format!("a number from 1 to {LARGEST_PAGE}")))?;
    let skipped = match query(&uri, "after") {
        None => 0,
        Some(after) => {
            let at = all.iter().position(|(id, _)| id == after);
            at.ok_or_else(|| wrong("after", "is no item of this response"))? + 1
        }
    };
    let has_more = all.len() > skipped + limit;
    let page = all.iter().skip(skipped).take(limit);
    let data: Vec<Value> = page.map(|(id, item)| item.said(id, "completed")).collect();
    let end = |item: Option<&Value>| item.map(|item| item["id"].clone());
    let (first, last) = (end(data.first()), end(data.last()));
    Ok(plain(
        json!({"object": "list", "data": data, "first_id": first, "last_id": last, "has_more": has_more}),
    ))
}

/// All that was said up to the end of a kept answer.
///
/// # Errors
/// 404 if it is gone; 400 while it is made, or if it failed.
pub async fn conversation(api: &Api, previous: TaskId) -> Result<Vec<Item>, ApiError> {
    let named = |error: ApiError| error.param("previous_response_id");
    let kept = kept(api, &id(previous)).await.map_err(named)?;
    let answer = answer(api, previous).await.map_err(named)?;
    if answer.end.as_ref().is_none_or(|end| end.ending.is_err()) {
        return Err(wrong("previous_response_id", "that response has no whole answer to go on from"));
    }
    let mut said = items(&without_system(&kept.chat, &kept.memo));
    said.extend(answer.output(previous).items().into_iter().map(|(_, item)| item));
    Ok(said)
}

/// An item of a kept answer, or of what was asked for it.
///
/// # Errors
/// 400 that names the place of the reference, if it is not there.
pub async fn item(api: &Api, of: &str, field: &str) -> Result<Item, ApiError> {
    let missing = || wrong(field, "there is no such item here; its response is gone, or was not kept");
    let (task, _) = place(of).ok_or_else(missing)?;
    let kept = kept(api, &id(task)).await.map_err(|_| missing())?;
    let output = answer(api, task).await.map_err(|_| missing())?.output(task);
    let mut all = output.items().into_iter().chain(kept.input());
    all.find(|(id, _)| id == of).map(|(_, item)| item).ok_or_else(missing)
}

impl Kept {
    fn template(&self) -> Template {
        Template::new(self.task, &self.chat, &self.memo)
    }

    fn input(&self) -> Vec<(String, Item)> {
        let items = items(&without_system(&self.chat, &self.memo)).into_iter().enumerate();
        items.map(|(at, item)| (item.id(self.task, &format!("i{at}")), item)).collect()
    }

    fn said(&self, answer: &Answer) -> Value {
        let mut template = self.template();
        if let Some(turn) = answer.turn.as_ref().filter(|_| template.model.is_empty()) {
            template.model.clone_from(&turn.model);
        }
        let output = answer.output(self.task);
        match answer.end.as_ref().map(|end| (&end.ending, end.attempts)) {
            Some((Ok(done), attempts)) => template.done(&output, done, attempts),
            Some((Err(failure), _)) => {
                template.failed(&output, failure, refusal(failure, &template.model).words())
            }
            None => {
                let status = if answer.turn.is_some() { "in_progress" } else { "queued" };
                template.said(Told { status, output: output.said("in_progress"), ..Told::default() })
            }
        }
    }
}

impl Answer {
    fn output(&self, task: TaskId) -> Output {
        let (mut output, mut log, mut out) = (Output::new(task), Log::silent(), Vec::new());
        for piece in &self.pieces {
            output.piece(piece, &mut log, &mut out);
        }
        if let Some(Ok(done)) = self.end.as_ref().map(|end| &end.ending) {
            output.end(super::say::last(done), &mut log, &mut out);
        }
        output
    }
}

async fn kept(api: &Api, response: &str) -> Result<Kept, ApiError> {
    let task = task_of(response).ok_or_else(|| gone(response))?;
    let question = ReadAnswer { asks_request: true, ..ReadAnswer::after(task, 0) };
    match asked(api, &question).await? {
        AnswerPart::Part(part) => match (part.request.map(|request| *request), part.memo) {
            (Some(Request::Chat(chat)), Some(memo)) => Ok(Kept { task, chat, memo: *memo }),
            _ => Err(gone(response)),
        },
        _ => Err(gone(response)),
    }
}

/// All of an answer that is there now; what is made meanwhile is not waited for.
async fn answer(api: &Api, task: TaskId) -> Result<Answer, ApiError> {
    let mut answer = Answer::default();
    loop {
        let after = answer.pieces.len() as u64;
        let attempts = answer.turn.as_ref().map_or(0, |turn| turn.attempts);
        let part = part(api, ReadAnswer { attempts, ..ReadAnswer::after(task, after) }).await?;
        let is_all = part.pieces.is_empty() || part.end.is_some();
        answer.pieces.extend(part.pieces);
        answer.turn = part.turns.into_iter().next_back().or(answer.turn);
        answer.end = part.end;
        if is_all {
            return Ok(answer);
        }
        // A long answer of this edge's own is here at once: others have their turn in between.
        tokio::task::yield_now().await;
    }
}

async fn part(api: &Api, question: ReadAnswer) -> Result<Portion, ApiError> {
    match asked(api, &question).await? {
        AnswerPart::Part(part) => Ok(*part),
        // All was read with the part before.
        AnswerPart::AtEnd => Ok(Portion::default()),
        _ => Err(gone(&id(question.task))),
    }
}

async fn asked(api: &Api, question: &ReadAnswer) -> Result<AnswerPart, ApiError> {
    ask(api.tasks(), question, WITHIN).await.map_err(|error| match error {
        CallError::NoResponders(_) => gone(&id(question.task)),
        error => ApiError::unavailable(format!(
            "the edge that keeps the response does not answer ({error}); ask again"
        )),
    })
}

fn gone(response: &str) -> ApiError {
    let response: String = response.chars().take(100).collect();
    ApiError::not_found(format!(
        "Response with id '{response}' not found: it is gone, was not stored, or never was; responses are kept in memory for a while (--keep-limit, --keep-memory)"
    ))
}

/// A field of a query, as it was written.
fn query<'a>(uri: &'a Uri, name: &str) -> Option<&'a str> {
    let fields = uri.query().into_iter().flat_map(|query| query.split('&'));
    fields.filter_map(|field| field.split_once('=')).find(|(field, _)| *field == name).map(|(_, value)| value)
}
