//! What the resequencer promises.

use super::*;
use echo_bus::message::{Accepted, Piece};

const TASK: TaskId = TaskId::from_u128(1);
const NONE: [u64; 0] = [];

fn accepted() -> Frame {
    Frame::Accepted(Box::new(Accepted {
        seq: 0,
        node: "node-a".parse().unwrap(),
        boot: "b1".parse().unwrap(),
        model: "m".into(),
        waited_ms: 0,
        chosen: String::new(),
        why: None,
    }))
}

fn token(seq: u64) -> Frame {
    Frame::Token { seq, pieces: vec![Piece::text(format!("t{seq}"))] }
}

fn held(seq: u64) -> Held {
    Held { id: AttemptId { task: TASK, attempt: 1 }, seq: Some(seq), ended: false }
}

/// A stream of which the first frame has come.
fn accepting() -> Resequencer {
    let mut streams = Resequencer::default();
    streams.begin(TASK, 1, "in.1".into());
    assert_eq!(streams.frame(TASK, accepted()).collect::<Vec<_>>(), [accepted()]);
    streams
}

fn seqs(streams: &mut Resequencer, frame: Frame) -> Vec<u64> {
    streams.frame(TASK, frame).filter_map(|frame| frame.seq()).collect()
}

#[test]
fn frames_come_out_once_and_in_order() {
    let mut streams = accepting();
    assert_eq!(seqs(&mut streams, token(2)), NONE);
    assert_eq!(seqs(&mut streams, token(3)), NONE);
    assert_eq!(seqs(&mut streams, token(1)), [1, 2, 3]);
    assert_eq!(seqs(&mut streams, token(2)), NONE);
    assert_eq!(seqs(&mut streams, token(4)), [4]);
}

#[test]
fn frames_before_which_one_is_missing_have_a_bound_in_bytes() {
    let mut streams = accepting();
    let large = |seq| Frame::Token { seq, pieces: vec![Piece::text("x".repeat(7 << 20))] };
    for seq in 2..100 {
        assert_eq!(seqs(&mut streams, large(seq)), NONE);
    }
    assert_eq!(streams.streams[&TASK].ahead.len(), 2);
    assert_eq!(seqs(&mut streams, token(1)), [1, 2, 3]);
    assert_eq!(seqs(&mut streams, large(5)), NONE, "there is room again");
    assert_eq!(seqs(&mut streams, large(4)), [4, 5]);
}

#[test]
fn pieces_that_came_with_the_end_come_before_it() {
    let mut streams = accepting();
    let done = |pieces| Frame::Done { seq: 2, pieces, done: Box::default() };
    let with = done(vec![Piece::text("t2")]);
    assert_eq!(seqs(&mut streams, with.clone()), NONE, "frame 1 is missing");
    assert_eq!(streams.frame(TASK, token(1)).collect::<Vec<_>>(), [token(1), token(2), done(Vec::new())]);
    assert_eq!(seqs(&mut streams, with), NONE);
}

#[test]
fn a_stale_attempt_is_known_by_its_inbox() {
    let mut streams = accepting();
    streams.begin(TASK, 2, "in.2".into());
    assert_eq!(streams.owner("in.1"), None);
    assert_eq!(streams.owner("in.2"), Some((TASK, 2)));
    assert!(!streams.wants(&held(5)));
}

#[test]
fn what_was_dropped_is_asked_for_at_the_second_pulse() {
    let mut streams = accepting();
    assert_eq!(seqs(&mut streams, token(1)), [1]);
    assert_eq!(streams.missing(&held(4)), None, "it may be under way");
    assert_eq!(
        streams.missing(&held(6)),
        Some(Missing { id: AttemptId { task: TASK, attempt: 1 }, from: 2, to: 4 })
    );
}

#[test]
fn only_the_hole_is_asked_for() {
    let mut streams = accepting();
    assert_eq!(seqs(&mut streams, token(3)), NONE);
    streams.missing(&held(3));
    assert_eq!(
        streams.missing(&held(3)),
        Some(Missing { id: AttemptId { task: TASK, attempt: 1 }, from: 1, to: 2 })
    );
}

#[test]
fn an_attempt_that_is_accepted_after_it_was_given_up_is_cancelled_where_it_runs() {
    let mut streams = Resequencer::default();
    streams.begin(TASK, 1, "in.1".into());
    assert!(streams.late("in.1", &accepted()).is_none(), "it is still wanted");
    streams.begin(TASK, 2, "in.2".into());
    assert!(streams.late("in.1", &token(1)).is_none());
    let (node, cancel) = streams.late("in.1", &accepted()).unwrap();
    assert_eq!((node.as_str(), cancel), ("node-a", Cancel(AttemptId { task: TASK, attempt: 1 })));
    assert_eq!(streams.frame(TASK, accepted()).count(), 1);
    streams.end(TASK);
    assert!(streams.late("in.2", &accepted()).is_none(), "who had accepted was told by name");
    assert!(streams.streams.is_empty() && streams.inboxes.is_empty());
}

#[test]
fn what_was_given_up_is_remembered_within_bounds() {
    let mut streams = Resequencer::default();
    for number in 0..3 * GIVEN_UP as u128 {
        streams.begin(TaskId::from_u128(number), 1, format!("in.{number}"));
        streams.end(TaskId::from_u128(number));
    }
    assert_eq!(streams.given_up.len(), GIVEN_UP);
}

#[test]
fn what_runs_ahead_is_kept_within_bounds() {
    let mut streams = accepting();
    (2..3 * AHEAD as u64).for_each(|seq| assert_eq!(seqs(&mut streams, token(seq)), NONE));
    assert_eq!(streams.streams[&TASK].ahead.len(), AHEAD);
}

proptest::proptest! {
    /// However frames are dropped, doubled and mixed, what comes out is 0, 1, 2, … without a gap.
    #[test]
    fn frames_in_any_order_come_out_in_order(arrivals in proptest::collection::vec(0_u64..40, 0..400)) {
        let mut streams = Resequencer::default();
        streams.begin(TASK, 1, "in.1".into());
        let mut out = Vec::new();
        arrivals.iter().for_each(|seq| out.extend(seqs(&mut streams, token(*seq))));
        let missing = (0..).find(|seq| !arrivals.contains(seq)).unwrap_or(0);
        proptest::prop_assert_eq!(out, (0..missing).collect::<Vec<_>>());
    }
}
