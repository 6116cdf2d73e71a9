//! What was said in a chat, and what the mesh is told of it.

use serde_json::{Value, json};

/// A conversation. Each turn is asked with all that was said before, so any node can take it; one that has the beginning
/// in its cache is the quickest, and the mesh knows which one that is.
#[derive(Debug)]
pub struct Talk {
    /// Once an answer has come, the one that gave it: a conversation stays with its model.
    pub model: Option<String>,
    pub system: Option<String>,
    /// Fields of every request.
    settings: Value,
    turns: Vec<Turn>,
    /// What was asked last, answered or not.
    last: Option<String>,
}

#[derive(Debug)]
struct Turn {
    asked: String,
    answered: String,
}

impl Talk {
    pub fn new(model: Option<String>, system: Option<String>, settings: Value) -> Self {
        Self { model, system, settings, turns: Vec::new(), last: None }
    }

    /// The body of the request for the next turn.
    pub fn ask(&mut self, prompt: String) -> Value {
        let said = |role: &str, text: &str| json!({"role": role, "content": text});
        let before =
            self.turns.iter().flat_map(|turn| [said("user", &turn.asked), said("assistant", &turn.answered)]);
        let mut body = self.settings.clone();
        body["messages"] = before.collect();
        body["prompt"] = prompt.as_str().into();
        body["model_hint"] = json!(self.model);
        body["system"] = json!(self.system);
        self.last = Some(prompt);
        body
    }

    /// The last question has an answer, whole or as far as somebody wanted it.
    pub fn answered(&mut self, answer: String) {
        if let Some(asked) = self.last.clone().filter(|_| !answer.is_empty()) {
            self.turns.push(Turn { asked, answered: answer });
        }
    }

    /// The last question, to be asked anew; its answer is forgotten.
    pub fn retry(&mut self) -> Option<String> {
        let last = self.last.clone()?;
        self.turns.pop_if(|turn| turn.asked == last);
        Some(last)
    }

    pub fn clear(&mut self) {
        self.turns.clear();
        self.last = None;
    }

    /// For people.
    pub fn written(&self) -> String {
        let mut text = String::new();
        let mut add =
            |head: &str, said: &str| text.push_str(&format!("## {head}\n\n{}\n\n", said.trim_end()));
        if let Some(system) = &self.system {
            add("System", system);
        }
        let name = self.model.as_deref().unwrap_or("Model");
        for turn in &self.turns {
            add("You", &turn.asked);
            add(name, &turn.answered);
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn talk() -> Talk {
        Talk::new(None, Some("s".to_owned()), json!({"options": {}}))
    }

    #[test]
    fn each_turn_is_asked_with_all_that_was_said_before() {
        let mut talk = talk();
        assert_eq!(talk.ask("a".to_owned())["messages"], json!([]));
        talk.answered("b".to_owned());
        talk.model = Some("m".to_owned());
        let body = talk.ask("c".to_owned());
        let before = json!([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]);
        assert_eq!(
            (&body["messages"], &body["prompt"], &body["model_hint"]),
            (&before, &json!("c"), &json!("m"))
        );
        assert_eq!(body["system"], "s");
    }

    #[test]
    fn a_question_without_an_answer_is_no_turn_and_can_be_asked_again() {
        let mut talk = talk();
        assert_eq!(talk.retry(), None);
        talk.ask("a".to_owned());
        talk.answered(String::new());
        assert_eq!(talk.retry().as_deref(), Some("a"));
        talk.ask("a".to_owned());
        talk.answered("b".to_owned());
        assert_eq!(talk.retry().as_deref(), Some("a"));
        assert_eq!(talk.ask("a".to_owned())["messages"], json!([]), "its answer is forgotten");
        talk.clear();
        assert_eq!(talk.retry(), None);
    }

    #[test]
    fn what_is_saved_can_be_read_by_people() {
        let mut talk = talk();
        talk.ask("why?".to_owned());
        talk.answered("because\n".to_owned());
        assert_eq!(talk.written(), "## System\n\ns\n\n## You\n\nwhy?\n\n## Model\n\nbecause\n\n");
    }
}
