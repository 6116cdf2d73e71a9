//! Who waits, where, for how long, and who is next.

use super::*;

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
fn what_began_together_ends_together_and_who_waits_for_it_is_told_so() {
    let mut rig = Rig::with([beat("a", 1).slots(4).models([model("m")]).build()]);
    let first = only_asked(&rig.submit(1, json!({})));
    rig.answer(&first, ACCEPTED);
    rig.wait(2_000);
    rig.beat(beat("a", 2).slots(4).build());
    for id in 2..=5 {
        rig.submit(id, json!({}));
    }
    let wait = |rig: &mut Rig, id| positions(&rig.submit(id, json!({})))[0].2.unwrap();
    assert_eq!(wait(&mut rig, 6), 2_000, "four that have just begun, and not a quarter of one");
    rig.wait(500);
    assert_eq!(wait(&mut rig, 7), 1_500, "the second slot is free when the first one is");
    for id in 8..=9 {
        rig.submit(id, json!({}));
    }
    assert_eq!(wait(&mut rig, 10), 3_500, "behind a whole round");
    rig.wait(2_500);
    assert_eq!(
        wait(&mut rig, 11),
        1_500 + 2_000,
        "who takes longer than all before takes half as long again"
    );
}

#[test]
fn a_wait_ends_with_a_word() {
    let mut rig = Rig::with([one("a")]);
    rig.state.limits.evict_after = Duration::from_secs(3_600);
    let first = only_asked(&rig.submit(9, json!({})));
    rig.answer(&first, ACCEPTED);
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
fn who_waits_for_nodes_that_are_all_out_of_order_hears_why_and_soon() {
    let mut resting = model("m");
    resting.unavailable = "resting, because a trial failed: CUDA error".into();
    let down = beat("b", 1).status(NodeStatus::Unavailable).reason("the engine cannot be reached");
    let mut rig = Rig::with([
        beat("a", 1).models([resting]).build(),
        down.models([model("m")]).build(),
        beat("c", 1).models([model("other")]).build(),
    ]);
    rig.state.limits.evict_after = Duration::from_secs(3_600);
    rig.submit(1, json!({}));
    assert!(failures(&rig.wait(4_900)).is_empty(), "it may be back in a moment");
    let failed = failures(&rig.wait(200));
    let failure = &failed[0].1;
    assert_eq!((failure.code, failure.verdict), (Code::Unavailable, Verdict::GiveUp));
    assert!(failure.message.contains("a: resting, because a trial failed: CUDA error"), "{failure:?}");
    assert!(failure.message.contains("b: the engine cannot be reached"), "{failure:?}");
    rig.submit(2, json!({}));
    assert_eq!(failures(&rig.wait(100)).len(), 1, "it is known by now");
    rig.beat(beat("a", 2).models([model("m")]).build());
    rig.wait(50);
    rig.beat(beat("a", 3).status(NodeStatus::Draining).models([model("m")]).build());
    rig.submit(3, json!({}));
    assert!(failures(&rig.wait(4_900)).is_empty(), "that was another outage");
}

#[test]
fn who_waits_while_a_model_is_tried_waits_for_what_comes_of_it() {
    let mut tried = model("m");
    (tried.unavailable, tried.tried) = ("being tried".into(), true);
    let mut rig = Rig::with([beat("a", 1).models([tried]).build()]);
    rig.state.limits.evict_after = Duration::from_secs(3_600);
    rig.submit(1, json!({}));
    assert!(failures(&rig.wait(30_000)).is_empty(), "a load takes time");
    let mut resting = model("m");
    resting.unavailable = "resting".into();
    rig.beat(beat("a", 2).models([resting]).build());
    assert_eq!(failures(&rig.wait(100))[0].1.code, Code::Unavailable);
}

#[test]
fn a_node_whose_model_is_closed_gets_none_of_its_tasks() {
    let mut closed = model("m");
    closed.unavailable = "resting".into();
    let mut rig = Rig::with([beat("a", 1).models([closed, model("n")]).build(), one("b")]);
    assert_eq!(only_asked(&rig.submit(1, json!({}))).node.as_str(), "b");
    assert!(asked(&rig.submit(2, json!({}))).is_empty());
    let other = json!({"request": {"kind": "generate", "model": "n"}});
    assert_eq!(only_asked(&rig.submit(3, other)).node.as_str(), "a");
    rig.wait(50);
    rig.beat(beat("a", 2).slots(2).build());
    let open = rig.beat(beat("a", 3).slots(2).models([model("m"), model("n")]).build());
    assert_eq!(only_asked(&open).task, TaskId::from_u128(2), "it is open again");
}

#[test]
fn a_second_opinion_comes_from_another_node_or_not_at_all() {
    let second = json!({"attempt": 2, "second_opinion": true, "excluded": [{"node": "a", "boot": "a-1"}]});
    let mut rig = Rig::with([one("a"), one("b")]);
    assert_eq!(only_asked(&rig.submit(1, second.clone())).node.as_str(), "b");
    assert!(failures(&rig.submit(2, second.clone())).is_empty(), "it waits for the other one");
    let mut full = Rig::with([one("a"), one("b")]);
    let first = only_asked(&full.submit(1, second.clone()));
    let refused = full.answer(&first, Answer::Refused(Failure::elsewhere(Code::Full, "full")));
    assert!(failures(&refused).is_empty(), "a full node is asked again");
    let mut young = Rig::new(Limits::default());
    young.beat(one("a"));
    assert!(
        failures(&young.submit(1, second.clone())).is_empty(),
        "the others may not have been heard of yet"
    );
    let mut alone = Rig::with([one("a")]);
    let failed = failures(&alone.submit(1, second));
    assert_eq!((failed[0].1.code, failed[0].1.verdict), (Code::Unavailable, Verdict::GiveUp));
    assert!(asked(&alone.wait(3_000)).is_empty());
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
fn what_could_not_be_sent_waits() {
    let mut rig = Rig::with([one("a")]);
    let first = only_asked(&rig.submit(1, json!({})));
    rig.apply(Event::Link { up: false });
    rig.answer(&first, Answer::Disconnected);
    assert_eq!((rig.state.queue.len(), rig.used("a")), (1, 0));
}
