//! Where the news of an answer come from: a task of this edge, one of another edge, or several tasks as one.

mod choices;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use echo_bus::client::CallError;
use echo_bus::id::TaskId;
use echo_bus::message::{AnswerPart, AnswerTurn, End, Piece, Portion, ReadAnswer, Relayed};
use echo_bus::subject;
use futures::future::BoxFuture;
use tokio::sync::mpsc;

use crate::edge::Unjoined;
use crate::report::{AnsweredBy, News, Report};
use crate::tasks::{Reader, Tasks};
pub use choices::Choices;

/// How long the owner of a task may take for what it does not wait for; it answers from memory.
pub const WITHIN: Duration = Duration::from_secs(2);
/// How long the owner of a task may wait for something to tell.
const WAIT: Duration = Duration::from_secs(5);
/// How long its word may take beyond that.
const WORD: Duration = Duration::from_secs(2);
/// An owner that is not there for so long does not come back: it or its broker would have by then.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two questions to an owner that is not there.
const PAUSE: Duration = Duration::from_millis(200);

/// News of one answer.
pub enum Feed {
    Here(Reader),
    Elsewhere(Box<Elsewhere>),
    /// Several answers to one request.
    Choices(Box<Choices>),
    /// Gathered from several tasks; the first of them gives it its id.
    Gathered(TaskId, mpsc::Receiver<News>),
}

impl Feed {
    pub fn task(&self) -> TaskId {
        match self {
            Self::Here(reader) => reader.task(),
            Self::Elsewhere(elsewhere) => elsewhere.question.task,
            Self::Choices(choices) => choices.task(),
            Self::Gathered(task, _) => *task,
        }
    }

    /// The next news; `None` after the end. Cancel-safe.
    pub async fn next(&mut self) -> Option<News> {
        match self {
            Self::Here(reader) => reader.next().await,
            Self::Elsewhere(elsewhere) => elsewhere.next().await,
            Self::Choices(choices) => choices.next().await,
            Self::Gathered(_, news) => news.recv().await,
        }
    }
}

/// The answer of another edge's task.
pub struct Elsewhere {
    tasks: Arc<Tasks>,
    question: ReadAnswer,
    news: VecDeque<News>,
    ended: bool,
    /// The question under way: it outlives a caller that looks away for a sign of life.
    pending: Option<(Instant, Asking)>,
    /// Since when the owner has not answered.
    silent_since: Option<Instant>,
}

type Asking = BoxFuture<'static, Result<AnswerPart, CallError>>;

impl Elsewhere {
    /// Goes on from what the owner has said first, to this question.
    pub fn new(tasks: Arc<Tasks>, asked: ReadAnswer, first: Portion) -> Self {
        let wait_ms = u64::try_from(WAIT.as_millis()).unwrap_or(u64::MAX);
        let question = ReadAnswer { wait_ms, stays: true, ..asked };
        let news = VecDeque::new();
        let mut elsewhere = Self { tasks, question, news, ended: false, pending: None, silent_since: None };
        elsewhere.take(first);
        elsewhere
    }

    async fn next(&mut self) -> Option<News> {
        loop {
            if let Some(news) = self.news.pop_front() {
                return Some(news);
            }
            if self.ended {
                return None;
            }
            let (tasks, question) = (&self.tasks, &self.question);
            let (asked, pending) = self.pending.get_or_insert_with(|| {
                let (tasks, question) = (tasks.clone(), question.clone());
                (Instant::now(), Box::pin(async move { ask(&tasks, &question, WAIT + WORD).await }))
            });
            let (answer, asked) = (pending.await, *asked);
            self.hear(answer, asked);
        }
    }

    fn hear(&mut self, answer: Result<AnswerPart, CallError>, asked: Instant) {
        self.pending = None;
        match answer {
            Ok(AnswerPart::Part(part)) => {
                self.silent_since = None;
                // Too many ask for this task: nobody is to ask without a pause.
                if part.is_nothing() && asked.elapsed() < WAIT / 2 {
                    self.pause();
                }
                self.take(*part);
            }
            Ok(AnswerPart::AtEnd) => self.ended = true,
            Ok(_) => self.broken("the task was ended, and its answer is kept no longer"),
            Err(_) => {
                let since = *self.silent_since.get_or_insert(asked);
                if since.elapsed() >= PATIENCE {
                    return self.broken("the edge that made the answer is gone, and the answer with it");
                }
                self.pause();
            }
        }
    }

    /// The next question waits a little.
    fn pause(&mut self) {
        let (tasks, question) = (self.tasks.clone(), self.question.clone());
        let later = async move {
            tokio::time::sleep(PAUSE).await;
            ask(&tasks, &question, WAIT + WORD).await
        };
        self.pending = Some((Instant::now(), Box::pin(later)));
    }

    fn take(&mut self, part: Portion) {
        let mut number = self.question.after;
        let mut turns = part.turns.into_iter().peekable();
        let mut pieces = part.pieces.into_iter().peekable();
        while turns.peek().is_some() || pieces.peek().is_some() {
            while let Some(turn) = turns.next_if(|turn| turn.after <= number || pieces.peek().is_none()) {
                self.question.attempts = self.question.attempts.max(turn.attempts);
                let waited = Duration::from_millis(turn.waited_ms);
                let (node, model, attempts, chosen) = (turn.node, turn.model, turn.attempts, turn.chosen);
                let by = AnsweredBy { node, model, attempts, waited, chosen };
                self.news.push_back(News::Accepted(Box::new(by)));
            }
            let until = turns.peek().map_or(u64::MAX, |turn| turn.after);
            let first = number + 1;
            let mut together = Vec::new();
            while number < until
                && let Some(piece) = pieces.next()
            {
                together.push(piece);
                number += 1;
            }
            if !together.is_empty() {
                self.news.push_back(News::Pieces(first, together));
            }
        }
        self.question.after = number;
        if let Some(end) = part.end {
            self.ended = true;
            self.news.push_back(News::End(Box::new(report(*end))));
        }
    }

    fn broken(&mut self, why: &'static str) {
        self.ended = true;
        self.news.push_back(News::Broken(why));
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        let question = ReadAnswer { leaves: true, stays: false, wait_ms: 0, ..self.question.clone() };
        let tasks = self.tasks.clone();
        // The owner notices by itself, too, only later.
        self.tasks.tracker.spawn(async move { _ = ask(&tasks, &question, WORD).await });
    }
}

/// Asks the owner of a task, be it this edge or another.
///
/// # Errors
/// When the owner is not there, or does not answer.
pub async fn ask(
    tasks: &Arc<Tasks>,
    question: &ReadAnswer,
    within: Duration,
) -> Result<AnswerPart, CallError> {
    if tasks.owns(question.task) {
        return Ok(tasks.answer(question));
    }
    tasks.bus.call(&subject::answer_of(question.task), question, within).await
}

/// What there is of an answer.
#[derive(Debug, Default)]
pub struct SoFar {
    pub pieces: Vec<Piece>,
    pub turn: Option<AnswerTurn>,
    pub end: Option<Box<End>>,
}

/// Why nothing of an answer can be read.
#[derive(Debug)]
pub enum Unread {
    /// The owner of the task says nothing.
    Silent(CallError),
    /// There is no such task, or no such place in its answer.
    Unjoined(Unjoined),
}

/// Reads an answer on from the place of the question, here or at the edge that owns it.
///
/// # Errors
/// When the owner is not there, does not answer, or has no such place.
pub async fn join(tasks: &Arc<Tasks>, question: ReadAnswer) -> Result<Feed, Unread> {
    if tasks.owns(question.task) {
        let joined = tasks.join(&question);
        return joined.map(Feed::Here).map_err(Unread::Unjoined);
    }
    let question = ReadAnswer { stays: true, ..question };
    match ask(tasks, &question, WITHIN).await.map_err(Unread::Silent)? {
        AnswerPart::Part(first) => {
            Ok(Feed::Elsewhere(Box::new(Elsewhere::new(tasks.clone(), question, *first))))
        }
        other => Err(Unread::Unjoined(Unjoined::of(&other))),
    }
}

/// Reads all that is there now, after the place of the question; what is made meanwhile is not waited for.
///
/// # Errors
/// When the owner is not there, does not answer, or has nothing of the answer.
pub async fn so_far(tasks: &Arc<Tasks>, mut question: ReadAnswer) -> Result<SoFar, Unread> {
    let mut all = SoFar::default();
    // One message holds a portion of a long answer.
    loop {
        let part = match ask(tasks, &question, WITHIN).await.map_err(Unread::Silent)? {
            AnswerPart::Part(part) => *part,
            // All was read with the part before.
            AnswerPart::AtEnd => return Ok(all),
            other => return Err(Unread::Unjoined(Unjoined::of(&other))),
        };
        let is_all = part.pieces.is_empty() || part.end.is_some();
        question.after += part.pieces.len() as u64;
        all.pieces.extend(part.pieces);
        all.turn = part.turns.into_iter().next_back().or(all.turn);
        question.attempts = all.turn.as_ref().map_or(question.attempts, |turn| turn.attempts);
        all.end = part.end;
        if is_all {
            return Ok(all);
        }
        // A long answer of this edge's own is here at once: others have their turn in between.
        tokio::task::yield_now().await;
    }
}

/// How another edge's task ended; its pieces have come before.
fn report(end: End) -> Report {
    Report {
        ending: end.ending,
        content: String::new(),
        thinking: String::new(),
        tool_calls: Vec::new(),
        logprobs: Vec::new(),
        extra: serde_json::Map::new(),
        nodes: end.nodes,
        model: end.model,
        chosen: end.chosen,
        why_text: end.why.as_ref().and_then(|why| Relayed::written(why).ok()),
        why: end.why.map(Arc::new),
        attempts: end.attempts,
        latency: Duration::from_millis(end.latency_ms),
        waited: Duration::from_millis(end.waited_ms),
        continued: Default::default(),
        others: Vec::new(),
        order: Vec::new(),
    }
}
