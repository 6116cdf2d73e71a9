//! The tasks of this edge as the HTTP side uses them: begin one, read its answer, join another one's, stop it.
//!
//! The [`Edge`] is behind one lock that is held for microseconds and never while anything is waited for. Whoever has an
//! event applies it and has the actions performed; the bus's events come by way of `inbox.rs`.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::time::Instant;

use echo_bus::Bus;
use echo_bus::clock::Now;
use echo_bus::id::TaskId;
use echo_bus::message::{AnswerPart, Memo, ReadAnswer, Request, Written};
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

use crate::edge::{Action, Asked, Edge, Event, Keep, New, Owner, ReaderId, Reads, Unjoined};
use crate::limits::Limits;
use crate::perform::Performer;
use crate::report::News;

/// Owns every task that a client is waiting for.
pub struct Tasks {
    pub bus: Bus,
    pub limits: Limits,
    /// What the edge has set going and not finished.
    pub tracker: TaskTracker,
    edge: Mutex<Edge>,
    performer: Performer,
}

/// What a client wants to be done, beside its request.
#[derive(Debug, Clone, Default)]
pub struct Wishes {
    pub traceparent: Option<String>,
    /// Other limits than the edge's own.
    pub limits: Option<Limits>,
    /// What stays while nobody reads.
    pub keep: Option<Keep>,
    /// What is to be read again with the request, which stays with the answer then; only who has its key can.
    pub memo: Option<Box<Memo>>,
    /// Whether others may read the answer too.
    pub joins: bool,
}

impl Tasks {
    /// Without tasks. `keep_memory` bounds the answers that are kept for nobody in particular, in bytes.
    /// What comes of the edge's questions goes to `answers`, and from there to [`Tasks::apply`].
    pub fn new(bus: Bus, limits: Limits, keep_memory: usize, answers: mpsc::Sender<Event>) -> Arc<Self> {
        let edge = Mutex::new(Edge::new(bus.me().id.clone(), keep_memory, Now::read()));
        let tracker = TaskTracker::new();
        let performer = Performer::start(bus.clone(), tracker.clone(), answers);
        Arc::new(Self { bus, limits, tracker, edge, performer })
    }

    fn edge(&self) -> MutexGuard<'_, Edge> {
        self.edge.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Decides, then acts.
    fn decide<T>(&self, decide: impl FnOnce(&mut Edge, Instant, &mut Vec<Action>) -> T) -> T {
        let mut actions = Vec::new();
        let mut edge = self.edge();
        let decided = decide(&mut edge, Instant::now(), &mut actions);
        // Messages are queued under the lock: what was decided first is said first. The rest may call back.
        let more: Vec<Action> =
            actions.into_iter().filter_map(|action| self.performer.say_or_return(action)).collect();
        drop(edge);
        more.into_iter().for_each(|action| self.performer.perform(action));
        decided
    }

    /// Something has happened.
    pub fn apply(&self, event: Event) {
        self.decide(|edge, now, out| edge.apply(event, now, out));
    }

    /// Begins a task and reads its answer.
    pub fn begin(self: &Arc<Self>, request: Request, wishes: Wishes, owner: Owner, reads: Reads) -> Reader {
        let limits = wishes.limits.unwrap_or_else(|| self.limits.clone());
        // Written before the edge is locked: a request may have megabytes.
        let text = wishes.keep.and_then(|_| Written::new(&request).ok());
        let request_bytes = text.as_ref().map_or(0, |text| weight(text.text()));
        let memo = wishes.memo.and_then(|memo| Written::new(&*memo).ok());
        let asked = text.zip(memo).map(|(request, memo)| {
            // It has nothing of the secret, which agents see in the names of inboxes.
            let (high, low) = uuid::Uuid::new_v4().as_u64_pair();
            Asked { key: high ^ low, request, memo }
        });
        let key = asked.as_ref().map_or(0, |asked| asked.key);
        let new = New {
            task: TaskId::random_at(&self.bus.me().id),
            secret: uuid::Uuid::new_v4().as_u128(),
            owner,
            request,
            traceparent: wishes.traceparent,
            limits,
            keep: wishes.keep,
            asked,
            request_bytes,
            joins: wishes.joins,
            reads,
        };
        let id = self.decide(|edge, now, out| edge.begin(new, now, out));
        Reader { tasks: self.clone(), id, key }
    }

    /// Reads the answer of a task of this edge: its pieces after the first so many.
    /// One that is kept with its request needs its key, and one that was begun with an API key is only its client's.
    ///
    /// # Errors
    /// When there is no such task here, or no such place in its answer.
    pub fn join(self: &Arc<Self>, question: &ReadAnswer) -> Result<Reader, Unjoined> {
        let id = self.edge().join(question, Instant::now())?;
        Ok(Reader { tasks: self.clone(), id, key: question.key.unwrap_or_default() })
    }

    /// Whether a task is this edge's own, or was.
    pub fn owns(&self, task: TaskId) -> bool {
        task.home() == TaskId::home_of(&self.bus.me().id)
    }

    /// What this edge can say of a task of its own now.
    pub fn answer(&self, question: &ReadAnswer) -> AnswerPart {
        self.decide(|edge, now, out| edge.answer(question, now, out))
    }

    /// How many tasks have not ended.
    pub fn running(&self) -> usize {
        self.edge().running()
    }

    /// Whether somebody reads an answer, here or by way of another edge.
    pub fn is_read(&self) -> bool {
        self.edge().is_read(Instant::now())
    }

    /// Waits until all that was decided is done; not for tasks.
    pub async fn finish(&self) {
        self.performer.close();
        self.tracker.close();
        self.tracker.wait().await;
    }
}

/// Reads one answer. Dropping it is the client's going: the last one's ends a task that is not kept.
pub struct Reader {
    tasks: Arc<Tasks>,
    id: ReaderId,
    key: u64,
}

/// What JSON takes in memory once it is read, about: beside its text, a value for each that stands in it.
fn weight(json: &str) -> usize {
    let (mut values, mut in_text, mut escaped) = (1, false, false);
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = in_text,
            b'"' => in_text = !in_text,
            b',' | b':' | b'[' | b'{' if !in_text => values += 1,
            _ => {}
        }
    }
    json.len() + values * size_of::<serde_json::Value>()
}

impl Reader {
    pub fn task(&self) -> TaskId {
        self.id.task
    }

    /// What opens the answer for whoever comes later, if it is kept with its request.
    pub fn key(&self) -> u64 {
        self.key
    }

    /// The next news; `None` after the end.
    pub async fn next(&mut self) -> Option<News> {
        std::future::poll_fn(|context| self.poll(context.waker())).await
    }

    /// The same for who looks at several readers; `waker` is woken when there is something.
    pub fn poll(&self, waker: &Waker) -> Poll<Option<News>> {
        self.tasks.decide(|edge, now, out| edge.read(self.id, waker, now, out))
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.tasks.apply(Event::Left(self.id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_of_many_small_values_weighs_what_they_take_and_a_text_its_length() {
        let value = size_of::<serde_json::Value>();
        let ones = format!("[{}1]", "1,".repeat(9_999));
        assert!((10_000 * value..10_002 * value + ones.len() + 1).contains(&weight(&ones)));
        let text = format!(r#"{{"a":"{}\\\",[{{:"}}"#, ",:[{".repeat(1_000));
        assert!((text.len()..text.len() + 4 * value).contains(&weight(&text)), "{}", weight(&text));
    }
}
