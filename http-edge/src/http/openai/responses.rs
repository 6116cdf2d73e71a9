//! OpenAI's Responses API: `POST /v1/responses`, and answers that are kept to be read again.

mod ask;
mod before;
mod id;
mod item;
mod object;
mod output;
mod say;
mod stored;
#[cfg(test)]
mod tests;

use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::response::Response;
use axum::routing::{any, get, post};
use echo_bus::message::{Memo, Request as Ask};

use super::refusal::{json, refusal};
use crate::edge::{Keep, Reads};
use crate::feed::Feed;
use crate::http::api::{Api, Shared, trace_of};
use crate::http::count::count;
use crate::http::error::ApiError;
use crate::http::reply;
use crate::report::News;
use crate::tasks::Wishes;
use ask::Asked;
use id::ResponseId;
use object::Template;

/// The longest time that an answer stays without being asked for.
const KEPT: Duration = Duration::from_secs(60 * 60);
/// Who asks for an answer in the background waits so long for a place in line, or a refusal.
const PLACED: Duration = Duration::from_secs(1);

pub fn routes() -> Router<Shared> {
    Router::new()
        .route("/v1/responses", post(create))
        .route("/v1/responses/input_tokens", post(input_tokens))
        .route("/v1/responses/compact", any(no_compaction))
        .route("/v1/responses/{response}", get(stored::get).delete(stored::delete))
        .route("/v1/responses/{response}/cancel", post(stored::cancel))
        .route("/v1/responses/{response}/input_items", get(stored::input_items))
}

/// `POST /v1/responses`.
async fn create(api: Api, request: Request) -> Result<Response, ApiError> {
    let trace = trace_of(request.headers());
    let mut asked = ask::read(api.fields(request).await?)?;
    let before = before::before(&api, &mut asked).await?;
    asked.converse(before)?;
    let Asked { chat, memo, streams, stores, background, .. } = asked;
    let template = Template::new(&chat, &memo);
    let wishes = wishes(&api, trace, memo, stores, background);
    let reads = if streams || background { Reads::Pieces } else { Reads::End };
    let reader = api.reader(Ask::Chat(chat), wishes, reads)?;
    let id = ResponseId { task: reader.task(), key: reader.key() };
    let (feed, template) = (Feed::Here(reader), template.named(id));
    if background && !streams {
        return placed(feed, template).await;
    }
    let voice = say::Events::new(id, template, stores, background);
    reply::answer(api.started(feed), voice, streams).await
}

fn wishes(api: &Api, traceparent: Option<String>, memo: Memo, stores: bool, background: bool) -> Wishes {
    let time = api.keep_limit().min(KEPT);
    let keep = stores.then_some(Keep { time, goes_on: background });
    let memo = stores.then(|| Box::new(memo));
    Wishes { traceparent, keep, memo, joins: stores, ..Wishes::default() }
}

/// `POST /v1/responses/input_tokens`.
async fn input_tokens(api: Api, request: Request) -> Result<Response, ApiError> {
    let trace = trace_of(request.headers());
    let mut asked = ask::read(api.fields(request).await?)?;
    let before = before::before(&api, &mut asked).await?;
    asked.converse(before)?;
    let model = asked.chat.model.clone().unwrap_or_default();
    let count = count(&api, asked.chat, trace).await.map_err(|failure| refusal(&failure, &model))?;
    Ok(count.answer(serde_json::json!({"object": "response.input_tokens", "input_tokens": count.tokens})))
}

async fn no_compaction() -> ApiError {
    ApiError::not_found("conversations are not compacted here; send a shorter one to POST /v1/responses")
}

/// An answer in the background has begun.
async fn placed(mut feed: Feed, mut template: Template) -> Result<Response, ApiError> {
    let status = match tokio::time::timeout(PLACED, feed.next()).await {
        Ok(Some(News::End(report))) => match &report.ending {
            Err(failure) => return Err(refusal(failure, &template.model)),
            Ok(_) => "in_progress",
        },
        Ok(Some(News::Accepted(by))) => {
            if template.model.is_empty() {
                template.model.clone_from(&by.model);
            }
            "in_progress"
        }
        Ok(Some(News::Pieces(..) | News::Choice(_) | News::ChoiceEnd(_))) => "in_progress",
        Ok(Some(News::Queued { .. } | News::Broken(_)) | None) | Err(_) => "queued",
    };
    Ok(json(template.in_progress(status, Vec::new())))
}
