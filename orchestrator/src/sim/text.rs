//! Texts for simulated prompts: made of words that follow from who speaks and where the word stands, so that prompts of a
//! session extend each other byte for byte and prompts with the same system text begin with the same bytes.
//!
//! A token is a word of about four bytes. How many exactly differs from session to session, so that whoever counts bytes
//! is wrong by as much as with real texts.

use echo_bus::message::{Chat, Generate, Message, Request};

use super::rng::{Rng, mix};
use super::trace::Turn;

/// Bytes of a token on average, its space included.
const BYTES: f64 = 4.0;
/// How much the mean of a text differs from that, as the deviation of its logarithm.
const SPREAD: f64 = 0.12;

/// Whether texts are written out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Texts {
    /// As long as the prompts are: for a policy that looks at them.
    #[default]
    Whole,
    /// As long, but no two prompts have anything in common.
    Strange,
    /// A word each: much faster, and enough for a policy that does not.
    Short,
}

/// The request for the last of these turns, which are a script up to there.
pub fn request(texts: Texts, model: &str, turns: &[Turn]) -> Request {
    let model = Some(model.to_owned());
    let Some(last) = turns.last() else { return Request::Unknown };
    if last.system_tokens == 0 {
        let prompt = match texts {
            Texts::Short => "hi".to_owned(),
            Texts::Whole | Texts::Strange => Voice::of_session(last.session).say(0, last.prompt),
        };
        return Request::Generate(Generate { model, prompt, ..Generate::default() });
    }
    let messages = match texts {
        Texts::Whole => messages(last, turns),
        Texts::Strange => strange(last, turns.len()),
        Texts::Short => vec![message("user", "hi".to_owned())],
    };
    Request::Chat(Chat { model, messages, ..Chat::default() })
}

/// The answer to the last of these turns.
pub fn answer(texts: Texts, turns: &[Turn]) -> Message {
    let content = match (texts, turns.last()) {
        (Texts::Whole | Texts::Strange, Some(last)) => {
            Voice::of_session(last.session).say(last.prompt, last.prompt + last.answer)
        }
        _ => "yes".to_owned(),
    };
    message("assistant", content)
}

/// The system text, and by turns what the user and the assistant said; cut where the prompt of the last turn ends.
fn messages(last: &Turn, turns: &[Turn]) -> Vec<Message> {
    let system = Voice::of_system(last.system).say(0, last.system_tokens);
    let (mut messages, mut said) = (vec![message("system", system)], last.system_tokens);
    let voice = Voice::of_session(last.session);
    for turn in turns {
        for (role, end) in [("user", turn.prompt), ("assistant", turn.prompt + turn.answer)] {
            let end = end.min(last.prompt);
            if end > said {
                messages.push(message(role, voice.say(said, end)));
                said = end;
            }
        }
    }
    messages
}

/// A prompt of this length that begins like no other.
fn strange(last: &Turn, turn: usize) -> Vec<Message> {
    let voice = Voice::new(mix(last.session) ^ turn as u64);
    vec![message("system", voice.say(0, last.prompt))]
}

fn message(role: &str, content: String) -> Message {
    Message::said(role, content)
}

/// Who speaks: an endless text.
#[derive(Debug, Clone, Copy)]
struct Voice {
    seed: u64,
    /// Letters of a word on average.
    letters: f64,
}

impl Voice {
    fn of_session(session: u64) -> Self {
        Self::new(2 * session + 1)
    }

    fn of_system(system: u64) -> Self {
        Self::new(2 * system)
    }

    fn new(number: u64) -> Self {
        let mut rng = Rng::new(number);
        let letters = BYTES * (SPREAD * rng.gauss()).exp() - 1.0;
        Self { seed: rng.bits(), letters }
    }

    /// Its words from one place to another.
    fn say(self, from: u32, to: u32) -> String {
        let mut text = String::with_capacity((f64::from(to - from) * (self.letters + 2.0)) as usize);
        for place in from..to {
            let mut bits = mix(self.seed ^ mix(u64::from(place)));
            let part = (bits & 0xffff) as f64 / 65_536.0;
            bits >>= 16;
            for _ in 0..(self.letters + part) as usize {
                text.push(char::from(b'a' + (bits & 0x1f) as u8 % 26));
                bits >>= 5;
            }
            text.push(' ');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::trace::{Trace, Weight};

    fn all(request: &Request) -> String {
        match request {
            Request::Chat(chat) => chat.messages.iter().map(|it| it.text().into_owned()).collect(),
            Request::Generate(it) => it.prompt.clone(),
            other => panic!("{other:?} has no text"),
        }
    }

    #[test]
    fn a_turn_extends_the_turn_before_it_message_by_message() {
        let trace = Trace::of("code", 1, Weight::default()).unwrap();
        let turns = &trace.scripts[0].turns;
        for end in 2..=turns.len() {
            let [before, after] = [end - 1, end].map(|end| all(&request(Texts::Whole, "m", &turns[..end])));
            assert!(after.starts_with(&before) && after.len() >= before.len());
        }
    }

    #[test]
    fn what_shares_a_system_text_begins_with_the_same_bytes_and_then_differs() {
        let trace = Trace::of("chat", 1, Weight::default()).unwrap();
        let first = |session: usize| &trace.scripts[session].turns[0];
        let twin = (1..trace.scripts.len()).find(|&it| first(it).system == first(0).system).unwrap();
        let texts = [0, twin].map(|it| all(&request(Texts::Whole, "m", &trace.scripts[it].turns[..1])));
        let common = texts[0].bytes().zip(texts[1].bytes()).take_while(|(a, b)| a == b).count();
        let system = f64::from(first(0).system_tokens);
        assert!((common as f64 - BYTES * system).abs() < 0.4 * BYTES * system, "{common} of {system} tokens");
        assert!(common < texts[0].len() && common < texts[1].len());
    }

    #[test]
    fn strange_texts_are_as_long_and_begin_like_no_other() {
        let trace = Trace::of("code", 1, Weight::default()).unwrap();
        let turns = &trace.scripts[0].turns;
        let text = |texts, end: usize| all(&request(texts, "m", &turns[..end]));
        let [first, second] = [1, 2].map(|end| text(Texts::Strange, end));
        assert!(first.bytes().zip(second.bytes()).take_while(|(a, b)| a == b).count() < 8);
        let ratio = first.len() as f64 / text(Texts::Whole, 1).len() as f64;
        assert!((0.6..1.6).contains(&ratio), "{ratio}");
    }

    #[test]
    fn a_token_is_about_four_bytes_and_short_texts_are_short() {
        let trace = Trace::of("two", 1, Weight::default()).unwrap();
        let sizes = trace.scripts.iter().map(|it| {
            let long = all(&request(Texts::Whole, "m", &it.turns)).len() as f64;
            long / f64::from(it.turns[0].prompt)
        });
        let mean = sizes.clone().sum::<f64>() / trace.scripts.len() as f64;
        assert!((mean - BYTES).abs() < 0.1, "{mean}");
        assert!(sizes.clone().any(|it| it < 3.7) && sizes.clone().any(|it| it > 4.3));
        assert_eq!(all(&request(Texts::Short, "m", &trace.scripts[0].turns)), "hi");
    }
}
