//! Why an attempt is where it is, on the wire.

use super::*;

#[test]
fn why() {
    golden(&Why::at(node()), r#"{"node":"node-a"}"#);
    let times = |wait| Times { wait, load: Some(0), prompt: Some(310), answer: Some(3900), whole: None };
    let other = |expected_ms, because: &str| Other { node: node(), expected_ms, because: because.into() };
    let why = Why {
        expected_ms: times(None),
        measured_ms: Times { whole: Some(4_300), ..times(Some(90)) },
        instead_of: vec![other(Some(9100), "cold: 7.0 s to load"), other(None, "full")],
        ..Why::at(node())
    };
    let text = r#"{"node":"node-a","expected_ms":{"load":0,"prompt":310,"answer":3900},"measured_ms":{"wait":90,"load":0,"prompt":310,"answer":3900,"whole":4300},"instead_of":[{"node":"node-a","expected_ms":9100,"because":"cold: 7.0 s to load"},{"node":"node-a","because":"full"}]}"#;
    golden(&why, text);
    let why = Some(Relayed::from(why));
    let (detail, attempt) = (String::new(), None);
    golden(
        &Event { attempt, detail, why: why.clone(), ..Event::new(What::Done, 1) },
        &format!(r#"{{"what":"done","at":1,"why":{text}}}"#),
    );
    let accepted = Accepted {
        seq: 0,
        node: node(),
        boot: boot(),
        model: "m".into(),
        waited_ms: 0,
        chosen: String::new(),
        why,
    };
    let text =
        format!(r#"{{"frame":"accepted","seq":0,"node":"node-a","boot":"b1","model":"m","why":{text}}}"#);
    golden(&Frame::Accepted(Box::new(accepted.clone())), &text);
    assert_eq!(Frame::read(text.as_bytes()).unwrap(), Frame::Accepted(Box::new(accepted)));
}

/// A task as an agent reads it, and what it says back.
fn passed_on(why: &str) -> (Option<Relayed>, String) {
    let text = format!(r#"{{"why":{why},"request":{{"kind":"generate","model":"m"}}}}"#);
    let task = Task::read(text.as_bytes()).unwrap();
    let said = serde_json::to_string(&task.why).unwrap();
    (task.why, said)
}

#[test]
fn who_passes_a_reason_on_takes_nothing_from_it() {
    let text = r#"{"node":"node-a","newer":[1,{"words":"a \"b\""}],"expected_ms":{"whole":7}}"#;
    let (why, said) = passed_on(text);
    assert_eq!(said, text);
    let whole = Times { whole: Some(7), ..Times::default() };
    let known = Why { expected_ms: whole, ..Why::at(node()) };
    assert_eq!(why.and_then(Relayed::read).as_deref(), Some(&known));
    assert_eq!(Relayed::written(&known).unwrap(), Relayed::from(known));
    assert_eq!(passed_on("null").0, None);
    let no_reason = passed_on(r#"{"node":"*"}"#).0.expect("passed on as it is");
    assert_eq!(no_reason.read(), None, "and nobody takes it for one");
}

#[test]
fn a_reason_that_is_too_long_is_not_passed_on() {
    let long = |bytes: usize| format!(r#"{{"node":"a","newer":"{}"}}"#, "x".repeat(bytes));
    assert!(passed_on(&long(4_000)).0.is_some() && passed_on(&long(4_096)).0.is_none());
}

#[test]
fn a_hostile_reason_is_cut_short() {
    let other = json!({"node": "a", "because": "ä".repeat(100_000), "newer": {}});
    let why = json!({"node": "b", "instead_of": vec![other; 10_000], "newer": [1]});
    let why: Why = serde_json::from_value(why).unwrap();
    assert_eq!((why.instead_of.len(), why.instead_of[0].because.len()), (3, 160));
    assert!(serde_json::to_string(&why).unwrap().len() < 1_000);
    for bad in [r#"{"node":"*"}"#, r#"{"node":"a","instead_of":[{"node":"a.b"}]}"#] {
        assert!(serde_json::from_str::<Why>(bad).is_err(), "{bad}");
    }
}
