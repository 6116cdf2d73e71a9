//! The whole edge against everything that can happen to it: a bus that loses, doubles, delays and swaps frames; nodes that
//! are killed, restarted and fail; orchestrators that do not answer; an edge that is cut off; clients that leave, come
//! back and read slowly. For every history: each reader sees every piece once and in order, and one end; the same number
//! is the same piece for everybody; and nothing is held afterwards.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Poll, Wake, Waker};
use std::time::Duration;

use echo_bus::id::{BootId, Inbox, NodeId, Peer};
use echo_bus::message::{
    Accepted, AnswerPart, Done, Excluded, Frames, Generate, Held, Memo, Piece, Pong, ReadAnswer, Request,
    SoFar, Written,
};
use proptest::prelude::*;

use super::*;
use crate::holders::Heard;
use crate::keys::file::Entry;
use crate::keys::places::Places;
use crate::keys::usage::Usage;
use crate::limits::Limits;
use crate::report::News;

const NODES: usize = 3;
/// Pieces of each whole answer.
const LENGTH: u64 = 12;
const KEEP: Duration = Duration::from_secs(20);
const CLIENT: Duration = Duration::from_secs(60);
/// Of tasks that are kept with their request.
const KEY: u64 = 5;

/// What stays while nobody reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stays {
    Nothing,
    /// The task, too.
    Task,
    /// An answer that has ended, with its request.
    Answer,
    /// The task, with its request.
    All,
}

impl Stays {
    fn keep(self) -> Option<Keep> {
        let goes_on = matches!(self, Self::Task | Self::All);
        (self != Self::Nothing).then_some(Keep { time: KEEP, goes_on })
    }

    fn key(self) -> Option<u64> {
        matches!(self, Self::Answer | Self::All).then_some(KEY)
    }
}

#[derive(Debug, Clone)]
enum Happening {
    /// A rigid answer cannot be continued elsewhere.
    Begin {
        stays: Stays,
        whole: bool,
        rigid: bool,
    },
    /// A node makes so many pieces of each of its answers.
    Make(usize, u8),
    /// The message at this place in flight arrives, is lost, or arrives and stays.
    Deliver(usize),
    Lose(usize),
    Double(usize),
    /// Frames from this place on arrive in one message, or are lost together.
    Together(usize),
    Pulse(usize),
    Kill(usize),
    Restart(usize),
    /// A node gives up its attempts.
    Fail(usize),
    Read(usize),
    Leave(usize),
    /// A client comes back that has so many pieces.
    Join(usize, u64),
    /// Another edge asks.
    Ask(usize, u64, bool),
    /// Somebody wants to know what was asked, and how the answer stands.
    Stands(usize),
    /// Somebody without the key asks, stops, cancels, joins.
    Pry(usize, u64),
    Stop(usize),
    Cancel(usize),
    Cut,
    Back,
    Sleep,
    Tick(u64),
    /// Orchestrators answer submissions from here on, or do not.
    Orchestrators(bool),
}

fn happening() -> impl Strategy<Value = Happening> {
    use Happening::*;
    let node = 0..NODES;
    let stays = prop::sample::select(vec![Stays::Nothing, Stays::Task, Stays::Answer, Stays::All]);
    prop_oneof![
        3 => (stays, any::<(bool, bool)>()).prop_map(|(stays, (whole, rigid))| Begin { stays, whole, rigid }),
        8 => (node.clone(), 1_u8..4).prop_map(|(node, count)| Make(node, count)),
        12 => (0_usize..4).prop_map(Deliver),
        2 => (0_usize..4).prop_map(Lose),
        2 => (0_usize..4).prop_map(Double),
        3 => (0_usize..4).prop_map(Together),
        4 => node.clone().prop_map(Pulse),
        1 => node.clone().prop_map(Kill),
        2 => node.clone().prop_map(Restart),
        1 => node.prop_map(Fail),
        6 => (0_usize..8).prop_map(Read),
        1 => (0_usize..8).prop_map(Leave),
        2 => (0_usize..4, 0..LENGTH).prop_map(|(task, after)| Join(task, after)),
        2 => (0_usize..4, 0..LENGTH, any::<bool>()).prop_map(|(task, after, waits)| Ask(task, after, waits)),
        2 => (0_usize..4).prop_map(Stands),
        1 => (0_usize..4, 0..LENGTH).prop_map(|(task, after)| Pry(task, after)),
        1 => (0_usize..4).prop_map(Stop),
        1 => (0_usize..4).prop_map(Cancel),
        1 => Just(Cut),
        2 => Just(Back),
        1 => Just(Sleep),
        4 => (1_u64..3_000).prop_map(Tick),
        1 => (25_000_u64..70_000).prop_map(Tick),
        2 => any::<bool>().prop_map(Orchestrators),
    ]
}

/// An attempt at its node.
struct Attempt {
    attempt: u32,
    inbox: Inbox,
    sent: Vec<Frame>,
    /// The number of the next piece.
    next: u64,
    ended: bool,
}

struct Node {
    boot: u32,
    lives: bool,
    attempts: BTreeMap<TaskId, Attempt>,
}

#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

struct Client {
    id: ReaderId,
    whole: bool,
    woken: Arc<Woken>,
    /// It found nothing, so it does not look again before it was woken.
    waits: bool,
    last: u64,
    ended: bool,
    /// When it last read, or left.
    read_at: Instant,
}

impl Client {
    /// Until when it counts as reading: what it does not fetch for too long sends it away.
    fn read_until(&self, now: Instant) -> Instant {
        let has_all = self.waits && !self.woken.0.load(Ordering::SeqCst);
        let in_time = now.duration_since(self.read_at) < CLIENT;
        if !self.ended && (has_all || in_time) { now } else { self.read_at }
    }
}

struct World {
    edge: Edge,
    places: Places,
    now: Instant,
    nodes: Vec<Node>,
    /// Frames, and what came of submissions.
    flight: Vec<Event>,
    tasks: Vec<TaskId>,
    stays: HashMap<TaskId, Stays>,
    /// Those that are kept while nobody reads; an answer without its task only once it has ended.
    kept: Vec<TaskId>,
    /// Those that somebody has stopped, and so forgotten.
    stopped: Vec<TaskId>,
    clients: Vec<Client>,
    /// What each number was for whoever saw it first.
    seen: HashMap<(TaskId, u64), String>,
    orchestrators: bool,
    connected: bool,
    todo: Vec<Action>,
    ends: HashMap<TaskId, u32>,
}

/// All tasks are of one client.
fn question(task: TaskId, after: u64) -> ReadAnswer {
    ReadAnswer { client: Some(ada().name), ..ReadAnswer::after(task, after) }
}

fn ada() -> Entry {
    Entry::new("ada".parse().unwrap(), "echo-a", 0)
}

fn name(node: usize) -> NodeId {
    format!("n{node}").parse().unwrap()
}

/// A frame in a message of its own.
fn alone(inbox: &Inbox, frame: Frame) -> Event {
    Event::Frames { inbox: inbox.as_str().to_owned().into(), frames: Frames::One(frame) }
}

fn piece(number: u64) -> String {
    format!("p{number} ")
}

fn made(so_far: Option<&SoFar>) -> u64 {
    so_far.map_or(0, |so_far| so_far.content.split_whitespace().count() as u64)
}

fn limits() -> Limits {
    Limits {
        attempts: 4,
        total: Duration::from_secs(300),
        untaken: Duration::from_secs(60),
        first_token: Duration::from_secs(60),
        token: Duration::from_secs(30),
        client: CLIENT,
        idle_sign: Duration::from_secs(10),
        site: None,
        continues: true,
        longest: 10_000,
    }
}

impl World {
    fn new() -> Self {
        let now = Instant::now();
        let node = || Node { boot: 0, lives: true, attempts: BTreeMap::new() };
        Self {
            edge: Edge::new("e".parse().unwrap(), 1 << 20, Now { at: now, unix_ms: 0 }),
            places: Places::new(Usage::nowhere()),
            now,
            nodes: (0..NODES).map(|_| node()).collect(),
            flight: Vec::new(),
            tasks: Vec::new(),
            stays: HashMap::new(),
            kept: Vec::new(),
            stopped: Vec::new(),
            clients: Vec::new(),
            seen: HashMap::new(),
            orchestrators: true,
            connected: true,
            todo: Vec::new(),
            ends: HashMap::new(),
        }
    }

    fn apply(&mut self, event: Event) {
        let mut out = Vec::new();
        self.edge.apply(event, self.now, &mut out);
        self.todo.extend(out);
        self.perform();
    }

    /// Does what the edge wants, as long as it wants something.
    fn perform(&mut self) {
        while !self.todo.is_empty() {
            match self.todo.remove(0) {
                Action::Submit(task) => self.submit(*task),
                Action::Cancel { node, cancel } => self.cancel(node, cancel),
                Action::Ping(ask) => {
                    let heard = self.pinged(&ask.holder);
                    self.edge.apply(Event::Pinged { holder: ask.holder, heard }, self.now, &mut self.todo);
                }
                Action::Wake(waker) => waker.wake(),
                Action::Ended { task, .. } => *self.ends.entry(task).or_default() += 1,
                Action::HungUp { task, .. } => *self.ends.entry(task).or_default() += 1,
                Action::Tell { part, .. } => self.told(&part),
                Action::AnswerPulse { .. } | Action::Announce(_) | Action::Slept(_) | Action::Lost { .. } => {
                }
            }
        }
    }

    fn submit(&mut self, task: echo_bus::message::Task) {
        let (id, attempt) = (task.task, task.attempt);
        let fits = |node: &usize| {
            let excluded = |it: &echo_bus::message::Excluded| it.node == name(*node);
            self.nodes[*node].lives && !task.excluded.iter().any(excluded)
        };
        let node = (0..NODES).find(fits).filter(|_| self.orchestrators && self.connected);
        let result = match node {
            None => Err(Unsubmitted::Unanswered),
            Some(node) => {
                let boot: BootId = format!("b{}", self.nodes[node].boot).parse().unwrap();
                let accepted = Frame::Accepted(Box::new(Accepted {
                    seq: 0,
                    node: name(node),
                    boot,
                    model: "m".into(),
                    waited_ms: 0,
                    chosen: String::new(),
                    why: None,
                }));
                let inbox = task.inbox.clone().expect("an edge's task");
                self.send(&inbox, accepted.clone());
                let next = made(task.so_far.as_ref());
                let held = Attempt { attempt, inbox, sent: vec![accepted], next, ended: false };
                self.nodes[node].attempts.insert(id, held);
                let (orchestrator, boot) = ("o".parse().unwrap(), "b".parse().unwrap());
                let by = Excluded { node: name(node), boot: self.boot(node) };
                Ok(Submission::Taken { orchestrator, boot, by: (node % 2 == 0).then_some(by) })
            }
        };
        self.flight.push(Event::Submitted { task: id, attempt, result });
    }

    fn send(&mut self, inbox: &Inbox, frame: Frame) {
        self.flight.push(alone(inbox, frame));
    }

    fn cancel(&mut self, node: Option<NodeId>, cancel: Cancel) {
        for (at, held) in self.nodes.iter_mut().enumerate() {
            if self.connected && node.as_ref().is_none_or(|node| *node == name(at)) {
                let ends = held.attempts.get(&cancel.0.task).is_some_and(|it| it.attempt <= cancel.0.attempt);
                if ends {
                    held.attempts.remove(&cancel.0.task);
                }
            }
        }
    }

    fn pinged(&self, holder: &Holder) -> Heard {
        let Some(node) = (0..NODES).find(|node| Peer::agent(&name(*node)) == holder.peer) else {
            return if self.orchestrators { Heard::CutOff } else { Heard::NobodyThere };
        };
        if !self.connected {
            return Heard::CutOff;
        }
        if !self.nodes[node].lives {
            return Heard::NobodyThere;
        }
        Heard::Pong(Pong { boot: self.boot(node), uptime_ms: 1, held: self.held(node) })
    }

    fn boot(&self, node: usize) -> BootId {
        format!("b{}", self.nodes[node].boot).parse().unwrap()
    }

    fn held(&self, node: usize) -> Vec<Held> {
        let held = self.nodes[node].attempts.iter().map(|(task, held)| Held {
            id: AttemptId { task: *task, attempt: held.attempt },
            seq: Some(held.sent.len() as u64 - 1),
            ended: held.ended,
        });
        held.collect()
    }

    fn pulse(&mut self, node: usize) {
        if !self.nodes[node].lives || !self.connected {
            return;
        }
        let pulse = Pulse { holder: Peer::agent(&name(node)), boot: self.boot(node), held: self.held(node) };
        let mut out = Vec::new();
        let reply = Some(Inbox::try_from("_INBOX.a".to_owned()).unwrap());
        self.edge.apply(Event::Pulse { pulse, reply }, self.now, &mut out);
        for action in out {
            let Action::AnswerPulse { answer, .. } = action else {
                self.todo.push(action);
                continue;
            };
            for unwanted in answer.unwanted {
                let held = &mut self.nodes[node].attempts;
                if held.get(&unwanted.id.task).is_some_and(|it| it.attempt == unwanted.id.attempt) {
                    held.remove(&unwanted.id.task);
                }
            }
            for missing in answer.missing {
                let Some(held) = self.nodes[node].attempts.get(&missing.id.task) else { continue };
                for frame in &held.sent[missing.from as usize..=missing.to as usize] {
                    self.flight.push(alone(&held.inbox, frame.clone()));
                }
            }
        }
        self.perform();
    }

    fn make(&mut self, node: usize, count: u8) {
        if !self.nodes[node].lives {
            return;
        }
        for held in self.nodes[node].attempts.values_mut().filter(|held| !held.ended) {
            for _ in 0..count {
                let seq = held.sent.len() as u64;
                let frame = if held.next < LENGTH {
                    held.next += 1;
                    Frame::Token { seq, pieces: vec![Piece::text(piece(held.next))] }
                } else {
                    held.ended = true;
                    Frame::Done { seq, pieces: Vec::new(), done: Box::new(Done::default()) }
                };
                held.sent.push(frame.clone());
                self.flight.push(alone(&held.inbox, frame));
                if held.ended {
                    break;
                }
            }
        }
    }

    fn fail(&mut self, node: usize) {
        let held = self.nodes[node].attempts.values_mut().filter(|held| !held.ended);
        for held in held {
            let seq = Some(held.sent.len() as u64);
            let failure = Box::new(Failure::elsewhere(Code::EngineError, "x"));
            let frame = Frame::Failed { seq, failure };
            held.ended = true;
            held.sent.push(frame.clone());
            self.flight.push(alone(&held.inbox, frame));
        }
    }

    /// What is in flight from this place on becomes one message.
    fn together(&mut self, at: usize) {
        let at = at % self.flight.len().max(1);
        let rest = self.flight.split_off(at.min(self.flight.len()));
        let (frames, others): (Vec<_>, Vec<_>) =
            rest.into_iter().partition(|event| matches!(event, Event::Frames { .. }));
        self.flight.extend(others);
        let Some(Event::Frames { inbox, .. }) = frames.first() else { return };
        let (inbox, mut several) = (inbox.clone(), Vec::new());
        for event in frames {
            match event {
                Event::Frames { inbox, frames: Frames::One(frame) } => {
                    several.push((crate::resequencer::key(&inbox).to_owned(), frame));
                }
                Event::Frames { frames: Frames::Several(more), .. } => several.extend(more),
                _ => {}
            }
        }
        self.flight.push(Event::Frames { inbox, frames: Frames::Several(several) });
    }

    fn deliver(&mut self, at: usize, stays: bool) {
        if self.flight.is_empty() || !self.connected {
            return;
        }
        let at = at % self.flight.len();
        let event = match &self.flight[at] {
            Event::Frames { inbox, frames } if stays => {
                Event::Frames { inbox: inbox.clone(), frames: frames.clone() }
            }
            _ => self.flight.remove(at),
        };
        self.apply(event);
    }

    fn begin(&mut self, stays: Stays, whole: bool, rigid: bool) {
        let task = TaskId::from_u128(self.tasks.len() as u128 + 1);
        let request = Request::Generate(Generate { prompt: "p".into(), ..Generate::default() });
        let text = Written::new(&request).unwrap();
        let memo = Written::new(&Memo::default()).unwrap();
        let new = New {
            task,
            owner: Owner { key: Some(Arc::new(ada())), place: self.places.take(&ada(), 0).ok() },
            secret: self.tasks.len() as u128,
            request,
            traceparent: None,
            limits: Limits { continues: !rigid, ..limits() },
            asked: stays.key().map(|key| Asked { key, request: text, memo }),
            request_bytes: 9,
            keep: stays.keep(),
            joins: true,
            reads: if whole { Reads::End } else { Reads::Pieces },
        };
        let mut out = Vec::new();
        let id = self.edge.begin(new, self.now, &mut out);
        self.todo.extend(out);
        self.tasks.push(task);
        self.stays.insert(task, stays);
        self.kept.extend(stays.keep().is_some_and(|keep| keep.goes_on).then_some(task));
        self.comes(id, whole, 0);
        self.perform();
    }

    fn comes(&mut self, id: ReaderId, whole: bool, last: u64) {
        let (woken, read_at) = (Arc::default(), self.now);
        self.clients.push(Client { id, whole, woken, waits: false, last, ended: false, read_at });
    }

    fn join(&mut self, task: usize, after: u64) {
        let Some(task) = self.tasks.get(task).copied() else { return };
        let key = self.stays[&task].key();
        match self.edge.join(&ReadAnswer { key, ..question(task, after) }, self.now) {
            Ok(id) => self.comes(id, false, after),
            Err(Unjoined::Absent(_)) => {
                let readers = self.clients.iter().filter(|client| client.id.task == task);
                let read = readers.map(|client| client.read_until(self.now)).max();
                let brief = read.is_some_and(|read| self.now.duration_since(read) < KEEP);
                assert!(!(brief && self.kept.contains(&task)), "a kept answer is gone before its time");
            }
            Err(_) => {}
        }
    }

    fn ask(&mut self, task: usize, after: u64, waits: bool) {
        let Some(task) = self.tasks.get(task).copied() else { return };
        let wait_ms = if waits { 5_000 } else { 0 };
        let key = self.stays[&task].key();
        let question = ReadAnswer { wait_ms, stays: true, key, ..question(task, after) };
        let reply = Some(Inbox::try_from(format!("_INBOX.{task}")).unwrap());
        self.apply(Event::Asked { question, reply });
    }

    /// What one that knows the task's key is answered at once.
    fn answer(&mut self, task: TaskId, question: ReadAnswer) -> AnswerPart {
        let question = ReadAnswer { key: self.stays[&task].key(), ..question };
        let mut out = Vec::new();
        let part = self.edge.answer(&question, self.now, &mut out);
        self.todo.extend(out);
        self.perform();
        part
    }

    /// How it stands is told as long as it is there, and counts as reading nothing.
    fn stands(&mut self, task: usize) {
        let Some(task) = self.tasks.get(task).copied() else { return };
        let held = self
            .edge
            .tasks
            .get(&task)
            .map(|task| (task.attempts.answer.is_read(), task.attempts.has_ended()));
        let part = self.answer(task, ReadAnswer { asks_request: true, ..question(task, 0) });
        match (held, part) {
            (Some((is_read, has_ended)), AnswerPart::Part(part)) => {
                let is_kept = self.stays[&task].key().is_some();
                assert_eq!((part.request.is_some(), part.memo.is_some()), (is_kept, is_kept));
                assert_eq!((part.end.is_some(), part.pieces.len()), (is_kept && has_ended, 0));
                assert_eq!(self.edge.tasks[&task].attempts.answer.is_read(), is_read);
            }
            (held, part) => assert!(held.is_none() && !matches!(part, AnswerPart::Part(_)), "{part:?}"),
        }
    }

    /// Without its key a task with a request is told, joined, ended and kept by nobody.
    fn pry(&mut self, task: usize, after: u64) {
        let Some(task) = self.tasks.get(task).copied() else { return };
        if self.stays[&task].key().is_none() {
            return;
        }
        let state = |edge: &Edge| {
            edge.tasks.get(&task).map(|task| {
                let ended = task.attempts.has_ended();
                (ended, task.readers.len(), task.parked.len(), task.read_elsewhere, task.alone_since)
            })
        };
        let before = state(&self.edge);
        let asks = ReadAnswer { stays: true, wait_ms: 5_000, ..question(task, after) };
        for question in [
            asks.clone(),
            ReadAnswer { leaves: true, stays: false, ..asks.clone() },
            ReadAnswer { asks_request: true, ..asks.clone() },
            ReadAnswer { stops: true, ..asks.clone() },
            ReadAnswer { cancels: true, key: Some(KEY + 1), ..asks.clone() },
            // With the key, in another name or in none.
            ReadAnswer { key: Some(KEY), client: None, ..asks.clone() },
            ReadAnswer { key: Some(KEY), client: "bob".parse().ok(), stops: true, ..asks.clone() },
            ReadAnswer { client: None, cancels: true, ..asks },
        ] {
            let mut out = Vec::new();
            let reply = Some(Inbox::try_from("_INBOX.pry".to_owned()).unwrap());
            self.edge.apply(Event::Asked { question, reply }, self.now, &mut out);
            let [Action::Tell { part, .. }] = out.as_slice() else { panic!("{out:?}") };
            assert_eq!(**part, AnswerPart::Unknown);
        }
        let joined = self.edge.join(&question(task, after), self.now);
        assert_eq!(joined, Err(Unjoined::Absent(Absent::Unknown)));
        assert_eq!(state(&self.edge), before);
    }

    /// Ends a task; its answer so far stays as it would have.
    fn cancelled(&mut self, task: usize) {
        let Some(task) = self.tasks.get(task).copied() else { return };
        let keep = self.edge.tasks.get(&task).map(|task| task.keep);
        let part = self.answer(task, ReadAnswer { cancels: true, ..question(task, 0) });
        assert_eq!(matches!(part, AnswerPart::Stopped { .. }), keep.is_some(), "{part:?}");
        if let Some(held) = self.edge.tasks.get(&task) {
            assert!(held.attempts.has_ended() && Some(held.keep) == keep);
        }
    }

    /// Another edge sees the same pieces under the same numbers. (It asks for one task only.)
    fn told(&mut self, part: &AnswerPart) {
        let AnswerPart::Part(part) = part else { return };
        let mut texts = part.pieces.iter().map(|piece| piece.content.clone());
        for (number, text) in (part.first..).zip(&mut texts) {
            assert_eq!(text, piece(number), "what another edge was told");
        }
    }

    /// A client reads until there is nothing more for now.
    fn read(&mut self, at: usize) {
        let Some(client) = self.clients.get_mut(at).filter(|client| !client.ended) else { return };
        if client.waits && !client.woken.0.swap(false, Ordering::SeqCst) {
            return;
        }
        client.waits = false;
        let waker = Waker::from(client.woken.clone());
        loop {
            let read = self.edge.read(client.id, &waker, self.now, &mut self.todo);
            match read {
                Poll::Pending => {
                    client.waits = true;
                    client.read_at = self.now;
                    break;
                }
                Poll::Ready(None) => {
                    let slow = self.now.duration_since(client.read_at) >= CLIENT;
                    assert!(slow, "a reader was sent away in its time");
                    // From here on nobody knows when it was taken for gone.
                    self.kept.retain(|kept| *kept != client.id.task);
                    client.ended = true;
                    break;
                }
                Poll::Ready(Some(News::Pieces(first, pieces))) => {
                    assert!(!client.whole && first == client.last + 1, "{first} after {}", client.last);
                    for piece in pieces {
                        client.last += 1;
                        let key = (client.id.task, client.last);
                        let text = self.seen.entry(key).or_insert_with(|| piece.content.clone());
                        assert_eq!(*text, piece.content, "number {} is another piece now", client.last);
                        assert_eq!(*text, self::piece(client.last));
                    }
                }
                Poll::Ready(Some(News::End(report))) => {
                    assert!(!client.ended, "two ends");
                    (client.ended, client.read_at) = (true, self.now);
                    let task = client.id.task;
                    if self.stays[&task] == Stays::Answer && !self.stopped.contains(&task) {
                        self.kept.push(task);
                    }
                    if report.ending.is_ok() {
                        let whole: String = (1..=LENGTH).map(piece).collect();
                        assert!(!client.whole || report.content == whole, "{:?}", report.content);
                        assert!(client.whole || client.last == LENGTH, "an end before the last piece");
                    }
                    break;
                }
                Poll::Ready(Some(_)) => {}
            }
            client.read_at = self.now;
        }
        self.perform();
    }

    /// A task that does not go on without a reader has ended with its last one.
    fn goes_on_for_somebody(&self, id: TaskId) {
        let goes_on = self.stays[&id].keep().is_some_and(|keep| keep.goes_on);
        let alone = |task: &Task| !task.attempts.has_ended() && !task.is_read(self.now);
        assert!(goes_on || !self.edge.tasks.get(&id).is_some_and(alone), "{id} goes on for nobody");
    }

    fn happens(&mut self, happening: Happening) {
        match happening {
            Happening::Begin { stays, whole, rigid } => self.begin(stays, whole, rigid),
            Happening::Make(node, count) => self.make(node, count),
            Happening::Deliver(at) => self.deliver(at, false),
            Happening::Double(at) => self.deliver(at, true),
            Happening::Together(at) => self.together(at),
            Happening::Lose(at) => {
                let at = at % self.flight.len().max(1);
                if matches!(self.flight.get(at), Some(Event::Frames { .. })) {
                    self.flight.remove(at);
                }
            }
            Happening::Pulse(node) => self.pulse(node),
            Happening::Kill(node) => {
                self.nodes[node].lives = false;
                self.nodes[node].attempts.clear();
                let (peer, boot) = (Peer::agent(&name(node)), self.boot(node));
                if self.connected {
                    self.apply(Event::Gone { peer, boot });
                }
            }
            Happening::Restart(node) if !self.nodes[node].lives => {
                (self.nodes[node].lives, self.nodes[node].boot) = (true, self.nodes[node].boot + 1);
            }
            Happening::Restart(_) => {}
            Happening::Fail(node) => self.fail(node),
            Happening::Read(at) => self.read(at),
            Happening::Leave(at) => {
                if let Some(client) = self.clients.get_mut(at).filter(|client| !client.ended) {
                    (client.read_at, client.ended) = (client.read_until(self.now), true);
                    let id = client.id;
                    self.apply(Event::Left(id));
                    self.goes_on_for_somebody(id.task);
                }
            }
            Happening::Join(task, after) => self.join(task, after),
            Happening::Ask(task, after, waits) => self.ask(task, after, waits),
            Happening::Stands(task) => self.stands(task),
            Happening::Pry(task, after) => self.pry(task, after),
            Happening::Cancel(task) => self.cancelled(task),
            Happening::Stop(task) => {
                if let Some(task) = self.tasks.get(task).copied() {
                    self.kept.retain(|kept| *kept != task);
                    self.stopped.push(task);
                    let mut out = Vec::new();
                    let _ = self.edge.stop(task, true, self.now, &mut out);
                    self.todo.extend(out);
                    self.perform();
                }
            }
            Happening::Cut if self.connected => {
                self.connected = false;
                // What is on its way is lost with the connection; whoever asked notices.
                let lost = std::mem::take(&mut self.flight);
                self.apply(Event::Disconnected);
                for event in lost {
                    if let Event::Submitted { task, attempt, .. } = event {
                        self.apply(Event::Submitted { task, attempt, result: Err(Unsubmitted::Unanswered) });
                    }
                }
            }
            Happening::Back if !self.connected => {
                self.connected = true;
                self.apply(Event::Reconnected);
            }
            Happening::Cut | Happening::Back => {}
            Happening::Sleep => self.happens(Happening::Tick(4_000)),
            Happening::Tick(ms) => {
                self.now += Duration::from_millis(ms);
                self.apply(Event::Tick { unix_ms: 0 });
                self.edge.tasks.keys().for_each(|task| self.goes_on_for_somebody(*task));
            }
            Happening::Orchestrators(answer) => self.orchestrators = answer,
        }
    }

    /// From here on nothing goes wrong: all must come to its end.
    fn settle(&mut self) {
        self.happens(Happening::Back);
        self.orchestrators = true;
        (0..NODES).for_each(|node| self.happens(Happening::Restart(node)));
        for _ in 0..2_000 {
            for node in 0..NODES {
                self.make(node, 1);
                self.pulse(node);
            }
            while !self.flight.is_empty() {
                self.deliver(0, false);
            }
            (0..self.clients.len()).for_each(|at| self.read(at));
            self.happens(Happening::Tick(250));
            if self.edge.tasks.is_empty() {
                break;
            }
        }
        (0..self.clients.len()).for_each(|at| self.read(at));
    }
}

/// For a long run, set `PROPTEST_CASES`.
#[test]
fn every_reader_sees_every_piece_once_and_one_end_whatever_happens() {
    let config = ProptestConfig { max_shrink_iters: 20_000, ..ProptestConfig::default() };
    proptest!(config, |(happenings in proptest::collection::vec(happening(), 0..250))| {
        let mut world = World::new();
        world.begin(Stays::Task, false, false);
        for happening in happenings {
            world.happens(happening);
            let (tasks, waiting) = world.places.of(&ada().name);
            prop_assert_eq!(tasks as usize, world.edge.running(), "places of tasks");
            prop_assert!(waiting <= tasks, "{} of {} wait", waiting, tasks);
        }
        world.settle();
        for (at, client) in world.clients.iter().enumerate() {
            prop_assert!(client.ended, "client {at} still waits, after {} pieces", client.last);
        }
        let edge = &world.edge;
        prop_assert!(edge.tasks.is_empty(), "tasks are held");
        prop_assert_eq!(world.places.of(&ada().name), (0, 0), "places are held");
        prop_assert!(edge.resequencer.is_empty() && edge.holders.is_empty(), "attempts are held");
        for task in &world.tasks {
            prop_assert_eq!(world.ends.get(task).copied(), Some(1), "ends of {}", task);
        }
    });
}
