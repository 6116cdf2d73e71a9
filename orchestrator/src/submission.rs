//! What a submission must look like before anybody thinks about nodes.

use echo_bus::id::Inbox;
use echo_bus::message::{Code, Failure, Task};

/// The longest life of a task, in milliseconds: what claims more is cut, so that nothing is held forever.
const LONGEST_MS: u64 = 3_600_000;
/// Excluded starts of nodes that are looked at: the newest.
const EXCLUDED: usize = 64;

/// A submission that makes sense.
#[derive(Debug)]
pub struct Submitted {
    pub task: Box<Task>,
    /// Where its frames go.
    pub inbox: Inbox,
}

/// Checks and trims a submission. Without an inbox of its own the frames go where the answer goes.
///
/// # Errors
/// With the refusal.
pub fn check(task: Result<Box<Task>, String>, reply: Option<&Inbox>) -> Result<Submitted, Failure> {
    let mut task = task.map_err(|error| bad(format!("the task cannot be read: {error}")))?;
    let inbox = task.inbox.clone().or_else(|| reply.cloned());
    let inbox = inbox.ok_or_else(|| bad("the task has neither an inbox nor a reply subject"))?;
    if task.attempt == 0 {
        return Err(bad("attempts are counted from 1"));
    }
    if task.remaining_ms == 0 {
        return Err(Failure::give_up(Code::Expired, "the task's time was over before it was placed"));
    }
    for time in [&mut task.remaining_ms, &mut task.first_token_ms, &mut task.token_ms, &mut task.waited_ms] {
        *time = LONGEST_MS.min(*time);
    }
    if task.excluded.len() > EXCLUDED {
        task.excluded.drain(..task.excluded.len() - EXCLUDED);
    }
    task.inbox = Some(inbox.clone());
    Ok(Submitted { task, inbox })
}

fn bad(message: impl Into<String>) -> Failure {
    Failure::give_up(Code::BadRequest, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use echo_bus::message::Excluded;
    use serde_json::{Value, json};

    fn checked(extra: Value) -> Result<Submitted, Failure> {
        let mut task = json!({"request": {"kind": "generate", "prompt": "hi"}});
        task.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        let reply = Inbox::try_from("_INBOX.me".to_owned()).unwrap();
        check(serde_json::from_value(task).map_err(|error| error.to_string()), Some(&reply))
    }

    #[test]
    fn a_bare_request_streams_to_its_reply_subject() {
        let submitted = checked(json!({})).unwrap();
        assert_eq!(submitted.inbox.as_str(), "_INBOX.me");
        assert_eq!(submitted.task.inbox, Some(submitted.inbox));
    }

    #[test]
    fn an_unreadable_task_is_refused_with_the_reason() {
        let failure = checked(json!({"remaining_ms": "soon"})).unwrap_err();
        assert_eq!(failure.code, Code::BadRequest);
        assert!(failure.message.contains("soon"), "{}", failure.message);
    }

    #[test]
    fn nothing_is_held_forever_or_before_the_first_attempt() {
        assert_eq!(checked(json!({"attempt": 0})).unwrap_err().code, Code::BadRequest);
        assert_eq!(checked(json!({"remaining_ms": 0})).unwrap_err().code, Code::Expired);
        let task = checked(json!({"remaining_ms": u64::MAX, "waited_ms": u64::MAX})).unwrap().task;
        assert_eq!((task.remaining_ms, task.waited_ms), (LONGEST_MS, LONGEST_MS));
    }

    #[test]
    fn only_the_newest_exclusions_count() {
        let excluded: Vec<_> = (0..100).map(|n| json!({"node": "a", "boot": format!("b{n}")})).collect();
        let task = checked(json!({"excluded": excluded})).unwrap().task;
        let last = Excluded { node: "a".parse().unwrap(), boot: "b99".parse().unwrap() };
        assert_eq!((task.excluded.len(), task.excluded.last()), (EXCLUDED, Some(&last)));
    }
}
