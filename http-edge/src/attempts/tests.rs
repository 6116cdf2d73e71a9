//! What a task's life promises, with explicit time.

use super::*;
use crate::answer::{Cursor, Next};
use crate::holders::{Holder, Loss};
use echo_bus::id::{Inbox, Peer};
use echo_bus::message::{
    Accepted, Chat, Done, Excluded, Generate, Reason, Relayed, Settings, Submission, Task, Times, Timings,
    ToolCall,
};
use proptest::prelude::*;

fn limits() -> Limits {
    Limits {
        attempts: 3,
        total: Duration::from_secs(600),
        untaken: Duration::from_secs(60),
        first_token: Duration::from_secs(60),
        token: Duration::from_secs(30),
        client: Duration::from_secs(60),
        idle_sign: Duration::from_secs(10),
        continues: true,
        longest: 1000,
        site: None,
    }
}

pub fn prompt() -> Request {
    Request::Generate(Generate { prompt: "p".into(), ..Generate::default() })
}

pub struct World {
    pub attempts: Attempts,
    streams: bool,
    cursor: Cursor,
    pub now: Instant,
}

pub fn node(n: usize) -> NodeId {
    format!("n{n}").parse().unwrap()
}

impl World {
    pub fn new(request: Request, streams: bool) -> Self {
        let now = Instant::now();
        let attempts = Attempts::new(TaskId::from_u128(1), request, None, limits(), now);
        Self { attempts, streams, cursor: Cursor::default(), now }
    }

    pub fn submit(&mut self) -> Task {
        let inbox = Inbox::try_from("_INBOX.edge.e.k".to_owned()).unwrap();
        self.attempts.submit(&"e".parse().unwrap(), None, inbox, self.now)
    }

    pub fn accept(&mut self, n: usize) {
        assert_eq!(self.accepted(n), Step::Accepted);
    }

    fn accepted(&mut self, n: usize) -> Step {
        self.take(n, None)
    }

    /// An orchestrator answers the submission, with the node that has accepted it if there is one.
    fn taken(&mut self, by: Option<usize>) -> Step {
        let (orchestrator, boot) = ("o".parse().unwrap(), "b".parse().unwrap());
        let by = by.map(|n| Excluded { node: node(n), boot: "b".parse().unwrap() });
        self.attempts.submitted(Submission::Taken { orchestrator, boot, by }, self.now)
    }

    fn take(&mut self, n: usize, why: Option<Why>) -> Step {
        let frame = Frame::Accepted(Box::new(Accepted {
            seq: 0,
            node: node(n),
            boot: "b".parse().unwrap(),
            model: "m".into(),
            waited_ms: 0,
            chosen: String::new(),
            why: why.map(Relayed::from),
        }));
        self.attempts.frame(frame, self.now)
    }

    pub fn token(&mut self, text: &str) -> Step {
        let step = self.attempts.frame(Frame::Token { seq: 1, pieces: vec![Piece::text(text)] }, self.now);
        self.read();
        step
    }

    /// A client that streams takes what there is at once.
    pub fn read(&mut self) {
        while self.streams && !matches!(self.attempts.answer.read(&mut self.cursor, 1 << 20), Next::Nothing) {
        }
    }

    fn done(&mut self, done: Done) -> Done {
        let frame = Frame::Done { seq: 2, pieces: Vec::new(), done: Box::new(done) };
        let Step::End(ending) = self.attempts.frame(frame, self.now) else { panic!("no end") };
        let Ending::Answered(done) = *ending else { panic!("no answer") };
        done
    }

    fn lose(&mut self, n: usize) -> Step {
        self.lose_by(n, Loss::Died)
    }

    fn lose_by(&mut self, n: usize, loss: Loss) -> Step {
        let holder = Holder { peer: Peer::agent(&node(n)), boot: "b".parse().unwrap() };
        let lost = Lost { task: self.attempts.task, attempt: self.attempts.attempt(), holder, loss };
        self.attempts.lost(&lost, self.now)
    }

    pub fn fail(&mut self, failure: Failure) -> Step {
        self.attempts.frame(Frame::Failed { seq: Some(1), failure: Box::new(failure) }, self.now)
    }
}

pub fn failure(step: Step) -> Failure {
    match step {
        Step::End(ending) => match *ending {
            Ending::Failed(failure) => failure,
            Ending::Answered(_) => panic!("answered"),
        },
        other => panic!("{other:?} is no end"),
    }
}

#[test]
fn a_lost_node_is_excluded_and_the_answer_goes_on() {
    let mut world = World::new(prompt(), true);
    assert_eq!(world.submit().attempt, 1);
    world.accept(1);
    world.token("One ");
    assert_eq!(world.lose(1), Step::Again(Duration::ZERO));
    let again = world.submit();
    assert_eq!(again.attempt, 2);
    assert_eq!(again.excluded, [Excluded { node: node(1), boot: "b".parse().unwrap() }]);
    let so_far = again.so_far.unwrap();
    assert_eq!((so_far.content.as_str(), so_far.tokens, so_far.exact), ("One ", 1, true));
}

#[test]
fn counts_of_a_continued_answer_are_of_the_whole() {
    let mut world = World::new(prompt(), true);
    world.submit();
    world.accept(1);
    world.token("One ");
    world.lose(1);
    world.submit();
    world.accept(2);
    world.token("two");
    let done = Done { reason: Reason::Stop, tokens: Some(1), ..Done::default() };
    assert_eq!(world.done(done), Done { tokens: Some(2), ..Done::default() });
    assert_eq!(world.attempts.answer.content(), "One two");
    assert_eq!((world.attempts.attempts_made(), world.attempts.nodes.len()), (2, 2));
}

/// One answer, cut at any place or not at all, with or without engines that count while they stream.
fn counted(cut: Option<usize>, counts: bool, texts: &[&str]) -> Done {
    let mut world = World::new(prompt(), true);
    let mut so_far = 0;
    for (number, text) in texts.iter().enumerate() {
        if number == 0 || cut == Some(number) {
            if number > 0 {
                world.lose(1);
                so_far = number as u64;
            }
            world.submit();
            world.accept(number + 1);
        }
        let first = (number == 0 || cut == Some(number)).then_some(16 + so_far as u32);
        let piece = Piece {
            tokens: counts.then_some(1),
            prompt_tokens: first.filter(|_| counts),
            ..Piece::text(*text)
        };
        world.attempts.frame(Frame::Token { seq: 1, pieces: vec![piece] }, world.now);
    }
    let tokens = Some(texts.len() as u64 - so_far);
    let done = Done { prompt_tokens: Some(16 + so_far), tokens, ..Done::default() };
    world.done(done)
}

#[test]
fn the_budget_counts_only_nodes_that_had_accepted() {
    let mut world = World::new(prompt(), true);
    for _ in 0..50 {
        world.submit();
        assert!(matches!(world.attempts.untaken(world.now), Step::Again(_)));
    }
    for n in 1..=2 {
        world.submit();
        world.accept(n);
        assert!(matches!(world.lose(n), Step::Again(_)), "attempt {n}");
    }
    world.submit();
    world.accept(3);
    assert_eq!(failure(world.lose(3)).verdict, Verdict::GiveUp);
}

#[test]
fn a_node_that_an_orchestrator_named_is_charged_though_its_own_word_never_came() {
    let mut world = World::new(prompt(), true);
    world.submit();
    assert_eq!(world.taken(Some(1)), Step::Wait);
    assert_eq!((world.attempts.holder(), world.attempts.attempts_made()), (Some(&node(1)), 1));
    let refused = Submission::Refused(Failure::elsewhere(Code::Unclear, "it did not answer"));
    assert_eq!(world.attempts.submitted(refused, world.now), Step::Wait, "a node has it");
    assert!(matches!(world.lose(1), Step::Again(_)));
    assert_eq!((world.attempts.charges.budget, world.submit().excluded[0].node.clone()), (1, node(1)));
}

#[test]
fn a_node_that_drains_costs_no_budget() {
    let mut world = World::new(prompt(), true);
    for n in 0..10 {
        world.submit();
        world.accept(n);
        assert_eq!(world.fail(Failure::elsewhere(Code::Draining, "leaving")), Step::Again(Duration::ZERO));
    }
    assert_eq!(world.attempts.charges.budget, 0);
}

#[test]
fn a_way_that_is_cut_costs_the_task_nothing_and_its_node_is_not_tried_again_for_it() {
    let mut world = World::new(prompt(), true);
    for node in 0..5 {
        assert_eq!(world.submit().excluded.len(), node);
        world.accept(node);
        assert_eq!(world.lose_by(node, Loss::Unreachable), Step::Again(Duration::ZERO));
    }
    assert_eq!(world.attempts.charges.budget, 0);
}

#[test]
fn an_orchestrator_that_dies_blames_nobody() {
    let mut world = World::new(prompt(), true);
    world.submit();
    let holder = Holder {
        peer: Peer { role: Role::Orchestrator, id: "o".parse().unwrap() },
        boot: "b".parse().unwrap(),
    };
    let lost = Lost { task: world.attempts.task, attempt: 1, holder, loss: Loss::Died };
    assert_eq!(world.attempts.lost(&lost, world.now), Step::Again(Duration::ZERO));
    assert_eq!(world.submit().excluded, []);
}

#[test]
fn a_schema_or_a_tool_call_is_not_continued_once_seen() {
    let settings = Settings { format: Some("json".into()), ..Settings::default() };
    let formatted = Request::Generate(Generate { prompt: "p".into(), settings, ..Generate::default() });
    let mut world = World::new(formatted.clone(), true);
    world.submit();
    world.accept(1);
    world.token("{");
    assert_eq!(failure(world.lose(1)).code, Code::CannotContinue);

    let mut unseen = World::new(formatted, false);
    unseen.submit();
    unseen.accept(1);
    unseen.token("{");
    assert_eq!(unseen.lose(1), Step::Again(Duration::ZERO), "nobody saw it: begin anew");
    assert_eq!(unseen.submit().so_far, None);

    let mut calling = World::new(Request::Chat(Chat::default()), true);
    calling.submit();
    calling.accept(1);
    let piece = Piece { tool_calls: vec![ToolCall::default()], ..Piece::default() };
    calling.attempts.frame(Frame::Token { seq: 1, pieces: vec![piece] }, calling.now);
    calling.read();
    let failure = failure(calling.lose(1));
    assert_eq!(failure.code, Code::CannotContinue);
    assert!(failure.message.contains("after a tool call was sent"), "{}", failure.message);
    assert!(failure.message.contains("what broke it off: node n1"), "{}", failure.message);
}

/// An answer that broke off by an engine's own words, and went to a node whose engine cannot go on from there.
fn not_continued(streams: bool) -> (World, Step) {
    let mut world = World::new(prompt(), streams);
    world.submit();
    world.accept(1);
    world.token("One ");
    let broken = Failure::elsewhere(Code::EngineError, "the engine reported: no more secret");
    assert_eq!(world.fail(broken.saying(None, "no more secret")), Step::Again(Duration::ZERO));
    assert!(world.submit().so_far.is_some());
    world.accept(2);
    let step = world.fail(Failure::give_up(Code::CannotContinue, "it cannot go on; ask again"));
    (world, step)
}

#[test]
fn an_answer_that_an_engine_cannot_go_on_with_begins_anew_while_nobody_has_read_it() {
    let (mut world, step) = not_continued(false);
    assert_eq!(step, Step::Again(Duration::ZERO));
    let task = world.submit();
    assert_eq!((task.so_far, task.excluded.len()), (None, 1), "the second node has done nothing wrong");
    world.accept(2);
    world.token("Two");
    assert_eq!(world.attempts.answer.content(), "Two");
}

#[test]
fn an_answer_that_cannot_go_on_ends_with_what_broke_it_off_and_logs_no_words_of_an_engine() {
    let (_, step) = not_continued(true);
    let failure = failure(step);
    assert_eq!(failure.code, Code::CannotContinue);
    let message = "it cannot go on; ask again; what broke it off: the engine reported: no more secret";
    assert_eq!(failure.message, message);
    assert_eq!(failure.said.as_ref().unwrap().words, message, "so do the clients of the engine's own API");
    assert!(!failure.for_log().contains("secret"));
}

/// An answer that was lost with its first node, and went to a second whose engine cannot go on from there.
fn not_continued_by_this_engine(streams: bool) -> World {
    let mut world = World::new(prompt(), streams);
    world.submit();
    world.accept(1);
    world.token("One ");
    assert_eq!(world.lose(1), Step::Again(Duration::ZERO));
    world.submit();
    world.accept(2);
    assert_eq!(world.fail(cannot()), Step::Again(Duration::ZERO));
    world
}

fn cannot() -> Failure {
    Failure::elsewhere(Code::CannotContinue, "this engine cannot go on; ask again")
}

#[test]
fn an_answer_that_one_engine_cannot_go_on_with_goes_to_another_node() {
    let mut world = not_continued_by_this_engine(true);
    let task = world.submit();
    assert_eq!(task.so_far.unwrap().content, "One ");
    assert_eq!((task.excluded.len(), task.second_opinion), (2, true), "a third node, or none");
    assert_eq!(world.attempts.charges.budget, 1, "the second node has done nothing wrong");
    world.accept(3);
    world.token("two");
    assert_eq!(world.attempts.answer.content(), "One two");
    world.lose(3);
    assert!(!world.submit().second_opinion, "what the second node has said is over");
}

#[test]
fn an_answer_that_no_engine_can_go_on_with_ends_with_the_reason_and_what_broke_it_off() {
    let message = "this engine cannot go on; ask again; what broke it off: node n1 was lost: ";
    let mut world = not_continued_by_this_engine(true);
    world.submit();
    let nobody = Box::new(Failure::give_up(Code::Unavailable, "no other node can be asked"));
    let ended = failure(world.attempts.frame(Frame::Failed { seq: None, failure: nobody }, world.now));
    assert_eq!((ended.code, ended.verdict), (Code::CannotContinue, Verdict::GiveUp));
    assert!(ended.message.starts_with(message), "{}", ended.message);
    let mut world = not_continued_by_this_engine(true);
    let ended = loop {
        world.submit();
        world.accept(3);
        match world.fail(cannot()) {
            Step::Again(_) => {}
            step => break failure(step),
        }
    };
    assert_eq!((ended.code, world.attempts.attempts_made()), (Code::CannotContinue, 12), "not for ever");
    assert!(ended.message.starts_with(message), "{}", ended.message);
}

#[test]
fn an_unread_answer_begins_anew_at_the_engine_that_could_not_go_on() {
    let mut world = not_continued_by_this_engine(false);
    let task = world.submit();
    assert_eq!((task.so_far, task.excluded.len(), task.second_opinion), (None, 1, false));
}

#[test]
fn what_broke_an_answer_off_is_not_what_a_node_says_that_gave_nothing_of_it() {
    let mut world = World::new(prompt(), true);
    world.submit();
    world.accept(1);
    world.token("One ");
    world.lose(1);
    world.submit();
    world.accept(2);
    world.fail(Failure::elsewhere(Code::EngineBusy, "the engine is busy"));
    world.submit();
    world.accept(3);
    let ended = failure(world.fail(Failure::give_up(Code::CannotContinue, "it cannot go on")));
    assert!(ended.message.contains("what broke it off: node n1"), "{}", ended.message);
}

#[test]
fn what_a_lost_attempt_still_says_is_not_heard() {
    let settings = Settings { format: Some("json".into()), ..Settings::default() };
    let formatted = Request::Generate(Generate { prompt: "p".into(), settings, ..Generate::default() });
    let mut world = World::new(formatted, false);
    world.submit();
    world.accept(1);
    world.token("{");
    assert_eq!(world.lose(1), Step::Again(Duration::ZERO));
    assert_eq!(world.token("\"a\": 1}"), Step::Wait);
    assert_eq!(
        world.attempts.frame(Frame::Done { seq: 3, pieces: Vec::new(), done: Box::default() }, world.now),
        Step::Wait
    );
    assert_eq!(world.lose(1), Step::Wait, "it is lost once");
    assert_eq!(world.submit().so_far, None, "the answer begins anew, not in its middle");
}

#[test]
fn the_cancel_of_an_attempt_does_not_end_its_task() {
    let mut world = World::new(prompt(), true);
    world.submit();
    assert!(matches!(world.attempts.untaken(world.now), Step::Again(_)));
    // It was taken after all; only the answer to the submission was lost.
    assert_eq!(world.accepted(1), Step::TooLate(node(1)));
    assert_eq!(world.token("One "), Step::Wait);
    assert_eq!(world.fail(Failure::give_up(Code::Cancelled, "the task was cancelled")), Step::Wait);
    let again = world.submit();
    assert_eq!((again.attempt, again.so_far), (2, None));
    world.accept(2);
}

#[test]
fn an_orchestrator_that_did_not_hear_the_nodes_answer_ends_nothing() {
    let mut world = World::new(prompt(), true);
    world.submit();
    world.accept(1);
    let unclear = Failure::elsewhere(Code::Unclear, "node n1 did not say whether it took the task");
    let frame = Frame::Failed { seq: None, failure: Box::new(unclear.clone()) };
    assert_eq!(world.attempts.frame(frame.clone(), world.now), Step::Wait);
    assert_eq!(world.token("One "), Step::Grew);
    assert_eq!(world.attempts.answer.content(), "One ");

    let mut unheard = World::new(prompt(), true);
    unheard.submit();
    assert!(matches!(unheard.attempts.frame(frame, unheard.now), Step::Again(_)), "nobody has accepted it");
    assert_eq!(unheard.attempts.charges.budget, 0);
}

#[test]
fn a_cancel_by_somebody_else_costs_no_budget() {
    let mut world = World::new(prompt(), true);
    for n in 0..10 {
        world.submit();
        world.accept(n);
        let cancelled = Failure::give_up(Code::Cancelled, "the task was cancelled");
        assert_eq!(world.fail(cancelled), Step::Again(Duration::ZERO));
    }
    assert_eq!((world.attempts.charges.budget, world.submit().excluded), (0, Vec::new()));
}

#[test]
fn without_continuation_the_error_is_explicit() {
    let mut world = World::new(prompt(), true);
    world.attempts.limits.continues = false;
    world.submit();
    world.accept(1);
    world.token("One");
    let failure = failure(world.lose(1));
    assert_eq!(failure.code, Code::CannotContinue);
    assert!(failure.message.contains("--continue never"), "{}", failure.message);
}

#[test]
fn an_answer_too_long_for_the_bus_ends_with_an_error() {
    let mut world = World::new(prompt(), true);
    world.submit();
    world.accept(1);
    world.token(&"x".repeat(1001));
    assert!(failure(world.lose(1)).message.contains("too long"));
}

#[test]
fn without_an_orchestrator_a_task_waits_and_then_says_so() {
    let mut world = World::new(prompt(), true);
    world.submit();
    world.attempts.untaken(world.now);
    let early = world.now + Duration::from_secs(59);
    assert_eq!(world.attempts.expired(early), Step::Wait);
    let late = world.now + Duration::from_secs(60);
    assert_eq!(failure(world.attempts.expired(late)).code, Code::Unavailable);
}

#[test]
fn time_in_queues_adds_up_over_attempts() {
    let mut world = World::new(prompt(), true);
    world.submit();
    world.now += Duration::from_secs(2);
    world.accept(1);
    world.now += Duration::from_secs(5);
    world.lose(1);
    assert_eq!(world.submit().waited_ms, 2_000);
    world.now += Duration::from_secs(1);
    world.attempts.untaken(world.now);
    assert_eq!(world.submit().waited_ms, 3_000);
}

#[derive(Debug, Clone)]
enum Happening {
    Submit,
    Taken,
    Untaken,
    Accept(usize),
    Token,
    Lose(usize),
    Elsewhere,
    Cannot,
    Wait,
    Done,
    Later(u64),
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        3 => Just(Happening::Submit),
        1 => Just(Happening::Taken),
        1 => Just(Happening::Untaken),
        2 => (0_usize..5).prop_map(Happening::Accept),
        4 => Just(Happening::Token),
        1 => (0_usize..5).prop_map(Happening::Lose),
        1 => Just(Happening::Elsewhere),
        1 => Just(Happening::Cannot),
        1 => Just(Happening::Wait),
        1 => Just(Happening::Done),
        1 => (0_u64..90_000).prop_map(Happening::Later),
    ]
}

proptest! {
    #[test]
    fn no_count_tells_where_an_answer_was_cut(length in 1_usize..30, cut in 1_usize..30, counts in any::<bool>()) {
        let texts = vec!["a "; length];
        prop_assert_eq!(counted(Some(cut), counts, &texts), counted(None, counts, &texts));
    }

    /// Attempts only rise, nothing given is ever taken back, the budget holds, and there is one end.
    #[test]
    fn whatever_happens_a_task_ends_once(happenings in proptest::collection::vec(happening(), 0..200)) {
        let mut world = World::new(prompt(), true);
        let (mut attempt, mut given, mut ends) = (0, String::new(), 0);
        for (n, happening) in happenings.into_iter().enumerate() {
            let step = match happening {
                Happening::Submit => {
                    let task = world.submit();
                    prop_assert!(task.attempt > attempt);
                    attempt = task.attempt;
                    prop_assert_eq!(task.so_far.map(|it| it.content).unwrap_or_default(), given.clone());
                    Step::Wait
                }
                Happening::Taken => {
                    world.taken((n % 2 == 0).then_some(n))
                }
                Happening::Untaken => world.attempts.untaken(world.now),
                Happening::Accept(n) => world.accepted(n),
                Happening::Token => world.token(&format!("t{n} ")),
                Happening::Lose(n) => world.lose(n),
                Happening::Elsewhere => world.fail(Failure::elsewhere(Code::EngineError, "x")),
                Happening::Cannot => world.fail(cannot()),
                Happening::Wait => world.fail(Failure::wait(Code::Draining, "x")),
                Happening::Done => {
                    world.attempts.frame(Frame::Done { seq: 9, pieces: Vec::new(), done: Box::default() }, world.now)
                }
                Happening::Later(ms) => {
                    world.now += Duration::from_millis(ms);
                    world.attempts.expired(world.now)
                }
            };
            match step {
                Step::Grew => given.push_str(&format!("t{n} ")),
                Step::End(_) => { ends += 1; break; }
                _ => {}
            }
            prop_assert!(world.attempts.charges.budget <= limits().attempts);
        }
        prop_assert_eq!(ends == 1, world.attempts.has_ended());
        prop_assert_eq!(world.attempts.answer.content(), given.as_str());
    }
}

#[test]
fn what_came_is_told_beside_what_was_expected_and_is_that_of_the_last_attempt() {
    let mut world = World::new(prompt(), true);
    let pass = |world: &mut World, ms| world.now += Duration::from_millis(ms);
    world.submit();
    pass(&mut world, 5_000);
    world.accept(1);
    world.token("One ");
    assert_eq!(world.attempts.why().unwrap().measured_ms.wait, Some(5_000));
    world.lose(1);
    world.submit();
    pass(&mut world, 100);
    let mut why = Why::at(node(7));
    why.expected_ms.answer = Some(300);
    why.measured_ms.answer = Some(1);
    world.take(2, Some(why));
    pass(&mut world, 250);
    world.token("two ");
    pass(&mut world, 400);
    let timings = Timings { load_ns: 200_000_000, ..Timings::default() };
    world.done(Done { timings, ..Done::default() });
    let why = world.attempts.why().unwrap();
    assert_eq!((&why.node, why.expected_ms.answer), (&node(2), Some(300)), "it is node 2 that says so");
    let [wait, load, prompt, answer, whole] = [100, 200, 50, 400, 750].map(Some);
    assert_eq!(why.measured_ms, Times { wait, load, prompt, answer, whole });
}

#[test]
fn the_engine_knows_when_an_answer_began_that_came_at_once() {
    let mut world = World::new(prompt(), true);
    world.submit();
    world.accept(1);
    world.now += Duration::from_millis(900);
    world.token("One");
    let timings = Timings { load_ns: u64::MAX, eval_ns: 600_000_000, ..Timings::default() };
    world.done(Done { timings, ..Done::default() });
    let [wait, load, prompt, answer, whole] = [0, 300, 0, 600, 900].map(Some);
    assert_eq!(world.attempts.why().unwrap().measured_ms, Times { wait, load, prompt, answer, whole });
}
