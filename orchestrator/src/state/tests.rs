//! What an orchestrator promises, one claim a test.

use echo_broker::id::{BootId, Inbox};
use echo_broker::message::{
    Cancel, Failure, Frame, Heartbeat, NodeStatus, PulseAnswer, Submission, Task, Verdict,
};
use serde_json::{Value, json};

use super::*;
use crate::event::{Answer, Asked};
use crate::testkit::{self, Clock, Words as _, beat, inbox, model, reply};

/// An orchestrator that has heard of everybody, its clock, and what it did.
struct Rig {
    state: State,
    clock: Clock,
}

impl Rig {
    fn new(limits: Limits) -> Self {
        let clock = Clock::new();
        let state = State::new("o".parse().unwrap(), "o-1".parse().unwrap(), limits, clock.now());
        Self { state, clock }
    }

    /// Past the time in which a started orchestrator learns the mesh.
    fn settled() -> Self {
        let mut rig = Self::new(Limits::default());
        rig.wait(3_000);
        rig
    }

    fn with(beats: impl IntoIterator<Item = Heartbeat>) -> Self {
        let mut rig = Self::settled();
        for beat in beats {
            rig.beat(beat);
        }
        rig
    }

    fn apply(&mut self, event: Event) -> Vec<Action> {
        self.state.apply(event, self.clock.now())
    }

    fn beat(&mut self, beat: Heartbeat) -> Vec<Action> {
        self.apply(Event::Beat(Box::new(beat)))
    }

    /// Lets time pass as it does, tick by tick.
    fn wait(&mut self, ms: u64) -> Vec<Action> {
        let mut done = Vec::new();
        for _ in 0..ms / 50 {
            self.clock.pass(50);
            done.extend(self.apply(Event::Tick));
        }
        done
    }

    fn submit(&mut self, id: u128, more: Value) -> Vec<Action> {
        let task = Ok(Box::new(testkit::task(id, more)));
        self.apply(Event::Submitted { task, reply: Some(reply()) })
    }

    fn answer(&mut self, asked: &Asked, answer: Answer) -> Vec<Action> {
        self.apply(Event::Answered { asked: asked.clone(), answer })
    }

    fn cancel(&mut self, id: u128, attempt: u32) -> Vec<Action> {
        self.apply(Event::Cancelled(Cancel { task: TaskId::from_u128(id), attempt }))
    }

    fn used(&self, node: &str) -> u32 {
        self.state.registry.iter().find(|(_, it)| it.id().as_str() == node).unwrap().1.used()
    }
}

fn one(node: &str) -> Heartbeat {
    beat(node, 1).models([model("m")]).build()
}

fn asked(actions: &[Action]) -> Vec<(Asked, Task)> {
    let asked = actions.iter().filter_map(|action| match action {
        Action::Dispatch { asked, task } => Some((asked.clone(), (**task).clone())),
        _ => None,
    });
    asked.collect()
}

fn only_asked(actions: &[Action]) -> Asked {
    let asked = asked(actions);
    assert_eq!(asked.len(), 1, "{actions:?}");
    asked[0].0.clone()
}

fn refusal(actions: &[Action]) -> Failure {
    match actions {
        [Action::Answer { answer: Submission::Refused(failure), .. }] => failure.clone(),
        other => panic!("no refusal: {other:?}"),
    }
}

fn frames(actions: &[Action]) -> Vec<(Inbox, Frame)> {
    let frames = actions.iter().filter_map(|action| match action {
        Action::Frame { to, frame } => Some((to.clone(), frame.clone())),
        _ => None,
    });
    frames.collect()
}

fn failures(actions: &[Action]) -> Vec<(Inbox, Failure)> {
    let failed = frames(actions).into_iter().filter_map(|(to, frame)| match frame {
        Frame::Failed { seq: None, failure } => Some((to, *failure)),
        _ => None,
    });
    failed.collect()
}

fn positions(actions: &[Action]) -> Vec<(Inbox, u32, Option<u64>)> {
    let queued = frames(actions).into_iter().filter_map(|(to, frame)| match frame {
        Frame::Queued { position, expected_wait_ms, .. } => Some((to, position, expected_wait_ms)),
        _ => None,
    });
    queued.collect()
}

fn cancels(actions: &[Action]) -> Vec<(String, Cancel)> {
    let cancels = actions.iter().filter_map(|action| match action {
        Action::CancelAt { node, cancel } => Some((node.to_string(), *cancel)),
        _ => None,
    });
    cancels.collect()
}

fn pulses(actions: &[Action]) -> Vec<(String, Vec<Held>)> {
    let pulses = actions.iter().filter_map(|action| match action {
        Action::Pulse { edge, pulse } => Some((edge.to_string(), pulse.held.clone())),
        _ => None,
    });
    pulses.collect()
}

const ACCEPTED: Answer = Answer::Accepted { heartbeat: 1 };

#[test]
fn a_task_is_taken_first_and_then_given_to_a_node_with_all_it_needs() {
    let mut rig = Rig::with([beat("a", 1).models([model("m:latest")]).build()]);
    let done = rig.submit(1, json!({"remaining_ms": 5_000}));
    assert!(matches!(&done[0], Action::Answer { answer: Submission::Taken { .. }, .. }), "{done:?}");
    let (asked, task) = asked(&done).remove(0);
    assert_eq!((asked.node.as_str(), task.boot.as_ref().map(BootId::as_str)), ("a", Some("a-1")));
    assert_eq!((task.request.model(), task.remaining_ms), (Some("m:latest"), 5_000));
    assert_eq!(task.chosen, "the only node with m:latest");
    assert_eq!(task.inbox, Some(inbox(1, 1)));
}

#[test]
fn a_task_without_inbox_or_model_streams_to_its_reply_subject() {
    let mut rig = Rig::with([one("a")]);
    let task = serde_json::from_value(json!({"request": {"kind": "generate", "prompt": "hi"}})).unwrap();
    let done = rig.apply(Event::Submitted { task: Ok(Box::new(task)), reply: Some(reply()) });
    let (_, task) = asked(&done).remove(0);
    assert_eq!((task.inbox, task.request.model()), (Some(reply()), Some("m")));
}

#[test]
fn an_unreadable_submission_is_answered() {
    let mut rig = Rig::with([one("a")]);
    let done = rig.apply(Event::Submitted { task: Err("no request".to_owned()), reply: Some(reply()) });
    assert_eq!(refusal(&done).code, Code::BadRequest);
}

#[test]
fn no_node_and_unknown_models_are_refused_at_once() {
    assert_eq!(refusal(&Rig::settled().submit(1, json!({}))).code, Code::NoNode);
    let mut rig = Rig::with([beat("a", 1).models([model("x")]).build()]);
    let failure = refusal(&rig.submit(1, json!({})));
    assert_eq!((failure.code, failure.verdict), (Code::ModelNotServed, Verdict::GiveUp));
    assert_eq!(failure.served, ["x"]);
}

#[test]
fn a_started_orchestrator_learns_the_mesh_before_it_refuses() {
    let mut rig = Rig::new(Limits::default());
    assert!(refusals(&rig.submit(1, json!({}))).is_empty());
    assert!(refusals(&rig.submit(2, json!({"request": {"kind": "generate"}}))).is_empty());
    rig.wait(1_000);
    assert!(asked(&rig.beat(beat("a", 1).slots(2).build())).is_empty());
    let done = rig.beat(beat("a", 2).slots(2).models([model("m")]).build());
    assert_eq!(asked(&done).len(), 2);
}

fn refusals(actions: &[Action]) -> Vec<&Failure> {
    let refused = actions.iter().filter_map(|action| match action {
        Action::Answer { answer: Submission::Refused(failure), .. } => Some(failure),
        _ => None,
    });
    refused.collect()
}

#[test]
fn after_learning_a_held_task_that_nobody_serves_fails() {
    let mut rig = Rig::new(Limits::default());
    rig.submit(1, json!({}));
    let done = rig.wait(2_400);
    assert!(failures(&done).is_empty());
    let failed = failures(&rig.wait(200));
    assert_eq!((failed.len(), failed[0].1.code), (1, Code::NoNode));
    assert_eq!(rig.state.held(), 0);
}

#[test]
fn a_restarted_node_may_still_tell_what_it_serves() {
    let mut rig = Rig::with([one("a")]);
    rig.beat(beat("a", 1).boot("a-2").build());
    assert!(refusals(&rig.submit(1, json!({}))).is_empty());
    let done = rig.beat(beat("a", 2).boot("a-2").models([model("m")]).build());
    assert_eq!(only_asked(&done).boot.as_str(), "a-2");
}

#[test]
fn beyond_the_slots_tasks_wait_and_hear_where() {
    let mut rig = Rig::with([one("a")]);
    rig.submit(1, json!({}));
    let done = rig.submit(2, json!({}));
    assert!(asked(&done).is_empty());
    assert_eq!(positions(&done), [(inbox(2, 1), 1, None)]);
    assert_eq!(positions(&rig.submit(3, json!({})))[0].1, 2);
}

#[test]
fn a_free_slot_goes_to_who_waited_longest_over_all_models_and_orchestrators() {
    let mut rig = Rig::with([beat("a", 1).models([model("m"), model("n")]).build()]);
    let first = only_asked(&rig.submit(1, json!({})));
    rig.answer(&first, ACCEPTED);
    rig.submit(2, json!({}));
    rig.wait(100);
    rig.submit(3, json!({"request": {"kind": "generate", "model": "n"}, "waited_ms": 5_000}));
    let done = rig.beat(beat("a", 2).build());
    let (asked, task) = asked(&done).remove(0);
    assert_eq!(asked.task, TaskId::from_u128(3));
    assert_eq!((task.request.model(), task.waited_ms), (Some("n"), 5_000));
}

#[test]
fn a_waiting_task_hears_its_new_position_at_most_once_a_second() {
    let mut rig = Rig::with([one("a")]);
    let first = only_asked(&rig.submit(1, json!({})));
    for id in 2..=4 {
        rig.submit(id, json!({}));
    }
    rig.cancel(2, 1);
    assert!(positions(&rig.wait(900)).is_empty());
    rig.cancel(3, 1);
    assert_eq!(positions(&rig.wait(2_000)), [(inbox(4, 1), 1, None)]);
    rig.answer(&first, ACCEPTED);
}

#[test]
fn an_expected_wait_is_measured() {
    let mut rig = Rig::with([beat("a", 1).slots(2).models([model("m")]).build()]);
    let first = only_asked(&rig.submit(1, json!({})));
    rig.submit(2, json!({}));
    assert_eq!(positions(&rig.submit(3, json!({})))[0].2, None, "nothing has ended yet");
    rig.answer(&first, ACCEPTED);
    rig.wait(2_000);
    rig.beat(beat("a", 2).slots(2).build());
    let waiting = positions(&rig.submit(4, json!({})));
    assert_eq!((waiting[0].1, waiting[0].2), (1, Some(1_000)), "two seconds a task, two slots");
}

#[test]
fn a_full_queue_refuses_with_the_measured_time() {
    let mut rig = Rig::new(Limits { queue_limit: 1, ..Limits::default() });
    rig.wait(3_000);
    rig.beat(one("a"));
    let first = only_asked(&rig.submit(1, json!({})));
    rig.submit(2, json!({}));
    let failure = refusal(&rig.submit(3, json!({})));
    assert_eq!((failure.code, failure.retry_after_ms), (Code::QueueFull, None));
    rig.answer(&first, ACCEPTED);
    rig.wait(1_000);
    rig.beat(beat("a", 2).build());
    rig.submit(4, json!({}));
    assert_eq!(refusal(&rig.submit(5, json!({}))).retry_after_ms, Some(1_000));
}

#[test]
fn a_wait_ends_with_a_word() {
    let mut rig = Rig::with([beat("a", 1).status(NodeStatus::Draining).models([model("m")]).build()]);
    rig.state.limits.evict_after = Duration::from_secs(3_600);
    rig.submit(1, json!({}));
    rig.submit(2, json!({"remaining_ms": 1_000}));
    let early = failures(&rig.wait(1_000));
    assert_eq!((early.len(), early[0].1.code), (1, Code::Expired));
    assert!(failures(&rig.wait(58_900)).is_empty());
    let failed = failures(&rig.wait(200));
    assert_eq!((failed.len(), failed[0].1.code), (1, Code::Expired));
    assert_eq!(rig.state.queue.len(), 0);
}

#[test]
fn a_silent_node_gets_no_more_work() {
    let mut rig = Rig::with([one("a")]);
    let lost = only_asked(&rig.submit(1, json!({})));
    let done = rig.answer(&lost, Answer::Unclear);
    let failed = failures(&done);
    assert_eq!((failed[0].1.code, failed[0].1.verdict), (Code::Unclear, Verdict::Elsewhere));
    assert_eq!(cancels(&done).len(), 1, "it may have taken the task");
    assert!(asked(&rig.submit(2, json!({}))).is_empty());
    assert_eq!(asked(&rig.beat(beat("a", 2).build())).len(), 1, "it is heard again");
}

#[test]
fn an_ended_connection_makes_its_node_suspect_until_it_is_heard() {
    let mut rig = Rig::with([one("a")]);
    let gone = |boot: &str| Event::Gone {
        peer: echo_broker::id::Peer::agent(&"a".parse().unwrap()),
        boot: boot.parse().unwrap(),
    };
    rig.apply(gone("a-0"));
    assert_eq!(asked(&rig.submit(1, json!({}))).len(), 1, "another start's connection");
    let mut rig = Rig::with([one("a")]);
    rig.apply(gone("a-1"));
    assert!(asked(&rig.submit(1, json!({}))).is_empty());
    assert_eq!(asked(&rig.beat(beat("a", 2).build())).len(), 1);
}

#[test]
fn nobody_there_and_refusals_send_the_task_to_the_next_node() {
    let full = Answer::Refused(Failure::elsewhere(Code::Full, "no slot"));
    for answer in [Answer::NoResponders, full] {
        let mut rig = Rig::with([one("a"), one("b")]);
        let first = only_asked(&rig.submit(1, json!({})));
        let second = only_asked(&rig.answer(&first, answer.clone()));
        assert_ne!(first.node, second.node);
        assert_eq!(rig.used(first.node.as_str()), 0);
        let done = rig.answer(&second, answer);
        assert_eq!(positions(&done).len(), 1, "nobody is left: it waits");
        assert_eq!(asked(&rig.beat(beat("a", 2).build())).len(), 1, "what the beat says is newer");
    }
}

#[test]
fn a_node_without_the_model_after_all_is_not_asked_again() {
    let missing = || Answer::Refused(Failure::elsewhere(Code::ModelMissing, "not here"));
    let mut rig = Rig::with([one("a"), one("b")]);
    let first = only_asked(&rig.submit(1, json!({})));
    let second = only_asked(&rig.answer(&first, missing()));
    let failed = failures(&rig.answer(&second, missing()));
    assert_eq!((failed[0].1.code, failed[0].1.verdict), (Code::ModelNotServed, Verdict::GiveUp));
}

#[test]
fn what_no_attempt_can_help_is_told_at_once() {
    let mut rig = Rig::with([one("a"), one("b")]);
    let first = only_asked(&rig.submit(1, json!({})));
    let done = rig.answer(&first, Answer::Refused(Failure::give_up(Code::EngineRefused, "no")));
    assert_eq!(failures(&done)[0].1.code, Code::EngineRefused);
}

#[test]
fn a_task_that_no_broker_carries_fails() {
    let mut rig = Rig::with([one("a")]);
    let first = only_asked(&rig.submit(1, json!({})));
    let done = rig.answer(&first, Answer::Unsendable("too large".to_owned()));
    assert_eq!((failures(&done).len(), rig.used("a")), (1, 0));
}

#[test]
fn a_cancelled_task_leaves_the_queue_at_once() {
    let mut rig = Rig::with([one("a")]);
    rig.submit(1, json!({}));
    rig.submit(2, json!({}));
    rig.cancel(2, 1);
    assert_eq!((rig.state.queue.len(), rig.state.held()), (0, 1));
}

#[test]
fn a_cancel_that_overtakes_its_task_still_works_and_ends_lower_attempts_only() {
    let mut rig = Rig::with([one("a")]);
    rig.cancel(1, 2);
    assert_eq!(refusal(&rig.submit(1, json!({"attempt": 2}))).code, Code::Cancelled);
    assert_eq!(asked(&rig.submit(1, json!({"attempt": 3}))).len(), 1);
    let mut rig = Rig::with([one("a")]);
    rig.cancel(1, 1);
    for number in 2..64 {
        rig.wait(1_000);
        rig.beat(beat("a", number).build());
    }
    assert_eq!(asked(&rig.submit(1, json!({}))).len(), 1, "forgotten after a minute");
}

#[test]
fn a_cancel_reaches_the_node_that_is_asked_or_was_asked_a_moment_ago() {
    let mut rig = Rig::with([one("a")]);
    let first = only_asked(&rig.submit(1, json!({})));
    assert_eq!(cancels(&rig.cancel(1, 1))[0].0, "a");
    assert_eq!(cancels(&rig.answer(&first, ACCEPTED)).len(), 1, "it took the task all the same");
    let mut rig = Rig::with([one("a")]);
    let first = only_asked(&rig.submit(1, json!({})));
    rig.answer(&first, ACCEPTED);
    rig.wait(1_000);
    assert_eq!(cancels(&rig.cancel(1, 1)).len(), 1);
    rig.wait(5_000);
    assert_eq!(cancels(&rig.cancel(1, 1)).len(), 0);
}

#[test]
fn a_new_attempt_ends_the_old_one() {
    let mut rig = Rig::with([one("a")]);
    rig.submit(9, json!({}));
    rig.submit(1, json!({}));
    rig.submit(1, json!({"attempt": 2}));
    assert_eq!(rig.state.queue.len(), 1);
    assert_eq!(refusal(&rig.submit(1, json!({}))).code, Code::Cancelled);
}

#[test]
fn a_task_heard_twice_is_placed_once() {
    let mut rig = Rig::with([beat("a", 1).slots(4).models([model("m")]).build()]);
    let first = only_asked(&rig.submit(1, json!({})));
    let again = rig.submit(1, json!({}));
    assert!(matches!(&again[..], [Action::Answer { answer: Submission::Taken { .. }, .. }]), "{again:?}");
    rig.answer(&first, ACCEPTED);
    assert!(asked(&rig.submit(1, json!({}))).is_empty());
}

#[test]
fn the_start_that_lost_a_task_gets_it_again_only_after_two_seconds_alone() {
    let mut rig = Rig::with([one("a")]);
    let again = json!({"attempt": 2, "excluded": [{"node": "a", "boot": "a-1"}]});
    assert!(asked(&rig.submit(1, again)).is_empty());
    assert!(asked(&rig.wait(1_900)).is_empty());
    assert_eq!(asked(&rig.wait(200)).len(), 1);
}

#[test]
fn a_task_whose_only_node_died_waits_for_the_next_start() {
    let mut rig = Rig::settled();
    let again = json!({"attempt": 2, "excluded": [{"node": "a", "boot": "a-1"}]});
    assert!(refusals(&rig.submit(1, again)).is_empty());
    rig.wait(5_000);
    let done = rig.beat(beat("a", 1).boot("a-2").models([model("m")]).build());
    assert_eq!(only_asked(&done).boot.as_str(), "a-2");
}

#[test]
fn whoever_holds_a_task_proves_it_and_lets_go_of_what_is_unwanted() {
    let mut rig = Rig::with([one("a")]);
    rig.submit(1, json!({"edge": "e"}));
    rig.submit(2, json!({"edge": "e"}));
    let pulsed = pulses(&rig.wait(1_000));
    assert_eq!(pulsed.len(), 1, "never two at once");
    assert_eq!(pulsed[0].1.len(), 2);
    let unwanted = vec![testkit::held(2, 1)];
    let edge = || "e".parse().unwrap();
    rig.apply(Event::Pulsed { edge: edge(), answer: Some(PulseAnswer { unwanted, missing: vec![] }) });
    assert_eq!(rig.state.queue.len(), 0);
    assert_eq!(pulses(&rig.wait(250)).len(), 1);
}

#[test]
fn the_tasks_of_a_dead_edge_are_dropped() {
    let mut rig = Rig::with([one("a")]);
    rig.submit(1, json!({"edge": "e"}));
    rig.submit(2, json!({"edge": "e"}));
    let mut done = Vec::new();
    for _ in 0..22 {
        done.extend(rig.wait(250));
        rig.apply(Event::Pulsed { edge: "e".parse().unwrap(), answer: None });
    }
    assert_eq!((rig.state.held(), rig.state.queue.len()), (0, 0));
    assert_eq!(cancels(&done).len(), 1, "one was on its way to the node");
}

#[test]
fn a_silent_node_is_forgotten() {
    let mut rig = Rig::with([one("a")]);
    rig.wait(3_000);
    assert!(!rig.state.registry.is_empty());
    rig.wait(100);
    assert!(rig.state.registry.is_empty());
}

#[test]
fn silence_counts_only_while_we_listen() {
    let mut rig = Rig::with([one("a")]);
    rig.apply(Event::Link { up: false });
    rig.wait(60_000);
    rig.apply(Event::Link { up: true });
    rig.wait(5_900);
    assert!(!rig.state.registry.is_empty(), "three seconds to come back, three to be silent");
    rig.wait(200);
    assert!(rig.state.registry.is_empty());
    let mut rig = Rig::with([one("a")]);
    rig.clock.pass(60_000);
    rig.wait(2_900);
    assert!(!rig.state.registry.is_empty(), "we were asleep");
}

#[test]
fn nothing_is_placed_while_the_broker_is_away_nor_before_a_node_is_heard_again() {
    let mut rig = Rig::with([one("a")]);
    rig.apply(Event::Link { up: false });
    assert!(asked(&rig.submit(1, json!({}))).is_empty());
    assert!(asked(&rig.apply(Event::Link { up: true })).is_empty());
    assert_eq!(asked(&rig.beat(beat("a", 2).build())).len(), 1);
}

#[test]
fn what_could_not_be_sent_waits() {
    let mut rig = Rig::with([one("a")]);
    let first = only_asked(&rig.submit(1, json!({})));
    rig.apply(Event::Link { up: false });
    rig.answer(&first, Answer::Disconnected);
    assert_eq!((rig.state.queue.len(), rig.used("a")), (1, 0));
}

#[test]
fn a_draining_orchestrator_hands_back_what_waits() {
    let mut rig = Rig::with([one("a")]);
    let first = only_asked(&rig.submit(1, json!({})));
    rig.submit(2, json!({}));
    let failed = failures(&rig.apply(Event::Drain));
    assert_eq!((failed.len(), failed[0].1.code, failed[0].1.verdict), (1, Code::Draining, Verdict::Wait));
    assert_eq!(refusal(&rig.submit(3, json!({}))).code, Code::Draining);
    assert_eq!(rig.state.held(), 1);
    let failed = failures(&rig.answer(&first, Answer::NoResponders));
    assert_eq!((failed[0].1.code, rig.state.held()), (Code::Draining, 0));
}

#[test]
fn a_configured_default_model_holds() {
    let mut rig = Rig::new(Limits { default_model: Some("n".to_owned()), ..Limits::default() });
    rig.wait(3_000);
    rig.beat(beat("a", 1).models([model("m"), model("n:latest").can(&["completion"])]).build());
    let done = rig.submit(1, json!({"request": {"kind": "generate"}}));
    assert_eq!(asked(&done)[0].1.request.model(), Some("n:latest"));
}

#[test]
fn the_status_shows_who_is_there_and_whom_we_doubt() {
    let mut rig = Rig::with([one("a"), one("b")]);
    let lost = only_asked(&rig.submit(1, json!({})));
    rig.answer(&lost, Answer::Unclear);
    let done = rig.apply(Event::StatusAsked { reply: reply() });
    let Some(Action::Status { snapshot, .. }) = done.into_iter().next() else { panic!("no status") };
    let status = snapshot.into_status();
    assert_eq!((status.node_count, status.default_model.as_deref()), (2, Some("m")));
    let doubted = status.nodes.iter().find(|node| node.node_id == lost.node).unwrap();
    assert_eq!(doubted.status, NodeStatus::Unavailable);
    assert!(doubted.reason.starts_with("suspect"), "{}", doubted.reason);
}

#[test]
fn a_ping_tells_what_is_held() {
    let mut rig = Rig::with([one("a")]);
    rig.submit(1, json!({}));
    rig.submit(2, json!({}));
    let done = rig.apply(Event::Pinged { reply: reply() });
    let [Action::Pong { pong, .. }] = &done[..] else { panic!("no pong") };
    assert_eq!(pong.held.len(), 2);
}

#[test]
fn what_is_about_models_takes_no_slot() {
    let mut rig = Rig::with([beat("a", 1).managed().models([model("m")]).build()]);
    rig.submit(1, json!({}));
    let show = json!({"request": {"kind": "show", "model": "m"}});
    assert_eq!(asked(&rig.submit(2, show.clone())).len(), 1);
    assert_eq!(asked(&rig.submit(3, json!({"request": {"kind": "pull", "model": "new"}}))).len(), 1);
    assert_eq!(rig.used("a"), 1);
    let full = Answer::Refused(Failure::elsewhere(Code::Full, "enough to do"));
    let refused = only_asked(&rig.submit(4, show));
    assert_eq!(positions(&rig.answer(&refused, full)).len(), 1);
    assert_eq!(asked(&rig.beat(beat("a", 2).managed().active([testkit::held(1, 1)]).build())).len(), 1);
}

#[test]
fn a_node_that_holds_the_attempt_already_has_it() {
    let mut rig = Rig::with([one("a"), one("b")]);
    let first = only_asked(&rig.submit(1, json!({})));
    let done = rig.answer(&first, Answer::Refused(Failure::wait(Code::Unclear, "held already")));
    assert!(asked(&done).is_empty() && failures(&done).is_empty());
    assert_eq!(rig.state.held(), 0);
}
