//! OpenAI's Responses API: `POST /v1/responses`, and answers that are kept to be read again.

mod ask;
mod item;
mod object;
mod output;
mod say;
mod stored;
#[cfg(test)]
mod tests;

use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::{get, post};
use echo_bus::message::{Memo, Request as Ask};

use super::refusal::{json, refusal};
use crate::edge::Keep;
use crate::feed::Feed;
use crate::http::api::{Api, trace_of};
use crate::http::error::ApiError;
use crate::http::reply;
use crate::report::News;
use crate::tasks::Wishes;
use ask::Asked;
use item::Item;
use object::Template;

/// The longest time that an answer stays without being asked for.
const KEPT: Duration = Duration::from_secs(60 * 60);
/// Who asks for an answer in the background waits so long for a place in line, or a refusal.
const PLACED: Duration = Duration::from_secs(1);

pub fn routes() -> Router<Api> {
    Router::new()
        .route("/v1/responses", post(create))
        .route("/v1/responses/{response}", get(stored::get).delete(stored::delete))
        .route("/v1/responses/{response}/cancel", post(stored::cancel))
        .route("/v1/responses/{response}/input_items", get(stored::input_items))
}

/// `POST /v1/responses`.
async fn create(State(api): State<Api>, request: Request) -> Result<Response, ApiError> {
    let trace = trace_of(request.headers());
    let mut asked = ask::read(api.fields(request).await?)?;
    let before = before(&api, &mut asked).await?;
    asked.converse(before);
    let Asked { chat, memo, streams, stores, background, .. } = asked;
    let mut template = Template::new(echo_bus::id::TaskId::from_u128(0), &chat, &memo);
    let wishes = wishes(&api, trace, memo, stores, background);
    let reads = streams || background;
    let feed = api.begin_with(Ask::Chat(chat), wishes, reads);
    template.belongs_to(feed.task());
    if background && !streams {
        return placed(feed, &template).await;
    }
    let voice = say::Events::new(feed.task(), template, stores, background);
    reply::answer(api.started(feed), voice, streams).await
}

fn wishes(api: &Api, traceparent: Option<String>, memo: Memo, stores: bool, background: bool) -> Wishes {
    let time = api.keep_limit().min(KEPT);
    let keep = stores.then_some(Keep { time, goes_on: background, request: true });
    let memo = stores.then(|| Box::new(memo));
    Wishes { traceparent, keep, memo, joins: stores, ..Wishes::default() }
}

/// What was said before this request, and the items that it refers to.
async fn before(api: &Api, asked: &mut Asked) -> Result<Vec<Item>, ApiError> {
    for at in 0..asked.input.len() {
        if let Item::Reference(id) = &asked.input[at] {
            asked.input[at] = stored::item(api, id, &format!("input[{at}].id")).await?;
        }
    }
    match asked.previous {
        Some(previous) => stored::conversation(api, previous).await,
        None => Ok(Vec::new()),
    }
}

/// An answer in the background has begun.
async fn placed(mut feed: Feed, template: &Template) -> Result<Response, ApiError> {
    let status = match tokio::time::timeout(PLACED, feed.next()).await {
        Ok(Some(News::End(report))) => match &report.ending {
            Err(failure) => return Err(refusal(failure, &template.model)),
            Ok(_) => "in_progress",
        },
        Ok(Some(News::Accepted(_) | News::Pieces(..) | News::Choice(_) | News::ChoiceEnd(_))) => {
            "in_progress"
        }
        Ok(Some(News::Queued { .. } | News::Broken(_)) | None) | Err(_) => "queued",
    };
    Ok(json(template.in_progress(status, Vec::new())))
}
