//! The orchestrator itself: the real [`State`], which gets the events of a mesh and does what it does about them.

use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::time::{Duration, Instant};

use echo_bus::id::{Inbox, TaskId};
use echo_bus::message::{CacheDigest, Code, Failure, Frame, Heartbeat, Prefix, Submission, Task};
use serde_json::json;

use super::digest::Text;
use super::ids::task_id;
use super::parts::Proposal;
use super::text::{self, Texts};
use super::world::{Mesh, Policy};
use crate::config::Limits;
use crate::event::{Action, Answer, Asked, Event};
use crate::reason::Reason;
use crate::state::State;
use echo_bus::clock::Now;

/// As long as a task may live.
const HOUR_MS: u64 = 3_600_000;

/// An orchestrator of the product.
#[derive(Debug)]
pub struct Product {
    state: State,
    start: Instant,
    texts: Texts,
    /// Tasks say whose they are.
    names_clients: bool,
    /// Tasks that are held, by their id and by where their frames go.
    tasks: HashMap<TaskId, usize>,
    inboxes: HashMap<Inbox, usize>,
}

impl Product {
    /// The orchestrator of this number. Nothing that waits is given up: what a deadline would hide is to be seen.
    pub fn new(number: usize, proposal: Proposal, mesh: &Mesh) -> Self {
        let Proposal { texts, weights, names_clients, .. } = proposal;
        let limits = Limits {
            queue_limit: 1_000_000,
            queue_wait: Duration::from_secs(86_400),
            evict_after: Limits::default().evict_after.mul_f64(mesh.beat()),
            weights,
            ..Limits::default()
        };
        let start = Instant::now();
        let now = Now { at: start, unix_ms: 0 };
        let me = format!("o{number}").parse().expect("a letter and a number are an id");
        let boot = format!("o{number}-1").parse().expect("so is this");
        let state = State::new(me, boot, limits, now);
        Self { state, start, texts, names_clients, tasks: HashMap::new(), inboxes: HashMap::new() }
    }

    fn apply(&mut self, event: Event, mesh: &mut Mesh) {
        let now =
            Now { at: self.start + Duration::from_secs_f64(mesh.now), unix_ms: (mesh.now * 1e3) as u64 };
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            for action in self.state.apply(event, now) {
                match action {
                    Action::Dispatch { asked, reason, .. } => {
                        let answer = self.dispatch(&asked, expected(&reason), mesh);
                        events.push_back(Event::Answered { asked, answer });
                    }
                    Action::Answer { to, answer: Submission::Refused(_) }
                    | Action::Frame { to, frame: Frame::Failed { .. } } => self.fail(&to, mesh),
                    Action::Frame { to, frame: Frame::Queued { expected_wait_ms, .. } } => {
                        let wait = expected_wait_ms.zip(self.inboxes.get(&to));
                        wait.into_iter().for_each(|(ms, &task)| mesh.tell_wait(task, ms as f64 / 1e3));
                    }
                    // The rest is talk with edges and watchers.
                    _ => {}
                }
            }
        }
    }

    /// What the agent says to a task.
    fn dispatch(&mut self, asked: &Asked, expected: Option<f64>, mesh: &mut Mesh) -> Answer {
        let (task, node) = (self.tasks.get(&asked.id.task), mesh.find(&asked.node));
        let (Some(&task), Some(node)) = (task, node) else { return Answer::NoResponders };
        if !mesh.offer(task, node) {
            return Answer::Refused(Failure::elsewhere(Code::Full, "all slots are taken"));
        }
        if let Some(seconds) = expected {
            mesh.tell_end(task, seconds);
        }
        self.tasks.remove(&asked.id.task);
        Answer::Accepted { heartbeat: mesh.agent(node).number }
    }

    fn fail(&mut self, to: &Inbox, mesh: &mut Mesh) {
        if let Some(task) = self.inboxes.remove(to)
            && self.tasks.remove(&task_id(task)).is_some()
        {
            mesh.fail(task);
        }
    }

    /// A submission as an edge makes it.
    fn submission(&mut self, task: usize, mesh: &mut Mesh) -> Option<Event> {
        let inbox = Inbox::try_from(format!("_INBOX.edge.e.{task}-1")).ok()?;
        let bare = json!({"task": task_id(task), "inbox": inbox, "remaining_ms": HOUR_MS, "request": {"kind": "generate"}});
        let mut made: Task = serde_json::from_value(bare).ok()?;
        let model = &mesh.trace().models[mesh.ticket(task).ask.model];
        let client = mesh.ticket(task).client.filter(|_| self.names_clients);
        made.client = client.and_then(|name| name.parse().ok());
        made.request = text::request(self.texts, model, mesh.turns(task));
        if self.texts != Texts::Short {
            let answer = text::answer(self.texts, mesh.turns(task));
            let prompt = Rc::new(Prefix::of(&made.request));
            mesh.write(task, Text { prompt, whole: Rc::new(Prefix::with_answer(&made.request, &answer)) });
        }
        self.tasks.insert(made.task, task);
        self.inboxes.insert(inbox.clone(), task);
        Some(Event::Submitted { task: Ok(Box::new(made)), reply: Some(inbox) })
    }
}

/// Seconds until a task is done, by which its node was chosen.
fn expected(reason: &Reason) -> Option<f64> {
    let told = reason.why().cloned()?.read()?.expected_ms;
    Some((told.whole? - told.wait?) as f64 / 1e3)
}

impl Policy for Product {
    fn listens(&self) -> bool {
        true
    }

    fn submit(&mut self, task: usize, mesh: &mut Mesh) {
        match self.submission(task, mesh) {
            Some(event) => self.apply(event, mesh),
            None => mesh.fail(task),
        }
    }

    fn heard(&mut self, beat: &Heartbeat, mesh: &mut Mesh) {
        self.apply(Event::Beat(Box::new(beat.clone())), mesh);
    }

    fn heard_caches(&mut self, digest: &CacheDigest, mesh: &mut Mesh) {
        self.apply(Event::Caches(Box::new(digest.clone())), mesh);
    }

    fn tick(&mut self, mesh: &mut Mesh) {
        self.apply(Event::Tick, mesh);
    }
}
