//! Ollama's routes that change what nodes have: pull and delete where their operators allow it, and the ones that a
//! mesh cannot offer.

use std::time::Duration;

use axum::extract::Request;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use echo_bus::id::NodeId;
use echo_bus::message::{Done, Failure, Named, Piece, Request as Ask};
use futures::StreamExt;
use futures::stream::{BoxStream, select_all, unfold};
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;

use super::ask::{named, required_model};
use super::refusal::{json as plain, not_found, refusal, shape};
use crate::feed::Feed;
use crate::http::api::{Api, trace_of};
use crate::http::error::ApiError;
use crate::http::mesh;
use crate::http::reply::{self, Voice};
use crate::limits::Limits;
use crate::report::{News, Report};
use crate::tasks::Wishes;

/// A large model over a slow line.
const LONGEST_PULL: Duration = Duration::from_secs(24 * 3600);

/// `POST /api/pull`: to the nodes that `nodes` names, or to the one with the most room.
pub async fn pull(api: Api, request: Request) -> Result<Response, ApiError> {
    api.caller.manages()?;
    let trace = trace_of(request.headers());
    let mut fields = api.fields(request).await?;
    let model = required_model(&mut fields)?;
    let streams = fields.flag("stream")?.unwrap_or(true);
    let nodes = fields.texts("nodes")?;
    let extra = fields.rest();
    let start = |node: Option<&NodeId>| {
        let nodes = node.cloned().into_iter().collect();
        let request = Ask::Pull(Named { model: model.clone(), nodes, extra: extra.clone() });
        let limits = Limits { total: LONGEST_PULL, ..api.tasks().limits.clone() };
        let wishes = Wishes { traceparent: trace.clone(), limits: Some(limits), ..Wishes::default() };
        api.begin_with(request, wishes, true)
    };
    let feed = match named(&nodes)?.as_slice() {
        [] => start(None)?,
        nodes => {
            let parts = nodes.iter().map(|node| Ok((node.clone(), start(Some(node))?)));
            merged(&api, parts.collect::<Result<_, ApiError>>()?)
        }
    };
    reply::answer(api.started(feed), Progress::new(model), streams).await
}

/// Several pulls as one: their progress mixed, each line with its node, and one end.
fn merged(api: &Api, parts: Vec<(NodeId, Feed)>) -> Feed {
    let (out, news) = mpsc::channel(16);
    let task = parts.first().map(|(_, feed)| feed.task()).expect("at least one node is named");
    api.tasks().tracker.spawn(merge(parts, out));
    Feed::Gathered(task, news)
}

async fn merge(parts: Vec<(NodeId, Feed)>, out: mpsc::Sender<News>) {
    let news = |(node, feed): (NodeId, Feed)| -> BoxStream<'static, (NodeId, News)> {
        let next = |(node, mut feed): (NodeId, Feed)| async move {
            feed.next().await.map(|news| ((node.clone(), news), (node, feed)))
        };
        unfold((node, feed), next).boxed()
    };
    let mut all = select_all(parts.into_iter().map(news));
    let mut end: Option<Box<Report>> = None;
    loop {
        // Without a client nobody pulls: dropping the parts cancels them.
        let next = tokio::select! { () = out.closed() => return, next = all.next() => next };
        let said = match next {
            None => break,
            Some((node, News::Pieces(_, pieces))) => {
                pieces.into_iter().filter_map(|piece| on(&node, piece)).collect()
            }
            Some((node, News::End(report))) => {
                let said = vec![outcome(&node, &report)];
                if end.as_ref().is_none_or(|end| end.ending.is_ok()) {
                    end = Some(report);
                }
                said
            }
            Some(_) => continue,
        };
        if out.send(News::Pieces(0, said)).await.is_err() {
            return;
        }
    }
    if let Some(end) = end {
        if end.ending.is_ok() {
            let success =
                Piece { progress: Some(Box::new(json!({"status": "success"}))), ..Piece::default() };
            let _ = out.send(News::Pieces(0, vec![success])).await;
        }
        // A client that has gone needs no end.
        let _ = out.send(News::End(end)).await;
    }
}

/// A line of progress with its node; the one success of all comes at the end.
fn on(node: &NodeId, mut piece: Piece) -> Option<Piece> {
    let progress = piece.progress.as_mut()?.as_object_mut()?;
    if progress.get("status").is_some_and(|status| status == "success") {
        return None;
    }
    progress.insert("node".to_owned(), node.as_str().into());
    Some(piece)
}

fn outcome(node: &NodeId, report: &Report) -> Piece {
    let status = match &report.ending {
        Ok(_) => "pulled".to_owned(),
        Err(failure) => format!("failed: {}", failure.message),
    };
    Piece { progress: Some(Box::new(json!({"status": status, "node": node}))), ..Piece::default() }
}

/// The answer to a pull.
struct Progress {
    model: String,
    /// The newest line: said again as a sign of life.
    newest: Value,
}

impl Progress {
    fn new(model: String) -> Self {
        Self { model, newest: json!({"status": "waiting"}) }
    }
}

impl Voice for Progress {
    fn media(&self) -> &'static str {
        "application/x-ndjson"
    }

    fn whole(&self, _: &Report, _: &Done) -> Response {
        plain(&json!({"status": "success"}))
    }

    fn pieces(&mut self, pieces: Vec<Piece>, out: &mut Vec<u8>) {
        for progress in pieces.into_iter().filter_map(|piece| piece.progress) {
            self.newest = *progress;
            self.idle(out);
        }
    }

    fn idle(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.newest.to_string().as_bytes());
        out.push(b'\n');
    }

    fn answered(&mut self, _: &Report, _: &Done, _: &mut Vec<u8>) {}

    fn broken(&mut self, error: ApiError, _: Option<&Report>, out: &mut Vec<u8>) {
        out.extend_from_slice(shape(&error).to_string().as_bytes());
        out.push(b'\n');
    }

    fn error(&self, failure: &Failure, _: &Report) -> ApiError {
        match failure.code {
            echo_bus::message::Code::ModelMissing => ApiError::no_model(failure.message.clone()),
            _ => refusal(failure, &self.model),
        }
    }
}

/// `DELETE /api/delete`: from all nodes that have the model, or from those that `nodes` names.
pub async fn delete(api: Api, request: Request) -> Result<Response, ApiError> {
    api.caller.manages()?;
    let trace = trace_of(request.headers());
    let mut fields = api.fields(request).await?;
    let model = required_model(&mut fields)?;
    let wanted = named(&fields.texts("nodes")?)?;
    let extra = fields.rest();
    let known = mesh::known(&api).await?;
    let having =
        mesh::having(&known, &model).filter(|node| wanted.is_empty() || wanted.contains(&node.node_id));
    let (allowed, kept): (Vec<_>, Vec<_>) = having.partition(|node| node.model_management);
    if allowed.is_empty() && kept.is_empty() {
        return Err(not_found(&model));
    }
    let mut headers = HeaderMap::new();
    for node in allowed {
        headers = delete_from(&api, &node.node_id, &model, extra.clone(), trace.clone()).await?;
    }
    if kept.is_empty() {
        return Ok(headers.into_response());
    }
    let kept: Vec<&str> = kept.iter().map(|node| node.node_id.as_str()).collect();
    let kept = kept.join(", ");
    let message = format!(
        "the model stays on {kept}: their operators do not let the mesh delete models (--allow-model-management)"
    );
    Err(ApiError::forbidden(message))
}

async fn delete_from(
    api: &Api,
    node: &NodeId,
    model: &str,
    extra: Map<String, Value>,
    trace: Option<String>,
) -> Result<HeaderMap, ApiError> {
    let request = Ask::Delete(Named { model: model.to_owned(), nodes: vec![node.clone()], extra });
    let feed = api.begin(request, trace, false)?;
    let voice = Progress::new(model.to_owned());
    let answer = reply::answer(api.started(feed), voice, false).await?;
    let mut headers = answer.headers().clone();
    headers.remove("content-type");
    headers.remove("content-length");
    Ok(headers)
}

/// `POST /api/create`.
pub async fn create() -> ApiError {
    cannot(
        "create models",
        "create the model on a node with `ollama create`: the mesh serves it within a few seconds",
    )
}

/// `POST /api/copy`.
pub async fn copy() -> ApiError {
    cannot("copy models", "a copy would exist on one node only; use `ollama cp` there")
}

/// `POST /api/push`.
pub async fn push() -> ApiError {
    cannot("push models", "the keys for it are on the nodes; run `ollama push` there, with OLLAMA_HOST unset")
}

/// `/api/blobs/{digest}`.
pub async fn blobs() -> ApiError {
    cannot("take blobs", "they belong to /api/create, which works on a node only")
}

/// `POST /api/me`, by which `ollama signin` begins, and `POST /api/signout`: not there, as on a server that knows no
/// cloud, but with a word to the person who has typed the command.
pub async fn sign_in() -> ApiError {
    ApiError::not_found(
        "a mesh does not sign in to ollama.com or out of it: each node has its own key; run `ollama signin` or \
         `ollama signout` there, with OLLAMA_HOST unset",
    )
}

fn cannot(what: &str, instead: &str) -> ApiError {
    ApiError::not_implemented(format!("a mesh does not {what}: {instead}"))
}
