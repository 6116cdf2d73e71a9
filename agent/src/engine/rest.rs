//! What is left of an answer that is continued: how many tokens may still be made, and what its end has to say.

use echo_bus::message::{Done, Failure, Reason, Request, SoFar};
use futures::StreamExt;
use futures::stream::BoxStream;

use super::contract::Step;
use super::unparsed::Unparsed;

/// What the engine of a continued answer says otherwise than that of a whole one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rest {
    /// How many tokens of its prompt are the text so far, where that was counted.
    pub so_far_tokens: Option<u64>,
    /// No token is left to be made.
    pub spent: bool,
}

impl Rest {
    /// What is known before the rest of an answer is made, and the text so far with the tokens that count against its
    /// limit: those that were made, or have been counted now, or the most that there can be.
    pub fn of(request: &Request, so_far: &SoFar, counted: Option<u64>) -> (Self, SoFar) {
        let tokens = match counted {
            _ if so_far.exact => so_far.tokens,
            Some(counted) => counted.max(so_far.tokens),
            None => so_far.tokens.saturating_add(hidden(&so_far.content) + hidden(&so_far.thinking)),
        };
        let is_known = so_far.exact || counted.is_some();
        let spent = is_known && limit(request).is_some_and(|limit| limit <= tokens);
        (Self { so_far_tokens: counted, spent }, SoFar { tokens, ..so_far.clone() })
    }

    /// The engine's steps as those of the rest. Where nothing is left to be made the engine is asked all the same, for
    /// one token that nobody sees: it counts the prompt, and an answer has to have an end.
    pub fn told(
        self,
        steps: BoxStream<'static, Result<Step, Failure>>,
        unparsed: Unparsed,
    ) -> BoxStream<'static, Result<Step, Failure>> {
        let steps = if self.spent { steps } else { unparsed.told_apart(steps) };
        if self == Self::default() {
            return steps;
        }
        let told = move |step| match step {
            Step::Piece(_) if self.spent => Step::Alive,
            Step::Done(done) => Step::Done(Box::new(self.end(*done))),
            step => step,
        };
        steps.map(move |step| step.map(told)).boxed()
    }

    fn end(self, mut done: Done) -> Done {
        done.so_far_tokens = self.so_far_tokens;
        if self.spent {
            (done.reason, done.tokens, done.timings.eval_ns) = (Reason::Length, Some(0), 0);
        }
        done
    }
}

/// Tokens that can hide in a text beside one for each chunk: engines give out whole characters, so only a character of
/// several bytes can take several tokens, and each of them at least one byte.
fn hidden(text: &str) -> u64 {
    text.bytes().filter(|byte| (0x80..0xC0).contains(byte)).count() as u64
}

/// The most tokens that the client wants.
fn limit(request: &Request) -> Option<u64> {
    let settings = match request {
        Request::Generate(it) => &it.settings,
        Request::Chat(it) => &it.settings,
        _ => return None,
    };
    let option = settings.extra.get("options").and_then(|options| options.get("num_predict")?.as_i64());
    let limit = settings.max_tokens.or(option)?;
    u64::try_from(limit).ok().filter(|limit| *limit > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use echo_bus::message::{Chat, Settings};

    #[test]
    fn what_counts_against_a_limit_was_made_or_counted_or_is_the_most_that_can_be() {
        let ask = |limit: i64| {
            let settings = Settings { max_tokens: Some(limit), ..Settings::default() };
            Request::Chat(Chat { settings, ..Chat::default() })
        };
        let vague = SoFar { content: "a\u{e9}\u{1f600}".into(), tokens: 3, ..SoFar::default() };
        let exact = SoFar { exact: true, ..vague.clone() };
        let made = |limit, so_far: &SoFar, counted| {
            let (rest, so_far) = Rest::of(&ask(limit), so_far, counted);
            (so_far.tokens, rest.spent, rest.so_far_tokens)
        };
        assert_eq!(made(10, &exact, None), (3, false, None));
        assert_eq!(made(3, &exact, None), (3, true, None));
        assert_eq!(made(10, &vague, Some(5)), (5, false, Some(5)));
        assert_eq!(made(5, &vague, Some(5)), (5, true, Some(5)));
        assert_eq!(made(10, &vague, Some(2)), (3, false, Some(2)), "each chunk was a token at least");
        assert_eq!(made(4, &vague, None), (3 + 1 + 3, false, None), "as many as there are bytes, at most");
        assert_eq!(made(-1, &exact, None), (3, false, None));
    }
}
