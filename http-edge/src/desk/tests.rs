//! What the desk promises, with explicit time.

use super::*;
use echo_bus::id::{NodeId, ProcessId, Role};
use echo_bus::message::{Accepted, Piece};

const TASK: TaskId = TaskId::from_u128(1);
const FIRST: AttemptId = AttemptId { task: TASK, attempt: 1 };
const NONE: [u64; 0] = [];

fn holder(boot: &str) -> Holder {
    let node: NodeId = "node-a".parse().unwrap();
    Holder { peer: Peer::agent(&node), boot: boot.parse().unwrap() }
}

fn orchestrator() -> Holder {
    let id: ProcessId = "o1".parse().unwrap();
    Holder { peer: Peer { role: Role::Orchestrator, id }, boot: "b".parse().unwrap() }
}

fn accepted(boot: &str) -> Frame {
    Frame::Accepted(Box::new(Accepted {
        seq: 0,
        node: "node-a".parse().unwrap(),
        boot: boot.parse().unwrap(),
        model: "m".into(),
        waited_ms: 0,
        chosen: String::new(),
        why: None,
    }))
}

fn token(seq: u64) -> Frame {
    Frame::Token { seq, pieces: vec![Piece::text(format!("t{seq}"))] }
}

fn pulse(boot: &str, seqs: &[Option<u64>]) -> Pulse {
    let held = seqs.iter().map(|seq| Held { id: FIRST, seq: *seq, ended: false }).collect();
    Pulse { holder: holder(boot).peer, boot: boot.parse().unwrap(), held }
}

struct World {
    desk: Desk,
    now: Instant,
}

impl World {
    /// A desk with one attempt that `node-a` has accepted.
    fn accepted() -> Self {
        let now = Instant::now();
        let mut desk = Desk::new(now);
        desk.begin(TASK, 1, "in.1".into(), now);
        assert!(desk.frame("in.1", accepted("b1"), now).is_some());
        Self { desk, now }
    }

    fn after(&mut self, ms: u64) -> Instant {
        self.now += Duration::from_millis(ms);
        self.now
    }

    fn seqs(&mut self, inbox: &str, frame: Frame) -> Vec<u64> {
        let delivered = self.desk.frame(inbox, frame, self.now);
        delivered.map(|(_, _, frames)| frames.iter().filter_map(Frame::seq).collect()).unwrap_or_default()
    }
}

#[test]
fn frames_come_out_once_and_in_order() {
    let mut world = World::accepted();
    assert_eq!(world.seqs("in.1", token(2)), NONE);
    assert_eq!(world.seqs("in.1", token(3)), NONE);
    assert_eq!(world.seqs("in.1", token(1)), [1, 2, 3]);
    assert_eq!(world.seqs("in.1", token(2)), NONE);
    assert_eq!(world.seqs("in.1", token(4)), [4]);
}

#[test]
fn pieces_that_came_with_the_end_come_before_it() {
    let mut world = World::accepted();
    let done = |pieces| Frame::Done { seq: 2, pieces, done: Box::default() };
    let with = done(vec![Piece::text("t2")]);
    assert_eq!(world.seqs("in.1", with.clone()), NONE, "frame 1 is missing");
    let (_, _, frames) = world.desk.frame("in.1", token(1), world.now).unwrap();
    assert_eq!(frames, [token(1), token(2), done(Vec::new())]);
    assert_eq!(world.seqs("in.1", with), NONE);
}

#[test]
fn a_stale_attempt_is_known_by_its_inbox() {
    let mut world = World::accepted();
    world.desk.begin(TASK, 2, "in.2".into(), world.now);
    assert_eq!(world.seqs("in.1", token(1)), NONE);
    let (answer, _) = world.desk.pulse(&pulse("b1", &[Some(5)]), world.now);
    assert_eq!(answer.unwanted.len(), 1);
}

#[test]
fn what_was_dropped_is_asked_for_at_the_second_pulse() {
    let mut world = World::accepted();
    assert_eq!(world.seqs("in.1", token(1)), [1]);
    let now = world.after(250);
    let (first, _) = world.desk.pulse(&pulse("b1", &[Some(4)]), now);
    assert!(first.missing.is_empty(), "it may be under way");
    let now = world.after(250);
    let (second, _) = world.desk.pulse(&pulse("b1", &[Some(6)]), now);
    assert_eq!(second.missing, [Missing { id: FIRST, from: 2, to: 4 }]);
}

#[test]
fn only_the_hole_is_asked_for() {
    let mut world = World::accepted();
    assert_eq!(world.seqs("in.1", token(3)), NONE);
    let now = world.after(250);
    world.desk.pulse(&pulse("b1", &[Some(3)]), now);
    let now = world.after(250);
    let (answer, _) = world.desk.pulse(&pulse("b1", &[Some(3)]), now);
    assert_eq!(answer.missing, [Missing { id: FIRST, from: 1, to: 2 }]);
}

#[test]
fn what_the_reader_had_no_room_for_comes_again() {
    let mut world = World::accepted();
    assert_eq!(world.seqs("in.1", token(1)), [1]);
    world.desk.undo(TASK, 1, 1);
    assert_eq!(world.seqs("in.1", token(1)), [1]);
}

#[test]
fn a_silent_holder_is_asked_once_and_a_dead_one_is_lost() {
    let mut world = World::accepted();
    let now = world.after(400);
    assert_eq!(world.desk.tick(now), []);
    let now = world.after(200);
    assert_eq!(world.desk.tick(now), [Ask { holder: holder("b1"), within: HANG }]);
    assert_eq!(world.desk.tick(now), [], "one ping at a time");
    let lost = world.desk.heard(&holder("b1"), Heard::NobodyThere, now);
    assert_eq!(lost, [Lost { task: TASK, attempt: 1, holder: holder("b1"), loss: Loss::Died }]);
    assert_eq!(world.desk.heard(&holder("b1"), Heard::NobodyThere, now), [], "lost only once");
}

#[test]
fn a_pulse_keeps_a_holder_alive() {
    let mut world = World::accepted();
    for _ in 0..10 {
        let now = world.after(250);
        let (_, lost) = world.desk.pulse(&pulse("b1", &[Some(0)]), now);
        assert_eq!((lost, world.desk.tick(now)), (vec![], vec![]));
    }
}

#[test]
fn a_holder_that_lives_and_has_forgotten_is_no_holder() {
    let mut world = World::accepted();
    let now = world.after(700);
    world.desk.tick(now);
    let pong = Pong { boot: "b1".parse().unwrap(), uptime_ms: 1, held: vec![] };
    let lost = world.desk.heard(&holder("b1"), Heard::Pong(pong), now);
    assert_eq!(lost[0].loss, Loss::Forgotten);
}

#[test]
fn another_boot_means_that_the_first_died() {
    let mut world = World::accepted();
    let now = world.after(100);
    let (_, lost) = world.desk.pulse(&pulse("b2", &[]), now);
    assert_eq!(lost[0].loss, Loss::Died);
}

#[test]
fn an_attempt_that_two_pulses_omit_is_lost() {
    let mut world = World::accepted();
    let now = world.after(600);
    assert_eq!(world.desk.pulse(&pulse("b1", &[]), now).1, []);
    let now = world.after(250);
    assert_eq!(world.desk.pulse(&pulse("b1", &[]), now).1.len(), 1);
}

#[test]
fn the_servers_word_makes_the_edge_ask_at_once_and_briefly() {
    let mut world = World::accepted();
    let now = world.after(10);
    let gone = holder("b1");
    let ask = world.desk.gone(gone.peer.clone(), gone.boot.clone(), now).unwrap();
    assert_eq!(ask.within, GONE);
    assert_eq!(world.desk.heard(&gone, Heard::Nothing, now)[0].loss, Loss::Died);
    assert!(world.desk.gone(gone.peer, "b9".parse().unwrap(), now).is_none(), "not a holder");
}

#[test]
fn nobody_is_blamed_while_we_are_cut_off_ourselves() {
    let mut world = World::accepted();
    world.desk.disconnected();
    let now = world.after(10_000);
    assert_eq!(world.desk.tick(now), []);
    world.desk.reconnected(now);
    let now = world.after(2_900);
    assert_eq!(world.desk.tick(now), []);
    assert_eq!(world.desk.heard(&holder("b1"), Heard::NobodyThere, now), []);
    let now = world.after(700);
    assert_eq!(world.desk.tick(now).len(), 1);
}

#[test]
fn an_agent_takes_over_from_the_orchestrator_by_its_first_frame_or_by_its_pulse() {
    let now = Instant::now();
    let mut desk = Desk::new(now);
    desk.begin(TASK, 1, "in.1".into(), now);
    desk.taken(TASK, 1, orchestrator(), now);
    assert!(desk.is_holding(&orchestrator()));
    desk.pulse(&pulse("b1", &[Some(0)]), now);
    assert!(desk.is_holding(&holder("b1")) && !desk.is_holding(&orchestrator()));
    desk.taken(TASK, 1, orchestrator(), now);
    assert!(desk.is_holding(&holder("b1")), "a late answer of the orchestrator changes nothing");
}

#[test]
fn a_hang_is_no_hang_if_a_pulse_came_meanwhile() {
    let mut world = World::accepted();
    let now = world.after(700);
    assert_eq!(world.desk.tick(now).len(), 1);
    let now = world.after(1_900);
    world.desk.pulse(&pulse("b1", &[Some(0)]), now);
    let now = world.after(100);
    assert_eq!(world.desk.heard(&holder("b1"), Heard::Nothing, now), []);
}

#[test]
fn an_ended_task_leaves_nothing_behind() {
    let mut world = World::accepted();
    world.desk.end(TASK);
    world.desk.tick(world.now);
    assert!(world.desk.is_empty() && world.desk.inboxes.is_empty() && world.desk.holders.is_empty());
}

#[test]
fn an_attempt_that_is_accepted_after_it_was_given_up_is_cancelled_where_it_runs() {
    let now = Instant::now();
    let mut desk = Desk::new(now);
    desk.begin(TASK, 1, "in.1".into(), now);
    desk.taken(TASK, 1, orchestrator(), now);
    assert!(desk.late("in.1", &accepted("b1")).is_none(), "it is still wanted");
    desk.begin(TASK, 2, "in.2".into(), now);
    assert!(desk.late("in.1", &token(1)).is_none());
    let (node, cancel) = desk.late("in.1", &accepted("b1")).unwrap();
    assert_eq!((node.as_str(), cancel), ("node-a", Cancel(FIRST)));
    assert!(desk.frame("in.2", accepted("b1"), now).is_some());
    desk.end(TASK);
    assert!(desk.late("in.2", &accepted("b1")).is_none(), "who had accepted was told by name");
}

#[test]
fn what_was_given_up_is_remembered_within_bounds() {
    let now = Instant::now();
    let mut desk = Desk::new(now);
    for number in 0..3 * GIVEN_UP as u128 {
        desk.begin(TaskId::from_u128(number), 1, format!("in.{number}"), now);
        desk.end(TaskId::from_u128(number));
    }
    assert_eq!(desk.given_up.len(), GIVEN_UP);
}

proptest::proptest! {
    /// However frames are dropped, doubled and mixed, what comes out is 0, 1, 2, … without a gap.
    #[test]
    fn frames_in_any_order_come_out_in_order(arrivals in proptest::collection::vec(0_u64..40, 0..400)) {
        let now = Instant::now();
        let mut desk = Desk::new(now);
        desk.begin(TASK, 1, "in.1".into(), now);
        let mut out = Vec::new();
        for seq in &arrivals {
            if let Some((_, _, frames)) = desk.frame("in.1", token(*seq), now) {
                out.extend(frames.iter().filter_map(Frame::seq));
            }
        }
        let missing = (0..).find(|seq| !arrivals.contains(seq)).unwrap_or(0);
        proptest::prop_assert_eq!(out, (0..missing).collect::<Vec<_>>());
    }
}
