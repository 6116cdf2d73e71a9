//! The way of every task's answer to its client, whatever the dialect: when the head is written, what follows it, and
//! how it ends. A dialect is a [`Voice`] and no more.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::header::{self, HeaderValue};
use axum::response::{IntoResponse, Response};
use echo_bus::id::{NodeId, TaskId};
use echo_bus::message::{Done, Failure, Piece, Reason};
use hyper::body::{Body as HttpBody, Frame};
use tokio::time::{Instant, Sleep, sleep_until};

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
pub trait Voice: Send + Unpin + 'static {
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
    let mut flow = Flow::new(started, voice);
    let route = flow.begin().await?;
    let location = flow.voice.location(flow.started.task);
    let headers = [
        (header::CONTENT_TYPE, flow.voice.media()),
        (header::CACHE_CONTROL, "no-cache"),
        // A proxy that gathers the answer would undo the streaming.
        (header::HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    Ok(headed((headers, Body::new(flow)).into_response(), &route, location))
}

/// A stream to one client: the body of its answer.
struct Flow<V> {
    started: Started,
    voice: V,
    /// News that came before the head was written.
    early: VecDeque<News>,
    /// When the client was last told something that its idle timer counts; at first, when it asked.
    spoke: Instant,
    /// One for all that is waited for. It may be due before anything is.
    alarm: Pin<Box<Sleep>>,
    has_ended: bool,
}

impl<V: Voice> Flow<V> {
    fn new(started: Started, voice: V) -> Self {
        let spoke = Instant::now();
        let alarm = Box::pin(sleep_until(spoke + voice.patience().min(started.idle_sign)));
        Self { started, voice, early: VecDeque::new(), spoke, alarm, has_ended: false }
    }

    /// Waits until the head can be written.
    async fn begin(&mut self) -> Result<RouteHeaders, ApiError> {
        let mut route = RouteHeaders::new(&self.started.name);
        let mut until = self.alarm.deadline();
        while let Some(news) = poll_fn(|cx| self.poll_news(until, cx)).await {
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

    /// The next news of the task; `None` if there are none until then.
    fn poll_news(&mut self, until: Instant, cx: &mut Context) -> Poll<Option<Option<News>>> {
        if let Poll::Ready(news) = pin!(self.started.feed.next()).poll(cx) {
            return Poll::Ready(Some(news));
        }
        // One that is due too early looks in vain and is set anew: cheaper than to set it at each piece.
        loop {
            if self.alarm.is_elapsed() || self.alarm.deadline() > until {
                self.alarm.as_mut().reset(until);
            }
            ready!(self.alarm.as_mut().poll(cx));
            if self.alarm.deadline() >= until {
                return Poll::Ready(None);
            }
        }
    }

    /// What is to be said next, and whether it is the last. News of the line put no sign of life off: most dialects do not
    /// tell them.
    fn poll_next(&mut self, cx: &mut Context) -> Poll<(Vec<u8>, bool)> {
        let mut out = Vec::new();
        loop {
            let news = match self.early.pop_front() {
                Some(early) => Some(Some(early)),
                None => ready!(self.poll_news(self.spoke + self.started.idle_sign, cx)),
            };
            let last = match news {
                None => {
                    self.voice.idle(&mut out);
                    self.spoke = Instant::now();
                    false
                }
                Some(news) => self.say(news, &mut out),
            };
            if last || !out.is_empty() {
                return Poll::Ready((out, last));
            }
        }
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

impl<V: Voice> HttpBody for Flow<V> {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.has_ended {
            return Poll::Ready(None);
        }
        let (bytes, last) = ready!(self.poll_next(cx));
        self.has_ended = last;
        Poll::Ready(Some(Ok(Frame::data(bytes.into()))))
    }

    fn is_end_stream(&self) -> bool {
        self.has_ended
    }
}

/// Writes one server-sent event.
pub fn event(data: &impl serde::Serialize, out: &mut Vec<u8>) {
    out.extend_from_slice(b"data: ");
    serde_json::to_writer(&mut *out, data).expect("an event of texts and numbers is JSON");
    out.extend_from_slice(b"\n\n");
}
