//! Who gets a task, and what is said about it.

use echo_bus::message::{Code, Excluded, NodeStatus};
use serde_json::{Value, json};

use super::*;
use crate::testkit::{Beat, Clock, Words as _, beat, held, model};

fn mesh(beats: impl IntoIterator<Item = Beat>) -> Registry {
    let (clock, mut registry) = (Clock::new(), Registry::default());
    for beat in beats {
        registry.hear(beat.build(), clock.now());
    }
    registry
}

fn need(more: Value) -> Need {
    let mut request = json!({"kind": "generate", "prompt": "hi", "model": "m"});
    request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    Need::of(&serde_json::from_value(request).unwrap()).unwrap()
}

fn chosen(registry: &Registry, need: &Need) -> Option<(String, String)> {
    let choice = choose(registry, need, &Bars::default())?;
    Some((registry.node(choice.key).id().to_string(), choice.reason.words().to_owned()))
}

fn winner(beats: impl IntoIterator<Item = Beat>) -> (String, String) {
    chosen(&mesh(beats), &need(json!({}))).unwrap()
}

#[test]
fn a_loaded_model_wins() {
    let (node, words) =
        winner([beat("a", 1).models([model("m").speed(90.0)]), beat("b", 1).models([model("m").loaded()])]);
    assert_eq!(
        (node.as_str(), words.as_str()),
        ("b", "has the model loaded, among 2 free of 2 nodes with m")
    );
}

fn with_context(length: u64) -> Need {
    need(json!({"settings": {"extra": {"options": {"num_ctx": length}}}}))
}

#[test]
fn a_model_that_is_loaded_otherwise_counts_as_not_loaded_and_is_left_as_it_is() {
    let with = |node, length: u64| {
        beat(node, 1).slots(8).models([model("m").loaded_with(json!({"num_ctx": length}))])
    };
    let busy = || with("a", 4_096).active((0..7).map(|it| held(it, 1)));
    let registry = mesh([busy(), with("b", 8_192)]);
    let (node, words) = chosen(&registry, &with_context(4_096)).unwrap();
    assert_eq!(node, "a");
    assert!(words.starts_with("has it loaded with num_ctx 4096, among 2 free"), "{words}");
    assert_eq!(chosen(&registry, &with_context(8_192)).unwrap().0, "b");
    let (node, words) =
        chosen(&mesh([with("b", 8_192), beat("c", 1).models([model("m")])]), &with_context(9)).unwrap();
    assert_eq!(node, "c", "{words}");
    assert!(words.starts_with("has nothing to unload for it"), "{words}");
    let plain = beat("c", 1).models([model("m").loaded_with(json!({}))]);
    assert_eq!(chosen(&mesh([with("a", 4_096), plain]), &need(json!({}))).unwrap().0, "c");
}

#[test]
fn the_fit_of_a_choice_is_told() {
    let fit = |served: echo_bus::message::Model, need: &Need| {
        choose(&mesh([beat("a", 1).models([served])]), need, &Bars::default()).unwrap().fit
    };
    let small = || model("m").loaded_with(json!({"num_ctx": 4_096}));
    assert_eq!(fit(small(), &with_context(4_096)), Fit::AsNeeded);
    assert_eq!(fit(small(), &with_context(8_192)), Fit::Otherwise);
    assert_eq!(fit(small(), &need(json!({"kind": "show"}))), Fit::AsNeeded, "it loads nothing");
    assert_eq!(
        fit(model("m").loaded(), &with_context(8_192)),
        Fit::AsNeeded,
        "an engine without such options"
    );
    assert_eq!(fit(model("m"), &with_context(8_192)), Fit::Cold);
}

#[test]
fn never_waits_behind_a_busy_node_because_it_is_warm() {
    let warm = beat("a", 1).models([model("m").loaded()]).active([held(9, 1)]);
    let (node, words) = winner([warm, beat("b", 1).models([model("m")])]);
    assert_eq!((node.as_str(), words.as_str()), ("b", "the only free one of 2 nodes with m"));
}

#[test]
fn a_loaded_model_is_no_reason_once_more_than_half_of_the_slots_are_in_use() {
    let warm = |active: u128| {
        beat("a", 1).slots(4).models([model("m").loaded()]).active((0..active).map(|it| held(it, 1)))
    };
    let cold = || beat("b", 1).slots(4).models([model("m")]);
    assert_eq!(winner([warm(2), cold()]).0, "a");
    let (node, words) = winner([warm(3), cold()]);
    assert_eq!((node.as_str(), &words[..11]), ("b", "least busy "), "{words}");
}

#[test]
fn the_least_busy_by_share_of_its_slots_wins() {
    let half = beat("a", 1).slots(2).models([model("m")]).active([held(8, 1)]);
    let quarter = beat("b", 1).slots(8).models([model("m")]).active([held(9, 1), held(10, 1)]);
    let (node, words) = winner([half, quarter]);
    assert_eq!(node, "b");
    assert!(words.starts_with("least busy (2 of 8 slots)"), "{words}");
}

#[test]
fn the_faster_wins_and_a_tenth_is_no_difference() {
    let with = |node, speed: f64, memory| beat(node, 1).models([model("m").speed(speed)]).free(memory, 1);
    let (node, words) = winner([with("a", 20.0, 9 << 30), with("b", 40.0, 1 << 30)]);
    assert_eq!(node, "b");
    assert!(words.starts_with("fastest (40 tokens/s)"), "{words}");
    let (node, words) = winner([with("a", 40.0, 1 << 30), with("b", 40.5, 9 << 30)]);
    assert_eq!(node, "b");
    assert!(words.starts_with("most free memory"), "{words}");
}

#[test]
fn equals_take_turns() {
    let mut registry = mesh([beat("a", 1).models([model("m")]), beat("b", 1).models([model("m")])]);
    let need = need(json!({}));
    let first = choose(&registry, &need, &Bars::default()).unwrap().key;
    registry.node_mut(first).note_use(1);
    let second = choose(&registry, &need, &Bars::default()).unwrap();
    assert_ne!(first, second.key);
    assert!(second.reason.words().starts_with("least recently used"), "{second:?}");
}

#[test]
fn a_draining_or_broken_node_gets_nothing_new() {
    for status in [NodeStatus::Draining, NodeStatus::Unavailable] {
        let registry = mesh([beat("a", 1).status(status).models([model("m")])]);
        assert_eq!(chosen(&registry, &need(json!({}))), None);
        assert!(judge(&registry, &need(json!({}))).is_ok(), "it still counts as served");
    }
}

#[test]
fn pictures_go_to_a_model_that_sees() {
    let blind = beat("a", 1).models([model("m").loaded()]);
    let see = need(json!({"images": ["AA=="]}));
    let registry = mesh([blind, beat("b", 1).models([model("m").can(&["completion", "vision"])])]);
    assert_eq!(chosen(&registry, &see).unwrap().0, "b");
    let failure = judge(&mesh([beat("a", 1).models([model("m")])]), &see).unwrap_err();
    assert_eq!(failure.code, Code::NotCapable);
    assert!(failure.message.contains("vision"), "{}", failure.message);
}

#[test]
fn a_model_that_says_nothing_may_be_tried_but_after_one_that_says_yes() {
    let see = need(json!({"images": ["AA=="]}));
    let silent = || beat("a", 1).models([model("m").can(&[]).loaded()]);
    assert_eq!(chosen(&mesh([silent()]), &see).unwrap().0, "a");
    let says = beat("b", 1).models([model("m").can(&["completion", "vision"])]);
    let (node, words) = chosen(&mesh([silent(), says]), &see).unwrap();
    assert_eq!(node, "b");
    assert!(words.starts_with("known to do"), "{words}");
}

#[test]
fn an_untagged_name_means_latest_both_ways() {
    for (served, asked) in [("m", "m:latest"), ("m:latest", "m"), ("m", "m")] {
        let registry = mesh([beat("a", 1).models([model(served)])]);
        assert!(chosen(&registry, &need(json!({"model": asked}))).is_some(), "{served} for {asked}");
    }
    let registry = mesh([beat("a", 1).models([model("m:7b")])]);
    assert_eq!(judge(&registry, &need(json!({}))).unwrap_err().code, Code::ModelNotServed);
}

#[test]
fn an_excluded_start_gets_it_again_only_in_need() {
    let excluded = [Excluded { node: "a".parse().unwrap(), boot: "a-1".parse().unwrap() }];
    let need = need(json!({}));
    let get = |registry: &Registry, relieved| {
        let bars = Bars { excluded: &excluded, skipped: &[], relieved };
        choose(registry, &need, &bars).map(|choice| registry.node(choice.key).id().to_string())
    };
    let alone = mesh([beat("a", 1).models([model("m")])]);
    assert_eq!((get(&alone, false), get(&alone, true).as_deref()), (None, Some("a")));
    let busy = beat("b", 1).models([model("m")]).active([held(9, 1)]);
    assert_eq!(get(&mesh([beat("a", 1).models([model("m")]), busy]), true), None, "b will be free");
    let broken = beat("b", 1).models([model("m")]).status(NodeStatus::Unavailable);
    assert!(get(&mesh([beat("a", 1).models([model("m")]), broken]), true).is_some());
    assert!(get(&mesh([beat("a", 1).boot("a-2").models([model("m")])]), false).is_some(), "another start");
}

#[test]
fn a_pull_goes_where_it_is_allowed_and_the_disk_is_free() {
    let pull = need(json!({"kind": "pull"}));
    let small = || beat("a", 1).managed().free(9 << 30, 1 << 30);
    let large = || beat("b", 1).managed().free(1 << 30, 9 << 30);
    let forbidden = || beat("c", 1).free(9 << 30, 99 << 30);
    let (node, words) = chosen(&mesh([small(), large(), forbidden()]), &pull).unwrap();
    assert_eq!(node, "b");
    assert!(words.starts_with("most free disk"), "{words}");
    assert_eq!(judge(&mesh([forbidden()]), &pull).unwrap_err().code, Code::NotAllowed);
    let named = need(json!({"kind": "pull", "nodes": ["a"]}));
    assert_eq!(chosen(&mesh([small(), large()]), &named).unwrap().0, "a");
    assert_eq!(judge(&mesh([large()]), &named).unwrap_err().code, Code::NoNode);
}

#[test]
fn a_refusal_names_what_is_served() {
    let failure =
        judge(&mesh([beat("a", 1).models([model("x"), model("y:1b")])]), &need(json!({}))).unwrap_err();
    assert_eq!(
        (failure.code, failure.served.as_slice()),
        (Code::ModelNotServed, &["x".to_owned(), "y:1b".to_owned()][..])
    );
    assert!(
        failure.message.contains("x, y:1b") && failure.message.contains("ollama pull m"),
        "{}",
        failure.message
    );
    assert_eq!(judge(&Registry::default(), &need(json!({}))).unwrap_err().code, Code::NoNode);
}
