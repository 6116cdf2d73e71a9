//! Single promises of the edge, with explicit time; `world.rs` has all of them together.

use std::task::{Poll, Waker};
use std::time::Duration;

use echo_bus::id::{Inbox, Peer};
use echo_bus::message::{
    Accepted, AnswerPart, Done, Event as News, Generate, Memo, Piece, ReadAnswer, Request, Written,
};

use super::*;
use crate::keys::file::Entry;
use crate::limits::Limits;
use crate::report;

const TASK: TaskId = TaskId::from_u128(1);
const KEEP: Duration = Duration::from_secs(20);
const CLIENT: Duration = Duration::from_secs(60);

struct Rig {
    edge: Edge,
    now: Instant,
    out: Vec<Action>,
    /// Of the next task.
    owner: Owner,
}

impl Rig {
    fn new(keep_memory: usize) -> Self {
        let now = Instant::now();
        let edge = Edge::new("e".parse().unwrap(), keep_memory, Now { at: now, unix_ms: 0 });
        Self { edge, now, out: Vec::new(), owner: Owner::default() }
    }

    fn begin(&mut self, task: TaskId, keep: Option<Duration>, prompt: &str, reads: Reads) -> ReaderId {
        let keep = keep.map(|time| Keep { time, goes_on: true });
        self.begin_kept(task, keep, None, prompt, reads)
    }

    /// With a key, the request is kept, too.
    fn begin_kept(
        &mut self,
        task: TaskId,
        keep: Option<Keep>,
        key: Option<u64>,
        prompt: &str,
        reads: Reads,
    ) -> ReaderId {
        let limits = limits();
        let request = Request::Generate(Generate { prompt: prompt.into(), ..Generate::default() });
        let secret = task.to_string().bytes().map(u128::from).sum();
        let memo = Written::new(&Memo { asked_at: 7, ..Memo::default() }).unwrap();
        let text = Written::new(&request).unwrap();
        let request_bytes = keep.map_or(0, |_| text.size());
        let asked = key.map(|key| Asked { key, request: text, memo });
        let traceparent = None;
        let new = New {
            task,
            owner: std::mem::take(&mut self.owner),
            secret,
            request,
            traceparent,
            limits,
            keep,
            asked,
            request_bytes,
            joins: true,
            reads,
        };
        self.edge.begin(new, self.now, &mut self.out)
    }

    fn apply(&mut self, event: Event) {
        self.edge.apply(event, self.now, &mut self.out);
    }

    /// The node of this number accepts the attempt that was submitted last, and gives these pieces, or all of them and
    /// the end.
    fn gives(&mut self, node: u32, texts: &[&str], ends: bool) {
        let submitted = self.out.iter().rev().find_map(|action| match action {
            Action::Submit(task) => task.inbox.clone(),
            _ => None,
        });
        let inbox = submitted.expect("an attempt was submitted").as_str().to_owned();
        let accepted = Frame::Accepted(Box::new(Accepted {
            seq: 0,
            node: format!("n{node}").parse().unwrap(),
            boot: "b".parse().unwrap(),
            model: "m".into(),
            waited_ms: 0,
            chosen: String::new(),
            why: None,
        }));
        let pieces =
            texts.iter().zip(1..).map(|(text, seq)| Frame::Token { seq, pieces: vec![Piece::text(*text)] });
        let seq = texts.len() as u64 + 1;
        let end = ends.then(|| Frame::Done { seq, pieces: Vec::new(), done: Box::new(Done::default()) });
        for frame in std::iter::once(accepted).chain(pieces).chain(end) {
            self.apply(Event::Frames { inbox: inbox.clone().into(), frames: Frames::One(frame) });
        }
    }

    fn loses(&mut self, node: u32) {
        let peer = Peer::agent(&format!("n{node}").parse().unwrap());
        let holder = Holder { peer, boot: "b".parse().unwrap() };
        self.apply(Event::Gone { peer: holder.peer.clone(), boot: holder.boot.clone() });
        self.apply(Event::Pinged { holder, heard: crate::holders::Heard::NobodyThere });
    }

    fn read(&mut self, reader: ReaderId) -> Poll<Option<report::News>> {
        self.edge.read(reader, Waker::noop(), self.now, &mut self.out)
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.apply(Event::Tick { unix_ms: 0 });
    }

    /// What another edge is told to a question.
    fn asks(&mut self, question: ReadAnswer) -> Option<AnswerPart> {
        let reply = Some(Inbox::try_from("_INBOX.x".to_owned()).unwrap());
        self.apply(Event::Asked { question, reply });
        self.told()
    }

    fn told(&mut self) -> Option<AnswerPart> {
        let at = self.out.iter().rposition(|action| matches!(action, Action::Tell { .. }))?;
        let Action::Tell { part, .. } = self.out.remove(at) else { return None };
        Some(*part)
    }

    fn announced(&self, what: What) -> usize {
        let is = |news: &News| news.what == what;
        self.out.iter().filter(|action| matches!(action, Action::Announce(news) if is(news))).count()
    }

    fn is_here(&self, task: TaskId) -> bool {
        self.edge.tasks.contains_key(&task)
    }
}

fn question(after: u64) -> ReadAnswer {
    ReadAnswer { wait_ms: 5_000, stays: true, ..ReadAnswer::after(TASK, after) }
}

#[test]
fn the_oldest_kept_answers_make_room_and_whoever_asks_hears_why() {
    let mut rig = Rig::new(8_000);
    for number in 1..=4 {
        let reader = rig.begin(TaskId::from_u128(number), Some(KEEP), "p", Reads::Pieces);
        rig.gives(1, &["x"; 10], true);
        rig.now += Duration::from_millis(1);
        rig.apply(Event::Left(reader));
    }
    rig.pass(Duration::from_millis(1));
    assert!(!rig.is_here(TASK) && rig.is_here(TaskId::from_u128(4)));
    let gone = rig.edge.join(&ReadAnswer::after(TASK, 0), rig.now).unwrap_err();
    assert_eq!(gone, Unjoined::Absent(Absent::Gone(Gone::Evicted)));
    rig.pass(KEEP);
    let gone = rig.edge.join(&ReadAnswer::after(TaskId::from_u128(4), 0), rig.now).unwrap_err();
    assert_eq!(gone, Unjoined::Absent(Absent::Gone(Gone::Expired)));
    let unknown = rig.edge.join(&ReadAnswer::after(TaskId::from_u128(9), 0), rig.now).unwrap_err();
    assert_eq!(unknown, Unjoined::Absent(Absent::Unknown));
}

#[test]
fn a_kept_task_weighs_what_its_request_does_until_its_end() {
    let mut rig = Rig::new(100_000);
    let reader = rig.begin(TASK, Some(KEEP), &"p".repeat(200_000), Reads::Pieces);
    rig.pass(Duration::from_millis(1));
    assert!(rig.is_here(TASK), "somebody reads");
    rig.apply(Event::Left(reader));
    rig.pass(Duration::from_millis(1));
    assert!(!rig.is_here(TASK));

    let reader = rig.begin(TASK, Some(KEEP), &"p".repeat(200_000), Reads::Pieces);
    rig.gives(1, &["x"], true);
    rig.apply(Event::Left(reader));
    rig.pass(Duration::from_millis(1));
    assert!(rig.is_here(TASK), "the request was let go with the end");
}

#[test]
fn a_reader_at_another_edge_keeps_a_task_and_its_leaving_ends_it_soon() {
    let mut rig = Rig::new(1 << 20);
    let reader = rig.begin(TASK, None, "p", Reads::Pieces);
    rig.gives(1, &["a", "b"], false);
    let Some(AnswerPart::Part(part)) = rig.asks(question(0)) else { panic!("no part") };
    assert_eq!((part.first, part.pieces.len()), (1, 2));
    rig.apply(Event::Left(reader));
    rig.pass(CLIENT);
    assert!(rig.is_here(TASK), "as slow as a client here may be");
    assert_eq!(rig.asks(ReadAnswer { attempts: 1, ..question(2) }), None, "it waits for more");
    let last = ReadAnswer { leaves: true, stays: false, wait_ms: 0, attempts: 1, ..question(2) };
    rig.pass(Duration::from_secs(6));
    assert!(matches!(rig.told(), Some(AnswerPart::Part(part)) if part.is_nothing()));
    rig.asks(last);
    rig.pass(Duration::from_secs(3));
    assert!(!rig.is_here(TASK));
}

#[test]
fn a_question_that_waits_is_answered_by_the_next_piece() {
    let mut rig = Rig::new(1 << 20);
    rig.begin(TASK, None, "p", Reads::Pieces);
    assert_eq!(rig.asks(question(0)), None);
    rig.gives(1, &["a"], false);
    assert!(matches!(rig.told(), Some(AnswerPart::Part(part)) if part.turns.len() == 1));
    assert!(matches!(rig.asks(question(9)), Some(AnswerPart::Ahead { pieces: 1 })));
}

#[test]
fn who_has_all_but_the_end_and_does_not_fetch_it_counts_as_gone() {
    let mut rig = Rig::new(1 << 20);
    let reader = rig.begin(TASK, None, "p", Reads::Pieces);
    rig.gives(1, &["a"], true);
    assert!(matches!(rig.read(reader), Poll::Ready(Some(report::News::Accepted(_)))));
    assert!(matches!(rig.read(reader), Poll::Ready(Some(report::News::Pieces(1, _)))));
    rig.pass(CLIENT);
    assert!(!rig.is_here(TASK));
    assert!(matches!(rig.read(reader), Poll::Ready(None)));
}

#[test]
fn a_place_that_somebody_claims_is_not_taken_back() {
    let mut rig = Rig::new(1 << 20);
    rig.begin(TASK, None, "p", Reads::End);
    rig.gives(1, &["a", "b"], false);
    let joined = rig.edge.join(&ReadAnswer::after(TASK, 2), rig.now).unwrap();
    rig.loses(1);
    assert!(rig.edge.tasks[&TASK].attempts.has_ended(), "it cannot begin anew: two pieces are known");
    while let Poll::Ready(Some(news)) = rig.read(joined) {
        if let report::News::End(report) = news {
            assert_eq!(report.ending.unwrap_err().code, Code::CannotContinue);
        }
    }
}

#[test]
fn an_answer_that_nobody_has_read_begins_anew_on_another_node_and_says_so_once() {
    let mut rig = Rig::new(1 << 20);
    let reader = rig.begin(TASK, None, "p", Reads::Pieces);
    rig.gives(1, &["a", "b"], false);
    rig.loses(1);
    assert_eq!((rig.announced(What::Lost), rig.announced(What::Retried)), (1, 1));
    rig.apply(Event::Submitted { task: TASK, attempt: 2, result: Err(Unsubmitted::Unsent) });
    rig.pass(Duration::from_secs(1));
    assert_eq!(rig.announced(What::Retried), 1, "nobody had accepted that attempt");
    rig.gives(2, &["c"], true);
    let mut text = String::new();
    while let Poll::Ready(Some(news)) = rig.read(reader) {
        if let report::News::Pieces(_, pieces) = news {
            pieces.iter().for_each(|piece| text.push_str(&piece.content));
        }
    }
    assert_eq!(text, "c");
}

#[test]
fn a_late_answer_to_an_attempt_that_was_given_up_is_not_heard() {
    let mut rig = Rig::new(1 << 20);
    rig.begin(TASK, None, "p", Reads::Pieces);
    let Some(Action::Submit(task)) = rig.out.pop() else { panic!("nothing was submitted") };
    let inbox = task.inbox.expect("an inbox").as_str().to_owned();
    let failure = Box::new(Failure::wait(Code::Draining, "this orchestrator is stopping"));
    let frames = Frames::One(Frame::Failed { seq: None, failure });
    rig.apply(Event::Frames { inbox: inbox.into(), frames });
    let refused = Submission::Refused(Failure::give_up(Code::NoNode, "no node is known"));
    rig.apply(Event::Submitted { task: TASK, attempt: 1, result: Ok(refused) });
    assert!(!rig.edge.tasks[&TASK].attempts.has_ended(), "the next attempt is about to begin");
    rig.pass(Duration::from_secs(1));
    assert!(rig.out.iter().any(|action| matches!(action, Action::Submit(task) if task.attempt == 2)));
}

#[test]
fn an_answer_that_an_engine_never_ends_is_cut_and_its_engine_stopped() {
    let mut rig = Rig::new(1 << 20);
    let reader = rig.begin(TASK, None, "p", Reads::End);
    let part = "x".repeat(crate::answer::LARGEST / 4);
    rig.gives(1, &[part.as_str(); 5], false);
    let cancels = |action: &Action| matches!(action, Action::Cancel { node: Some(_), .. });
    assert_eq!(rig.out.iter().filter(|action| cancels(action)).count(), 1);
    let Poll::Ready(Some(report::News::End(report))) = rig.read(reader) else { panic!("no end") };
    assert!(report.ending.unwrap_err().message.contains("64 MiB"));
}

#[test]
fn who_is_stopped_by_its_id_is_cancelled_down_to_its_node() {
    let mut rig = Rig::new(1 << 20);
    let reader = rig.begin(TASK, Some(KEEP), "p", Reads::Pieces);
    rig.gives(1, &["a"], false);
    assert_eq!(rig.edge.stop(TASK, true, rig.now, &mut rig.out), Some(time::Stopped::Cancelled));
    let cancels = |action: &Action| matches!(action, Action::Cancel { node: Some(_), .. });
    assert_eq!(rig.out.iter().filter(|action| cancels(action)).count(), 1);
    assert_eq!((rig.announced(What::Cancelled), rig.announced(What::Failed)), (1, 0));
    while rig.read(reader).is_ready_with_news() {}
    assert!(!rig.is_here(TASK), "and kept no longer");
    assert_eq!(rig.edge.stop(TASK, true, rig.now, &mut rig.out), None);
}

#[test]
fn who_is_cancelled_by_its_id_can_be_read_up_to_there() {
    let mut rig = Rig::new(1 << 20);
    let reader = rig.begin(TASK, Some(KEEP), "p", Reads::Pieces);
    rig.gives(1, &["a"], false);
    rig.apply(Event::Left(reader));
    let cancel = ReadAnswer { cancels: true, ..ReadAnswer::after(TASK, 0) };
    for ran in [true, false] {
        assert_eq!(rig.edge.answer(&cancel, rig.now, &mut rig.out), AnswerPart::Stopped { ran });
        let AnswerPart::Part(part) = rig.edge.answer(&ReadAnswer::after(TASK, 0), rig.now, &mut rig.out)
        else {
            panic!("it stays")
        };
        let end = part.end.expect("an end");
        assert_eq!((part.pieces.len(), end.ending.unwrap_err().code), (1, Code::Cancelled));
    }
    let cancels = |action: &Action| matches!(action, Action::Cancel { node: Some(_), .. });
    assert_eq!(rig.out.iter().filter(|action| cancels(action)).count(), 1);
}

trait HasNews {
    fn is_ready_with_news(&self) -> bool;
}

impl HasNews for Poll<Option<report::News>> {
    fn is_ready_with_news(&self) -> bool {
        matches!(self, Poll::Ready(Some(_)))
    }
}

fn limits() -> Limits {
    Limits {
        attempts: 3,
        total: Duration::from_secs(600),
        untaken: Duration::from_secs(60),
        first_token: Duration::from_secs(60),
        token: Duration::from_secs(30),
        client: CLIENT,
        idle_sign: Duration::from_secs(10),
        site: None,
        continues: false,
        longest: 1000,
    }
}

#[test]
fn an_answer_that_stays_after_its_end_does_not_make_its_task_go_on_alone() {
    let keep = Keep { time: KEEP, goes_on: false };
    let mut rig = Rig::new(1 << 20);
    let left = rig.begin_kept(TASK, Some(keep), Some(5), "p", Reads::Pieces);
    rig.gives(1, &["a"], false);
    rig.apply(Event::Left(left));
    assert_eq!(rig.edge.running(), 0, "it ends with its client");

    let other = TaskId::from_u128(2);
    let reader = rig.begin_kept(other, Some(keep), Some(5), "p", Reads::Pieces);
    rig.gives(1, &["a"], true);
    rig.apply(Event::Left(reader));
    let question = ReadAnswer { asks_request: true, key: Some(5), ..ReadAnswer::after(other, 0) };
    let AnswerPart::Part(part) = rig.edge.answer(&question, rig.now, &mut rig.out) else {
        panic!("it stays")
    };
    let request = part.request.and_then(|request| request.read());
    assert!(matches!(request, Some(Request::Generate(it)) if it.prompt == "p"), "with what was asked");
    assert_eq!(part.memo.and_then(|memo| memo.read()).map(|memo| memo.asked_at), Some(7));
    for _ in 0..2 {
        rig.now += KEEP;
        rig.apply(Event::Tick { unix_ms: 0 });
    }
    let part = rig.edge.answer(&question, rig.now, &mut rig.out);
    assert_eq!(part, AnswerPart::Gone { evicted: false }, "until its time is over");
}

#[test]
fn what_was_asked_counts_for_as_long_as_it_stays() {
    let keep = Some(Keep { time: KEEP, goes_on: true });
    for (key, stays) in [(None, true), (Some(5), false)] {
        let mut rig = Rig::new(100_000);
        let reader = rig.begin_kept(TASK, keep, key, &"p".repeat(200_000), Reads::Pieces);
        rig.gives(1, &["x"], true);
        rig.apply(Event::Left(reader));
        rig.pass(Duration::from_millis(1));
        assert_eq!(rig.is_here(TASK), stays, "{key:?}");
    }
}

#[test]
fn who_asks_how_an_answer_stands_has_read_nothing_of_it() {
    let mut rig = Rig::new(1 << 20);
    let reader = rig.begin_kept(TASK, Some(Keep { time: KEEP, goes_on: true }), Some(5), "p", Reads::Pieces);
    rig.apply(Event::Left(reader));
    rig.gives(1, &["a", "b"], false);
    let question = ReadAnswer { asks_request: true, key: Some(5), ..ReadAnswer::after(TASK, 0) };
    let stands = |rig: &mut Rig| match rig.edge.answer(&question, rig.now, &mut rig.out) {
        AnswerPart::Part(part) => (part.pieces.len(), part.turns.last().map(|turn| turn.attempts), part.end),
        other => panic!("{other:?}"),
    };
    assert_eq!(stands(&mut rig), (0, Some(1), None));
    rig.loses(1);
    assert!(!rig.edge.tasks[&TASK].attempts.has_ended(), "it begins anew");
    rig.gives(2, &["c"], true);
    let (pieces, turn, end) = stands(&mut rig);
    assert_eq!((pieces, turn), (0, Some(2)));
    assert!(end.is_some_and(|end| end.ending.is_ok()));
}

#[test]
fn without_its_key_a_task_is_one_that_nobody_knows() {
    let mut rig = Rig::new(1 << 20);
    let keep = Some(Keep { time: KEEP, goes_on: true });
    let reader = rig.begin_kept(TASK, keep, Some(5), "p", Reads::Pieces);
    rig.gives(1, &["a"], false);
    let keyed = |question: ReadAnswer, key: Option<u64>| ReadAnswer { key, ..question };
    let questions = [
        question(0),
        ReadAnswer { asks_request: true, ..question(0) },
        ReadAnswer { stops: true, ..question(0) },
        ReadAnswer { leaves: true, ..question(0) },
    ];
    let cancels = ReadAnswer { cancels: true, ..question(0) };
    assert_eq!(rig.asks(keyed(cancels, Some(6))), Some(AnswerPart::Unknown), "with a wrong key");
    let unknown = Err(Unjoined::Absent(Absent::Unknown));
    for key in [None, Some(0), Some(6)] {
        for question in &questions {
            assert_eq!(rig.asks(keyed(question.clone(), key)), Some(AnswerPart::Unknown), "{question:?}");
        }
        assert_eq!(rig.edge.join(&ReadAnswer { key, ..ReadAnswer::after(TASK, 0) }, rig.now), unknown);
    }
    assert!(!rig.edge.tasks[&TASK].attempts.has_ended());
    assert_eq!(rig.edge.tasks[&TASK].read_elsewhere, None, "nobody has read");
    // Nor is it known to have been there.
    rig.apply(Event::Left(reader));
    rig.pass(KEEP);
    assert!(!rig.is_here(TASK));
    assert_eq!(rig.edge.join(&ReadAnswer { key: Some(6), ..ReadAnswer::after(TASK, 0) }, rig.now), unknown);
    assert_eq!(rig.asks(question(0)), Some(AnswerPart::Unknown));
    assert_eq!(rig.asks(keyed(question(0), Some(5))), Some(AnswerPart::Gone { evicted: false }));
}

#[test]
fn a_task_is_its_clients_own_and_who_manages_may_only_end_it() {
    let mut rig = Rig::new(1 << 20);
    let key = Arc::new(Entry::new("ada".parse().unwrap(), "echo-a", 0));
    rig.owner = Owner { key: Some(key), place: None };
    rig.begin(TASK, Some(KEEP), "p", Reads::Pieces);
    rig.gives(1, &["a"], false);
    let by = |client: &str, question: ReadAnswer| ReadAnswer { client: client.parse().ok(), ..question };
    let unknown = Some(AnswerPart::Unknown);
    for client in ["bob", ""] {
        assert_eq!(rig.asks(by(client, question(0))), unknown, "{client} reads");
        for ends in [
            ReadAnswer { stops: true, ..question(0) },
            ReadAnswer { cancels: true, ..question(0) },
            ReadAnswer { stops: true, manages: true, ..question(0) },
        ] {
            assert_eq!(rig.asks(by(client, ends.clone())), unknown, "{client}: {ends:?}");
        }
    }
    assert!(matches!(rig.asks(by("ada", ReadAnswer::after(TASK, 0))), Some(AnswerPart::Part(_))));
    let manages = ReadAnswer { cancels: true, manages: true, ..ReadAnswer::after(TASK, 0) };
    assert_eq!(rig.asks(by("bob", manages)), Some(AnswerPart::Stopped { ran: true }));
    assert_eq!(rig.asks(by("bob", question(0))), unknown, "its answer stays its client's");
}
