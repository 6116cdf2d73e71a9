//! The chat template of every scripted model, and how a prompt's text so far is told from its question.

use serde_json::{Value, json};

/// Around thoughts, and around a tool call.
const THINKS: &str = "<think>\n";
pub const THOUGHT: &str = "\n</think>\n\n";
const TOOLS: &str = "<|tools|>\n";

const ASSISTANT: &str = "<|assistant|>\n";
const USER: &str = "<|user|>\n";

/// The template as Ollama and llama.cpp's server show it.
pub const SOURCE: &str = "{{- range .Messages }}<|{{ .Role }}|>\n{{ .Content }}\n{{ end }}<|assistant|>\n";

/// A character that takes several tokens stands before the text of a wide token.
pub const WIDE: &str = "\u{1f600}";
/// How many.
pub const WIDTH: u64 = 3;

/// One turn of a conversation.
#[derive(Clone, Debug, Default)]
pub struct Turn {
    pub role: String,
    pub content: String,
    pub thinking: String,
    /// Tool calls, in whatever shape the API has them.
    pub calls: Vec<Value>,
}

impl Turn {
    pub fn new(role: &str, content: impl Into<String>) -> Self {
        Self { role: role.to_owned(), content: content.into(), ..Self::default() }
    }

    /// Its thoughts are shown only where it is the last, as most templates do.
    fn render(&self, is_last: bool, style: Style) -> String {
        let thoughts = match is_last && style.marks && !self.thinking.is_empty() {
            true => format!("{THINKS}{}{THOUGHT}", self.thinking),
            false => String::new(),
        };
        let calls: String = self.calls.iter().map(|call| call_text(&call["function"], style.marks)).collect();
        format!("<|{}|>\n{thoughts}{}{calls}\n", self.role, self.content)
    }
}

/// What the template does with the end of a conversation.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    /// A trailing assistant turn stays open.
    pub continues: bool,
    /// One that holds nothing but thoughts stays open inside them.
    pub continues_thoughts: bool,
    /// Thoughts and tool calls have marks around them that a reader can see.
    pub marks: bool,
}

/// A tool call as the model writes it.
pub fn call_text(function: &Value, marks: bool) -> String {
    let arguments = match &function["arguments"] {
        Value::String(text) => serde_json::from_str(text).unwrap_or_default(),
        arguments => arguments.clone(),
    };
    let call = json!({"name": function["name"], "arguments": arguments});
    if marks { format!("<tool_call>\n{call}\n</tool_call>") } else { format!("call {call}") }
}

/// A prompt that the engine is to continue.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Prompt {
    pub rendered: String,
    /// Where directives are looked for.
    pub question: String,
    /// What the answer consists of already.
    pub so_far: String,
    /// The thoughts so far, where the answer is in the middle of them.
    pub thoughts: Option<String>,
    /// Tools are offered.
    pub tools: bool,
}

impl Prompt {
    /// A conversation through the template.
    pub fn chat(turns: &[Turn], tools: &[Value], style: Style) -> Self {
        let mut rendered = String::new();
        if !tools.is_empty() {
            rendered.push_str(&format!("{TOOLS}{}\n", Value::from(tools.to_vec())));
        }
        for (place, turn) in turns.iter().enumerate() {
            rendered.push_str(&turn.render(place + 1 == turns.len(), style));
        }
        let last = turns.last().filter(|turn| turn.role == "assistant");
        let thinks = last.filter(|turn| {
            style.continues_thoughts && style.marks && turn.content.is_empty() && !turn.thinking.is_empty()
        });
        let open = last.filter(|_| style.continues && thinks.is_none());
        match (open, thinks) {
            (_, Some(_)) => rendered.truncate(rendered.len() - THOUGHT.len() - 1),
            (Some(_), None) => rendered.truncate(rendered.len() - 1),
            (None, None) => rendered.push_str(ASSISTANT),
        }
        let question = turns.iter().rev().find(|turn| turn.role == "user");
        Self {
            rendered,
            question: question.map(|turn| turn.content.clone()).unwrap_or_default(),
            so_far: open.map(|turn| turn.content.clone()).unwrap_or_default(),
            thoughts: thinks.map(|turn| turn.thinking.clone()),
            tools: !tools.is_empty(),
        }
    }

    /// A prompt that is taken as it is: rendered by this template, by another, or by none.
    pub fn raw(prompt: &str) -> Self {
        let (before, answer) = match prompt.rfind(ASSISTANT) {
            Some(place) => prompt.split_at(place + ASSISTANT.len()),
            None => prompt.split_at(prompt.len() - trailing_tokens(prompt)),
        };
        let (thoughts, so_far) =
            match answer.strip_prefix(THINKS).map(|rest| (rest, rest.split_once(THOUGHT))) {
                Some((_, Some((_, so_far)))) => (None, so_far),
                Some((thoughts, None)) => (Some(thoughts.to_owned()), ""),
                None => (None, answer),
            };
        let question = before.rfind(USER).map_or(before, |place| &before[place..]);
        Self {
            rendered: prompt.to_owned(),
            question: question.to_owned(),
            so_far: so_far.to_owned(),
            thoughts,
            tools: before.starts_with(TOOLS),
        }
    }

    /// Whether it ends with a part of an answer.
    pub fn is_begun(&self) -> bool {
        !self.so_far.is_empty() || self.thoughts.is_some()
    }

    /// The index of the thought that comes next.
    pub fn next_thought(&self) -> u64 {
        let last = self.thoughts.as_deref().and_then(|thoughts| thoughts.split_whitespace().next_back());
        let last = last.and_then(|word| word.strip_prefix('h')?.parse::<u64>().ok());
        last.map_or(0, |last| last.saturating_add(1))
    }

    /// The index of the token that comes next.
    pub fn next_token(&self) -> u64 {
        let last = self.so_far.split_whitespace().next_back().and_then(token_at_end);
        last.map_or(0, |last| last.saturating_add(1))
    }

    /// Whether the text so far ends in exactly what this engine would have said up to `next`, and so do its thoughts.
    pub fn fits(&self, next: u64) -> bool {
        if let Some(thoughts) = &self.thoughts {
            return *thoughts == (0..self.next_thought()).map(thought).collect::<String>();
        }
        let said: String = (0..next).map(token).collect();
        let so_far = self.so_far.replace(WIDE, "");
        let so_far = so_far.strip_suffix(&said);
        let before = so_far.and_then(|before| before.split_whitespace().next_back());
        so_far.is_some() && before.and_then(token_at_end).is_none()
    }

    /// Words stand for the prompt's tokens.
    pub fn tokens(&self) -> u64 {
        tokens(&self.rendered)
    }
}

/// How many tokens a text takes: one for each word, and more for a wide one.
pub fn tokens(text: &str) -> u64 {
    text.split_whitespace().map(|word| if word.contains(WIDE) { WIDTH } else { 1 }).sum()
}

/// The text of a token.
pub fn token(index: u64) -> String {
    format!("t{index} ")
}

/// The text of a thought.
pub fn thought(index: u64) -> String {
    format!("h{index} ")
}

/// The index of the token that a word ends in, such as 7 in `t7` and `[/INST]t7`.
fn token_at_end(word: &str) -> Option<u64> {
    let digits = word.len() - word.trim_end_matches(|c: char| c.is_ascii_digit()).len();
    let (before, index) = word.split_at(word.len() - digits);
    before.ends_with('t').then(|| index.parse().ok())?
}

/// The length of the run of tokens that a text ends in.
fn trailing_tokens(text: &str) -> usize {
    let mut rest = text;
    loop {
        let trimmed = rest.strip_suffix(' ').unwrap_or(rest);
        let word = trimmed.rsplit(char::is_whitespace).next().unwrap_or_default();
        let Some(index) = token_at_end(word) else { break };
        let bare = format!("t{index}");
        let Some(before) = trimmed.strip_suffix(&bare) else { break };
        rest = before.strip_suffix(WIDE).unwrap_or(before);
        if word.trim_start_matches(WIDE) != bare {
            break;
        }
    }
    text.len() - rest.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPEN: Style = Style { continues: true, continues_thoughts: true, marks: true };
    const SHUT: Style = Style { continues: false, continues_thoughts: false, marks: true };

    #[test]
    fn thoughts_are_continued_open_or_raw() {
        let mut turns = [Turn::new("user", "hi"), Turn::new("assistant", "")];
        turns[1].thinking = "h0 h1 ".to_owned();
        let open = Prompt::chat(&turns, &[], OPEN);
        assert_eq!(open.rendered, "<|user|>\nhi\n<|assistant|>\n<think>\nh0 h1 ");
        let raw = Prompt::raw(&open.rendered);
        for prompt in [&open, &raw] {
            assert_eq!((prompt.next_thought(), prompt.fits(0), prompt.so_far.as_str()), (2, true, ""));
        }
        assert!(!Prompt::raw("<|assistant|>\n<think>\nh0 h2 ").fits(0), "a thought is missing");
        let shut = Prompt::chat(&turns, &[], SHUT);
        assert!(
            shut.rendered.ends_with("<think>\nh0 h1 \n</think>\n\n\n<|assistant|>\n"),
            "{}",
            shut.rendered
        );
        let over = Prompt::raw("<|assistant|>\n<think>\nh0 \n</think>\n\nt0 t1 ");
        assert_eq!((over.thoughts.as_deref(), over.so_far.as_str()), (None, "t0 t1 "));
    }

    #[test]
    fn tools_and_calls_stand_in_the_prompt() {
        let mut turn = Turn::new("assistant", "");
        turn.calls = vec![json!({"function": {"name": "now", "arguments": "{\"tz\":1}"}})];
        let prompt = Prompt::chat(&[turn, Turn::new("tool", "12")], &[json!({"a": 1})], SHUT);
        assert!(
            prompt
                .rendered
                .contains("<tool_call>\n{\"name\":\"now\",\"arguments\":{\"tz\":1}}\n</tool_call>"),
            "{}",
            prompt.rendered
        );
        assert!(prompt.tools && Prompt::raw(&prompt.rendered).tools);
    }

    #[test]
    fn a_trailing_assistant_turn_stays_open() {
        let turns = [Turn::new("user", "hi [tokens=5]"), Turn::new("assistant", "t0 t1 ")];
        let open = Prompt::chat(&turns, &[], OPEN);
        assert_eq!(open.rendered, "<|user|>\nhi [tokens=5]\n<|assistant|>\nt0 t1 ");
        assert_eq!((open.next_token(), open.fits(2)), (2, true));
        assert_eq!(Prompt::raw(&open.rendered).so_far, "t0 t1 ");
        assert!(Prompt::raw(&open.rendered).question.contains("[tokens=5]"));
        let closed = Prompt::chat(&turns, &[], SHUT);
        assert_eq!(closed.next_token(), 0);
        assert!(closed.rendered.ends_with("t1 \n<|assistant|>\n"));
    }

    #[test]
    fn a_foreign_template_is_continued_too() {
        let prompt = Prompt::raw("[INST] say t9 [/INST]t0 t1 t2 ");
        assert_eq!(prompt.so_far, "t0 t1 t2 ");
        assert_eq!(Prompt::raw("no tokens here").so_far, "");
        let wide = Prompt::raw("[wide=1]\n\u{1f600}t0 \u{1f600}t1 ");
        assert_eq!((wide.next_token(), wide.fits(2), wide.tokens()), (2, true, 7));
    }

    #[test]
    fn a_broken_seam_does_not_fit() {
        let fits = |so_far: &str| {
            let prompt = Prompt { so_far: so_far.to_owned(), ..Prompt::default() };
            prompt.fits(prompt.next_token())
        };
        assert!(fits("t0 t1 t2 "));
        assert!(fits("Once upon "));
        assert!(fits("Sure: t0 "));
        for broken in ["t0 t2 ", "t0 t1 t1 ", "t0 t0 t1 ", "t0 t1"] {
            assert!(!fits(broken), "{broken}");
        }
    }
}
