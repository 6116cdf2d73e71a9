//! Readers at other edges. An edge that is asked for a task of another one's fetches the answer piece by piece: it asks
//! for what comes after the pieces it has, and is answered as soon as there is something. A question or an answer that is
//! lost on the bus is asked again, so every piece arrives once; and there is nothing to tear down.

use std::time::{Duration, Instant};

use echo_bus::id::{Inbox, TaskId};
use echo_bus::message::{AnswerPart, AnswerTurn, End, Portion, ReadAnswer};

use super::event::{Action, Asked};
use super::kept::{Absent, Gone};
use super::readers::Unjoined;
use super::time::Stopped;
use super::{Edge, Task};
use crate::answer::{Answer, Cursor, Next, weight};
use crate::report::{AnsweredBy, Report};

/// Bytes of pieces in one message, about.
const PORTION: usize = 128 * 1024;
/// The longest that a question waits for something to tell.
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// After the word that a client has left, another edge's clients have so long to ask again.
const LEFT: Duration = Duration::from_secs(2);
/// Questions for one task that wait at the same time; the oldest are answered for others.
const PARKED: usize = 64;

/// A question that waits for something to tell.
#[derive(Debug)]
pub(super) struct Parked {
    reply: Inbox,
    question: ReadAnswer,
    pub until: Instant,
}

impl Edge {
    /// Another edge reads an answer for a client, or ends its task.
    pub(super) fn asked(
        &mut self,
        question: &ReadAnswer,
        reply: Option<Inbox>,
        now: Instant,
        out: &mut Vec<Action>,
    ) {
        let Some(to) = reply else { return };
        let wait = Duration::from_millis(question.wait_ms).min(LONGEST_WAIT);
        let part = self.answer(question, now, out);
        let is_nothing = matches!(&part, AnswerPart::Part(part) if part.is_nothing());
        let reads = |task: &&mut Task| !question.stops && !question.cancels && task.opens(question);
        let Some(task) = self.tasks.get_mut(&question.task).filter(reads) else {
            return out.push(Action::Tell { to, part: Box::new(part) });
        };
        task.note_elsewhere(question, wait, &part, now);
        if wait.is_zero() || !is_nothing {
            return out.push(Action::Tell { to, part: Box::new(part) });
        }
        if task.parked.len() == PARKED {
            let oldest = task.parked.remove(0);
            out.push(Action::Tell { to: oldest.reply, part: Box::new(AnswerPart::Part(Box::default())) });
        }
        task.parked.push(Parked { reply: to, question: question.clone(), until: now + wait });
    }

    /// What can be told to a question now. Whoever asks for an answer counts as a reader that has come and gone.
    pub fn answer(&mut self, question: &ReadAnswer, now: Instant, out: &mut Vec<Action>) -> AnswerPart {
        let Some(task) = self.tasks.get_mut(&question.task) else {
            return absence(self.kept.absent(question));
        };
        // Whoever watches can end what runs, by a name that is shown, and is told nothing but whether it ran: their own tasks,
        // or, who manages the mesh, anybody's.
        let is_theirs = question.manages || task.owner.name() == question.client.as_ref();
        let only_cancels = question.cancels && !question.stops && question.key.is_none() && is_theirs;
        if !only_cancels && !task.opens(question) {
            return AnswerPart::Unknown;
        }
        if question.stops || question.cancels {
            let stopped = self.stop(question.task, question.stops, now, out);
            return stopped.map_or(AnswerPart::Unknown, |stopped| AnswerPart::Stopped {
                ran: stopped == Stopped::Cancelled,
            });
        }
        task.alone_since = None;
        if question.asks_request { task.stand() } else { task.part(question) }
    }

    /// Answers the questions that there is something for now, and those that have waited long enough.
    pub(super) fn answer_parked(&mut self, id: TaskId, now: Instant, out: &mut Vec<Action>) {
        let Some(task) = self.tasks.get_mut(&id) else { return };
        for parked in std::mem::take(&mut task.parked) {
            let part = task.part(&parked.question);
            if now < parked.until && matches!(&part, AnswerPart::Part(part) if part.is_nothing()) {
                task.parked.push(parked);
            } else {
                out.push(Action::Tell { to: parked.reply, part: Box::new(part) });
            }
        }
    }
}

impl Task {
    /// A client of another edge reads, or has left. It has as long for a portion as a client here.
    fn note_elsewhere(&mut self, question: &ReadAnswer, wait: Duration, part: &AnswerPart, now: Instant) {
        let goes_on = matches!(part, AnswerPart::Part(part) if part.end.is_none());
        if question.leaves {
            self.read_elsewhere = self.read_elsewhere.map(|until| until.min(now + LEFT));
        } else if question.stays && goes_on {
            self.read_elsewhere = Some(now + wait + self.attempts.limits().client);
        }
    }

    /// What was asked, and how far the answer is. No piece of it is read by that, so it may still begin anew.
    fn stand(&self) -> AnswerPart {
        let Some(Asked { request, memo, .. }) = self.asked.clone() else {
            return AnswerPart::Part(Box::default());
        };
        let answer = &self.attempts.answer;
        let turn = answer.last_turn().map(|(after, by)| turn(after, by.clone()));
        AnswerPart::Part(Box::new(Portion {
            request: Some(request),
            memo: Some(memo),
            turns: turn.into_iter().collect(),
            end: answer.ended().map(|report| Box::new(end(report))),
            ..Portion::default()
        }))
    }

    /// What comes after the pieces that a reader has.
    fn part(&mut self, question: &ReadAnswer) -> AnswerPart {
        let cursor = match self.place(question.after) {
            Ok(cursor) => cursor,
            Err(Unjoined::AtEnd) => return AnswerPart::AtEnd,
            Err(Unjoined::Ahead(pieces)) => return AnswerPart::Ahead { pieces },
            Err(Unjoined::Never) => return AnswerPart::Never,
            Err(Unjoined::Absent(_)) => return AnswerPart::Unknown,
        };
        let mut part = part_of(&mut self.attempts.answer, cursor);
        part.turns.retain(|turn| turn.attempts > question.attempts);
        AnswerPart::Part(Box::new(part))
    }
}

/// What comes from here on, as much as one message takes.
fn part_of(answer: &mut Answer, mut cursor: Cursor) -> Portion {
    let mut part = Portion { first: cursor.number + 1, ..Portion::default() };
    let mut bytes = 0;
    loop {
        match answer.read(&mut cursor, PORTION.saturating_sub(bytes)) {
            Next::Turn(by) => part.turns.push(turn(cursor.number, *by)),
            Next::Pieces(_, pieces) => {
                bytes += pieces.iter().map(weight).sum::<usize>();
                part.pieces.extend(pieces);
                if bytes >= PORTION {
                    break;
                }
            }
            Next::Nothing => break,
        }
    }
    if !answer.has_more(&cursor) {
        part.end = answer.ended().map(|report| Box::new(end(report)));
    }
    part
}

fn turn(after: u64, by: AnsweredBy) -> AnswerTurn {
    AnswerTurn {
        after,
        node: by.node,
        model: by.model,
        attempts: by.attempts,
        waited_ms: u64::try_from(by.waited.as_millis()).unwrap_or(u64::MAX),
        chosen: by.chosen,
    }
}

fn end(report: &Report) -> End {
    End {
        ending: report.ending.clone(),
        nodes: report.nodes.clone(),
        model: report.model.clone(),
        chosen: report.chosen.clone(),
        why: report.why.as_deref().cloned(),
        attempts: report.attempts,
        latency_ms: u64::try_from(report.latency.as_millis()).unwrap_or(u64::MAX),
        waited_ms: u64::try_from(report.waited.as_millis()).unwrap_or(u64::MAX),
    }
}

fn absence(absent: Absent) -> AnswerPart {
    match absent {
        Absent::Unknown => AnswerPart::Unknown,
        Absent::Gone(Gone::Expired) => AnswerPart::Gone { evicted: false },
        Absent::Gone(Gone::Evicted) => AnswerPart::Gone { evicted: true },
    }
}
