//! The way of every task's answer to its client, whatever the dialect: when the head is written, what follows it, and
//! how it ends. A dialect is a [`Voice`] and no more.

use std::collections::VecDeque;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::header::{self, HeaderValue};
use axum::response::{IntoResponse, Response};
use echo_bus::id::{NodeId, TaskId};
use echo_bus::message::{Done, Failure, Piece, Reason};
use tokio::time::Instant;

use super::error::ApiError;
use super::names::Name;
use super::route_headers::RouteHeaders;
use crate::feed::Feed;
use crate::report::{News, Report};

/// Who waits no longer than this in line is told at once where the answer is made.
const MOVING_LINE: Duration = Duration::from_millis(100);

/// A task that has been started for a client.
pub struct Started {
    /// What the client calls it.
    pub name: String,
    /// The id that the edge made, by which the answer can be joined.
    pub task: TaskId,
    feed: Feed,
    /// The longest time in which a stream says nothing.
    idle_sign: Duration,
    /// Keeps the name in use.
    _reserved: Option<Name>,
}

impl Started {
    /// A task under the client's own name for it, if it has one.
    pub fn new(feed: Feed, idle_sign: Duration, name: Option<String>, reserved: Option<Name>) -> Self {
        let task = feed.task();
        let name = name.unwrap_or_else(|| task.to_string());
        Self { name, task, feed, idle_sign, _reserved: reserved }
    }
}

/// How a dialect says what happens to a task.
pub trait Voice: Send + 'static {
    /// The type of its streams.
    fn media(&self) -> &'static str;

    /// The answer in one piece.
    fn whole(&self, report: &Report, done: &Done) -> Response;

    /// Where the answer can be joined, for dialects whose answers can be.
    fn location(&self, _task: TaskId) -> Option<String> {
        None
    }

    /// The number of the next piece; for dialects whose streams can be joined.
    fn next_is(&mut self, _number: u64) {}

    /// What follows is of this one of several answers.
    fn choice(&mut self, _number: usize) {}

    /// That one is whole.
    fn choice_ended(&mut self, _reason: Reason, _out: &mut Vec<u8>) {}

    /// Pieces that arrived together.
    fn pieces(&mut self, pieces: Vec<Piece>, out: &mut Vec<u8>);

    /// The end of a whole answer.
    fn answered(&mut self, report: &Report, done: &Done, out: &mut Vec<u8>);

    /// The end of a stream that is no whole answer; without a report it is not the answer's own end.
    fn broken(&mut self, error: ApiError, report: Option<&Report>, out: &mut Vec<u8>);

    /// The words for a failure.
    fn error(&self, failure: &Failure, report: &Report) -> ApiError;

    /// How long the head of a stream may wait for the first piece. A refusal until then has its own status; a later
    /// one is told by the last event. It never waits longer than until the first sign of life is due.
    fn patience(&self) -> Duration {
        Duration::MAX
    }

    /// Whether this failure is told by an event even before the first piece, and not by a status of its own.
    fn tells(&self, _failure: &Failure) -> bool {
        false
    }

    /// Whether who waits in line is told so, before anything else.
    fn tells_of_the_line(&self) -> bool {
        false
    }

    /// The task waits in line.
    fn queued(&mut self, _position: u32, _expected_wait_ms: Option<u64>, _out: &mut Vec<u8>) {}

    /// A node has the task.
    fn accepted(&mut self, _node: &NodeId, _model: &str, _out: &mut Vec<u8>) {}

    /// A sign of life while there is nothing to say: an event of the dialect that adds no text. A comment or an empty
    /// line is none: clients' idle timers count what their parsers hand on, and Ollama's clients parse every line.
    fn idle(&mut self, _out: &mut Vec<u8>) {}
}

/// Gives the client the answer of a task.
///
/// # Errors
/// With the refusal, if the task fails before anything was sent.
pub async fn answer(started: Started, voice: impl Voice, streams: bool) -> Result<Response, ApiError> {
    if streams { stream(started, voice).await } else { whole(started, voice).await }
}

async fn whole(mut started: Started, voice: impl Voice) -> Result<Response, ApiError> {
    while let Some(news) = started.feed.next().await {
        let report = match news {
            News::End(report) => report,
            News::Broken(why) => return Err(ApiError::unavailable(why)),
            _ => continue,
        };
        let route = RouteHeaders::of(&started.name, &report);
        return match &report.ending {
            Ok(done) => Ok(headed(voice.whole(&report, done), &route, voice.location(started.task))),
            Err(failure) => Err(voice.error(failure, &report).route(route)),
        };
    }
    Err(stopping())
}

fn headed(mut response: Response, route: &RouteHeaders, location: Option<String>) -> Response {
    route.put(response.headers_mut());
    let location = location.and_then(|location| HeaderValue::try_from(location).ok());
    response.headers_mut().extend(location.map(|location| (header::CONTENT_LOCATION, location)));
    response
}

fn stopping() -> ApiError {
    ApiError::unavailable(
        "the edge is stopping, or its client took nothing of the answer for too long; ask again",
    )
}

async fn stream(started: Started, voice: impl Voice) -> Result<Response, ApiError> {
    let mut flow = Flow { spoke: Instant::now(), started, voice, early: VecDeque::new() };
    let route = flow.begin().await?;
    let location = flow.voice.location(flow.started.task);
    let headers = [
        (header::CONTENT_TYPE, flow.voice.media()),
        (header::CACHE_CONTROL, "no-cache"),
        // A proxy that gathers the answer would undo the streaming.
        (header::HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    let body = futures::stream::unfold(Some(flow), |flow| async {
        let mut flow = flow?;
        let (bytes, last) = flow.next().await;
        Some((Ok::<_, std::convert::Infallible>(bytes), (!last).then_some(flow)))
    });
    Ok(headed((headers, Body::from_stream(body)).into_response(), &route, location))
}

/// A stream to one client.
struct Flow<V> {
    started: Started,
    voice: V,
    /// News that came before the head was written.
    early: VecDeque<News>,
    /// When the client was last told something that its idle timer counts; at first, when it asked.
    spoke: Instant,
}

impl<V: Voice> Flow<V> {
    /// Waits until the head can be written.
    async fn begin(&mut self) -> Result<RouteHeaders, ApiError> {
        let mut route = RouteHeaders::new(&self.started.name);
        let mut until = self.spoke + self.voice.patience().min(self.started.idle_sign);
        while let Ok(news) = tokio::time::timeout_at(until, self.started.feed.next()).await {
            let news = news.ok_or_else(stopping)?;
            let decided = match &news {
                News::Queued { .. } => {
                    if self.voice.tells_of_the_line() {
                        until = until.min(Instant::now() + MOVING_LINE);
                    }
                    false
                }
                News::Accepted(holder) => {
                    route.accepted(holder);
                    false
                }
                News::Choice(_) => false,
                News::Pieces(..) | News::ChoiceEnd(_) => true,
                News::Broken(why) => return Err(ApiError::unavailable(*why)),
                News::End(report) => {
                    route = RouteHeaders::of(&self.started.name, report);
                    if let Err(failure) = &report.ending
                        && !self.voice.tells(failure)
                    {
                        return Err(self.voice.error(failure, report).route(route));
                    }
                    true
                }
            };
            self.early.push_back(news);
            if decided {
                break;
            }
        }
        Ok(route)
    }

    /// The next bytes, and whether they are the last.
    async fn next(&mut self) -> (Bytes, bool) {
        let mut out = Vec::with_capacity(256);
        loop {
            let last = match self.news().await {
                None => {
                    self.voice.idle(&mut out);
                    self.spoke = Instant::now();
                    false
                }
                Some(news) => self.say(news, &mut out),
            };
            if last || !out.is_empty() {
                return (out.into(), last);
            }
        }
    }

    /// The next news; `None` when a sign of life is due. News of the line put none off: most dialects do not tell them.
    async fn news(&mut self) -> Option<Option<News>> {
        if let Some(early) = self.early.pop_front() {
            return Some(Some(early));
        }
        let due = self.spoke + self.started.idle_sign;
        tokio::time::timeout_at(due, self.started.feed.next()).await.ok()
    }

    fn say(&mut self, news: Option<News>, out: &mut Vec<u8>) -> bool {
        let voice = &mut self.voice;
        match news {
            None => voice.broken(stopping(), None, out),
            Some(News::Broken(why)) => voice.broken(ApiError::unavailable(why), None, out),
            Some(News::Queued { position, expected_wait_ms }) => {
                voice.queued(position, expected_wait_ms, out);
                return false;
            }
            Some(News::Accepted(holder)) => {
                voice.accepted(&holder.node, &holder.model, out);
                return false;
            }
            Some(News::Choice(number)) => {
                voice.choice(number);
                return false;
            }
            Some(News::ChoiceEnd(reason)) => {
                voice.choice_ended(reason, out);
                return false;
            }
            Some(News::Pieces(first, pieces)) => {
                voice.next_is(first);
                voice.pieces(pieces, out);
                if !out.is_empty() {
                    self.spoke = Instant::now();
                }
                return false;
            }
            Some(News::End(report)) => match &report.ending {
                Ok(done) => voice.answered(&report, done, out),
                Err(failure) => voice.broken(voice.error(failure, &report), Some(&report), out),
            },
        }
        true
    }
}

/// Writes one server-sent event.
pub fn event(data: &impl serde::Serialize, out: &mut Vec<u8>) {
    out.extend_from_slice(b"data: ");
    serde_json::to_writer(&mut *out, data).expect("an event of texts and numbers is JSON");
    out.extend_from_slice(b"\n\n");
}
