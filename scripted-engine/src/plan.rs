//! What an answer will consist of, decided before its first byte: pieces, reason, pace and fault.

use std::{collections::VecDeque, ops::Range, time::Duration};

use serde_json::{Value, json};

use super::{
    ask::Ask,
    directive::Directives,
    script::{Fault, FaultKind, Script, ToolCall},
    seat::words,
    template::{THOUGHT, WIDTH, call_text, thought, token},
};

const OPEN_JSON: &str = "{\"text\":\"";
const CLOSE_JSON: &str = "\"}";

/// One chunk of an answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Piece {
    Thought(u64),
    Text(Range<u64>),
    Verbatim(String),
    /// A call and its number.
    Call(usize, ToolCall),
    /// A chunk's `tool_calls` as the script spells them.
    Calls(Value),
}

/// The pieces in their order; the tokens in the middle are counted, not stored.
pub struct Plan {
    /// The number that the prompt gives the task.
    pub task: Option<u64>,
    before: VecDeque<Piece>,
    range: Range<u64>,
    per_chunk: u64,
    /// What each text costs in tokens.
    pub width: u64,
    after: VecDeque<Piece>,
    /// Text that travels in the chunk that says `done`.
    pub last: Option<Range<u64>>,
    pub reason: &'static str,
    pub first: Duration,
    pub delay: Duration,
    /// The kind, and how many chunks go out before it.
    pub fault: Option<(FaultKind, u64)>,
    /// What the engine says of the fault, if the prompt orders that.
    pub words: Option<String>,
}

impl Plan {
    /// `scripted` is the fault that the script has for this request; an order in the prompt stands above it.
    pub fn new(script: &Script, ask: &Ask, scripted: Option<Fault>) -> Self {
        let orders = Directives::read(&ask.prompt.question);
        let start = ask.prompt.next_token();
        let calls = wanted_calls(script, ask, &orders);
        let length = match (calls.first(), orders.tokens) {
            (_, Some(tokens)) => tokens,
            (Some(_), None) => 0,
            (None, None) => script.tokens,
        };
        let mut plan = Self {
            task: orders.task,
            before: VecDeque::new(),
            range: start..length.max(start),
            width: if orders.wide { WIDTH } else { 1 },
            per_chunk: orders.chunk.unwrap_or(script.tokens_per_chunk).max(1),
            after: VecDeque::new(),
            last: None,
            reason: "stop",
            first: orders.first.unwrap_or(script.first_token_delay),
            delay: orders.delay.unwrap_or(script.token_delay),
            fault: None,
            words: orders.words.clone(),
        };
        plan.before.extend(thoughts(script, ask, &orders));
        if ask.json && calls.is_empty() {
            if ask.prompt.so_far.is_empty() {
                plan.before.push_back(Piece::Verbatim(OPEN_JSON.to_owned()));
            }
            plan.after.push_back(Piece::Verbatim(CLOSE_JSON.to_owned()));
        }
        if let Some(text) = &orders.say {
            // Word by word, and from where another engine has come to.
            let rest = text.strip_prefix(ask.prompt.so_far.as_str()).unwrap_or_default();
            plan.before.extend(rest.split_inclusive(' ').map(|word| Piece::Verbatim(word.to_owned())));
            plan.range.end = plan.range.start;
        }
        plan.stop_at(&ask.stop);
        plan.after.extend(calls);
        plan.limit(ask.limit);
        plan.carry(orders.text_in_final.unwrap_or(script.text_in_final));
        plan.fault = match orders.fault {
            Some((kind, at)) => plan.chunk_of(at).map(|chunk| (kind, chunk)),
            None => scripted.map(|fault| (fault.kind, fault.at)),
        };
        plan
    }

    /// Ends before the first stop string, as engines do; what precedes it in its token is still said.
    fn stop_at(&mut self, stops: &[String]) {
        if stops.iter().all(String::is_empty) {
            return;
        }
        let text: String = self.range.clone().map(token).collect();
        let hits = stops.iter().filter(|stop| !stop.is_empty()).filter_map(|stop| text.find(stop.as_str()));
        let Some(place) = hits.min() else { return };
        let mut said = 0;
        let mut end = self.range.start;
        while said + token(end).len() <= place {
            said += token(end).len();
            end += 1;
        }
        self.range.end = end;
        self.after.clear();
        if said < place {
            self.after.push_back(Piece::Verbatim(text[said..place].to_owned()));
        }
    }

    fn limit(&mut self, limit: Option<u64>) {
        let Some(limit) = limit else { return };
        let (before, range) = (self.before.len() as u64, self.range.end - self.range.start);
        if before + range * self.width + self.after.len() as u64 <= limit {
            return;
        }
        self.reason = "length";
        self.before.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        let left = limit - self.before.len() as u64;
        let said = range.min(left / self.width);
        self.range.end = self.range.start + said;
        let left = left - said * self.width;
        self.after.truncate(usize::try_from(left).unwrap_or(usize::MAX));
    }

    fn carry(&mut self, text_in_final: bool) {
        if text_in_final && self.after.is_empty() && !self.range.is_empty() {
            let from = (self.range.end - 1).max(self.range.start);
            self.last = Some(from..self.range.end);
            self.range.end = from;
        }
    }

    /// What it says, as far as it is known word by word: the answer's length in tokens.
    pub fn words(&self) -> Vec<u64> {
        let aside = self.before.len() + self.after.len();
        let range = self.range.start..self.last.as_ref().map_or(self.range.end, |last| last.end);
        let said: String = range.map(|index| token(index).repeat(self.width as usize)).collect();
        words(&said).into_iter().chain(std::iter::repeat_n(0, aside)).collect()
    }

    /// Nothing is left to say but what travels with the end.
    pub fn is_over(&self) -> bool {
        self.before.is_empty() && self.range.is_empty() && self.after.is_empty()
    }

    /// The tokens of a piece.
    pub fn tokens(&self, piece: &Piece) -> u64 {
        match piece {
            Piece::Text(range) => (range.end - range.start) * self.width,
            _ => 1,
        }
    }

    /// The chunk in which a token's place in the whole answer falls, unless this answer begins behind it.
    fn chunk_of(&self, at: u64) -> Option<u64> {
        let ahead = match at.checked_sub(self.range.start) {
            Some(0) if at > 0 => return None,
            ahead => ahead?,
        };
        let before = if at == 0 { 0 } else { self.before.len() as u64 };
        Some(before + ahead.div_ceil(self.per_chunk))
    }
}

impl Iterator for Plan {
    type Item = Piece;

    fn next(&mut self) -> Option<Piece> {
        if let Some(piece) = self.before.pop_front() {
            return Some(piece);
        }
        if self.range.is_empty() {
            return self.after.pop_front();
        }
        let from = self.range.start;
        self.range.start = self.range.end.min(from + self.per_chunk);
        Some(Piece::Text(from..self.range.start))
    }
}

/// The thoughts that are still to come; as text where the engine does not read what its model writes.
fn thoughts(script: &Script, ask: &Ask, orders: &Directives) -> Vec<Piece> {
    let is_inside = ask.prompt.thoughts.is_some();
    if !(is_inside || ask.think && ask.prompt.so_far.is_empty()) {
        return Vec::new();
    }
    let left = ask.prompt.next_thought()..orders.thoughts.unwrap_or(script.thoughts);
    if !ask.raw {
        return left.map(Piece::Thought).collect();
    }
    let said = left.map(|index| Piece::Verbatim(thought(index)));
    said.chain(is_inside.then(|| Piece::Verbatim(THOUGHT.to_owned()))).collect()
}

/// A call as the model writes it, a few characters to the chunk.
fn in_words(script: &Script, function: &Value) -> Vec<Piece> {
    const CHUNK: usize = 7;
    let text = call_text(function, script.marks);
    let chars: Vec<char> = text.chars().collect();
    chars.chunks(CHUNK).map(|chunk| Piece::Verbatim(chunk.iter().collect())).collect()
}

/// A call as this route says it.
fn said(script: &Script, ask: &Ask, number: usize, call: ToolCall) -> Vec<Piece> {
    match ask.raw {
        true => in_words(script, &json!({"name": call.name, "arguments": call.arguments})),
        false => vec![Piece::Call(number, call)],
    }
}

fn wanted_calls(script: &Script, ask: &Ask, orders: &Directives) -> Vec<Piece> {
    if !ask.tools {
        return Vec::new();
    }
    if !orders.calls.is_empty() {
        let calls = if ask.prompt.told { Vec::new() } else { orders.calls.clone() };
        return calls
            .into_iter()
            .enumerate()
            .flat_map(|(number, call)| said(script, ask, number, call))
            .collect();
    }
    let ordered = orders.tool.clone().map(|name| ToolCall { name, arguments: serde_json::Map::default() });
    if ordered.is_none() && !script.tool_chunks.is_empty() {
        let chunks = script.tool_chunks.iter();
        let calls = chunks.clone().filter_map(Value::as_array).flatten();
        return match ask.raw {
            true => calls.flat_map(|call| in_words(script, &call["function"])).collect(),
            false => chunks.cloned().map(Piece::Calls).collect(),
        };
    }
    let called = ordered.or_else(|| script.tool_call.clone());
    called.map(|call| said(script, ask, 0, call)).unwrap_or_default()
}
