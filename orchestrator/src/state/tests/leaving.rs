//! What is let go, forgotten, or told to who asks.

use super::*;

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
fn only_the_edge_says_that_a_task_has_ended() {
    let mut rig = Rig::with([one("a")]);
    rig.submit(9, json!({}));
    let mut said = rig.submit(1, json!({}));
    said.extend(rig.cancel(1, 1));
    said.extend(rig.submit(2, json!({"remaining_ms": 1_000})));
    said.extend(rig.wait(2_000));
    let words = said.iter().filter_map(|action| match action {
        Action::Announce(news) if news.task.is_some() => Some(news.what.as_str()),
        _ => None,
    });
    let words: Vec<_> = words.collect();
    assert_eq!(words, ["queued", "released", "queued", "released"]);
}
