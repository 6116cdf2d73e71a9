//! What machines say that want to join.

use super::*;

fn hex(bytes: &[u8]) -> Hex {
    bytes.to_vec().into()
}

#[test]
fn join_requests_and_answers() {
    golden(&JoinRequest::Hello { pake: hex(&[0x42, 0x0a]) }, r#"{"ask":"hello","pake":"420a"}"#);
    let prove = JoinRequest::Prove { exchange: hex(&[1]), proof: hex(&[2]), sealed: hex(&[0xff]) };
    golden(&prove, r#"{"ask":"prove","exchange":"01","proof":"02","sealed":"ff"}"#);
    let hello = JoinAnswer::Hello { exchange: hex(&[1]), pake: hex(&[0x41]) };
    golden(&hello, r#"{"answer":"hello","exchange":"01","pake":"41"}"#);
    let welcome = JoinAnswer::Welcome { proof: hex(&[2]), sealed: hex(&[]) };
    golden(&welcome, r#"{"answer":"welcome","proof":"02","sealed":""}"#);
    for (why, word) in [
        (Refusal::WrongCode, "wrong_code"),
        (Refusal::Used, "used"),
        (Refusal::Old, "old"),
        (Refusal::Spoilt, "spoilt"),
        (Refusal::Forgotten, "forgotten"),
        (Refusal::Unreadable, "unreadable"),
    ] {
        let refused = JoinAnswer::Refused { why, node: None };
        golden(&refused, &format!(r#"{{"answer":"refused","why":"{word}"}}"#));
    }
    let taken = JoinAnswer::Refused { why: Refusal::NodeTaken, node: Some(node()) };
    golden(&taken, r#"{"answer":"refused","why":"node_taken","node":"node-a"}"#);
}

#[test]
fn join_wish_and_grant() {
    let wish = JoinWish { nodes: vec![node()], keys: vec![], version: "0.1.0".into() };
    golden(&wish, r#"{"nodes":["node-a"],"version":"0.1.0"}"#);
    let grant = JoinGrant { authority: None, edge: None, version: "0.1.0".into() };
    golden(&grant, r#"{"version":"0.1.0"}"#);
    let grant =
        JoinGrant { authority: Some("PEM".into()), edge: Some("http://10.0.0.1:8080/".into()), ..grant };
    golden(&grant, r#"{"authority":"PEM","edge":"http://10.0.0.1:8080/","version":"0.1.0"}"#);
}

#[test]
fn a_newer_peer_is_not_an_error_and_bytes_have_a_bound() {
    assert_eq!(
        serde_json::from_str::<JoinRequest>(r#"{"ask":"dance","a":1}"#).unwrap(),
        JoinRequest::Unknown
    );
    assert_eq!(serde_json::from_str::<JoinAnswer>(r#"{"answer":"dance"}"#).unwrap(), JoinAnswer::Unknown);
    let keyed = r#"{"ask":"hello","pake":"00","key":"later"}"#;
    assert_eq!(serde_json::from_str::<JoinRequest>(keyed).unwrap(), JoinRequest::Hello { pake: hex(&[0]) });
    for bad in ["0", "0g", "AB", "ä", &"00".repeat(4097)] {
        assert_eq!(Hex::try_from(bad.to_owned()), Err(InvalidHex), "{bad}");
    }
}
