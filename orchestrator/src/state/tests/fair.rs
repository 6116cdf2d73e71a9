//! Several clients: whose turn it is, and what is told of it.

use super::*;

fn of(client: &str) -> Value {
    json!({"client": client})
}

/// One slot, and a client that has it and has eight more tasks waiting.
fn flooded(slots: u32) -> Rig {
    let mut rig = Rig::with([measured("a", 1, slots)]);
    for id in 1..=8 + u128::from(slots) {
        let done = rig.submit(id, of("flood"));
        asked(&done).iter().for_each(|(it, _)| _ = rig.answer(it, ACCEPTED));
    }
    rig
}

fn next(rig: &mut Rig, number: u64, slots: u32, active: &[u128]) -> Asked {
    let told = measured("a", number, slots);
    let active = active.iter().map(|id| testkit::held(*id, 1)).collect();
    let asked = only_asked(&rig.beat(Heartbeat { active, ..told }));
    rig.answer(&asked, Answer::Accepted { heartbeat: number });
    asked
}

#[test]
fn one_client_that_floods_does_not_keep_another_one_waiting() {
    let mut rig = flooded(1);
    rig.wait(1_000);
    let told = positions(&rig.submit(100, of("polite")));
    assert_eq!((told[0].1, told[0].2.is_some()), (1, true), "and that is what it is told: {told:?}");
    assert!(told[0].2 < Some(3_500), "a wait for one answer: {told:?}");
    let mut order = Vec::new();
    for number in 2..6 {
        order.push(next(&mut rig, number, 1, &[]).id.task);
        if number == 2 {
            rig.submit(101, of("polite"));
        }
    }
    assert_eq!(order, [100, 2, 101, 3].map(TaskId::from_u128));
}

#[test]
fn slots_are_shared_by_what_each_client_has_at_work() {
    let mut rig = flooded(4);
    for id in 100..=105 {
        rig.submit(id, of("other"));
    }
    let mut running = vec![1, 2, 3, 4];
    for (number, expected) in (2..).zip([100, 101, 5, 6, 102]) {
        running.remove(0);
        running.push(expected);
        let asked = next(&mut rig, number, 4, &running[..3]);
        assert_eq!(asked.id.task, TaskId::from_u128(expected), "each has half: {running:?}");
    }
}

#[test]
fn who_is_behind_hears_that_others_are_before_it_now() {
    let mut rig = flooded(1);
    rig.wait(1_000);
    rig.submit(100, of("polite"));
    let told = positions(&rig.wait(1_500));
    assert!(told.iter().any(|(to, at, _)| (to, *at) == (&inbox(2, 1), 2)), "{told:?}");
}

#[test]
fn a_flood_is_refused_for_its_own_share_and_leaves_others_theirs() {
    let mut rig = Rig::new(Limits { queue_limit: 8, ..Limits::default() });
    rig.wait(3_000);
    rig.beat(one("a"));
    for id in 1..=9 {
        assert!(refusals(&rig.submit(id, of("flood"))).is_empty());
    }
    let full = refusal(&rig.submit(10, of("flood")));
    assert!(
        full.code == Code::QueueFull && full.message.contains("the queue is full (8 waiting)"),
        "{full:?}"
    );
    assert!(refusals(&rig.submit(100, of("polite"))).is_empty());
    let full = refusal(&rig.submit(11, of("flood")));
    assert!(full.message.contains("too many tasks of client flood wait (8 of 9 in the queue)"), "{full:?}");
}

#[test]
fn who_has_no_key_is_one_client() {
    let mut rig = flooded(1);
    for id in 100..=101 {
        rig.submit(id, json!({}));
    }
    let order = [2, 3, 4].map(|number| next(&mut rig, number, 1, &[]).id.task);
    assert_eq!(order, [100, 2, 101].map(TaskId::from_u128));
}
