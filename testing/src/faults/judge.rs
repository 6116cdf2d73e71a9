//! What became of one task, judged by what its client saw: plain data, no mesh and no clock.

use serde_json::Value;

use crate::client::{Event, Transcript, scripted};

/// The fate of one task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Every token once, in order, with one proper end.
    Answered,
    /// The documented error with its code, and in mid-stream the partial answer.
    Honest(String),
    /// Tokens are missing or out of order, the end is missing, or the error is none of the documented ones.
    Lost(String),
    /// A token or an end came twice.
    Doubled(String),
}

/// Judges a stream that was read to its end, or until its client gave up. `tokens`: the length of the whole answer.
pub fn stream(seen: &Transcript, tokens: u64) -> Verdict {
    if let Some(refusal) = &seen.refusal {
        return honest(seen.status, refusal);
    }
    if seen.ends() > 1 {
        return Verdict::Doubled(format!("{} ends", seen.ends()));
    }
    let content = seen.content();
    let count = match count(&content) {
        Ok(count) => count,
        Err(verdict) => return verdict,
    };
    if let Some(broken) = &seen.broken {
        return Verdict::Lost(format!("after {count} tokens the connection broke: {broken}"));
    }
    match seen.events.last() {
        Some(last) if last.json["done"] == true => ended(seen.status, last, &content, count, tokens),
        _ if seen.ends() == 1 => Verdict::Lost("the stream went on behind its end".to_owned()),
        _ => Verdict::Lost(format!("no end after {count} tokens")),
    }
}

fn ended(status: u16, last: &Event, content: &str, count: u64, tokens: u64) -> Verdict {
    if last.json["success"] == true {
        return complete(status, count, tokens);
    }
    if !content.is_empty() && last.json["content"] != content {
        return Verdict::Lost("the error does not carry the partial answer".to_owned());
    }
    match code(&last.json) {
        Some((code, _)) => Verdict::Honest(code.to_owned()),
        None => Verdict::Lost(format!("an undocumented error: {}", last.json)),
    }
}

/// Judges what a client saw that hung up on purpose: a beginning of the answer, or nothing.
pub fn beginning(seen: &Transcript) -> Verdict {
    match count(&seen.content()) {
        Ok(_) => Verdict::Answered,
        Err(verdict) => verdict,
    }
}

/// Judges an answer in one piece.
pub fn whole(status: u16, body: &Value, tokens: u64) -> Verdict {
    if body["success"] != true {
        return honest(status, body);
    }
    match count(body["content"].as_str().unwrap_or_default()) {
        Ok(count) => complete(status, count, tokens),
        Err(verdict) => verdict,
    }
}

fn complete(status: u16, count: u64, tokens: u64) -> Verdict {
    match count {
        _ if status != 200 => Verdict::Lost(format!("an answer under status {status}")),
        _ if count != tokens => Verdict::Lost(format!("an end after {count} of {tokens} tokens")),
        _ => Verdict::Answered,
    }
}

fn honest(status: u16, body: &Value) -> Verdict {
    match code(body) {
        Some((code, documented)) if documented == status || (code == "engine_error" && status == 500) => {
            Verdict::Honest(code.to_owned())
        }
        _ => Verdict::Lost(format!("an undocumented error: status {status}, {body}")),
    }
}

/// The code of an error that says what happened, and the status that belongs to it.
fn code(body: &Value) -> Option<(&str, u16)> {
    let code = body["code"].as_str()?;
    let said = body["success"] == false && body["error"].as_str().is_some_and(|error| !error.is_empty());
    let status = match code {
        "bad_request" | "not_capable" | "engine_refused" => 400,
        "forbidden" | "not_allowed" => 403,
        "not_found" => 404,
        "method_not_allowed" => 405,
        "task_id_in_use" => 409,
        "too_large" => 413,
        "unsupported_media_type" => 415,
        "queue_full" => 429,
        "engine_unreachable" | "engine_busy" | "engine_stalled" | "engine_error" | "model_missing"
        | "cannot_continue" => 502,
        "no_node" | "model_not_served" | "unavailable" | "draining" | "full" => 503,
        "harmful" => 422,
        "expired" => 504,
        _ => return None,
    };
    said.then_some((code, status))
}

/// How many tokens of the scripted answer a text is the beginning of.
fn count(content: &str) -> Result<u64, Verdict> {
    // Under a JSON format the tokens stand in a field.
    let content = content.strip_prefix("{\"text\":\"").unwrap_or(content);
    let mut next = 0;
    for word in content.trim_end_matches("\"}").split_inclusive(' ') {
        if word == scripted(next) {
            next += 1;
            continue;
        }
        let index = word.trim_end().strip_prefix('t').and_then(|index| index.parse::<u64>().ok());
        return Err(match index {
            Some(index) if index < next => Verdict::Doubled(format!("token {index} again, for {next}")),
            Some(index) => Verdict::Lost(format!("token {index} in place of {next}")),
            None => Verdict::Lost(format!("{:?} in place of token {next}", word.trim_end())),
        });
    }
    Ok(next)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use serde_json::json;

    use super::*;

    fn event((at, json): (usize, Value)) -> Event {
        Event { raw: json.to_string(), id: Some(at as u64), json, at: Instant::now() }
    }

    fn end() -> Value {
        json!({"token": "", "done": true, "success": true})
    }

    fn seen(tokens: &[u64], ends: Vec<Value>) -> Transcript {
        let tokens = tokens.iter().map(|index| json!({"token": scripted(*index), "done": false}));
        Transcript {
            status: 200,
            began: Instant::now(),
            events: tokens.chain(ends).enumerate().map(event).collect(),
            comments: Vec::new(),
            refusal: None,
            broken: None,
        }
    }

    fn lost(verdict: &Verdict) -> bool {
        matches!(verdict, Verdict::Lost(_))
    }

    fn doubled(verdict: &Verdict) -> bool {
        matches!(verdict, Verdict::Doubled(_))
    }

    #[test]
    fn a_whole_answer_is_answered() {
        assert_eq!(stream(&seen(&[0, 1, 2, 3], vec![end()]), 4), Verdict::Answered);
        assert_eq!(stream(&seen(&[], vec![end()]), 0), Verdict::Answered);
    }

    #[test]
    fn a_missing_token_is_lost_wherever_it_was() {
        for tokens in [&[1, 2, 3][..], &[0, 1, 3], &[0, 1, 2]] {
            assert!(lost(&stream(&seen(tokens, vec![end()]), 4)), "{tokens:?}");
        }
    }

    #[test]
    fn a_token_twice_is_doubled() {
        assert!(doubled(&stream(&seen(&[0, 1, 1, 2, 3], vec![end()]), 4)));
        assert!(doubled(&stream(&seen(&[0, 1, 2, 3, 0], vec![end()]), 4)));
    }

    #[test]
    fn swapped_tokens_are_no_answer() {
        assert!(lost(&stream(&seen(&[0, 2, 1, 3], vec![end()]), 4)));
        assert!(lost(&stream(&seen(&[0, 1, 3, 2], vec![end()]), 4)));
    }

    #[test]
    fn no_end_is_lost_and_two_are_doubled() {
        assert!(lost(&stream(&seen(&[0, 1], vec![]), 2)));
        assert!(doubled(&stream(&seen(&[0, 1], vec![end(), end()]), 2)));
        let broken = Transcript { broken: Some("reset".to_owned()), ..seen(&[0, 1], vec![end()]) };
        assert!(lost(&stream(&broken, 2)));
        let late = json!({"token": "t1 ", "done": false});
        assert!(lost(&stream(&seen(&[0], vec![end(), late]), 2)));
    }

    #[test]
    fn an_error_is_honest_only_with_its_code_and_the_partial_answer() {
        let error = |content: &str| json!({"done": true, "success": false, "error": "a", "code": "engine_error", "content": content});
        assert_eq!(stream(&seen(&[0, 1], vec![error("t0 t1 ")]), 4), Verdict::Honest("engine_error".into()));
        assert!(lost(&stream(&seen(&[0, 1], vec![error("t0 ")]), 4)), "the partial answer is not whole");
        assert!(doubled(&stream(&seen(&[0, 0], vec![error("t0 t0 ")]), 4)));
        let nothing = json!({"done": true, "success": false, "error": "", "code": "engine_error"});
        assert!(lost(&stream(&seen(&[], vec![nothing]), 4)), "an error without a word");
    }

    #[test]
    fn a_refusal_needs_the_status_that_belongs_to_its_code() {
        let refusal = json!({"success": false, "error": "full", "code": "queue_full"});
        assert_eq!(whole(429, &refusal, 4), Verdict::Honest("queue_full".to_owned()));
        assert!(lost(&whole(500, &refusal, 4)));
        assert!(lost(&whole(500, &Value::Null, 4)));
        let unknown = json!({"success": false, "error": "?", "code": "oops"});
        assert!(lost(&whole(502, &unknown, 4)));
    }

    #[test]
    fn an_answer_in_one_piece_is_judged_alike() {
        let answer = |content: &str| json!({"success": true, "content": content});
        assert_eq!(whole(200, &answer("t0 t1 "), 2), Verdict::Answered);
        assert!(lost(&whole(200, &answer("t0 "), 2)));
        assert!(lost(&whole(200, &answer("t0 t1"), 2)), "a token without its last byte");
        assert!(doubled(&whole(200, &answer("t0 t0 "), 2)));
        assert!(lost(&whole(502, &answer("t0 t1 "), 2)));
    }

    #[test]
    fn who_hangs_up_has_seen_a_beginning() {
        assert_eq!(beginning(&seen(&[0, 1], vec![])), Verdict::Answered);
        assert!(doubled(&beginning(&seen(&[0, 1, 0], vec![]))));
        assert!(lost(&beginning(&seen(&[1], vec![]))));
    }
}
