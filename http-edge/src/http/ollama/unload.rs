//! Unloading a model: `keep_alive` 0 and nothing asked, as `ollama stop` sends it. It is meant for the model and not for an
//! answer, so it goes to every node that has the model, busy or not.

use std::time::Duration;

use axum::response::Response;
use echo_bus::id::{NodeId, TaskId};
use echo_bus::message::{Done, Named, NodeState, NodeStatus, Reason, Request as Ask};
use futures::future::join_all;
use serde_json::{Map, Value, json};

use super::ask::{Asked, Shape};
use super::refusal::{not_found, refusal};
use super::say::Lines;
use crate::http::api::Api;
use crate::http::error::ApiError;
use crate::http::mesh;
use crate::http::reply::Voice;
use crate::http::route_headers::RouteHeaders;
use crate::limits::Limits;
use crate::report::{News, Report};
use crate::tasks::Wishes;

/// An engine says at once that it will unload a model, even if an answer still needs it.
const LONGEST: Duration = Duration::from_secs(10);

/// What one node said.
struct Told {
    node: NodeId,
    said: Result<(TaskId, Box<Report>), String>,
}

/// Whether a request only wants its model unloaded.
pub fn is_meant(request: &Ask) -> bool {
    let (nothing, keep) = match request {
        Ask::Generate(it) => (it.prompt.is_empty(), &it.settings.keep_alive),
        Ask::Chat(it) => (it.messages.is_empty(), &it.settings.keep_alive),
        _ => return false,
    };
    nothing && keep.as_ref().is_some_and(is_zero)
}

/// A number of seconds or a Go duration of no length: `0`, `0s`, `0m0s`.
fn is_zero(keep: &Value) -> bool {
    let no_length = |text: &str| {
        text.contains('0')
            && text.chars().all(|c| matches!(c, '0' | '.' | '+' | '-' | 'h' | 'm' | 's' | 'n' | 'u' | 'µ'))
    };
    keep.as_f64().map_or_else(|| keep.as_str().is_some_and(no_length), |seconds| seconds == 0.0)
}

/// Unloads the model on every node that has it. Nodes that keep it are named in the answer.
///
/// # Errors
/// When nobody has the model, or nobody could be told.
pub async fn everywhere(api: &Api, asked: Asked, trace: Option<String>) -> Result<Response, ApiError> {
    api.caller.manages()?;
    let known = mesh::known(api).await?;
    let having = mesh::having(&known, &asked.model).map(|node| tell(api, node, &asked.model, trace.clone()));
    let told: Vec<Told> = join_all(having).await;
    if told.is_empty() {
        return Err(not_found(&asked.model));
    }
    let reason = if told.iter().any(Told::has_unloaded) { Reason::Unload } else { Reason::Load };
    let mut done = Done { reason, ..Done::default() };
    let kept: Vec<Value> = told.iter().filter_map(Told::kept).collect();
    if !kept.is_empty() {
        done.extra.insert("kept".to_owned(), kept.into());
    }
    answer(&asked.model, asked.shape, &told, &done)
}

/// In the name of a node that has unloaded the model, else of one that could be asked.
fn answer(model: &str, shape: Shape, told: &[Told], done: &Done) -> Result<Response, ApiError> {
    let reached = told.iter().filter_map(|it| it.said.as_ref().ok());
    let answered = reached.min_by_key(|(_, report)| match &report.ending {
        Ok(done) => u8::from(done.reason != Reason::Unload),
        Err(_) => 2,
    });
    let Some((task, report)) = answered else {
        let why = told.iter().find_map(|it| it.said.as_ref().err().cloned()).unwrap_or_default();
        return Err(ApiError::unavailable(format!("no node that has the model could be told: {why}")));
    };
    if let Err(failure) = &report.ending {
        return Err(refusal(failure, model));
    }
    let mut response = Lines::new(model.to_owned(), shape).whole(report, done);
    RouteHeaders::of(&task.to_string(), report).put(response.headers_mut());
    Ok(response)
}

async fn tell(api: &Api, node: &NodeState, model: &str, trace: Option<String>) -> Told {
    let id = node.node_id.clone();
    if !matches!(node.status, NodeStatus::Idle | NodeStatus::Busy) {
        let why = if node.reason.is_empty() { "the node takes nothing new" } else { &node.reason };
        return Told { node: id, said: Err(why.to_owned()) };
    }
    let request = Ask::Unload(Named { model: model.to_owned(), nodes: vec![id.clone()], extra: Map::new() });
    let limits = Limits { total: LONGEST, ..api.tasks().limits.clone() };
    let wishes = Wishes { traceparent: trace, limits: Some(limits), ..Wishes::default() };
    let mut feed = match api.begin_with(request, wishes, false) {
        Ok(feed) => feed,
        Err(error) => return Told { node: id, said: Err(error.message().to_owned()) },
    };
    while let Some(news) = feed.next().await {
        if let News::End(report) = news {
            return Told { node: id, said: Ok((feed.task(), report)) };
        }
    }
    Told { node: id, said: Err("the edge is stopping".to_owned()) }
}

impl Told {
    fn has_unloaded(&self) -> bool {
        let ending = self.said.as_ref().map(|(_, report)| &report.ending);
        matches!(ending, Ok(Ok(done)) if done.reason == Reason::Unload)
    }

    /// Why this node keeps the model, if it does.
    fn kept(&self) -> Option<Value> {
        let reason = match &self.said {
            Err(why) => why,
            Ok((_, report)) => match &report.ending {
                Ok(done) if done.reason == Reason::Unload => return None,
                Ok(_) => "the engine of this node keeps its model loaded",
                Err(failure) => &failure.message,
            },
        };
        Some(json!({"node": self.node, "reason": reason}))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use echo_bus::message::{Chat, Generate, Settings};

    #[test]
    fn only_a_time_of_no_length_and_nothing_asked_unloads() {
        let settings = |keep: Value| Settings { keep_alive: Some(keep), ..Settings::default() };
        let generate = |prompt: &str, keep: Value| {
            is_meant(&Ask::Generate(Generate {
                prompt: prompt.into(),
                settings: settings(keep),
                ..Generate::default()
            }))
        };
        for zero in [json!(0), json!(0.0), json!("0"), json!("0s"), json!("0m0.0s")] {
            assert!(generate("", zero.clone()) && !generate("hi", zero.clone()), "{zero}");
            assert!(is_meant(&Ask::Chat(Chat { settings: settings(zero), ..Chat::default() })));
        }
        for other in
            [json!(1), json!(-1), json!("5m"), json!("10s"), json!(""), json!("s"), json!(null), json!([0])]
        {
            assert!(!generate("", other.clone()), "{other}");
        }
        assert!(!is_meant(&Ask::Generate(Generate::default())));
    }
}
