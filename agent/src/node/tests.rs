mod measure;
mod owner;

use std::collections::BTreeSet;

use echo_bus::id::TaskId;
use echo_bus::message::{
    Dispatch, Frame, Generate, Heartbeat, Held, Missing, Named, NodeStatus, Ordered, Piece, Pulse,
    PulseAnswer, Request, Task, Wish,
};
use jiff::tz::TimeZone;
use proptest::prelude::*;

use super::*;
use crate::attempt::Attempt;
use crate::catalog::tests::probe;
use crate::engine::Kind;
use crate::owner::Rules;

/// A node on a bench: time and events by hand, attempts that run until they are told to end.
struct Bench {
    node: Node,
    slots: Slots,
    now: Now,
    running: Vec<Attempt>,
    out: Vec<Action>,
}

const EDGE: &str = "e1";

fn id(task: u128) -> TaskId {
    TaskId::from_u128(task)
}

fn key(task: u128, attempt: u32) -> AttemptId {
    AttemptId { task: id(task), attempt }
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn inbox(text: &str) -> Inbox {
    Inbox::try_from(format!("_INBOX.{text}")).unwrap()
}

fn held(task: u128, attempt: u32) -> Held {
    Held { id: key(task, attempt), seq: None, ended: false }
}

impl Bench {
    fn new(slots: u32) -> Self {
        Self::of(slots, Rules::default())
    }

    /// The same at a machine whose owner has decided something.
    fn of(slots: u32, rules: Rules) -> Self {
        let now = Now::read();
        let identity = Identity {
            node: "n".parse().unwrap(),
            boot: "b1".parse().unwrap(),
            kind: Kind::Ollama,
            slots: Some(slots),
            heartbeat: Duration::from_secs(1),
            load_timeout: Duration::from_secs(300),
            drain_timeout: Duration::from_secs(30),
            model_management: false,
            site: None,
            calibrate: false,
            agent_host: "127.0.0.1".into(),
            agent_port: 9001,
        };
        let owner = Owner::new(rules, TimeZone::UTC, now.unix_ms);
        let slots = Slots::new(owner.rules.offered_slots(slots));
        let link = Link { up: true, epoch: 1, closed: false };
        let facts = Arc::new(Facts::new(slots.limit(), now.at));
        let node = Node::new(identity, owner, slots.clone(), facts, link, now);
        let mut bench = Self { node, slots, now, running: Vec::new(), out: Vec::new() };
        bench.apply(Event::Probed(Ok(probe(&["m"]))));
        bench
    }

    fn apply(&mut self, event: Event) {
        for action in self.node.apply(event, self.now) {
            match action {
                Action::Run(attempt) => self.running.push(*attempt),
                other => self.out.push(other),
            }
        }
    }

    /// Lets time pass, with ticks.
    fn pass(&mut self, time: Duration) {
        let end = self.now.at + time;
        while self.now.at < end {
            self.jump(ms(50));
            self.apply(Event::Tick);
        }
    }

    /// Lets time pass without anybody there.
    fn jump(&mut self, time: Duration) {
        self.now = Now { at: self.now.at + time, unix_ms: self.now.unix_ms + millis(time) };
    }

    fn task(&self, task: u128, attempt: u32) -> Task {
        let request = Request::Generate(Generate { model: Some("m".into()), ..Generate::default() });
        let mut it: Task = serde_json::from_value(serde_json::json!({"request": request})).unwrap();
        (it.task, it.attempt, it.edge) = (id(task), attempt, Some(EDGE.parse().unwrap()));
        it.inbox = Some(inbox(&format!("edge.{EDGE}.k{task}-{attempt}")));
        it
    }

    /// Sends a task and returns the refusal, if it is one.
    fn dispatch(&mut self, task: Task) -> Option<Failure> {
        let running = self.running.len();
        self.out.clear();
        self.apply(Event::Task { message: Ok(Box::new(task)), reply: Some(inbox("orchestrator.o.reply.1")) });
        let refusals = self.out.iter().filter_map(|action| match action {
            Action::Answer { answer: Dispatch::Refused(failure), .. } => Some(failure.clone()),
            _ => None,
        });
        let refusals: Vec<_> = refusals.collect();
        assert_eq!(refusals.len() + self.running.len() - running, 1, "every task gets one answer");
        refusals.into_iter().next()
    }

    fn code(&mut self, task: Task) -> Option<Code> {
        self.dispatch(task).map(|failure| failure.code)
    }

    /// An attempt ends as it would at the engine: slot first, then the end, then the report.
    fn end(&mut self, task: u128, attempt: u32, end: End) {
        let place = self.running.iter().position(|it| it.key == key(task, attempt)).expect("it runs");
        let mut it = self.running.remove(place);
        drop(it.slot.take());
        let mut replay = it.replay.lock().unwrap();
        match &end {
            End::Done => drop(replay.done(Vec::new(), Box::default())),
            End::Failed(failure) => drop(replay.failed(failure.clone())),
            End::Halted => drop(replay.failed(Failure::give_up(Code::Cancelled, ""))),
        }
        drop(replay);
        self.apply(Event::Freed);
        self.report(it, end);
    }

    fn trials(&self) -> Vec<String> {
        let trial = |action: &Action| match action {
            Action::Try(trial) => Some(trial.model.clone()),
            _ => None,
        };
        self.out.iter().filter_map(trial).collect()
    }

    fn report(&mut self, it: Attempt, end: End) {
        let report = Report { end, ..Report::of(&it) };
        self.apply(Event::Ended(Box::new(report)));
    }

    fn answer_pulse(&mut self, asked: &[AttemptId], unwanted: Vec<Held>, missing: Vec<Missing>) {
        let answer = Some(PulseAnswer { unwanted, missing });
        self.apply(Event::Pulsed { edge: EDGE.parse().unwrap(), asked: asked.to_vec(), answer });
    }

    fn beats(&mut self) -> Vec<Heartbeat> {
        let beat =
            |action: &Action| if let Action::Beat(beat) = action { Some((**beat).clone()) } else { None };
        let beats = self.out.iter().filter_map(beat).collect();
        self.out.clear();
        beats
    }

    fn pulses(&mut self) -> Vec<Pulse> {
        let pulse = |action: &Action| {
            if let Action::Pulse { pulse, .. } = action { Some(pulse.clone()) } else { None }
        };
        let pulses = self.out.iter().filter_map(pulse).collect();
        self.out.clear();
        pulses
    }

    fn may_start(&mut self, task: u128, attempt: u32) -> bool {
        let it = self.running.iter_mut().find(|it| it.key == key(task, attempt)).expect("it is held");
        it.confirmed.as_mut().is_none_or(|confirmed| confirmed.try_recv().is_ok())
    }

    fn is_stopped(&self, task: u128, attempt: u32) -> bool {
        let it = self.running.iter().find(|it| it.key == key(task, attempt)).expect("it is held");
        it.halt.is_stopped()
    }
}

impl Report {
    /// Of an attempt that has ended well.
    fn of(it: &Attempt) -> Self {
        Self {
            key: it.key,
            model: it.model.clone(),
            request: it.order.request.fingerprint(),
            end: End::Done,
            generates: true,
            tokens: 1,
            tokens_per_second: None,
            load: None,
            moves: false,
            first_piece: None,
        }
    }
}

#[test]
fn a_task_is_taken_once_and_a_full_node_says_so() {
    let mut bench = Bench::new(1);
    assert_eq!(bench.code(bench.task(1, 1)), None);
    assert_eq!(bench.code(bench.task(1, 1)), Some(Code::Unclear));
    assert_eq!(bench.code(bench.task(2, 1)), Some(Code::Full));
    bench.end(1, 1, End::Done);
    assert_eq!(bench.code(bench.task(1, 1)), Some(Code::Unclear), "its frames are still kept");
    bench.answer_pulse(&[], vec![held(1, 1)], vec![]);
    assert_eq!(bench.code(bench.task(1, 1)), Some(Code::Cancelled), "and now they are gone");
    assert_eq!(bench.code(bench.task(2, 1)), None);
}

#[test]
fn a_cancel_ends_lower_attempts_and_those_that_come_after_it() {
    let mut bench = Bench::new(3);
    bench.dispatch(bench.task(1, 1));
    bench.apply(Event::Cancel(Cancel(key(1, 2))));
    assert!(bench.is_stopped(1, 1));
    assert_eq!(bench.code(bench.task(1, 2)), Some(Code::Cancelled));
    assert_eq!(bench.code(bench.task(1, 3)), None);
}

#[test]
fn a_higher_attempt_ends_a_lower_one_and_never_the_other_way() {
    let mut bench = Bench::new(2);
    bench.dispatch(bench.task(1, 2));
    assert_eq!(bench.code(bench.task(1, 1)), Some(Code::Cancelled));
    assert!(!bench.is_stopped(1, 2));
    assert_eq!(bench.code(bench.task(1, 3)), None);
    assert!(bench.is_stopped(1, 2));
}

#[test]
fn what_cannot_be_run_is_refused_with_the_reason() {
    let mut bench = Bench::new(1);
    let other = Task { boot: Some("b0".parse().unwrap()), ..bench.task(1, 1) };
    assert_eq!(bench.code(other), Some(Code::WrongBoot));
    assert_eq!(bench.code(Task { remaining_ms: 0, ..bench.task(1, 1) }), Some(Code::Expired));
    assert_eq!(bench.code(Task { request: Request::Unknown, ..bench.task(1, 1) }), Some(Code::BadRequest));
    let named = |model: &str| Named { model: model.into(), ..Named::default() };
    let other = Task { request: Request::Show(named("x")), ..bench.task(1, 1) };
    let failure = bench.dispatch(other).unwrap();
    assert_eq!((failure.code, failure.served), (Code::ModelMissing, vec!["m:latest".to_owned()]));
    assert_eq!(
        bench.code(Task { request: Request::Pull(named("x")), ..bench.task(1, 1) }),
        Some(Code::NotAllowed)
    );
    bench.apply(Event::Task { message: Err("no JSON".into()), reply: None });
    bench.apply(Event::Drain);
    assert_eq!(bench.code(bench.task(1, 1)), Some(Code::Draining));
    bench.apply(Event::Resume);
    assert_eq!(bench.code(bench.task(1, 1)), None);
}

#[test]
fn requests_about_models_need_no_slot() {
    let mut bench = Bench::new(1);
    bench.dispatch(bench.task(1, 1));
    let named = Named { model: "m".into(), ..Named::default() };
    for task in 2..18 {
        assert_eq!(bench.code(Task { request: Request::Show(named.clone()), ..bench.task(task, 1) }), None);
    }
    assert_eq!(bench.code(Task { request: Request::Show(named), ..bench.task(99, 1) }), Some(Code::Full));
    assert_eq!(bench.slots.taken(), 1);
}

#[test]
fn after_a_gap_nothing_starts_before_its_edge_confirms_it() {
    let mut bench = Bench::new(4);
    bench.jump(Duration::from_secs(3));
    assert_eq!(bench.code(bench.task(1, 1)), None);
    let asked: Vec<Held> = bench.pulses().into_iter().flat_map(|pulse| pulse.held).collect();
    assert_eq!(asked, [held(1, 1)], "the edge is asked at once");
    assert_eq!(bench.code(Task { edge: None, ..bench.task(2, 1) }), Some(Code::Unavailable));
    bench.dispatch(bench.task(3, 1));
    bench.answer_pulse(&[key(1, 1), key(3, 1)], vec![held(3, 1)], vec![]);
    assert!(bench.may_start(1, 1));
    assert!(!bench.may_start(3, 1) && bench.is_stopped(3, 1));
}

#[test]
fn a_gap_is_over_when_a_later_round_trip_is_back() {
    let mut bench = Bench::new(4);
    bench.jump(Duration::from_secs(3));
    bench.apply(Event::Tick);
    let gap = bench.out.iter().find_map(|it| if let Action::RoundTrip(gap) = it { Some(*gap) } else { None });
    bench.dispatch(bench.task(1, 1));
    assert!(!bench.may_start(1, 1));
    bench.apply(Event::CameBack(gap.unwrap(), true));
    bench.dispatch(bench.task(2, 1));
    assert!(bench.may_start(2, 1));
    bench.apply(Event::Link(Link { up: true, epoch: 2, closed: false }));
    bench.dispatch(bench.task(3, 1));
    assert!(!bench.may_start(3, 1), "a reconnect is a gap");
}

#[test]
fn frames_are_kept_until_the_edge_has_them() {
    let mut bench = Bench::new(1);
    bench.dispatch(bench.task(1, 1));
    drop(bench.running[0].replay.lock().unwrap().token(vec![Piece::text("a")]).unwrap());
    bench.end(1, 1, End::Done);
    bench.out.clear();
    bench.pass(ms(300));
    let pulses = bench.pulses();
    assert_eq!(pulses[0].held, [Held { seq: Some(1), ended: true, ..held(1, 1) }]);
    bench.answer_pulse(&[key(1, 1)], vec![], vec![Missing { id: key(1, 1), from: 0, to: 7 }]);
    assert!(bench.out.iter().any(|it| matches!(it, Action::Resend { frames, .. } if frames.len() == 2)));
    bench.answer_pulse(&[key(1, 1)], vec![held(1, 1)], vec![]);
    bench.out.clear();
    bench.pass(ms(600));
    assert!(bench.pulses().is_empty());
}

#[test]
fn an_ended_attempt_is_forgotten_after_five_seconds_of_silence() {
    let mut bench = Bench::new(1);
    bench.dispatch(bench.task(1, 1));
    bench.end(1, 1, End::Done);
    bench.apply(Event::Link(Link { up: false, epoch: 1, closed: false }));
    bench.pass(ms(4800));
    assert!(!bench.node.holdings.is_empty());
    bench.pass(ms(400));
    assert!(bench.node.holdings.is_empty());
}

#[test]
fn one_pulse_at_a_time_goes_to_an_edge() {
    let mut bench = Bench::new(2);
    bench.dispatch(bench.task(1, 1));
    bench.dispatch(bench.task(2, 1));
    bench.out.clear();
    bench.pass(ms(1000));
    let pulses = bench.pulses();
    assert_eq!((pulses.len(), pulses[0].held.len()), (1, 2));
    bench.answer_pulse(&[], vec![], vec![]);
    bench.pass(ms(1000));
    assert_eq!(bench.pulses().len(), 1);
}

#[test]
fn a_dead_edge_frees_its_slots_but_not_while_we_are_cut_off() {
    let mut bench = Bench::new(1);
    bench.dispatch(bench.task(1, 1));
    bench.apply(Event::Link(Link { up: false, epoch: 1, closed: false }));
    bench.pass(ms(20_000));
    assert!(!bench.is_stopped(1, 1), "our own outage blames nobody");
    bench.apply(Event::Link(Link { up: true, epoch: 2, closed: false }));
    bench.pass(ms(4_800));
    assert!(!bench.is_stopped(1, 1));
    bench.pass(ms(400));
    assert!(bench.is_stopped(1, 1));
}

#[test]
fn an_edge_that_answers_lives() {
    let mut bench = Bench::new(1);
    bench.dispatch(bench.task(1, 1));
    for _ in 0..40 {
        bench.pass(ms(300));
        bench.answer_pulse(&[key(1, 1)], vec![], vec![]);
    }
    assert!(!bench.is_stopped(1, 1));
}

#[test]
fn heartbeats_count_and_list_and_are_silent_while_disconnected() {
    let mut bench = Bench::new(1);
    bench.beats();
    bench.pass(ms(3000));
    let beats = bench.beats();
    assert!(beats.windows(2).all(|pair| pair[1].number == pair[0].number + 1));
    assert!(beats.windows(2).all(|pair| pair[0].models.is_some() || pair[1].models.is_some()));
    assert!(beats.len() == 3 && beats.iter().any(|beat| beat.models.is_none()));
    bench.dispatch(bench.task(1, 1));
    let Dispatch::Accepted { heartbeat, .. } = bench.running[0].answer else { panic!() };
    bench.out.clear();
    bench.pass(ms(50));
    let beat = bench.beats().remove(0);
    assert!(beat.number > heartbeat, "the acceptance names an older one");
    assert_eq!((beat.status, beat.active), (NodeStatus::Busy, vec![held(1, 1)]));
    bench.apply(Event::Link(Link { up: false, epoch: 1, closed: false }));
    bench.pass(ms(3000));
    assert!(bench.beats().is_empty());
}

#[test]
fn a_full_node_says_within_milliseconds_that_it_is_free() {
    let mut bench = Bench::new(1);
    bench.dispatch(bench.task(1, 1));
    bench.pass(ms(50));
    bench.jump(ms(6));
    bench.out.clear();
    bench.end(1, 1, End::Done);
    let beat = bench.beats().remove(0);
    assert_eq!((beat.status, beat.active.len()), (NodeStatus::Idle, 0));
}

fn stalled() -> End {
    End::Failed(Failure::elsewhere(Code::EngineStalled, "no further token"))
}

#[test]
fn what_silence_showed_is_known_to_the_next_placement() {
    let mut bench = Bench::new(2);
    bench.pass(ms(50));
    bench.dispatch(bench.task(1, 1));
    bench.out.clear();
    bench.end(1, 1, stalled());
    bench.pass(ms(50));
    let beat = bench.beats().pop().unwrap();
    assert_eq!(beat.status, NodeStatus::Unavailable, "its only model is closed");
    assert!(beat.reason.ends_with("no further token"));
    assert!(beat.models.unwrap()[0].unavailable.contains("no further token"));
    assert_eq!(bench.code(bench.task(2, 1)), Some(Code::Unavailable));
    assert!(bench.trials().is_empty(), "the engine may be gone: it is asked first");
    bench.apply(Event::Probed(Ok(probe(&["m"]))));
    bench.pass(ms(50));
    assert_eq!(bench.trials(), ["m:latest"]);
    bench.out.clear();
    bench.apply(Event::Tried("m:latest".into(), Ok(())));
    bench.pass(ms(50));
    assert_eq!(bench.beats().pop().unwrap().status, NodeStatus::Idle);
    assert_eq!(bench.code(bench.task(3, 1)), None);
}

#[test]
fn a_model_that_fails_its_trial_rests_and_the_other_models_do_not() {
    let mut bench = Bench::new(2);
    bench.apply(Event::Probed(Ok(probe(&["m", "n"]))));
    bench.dispatch(bench.task(1, 1));
    bench.end(1, 1, stalled());
    bench.apply(Event::Probed(Ok(probe(&["m", "n"]))));
    bench.pass(ms(50));
    bench.out.clear();
    let boom = Failure::elsewhere(Code::EngineError, "boom");
    bench.apply(Event::Tried("m:latest".into(), Err(boom)));
    bench.pass(ms(50));
    let beat = bench.beats().pop().unwrap();
    assert_eq!(beat.status, NodeStatus::Idle);
    let models = beat.models.unwrap();
    assert!(models[0].unavailable.ends_with("boom") && models[1].unavailable.is_empty());
    assert_eq!(bench.code(bench.task(2, 1)), Some(Code::Unavailable));
    let mut other = bench.task(3, 1);
    other.request = Request::Generate(Generate { model: Some("n".into()), ..Generate::default() });
    assert_eq!(bench.code(other), None);
    bench.out.clear();
    bench.pass(ms(1100));
    bench.apply(Event::Probed(Ok(probe(&["m", "n"]))));
    bench.pass(ms(50));
    assert_eq!(bench.trials(), ["m:latest"], "it is tried again by itself");
}

#[test]
fn a_trial_asks_for_the_model_as_it_is_and_not_as_a_failed_task_wanted_it() {
    let mut bench = Bench::new(2);
    let mut task = bench.task(1, 1);
    let options = serde_json::json!({"num_ctx": 10_000_000});
    let mut settings = echo_bus::message::Settings::default();
    settings.extra.insert("options".into(), options);
    task.request = Request::Generate(Generate { model: Some("m".into()), settings, ..Generate::default() });
    assert_eq!(bench.code(task), None);
    let words = "model requires more system memory";
    let refused = Failure::elsewhere(Code::EngineError, words).saying(Some(500), words);
    bench.end(1, 1, End::Failed(refused));
    bench.out.clear();
    bench.pass(ms(50));
    let trial = bench.out.iter().find_map(|action| match action {
        Action::Try(trial) => Some(trial.order.request.load_options()),
        _ => None,
    });
    assert!(trial.flatten().is_some_and(|options| options.is_empty()));
}

#[test]
fn a_drained_node_tries_nothing() {
    let mut bench = Bench::new(2);
    bench.dispatch(bench.task(1, 1));
    bench.apply(Event::Drain);
    bench.end(1, 1, stalled());
    bench.apply(Event::Probed(Ok(probe(&["m"]))));
    bench.pass(ms(200));
    assert!(bench.trials().is_empty());
}

#[test]
fn an_order_from_the_bus_drains_and_resumes_and_each_is_answered() {
    let mut bench = Bench::new(1);
    let mut order = |wish, expected| {
        bench.out.clear();
        bench.apply(Event::Ordered { wish, reply: None });
        let said = bench.out.iter().find_map(|it| match it {
            Action::Ordered { now, .. } => Some(*now),
            _ => None,
        });
        assert_eq!(said, Some(expected), "{wish:?}");
        bench.code(bench.task(1, 1))
    };
    let now = |draining, stopping| Ordered { draining, stopping };
    assert_eq!(order(Some(Wish::Drain), now(true, false)), Some(Code::Draining));
    // What cannot be read changes nothing, and is answered all the same.
    assert_eq!(order(None, now(true, false)), Some(Code::Draining));
    assert_eq!(order(Some(Wish::Unknown), now(true, false)), Some(Code::Draining));
    assert_eq!(order(Some(Wish::Resume), now(false, false)), None);
    bench.apply(Event::Stop);
    bench.out.clear();
    bench.apply(Event::Ordered { wish: Some(Wish::Resume), reply: None });
    let left = |it: &Action| matches!(it, Action::Ordered { now, .. } if now.draining && now.stopping);
    assert!(bench.out.iter().any(left), "a node that leaves says so");
}

#[test]
fn refused_requests_close_nothing() {
    let mut bench = Bench::new(2);
    for number in 1..=5 {
        let mut task = bench.task(number, 1);
        let prompt = format!("mistake {number}");
        task.request = Request::Generate(Generate { model: Some("m".into()), prompt, ..Generate::default() });
        assert_eq!(bench.code(task), None, "the model is open");
        let refusal = Failure::elsewhere(Code::EngineError, "boom").saying(Some(500), "boom");
        bench.end(number, 1, End::Failed(refusal));
    }
    bench.out.clear();
    bench.pass(ms(50));
    assert_eq!(bench.trials(), ["m:latest"]);
    assert!(bench.beats().iter().all(|beat| beat.status == NodeStatus::Idle));
}

#[test]
fn an_engine_that_is_gone_is_asked_every_second_and_back_with_its_first_answer() {
    let mut bench = Bench::new(1);
    let down = || Err(Down { reason: "connection refused".into(), slow: false });
    bench.apply(Event::Probed(down()));
    assert_eq!(bench.code(bench.task(1, 1)), Some(Code::Unavailable));
    for _ in 0..3 {
        bench.out.clear();
        bench.pass(ms(1000));
        assert!(bench.out.iter().any(|it| matches!(it, Action::Probe)));
        bench.apply(Event::Probed(down()));
    }
    bench.apply(Event::Probed(Ok(probe(&["m"]))));
    assert_eq!(bench.code(bench.task(1, 1)), None);
}

#[test]
fn a_stop_waits_for_the_tasks_and_then_hands_them_over() {
    let mut bench = Bench::new(2);
    bench.dispatch(bench.task(1, 1));
    bench.dispatch(bench.task(2, 1));
    bench.out.clear();
    bench.apply(Event::Stop);
    bench.pass(ms(100));
    assert_eq!(bench.beats()[0].status, NodeStatus::Draining);
    assert_eq!(bench.code(bench.task(3, 1)), Some(Code::Draining));
    bench.end(1, 1, End::Done);
    for _ in 0..90 {
        bench.pass(ms(300));
        bench.answer_pulse(&[], vec![], vec![]);
    }
    assert!(!bench.is_stopped(2, 1));
    bench.pass(ms(3500));
    assert!(bench.is_stopped(2, 1));
    bench.end(2, 1, End::Halted);
    bench.pass(ms(100));
    assert!(!bench.out.iter().any(|it| matches!(it, Action::Leave(_))), "the edge may miss the end");
    bench.answer_pulse(&[], vec![held(1, 1), held(2, 1)], vec![]);
    bench.pass(ms(50));
    assert!(bench.out.iter().any(|it| matches!(it, Action::Leave(Leave::Drained))));
}

#[test]
fn an_idle_agent_stops_at_once() {
    let mut bench = Bench::new(1);
    bench.apply(Event::Stop);
    bench.pass(ms(50));
    assert!(bench.out.iter().any(|it| matches!(it, Action::Leave(Leave::Drained))));
}

#[test]
fn the_younger_of_two_with_one_id_leaves() {
    for (uptime_ms, leaves) in [(3_600_000, true), (1, false)] {
        let mut bench = Bench::new(1);
        bench.pass(ms(2000));
        // As it comes by the bus.
        let own = serde_json::to_value(bench.beats().remove(0)).unwrap();
        let mut beat: Namesake = serde_json::from_value(own).unwrap();
        bench.dispatch(bench.task(1, 1));
        (beat.boot, beat.uptime_ms) = ("b0".parse().unwrap(), uptime_ms);
        for number in [7, 7, 8] {
            assert!(!bench.out.iter().any(|it| matches!(it, Action::Leave(_))), "one beat may be a late one");
            beat.number = number;
            bench.apply(Event::Beat(beat.clone()));
        }
        let left = bench.out.iter().any(|it| matches!(it, Action::Leave(Leave::DuplicateNode(_))));
        assert_eq!((left, bench.is_stopped(1, 1)), (leaves, leaves));
    }
}

#[test]
fn a_crashed_attempt_still_gets_its_end() {
    let mut bench = Bench::new(1);
    bench.dispatch(bench.task(1, 1));
    let mut crashed = bench.running.remove(0);
    drop(crashed.slot.take());
    bench.out.clear();
    bench.report(crashed, End::Failed(Failure::elsewhere(Code::EngineError, "")));
    let end = bench.out.iter().any(|it| {
        matches!(it, Action::Resend { frames, .. } if matches!(frames[..], [Frame::Failed { seq: Some(0), .. }]))
    });
    assert!(end);
}

proptest! {
    #[test]
    fn counts_are_exact_whatever_happens(
        slots in 1u32..4,
        steps in prop::collection::vec((0u8..12, 0u128..6, 1u32..4, 0u64..1500), 1..120),
    ) {
        let mut bench = Bench::new(slots);
        let mut started = BTreeSet::new();
        let mut epoch = 1;
        for (what, task, attempt, wait) in steps {
            match what {
                0..=3 => {
                    let before = bench.running.len();
                    bench.dispatch(bench.task(task, attempt));
                    if bench.running.len() > before {
                        prop_assert!(started.insert(key(task, attempt)), "started twice");
                    }
                }
                4 => bench.apply(Event::Cancel(Cancel(key(task, attempt)))),
                5 | 6 => {
                    if let Some(it) = bench.running.first() {
                        let (task, attempt) = (it.key.task, it.key.attempt);
                        let place = (0u128..6).find(|number| id(*number) == task).unwrap();
                        let end = if it.halt.is_stopped() { End::Halted } else { End::Done };
                        bench.end(place, attempt, end);
                    }
                }
                7 => bench.answer_pulse(&[key(task, attempt)], vec![held(task, attempt)], vec![]),
                8 => bench.answer_pulse(&[key(task, attempt)], vec![], vec![]),
                9 => bench.jump(ms(wait)),
                10 => {
                    epoch += wait % 2;
                    bench.apply(Event::Link(Link { up: wait % 2 == 1, epoch, closed: false }));
                }
                _ => bench.pass(ms(wait)),
            }
            prop_assert_eq!(bench.slots.taken(), bench.running.len());
            prop_assert!(bench.running.len() <= slots as usize);
            for beat in bench.beats() {
                prop_assert!(beat.active.len() <= slots as usize);
            }
        }
        while let Some(it) = bench.running.first() {
            let (place, attempt) = ((0u128..6).find(|number| id(*number) == it.key.task).unwrap(), it.key.attempt);
            bench.end(place, attempt, End::Done);
        }
        bench.apply(Event::Link(Link { up: true, epoch: epoch + 1, closed: false }));
        bench.pass(ms(6000));
        prop_assert_eq!(bench.slots.taken(), 0);
        prop_assert!(bench.node.holdings.is_empty(), "nothing is kept for ever");
        prop_assert_eq!(bench.beats().pop().unwrap().active.len(), 0);
    }
}

#[test]
fn a_wish_to_think_is_forgotten_where_the_model_may_not_be_able_and_the_wish_not_to_is_kept() {
    let mut bench = Bench::new(4);
    for (number, wish, kept) in
        [(1, "low".into(), None), (2, true.into(), None), (3, false.into(), Some(false))]
    {
        let mut task = bench.task(number, 1);
        let settings = task.request.settings_mut().unwrap();
        (settings.think, settings.think_if_able) = (Some(wish), true);
        assert_eq!(bench.dispatch(task), None);
        let asked = bench.running.last_mut().unwrap().order.request.settings_mut().unwrap();
        assert_eq!(asked.think, kept.map(serde_json::Value::Bool));
    }
}
