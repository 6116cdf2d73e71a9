use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use echo_bus::private_file;

use super::*;

fn new(name: &str, node: &str) -> NewKey {
    let folder = tempfile::tempdir().unwrap();
    let key = Seed::read_or_create(&folder.path().join("key")).unwrap().public().clone();
    NewKey { name: name.to_owned(), duty: Duty::Agent, node: Some(node.parse().unwrap()), key }
}

fn trust() -> (tempfile::TempDir, Trust) {
    let folder = tempfile::tempdir().unwrap();
    let trust = Trust::open(&folder.path().join("deep/er")).unwrap();
    (folder, trust)
}

fn why<T: std::fmt::Debug>(refused: Result<T, Error>) -> String {
    match refused {
        Err(Error::Refused(why)) => why,
        other => panic!("not refused: {other:?}"),
    }
}

#[test]
fn starts_at_once_agree_on_one_authority_and_one_key() {
    let folder = tempfile::tempdir().unwrap();
    let made: Vec<(String, PathBuf)> = std::thread::scope(|scope| {
        let start = || {
            let trust = Trust::open(folder.path()).unwrap();
            let key = trust.own_key(OPERATOR, Duty::Operator, None).unwrap();
            trust.server_certificate(BROKER, CERTIFICATE_LASTS).unwrap();
            (fs::read_to_string(trust.authority()).unwrap(), key)
        };
        let starts: Vec<_> = (0..8).map(|_| scope.spawn(start)).collect();
        starts.into_iter().map(|start| start.join().unwrap()).collect()
    });
    assert!(made.iter().all(|one| *one == made[0]));
    let trust = Trust::open(folder.path()).unwrap();
    assert_eq!(trust.machines().unwrap().len(), 1);
    for file in ["ca.key", "broker.key", "keys/operator.nk", "machines.json"] {
        assert_eq!(fs::metadata(folder.path().join(file)).unwrap().mode() & 0o777, 0o600, "{file}");
    }
}

#[test]
fn a_key_of_the_authority_that_others_can_read_is_refused_with_the_cure() {
    let (_folder, trust) = trust();
    let key = trust.0.path("ca.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let refused = trust.server_certificate(BROKER, CERTIFICATE_LASTS).unwrap_err().to_string();
    assert!(refused.contains("chmod 600"), "{refused}");
    private_file::write(&key, "no key").unwrap();
    assert!(matches!(trust.server_certificate(BROKER, CERTIFICATE_LASTS), Err(Error::NoKey(_))));
    assert!(why(trust.server_certificate("ca", CERTIFICATE_LASTS)).contains("own name"));
    assert!(why(trust.server_certificate("../x", CERTIFICATE_LASTS)).contains("is no name"));
}

#[test]
fn a_key_of_this_machine_that_was_taken_out_stays_out_and_its_part_gets_another() {
    let (_folder, trust) = trust();
    let own = || {
        let path = trust.own_key("edge", Duty::Edge, None).unwrap();
        Seed::read(&path).unwrap().public().clone()
    };
    let stolen = own();
    assert_eq!(own(), stolen);
    trust.revoke(&["edge".to_owned()]).unwrap();
    let next = own();
    assert_ne!(next, stolen);
    let listed: Vec<_> = trust.machines().unwrap().into_iter().map(|one| one.key).collect();
    assert_eq!(listed, [next]);
}

#[test]
fn names_nodes_and_keys_are_each_taken_once() {
    let (_folder, trust) = trust();
    let first = new("a", "na");
    trust.admit(std::slice::from_ref(&first)).unwrap();
    assert_eq!(
        trust.admit(std::slice::from_ref(&first)).unwrap().after.len(),
        1,
        "the same again is no change"
    );
    assert!(why(trust.admit(&[new("A", "nb")])).contains("there is a machine \"a\""));
    assert!(why(trust.admit(&[new("b", "na")])).contains("the node na is that of \"a\""));
    let again = NewKey { name: "b".to_owned(), node: Some("nb".parse().unwrap()), ..first };
    assert!(why(trust.admit(&[again])).contains("under the name \"a\""));
    for duty in [Duty::Broker, Duty::Guest] {
        let bad = NewKey { duty, node: None, ..new("c", "nc") };
        assert!(why(trust.admit(&[bad])).contains("cannot be let in"));
    }
    let misplaced = NewKey { duty: Duty::Edge, ..new("c", "nc") };
    assert!(why(trust.admit(&[misplaced])).contains("nobody else has one"));
    for name in ["", ".", "..", "-x", "a/b", "a b", "é", "a\n", &"a".repeat(64)] {
        assert!(why(trust.admit(&[new(name, "nd")])).contains("is no name"), "{name:?}");
    }
    trust.admit(&[new(&"a".repeat(63), "nd"), new("A-1_b.c", "ne")]).unwrap();
    assert_eq!(trust.machines().unwrap().len(), 3);
}

#[test]
fn there_is_an_end_to_how_many_get_in() {
    let (_folder, trust) = trust();
    let machines: Vec<Machine> = (0..rules::MOST_MACHINES)
        .map(|number| {
            let name = format!("n{number}");
            let key = nkeys::KeyPair::new_user().public_key().parse().unwrap();
            Machine { node: Some(name.parse().unwrap()), name, duty: Duty::Agent, key, since: 0 }
        })
        .collect();
    trust.0.write("machines.json", &serde_json::to_string(&machines).unwrap()).unwrap();
    assert!(why(trust.admit(&[new("one-more", "one-more")])).contains("10000 machines already"));
}

#[test]
fn the_broker_and_the_last_operator_stay() {
    let (_folder, trust) = trust();
    let own = trust.own_key(BROKER, Duty::Broker, None).unwrap();
    trust.own_key(OPERATOR, Duty::Operator, None).unwrap();
    assert!(why(trust.revoke(&[BROKER.to_owned()])).contains("the broker itself"));
    assert!(why(trust.revoke(&[OPERATOR.to_owned()])).contains("the last operator"));
    let second = NewKey { duty: Duty::Operator, node: None, ..new("ann", "x") };
    trust.admit(&[second]).unwrap();
    let both = [OPERATOR.to_owned(), "ann".to_owned()];
    assert!(why(trust.revoke(&both)).contains("the last operator"));
    trust.revoke(&both[..1]).unwrap();
    // A key that was lost is made anew, and the lost one gets in no more.
    let lost = trust.machines().unwrap()[0].key.clone();
    fs::remove_file(own).unwrap();
    trust.own_key(BROKER, Duty::Broker, None).unwrap();
    let machines = trust.machines().unwrap();
    assert_eq!(machines.len(), 2);
    assert!(machines.iter().all(|one| one.key != lost));
}

#[test]
fn what_others_have_changed_meanwhile_is_not_taken_back() {
    let (_folder, trust) = trust();
    trust.admit(&[new("a", "a"), new("b", "b")]).unwrap();
    trust.admit(&[new("c", "c")]).unwrap();
    let change = trust.revoke(&["a".to_owned()]).unwrap();
    trust.admit(&[new("d", "d")]).unwrap();
    let mut names: Vec<_> = trust.undo(&change).unwrap().after.into_iter().map(|one| one.name).collect();
    names.sort();
    assert_eq!(names, ["a", "b", "c", "d"]);
}

#[test]
fn a_change_is_what_one_has_changed_whatever_others_do_at_that_moment() {
    let (_folder, trust) = trust();
    std::thread::scope(|threads| {
        for name in ["a", "b", "c", "d", "e", "f", "g", "h"] {
            let trust = &trust;
            threads.spawn(move || {
                let Change { before, after } = trust.admit(&[new(name, name)]).unwrap();
                let added: Vec<_> = after.iter().filter(|one| !before.contains(one)).collect();
                assert!(added.len() == 1 && added[0].name == name, "{added:?}");
                assert_eq!(after.len(), before.len() + 1);
            });
        }
    });
    assert_eq!(trust.machines().unwrap().len(), 8);
}

/// Two keys whose edges would have the same home, found by trying some 2^25.
#[test]
fn no_two_edges_have_one_home() {
    let (_folder, trust) = trust();
    let edge = |name: &str, key: &str| NewKey {
        name: name.to_owned(),
        duty: Duty::Edge,
        node: None,
        key: key.parse().unwrap(),
    };
    let one = edge("one", "UAWFNEYPYZVFJ7METQTX4AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAOC2");
    let like = edge("like", "UAHEO3EDIANHQ4ZYSYU26AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAXSM2");
    trust.admit(std::slice::from_ref(&one)).unwrap();
    trust.admit(std::slice::from_ref(&one)).unwrap();
    assert!(why(trust.admit(std::slice::from_ref(&like))).contains("too like that of \"one\""));
    trust.admit(&[NewKey { duty: Duty::Watch, ..like.clone() }]).unwrap();
    trust.revoke(&["one".to_owned(), "like".to_owned()]).unwrap();
    trust.admit(&[like]).unwrap();
}
