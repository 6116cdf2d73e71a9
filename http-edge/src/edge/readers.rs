//! Who reads an answer, and how far: each reader fetches from the log at its own pace.
//!
//! A reader that finds nothing leaves a waker, which is used once. One that has something to read and does not fetch it
//! for the client's limit counts as gone. When the last one goes, the task's policy decides ([`super::kept`]).

use std::task::{Poll, Waker};
use std::time::Instant;

use echo_bus::id::TaskId;
use echo_bus::message::{AnswerPart, ReadAnswer, What};

use super::event::{Action, ReaderId, Reads};
use super::kept::{Absent, Gone};
use super::{Edge, Task};
use crate::answer::{Cursor, Next};
use crate::report::News;

/// Bytes of pieces that a reader gets at once, about.
const PORTION: usize = 64 * 1024;

#[derive(Debug)]
pub(super) struct Reader {
    number: u32,
    reads: Reads,
    cursor: Cursor,
    /// How many places in line it was told, of those that the task was told.
    told_lines: u32,
    waker: Option<Waker>,
    /// Since when something waits for it.
    behind_since: Option<Instant>,
}

/// Where somebody who has so many pieces cannot begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unjoined {
    Absent(Absent),
    /// There are only so many pieces.
    Ahead(u64),
    /// All has been read, the end too.
    AtEnd,
    /// This kind of answer cannot be joined.
    Never,
}

impl Unjoined {
    /// What another edge's word means for who wants to join.
    pub fn of(part: &AnswerPart) -> Self {
        match part {
            AnswerPart::AtEnd => Self::AtEnd,
            AnswerPart::Ahead { pieces } => Self::Ahead(*pieces),
            AnswerPart::Never => Self::Never,
            AnswerPart::Gone { evicted: true } => Self::Absent(Absent::Gone(Gone::Evicted)),
            AnswerPart::Gone { evicted: false } => Self::Absent(Absent::Gone(Gone::Expired)),
            AnswerPart::Part(_) | AnswerPart::Stopped { .. } | AnswerPart::TooLarge | AnswerPart::Unknown => {
                Self::Absent(Absent::Unknown)
            }
        }
    }
}

impl Edge {
    /// A reader that has the pieces up to the place of the question.
    ///
    /// # Errors
    /// When there is no such task, or no such place in its answer.
    pub fn join(&mut self, question: &ReadAnswer, now: Instant) -> Result<ReaderId, Unjoined> {
        let (id, after) = (question.task, question.after);
        let Some(task) = self.tasks.get_mut(&id) else {
            return Err(Unjoined::Absent(self.kept.absent(question)));
        };
        if !task.opens(question) {
            return Err(Unjoined::Absent(Absent::Unknown));
        }
        let cursor = task.place(after)?;
        Ok(task.reader(id, Reads::Pieces, cursor, now))
    }

    /// The next news for a reader. Without any, `waker` is used once there are some. `None` after the end, and for a
    /// reader that is not there any more.
    pub fn read(
        &mut self,
        id: ReaderId,
        waker: &Waker,
        now: Instant,
        out: &mut Vec<Action>,
    ) -> Poll<Option<News>> {
        let Some(task) = self.tasks.get_mut(&id.task) else { return Poll::Ready(None) };
        let Some(news) = task.next(id, waker, now) else { return Poll::Ready(None) };
        if let Poll::Ready(News::End(_)) = &news {
            task.readers.retain(|reader| reader.number != id.number);
            self.keep_or_drop(id.task, now, out);
        }
        news.map(Some)
    }

    /// A reader reads no more. The last one's going may end the task.
    pub(super) fn left(&mut self, id: ReaderId, why: &'static str, now: Instant, out: &mut Vec<Action>) {
        let Some(task) = self.tasks.get_mut(&id.task) else { return };
        task.readers.retain(|reader| reader.number != id.number);
        self.keep_or_drop_because(id.task, why, now, out);
    }

    /// Readers that do not take what waits for them.
    pub(super) fn drop_slow(&mut self, id: TaskId, now: Instant, out: &mut Vec<Action>) {
        let Some(task) = self.tasks.get_mut(&id) else { return };
        let limit = task.attempts.limits().client;
        let before = task.readers.len();
        task.readers.retain(|reader| reader.behind_since.is_none_or(|since| now < since + limit));
        if task.readers.len() < before {
            let why = "the client took nothing of its answer for too long";
            self.keep_or_drop_because(id, why, now, out);
        }
    }

    /// The answer of a task has grown or ended.
    pub(super) fn grew(&mut self, id: TaskId, now: Instant, out: &mut Vec<Action>) {
        if let Some(task) = self.tasks.get_mut(&id) {
            task.wake_readers(now, out);
            self.answer_parked(id, now, out);
        }
    }

    /// Nobody waits for the task's end: it is cancelled down to its engine.
    pub(super) fn hang_up(&mut self, id: TaskId, why: &'static str, out: &mut Vec<Action>) {
        self.withdraw(id, None, out);
        if let Some(task) = self.tasks.get_mut(&id) {
            task.owner.charge(&task.attempts, None);
            let client = task.owner.name().cloned();
            let news = task.news(What::Cancelled);
            out.push(Action::Announce(Box::new(echo_bus::message::Event { detail: why.to_owned(), ..news })));
            out.push(Action::HungUp { task: id, client, why });
        }
    }
}

impl Task {
    /// A further reader.
    pub(super) fn reader(&mut self, task: TaskId, reads: Reads, cursor: Cursor, now: Instant) -> ReaderId {
        let number = self.next_reader;
        self.next_reader += 1;
        // Until it has looked for the first time, something may wait for it.
        let reader = Reader { number, reads, cursor, told_lines: 0, waker: None, behind_since: Some(now) };
        self.readers.push(reader);
        self.alone_since = None;
        ReaderId { task, number }
    }

    /// Where somebody begins who has the pieces up to `after`. Who has some has read them: they stay as they are.
    pub(super) fn place(&mut self, after: u64) -> Result<Cursor, Unjoined> {
        if self.trimmed {
            return Err(Unjoined::Never);
        }
        let has_ended = self.attempts.has_ended();
        let answer = &mut self.attempts.answer;
        if after > 0 && after <= answer.len() {
            answer.note_read();
        }
        if after == answer.len() + 1 && has_ended {
            return Err(Unjoined::AtEnd);
        }
        answer.cursor(after).ok_or_else(|| Unjoined::Ahead(answer.len()))
    }

    fn next(&mut self, id: ReaderId, waker: &Waker, now: Instant) -> Option<Poll<News>> {
        let answer = &mut self.attempts.answer;
        let reader = self.readers.iter_mut().find(|reader| reader.number == id.number)?;
        // What is still there after this was there before: from now on the reader is behind.
        reader.behind_since = Some(now);
        if reader.reads == Reads::Pieces {
            let told = std::mem::replace(&mut reader.told_lines, self.lines);
            if let Some((position, expected_wait_ms)) = self.line.filter(|_| told < self.lines) {
                return Some(Poll::Ready(News::Queued { position, expected_wait_ms }));
            }
            match answer.read(&mut reader.cursor, PORTION) {
                Next::Turn(holder) => return Some(Poll::Ready(News::Accepted(holder))),
                Next::Pieces(first, pieces) => {
                    if !answer.has_more(&reader.cursor) && answer.ended().is_none() {
                        reader.behind_since = None;
                    }
                    if self.trimmed {
                        let read = self.readers.iter().filter(|it| it.reads == Reads::Pieces);
                        answer.trim(read.map(|it| it.cursor.number).min().unwrap_or_default());
                    }
                    return Some(Poll::Ready(News::Pieces(first, pieces)));
                }
                Next::Nothing => {}
            }
        }
        if let Some(report) = answer.report(reader.reads == Reads::End) {
            return Some(Poll::Ready(News::End(report)));
        }
        reader.behind_since = None;
        reader.waker = Some(waker.clone());
        Some(Poll::Pending)
    }

    /// There is something new for the readers.
    pub(super) fn wake_readers(&mut self, now: Instant, out: &mut Vec<Action>) {
        let has_ended = self.attempts.answer.ended().is_some();
        for reader in &mut self.readers {
            if reader.reads == Reads::Pieces || has_ended {
                reader.behind_since.get_or_insert(now);
                if let Some(waker) = reader.waker.take() {
                    out.push(Action::Wake(waker));
                }
            }
        }
    }

    pub(super) fn has_slow(&self, now: Instant) -> bool {
        let limit = self.attempts.limits().client;
        self.readers.iter().any(|reader| reader.behind_since.is_some_and(|since| now >= since + limit))
    }
}
