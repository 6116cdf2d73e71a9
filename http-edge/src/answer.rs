//! An answer as an append-only log: numbered pieces, then exactly one end.
//!
//! Everybody who gets the answer is a reader with a [`Cursor`]: the client's stream, a client that re-joins, another
//! edge. Nothing that was read is ever changed, so all of them see the same pieces under the same numbers. An attempt
//! that takes over after a failure appends; the log begins anew only in [`Answer::forget`], while nobody has read.
//!
//! Most pieces are plain text of one token. They are kept as lengths into one text, which is also what another node is
//! given to go on from, so a piece costs its bytes and sixteen more.

use std::collections::VecDeque;
use std::sync::Arc;

use echo_bus::message::Piece;
use serde_json::{Map, Value};

use crate::report::{AnsweredBy, Report, Run};

/// The longest answer, in bytes of all that is kept of it. An engine that never ends would fill the memory.
pub const LARGEST: usize = 64 * 1024 * 1024;
/// From one mark to the next, in pieces.
const STRIDE: usize = 1024;
/// What a task costs beside its pieces, about.
const BASE: usize = 2048;

/// One piece of the log.
#[derive(Debug)]
enum Entry {
    /// So many bytes of the content, and nothing else.
    Text(u32),
    /// So many bytes of the thinking, and nothing else.
    Thought(u32),
    Rich(Box<Piece>),
}

/// How far somebody has read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cursor {
    /// Pieces that were read: the number of the last one.
    pub number: u64,
    content: usize,
    thinking: usize,
    /// Changes of the node that were told.
    turn: usize,
}

/// What comes next in a log.
#[derive(Debug)]
pub enum Next {
    /// From here on another node gives the answer.
    Turn(Box<AnsweredBy>),
    /// Pieces, the first with this number.
    Pieces(u64, Vec<Piece>),
    /// Nothing yet; or nothing more, after the end.
    Nothing,
}

/// The log of one answer.
#[derive(Debug, Default)]
pub struct Answer {
    content: String,
    thinking: String,
    entries: VecDeque<Entry>,
    /// Pieces that are no longer kept: the number of the last one.
    dropped: u64,
    rich: usize,
    /// Who gave what: each node that accepted, and how many pieces there were by then.
    turns: Vec<(u64, Box<AnsweredBy>)>,
    is_read: bool,
    /// A tool was called, though its piece may be dropped by now.
    calls_tools: bool,
    /// How much text there is before every [`STRIDE`]th piece, so that nobody walks from the beginning to find a place.
    marks: Vec<(usize, usize)>,
    end: Option<Arc<Report>>,
}

impl Answer {
    /// The node that gives the answer now, and how many pieces there were before.
    pub fn last_turn(&self) -> Option<(u64, &AnsweredBy)> {
        self.turns.last().map(|(after, by)| (*after, &**by))
    }

    /// Appends a piece.
    pub fn push(&mut self, piece: Piece) {
        let length = |text: &str| u32::try_from(text.len()).ok();
        if self.len().is_multiple_of(STRIDE as u64) {
            self.marks.push((self.content.len(), self.thinking.len()));
        }
        self.calls_tools |= !piece.tool_calls.is_empty();
        self.content.push_str(&piece.content);
        self.thinking.push_str(&piece.thinking);
        let plain = match (length(&piece.content), length(&piece.thinking)) {
            (Some(bytes), Some(0)) if is_text(&piece) => Some(Entry::Text(bytes)),
            (Some(0), Some(bytes)) if is_thought(&piece) => Some(Entry::Thought(bytes)),
            _ => None,
        };
        let entry = plain.unwrap_or_else(|| {
            self.rich += weight(&piece);
            Entry::Rich(Box::new(piece))
        });
        self.entries.push_back(entry);
    }

    /// A node gives the answer from here on.
    pub fn turn(&mut self, holder: Box<AnsweredBy>) {
        self.turns.push((self.len(), holder));
    }

    /// How many pieces there are: the number of the last one.
    pub fn len(&self) -> u64 {
        self.dropped + self.entries.len() as u64
    }

    /// Bytes that are kept, about.
    pub fn bytes(&self) -> usize {
        let texts = self.content.len() + self.thinking.len();
        BASE + texts + self.rich + self.entries.len() * size_of::<Entry>() + self.marks.len() * 16
    }

    pub fn content(&self) -> &str {
        &self.content
    }

    pub fn thinking(&self) -> &str {
        &self.thinking
    }

    /// Whether anybody has been given a piece, which cannot be taken back.
    pub fn is_read(&self) -> bool {
        self.is_read
    }

    /// Whether a piece is of a tool that is called.
    pub fn calls_tools(&self) -> bool {
        self.calls_tools
    }

    /// Somebody says that they have pieces of this answer.
    pub fn note_read(&mut self) {
        self.is_read = true;
    }

    /// Begins anew. Only while nobody has read: the numbers would mean other pieces.
    pub fn forget(&mut self) {
        debug_assert!(!self.is_read, "an answer that was read begins anew");
        self.content.clear();
        self.thinking.clear();
        self.entries.clear();
        self.marks.clear();
        (self.rich, self.calls_tools) = (0, false);
        self.turns.iter_mut().for_each(|(number, _)| *number = 0);
    }

    /// Where somebody begins who has this many pieces; `None` if there are fewer, or if the log was trimmed.
    pub fn cursor(&self, after: u64) -> Option<Cursor> {
        let skipped = usize::try_from(after).ok()?;
        if self.dropped > 0 || after > self.len() {
            return None;
        }
        // A mark is made by the piece behind it, so the last one may be a stride back.
        let mark = (skipped / STRIDE).min(self.marks.len().saturating_sub(1));
        let (content, thinking) = self.marks.get(mark).copied().unwrap_or_default();
        let mut cursor = Cursor { number: after, content, thinking, turn: 0 };
        let marked = mark * STRIDE;
        self.entries.range(marked..skipped).for_each(|entry| cursor.pass(entry));
        // Whoever comes later is told the last change before this place, and not those before it.
        let before = self.turns.partition_point(|(number, _)| *number <= after);
        cursor.turn = before.saturating_sub(1);
        Some(cursor)
    }

    /// What comes next, at most about so many bytes of it.
    pub fn read(&mut self, cursor: &mut Cursor, most: usize) -> Next {
        let turn = self.turns.get(cursor.turn);
        if let Some((_, holder)) = turn.filter(|(number, _)| *number <= cursor.number) {
            cursor.turn += 1;
            return Next::Turn(holder.clone());
        }
        let until = turn.map_or(self.len(), |(number, _)| *number);
        let (first, mut bytes) = (cursor.number + 1, 0);
        // Mostly there is one.
        let mut pieces = Vec::with_capacity(usize::from(cursor.number < until));
        let from = usize::try_from(cursor.number.saturating_sub(self.dropped)).unwrap_or(usize::MAX);
        for entry in self.entries.iter().skip(from) {
            if cursor.number >= until || bytes >= most {
                break;
            }
            let piece = match entry {
                Entry::Text(length) => Piece::text(&self.content[cursor.content..][..*length as usize]),
                Entry::Thought(length) => {
                    let thinking = self.thinking[cursor.thinking..][..*length as usize].to_owned();
                    Piece { thinking, ..Piece::default() }
                }
                Entry::Rich(piece) => Piece::clone(piece),
            };
            cursor.pass(entry);
            cursor.number += 1;
            bytes += weight(&piece);
            pieces.push(piece);
        }
        if pieces.is_empty() {
            return Next::Nothing;
        }
        self.is_read = true;
        Next::Pieces(first, pieces)
    }

    /// Whether this reader has something to read, the end aside.
    pub fn has_more(&self, cursor: &Cursor) -> bool {
        cursor.number < self.len() || cursor.turn < self.turns.len()
    }

    /// Drops the pieces up to this number, for answers that nobody can join later.
    pub fn trim(&mut self, to: u64) {
        while self.dropped < to
            && let Some(entry) = self.entries.pop_front()
        {
            self.dropped += 1;
            if let Entry::Rich(piece) = entry {
                self.rich -= weight(&piece);
            }
        }
    }

    /// The end. There is one: what follows it is nobody's.
    pub fn end(&mut self, report: Arc<Report>) {
        self.end.get_or_insert(report);
    }

    /// How it ended, without the answer itself.
    pub fn ended(&self) -> Option<&Report> {
        self.end.as_deref()
    }

    /// How it ended. A `whole` answer comes along; so does what there is of one that has failed.
    pub fn report(&self, whole: bool) -> Option<Box<Report>> {
        let mut report = Box::new(Report::clone(self.end.as_deref()?));
        if !whole && report.ending.is_ok() {
            return Some(report);
        }
        (report.content, report.thinking) = (self.content.clone(), self.thinking.clone());
        for piece in self.rich() {
            report.tool_calls.extend(piece.tool_calls.iter().cloned());
            report.logprobs.extend(piece.logprobs.as_deref().cloned());
            piece.extra.as_deref().into_iter().for_each(|more| gather(&mut report.extra, more));
        }
        report.order = self.order();
        Some(report)
    }

    /// In which order texts, thoughts and calls came.
    fn order(&self) -> Vec<Run> {
        let mut order = Vec::new();
        for entry in &self.entries {
            match entry {
                Entry::Text(bytes) => Run::Text(*bytes as usize).follows(&mut order),
                Entry::Thought(bytes) => Run::Thought(*bytes as usize).follows(&mut order),
                Entry::Rich(piece) => {
                    Run::Thought(piece.thinking.len()).follows(&mut order);
                    Run::Text(piece.content.len()).follows(&mut order);
                    Run::Calls(piece.tool_calls.len()).follows(&mut order);
                }
            }
        }
        order
    }

    fn rich(&self) -> impl Iterator<Item = &Piece> {
        self.entries.iter().filter_map(|entry| match entry {
            Entry::Rich(piece) => Some(&**piece),
            _ => None,
        })
    }
}

impl Cursor {
    fn pass(&mut self, entry: &Entry) {
        match entry {
            Entry::Text(length) => self.content += *length as usize,
            Entry::Thought(length) => self.thinking += *length as usize,
            Entry::Rich(piece) => {
                self.content += piece.content.len();
                self.thinking += piece.thinking.len();
            }
        }
    }
}

fn is_text(piece: &Piece) -> bool {
    piece.thinking.is_empty() && has_no_more(piece)
}

fn is_thought(piece: &Piece) -> bool {
    piece.content.is_empty() && !piece.thinking.is_empty() && has_no_more(piece)
}

fn has_no_more(piece: &Piece) -> bool {
    let Piece { content: _, thinking: _, tool_calls, logprobs, progress, last, extra, tokens, prompt_tokens } =
        piece;
    let nothing = logprobs.is_none() && progress.is_none() && extra.is_none();
    tool_calls.is_empty() && nothing && !last && tokens.is_none() && prompt_tokens.is_none()
}

/// Bytes of a piece, about, in memory and as a message; the size of a JSON value is not looked for.
pub fn weight(piece: &Piece) -> usize {
    let calls: usize =
        piece.tool_calls.iter().map(|call| 128 + call.name.len() + size(&call.arguments)).sum();
    let values = [&piece.logprobs, &piece.progress].into_iter().flatten().map(|value| size(value));
    let extra = piece.extra.iter().flat_map(|extra| extra.values()).map(size);
    size_of::<Piece>()
        + piece.content.len()
        + piece.thinking.len()
        + calls
        + values.chain(extra).sum::<usize>()
}

fn size(value: &Value) -> usize {
    let of_parts = match value {
        Value::String(text) => text.len(),
        Value::Array(values) => values.iter().map(size).sum(),
        Value::Object(fields) => fields.iter().map(|(name, value)| name.len() + 48 + size(value)).sum(),
        _ => 0,
    };
    size_of::<Value>() + of_parts
}

/// Fields of several chunks as one chunk says them: a later word replaces an earlier one, as in Ollama's own answers
/// in one piece. Those of the message are a level of their own.
fn gather(extra: &mut Map<String, Value>, more: &Map<String, Value>) {
    for (name, value) in more {
        match (extra.get_mut(name), value) {
            (Some(Value::Object(known)), Value::Object(value)) if name == "message" => {
                known.extend(value.iter().map(|(name, value)| (name.clone(), value.clone())));
            }
            _ => {
                extra.insert(name.clone(), value.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests;
