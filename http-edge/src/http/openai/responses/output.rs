//! The pieces of an answer as items, and as the events of a stream that says them.
//!
//! The events are a function of the pieces alone: whoever reads an answer again, from whatever place and at whatever
//! edge, gets the same events under the same numbers, and a reader that has some of them gets exactly the rest.

use echo_bus::message::{Part, Piece, ToolCall};
use serde::Serialize;
use serde_json::{Value, json};

use super::id::ResponseId;
use super::item::{Item, arguments, text_part};

/// Numbers events, and writes those that its reader does not have.
#[derive(Debug)]
pub struct Log {
    next: u64,
    /// The number of the last event that the reader has.
    has: Option<u64>,
}

impl Log {
    /// For a reader that has the events up to this number.
    pub fn after(has: Option<u64>) -> Self {
        Self { next: 0, has }
    }

    /// For nobody: what counts is the items.
    pub fn silent() -> Self {
        Self::after(Some(u64::MAX))
    }

    /// How many events there were.
    pub fn events(&self) -> u64 {
        self.next
    }

    /// Writes the next event.
    pub fn event(&mut self, kind: &str, data: &impl Serialize, out: &mut Vec<u8>) {
        let number = self.next;
        self.next += 1;
        if self.has.is_none_or(|has| number > has) {
            write(kind, number, data, out);
        }
    }

    /// Writes an event that is no part of the answer: a sign of life, or an end that is not its own. It repeats the last
    /// number, so whoever goes on after it gets what comes next, and nothing twice.
    pub fn aside(&self, kind: &str, data: &impl Serialize, out: &mut Vec<u8>) {
        let last = self.next.saturating_sub(1);
        write(kind, last.max(self.has.unwrap_or_default()), data, out);
    }
}

/// Writes one event; `data` is an object with at least one field.
fn write(kind: &str, number: u64, data: &impl Serialize, out: &mut Vec<u8>) {
    let head = format!("event: {kind}\ndata: {{\"type\":\"{kind}\",\"sequence_number\":{number}");
    out.extend_from_slice(head.as_bytes());
    let at = out.len();
    serde_json::to_writer(&mut *out, data).expect("an event of texts and numbers is JSON");
    // The object goes on where the head has begun it.
    out[at] = b',';
    out.extend_from_slice(b"\n\n");
}

/// What was made so far.
#[derive(Debug)]
pub struct Output {
    id: ResponseId,
    items: Vec<Item>,
    /// The last item goes on.
    open: bool,
    calls: usize,
}

/// A part of a text.
#[derive(Serialize)]
struct TextDelta<'a> {
    item_id: &'a str,
    output_index: usize,
    content_index: u32,
    delta: &'a str,
    logprobs: [(); 0],
}

impl Output {
    pub fn new(id: ResponseId) -> Self {
        Self { id, items: Vec::new(), open: false, calls: 0 }
    }

    /// The next piece.
    pub fn piece(&mut self, piece: &Piece, log: &mut Log, out: &mut Vec<u8>) {
        if !piece.thinking.is_empty() {
            self.think(&piece.thinking, log, out);
        }
        if !piece.content.is_empty() {
            self.say(&piece.content, log, out);
        }
        for call in &piece.tool_calls {
            self.call(call, log, out);
        }
    }

    /// The answer ends here; its last item with this status. An answer without a word is an empty message.
    pub fn end(&mut self, status: &str, log: &mut Log, out: &mut Vec<u8>) {
        if self.items.is_empty() {
            self.say("", log, out);
        }
        self.close(status, log, out);
    }

    /// All items as clients read them; the last has this status if it was not ended.
    pub fn said(&self, last: &str) -> Vec<Value> {
        let count = self.items.len();
        let items = self.items.iter().enumerate();
        let said = items.map(|(at, item)| {
            let status = if self.open && at + 1 == count { last } else { "completed" };
            item.said(&self.id(at), status)
        });
        said.collect()
    }

    /// The items themselves, each with its id.
    pub fn items(self) -> Vec<(String, Item)> {
        let ids: Vec<String> = (0..self.items.len()).map(|at| self.id(at)).collect();
        ids.into_iter().zip(self.items).collect()
    }

    /// Which part of the answer was thought, of a whole of so many tokens: by the length of the texts, since no engine
    /// counts it.
    pub fn thought_tokens(&self, tokens: u64) -> u64 {
        let (mut thought, mut all) = (0_u128, 0_u128);
        for item in &self.items {
            let length = match item {
                Item::Reasoning { text } => text.len(),
                Item::Message { content, .. } => content.iter().map(text_length).sum(),
                Item::Call(call) => call.name.len() + arguments(call).len(),
                Item::Output { .. } | Item::Reference(_) => 0,
            };
            all += length as u128;
            thought += if matches!(item, Item::Reasoning { .. }) { length as u128 } else { 0 };
        }
        u64::try_from((u128::from(tokens) * thought).checked_div(all).unwrap_or_default()).unwrap_or(tokens)
    }

    fn id(&self, at: usize) -> String {
        self.items[at].id(self.id, &at.to_string())
    }

    fn think(&mut self, delta: &str, log: &mut Log, out: &mut Vec<u8>) {
        if !self.open || !matches!(self.items.last(), Some(Item::Reasoning { .. })) {
            self.begin(Item::Reasoning { text: String::new() }, log, out);
            let part = json!({"type": "summary_text", "text": ""});
            self.event(
                "response.reasoning_summary_part.added",
                json!({"summary_index": 0, "part": part}),
                log,
                out,
            );
        }
        self.event(
            "response.reasoning_summary_text.delta",
            json!({"summary_index": 0, "delta": delta}),
            log,
            out,
        );
        if let Some(Item::Reasoning { text }) = self.items.last_mut() {
            text.push_str(delta);
        }
    }

    fn say(&mut self, delta: &str, log: &mut Log, out: &mut Vec<u8>) {
        if !self.open || !matches!(self.items.last(), Some(Item::Message { .. })) {
            self.begin(Item::Message { role: "assistant".to_owned(), content: Vec::new() }, log, out);
            let part = json!({"content_index": 0, "part": text_part("")});
            self.event("response.content_part.added", part, log, out);
            if let Some(Item::Message { content, .. }) = self.items.last_mut() {
                content.push(Part::text(""));
            }
        }
        if delta.is_empty() {
            return;
        }
        let output_index = self.items.len() - 1;
        let item_id = &self.id(output_index);
        let data = TextDelta { item_id, output_index, content_index: 0, delta, logprobs: [] };
        log.event("response.output_text.delta", &data, out);
        if let Some(Item::Message { content, .. }) = self.items.last_mut()
            && let Some(Part::Text { text }) = content.last_mut()
        {
            text.push_str(delta);
        }
    }

    /// A call comes whole from every engine; clients answer it by its id, so each has one. Engines see that: it has no key.
    fn call(&mut self, call: &ToolCall, log: &mut Log, out: &mut Vec<u8>) {
        let number = self.calls;
        self.calls += 1;
        let id = if call.id.is_empty() { format!("call_{}_{number}", self.id.task) } else { call.id.clone() };
        let whole = ToolCall { id, ..call.clone() };
        let text = arguments(&whole);
        self.begin(Item::Call(ToolCall { arguments: "".into(), ..whole.clone() }), log, out);
        self.event("response.function_call_arguments.delta", json!({"delta": text}), log, out);
        let done = json!({"name": whole.name, "arguments": text});
        self.event("response.function_call_arguments.done", done, log, out);
        if let Some(last) = self.items.last_mut() {
            *last = Item::Call(whole);
        }
        self.close("completed", log, out);
    }

    fn begin(&mut self, item: Item, log: &mut Log, out: &mut Vec<u8>) {
        self.close("completed", log, out);
        self.items.push(item);
        self.open = true;
        self.item_event("response.output_item.added", "in_progress", log, out);
    }

    fn close(&mut self, status: &str, log: &mut Log, out: &mut Vec<u8>) {
        if !std::mem::replace(&mut self.open, false) {
            return;
        }
        match self.items.last() {
            Some(Item::Reasoning { text }) => {
                let text = text.clone();
                let part = json!({"type": "summary_text", "text": text});
                let done = json!({"summary_index": 0, "text": text});
                self.event("response.reasoning_summary_text.done", done, log, out);
                let done = json!({"summary_index": 0, "part": part});
                self.event("response.reasoning_summary_part.done", done, log, out);
            }
            Some(Item::Message { content, .. }) => {
                let text: String = content.iter().filter_map(text_of).collect();
                let done = json!({"content_index": 0, "text": text, "logprobs": []});
                self.event("response.output_text.done", done, log, out);
                let done = json!({"content_index": 0, "part": text_part(&text)});
                self.event("response.content_part.done", done, log, out);
            }
            _ => {}
        }
        self.item_event("response.output_item.done", status, log, out);
        // An item that was cut off says so in the answer, too.
        self.open = status != "completed";
    }

    /// An event of the last item.
    fn event(&self, kind: &str, mut data: Value, log: &mut Log, out: &mut Vec<u8>) {
        let at = self.items.len() - 1;
        data["item_id"] = self.id(at).into();
        data["output_index"] = at.into();
        log.event(kind, &data, out);
    }

    fn item_event(&self, kind: &str, status: &str, log: &mut Log, out: &mut Vec<u8>) {
        let at = self.items.len() - 1;
        let item = self.items[at].said(&self.id(at), status);
        log.event(kind, &json!({"output_index": at, "item": item}), out);
    }
}

fn text_of(part: &Part) -> Option<&str> {
    match part {
        Part::Text { text } => Some(text),
        _ => None,
    }
}

fn text_length(part: &Part) -> usize {
    text_of(part).map_or(0, str::len)
}
