//! What an engine gives out raw, told apart by the agent: thoughts up to their closing mark, text, and tool calls. An engine
//! reads none of these in a raw completion. What cannot be told apart ends in an error, never as text that looks finished.

use std::collections::VecDeque;

use echo_bus::message::{Code, Done, Failure, Piece, Reason, ToolCall};
use futures::StreamExt;
use futures::stream::BoxStream;

use super::contract::Step;
use super::decision::ASK_AGAIN;
use super::template::{CALL_CLOSES, CALL_OPENS, call_in};

/// The longest tool call, and the most in one answer.
const LONGEST: usize = 1 << 20;
const MOST: u32 = 256;

/// What has to be told apart in a raw completion.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unparsed {
    /// It begins inside thoughts, and this is where they end.
    pub closes: Option<String>,
    /// The tools that it may call; `None` where none were offered.
    pub tools: Option<Vec<String>>,
    /// It goes on in the middle of text, by an engine that cannot show how it takes that. One that begins to think has
    /// begun anew.
    pub trusted: bool,
}

impl Unparsed {
    /// The engine's steps with everything in its place.
    pub fn told_apart(
        self,
        steps: BoxStream<'static, Result<Step, Failure>>,
    ) -> BoxStream<'static, Result<Step, Failure>> {
        if self == Self::default() {
            return steps;
        }
        let mut reader = Reader::new(self);
        steps.flat_map(move |step| futures::stream::iter(reader.step(step))).boxed()
    }
}

/// Reads the steps of one answer.
struct Reader {
    scanner: Scanner,
    trusted: bool,
    /// The counts of chunks that have shown nothing yet.
    tokens: Option<u32>,
    prompt_tokens: Option<u32>,
}

impl Reader {
    fn new(unparsed: Unparsed) -> Self {
        let trusted = unparsed.trusted;
        Self { scanner: Scanner::new(unparsed), trusted, tokens: None, prompt_tokens: None }
    }

    fn step(&mut self, step: Result<Step, Failure>) -> Vec<Result<Step, Failure>> {
        let mut found = VecDeque::new();
        match step {
            Ok(Step::Piece(piece)) if self.trusted && !piece.thinking.is_empty() => {
                vec![Err(cannot("the engine began to think anew in the middle of the text"))]
            }
            Ok(Step::Piece(mut piece)) => {
                let text = std::mem::take(&mut piece.content);
                match self.scanner.take(&text, &mut found) {
                    Ok(()) => self.pieces(piece, found),
                    Err(failure) => vec![Err(failure)],
                }
            }
            Ok(Step::Done(done)) => match self.scanner.end(done.reason, &mut found) {
                Ok(()) => self.done(*done, found),
                Err(failure) => vec![Err(failure)],
            },
            step => vec![step],
        }
    }

    /// One piece for each thing that was found; what the chunk says beside its text goes with the first.
    fn pieces(&mut self, mut chunk: Piece, found: VecDeque<Found>) -> Vec<Result<Step, Failure>> {
        self.tokens = match (chunk.tokens.take(), self.tokens) {
            (Some(more), held) => Some(more.saturating_add(held.unwrap_or_default())),
            (None, held) => held,
        };
        self.prompt_tokens = chunk.prompt_tokens.take().or(self.prompt_tokens);
        if found.is_empty() && chunk == Piece::default() {
            return vec![Ok(Step::Alive)];
        }
        let is_counted = self.tokens.is_some();
        let mut pieces: Vec<Piece> = found.into_iter().map(Found::piece).collect();
        // An engine may have read the thoughts after all.
        if pieces.is_empty() || !chunk.thinking.is_empty() {
            pieces.insert(0, Piece::default());
        }
        for piece in &mut pieces[1..] {
            piece.tokens = is_counted.then_some(0);
        }
        let (tokens, prompt_tokens) = (self.tokens.take(), self.prompt_tokens.take());
        let first = std::mem::take(&mut pieces[0]);
        chunk.content = first.content;
        chunk.thinking.push_str(&first.thinking);
        chunk.tool_calls.extend(first.tool_calls);
        pieces[0] = Piece { tokens, prompt_tokens, ..chunk };
        pieces.into_iter().map(|piece| Ok(Step::Piece(piece))).collect()
    }

    fn done(&mut self, mut done: Done, found: VecDeque<Found>) -> Vec<Result<Step, Failure>> {
        let mut steps = match found.is_empty() {
            true => Vec::new(),
            false => self.pieces(Piece { tokens: self.tokens.map(|_| 0), ..Piece::default() }, found),
        };
        if self.scanner.calls > 0 && done.reason == Reason::Stop {
            done.reason = Reason::ToolCalls;
        }
        steps.push(Ok(Step::Done(Box::new(done))));
        steps
    }
}

/// A part of an answer.
#[derive(Debug, Clone, PartialEq)]
enum Found {
    Thought(String),
    Text(String),
    Call(ToolCall),
}

impl Found {
    fn piece(self) -> Piece {
        match self {
            Self::Thought(thinking) => Piece { thinking, ..Piece::default() },
            Self::Text(text) => Piece::text(text),
            Self::Call(call) => Piece { tool_calls: vec![call], ..Piece::default() },
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Inside {
    Thoughts,
    Text,
    Call,
}

/// Finds the marks in a text that comes in chunks.
#[derive(Debug)]
struct Scanner {
    unparsed: Unparsed,
    inside: Inside,
    /// What may be the beginning of a mark, or a call that is not whole.
    held: String,
    /// How much of that was looked through for the end of a call.
    searched: usize,
    /// White space behind a mark belongs to the mark.
    is_behind_mark: bool,
    calls: u32,
}

impl Scanner {
    fn new(unparsed: Unparsed) -> Self {
        let inside = if unparsed.closes.is_some() { Inside::Thoughts } else { Inside::Text };
        Self { unparsed, inside, held: String::new(), searched: 0, is_behind_mark: false, calls: 0 }
    }

    fn take(&mut self, text: &str, found: &mut VecDeque<Found>) -> Result<(), Failure> {
        self.held.push_str(text);
        while self.advance(found)? {}
        Ok(())
    }

    /// Goes on to the next mark; whether there was one.
    fn advance(&mut self, found: &mut VecDeque<Found>) -> Result<bool, Failure> {
        match self.inside {
            Inside::Thoughts => {
                let closes = self.unparsed.closes.clone().unwrap_or_default();
                let (before, at_mark) = self.until(&closes);
                say(found, Found::Thought(before));
                if at_mark {
                    (self.inside, self.is_behind_mark) = (Inside::Text, true);
                }
                Ok(at_mark)
            }
            Inside::Text => {
                if self.is_behind_mark {
                    self.held = self.held.trim_start().to_owned();
                    self.is_behind_mark = self.held.is_empty();
                }
                let (before, at_mark) = match self.unparsed.tools.is_some() {
                    true => self.until(CALL_OPENS),
                    false => (std::mem::take(&mut self.held), false),
                };
                say(found, Found::Text(before));
                if at_mark {
                    self.inside = Inside::Call;
                }
                Ok(at_mark)
            }
            Inside::Call => self.call(found),
        }
    }

    fn call(&mut self, found: &mut VecDeque<Found>) -> Result<bool, Failure> {
        // The mark may have begun in what was looked through.
        let mut from = self.searched.saturating_sub(CALL_CLOSES.len());
        while !self.held.is_char_boundary(from) {
            from -= 1;
        }
        let Some(at) = self.held[from..].find(CALL_CLOSES) else {
            self.searched = self.held.len();
            return if self.held.len() > LONGEST { Err(unreadable()) } else { Ok(false) };
        };
        let (text, rest) = self.held.split_at(from + at);
        let call = self.offered(text)?;
        self.held = rest[CALL_CLOSES.len()..].to_owned();
        (self.inside, self.is_behind_mark, self.searched) = (Inside::Text, true, 0);
        self.called(call, found)?;
        Ok(true)
    }

    /// A call of one of the tools.
    fn offered(&self, text: &str) -> Result<ToolCall, Failure> {
        let tools = self.unparsed.tools.as_deref().unwrap_or_default();
        call_in(text).filter(|call| tools.contains(&call.name)).ok_or_else(unreadable)
    }

    fn called(&mut self, call: ToolCall, found: &mut VecDeque<Found>) -> Result<(), Failure> {
        let index = self.calls;
        self.calls += 1;
        say(found, Found::Call(ToolCall { index, ..call }));
        if self.calls > MOST { Err(unreadable()) } else { Ok(()) }
    }

    /// What stands before the mark, and whether the mark was there; what may be its beginning stays.
    fn until(&mut self, mark: &str) -> (String, bool) {
        if let Some((before, behind)) = self.held.split_once(mark) {
            let (before, behind) = (before.to_owned(), behind.to_owned());
            self.held = behind;
            return (before, true);
        }
        let begun = (1..mark.len())
            .rev()
            .find(|length| mark.is_char_boundary(*length) && self.held.ends_with(&mark[..*length]));
        let stays = self.held.split_off(self.held.len() - begun.unwrap_or_default());
        (std::mem::replace(&mut self.held, stays), false)
    }

    /// The engine has said that it is done.
    fn end(&mut self, reason: Reason, found: &mut VecDeque<Found>) -> Result<(), Failure> {
        let held = std::mem::take(&mut self.held);
        match self.inside {
            // A token limit may fall into thoughts; a model that is done has closed them.
            Inside::Thoughts if reason == Reason::Length => say(found, Found::Thought(held)),
            Inside::Thoughts => {
                return Err(cannot(
                    "the model ended without closing its thoughts, so its answer cannot be told from them",
                ));
            }
            Inside::Text => say(found, Found::Text(held)),
            // Some models end with the call, and leave its mark out.
            Inside::Call => {
                let call = self.offered(&held)?;
                self.called(call, found)?;
            }
        }
        Ok(())
    }
}

/// Neighbours of one kind are one.
fn say(found: &mut VecDeque<Found>, what: Found) {
    match (found.back_mut(), what) {
        (_, Found::Thought(text) | Found::Text(text)) if text.is_empty() => {}
        (Some(Found::Thought(before)), Found::Thought(more))
        | (Some(Found::Text(before)), Found::Text(more)) => before.push_str(&more),
        (_, what) => found.push_back(what),
    }
}

fn unreadable() -> Failure {
    cannot("the model began a tool call there that cannot be read, or is of no tool that was offered")
}

fn cannot(why: &str) -> Failure {
    let message = format!("the answer broke off and went on at another node, but {why}; {ASK_AGAIN}");
    Failure::give_up(Code::CannotContinue, message)
}

#[cfg(test)]
mod tests;
