//! Orders inside a prompt, such as `[tokens=64] [delay=50] [fault=die@10]`: for one request they stand above the script.

use std::time::Duration;

use super::script::{FaultKind, ToolCall};

/// Longer answers or waits than these are a typing error, not a test.
const MOST_TOKENS: u64 = 10_000_000;
const LONGEST: u64 = 600_000;

/// What one prompt orders. Anything that cannot be read is left as the text that it is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Directives {
    /// The number by which a test finds this task in the engines' ledgers.
    pub task: Option<u64>,
    pub tokens: Option<u64>,
    pub delay: Option<Duration>,
    pub first: Option<Duration>,
    pub chunk: Option<u64>,
    pub thoughts: Option<u64>,
    /// Each token's text begins with a character that takes several tokens.
    pub wide: bool,
    pub text_in_final: Option<bool>,
    pub tool: Option<String>,
    /// Calls with their arguments, such as `[call=look {"at": 1}]`, one after another, until a tool has answered.
    pub calls: Vec<ToolCall>,
    /// The answer itself, to the letter. In the order it is percent-encoded, so that it may hold anything.
    pub say: Option<String>,
    /// The kind and the index of the token in whose place it comes. An answer that is resumed at that
    /// token or later does not meet it again, so that a continuation elsewhere gets past it.
    pub fault: Option<(FaultKind, u64)>,
    /// What the engine says of the fault.
    pub words: Option<String>,
}

impl Directives {
    pub fn read(text: &str) -> Self {
        let mut found = Self::default();
        for part in text.split('[').skip(1) {
            let Some((inside, _)) = part.split_once(']') else { continue };
            let Some((key, value)) = inside.split_once('=') else { continue };
            found.set(key.trim(), value.trim());
        }
        found
    }

    fn set(&mut self, key: &str, value: &str) {
        let number = value.parse::<u64>().ok();
        let pause = number.map(|ms| Duration::from_millis(ms.min(LONGEST)));
        match key {
            "task" => self.task = number.or(self.task),
            "tokens" => self.tokens = number.map(|n| n.min(MOST_TOKENS)).or(self.tokens),
            "delay" => self.delay = pause.or(self.delay),
            "first" => self.first = pause.or(self.first),
            "chunk" => self.chunk = number.or(self.chunk),
            "thoughts" => self.thoughts = number.map(|n| n.min(MOST_TOKENS)).or(self.thoughts),
            "wide" => self.wide = value == "1",
            "final" => self.text_in_final = Some(value == "text"),
            "tool" => self.tool = Some(value.to_owned()),
            "call" => self.calls.extend(call(value)),
            "say" => self.say = decoded(value).or(self.say.take()),
            "words" => self.words = Some(value.to_owned()),
            "fault" => self.fault = fault(value).or(self.fault),
            _ => {}
        }
    }
}

/// `look {"at": 1}`; the arguments hold no brackets, in which an order ends.
fn call(value: &str) -> Option<ToolCall> {
    let (name, arguments) = value.split_once(' ')?;
    Some(ToolCall { name: name.to_owned(), arguments: serde_json::from_str(arguments).ok()? })
}

/// `die@10`, or `busy` alone for the beginning.
fn fault(value: &str) -> Option<(FaultKind, u64)> {
    let (kind, at) = value.split_once('@').unwrap_or((value, "0"));
    let kind = serde_json::from_value(kind.into()).ok()?;
    Some((kind, at.parse().ok()?))
}

/// What `encodeURIComponent` has made; none if it has not.
fn decoded(value: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                u8::try_from(digit()? * 16 + digit()?).ok()?
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_read_wherever_they_stand() {
        let found =
            Directives::read("count [task=7] [tokens=64] please [delay=50][fault=die@10] [tokens=x] [x");
        assert_eq!((found.task, found.tokens), (Some(7), Some(64)));
        assert_eq!(found.delay, Some(Duration::from_millis(50)));
        assert_eq!(found.fault, Some((FaultKind::Die, 10)));
        let say = |order: &str| Directives::read(order).say;
        assert_eq!(say("[say=%3Cb%3E%20%5Bx%5D%20%C3%A4]").as_deref(), Some("<b> [x] ä"));
        assert_eq!((say("[say=%4]"), say("[say=%zz]"), say("[say=%FF]")), (None, None, None));
        assert_eq!(Directives::read("[fault=explode@3] [1] [a=b"), Directives::default());
        let called =
            Directives::read("[call=look {\"at\": 1}] [call=see {}] [call=none] [call=bad {1}]").calls;
        assert_eq!(called.iter().map(|call| call.name.as_str()).collect::<Vec<_>>(), ["look", "see"]);
        assert_eq!(called[0].arguments["at"], 1);
    }
}
