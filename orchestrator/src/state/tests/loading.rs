//! Tasks that need a model loaded in different ways.

use echo_bus::message::{Progress, Speed};

use super::*;

/// The model in memory with a context of this length; a load of it takes two seconds, and an answer a bit
/// less than one.
fn with(length: u64) -> Model {
    let told = model("m").loaded_with(json!({"num_ctx": length})).load_ms(2_000);
    let mut lengths = vec![0; 13];
    lengths[12] = 9;
    Model { speeds: vec![Speed { at_once: 1, tokens_per_second: 82.0, age_s: 0 }], lengths, ..told }
}

fn node(id: &str, number: u64, length: u64) -> Heartbeat {
    beat(id, number).models([with(length)]).build()
}

/// A task's need for a context of this length.
fn context(length: u64) -> Value {
    json!({"request": {"kind": "generate", "model": "m", "prompt": "hi", "settings": {"extra": {"options": {"num_ctx": length}}}}})
}

fn nodes(actions: &[Action]) -> Vec<(TaskId, String)> {
    asked(actions).iter().map(|(asked, _)| (asked.id.task, asked.node.to_string())).collect()
}

fn went(task: u128, node: &str) -> Vec<(TaskId, String)> {
    vec![(TaskId::from_u128(task), node.to_owned())]
}

#[test]
fn a_task_waits_for_the_node_that_has_its_model_as_it_needs_it() {
    let mut rig = Rig::with([node("a", 1, 4_096), node("b", 1, 8_192)]);
    let first = only_asked(&rig.submit(1, context(4_096)));
    assert_eq!(first.node.as_str(), "a");
    assert!(nodes(&rig.submit(2, context(4_096))).is_empty(), "b would have to load the model anew");
    assert_eq!(nodes(&rig.submit(3, context(8_192))), went(3, "b"));
    rig.answer(&first, ACCEPTED);
    assert_eq!(nodes(&rig.beat(node("a", 2, 4_096))), went(2, "a"));
}

#[test]
fn a_line_that_is_longer_than_a_load_is_not_waited_for() {
    let mut rig = Rig::with([node("a", 1, 4_096), node("b", 1, 8_192)]);
    let first = only_asked(&rig.submit(1, context(4_096)));
    rig.answer(&first, ACCEPTED);
    assert!(nodes(&rig.submit(2, context(4_096))).is_empty(), "a second is shorter than a load");
    assert!(
        nodes(&rig.submit(3, context(4_096))).is_empty(),
        "nor are two longer than that and the next one"
    );
    assert_eq!(nodes(&rig.submit(4, context(4_096))), went(4, "b"), "three seconds are");
}

#[test]
fn a_long_line_has_its_model_loaded_elsewhere_though_its_front_is_served_soon() {
    let cold = Model { loaded: false, loaded_with: None, ..with(4_096) }.load_ms(35_000);
    let mut rig = Rig::with([node("a", 1, 4_096), beat("b", 1).models([cold]).build()]);
    let first = only_asked(&rig.submit(1, json!({})));
    assert_eq!(first.node.as_str(), "a");
    rig.answer(&first, ACCEPTED);
    let mut done: Vec<_> = (2..=30).flat_map(|id| rig.submit(id, json!({}))).collect();
    assert!(nodes(&done).is_empty(), "the first ones wait for a second each");
    done.extend(rig.wait(500));
    let went = nodes(&done);
    assert_eq!(went.len(), 1, "{went:?}");
    assert_eq!(went[0].1, "b", "the last would wait for half a minute");
}

#[test]
fn nobody_waits_for_long_for_a_node_that_says_nothing() {
    let mut rig = Rig::with([node("a", 1, 4_096), node("b", 1, 8_192)]);
    rig.submit(1, context(4_096));
    assert!(nodes(&rig.submit(2, context(4_096))).is_empty());
    assert!(nodes(&rig.wait(500)).is_empty());
    assert_eq!(nodes(&rig.wait(2_500)), went(2, "b"), "its home has not said a word");
}

#[test]
fn a_home_that_is_gone_is_not_waited_for() {
    let mut rig = Rig::with([node("a", 1, 4_096), node("b", 1, 8_192)]);
    rig.submit(1, context(4_096));
    assert!(nodes(&rig.submit(2, context(4_096))).is_empty());
    let done = rig.apply(Event::Gone {
        peer: echo_bus::id::Peer::agent(&"a".parse().unwrap()),
        boot: "a-1".parse().unwrap(),
    });
    assert_eq!(nodes(&done), went(2, "b"));
}

#[test]
fn those_for_whom_the_model_is_right_go_before_those_who_waited_longer() {
    let mut rig = Rig::with([node("a", 1, 4_096)]);
    let first = only_asked(&rig.submit(1, context(4_096)));
    rig.answer(&first, ACCEPTED);
    rig.submit(2, context(8_192));
    rig.submit(4, context(8_192));
    rig.submit(3, context(4_096));
    let done = rig.beat(node("a", 2, 4_096));
    assert_eq!(nodes(&done), went(3, "a"));
    assert!(asked(&done)[0].1.chosen.ends_with("s expected"), "{:?}", asked(&done)[0].1.chosen);
}

#[test]
fn whoever_has_waited_for_three_loads_goes_first() {
    let mut rig = Rig::with([node("a", 1, 4_096)]);
    let mut running = only_asked(&rig.submit(1, context(4_096)));
    rig.submit(2, context(8_192));
    for second in 1..=6 {
        rig.answer(&running, Answer::Accepted { heartbeat: second });
        rig.wait(1_000);
        rig.submit(u128::from(second) + 10, context(4_096));
        running = only_asked(&rig.beat(node("a", second + 1, 4_096)));
    }
    assert_eq!(running.id.task, TaskId::from_u128(2));
}

#[test]
fn whoever_has_waited_for_three_loads_goes_though_others_use_the_model_all_the_time() {
    let with_another_ones = |number: u64| {
        let beat = beat("a", number).slots(2).models([with(4_096)]);
        let mut made = beat.active([testkit::held(100 + u128::from(number), 1)]).build();
        made.progress = vec![Progress { model: "m".to_owned(), tokens: 10, prompt: false }];
        made
    };
    let mut rig = Rig::with([with_another_ones(1)]);
    assert!(nodes(&rig.submit(1, context(8_192))).is_empty());
    let mut seconds = 0;
    let mut went_to = Vec::new();
    while went_to.is_empty() && seconds < 50 {
        seconds += 1;
        went_to.extend(nodes(&rig.wait(1_000)));
        went_to.extend(nodes(&rig.beat(with_another_ones(seconds + 1))));
    }
    assert_eq!((went_to, seconds), (went(1, "a"), 6));
}

#[test]
fn a_slot_beside_those_who_use_the_model_otherwise_is_none() {
    let slots = |number, length| beat("a", number).slots(2).models([with(length)]);
    let mut rig = Rig::with([slots(1, 4_096).build()]);
    let first = only_asked(&rig.submit(1, context(4_096)));
    rig.answer(&first, ACCEPTED);
    assert!(nodes(&rig.submit(2, context(8_192))).is_empty());
    assert_eq!(nodes(&rig.submit(3, context(4_096))), went(3, "a"), "there is a slot for its like");
    assert!(nodes(&rig.beat(slots(2, 4_096).active([testkit::held(3, 1)]).build())).is_empty());
    rig.answer(&Asked { id: testkit::held(3, 1).id, ..first }, Answer::Accepted { heartbeat: 2 });
    assert_eq!(nodes(&rig.beat(slots(3, 4_096).build())), went(2, "a"));
}

#[test]
fn what_goes_to_a_node_is_known_before_the_node_says_it() {
    let cold = |id, number| beat(id, number).slots(2).models([model("m")]).build();
    let mut rig = Rig::with([cold("a", 1), cold("b", 1)]);
    let first = only_asked(&rig.submit(1, context(4_096)));
    let second = only_asked(&rig.submit(2, context(8_192)));
    assert_ne!(first.node, second.node);
    // Made before the task came.
    rig.beat(cold(first.node.as_str(), 2));
    rig.answer(&first, Answer::Accepted { heartbeat: 2 });
    rig.beat(cold(second.node.as_str(), 2));
    let third = rig.submit(3, context(4_096));
    assert_eq!(only_asked(&third).node, first.node);
    assert!(asked(&third)[0].1.chosen.starts_with("is loading it with num_ctx 4096"));
    // It has ended, and the model was not kept.
    rig.beat(cold(first.node.as_str(), 3));
    let facts = rig.state.registry.iter().find(|(_, it)| *it.id() == first.node).unwrap().0;
    let known = rig.state.registry.model_at(facts, &ModelName::of("m")).unwrap().facts.loading;
    assert!(!known.is_cold(), "the third is on its way");
    rig.answer(&only_asked(&third), Answer::Accepted { heartbeat: 3 });
    rig.beat(cold(first.node.as_str(), 4));
    let known = rig.state.registry.model_at(facts, &ModelName::of("m")).unwrap().facts.loading;
    assert!(known.is_cold(), "the node's own word, after that");
}

#[test]
fn a_load_alone_is_no_answer_that_anybody_waits_for() {
    let mut load = context(4_096);
    load["request"]["prompt"] = json!("");
    let chosen = |rig: &mut Rig, task| asked(&rig.submit(task, load.clone()))[0].1.chosen.clone();
    let cold = Model { loaded: false, loaded_with: None, ..with(4_096) };
    let mut rig = Rig::with([beat("a", 1).models([cold]).build()]);
    assert_eq!(chosen(&mut rig, 1), "2.1 s expected", "its load and no answer");
    let mut rig = Rig::with([node("a", 1, 4_096)]);
    assert_eq!(chosen(&mut rig, 1), "0.1 s expected");
    let mut answers = Rig::with([node("a", 1, 4_096)]);
    let done = answers.submit(1, context(4_096));
    assert_ne!(asked(&done)[0].1.chosen, "0.1 s expected");
}

/// Its node is there and says that it has the model no more: nothing comes of waiting.
#[test]
fn a_task_for_a_model_that_was_deleted_meanwhile_does_not_wait_for_it() {
    let again = json!({"request": {"kind": "generate", "model": "m", "prompt": "hi"}, "attempt": 2,
        "excluded": [{"node": "a", "boot": "a-1"}]});
    let mut rig = Rig::with([node("a", 1, 4_096), beat("b", 1).models([model("n")]).build()]);
    assert!(refusals(&rig.submit(1, again.clone())).is_empty(), "nothing is known of it yet");
    rig.beat(beat("a", 2).models([]).build());
    rig.beat(beat("b", 2).build());
    let mut refused = Vec::new();
    for number in 3..9 {
        rig.beat(beat("a", number).build());
        refused.extend(failures(&rig.wait(500)).into_iter().map(|(_, failure)| failure.code));
    }
    assert_eq!(refused, [Code::ModelNotServed]);
}
