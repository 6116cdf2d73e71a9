//! What is kept of an answer until its client has it, and what several chunks come to together.

use echo_bus::message::Piece;
use serde_json::{Map, Value};

/// Pieces that wait for a client before texts are joined.
const ONE_BY_ONE: usize = 1024;

/// Pieces wait one by one, so that each becomes an event of its own. For a client that is far behind, texts are
/// joined: then what waits is no larger than the answer itself.
pub fn hold_back(waiting: &mut Vec<Piece>, piece: Piece) {
    if waiting.len() >= ONE_BY_ONE && piece == Piece::text(piece.content.as_str()) {
        let last = waiting.last_mut().expect("many wait");
        if last.tool_calls.is_empty() && last.thinking.is_empty() && last.logprobs.is_none() && !last.last {
            last.content.push_str(&piece.content);
            return;
        }
    }
    waiting.push(piece);
}

/// Fields of several chunks as one chunk says them: a later word replaces an earlier one, as in Ollama's own answers
/// in one piece. Those of the message are a level of their own.
pub fn gather(extra: &mut Map<String, Value>, more: Map<String, Value>) {
    for (name, value) in more {
        match (extra.get_mut(&name), value) {
            (Some(Value::Object(known)), Value::Object(value)) if name == "message" => known.extend(value),
            (_, value) => {
                extra.insert(name, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_waits_for_a_slow_client_is_no_larger_than_its_answer() {
        let mut waiting = Vec::new();
        (0..100_000).for_each(|n| hold_back(&mut waiting, Piece::text(format!("t{n} "))));
        assert_eq!(waiting.len(), ONE_BY_ONE);
        let text: String = waiting.iter().map(|piece| piece.content.as_str()).collect();
        assert_eq!(text, (0..100_000).map(|n| format!("t{n} ")).collect::<String>());
    }

    #[test]
    fn what_is_more_than_text_is_never_joined() {
        let mut waiting = vec![Piece::text("x"); ONE_BY_ONE];
        let thought = Piece { thinking: "hm".into(), ..Piece::default() };
        hold_back(&mut waiting, thought.clone());
        hold_back(&mut waiting, Piece::text("y"));
        assert_eq!(waiting[ONE_BY_ONE..], [thought, Piece::text("y")]);
    }

    #[test]
    fn fields_of_several_chunks_are_the_newest_word_of_each() {
        let map = |value: Value| value.as_object().cloned().unwrap();
        let mut extra = map(json!({"mood": 1, "message": {"tone": "a", "kept": {"b": 1}}}));
        gather(&mut extra, map(json!({"mood": {"c": 2}, "message": {"tone": "d"}, "new": null})));
        let wanted = json!({"mood": {"c": 2}, "message": {"tone": "d", "kept": {"b": 1}}, "new": null});
        assert_eq!(Value::from(extra), wanted);
    }
}
