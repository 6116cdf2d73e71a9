//! What a submission is answered.

use echo_bus::message::Relayed;

use super::*;
use crate::reason::Reasoned;

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
fn a_reason_that_a_submitter_gives_is_no_reason() {
    let mut rig = Rig::with([one("a")]);
    let done = rig.submit(1, json!({"chosen": "because I say so", "why": {"node": "b"}}));
    let sent = done.iter().find_map(|action| match action {
        Action::Dispatch { task, reason, .. } => {
            Some(serde_json::to_string(&Reasoned::new(task, reason)).unwrap())
        }
        _ => None,
    });
    // A word that is there twice is an error.
    let read: Task = serde_json::from_str(&sent.expect("a node is asked")).unwrap();
    assert_eq!(read.chosen, "the only node with m");
    assert_eq!(read.why.and_then(Relayed::read).expect("figures").node.as_str(), "a");
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
fn a_full_queue_refuses_with_the_measured_time() {
    let mut rig = Rig::new(Limits { queue_limit: 1, ..Limits::default() });
    rig.wait(3_000);
    rig.beat(one("a"));
    let first = only_asked(&rig.submit(1, json!({})));
    rig.submit(2, json!({}));
    let failure = refusal(&rig.submit(3, json!({})));
    assert_eq!((failure.code, failure.retry_after_ms), (Code::QueueFull, None));
    rig.answer(&first, ACCEPTED);
    rig.beat(measured("a", 2, 1));
    rig.submit(4, json!({}));
    let retry = refusal(&rig.submit(5, json!({}))).retry_after_ms;
    assert!(retry.is_some_and(|ms| (1_800..2_600).contains(&ms)), "{retry:?} for answers of 2.2 s");
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
