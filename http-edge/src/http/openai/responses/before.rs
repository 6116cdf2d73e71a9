//! What a request brings along from earlier answers: the conversation of one, and single items of any. With all of that a
//! request is no larger than a body may be, and each answer is looked up once.

use std::collections::HashMap;

use super::ask::{Asked, conversation as without_system};
use super::id::ResponseId;
use super::item::{Item, items};
use super::stored::{Kept, kept};
use crate::http::api::Api;
use crate::http::error::ApiError;
use crate::http::fields::wrong;

/// Items that one request refers to. Each may be in an answer of its own, which is looked up.
const REFERENCES: usize = 100;
const PREVIOUS: &str = "previous_response_id";

/// Bytes that are left of what a request may have.
pub struct Room {
    left: usize,
    all: usize,
}

/// What was said before this request. The items that it refers to are put in their places.
///
/// # Errors
/// 400 or 404 that names what is not there; 413 when all of it is too much.
pub async fn before(api: &Api, asked: &mut Asked) -> Result<Vec<Item>, ApiError> {
    let mut room = Room::new(api.body_limits().bytes, &asked.input);
    for (response, places) in references(&asked.input)? {
        put(api, response, &places, &mut asked.input, &mut room).await?;
    }
    match asked.previous {
        Some(previous) => conversation(api, previous, &mut room).await,
        None => Ok(Vec::new()),
    }
}

/// The answers that are referred to, each with the places of the references.
///
/// # Errors
/// 400 if there are too many, or if one is no id.
pub fn references(input: &[Item]) -> Result<Vec<(ResponseId, Vec<usize>)>, ApiError> {
    let mut answers: Vec<(ResponseId, Vec<usize>)> = Vec::new();
    let references = input.iter().enumerate().filter_map(|(at, item)| match item {
        Item::Reference(id) => Some((at, id)),
        _ => None,
    });
    for (count, (at, id)) in references.enumerate() {
        if count == REFERENCES {
            return Err(wrong(&field(at), &format!("a request refers to {REFERENCES} items at most")));
        }
        let response = ResponseId::of_item(id).ok_or_else(|| missing(at))?;
        match answers.iter_mut().find(|(known, _)| *known == response) {
            Some((_, places)) => places.push(at),
            None => answers.push((response, vec![at])),
        }
    }
    Ok(answers)
}

/// Puts items of one answer, or of what was asked for it, in the places of their references.
async fn put(
    api: &Api,
    response: ResponseId,
    places: &[usize],
    input: &mut [Item],
    room: &mut Room,
) -> Result<(), ApiError> {
    let missing = || missing(places.first().copied().unwrap_or_default());
    let kept = kept(api, response).await.map_err(|_| missing())?;
    let output = kept.answer(api).await.map_err(|_| missing())?.output(response);
    let all: HashMap<String, Item> = output.items().into_iter().chain(kept.input()).collect();
    for at in places {
        let Item::Reference(id) = &input[*at] else { continue };
        let item = all.get(id).ok_or_else(|| self::missing(*at))?;
        room.take(item, &field(*at))?;
        input[*at] = item.clone();
    }
    Ok(())
}

/// All that was said up to the end of a kept answer.
async fn conversation(api: &Api, previous: ResponseId, room: &mut Room) -> Result<Vec<Item>, ApiError> {
    let named = |error: ApiError| error.param(PREVIOUS);
    let kept = kept(api, previous).await.map_err(named)?;
    if !kept.is_whole() {
        return Err(wrong(PREVIOUS, "that response has no whole answer to go on from"));
    }
    let answer = kept.answer(api).await.map_err(named)?;
    let Kept { chat, memo, .. } = kept;
    let mut said = items(&without_system(&chat, &memo));
    said.extend(answer.output(previous).items().into_iter().map(|(_, item)| item));
    said.iter().try_for_each(|item| room.take(item, PREVIOUS))?;
    Ok(said)
}

fn field(at: usize) -> String {
    format!("input[{at}].id")
}

fn missing(at: usize) -> ApiError {
    wrong(&field(at), "there is no such item here; its response is gone, or was not kept")
}

impl Room {
    /// Of so many bytes, of which the request itself takes a part.
    pub fn new(all: usize, own: &[Item]) -> Self {
        Self { left: all.saturating_sub(own.iter().map(Item::bytes).sum()), all }
    }

    /// Takes room for an item that this field brings.
    ///
    /// # Errors
    /// 413 if it has none.
    pub fn take(&mut self, item: &Item, field: &str) -> Result<(), ApiError> {
        let left = self.left.checked_sub(item.bytes());
        self.left = left.ok_or_else(|| {
            let most = self.all;
            let words = format!(
                "{field}: with what it brings the request has more than the {most} bytes that one may have; refer to less"
            );
            ApiError::too_large(words).param(field)
        })?;
        Ok(())
    }
}
