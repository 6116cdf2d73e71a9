use proptest::prelude::*;

use super::*;
use crate::join::exchange::{Asking, NotJoined, Proved};

const SECRET: &str = "nothing-that-anybody-could-guess";
const LIFETIME: Duration = Duration::from_secs(600);

fn code() -> Code {
    Code::random("10.0.0.1:4222".parse().unwrap())
}

fn grant() -> JoinGrant {
    JoinGrant { authority: Some(SECRET.into()), edge: None, version: "0".into() }
}

fn wish(node: &str) -> JoinWish {
    let key = "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4".parse().unwrap();
    JoinWish { nodes: vec![node.parse().unwrap()], keys: vec![key], version: "0".into() }
}

/// What is answered where the broker takes every key.
fn answered(
    invitation: &mut Invitation,
    request: &JoinRequest,
    nodes: &[NodeId],
    now: Instant,
) -> JoinAnswer {
    match invitation.hear(request, true, nodes, now) {
        Heard::Answer(answer) => answer,
        Heard::Admit(admission) => invitation.admitted(admission, &grant()),
    }
}

/// A machine that has said hello.
fn begun(
    invitation: &mut Invitation,
    code: &Code,
    node: &str,
    now: Instant,
) -> Result<(JoinRequest, Proved), NotJoined> {
    let asking = Asking::new(code);
    let answer = answered(invitation, &asking.hello(), &[], now);
    asking.prove(answer, &wish(node))
}

/// A machine that tries to join with this code.
fn joins(invitation: &mut Invitation, code: &Code, node: &str, now: Instant) -> Result<JoinGrant, NotJoined> {
    let (request, proved) = begun(invitation, code, node, now)?;
    let taken = ["taken".parse().unwrap()];
    proved.grant(answered(invitation, &request, &taken, now))
}

#[test]
fn the_first_machine_with_the_code_is_let_in_and_the_next_hears_that_it_is_used() {
    let (code, now) = (code(), Instant::now());
    let mut invitation = Invitation::new(code.clone(), now, LIFETIME);
    let (late, _) = begun(&mut invitation, &code, "late", now).unwrap();
    assert_eq!(joins(&mut invitation, &code, "b", now).unwrap(), grant());
    assert_eq!(invitation.outcome(now), Some(&Outcome::Joined(wish("b"))));
    assert!(matches!(joins(&mut invitation, &code, "c", now), Err(NotJoined::Used)));
    // One that had said hello before is not let in either.
    assert_eq!(answered(&mut invitation, &late, &[], now), refused(Refusal::Used));
}

#[test]
fn an_answer_that_was_lost_is_given_again() {
    let (code, now) = (code(), Instant::now());
    let mut invitation = Invitation::new(code.clone(), now, LIFETIME);
    let (request, proved) = begun(&mut invitation, &code, "b", now).unwrap();
    let _lost = answered(&mut invitation, &request, &[], now);
    let again = answered(&mut invitation, &request, &[], now + LIFETIME);
    assert_eq!(proved.grant(again).unwrap(), grant());
}

#[test]
fn a_code_is_spoilt_by_its_last_wrong_proof_and_by_none_before() {
    let (right, now) = (code(), Instant::now());
    let stranger = code();
    for wrong in [MOST_WRONG - 1, MOST_WRONG] {
        let mut invitation = Invitation::new(right.clone(), now, LIFETIME);
        for attempt in 1..=wrong {
            let refused = joins(&mut invitation, &stranger, "b", now).unwrap_err();
            let spoilt = matches!(refused, NotJoined::Spoilt);
            assert!(
                spoilt == (attempt == MOST_WRONG) && (spoilt || matches!(refused, NotJoined::Wrong)),
                "{refused}"
            );
        }
        let honest = joins(&mut invitation, &right, "b", now);
        assert_eq!(honest.is_ok(), wrong < MOST_WRONG, "{honest:?}");
        let outcome = if wrong < MOST_WRONG { Outcome::Joined(wish("b")) } else { Outcome::Spoilt };
        assert_eq!(invitation.outcome(now), Some(&outcome));
    }
}

#[test]
fn a_wrong_proof_by_a_stranger_who_has_heard_of_an_exchange_does_not_end_it() {
    let (right, now) = (code(), Instant::now());
    let mut invitation = Invitation::new(right.clone(), now, LIFETIME);
    let (request, proved) = begun(&mut invitation, &right, "b", now).unwrap();
    let JoinRequest::Prove { exchange, sealed, .. } = &request else { panic!("{request:?}") };
    let (exchange, sealed) = (exchange.clone(), sealed.clone());
    let wrong = JoinRequest::Prove { exchange, proof: vec![0; 32].into(), sealed };
    assert_eq!(answered(&mut invitation, &wrong, &[], now), refused(Refusal::WrongCode));
    assert_eq!(proved.grant(answered(&mut invitation, &request, &[], now)).unwrap(), grant());
}

#[test]
fn each_wrong_proof_of_an_exchange_counts_and_a_few_end_it() {
    let (right, now) = (code(), Instant::now());
    let mut invitation = Invitation::new(right, now, LIFETIME);
    let (request, _) = begun(&mut invitation, &code(), "b", now).unwrap();
    for wrong in 1..=MOST_WRONG_IN_ONE {
        assert_eq!(answered(&mut invitation, &request, &[], now), refused(Refusal::WrongCode));
        assert_eq!(invitation.wrong, wrong);
    }
    assert_eq!(answered(&mut invitation, &request, &[], now), refused(Refusal::Forgotten));
}

#[test]
fn an_old_code_is_good_until_its_last_moment_and_then_never_again() {
    let (code, now) = (code(), Instant::now());
    let mut invitation = Invitation::new(code.clone(), now, LIFETIME);
    let (request, proved) = begun(&mut invitation, &code, "b", now).unwrap();
    assert_eq!(invitation.outcome(now + LIFETIME - Duration::from_millis(1)), None);
    let answer = answered(&mut invitation, &request, &[], now + LIFETIME);
    assert!(matches!(proved.grant(answer), Err(NotJoined::Old)));
    assert!(matches!(joins(&mut invitation, &code, "b", now), Err(NotJoined::Old)));
    assert_eq!(invitation.outcome(now), Some(&Outcome::Old));
}

#[test]
fn a_node_that_is_there_already_is_told_and_the_code_stays_good() {
    let (code, now) = (code(), Instant::now());
    let mut invitation = Invitation::new(code.clone(), now, LIFETIME);
    let refused = joins(&mut invitation, &code, "taken", now).unwrap_err();
    assert!(matches!(&refused, NotJoined::NodeTaken(node) if node.as_str() == "taken"), "{refused}");
    assert!(joins(&mut invitation, &code, "other", now).is_ok());
}

#[test]
fn that_a_node_is_there_already_is_said_again_to_whoever_asks_again() {
    let (code, now) = (code(), Instant::now());
    let mut invitation = Invitation::new(code.clone(), now, LIFETIME);
    let (request, _) = begun(&mut invitation, &code, "b", now).unwrap();
    let taken = ["b".parse().unwrap()];
    let first = answered(&mut invitation, &request, &taken, now);
    assert!(matches!(first, JoinAnswer::Refused { why: Refusal::NodeTaken, .. }), "{first:?}");
    assert_eq!(answered(&mut invitation, &request, &taken, now), first);
}

#[test]
fn strangers_who_only_say_hello_are_forgotten() {
    let (code, now) = (code(), Instant::now());
    let mut invitation = Invitation::new(code.clone(), now, LIFETIME);
    let (first, _) = begun(&mut invitation, &code, "b", now).unwrap();
    for _ in 0..MOST_OPEN {
        begun(&mut invitation, &code, "c", now).unwrap();
    }
    assert_eq!(invitation.open.len(), MOST_OPEN);
    assert_eq!(answered(&mut invitation, &first, &[], now), refused(Refusal::Forgotten));
    assert!(joins(&mut invitation, &code, "b", now).is_ok());
}

#[test]
fn whoever_poses_as_the_inviter_is_found_out() {
    let (right, now) = (code(), Instant::now());
    // It answers with a code of its own, and takes any proof.
    let mut impostor = Invitation::new(code(), now, LIFETIME);
    let (request, proved) = begun(&mut impostor, &right, "b", now).unwrap();
    let JoinRequest::Prove { proof, sealed, .. } = request else { panic!("{request:?}") };
    assert!(matches!(proved.grant(JoinAnswer::Welcome { proof, sealed }), Err(NotJoined::Impostor)));
}

#[test]
fn nothing_that_is_said_shows_the_secret_or_the_code() {
    let (code, now) = (code(), Instant::now());
    let mut invitation = Invitation::new(code.clone(), now, LIFETIME);
    let asking = Asking::new(&code);
    let mut said = serde_json::to_string(&asking.hello()).unwrap();
    let answer = answered(&mut invitation, &asking.hello(), &[], now);
    said += &serde_json::to_string(&answer).unwrap();
    let (request, _) = asking.prove(answer, &wish("b")).unwrap();
    said += &serde_json::to_string(&request).unwrap();
    said += &serde_json::to_string(&answered(&mut invitation, &request, &[], now)).unwrap();
    let hex = |text: &str| String::from(Hex::from(text.as_bytes().to_vec()));
    for word in [SECRET, &hex(SECRET), &code.password(), &hex(&code.password()), &code.shown()] {
        assert!(!said.contains(word), "{word} is in {said}");
    }
}

/// What a stranger may send.
fn requests() -> impl Strategy<Value = JoinRequest> {
    let hex = || {
        prop_oneof![
            prop::collection::vec(any::<u8>(), 0..64).prop_map(Hex::from),
            // Half of an agreement by its form, and often by its value.
            prop::collection::vec(any::<u8>(), 32).prop_map(|mut point| {
                point.insert(0, 0x41);
                Hex::from(point)
            })
        ]
    };
    prop_oneof![
        hex().prop_map(|pake| JoinRequest::Hello { pake }),
        (hex(), hex(), hex()).prop_map(|(exchange, proof, sealed)| JoinRequest::Prove {
            exchange,
            proof,
            sealed
        }),
        Just(JoinRequest::Unknown),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn whatever_strangers_say_costs_the_machine_with_the_code_nothing_but_guesses(
        said in prop::collection::vec((requests(), any::<bool>()), 0..40)
    ) {
        let (code, now) = (code(), Instant::now());
        let mut invitation = Invitation::new(code.clone(), now, LIFETIME);
        let mut wrong = 0;
        for (mut request, aims) in said {
            // Some aim at an exchange that is open.
            if let (true, JoinRequest::Prove { exchange, .. }, Some(open)) =
                (aims, &mut request, invitation.open.front())
            {
                exchange.clone_from(&open.name);
            }
            match answered(&mut invitation, &request, &[], now) {
                JoinAnswer::Refused { why: Refusal::WrongCode | Refusal::Spoilt, .. } => wrong += 1,
                JoinAnswer::Welcome { .. } => prop_assert!(false, "a stranger was let in"),
                _ => {}
            }
            prop_assert!(invitation.open.len() <= MOST_OPEN);
        }
        prop_assert_eq!(joins(&mut invitation, &code, "b", now).is_ok(), wrong < MOST_WRONG);
    }

    #[test]
    fn any_bytes_are_read_as_a_request_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = serde_json::from_slice::<JoinRequest>(&bytes);
    }
}
