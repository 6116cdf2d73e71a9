use crate::trust::CERTIFICATE_LASTS;
use echo_bus::subject::{CONTRACT, Duty, Shape, Who};

use super::*;

const CONF: &str = include_str!("../../../../nats.conf");

/// The words in quotes of the first list that follows these words, one after the other.
fn list(after: &[&str]) -> Vec<&'static str> {
    let start = after.iter().fold(0, |at, words| at + CONF[at..].find(words).unwrap() + words.len());
    let end = start + CONF[start..].find(']').unwrap();
    let quoted = CONF[start..end].split('"').skip(1).step_by(2);
    quoted.collect()
}

/// Whether every subject that `inner` stands for is one of `outer`'s.
fn covers(outer: &str, inner: &str) -> bool {
    let (mut outer, mut inner) = (outer.split('.'), inner.split('.'));
    loop {
        match (outer.next(), inner.next()) {
            (Some(">"), Some(_)) | (None, None) => return true,
            (Some(a), Some(b)) if a == "*" || a == b => {}
            _ => return false,
        }
    }
}

fn hears(shape: &Shape, duty: Duty) -> bool {
    shape.heard_by.iter().any(|who| matches!(who, Who::Any(one) | Who::Own(one) if *one == duty))
}

#[test]
fn a_watcher_of_one_machine_hears_what_the_contract_says_and_nothing_that_only_parts_hear() {
    let denied = list(&["user: watch", "subscribe:", "deny:"]);
    for (name, shape) in CONTRACT {
        let subject = shape.filled(|_| None);
        // On one machine whoever looks sees the tokens, too.
        let is_heard = hears(shape, Duty::Watch) || subject.starts_with("_INBOX.");
        let is_denied = denied.iter().any(|deny| covers(deny, &subject));
        assert_eq!(is_denied, !is_heard, "{name}: {subject} in the deny list of watch in nats.conf");
        let touched = denied.iter().any(|deny| covers(&subject, deny));
        assert!(!(is_heard && touched), "{name}: a part of {subject} is denied to watch");
    }
}

#[test]
fn a_watcher_of_one_machine_may_ask_what_any_may_and_submit_a_task() {
    let mut allowed = list(&["user: watch", "publish:", "allow:"]);
    let mut wanted = Part::Watch("w".parse().unwrap()).permissions().publish;
    // Only by a key is it known which inbox is whose.
    wanted.retain(|subject| !subject.starts_with("_INBOX."));
    wanted.push("echo.task.submit".to_owned());
    allowed.sort_unstable();
    wanted.sort_unstable();
    assert_eq!(allowed, wanted);
}

#[test]
fn a_guest_may_say_and_hear_what_the_contract_says() {
    assert_eq!(list(&["user: join", "publish:"]), Part::Guest.permissions().publish);
    assert_eq!(list(&["user: join", "subscribe:"]), Part::Guest.permissions().subscribe);
}

#[test]
fn what_stands_between_the_marks_is_replaced_and_nothing_else() {
    let text = "a\n  # m begin\nb\n# m end\nc\n";
    assert_eq!(replaced(text, "# m", "x\n").unwrap(), "a\n  # m begin\nx\n# m end\nc\n");
    for bad in ["", "# m begin\n", "# m end\n# m begin\n", "# m begins\n# m end\n"] {
        assert_eq!(replaced(bad, "# m", "x"), None, "{bad:?}");
    }
}

#[test]
fn with_keys_no_user_of_one_machine_is_left() {
    let folder = tempfile::tempdir().unwrap();
    // A path that nats-server could take for something else.
    let trust = Trust::open(&folder.path().join("a \"b\" \\ c")).unwrap();
    let keyed =
        Keyed::new(trust.clone(), CONF.to_owned(), Path::new("nats.conf"), CERTIFICATE_LASTS).unwrap();
    let config = keyed.config().unwrap();
    for gone in ["user: mesh", "user: watch", "no_auth_user:"] {
        assert!(!config.contains(gone), "{gone} is still there");
    }
    assert_eq!(config.matches("nkey:").count(), 2);
    assert!(config.contains("user: join") && config.contains(r#"a \"b\" \\ c/broker.pem""#), "{config}");
    for secret in ["ca.key", "keys/broker.nk"] {
        let secret = std::fs::read_to_string(trust.authority().with_file_name(secret)).unwrap();
        assert!(!config.contains(secret.lines().nth(1).unwrap_or(secret.trim())));
    }
}
