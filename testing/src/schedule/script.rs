//! One client of a trace: asks, waits for the whole answer, thinks, and asks again with all that was said.

use echo_bus::message::Request;
use echo_orchestrator::sim::{
    text::{self, Texts},
    trace::Turn,
};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::client::Client;

/// What came of a request.
#[derive(Clone, Debug)]
pub struct Answer {
    pub text: String,
    /// Seconds until the first token and until the end.
    pub first: f64,
    pub took: f64,
}

/// The request for the last of these turns: the simulator's text word for word, but that each turn's own words end with
/// how long its answer is to be, which the engine reads, and that the answers are those that came.
pub fn request(model: &str, turns: &[Turn], answers: &[String]) -> (&'static str, Value) {
    let order = |turn: &Turn| format!("[tokens={}]", turn.answer);
    let last = turns.last().map(order).unwrap_or_default();
    match text::request(Texts::Whole, model, turns) {
        Request::Chat(chat) => {
            let said = chat
                .messages
                .into_iter()
                .map(|message| (message.role.clone(), message.text().into_owned()))
                .collect();
            ("/api/chat", json!({"model": model, "messages": messages(said, turns, answers)}))
        }
        Request::Generate(it) => {
            ("/api/generate", json!({"model": model, "prompt": instead_of_last(&it.prompt, &last)}))
        }
        _ => ("/api/generate", Value::Null),
    }
}

/// Each of the user's messages with its order, each of the assistant's with what came.
fn messages(said: Vec<(String, String)>, turns: &[Turn], answers: &[String]) -> Vec<Value> {
    let mut asked = turns.iter();
    let mut came = answers.iter();
    let mut out = Vec::new();
    for (role, content) in said {
        let content = match role.as_str() {
            "user" => {
                asked.next().map(|turn| instead_of_last(&content, &format!("[tokens={}]", turn.answer)))
            }
            "assistant" => came.next().map(|answer| first_words(answer, content.split_whitespace().count())),
            _ => None,
        }
        .unwrap_or(content);
        out.push(json!({"role": role, "content": content}));
    }
    // A text that has reached its full length grows no more: the last turn has no words of its own.
    if let Some(turn) = asked.last() {
        out.push(json!({"role": "user", "content": format!("[tokens={}]", turn.answer)}));
    }
    out
}

fn instead_of_last(text: &str, word: &str) -> String {
    let before = text.trim_end().rfind(' ').map_or("", |at| &text[..=at]);
    format!("{before}{word}")
}

fn first_words(text: &str, count: usize) -> String {
    text.split_inclusive(' ').take(count).collect()
}

/// Asks, and reads the answer as it comes.
pub async fn ask(client: Client, path: &str, body: &Value) -> Result<Answer, String> {
    let began = Instant::now();
    let mut reply = client.post(path, body).send().await.map_err(|error| error.to_string())?;
    if reply.status() != 200 {
        return Err(format!("{}: {}", reply.status(), reply.text().await));
    }
    let (mut text, mut first, mut rest) = (String::new(), None, Vec::new());
    while let Some(bytes) = reply.chunk().await.map_err(|error| error.to_string())? {
        rest.extend_from_slice(&bytes);
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = rest.drain(..=end).collect();
            let line: Value = serde_json::from_slice(&line).map_err(|error| error.to_string())?;
            if let Some(error) = line.get("error") {
                return Err(error.to_string());
            }
            let said = line["response"].as_str().or_else(|| line["message"]["content"].as_str());
            let said = said.unwrap_or_default();
            if !said.is_empty() {
                first.get_or_insert_with(|| began.elapsed().as_secs_f64());
            }
            text.push_str(said);
            if line["done"] == true {
                let took = began.elapsed().as_secs_f64();
                return Ok(Answer { text, first: first.unwrap_or(took), took });
            }
        }
    }
    Err("the answer has no end".to_owned())
}

#[cfg(test)]
mod tests {
    use echo_orchestrator::sim::trace::{Trace, Weight};

    use super::*;

    fn all(body: &Value) -> String {
        let messages = body["messages"].as_array().cloned().unwrap_or_default();
        messages.iter().map(|it| format!("{} ", it["content"].as_str().unwrap_or_default())).collect()
    }

    #[test]
    fn turns_extend_each_other_and_are_as_long_as_the_traces() {
        let trace = Trace::of("code", 1, Weight::default()).expect("a trace");
        for script in trace.scripts.iter().take(12) {
            let (mut answers, mut before): (Vec<String>, String) = (Vec::new(), String::new());
            for (number, turn) in script.turns.iter().enumerate() {
                let (path, body) = request("m", &script.turns[..=number], &answers);
                let text = all(&body);
                let words = text.split_whitespace().count() as u64;
                assert!(
                    (u64::from(turn.prompt)..=u64::from(turn.prompt) + 1).contains(&words),
                    "{words} {turn:?}"
                );
                assert_eq!(path, "/api/chat");
                let order = format!("[tokens={}]", turn.answer);
                assert!(text.trim_end().ends_with(&order));
                let same = before.split_whitespace().zip(text.split_whitespace()).take_while(|(a, b)| a == b);
                assert!(same.count() + 1 >= before.split_whitespace().count(), "turn {number}");
                let answer: String = (0..turn.answer).map(|index| format!("t{index} ")).collect();
                before = text + &answer;
                answers.push(answer);
            }
        }
    }

    #[test]
    fn a_single_question_has_its_order_for_a_last_word() {
        let trace = Trace::of("two", 1, Weight::default()).expect("a trace");
        let turns = &trace.scripts[0].turns;
        let (path, body) = request("m", turns, &[]);
        let prompt = body["prompt"].as_str().expect("a prompt");
        assert_eq!((path, prompt.split_whitespace().count()), ("/api/generate", turns[0].prompt as usize));
        assert!(prompt.ends_with(&format!(" [tokens={}]", turns[0].answer)));
    }
}
