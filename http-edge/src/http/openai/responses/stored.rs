//! Answers that are kept: read again, joined, cancelled and deleted. Any edge serves them; one that does
//! not own the task asks the owner over the bus.

use axum::extract::Path;
use axum::http::Uri;
use axum::response::Response;
use echo_bus::client::CallError;
use echo_bus::message::{AnswerPart, AnswerTurn, Chat, End, Memo, ReadAnswer, Request};
use serde_json::{Value, json};

use super::super::refusal::{json as plain, refusal};
use super::ask::conversation as without_system;
use super::id::ResponseId;
use super::item::{Item, items};
use super::object::{State as Told, Template};
use super::output::{Log, Output};
use super::say::Events;
use crate::feed::{SoFar, Unread, WITHIN, ask, join, so_far};
use crate::http::api::Api;
use crate::http::error::ApiError;
use crate::http::fields::wrong;
use crate::http::reply;

/// Items of a list that nobody has asked for more of.
const PAGE: usize = 20;
const LARGEST_PAGE: usize = 100;

/// What was asked, where it is kept, and how its answer stands.
pub struct Kept {
    id: ResponseId,
    pub chat: Chat,
    pub memo: Memo,
    turn: Option<AnswerTurn>,
    end: Option<Box<End>>,
}

/// What there is of an answer.
#[derive(Default)]
pub struct Answer(SoFar);

/// `GET /v1/responses/{response}`; with `?stream=true` its events, after `starting_after`.
pub async fn get(api: Api, Path(response): Path<String>, uri: Uri) -> Result<Response, ApiError> {
    let kept = named(&api, &response).await?;
    if query(&uri, "stream") != Some("true") {
        return Ok(plain(kept.said(&kept.answer(&api).await?)));
    }
    let has = query(&uri, "starting_after").map(str::parse).transpose();
    let has =
        has.map_err(|_| wrong("starting_after", "the sequence_number of the last event that was read"))?;
    if let Some(has) = has.filter(|_| kept.end.is_some()) {
        let last = kept.answer(&api).await?.last_event(kept.id);
        if has > last {
            return Err(wrong("starting_after", &format!("the last event has the number {last}")));
        }
    }
    let feed = join(api.tasks(), kept.id.question(&api)).await.map_err(|error| unread(&error, kept.id))?;
    let voice = Events::again(kept.id, kept.template(), has);
    reply::answer(api.started(feed), voice, true).await
}

/// `POST /v1/responses/{response}/cancel`.
pub async fn cancel(api: Api, Path(response): Path<String>) -> Result<Response, ApiError> {
    let kept = named(&api, &response).await?;
    if kept.memo.said.get("background") != Some(&Value::Bool(true)) {
        return Err(wrong(
            "response_id",
            "only a response in the background can be cancelled; others end with their client",
        ));
    }
    let question = ReadAnswer { cancels: true, ..kept.id.question(&api) };
    // An edge of an older version says something else, and the answer goes on.
    let AnswerPart::Stopped { .. } = asked(&api, &question, kept.id).await? else {
        return Err(gone(&response));
    };
    let kept = self::kept(&api, kept.id).await?;
    Ok(plain(kept.said(&kept.answer(&api).await?)))
}

/// `DELETE /v1/responses/{response}`.
pub async fn delete(api: Api, Path(response): Path<String>) -> Result<Response, ApiError> {
    let kept = named(&api, &response).await?;
    let question = ReadAnswer { stops: true, ..kept.id.question(&api) };
    match asked(&api, &question, kept.id).await? {
        AnswerPart::Stopped { .. } => {
            Ok(plain(json!({"id": kept.id.response(), "object": "response", "deleted": true})))
        }
        _ => Err(gone(&response)),
    }
}

/// `GET /v1/responses/{response}/input_items`: all that the model was told, but for the instructions.
pub async fn input_items(api: Api, Path(response): Path<String>, uri: Uri) -> Result<Response, ApiError> {
    let kept = named(&api, &response).await?;
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

impl Kept {
    fn template(&self) -> Template {
        Template::new(&self.chat, &self.memo).named(self.id)
    }

    /// Whether the answer has come to its own end.
    pub fn is_whole(&self) -> bool {
        self.end.as_ref().is_some_and(|end| end.ending.is_ok())
    }

    /// The answer, once it has ended. Until then nothing of it is told to who does not stream it: what somebody has read
    /// cannot begin anew when its node dies.
    ///
    /// # Errors
    /// 404 if it is gone by now; 503 if its owner does not answer.
    pub async fn answer(&self, api: &Api) -> Result<Answer, ApiError> {
        if self.end.is_none() {
            return Ok(Answer::default());
        }
        let read = so_far(api.tasks(), self.id.question(api)).await;
        read.map(Answer).map_err(|error| unread(&error, self.id))
    }

    /// The items of what was asked, each with its id.
    pub fn input(&self) -> Vec<(String, Item)> {
        let items = items(&without_system(&self.chat, &self.memo)).into_iter().enumerate();
        items.map(|(at, item)| (item.id(self.id, &format!("i{at}")), item)).collect()
    }

    fn said(&self, answer: &Answer) -> Value {
        let mut template = self.template();
        if let Some(turn) = self.turn.as_ref().filter(|_| template.model.is_empty()) {
            template.model.clone_from(&turn.model);
        }
        let output = answer.output(self.id);
        match self.end.as_ref().map(|end| (&end.ending, end.attempts)) {
            Some((Ok(done), attempts)) => template.done(&output, done, attempts),
            Some((Err(failure), _)) => {
                template.failed(&output, failure, refusal(failure, &template.model).words())
            }
            None => {
                let status = if self.turn.is_some() { "in_progress" } else { "queued" };
                template.said(Told { status, ..Told::default() })
            }
        }
    }
}

impl Answer {
    /// Its items.
    pub fn output(&self, id: ResponseId) -> Output {
        self.replay(id, &mut Log::silent())
    }

    /// The number of the last event of an answer that has ended.
    fn last_event(&self, id: ResponseId) -> u64 {
        let mut log = Log::silent();
        self.replay(id, &mut log);
        // Beside those of the output there are two at the beginning and one at the end; they count from 0.
        log.events() + 2
    }

    fn replay(&self, id: ResponseId, log: &mut Log) -> Output {
        let (mut output, mut out) = (Output::new(id), Vec::new());
        for piece in &self.0.pieces {
            output.piece(piece, log, &mut out);
        }
        if let Some(Ok(done)) = self.0.end.as_ref().map(|end| &end.ending) {
            output.end(super::say::last(done), log, &mut out);
        }
        output
    }
}

/// What is kept of a response.
///
/// # Errors
/// 404 if it is not there, for this key; 503 if its owner does not answer.
pub async fn kept(api: &Api, id: ResponseId) -> Result<Kept, ApiError> {
    let part = match asked(api, &ReadAnswer { asks_request: true, ..id.question(api) }, id).await? {
        AnswerPart::Part(part) => *part,
        AnswerPart::TooLarge => {
            return Err(ApiError::unavailable(
                "another edge keeps the response, and what was asked is too large to be read by way of this one; ask the edge that made it",
            ));
        }
        _ => return Err(gone(&id.response())),
    };
    let request = part.request.and_then(|request| request.read());
    match (request, part.memo.and_then(|memo| memo.read())) {
        (Some(Request::Chat(chat)), Some(memo)) => {
            Ok(Kept { id, chat, memo, turn: part.turns.into_iter().next_back(), end: part.end })
        }
        _ => Err(gone(&id.response())),
    }
}

async fn named(api: &Api, response: &str) -> Result<Kept, ApiError> {
    kept(api, ResponseId::of_response(response).ok_or_else(|| gone(response))?).await
}

async fn asked(api: &Api, question: &ReadAnswer, id: ResponseId) -> Result<AnswerPart, ApiError> {
    ask(api.tasks(), question, WITHIN).await.map_err(|error| silent(&error, id))
}

fn unread(unread: &Unread, id: ResponseId) -> ApiError {
    match unread {
        Unread::Silent(error) => silent(error, id),
        Unread::Unjoined(_) => gone(&id.response()),
    }
}

/// The owner of the task says nothing.
fn silent(error: &CallError, id: ResponseId) -> ApiError {
    match error {
        CallError::NoResponders(_) => gone(&id.response()),
        error => ApiError::unavailable(format!(
            "the edge that keeps the response does not answer ({error}); ask again"
        )),
    }
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
