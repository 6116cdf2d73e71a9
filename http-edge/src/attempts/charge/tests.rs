//! What is charged to whom, one claim a test.

use super::*;
use crate::attempts::tests::{World, failure, node, prompt};
use crate::attempts::{Frame, Step};
use echo_bus::message::{Chat, Code, Request};
use serde_json::json;

fn refusal(status: Option<u16>, words: &str) -> Failure {
    Failure::elsewhere(Code::EngineError, format!("the engine said: {words}")).saying(status, words)
}

fn death(fault: Fault) -> Failure {
    Failure { fault, ..Failure::elsewhere(Code::EngineUnreachable, "broke off") }
}

/// The next attempt, accepted by this node.
fn on(world: &mut World, n: usize) {
    world.submit();
    world.accept(n);
}

fn with_tools() -> Request {
    Request::Chat(Chat { tools: vec![json!({"type": "function"})], ..Chat::default() })
}

#[test]
fn a_refused_request_is_tried_once_more_and_the_second_refusal_is_the_answer() {
    let mut world = World::new(prompt(), true);
    assert!(!world.submit().second_opinion);
    world.accept(0);
    assert!(matches!(world.fail(refusal(Some(500), "no")), Step::Again(_)));
    let second = world.submit();
    assert!(second.second_opinion && second.excluded[0].node == node(0));
    world.accept(1);
    let failure = failure(world.fail(refusal(Some(500), "no")));
    assert_eq!((failure.code, failure.verdict), (Code::EngineError, Verdict::GiveUp));
    assert_eq!(failure.said.unwrap().words, "no");
}

#[test]
fn without_another_node_the_refusal_is_the_answer() {
    let mut world = World::new(prompt(), true);
    on(&mut world, 0);
    world.fail(refusal(Some(500), "no"));
    world.submit();
    let nobody = Failure::give_up(Code::Unavailable, "no other node can be asked");
    let frame = Frame::Failed { seq: None, failure: Box::new(nobody) };
    let failure = failure(world.attempts.frame(frame, world.now));
    assert_eq!(failure.said.unwrap().words, "no");
}

#[test]
fn another_nodes_answer_counts_more_than_the_first_refusal() {
    let mut world = World::new(prompt(), true);
    on(&mut world, 0);
    world.fail(refusal(Some(500), "CUDA error"));
    on(&mut world, 1);
    let failure = failure(world.fail(Failure::give_up(Code::EngineRefused, "bad option")));
    assert_eq!(failure.message, "bad option");
}

#[test]
fn a_broken_tool_call_that_was_read_ends_with_the_engines_words() {
    let mut world = World::new(with_tools(), true);
    on(&mut world, 0);
    world.token("Let me look. ");
    let failure = failure(world.fail(refusal(None, "XML syntax error")));
    assert_eq!((failure.code, failure.said.unwrap().words.as_str()), (Code::EngineError, "XML syntax error"));
}

#[test]
fn a_broken_tool_call_that_nobody_has_read_is_tried_once_more_from_its_beginning() {
    let mut world = World::new(with_tools(), false);
    on(&mut world, 0);
    world.token("Let me look. ");
    assert!(matches!(world.fail(refusal(None, "XML syntax error")), Step::Again(_)));
    assert_eq!(world.submit().so_far, None);
    world.accept(1);
    world.token("Let me look. ");
    assert_eq!(
        failure(world.fail(refusal(None, "XML syntax error"))).said.unwrap().words,
        "XML syntax error"
    );
}

#[test]
fn a_request_that_ended_two_engines_is_not_tried_on_a_third() {
    let mut world = World::new(prompt(), true);
    on(&mut world, 0);
    assert!(matches!(world.fail(death(Fault::Request)), Step::Again(_)));
    on(&mut world, 1);
    let failure = failure(world.fail(death(Fault::Request)));
    assert_eq!((failure.code, failure.verdict), (Code::Harmful, Verdict::GiveUp));
}

#[test]
fn what_a_node_suffers_by_somebody_elses_request_is_not_charged() {
    let mut world = World::new(prompt(), true);
    for n in 0..11 {
        on(&mut world, n);
        world.token("x");
        assert!(matches!(world.fail(death(Fault::Other)), Step::Again(_)), "{n}");
    }
    on(&mut world, 11);
    let ended = failure(world.fail(death(Fault::Other)));
    assert!(ended.message.starts_with("gave up after 12 attempts"), "but not for ever: {ended:?}");
}

#[test]
fn a_refusal_is_forgotten_once_another_node_has_given_something() {
    let mut world = World::new(prompt(), true);
    on(&mut world, 0);
    world.fail(refusal(Some(500), "CUDA error"));
    on(&mut world, 1);
    world.token("x");
    assert!(matches!(world.fail(death(Fault::Other)), Step::Again(_)));
    assert!(!world.submit().second_opinion, "the first node may be used again");
}

#[test]
fn an_engines_words_go_into_no_sentence_of_ours() {
    let mut world = World::new(prompt(), true);
    let said = |fault| death(fault).saying(None, "SECRET no longer running");
    let secret = |fault| Failure { message: "the engine reported: SECRET".into(), ..said(fault) };
    on(&mut world, 0);
    world.fail(secret(Fault::Request));
    on(&mut world, 1);
    assert!(!failure(world.fail(secret(Fault::Request))).for_log().contains("SECRET"));
    let format = echo_bus::message::Settings { format: Some(json!("json")), ..Default::default() };
    let under_format = echo_bus::message::Generate { settings: format, ..Default::default() };
    let mut world = World::new(Request::Generate(under_format), true);
    on(&mut world, 0);
    world.token("{");
    assert!(!failure(world.fail(secret(Fault::Other))).for_log().contains("SECRET"));
}

#[test]
fn an_engine_that_another_request_may_have_ended_weighs_half() {
    let mut world = World::new(prompt(), true);
    for n in 0..3 {
        on(&mut world, n);
        assert!(matches!(world.fail(death(Fault::Shared)), Step::Again(_)));
    }
    on(&mut world, 3);
    assert_eq!(failure(world.fail(death(Fault::Shared))).code, Code::Harmful);
}

#[test]
fn the_machines_own_failures_are_charged_to_the_budget() {
    let mut world = World::new(prompt(), true);
    for n in 0..2 {
        on(&mut world, n);
        assert!(matches!(world.fail(death(Fault::Machine)), Step::Again(_)));
    }
    on(&mut world, 2);
    let ended = failure(world.fail(death(Fault::Machine)));
    assert_eq!(ended.code, Code::EngineUnreachable);
}
