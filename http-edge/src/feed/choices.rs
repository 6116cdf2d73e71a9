//! Several answers to one request as one: each is a task of its own, and all of them succeed or none does.

use std::collections::VecDeque;
use std::task::{Context, Poll};

use echo_bus::id::TaskId;

use crate::report::{News, Report};
use crate::tasks::Reader;

/// The news of all answers, each with the number of its choice before it.
pub struct Choices {
    task: TaskId,
    /// Those that have not ended. Whoever has told something goes last: an answer that is always ahead of its client
    /// keeps no other one waiting.
    running: Vec<(usize, Reader)>,
    ended: Vec<(usize, Report)>,
    news: VecDeque<News>,
    /// Whose news are told.
    turn: Option<usize>,
    accepted: bool,
}

impl Choices {
    /// The answers of these tasks, of which `first` gives its id to all.
    pub fn new(first: Reader, others: impl Iterator<Item = Reader>) -> Self {
        let task = first.task();
        let running = std::iter::once(first).chain(others).enumerate().collect();
        Self { task, running, ended: Vec::new(), news: VecDeque::new(), turn: None, accepted: false }
    }

    pub fn task(&self) -> TaskId {
        self.task
    }

    /// The next news; `None` after the end. Cancel-safe.
    pub async fn next(&mut self) -> Option<News> {
        loop {
            if let Some(news) = self.news.pop_front() {
                return Some(news);
            }
            let (choice, news) = std::future::poll_fn(|context| self.poll(context)).await?;
            self.hear(choice, news);
        }
    }

    fn poll(&mut self, context: &Context<'_>) -> Poll<Option<(usize, Option<News>)>> {
        for place in 0..self.running.len() {
            if let Poll::Ready(news) = self.running[place].1.poll(context.waker()) {
                let heard = self.running.remove(place);
                let choice = heard.0;
                self.running.push(heard);
                return Poll::Ready(Some((choice, news)));
            }
        }
        if self.running.is_empty() { Poll::Ready(None) } else { Poll::Pending }
    }

    fn hear(&mut self, choice: usize, news: Option<News>) {
        match news {
            Some(News::End(report)) => self.end(choice, report),
            Some(News::Pieces(..)) => {
                self.turn_to(choice);
                self.news.extend(news);
            }
            // Where the answer is made is told of the one that was accepted first.
            Some(News::Accepted(_)) if std::mem::replace(&mut self.accepted, true) => {}
            Some(News::Accepted(_) | News::Queued { .. } | News::Choice(_) | News::ChoiceEnd(_)) => {
                self.news.extend(news);
            }
            // Nobody may take the rest for all: the other tasks end, too.
            Some(News::Broken(_)) | None => {
                self.running.clear();
                self.news.extend(news);
            }
        }
    }

    fn end(&mut self, choice: usize, report: Box<Report>) {
        let Ok(done) = &report.ending else {
            // The readers are dropped here and not when the client has read this: their engines are stopped at once.
            self.running.clear();
            self.news.push_back(News::End(report));
            return;
        };
        let reason = done.reason;
        self.turn_to(choice);
        self.news.push_back(News::ChoiceEnd(reason));
        self.running.retain(|(running, _)| *running != choice);
        self.ended.push((choice, *report));
        if self.running.is_empty() {
            self.ended.sort_by_key(|(choice, _)| *choice);
            let mut reports = std::mem::take(&mut self.ended).into_iter().map(|(_, report)| report);
            let first = reports.next().expect("one has just ended");
            self.news.push_back(News::End(Box::new(Report { others: reports.collect(), ..first })));
        }
    }

    fn turn_to(&mut self, choice: usize) {
        if self.turn.replace(choice) != Some(choice) {
            self.news.push_back(News::Choice(choice));
        }
    }
}
