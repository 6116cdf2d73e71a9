//! Tasks that are held for a node, and for how long at most.

use echo_bus::message::Speed;

use super::*;

/// A node that does so many tokens a second, where answers have some 3,500 tokens.
fn node(id: &str, number: u64, slots: u32, speed: f64) -> Heartbeat {
    let mut lengths = vec![0; 24];
    lengths[23] = 9;
    let speeds = vec![Speed { at_once: 1, tokens_per_second: speed, age_s: 0 }];
    let told = Model { speeds, lengths, ..model("m").loaded() };
    beat(id, number).slots(slots).models([told]).build()
}

fn nodes(actions: &[Action]) -> Vec<String> {
    asked(actions).iter().map(|(asked, _)| asked.node.to_string()).collect()
}

#[test]
fn nobody_is_held_for_longer_than_it_may_wait_while_another_node_is_free() {
    let mut rig = Rig::with([node("f", 1, 1, 40.0), node("s", 1, 1, 8.0)]);
    let first = only_asked(&rig.submit(1, json!({})));
    assert_eq!(first.node.as_str(), "f");
    rig.answer(&first, ACCEPTED);
    assert_eq!(nodes(&rig.submit(2, json!({}))), ["s"], "the fast one is busy for longer than a minute");
}

#[test]
fn who_has_waited_before_or_has_little_time_is_not_held_for_as_long() {
    let mut rig = Rig::with([node("f", 1, 1, 200.0), node("s", 1, 1, 40.0)]);
    let first = only_asked(&rig.submit(1, json!({})));
    rig.answer(&first, ACCEPTED);
    assert!(nodes(&rig.submit(2, json!({}))).is_empty(), "it is done sooner where it waits");
    assert_eq!(nodes(&rig.submit(3, json!({"waited_ms": 58_000, "attempt": 2}))), ["s"]);
}

#[test]
fn those_who_find_no_node_keep_nobody_from_one() {
    let sees = |id: &str, what: &[&str], why: &str| {
        let told = Model { unavailable: why.to_owned(), ..model("m").loaded().can(what) };
        beat(id, 1).slots(2).models([told]).build()
    };
    let all = [sees("a", &["completion", "vision"], "rests"), sees("b", &["completion"], "")];
    let mut rig = Rig::with(all);
    let picture = json!({"request": {"kind": "generate", "model": "m", "prompt": "hi", "images": ["aGk="]}});
    for id in 1..=100 {
        assert!(nodes(&rig.submit(id, picture.clone())).is_empty());
    }
    assert!(nodes(&rig.submit(101, json!({}))).is_empty(), "so far behind nobody looks at once");
    assert_eq!(nodes(&rig.wait(300)), ["b"]);
}

#[test]
fn one_refusal_does_not_send_a_whole_line_to_a_slow_node() {
    let mut lengths = vec![0; 20];
    lengths[19] = 9;
    let node = |id: &str, number: u64, slots: u32, speed: f64| {
        let speeds = vec![Speed { at_once: 1, tokens_per_second: speed, age_s: 0 }];
        let told = Model { speeds, lengths: lengths.clone(), ..model("m").loaded() };
        beat(id, number).slots(slots).models([told]).build()
    };
    let mut rig = Rig::with([node("f", 1, 1, 400.0), node("s", 1, 4, 20.0)]);
    let first = only_asked(&rig.submit(1, json!({})));
    rig.answer(&first, ACCEPTED);
    for id in 2..=4 {
        assert!(nodes(&rig.submit(id, json!({}))).is_empty());
    }
    let second = only_asked(&rig.beat(node("f", 2, 1, 400.0)));
    let refused = Answer::Refused(Failure::elsewhere(Code::Full, "another orchestrator was quicker"));
    assert!(nodes(&rig.answer(&second, refused)).is_empty());
    assert_eq!(nodes(&rig.beat(node("f", 3, 1, 400.0))), ["f"]);
}
