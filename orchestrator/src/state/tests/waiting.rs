//! Who waits, where, for how long, and who is next.

use echo_bus::message::{Progress, Relayed};

use super::*;
use crate::testkit::held;

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
    assert_eq!(asked.id.task, TaskId::from_u128(3));
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

/// A heartbeat of node a in which each of these has made so many tokens.
fn made(number: u64, slots: u32, tasks: impl IntoIterator<Item = u128>, tokens: u64) -> Heartbeat {
    let active: Vec<_> = tasks.into_iter().map(|id| held(id, 1)).collect();
    let progress = active.iter().map(|_| Progress { model: "m".into(), tokens, prompt: false }).collect();
    Heartbeat { progress, ..beat("a", number).slots(slots).active(active).build() }
}

fn fill(rig: &mut Rig, tasks: impl IntoIterator<Item = u128>) {
    for id in tasks {
        let first = only_asked(&rig.submit(id, json!({})));
        rig.answer(&first, ACCEPTED);
    }
}

fn told(done: &[Action]) -> Option<u64> {
    positions(done)[0].2
}

#[track_caller]
fn assert_near(told: Option<u64>, wanted: u64) {
    assert!(told.is_some_and(|told| told.abs_diff(wanted) <= wanted / 5), "told {told:?}, wanted {wanted}");
}

#[test]
fn an_expected_wait_is_measured() {
    let mut rig = Rig::with([one("a")]);
    fill(&mut rig, [1]);
    assert_eq!(told(&rig.submit(2, json!({}))), None, "nothing was measured");
    let mut speed_only = measured("a", 1, 1);
    speed_only.models.as_mut().unwrap()[0].lengths.clear();
    let mut rig = Rig::with([speed_only]);
    fill(&mut rig, [1]);
    assert_eq!(told(&rig.submit(2, json!({}))), None, "nobody knows how long answers become");
    let mut rig = Rig::with([measured("a", 1, 1)]);
    fill(&mut rig, [1]);
    assert_near(told(&rig.submit(2, json!({}))), 2_200);
}

#[test]
fn what_began_together_ends_together_and_who_waits_for_it_is_told_so() {
    let mut rig = Rig::with([measured("a", 1, 4)]);
    fill(&mut rig, 2..=5);
    assert_near(told(&rig.submit(6, json!({}))), 2_200);
    rig.wait(500);
    rig.beat(made(2, 4, 2..=5, 50));
    assert_near(told(&rig.submit(7, json!({}))), 1_700);
    for id in 8..=9 {
        rig.submit(id, json!({}));
    }
    assert_near(told(&rig.submit(10, json!({}))), 1_700 + 2_200);
    rig.wait(2_500);
    rig.beat(made(3, 4, 2..=5, 400));
    assert_near(told(&rig.submit(11, json!({}))), 2_000 + 2_200);
}

#[test]
fn who_stands_far_behind_is_told_a_wait_too() {
    let mut rig = Rig::with([measured("a", 1, 2)]);
    fill(&mut rig, 1..=2);
    let waits: Vec<_> = (3..=42).map(|id| told(&rig.submit(id, json!({})))).collect();
    for (before, wait) in waits.iter().enumerate() {
        let wanted = (before as u64 / 2 + 1) * 2_200;
        let told = wait.expect("a wait");
        assert!(told < wanted * 2 && wanted < told * 2, "{before} before it: told {told}, wanted {wanted}");
    }
    assert!(waits.is_sorted(), "{waits:?}");
}

#[test]
fn who_finds_no_node_any_more_is_told_no_wait() {
    let mut rig = Rig::with([measured("a", 1, 1)]);
    fill(&mut rig, [1]);
    rig.submit(2, json!({}));
    assert!(told(&rig.submit(3, json!({}))).is_some());
    rig.beat(beat("a", 2).status(NodeStatus::Draining).active([held(1, 1)]).build());
    rig.wait(300);
    rig.cancel(2, 1);
    assert_eq!(positions(&rig.wait(2_000)), [(inbox(3, 1), 1, None)]);
}

#[test]
fn what_was_expected_of_a_wait_goes_with_the_task() {
    let mut rig = Rig::with([measured("a", 1, 1)]);
    let first = asked(&rig.submit(1, json!({}))).remove(0);
    rig.answer(&first.0, ACCEPTED);
    let why = first.1.why.and_then(Relayed::read).expect("a reason");
    assert_eq!((why.node.as_str(), why.expected_ms.wait, why.expected_ms.load), ("a", Some(0), Some(0)));
    assert_near(why.expected_ms.answer, 2_200);
    assert_eq!(why.expected_ms.whole, Some(50 + why.expected_ms.answer.unwrap()));
    let wait = told(&rig.submit(2, json!({})));
    rig.wait(2_500);
    let (next, task) = asked(&rig.beat(beat("a", 2).build())).remove(0);
    let why = task.why.and_then(Relayed::read).expect("a reason");
    assert_eq!(why.expected_ms.wait, wait, "not what a later look has said");
    let placed = rig.answer(&next, ACCEPTED);
    let told = placed.iter().find_map(|action| match action {
        Action::Announce(news) if news.what == What::Placed => news.why.clone().and_then(Relayed::read),
        _ => None,
    });
    assert_eq!(told, Some(why), "and watchers hear it");
}

#[test]
fn the_next_best_nodes_are_named_with_what_speaks_against_them() {
    let cold = |id| {
        let told = measured(id, 1, 1).models.unwrap().remove(0);
        beat(id, 1).models([Model { loaded: false, load_ms: Some(7_000), ..told }]).build()
    };
    let mut rig = Rig::with([measured("a", 1, 1), measured("b", 1, 1), cold("c")]);
    let (first, task) = asked(&rig.submit(1, json!({}))).remove(0);
    rig.answer(&first, ACCEPTED);
    let reasons = |task: &Task| {
        let others = task.why.clone().and_then(Relayed::read).expect("a reason").instead_of;
        others.iter().map(|it| format!("{} {}", it.node, it.because)).collect::<Vec<_>>()
    };
    assert_eq!(
        (first.node.as_str(), &reasons(&task)[..]),
        ("a", &["b as good", "c cold: 7.0 s to load"].map(String::from)[..])
    );
    assert!(task.chosen.contains("; b 2.") && task.chosen.contains(", c 9."), "{}", task.chosen);
    let (_, task) = asked(&rig.submit(2, json!({}))).remove(0);
    let [full, cold] = &reasons(&task)[..] else { panic!("{task:?}") };
    assert!(full.starts_with("a waits 2.") && full.ends_with(" s for a slot"), "{full}");
    assert_eq!(cold, "c cold: 7.0 s to load");
}

#[test]
fn where_nothing_was_measured_there_are_words_and_no_figures() {
    let mut rig = Rig::with([one("a"), one("b")]);
    let (first, task) = asked(&rig.submit(1, json!({}))).remove(0);
    rig.answer(&first, ACCEPTED);
    let why = serde_json::to_value(task.why).unwrap();
    assert_eq!(why, json!({"node": "a", "instead_of": [{"node": "b", "because": "as good"}]}));
    let (second, task) = asked(&rig.submit(2, json!({}))).remove(0);
    let why = serde_json::to_value(task.why).unwrap();
    assert_eq!(why, json!({"node": "b", "instead_of": [{"node": "a", "because": "full"}]}));
    assert_eq!(task.chosen, "the only free one of 2 nodes with m");
    assert_eq!(second.node.as_str(), "b");
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
fn who_waits_for_nodes_that_all_take_nothing_new_hears_whose_doing_it_is() {
    let drains = |node| beat(node, 1).status(NodeStatus::Draining).models([model("m")]);
    let hours = "outside of its hours (22:00-07:00), again at 22:00";
    let mut rig = Rig::with([drains("a").reason(hours).build(), drains("old").build()]);
    rig.state.limits.evict_after = Duration::from_secs(3_600);
    rig.submit(1, json!({}));
    assert!(failures(&rig.wait(4_900)).is_empty(), "it may be over in a moment");
    let failure = failures(&rig.wait(200)).remove(0).1;
    assert_eq!((failure.code, failure.verdict), (Code::Unavailable, Verdict::GiveUp));
    let words = format!("a: {hours}; old: finishes what it has and takes nothing new");
    assert!(failure.message.ends_with(&words), "{failure:?}");
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
    assert_eq!(only_asked(&open).id.task, TaskId::from_u128(2), "it is open again");
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
