use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use super::*;

fn add(path: &Path, name: &str, key: &str) {
    let entry = Entry::new(name.parse().unwrap(), key, 0);
    KeyFile::change(path, |file| {
        file.keys.push(entry);
        Ok::<_, file::Error>(())
    })
    .unwrap();
}

fn found(keys: &Keys, key: &str, now: Instant) -> Option<String> {
    keys.known(now).get(&Digest::of(key)).map(|entry| entry.name.to_string())
}

#[test]
fn a_change_is_seen_within_a_second_and_the_last_good_keys_stay_when_it_is_nonsense() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.json");
    add(&path, "ada", "echo-a");
    let keys = Keys::open(&path).unwrap();
    let began = Instant::now();
    assert_eq!(found(&keys, "echo-a", began).as_deref(), Some("ada"));
    add(&path, "bob", "echo-b");
    assert_eq!(found(&keys, "echo-b", began), None, "it is not looked at with each request");
    assert_eq!(found(&keys, "echo-b", began + LOOK).as_deref(), Some("bob"));
    for (at, nonsense) in ["{", "[]", "{\"keys\":[{}]}", "{\"keys\":[],\"new\":1}"].into_iter().enumerate() {
        fs::write(&path, nonsense).unwrap();
        let now = began + LOOK * (2 + u32::try_from(at).unwrap());
        assert_eq!(found(&keys, "echo-b", now).as_deref(), Some("bob"), "{nonsense}");
        assert!(keys.locked().said.is_some(), "{nonsense} was not said");
    }
    fs::remove_file(&path).unwrap();
    assert_eq!(found(&keys, "echo-a", began + LOOK * 9).as_deref(), Some("ada"));
    add(&path, "cy", "echo-c");
    assert_eq!(found(&keys, "echo-c", began + LOOK * 10).as_deref(), Some("cy"));
    assert_eq!(found(&keys, "echo-a", began + LOOK * 10), None, "who is not in it any more is out");
    assert!(keys.locked().said.is_none());
}

#[test]
fn a_file_that_others_can_read_or_that_is_none_is_told_in_a_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.json");
    let told = || Keys::open(&path).unwrap_err().to_string();
    assert!(told().contains("echo-mesh keys add NAME"), "{}", told());
    add(&path, "ada", "echo-a");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(told().contains("chmod 600"), "{}", told());
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let twice = fs::read_to_string(&path).unwrap();
    let entry = twice.split_once('[').unwrap().1.rsplit_once(']').unwrap().0;
    fs::write(&path, format!("{{\"keys\":[{entry},{entry}]}}")).unwrap();
    assert!(told().contains("twice"), "{}", told());
    fs::write(&path, " ".repeat(5 << 20)).unwrap();
    assert!(told().contains("bytes"), "{}", told());
}

#[test]
fn an_expired_key_is_known_for_one_and_an_unknown_one_for_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.json");
    let key = file::text(&[7; 32]);
    assert!(key.starts_with("echo-") && key.len() == 48, "{key}");
    add(&path, "ada", &key);
    let keys = Keys::open(&path).unwrap();
    assert!(matches!(keys.find(&key), Found::Good(entry) if entry.name.as_str() == "ada"));
    assert_eq!(keys.find("echo-x"), Found::Unknown);
    assert!(!fs::read_to_string(&path).unwrap().contains(&key), "the file holds no key");
    KeyFile::change(&path, |file| {
        file.keys[0].expires = Some(1);
        Ok::<_, file::Error>(())
    })
    .unwrap();
    assert!(matches!(Keys::open(&path).unwrap().find(&key), Found::Expired(_)));
}

#[test]
fn writers_that_come_at_once_lose_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.json");
    std::thread::scope(|scope| {
        for number in 0..16 {
            let path = &path;
            scope.spawn(move || add(path, &format!("c{number}"), &format!("echo-{number}")));
        }
    });
    assert_eq!(KeyFile::read(&path).unwrap().keys.len(), 16);
}
