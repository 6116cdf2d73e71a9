//! What becomes of a task that a node was asked to take.

use super::*;

#[test]
fn a_silent_node_gets_no_more_work() {
    let mut rig = Rig::with([one("a")]);
    let lost = only_asked(&rig.submit(1, json!({})));
    let done = rig.answer(&lost, Answer::Unclear);
    let failed = failures(&done);
    assert_eq!((failed[0].1.code, failed[0].1.verdict), (Code::Unclear, Verdict::Elsewhere));
    assert_eq!(cancels(&done).len(), 1, "it may have taken the task");
    assert_eq!(refusal(&rig.submit(1, json!({}))).code, Code::Cancelled, "never again under this attempt");
    assert!(asked(&rig.submit(2, json!({}))).is_empty());
    assert_eq!(asked(&rig.beat(beat("a", 2).build())).len(), 1, "it is heard again");
}

#[test]
fn an_edge_decides_itself_about_a_task_that_a_silent_node_may_have_taken() {
    let mut rig = Rig::with([one("a")]);
    let lost = only_asked(&rig.submit(1, json!({"edge": "e"})));
    let done = rig.answer(&lost, Answer::Unclear);
    assert_eq!((failures(&done).len(), cancels(&done).len()), (1, 0), "the node may be answering already");
    assert_eq!(cancels(&rig.cancel(1, 1))[0].0, "a", "the edge's word finds its way");
}

#[test]
fn an_ended_connection_makes_its_node_suspect_until_it_is_heard() {
    let mut rig = Rig::with([one("a")]);
    let gone = |boot: &str| Event::Gone {
        peer: echo_bus::id::Peer::agent(&"a".parse().unwrap()),
        boot: boot.parse().unwrap(),
    };
    rig.apply(gone("a-0"));
    assert_eq!(asked(&rig.submit(1, json!({}))).len(), 1, "another start's connection");
    let mut rig = Rig::with([one("a")]);
    rig.apply(gone("a-1"));
    assert!(asked(&rig.submit(1, json!({}))).is_empty());
    assert_eq!(asked(&rig.beat(beat("a", 2).build())).len(), 1);
}

#[test]
fn a_node_whose_connection_did_not_end_after_all_waits_for_no_heartbeat() {
    let gone = || Event::Gone {
        peer: echo_bus::id::Peer::agent(&"a".parse().unwrap()),
        boot: "a-1".parse().unwrap(),
    };
    let ponged = |boot: &str| Event::Ponged { node: "a".parse().unwrap(), boot: boot.parse().unwrap() };
    let pings = |done: &[Action]| done.iter().filter(|it| matches!(it, Action::Ping { .. })).count();
    let mut rig = Rig::with([one("a")]);
    assert_eq!(pings(&rig.apply(gone())), 1, "who says that it is gone may lie: it is asked");
    assert_eq!(pings(&rig.apply(gone())), 0, "one question at a time");
    assert!(asked(&rig.submit(1, json!({}))).is_empty(), "until it answers");
    assert!(asked(&rig.apply(ponged("a-0"))).is_empty(), "another start's answer");
    assert_eq!(asked(&rig.apply(ponged("a-1"))).len(), 1, "what waits goes there at once");
}

#[test]
fn an_answer_to_a_ping_makes_up_for_no_answer_to_a_task() {
    let mut rig = Rig::with([beat("a", 1).models([model("m")]).slots(3).build()]);
    let lost = only_asked(&rig.submit(1, json!({})));
    rig.apply(Event::Gone {
        peer: echo_bus::id::Peer::agent(&"a".parse().unwrap()),
        boot: "a-1".parse().unwrap(),
    });
    rig.answer(&lost, Answer::Unclear);
    rig.apply(Event::Ponged { node: "a".parse().unwrap(), boot: "a-1".parse().unwrap() });
    assert!(asked(&rig.submit(2, json!({}))).is_empty());
    assert_eq!(asked(&rig.beat(beat("a", 2).slots(3).build())).len(), 1);
}

#[test]
fn nobody_there_and_refusals_send_the_task_to_the_next_node() {
    let full = Answer::Refused(Failure::elsewhere(Code::Full, "no slot"));
    for answer in [Answer::NoResponders, full] {
        let mut rig = Rig::with([one("a"), one("b")]);
        let first = only_asked(&rig.submit(1, json!({})));
        let second = only_asked(&rig.answer(&first, answer.clone()));
        assert_ne!(first.node, second.node);
        assert_eq!(rig.used(first.node.as_str()), 0);
        let done = rig.answer(&second, answer);
        assert_eq!(positions(&done).len(), 1, "nobody is left: it waits");
        assert_eq!(asked(&rig.beat(beat("a", 2).build())).len(), 1, "what the beat says is newer");
    }
}

#[test]
fn a_node_without_the_model_after_all_is_not_asked_again() {
    let missing = || Answer::Refused(Failure::elsewhere(Code::ModelMissing, "not here"));
    let mut rig = Rig::with([one("a"), one("b")]);
    let first = only_asked(&rig.submit(1, json!({})));
    let second = only_asked(&rig.answer(&first, missing()));
    let failed = failures(&rig.answer(&second, missing()));
    assert_eq!((failed[0].1.code, failed[0].1.verdict), (Code::ModelNotServed, Verdict::GiveUp));
}

#[test]
fn what_no_attempt_can_help_is_told_at_once() {
    let mut rig = Rig::with([one("a"), one("b")]);
    let first = only_asked(&rig.submit(1, json!({})));
    let done = rig.answer(&first, Answer::Refused(Failure::give_up(Code::EngineRefused, "no")));
    assert_eq!(failures(&done)[0].1.code, Code::EngineRefused);
}

#[test]
fn a_task_that_no_broker_carries_fails() {
    let mut rig = Rig::with([one("a")]);
    let first = only_asked(&rig.submit(1, json!({})));
    let done = rig.answer(&first, Answer::Unsendable("too large".to_owned()));
    assert_eq!((failures(&done).len(), rig.used("a")), (1, 0));
}

#[test]
fn what_is_about_models_takes_no_slot() {
    let mut rig = Rig::with([beat("a", 1).managed().models([model("m")]).build()]);
    rig.submit(1, json!({}));
    let show = json!({"request": {"kind": "show", "model": "m"}});
    assert_eq!(asked(&rig.submit(2, show.clone())).len(), 1);
    assert_eq!(asked(&rig.submit(3, json!({"request": {"kind": "pull", "model": "new"}}))).len(), 1);
    assert_eq!(rig.used("a"), 1);
    let full = Answer::Refused(Failure::elsewhere(Code::Full, "enough to do"));
    let refused = only_asked(&rig.submit(4, show));
    assert_eq!(positions(&rig.answer(&refused, full)).len(), 1);
    assert_eq!(asked(&rig.beat(beat("a", 2).managed().active([testkit::held(1, 1)]).build())).len(), 1);
}

#[test]
fn a_node_that_holds_the_attempt_already_has_it() {
    let mut rig = Rig::with([one("a"), one("b")]);
    let first = only_asked(&rig.submit(1, json!({})));
    let done = rig.answer(&first, Answer::Refused(Failure::wait(Code::Unclear, "held already")));
    assert!(asked(&done).is_empty() && failures(&done).is_empty());
    assert_eq!(rig.state.held(), 0);
}

#[test]
fn nothing_is_placed_while_the_broker_is_away_nor_before_a_node_is_heard_again() {
    let mut rig = Rig::with([one("a")]);
    rig.apply(Event::Link { up: false });
    assert!(asked(&rig.submit(1, json!({}))).is_empty());
    assert!(asked(&rig.apply(Event::Link { up: true })).is_empty());
    assert_eq!(asked(&rig.beat(beat("a", 2).build())).len(), 1);
}
