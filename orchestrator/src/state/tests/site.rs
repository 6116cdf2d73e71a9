//! Near nodes first, as far as that is worth its price.

use echo_bus::message::Relayed;
use proptest::prelude::*;

use super::*;

fn from(site: &str) -> Value {
    json!({"site": site})
}

/// A node at a site, with one slot and answers of 200 tokens.
fn at(id: &str, site: &str, speed: f64, active: &[u128]) -> Heartbeat {
    let mut lengths = vec![0; 17];
    lengths[15] = 5;
    let speeds = vec![Speed { at_once: 1, tokens_per_second: speed, age_s: 0 }];
    let told = Model { speeds, lengths, prompt_tokens_per_second: Some(10_000.0), ..model("m").loaded() };
    let active = active.iter().map(|id| testkit::held(*id, 1));
    beat(id, 1).models([told]).active(active).site(site).build()
}

fn placed(rig: &mut Rig, id: u128, more: Value) -> (String, String) {
    let (asked, task) = asked(&rig.submit(id, more)).remove(0);
    rig.answer(&asked, ACCEPTED);
    (asked.node.to_string(), task.chosen)
}

#[test]
fn of_equal_nodes_the_near_one_is_chosen_and_the_reason_says_so() {
    let mut rig = Rig::with([at("a", "berlin", 100.0, &[]), at("b", "paris", 100.0, &[])]);
    let (node, words) = placed(&mut rig, 1, from("paris"));
    assert_eq!(node, "b");
    assert!(words.contains("expected at this edge's site; a 2."), "{words}");
    assert!(words.ends_with("s (at another site)"), "{words}");
}

#[test]
fn a_far_node_is_taken_where_it_is_sooner_by_more_than_the_price() {
    let fast = || [at("a", "berlin", 100.0, &[]), at("b", "paris", 1_000.0, &[])];
    let mut rig = Rig::with(fast());
    let (node, words) = placed(&mut rig, 1, from("berlin"));
    assert_eq!(node, "b", "1.8 s sooner for 1 s");
    assert!(words.contains(" expected, 2.0 s sooner than the nearest of this site; a 2."), "{words}");
    let mut rig = Rig::with(fast());
    rig.state.book.site_cost = 3.0;
    assert_eq!(placed(&mut rig, 1, from("berlin")).0, "a");
}

#[test]
fn a_full_near_node_is_waited_for_only_as_long_as_the_far_one_costs_more() {
    let nodes = || [at("a", "berlin", 100.0, &[1]), at("b", "paris", 100.0, &[])];
    let mut rig = Rig::with(nodes());
    assert_eq!(placed(&mut rig, 2, from("berlin")).0, "b");
    let mut rig = Rig::with(nodes());
    rig.state.book.site_cost = 60.0;
    let told = positions(&rig.submit(2, from("berlin")));
    assert_eq!((told.len(), told[0].1), (1, 1), "it waits");
}

#[test]
fn where_nothing_was_measured_near_ones_are_first_and_then_it_is_as_before() {
    let node = |id, site| beat(id, 1).models([model("m")]).site(site).build();
    let mut rig = Rig::with([node("a", "berlin"), node("b", "paris"), node("c", "paris")]);
    let all: Vec<_> = (1..=3).map(|id| placed(&mut rig, id, from("paris")).0).collect();
    assert_eq!(all, ["b", "c", "a"]);
    let mut rig = Rig::with([node("a", "berlin"), node("b", "paris")]);
    let (_, words) = placed(&mut rig, 1, from("paris"));
    assert_eq!(words, "at this edge's site, among 2 free of 2 nodes with m");
    let pull = json!({"site": "berlin", "request": {"kind": "show", "model": "m"}});
    assert_eq!(placed(&mut rig, 2, pull).0, "a");
}

#[test]
fn a_node_or_an_edge_without_a_site_is_near_to_all() {
    let bare = || beat("b", 1).models(at("b", "x", 100.0, &[]).models.unwrap()).build();
    let mut rig = Rig::with([at("a", "berlin", 90.0, &[]), bare()]);
    let (node, words) = placed(&mut rig, 1, from("berlin"));
    assert!(node == "b" && !words.contains("site"), "{words}");
    let mut rig = Rig::with([at("a", "berlin", 90.0, &[]), at("b", "paris", 100.0, &[])]);
    let (node, words) = placed(&mut rig, 1, json!({}));
    assert!(node == "b" && !words.contains("site"), "{words}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Sites on one side only, or one for all, change nothing: the same tasks go to the same nodes for the same reasons.
    #[test]
    fn without_different_sites_all_is_as_it_was(
        nodes in prop::collection::vec((1..200_u32, 1..4_u32), 1..5), tasks in prop::collection::vec((any::<bool>(), 0..3_000_u64), 1..20),
    ) {
        let now = Clock::new().now();
        let play = |node_site: bool, task_site: bool| {
            let state = State::new("o".parse().unwrap(), "o-1".parse().unwrap(), Limits::default(), now);
            let mut rig = Rig { state, clock: Clock::at(now) };
            rig.wait(3_000);
            for (index, (speed, slots)) in nodes.iter().enumerate() {
                let told = at(&format!("n{index}"), "berlin", f64::from(*speed), &[]);
                rig.beat(Heartbeat { slots: *slots, site: told.site.clone().filter(|_| node_site), ..told });
            }
            let mut done = Vec::new();
            for (id, (accepts, pause)) in (1..).zip(&tasks) {
                let more = if task_site { from("berlin") } else { json!({}) };
                let actions = rig.submit(id, more);
                for (it, task) in asked(&actions) {
                    done.push((id, it.node.to_string(), task.why.and_then(Relayed::read)));
                    if *accepts { rig.answer(&it, ACCEPTED); }
                }
                done.extend(positions(&actions).into_iter().map(|it| (id, format!("{it:?}"), None)));
                rig.wait(pause % 500);
            }
            done
        };
        let before = play(false, false);
        prop_assert_eq!(&before, &play(true, false));
        prop_assert_eq!(&before, &play(false, true));
        prop_assert_eq!(&before, &play(true, true));
    }
}
