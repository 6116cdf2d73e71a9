//! What the failure detector promises, with explicit time.

use super::*;
use echo_bus::id::{NodeId, ProcessId};

const TASK: TaskId = TaskId::from_u128(1);

fn holder(boot: &str) -> Holder {
    let node: NodeId = "node-a".parse().unwrap();
    Holder { peer: Peer::agent(&node), boot: boot.parse().unwrap() }
}

fn orchestrator() -> Holder {
    let id: ProcessId = "o1".parse().unwrap();
    Holder { peer: Peer { role: Role::Orchestrator, id }, boot: "b".parse().unwrap() }
}

fn pulse(boot: &str, seqs: &[Option<u64>]) -> Pulse {
    let held = seqs
        .iter()
        .map(|seq| Held { id: AttemptId { task: TASK, attempt: 1 }, seq: *seq, ended: false })
        .collect();
    Pulse { holder: holder(boot).peer, boot: boot.parse().unwrap(), held }
}

struct World {
    holders: Holders,
    now: Instant,
}

impl World {
    /// One attempt that `node-a` has accepted.
    fn accepted() -> Self {
        let now = Instant::now();
        let mut holders = Holders::new(Now { at: now, unix_ms: 0 });
        holders.begin(TASK, 1, now);
        holders.hold(TASK, holder("b1"), now);
        Self { holders, now }
    }

    fn after(&mut self, ms: u64) -> Instant {
        self.now += Duration::from_millis(ms);
        self.now
    }
}

impl Holders {
    fn holds(&self, holder: &Holder) -> bool {
        self.leases.values().any(|lease| lease.holder.as_ref() == Some(holder))
    }
}

#[test]
fn a_silent_holder_is_asked_once_and_one_whose_end_was_told_is_lost_at_once() {
    let mut world = World::accepted();
    let now = world.after(400);
    assert_eq!(world.holders.tick(now), []);
    let now = world.after(200);
    assert_eq!(world.holders.tick(now), [Ask { holder: holder("b1"), within: HANG }]);
    assert_eq!(world.holders.tick(now), [], "one ping at a time");
    let gone = holder("b1");
    assert!(world.holders.gone(gone.peer, gone.boot, now).is_some());
    let lost = world.holders.heard(&holder("b1"), Heard::NobodyThere, now);
    assert_eq!(lost, [Lost { task: TASK, attempt: 1, holder: holder("b1"), loss: Loss::Died }]);
    assert_eq!(world.holders.heard(&holder("b1"), Heard::NobodyThere, now), [], "lost only once");
}

#[test]
fn a_holder_whose_server_died_has_the_time_to_get_to_another() {
    let mut world = World::accepted();
    let now = world.after(600);
    assert_eq!(world.holders.tick(now).len(), 1);
    assert_eq!(world.holders.heard(&holder("b1"), Heard::NobodyThere, now), []);
    let now = world.after(50);
    assert_eq!(world.holders.tick(now).len(), 1, "it is asked again");
    world.holders.pulse(&pulse("b1", &[Some(0)]), now);
    assert_eq!(world.holders.heard(&holder("b1"), Heard::NobodyThere, now), [], "it came back meanwhile");
    let now = world.after(1_100);
    assert_eq!(world.holders.tick(now).len(), 1);
    let lost = world.holders.heard(&holder("b1"), Heard::NobodyThere, now);
    assert_eq!(lost[0].loss, Loss::Unreachable);
}

#[test]
fn a_pulse_keeps_a_holder_alive() {
    let mut world = World::accepted();
    for _ in 0..10 {
        let now = world.after(250);
        let lost = world.holders.pulse(&pulse("b1", &[Some(0)]), now);
        assert_eq!((lost, world.holders.tick(now)), (vec![], vec![]));
    }
}

#[test]
fn a_holder_that_lives_and_has_forgotten_is_no_holder() {
    let mut world = World::accepted();
    let now = world.after(700);
    world.holders.tick(now);
    let pong = Pong { boot: "b1".parse().unwrap(), uptime_ms: 1, held: vec![] };
    let lost = world.holders.heard(&holder("b1"), Heard::Pong(pong), now);
    assert_eq!(lost[0].loss, Loss::Forgotten);
}

#[test]
fn another_boot_means_that_the_first_died() {
    let mut world = World::accepted();
    let now = world.after(100);
    let lost = world.holders.pulse(&pulse("b2", &[]), now);
    assert_eq!(lost[0].loss, Loss::Died);
}

#[test]
fn an_attempt_that_two_pulses_omit_is_lost() {
    let mut world = World::accepted();
    let now = world.after(600);
    assert_eq!(world.holders.pulse(&pulse("b1", &[]), now), []);
    let now = world.after(250);
    assert_eq!(world.holders.pulse(&pulse("b1", &[]), now).len(), 1);
}

#[test]
fn the_servers_word_makes_the_edge_ask_at_once_and_briefly() {
    let mut world = World::accepted();
    let now = world.after(10);
    let gone = holder("b1");
    let ask = world.holders.gone(gone.peer.clone(), gone.boot.clone(), now).unwrap();
    assert_eq!(ask.within, GONE);
    assert_eq!(world.holders.heard(&gone, Heard::Nothing, now)[0].loss, Loss::Died);
    assert!(world.holders.gone(gone.peer, "b9".parse().unwrap(), now).is_none(), "not a holder");
}

#[test]
fn nobody_is_blamed_while_we_are_cut_off_ourselves() {
    let mut world = World::accepted();
    world.holders.health().disconnected();
    let now = world.after(10_000);
    assert_eq!(world.holders.tick(now), []);
    world.holders.health().reconnected(now);
    let now = world.after(2_900);
    assert_eq!(world.holders.tick(now), []);
    assert_eq!(world.holders.heard(&holder("b1"), Heard::NobodyThere, now), []);
    let now = world.after(700);
    assert_eq!(world.holders.tick(now).len(), 1);
}

#[test]
fn an_agent_takes_over_from_the_orchestrator_by_its_first_frame_or_by_its_pulse() {
    let now = Instant::now();
    let mut holders = Holders::new(Now { at: now, unix_ms: 0 });
    holders.begin(TASK, 1, now);
    holders.taken(TASK, 1, orchestrator(), now);
    assert!(holders.holds(&orchestrator()));
    holders.pulse(&pulse("b1", &[Some(0)]), now);
    assert!(holders.holds(&holder("b1")) && !holders.holds(&orchestrator()));
    holders.taken(TASK, 1, orchestrator(), now);
    assert!(holders.holds(&holder("b1")), "a late answer of the orchestrator changes nothing");
}

#[test]
fn a_hang_is_no_hang_if_a_pulse_came_meanwhile() {
    let mut world = World::accepted();
    let now = world.after(700);
    assert_eq!(world.holders.tick(now).len(), 1);
    let now = world.after(1_900);
    world.holders.pulse(&pulse("b1", &[Some(0)]), now);
    let now = world.after(100);
    assert_eq!(world.holders.heard(&holder("b1"), Heard::Nothing, now), []);
}

#[test]
fn an_ended_task_leaves_nothing_behind() {
    let mut world = World::accepted();
    world.holders.end(TASK);
    world.holders.tick(world.now);
    assert!(world.holders.leases.is_empty() && world.holders.watched.is_empty());
}

#[test]
fn the_pulse_of_another_agent_neither_takes_an_attempt_nor_ends_it_nor_keeps_it_alive() {
    let mut world = World::accepted();
    let stranger = |seqs: &[Option<u64>]| {
        let other: NodeId = "node-b".parse().unwrap();
        Pulse { holder: Peer::agent(&other), ..pulse("b1", seqs) }
    };
    for _ in 0..4 {
        let now = world.after(200);
        assert_eq!(world.holders.pulse(&stranger(&[Some(9)]), now), []);
        assert_eq!(world.holders.pulse(&stranger(&[]), now), []);
        assert!(world.holders.holds(&holder("b1")));
    }
    assert_eq!(
        world.holders.tick(world.now),
        [Ask { holder: holder("b1"), within: HANG }],
        "its silence shows"
    );
}
