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
    let why = Some(Box::new(why));
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
