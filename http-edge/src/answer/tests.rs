//! What the log promises.

use super::*;
use echo_bus::message::ToolCall;
use proptest::prelude::*;
use serde_json::json;

fn by(attempts: u32) -> Box<AnsweredBy> {
    let node = format!("n{attempts}").parse().unwrap();
    let (model, chosen) = ("m".to_owned(), String::new());
    Box::new(AnsweredBy { node, model, attempts, waited: std::time::Duration::ZERO, chosen })
}

/// All that a reader gets from here on, a few bytes at a time.
fn rest(answer: &mut Answer, mut cursor: Cursor) -> (Vec<Piece>, Vec<(u64, u32)>) {
    let (mut pieces, mut turns, mut number) = (Vec::new(), Vec::new(), cursor.number);
    loop {
        match answer.read(&mut cursor, 1) {
            Next::Turn(by) => turns.push((number, by.attempts)),
            Next::Pieces(first, more) => {
                assert_eq!(first, number + 1, "numbers have no gap");
                number += more.len() as u64;
                pieces.extend(more);
            }
            Next::Nothing => return (pieces, turns),
        }
    }
}

fn piece() -> impl Strategy<Value = Piece> {
    let calls = ToolCall { name: "f".into(), arguments: json!({"a": 1}), ..ToolCall::default() };
    let rich = Piece { tool_calls: vec![calls], content: "ä".into(), ..Piece::default() };
    let vague = Piece { logprobs: Some(Box::new(json!([1]))), thinking: "hm".into(), ..Piece::default() };
    prop_oneof![
        "\\PC{0,6}".prop_map(Piece::text),
        "\\PC{1,6}".prop_map(|thinking| Piece { thinking, ..Piece::default() }),
        Just(rich),
        Just(vague),
        Just(Piece { last: true, ..Piece::text("x") }),
    ]
}

proptest! {
    #[test]
    fn every_reader_gets_every_piece_once_whenever_it_comes(
        pieces in proptest::collection::vec(piece(), 0..60),
        turns in proptest::collection::vec(0_usize..60, 0..4),
        after in 0_usize..60,
    ) {
        let mut answer = Answer::default();
        let mut attempts = 0;
        for (number, piece) in pieces.iter().enumerate() {
            for _ in turns.iter().filter(|turn| **turn == number) {
                attempts += 1;
                answer.turn(by(attempts));
            }
            answer.push(piece.clone());
        }
        let (read, told) = rest(&mut answer, Cursor::default());
        prop_assert_eq!(&read, &pieces);
        prop_assert_eq!(told.iter().map(|(_, n)| *n).collect::<Vec<_>>(), (1..=attempts).collect::<Vec<_>>());
        match answer.cursor(after as u64) {
            None => prop_assert!(after > pieces.len()),
            Some(cursor) => {
                let (read, later) = rest(&mut answer, cursor);
                prop_assert_eq!(&read, &pieces[after..]);
                let current = told.iter().rev().find(|(number, _)| *number <= after as u64);
                prop_assert_eq!(later.first().map(|(_, n)| *n), current.or(told.first()).map(|(_, n)| *n));
            }
        }
        let text: String = pieces.iter().map(|piece| piece.content.as_str()).collect();
        prop_assert_eq!(answer.content(), text);
    }
}

#[test]
fn an_answer_that_nobody_has_read_may_begin_anew() {
    let mut answer = Answer::default();
    answer.turn(by(1));
    answer.push(Piece::text("one"));
    assert!(!answer.is_read());
    answer.forget();
    answer.turn(by(2));
    answer.push(Piece::text("two"));
    let (pieces, turns) = rest(&mut answer, Cursor::default());
    assert_eq!((pieces, turns), (vec![Piece::text("two")], vec![(0, 1), (0, 2)]));
    assert!(answer.is_read());
}

#[test]
fn what_was_read_is_dropped_where_nobody_can_join() {
    let mut answer = Answer::default();
    let progress = |n: u64| Piece { progress: Some(Box::new(json!(n))), ..Piece::default() };
    let mut cursor = Cursor::default();
    for n in 0..10_000 {
        answer.push(progress(n));
        assert!(matches!(answer.read(&mut cursor, 1), Next::Pieces(first, _) if first == n + 1));
        answer.trim(cursor.number);
    }
    assert!(answer.bytes() < 2 * BASE, "{}", answer.bytes());
    assert_eq!(answer.cursor(10_000), None);
}

#[test]
fn a_piece_of_text_costs_little_more_than_its_bytes() {
    let mut answer = Answer::default();
    (0..100_000).for_each(|_| answer.push(Piece::text("word ")));
    assert!(answer.bytes() < 100_000 * (5 + 24), "{}", answer.bytes());
}

#[test]
fn fields_of_several_chunks_are_the_newest_word_of_each() {
    let map = |value: Value| value.as_object().cloned().unwrap();
    let mut extra = map(json!({"mood": 1, "message": {"tone": "a", "kept": {"b": 1}}}));
    gather(&mut extra, &map(json!({"mood": {"c": 2}, "message": {"tone": "d"}, "new": null})));
    let wanted = json!({"mood": {"c": 2}, "message": {"tone": "d", "kept": {"b": 1}}, "new": null});
    assert_eq!(Value::from(extra), wanted);
}
