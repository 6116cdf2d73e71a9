//! The chat template of every scripted model, and how a prompt's text so far is told from its question.

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
}

impl Turn {
    pub fn new(role: &str, content: impl Into<String>) -> Self {
        Self { role: role.to_owned(), content: content.into() }
    }
}

/// A prompt that the engine is to continue.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Prompt {
    pub rendered: String,
    /// Where directives are looked for.
    pub question: String,
    /// What the answer consists of already.
    pub so_far: String,
    /// The last turn is a tool's result.
    pub told: bool,
}

impl Prompt {
    /// A conversation through the template. `continues`: a trailing assistant turn stays open.
    pub fn chat(turns: &[Turn], continues: bool) -> Self {
        let mut rendered = String::new();
        for turn in turns {
            rendered.push_str(&format!("<|{}|>\n{}\n", turn.role, turn.content));
        }
        let open = turns.last().filter(|turn| continues && turn.role == "assistant");
        match open {
            Some(_) => rendered.truncate(rendered.len() - 1),
            None => rendered.push_str(ASSISTANT),
        }
        let question = turns.iter().rev().find(|turn| turn.role == "user");
        Self {
            rendered,
            question: question.map(|turn| turn.content.clone()).unwrap_or_default(),
            so_far: open.map(|turn| turn.content.clone()).unwrap_or_default(),
            told: turns.last().is_some_and(|turn| turn.role == "tool"),
        }
    }

    /// A prompt that is taken as it is: rendered by this template, by another, or by none.
    pub fn raw(prompt: &str) -> Self {
        let (before, so_far) = match prompt.rfind(ASSISTANT) {
            Some(place) => prompt.split_at(place + ASSISTANT.len()),
            None => prompt.split_at(prompt.len() - trailing_tokens(prompt)),
        };
        let question = before.rfind(USER).map_or(before, |place| &before[place..]);
        Self {
            rendered: prompt.to_owned(),
            question: question.to_owned(),
            so_far: so_far.to_owned(),
            told: false,
        }
    }

    /// The index of the token that comes next.
    pub fn next_token(&self) -> u64 {
        let last = self.so_far.split_whitespace().next_back().and_then(token_at_end);
        last.map_or(0, |last| last.saturating_add(1))
    }

    /// Whether the text so far ends in exactly what this engine would have said up to `next`.
    pub fn fits(&self, next: u64) -> bool {
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

    #[test]
    fn a_trailing_assistant_turn_stays_open() {
        let turns = [Turn::new("user", "hi [tokens=5]"), Turn::new("assistant", "t0 t1 ")];
        let open = Prompt::chat(&turns, true);
        assert_eq!(open.rendered, "<|user|>\nhi [tokens=5]\n<|assistant|>\nt0 t1 ");
        assert_eq!((open.next_token(), open.fits(2)), (2, true));
        assert_eq!(Prompt::raw(&open.rendered).so_far, "t0 t1 ");
        assert!(Prompt::raw(&open.rendered).question.contains("[tokens=5]"));
        let closed = Prompt::chat(&turns, false);
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
