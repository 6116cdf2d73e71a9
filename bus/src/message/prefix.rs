//! Fingerprints of a prompt's beginning: how much of it an engine still has in its cache is told by comparing them.

use std::io;

use serde::Serialize;

use super::content::Message;
use super::request::Request;

/// Text that one block holds, in bytes.
pub const BLOCK: usize = 1024;
/// Blocks of a prompt that have a hash. What comes after them only counts as length.
pub const BLOCKS: usize = 128;

/// The beginning of the text that an engine makes of a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Prefix {
    /// One hash for each whole block of [`BLOCK`] bytes, [`BLOCKS`] at most. Each is chained on the one before, so two
    /// prompts with an equal hash in one place are equal up to there. The same in every version and on every machine.
    pub blocks: Vec<u64>,
    /// The length of the whole text.
    pub bytes: u64,
    /// The same for all turns of one conversation: a hash of it up to its first question; for a plain prompt the hash of
    /// its first block. 0 when there is neither.
    pub session: u64,
}

impl Prefix {
    /// Of the text that the engine sees of this request: instructions, tools, then the messages in their order. The
    /// next turn of a conversation begins with the same blocks. Empty for requests without a prompt.
    pub fn of(request: &Request) -> Self {
        Self::cut(request, None, BLOCK, BLOCKS)
    }

    /// What is in the engine's cache when it has answered: the prompt and the answer, as the next turn says them.
    pub fn with_answer(request: &Request, answer: &Message) -> Self {
        Self::cut(request, Some(answer), BLOCK, BLOCKS)
    }

    /// The same in smaller blocks, of a multiple of eight bytes, and not more of them than `most`.
    pub fn cut(request: &Request, answer: Option<&Message>, block: usize, most: usize) -> Self {
        let size = block.next_multiple_of(8).clamp(8, BLOCK);
        let mut text = Text { size, most, ..Text::default() };
        text.request(request);
        match (request, answer) {
            (Request::Chat(_), Some(answer)) => text.message(answer),
            (_, Some(answer)) => text.push(answer.text().as_bytes()),
            (_, None) => {}
        }
        text.prefix()
    }
}

/// How many blocks two prompts have in common from their beginning on.
pub fn common(one: &[u64], other: &[u64]) -> usize {
    // Chained hashes agree up to one place and nowhere behind it.
    let shorter = one.len().min(other.len());
    let (mut agree, mut differ) = (0, shorter + 1);
    while differ - agree > 1 {
        let middle = agree.midpoint(differ);
        if one[middle - 1] == other[middle - 1] {
            agree = middle;
        } else {
            differ = middle;
        }
    }
    agree
}

/// A text on its way into blocks.
struct Text {
    size: usize,
    most: usize,
    /// The beginning of the next block.
    block: Vec<u8>,
    chain: u64,
    prefix: Prefix,
}

impl Default for Text {
    fn default() -> Self {
        let prefix = Prefix::default();
        Self { size: BLOCK, most: BLOCKS, block: Vec::new(), chain: 0, prefix }
    }
}

impl Text {
    /// Parts two fields, so that moving a word from one into the next is another text.
    const FIELD: &'static [u8] = b"\x1f";

    fn prefix(self) -> Prefix {
        let session = match self.prefix.session {
            0 => self.prefix.blocks.first().copied().unwrap_or_default(),
            session => session,
        };
        Prefix { session, ..self.prefix }
    }

    fn request(&mut self, request: &Request) {
        match request {
            Request::Generate(it) => {
                if !it.raw && !it.system.is_empty() {
                    self.field(it.system.as_bytes());
                }
                self.images(&it.images);
                self.push(it.prompt.as_bytes());
                if !it.suffix.is_empty() {
                    self.push(Self::FIELD);
                    self.push(it.suffix.as_bytes());
                }
            }
            Request::Chat(it) | Request::Count(it) => {
                // Templates put the tools where the instructions are, before what is said.
                let instructions = it.messages.iter().take_while(|message| message.role == "system").count();
                let (instructions, said) = it.messages.split_at(instructions);
                instructions.iter().for_each(|message| self.message(message));
                it.tools.iter().for_each(|tool| self.json(tool));
                for (number, message) in said.iter().enumerate() {
                    self.message(message);
                    if number == 0 {
                        self.prefix.session = self.so_far();
                    }
                }
            }
            _ => {}
        }
    }

    /// Without its thinking, which templates leave out of earlier turns, and without ids, which they do not show.
    fn message(&mut self, message: &Message) {
        for flat in message.flat() {
            self.field(flat.role.as_bytes());
            self.images(&flat.images);
            self.field(flat.content.as_bytes());
            for call in &flat.tool_calls {
                self.field(call.name.as_bytes());
                self.json(&call.arguments);
            }
        }
    }

    /// An image is known by its length and its two ends: it may be large, and a mistake costs an estimate.
    fn images(&mut self, images: &[impl AsRef<str>]) {
        for image in images {
            let bytes = image.as_ref().as_bytes();
            let end = bytes.len().min(256);
            self.field(&bytes[..end]);
            self.field(&bytes[bytes.len() - end..]);
            self.field(&bytes.len().to_le_bytes());
        }
    }

    fn field(&mut self, bytes: &[u8]) {
        self.push(bytes);
        self.push(Self::FIELD);
    }

    fn json(&mut self, value: &impl Serialize) {
        // What cannot be written was never read from anywhere either.
        let _ = serde_json::to_writer(&mut *self, value);
        self.push(Self::FIELD);
    }

    /// A hash of the text up to here.
    fn so_far(&self) -> u64 {
        let mut block = self.block.clone();
        block.resize(self.size, 0);
        chained(self.chain ^ self.prefix.bytes, &block)
    }

    fn push(&mut self, mut bytes: &[u8]) {
        self.prefix.bytes += bytes.len() as u64;
        while !bytes.is_empty() && self.prefix.blocks.len() < self.most {
            let (now, later) = bytes.split_at(bytes.len().min(self.size - self.block.len()));
            bytes = later;
            if now.len() == self.size {
                self.end_block(now);
                continue;
            }
            self.block.extend_from_slice(now);
            if self.block.len() == self.size {
                let block = std::mem::take(&mut self.block);
                self.end_block(&block);
            }
        }
    }

    fn end_block(&mut self, block: &[u8]) {
        self.chain = chained(self.chain, block);
        self.prefix.blocks.push(self.chain);
    }
}

impl io::Write for Text {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.push(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The hash of a block behind those before it. Eight bytes in a step, since every prompt of the mesh goes through here;
/// the last lines are the finish of MurmurHash3, which lets every bit reach every other.
fn chained(before: u64, block: &[u8]) -> u64 {
    let mut hash = before ^ 0x9e37_79b9_7f4a_7c15;
    for eight in block.chunks_exact(8) {
        let word = u64::from_le_bytes(eight.try_into().expect("chunks of eight"));
        hash = (hash.rotate_left(23) ^ word).wrapping_mul(0x9fb2_1c65_1e98_df25);
    }
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::message::{Chat, Generate, Part};

    fn message(role: &str, content: &str) -> Message {
        Message::said(role, content)
    }

    fn chat(messages: &[Message]) -> Request {
        Request::Chat(Chat { messages: messages.to_vec(), ..Chat::default() })
    }

    fn raw(prompt: &str) -> Request {
        Request::Generate(Generate { prompt: prompt.into(), raw: true, ..Generate::default() })
    }

    #[test]
    fn the_hashes_are_the_same_in_every_version() {
        let prefix = Prefix::of(&raw(&"a".repeat(2100)));
        assert_eq!(prefix.bytes, 2100);
        assert_eq!(prefix.blocks, [2_893_533_512_864_967_698, 3_338_713_366_373_747_386]);
        assert_eq!(Prefix::of(&raw("short")), Prefix { bytes: 5, ..Prefix::default() });
    }

    #[test]
    fn the_next_turn_begins_with_what_the_cache_holds() {
        let asked = chat(&[message("system", &"s".repeat(3000)), message("user", &"u".repeat(1500))]);
        let answer = message("assistant", &"a".repeat(2000));
        let held = Prefix::with_answer(&asked, &answer);
        let Request::Chat(mut next) = asked.clone() else { unreachable!() };
        next.messages.extend([answer, message("user", "and then?")]);
        let next = Prefix::of(&Request::Chat(next));
        assert!(next.session != 0 && next.session == held.session);
        let other = chat(&[message("system", &"s".repeat(3000)), message("user", "another question")]);
        assert!(Prefix::of(&other).session != held.session);
        assert_eq!(common(&held.blocks, &next.blocks), held.blocks.len());
        assert_eq!(common(&Prefix::of(&asked).blocks, &held.blocks), Prefix::of(&asked).blocks.len());
    }

    #[test]
    fn a_conversation_has_one_prefix_however_its_messages_are_written() {
        let (question, result) = ("q".repeat(2000), "r".repeat(2000));
        let flat = json!([
            {"role": "user", "content": format!("{question}\nand"), "images": ["AAAA"]},
            {"role": "assistant", "thinking": "hm", "content": "a", "tool_calls": [{"id": "c", "name": "f", "arguments": {"x": 1}}]},
            {"role": "tool", "content": result, "tool_name": "f", "tool_call_id": "c"},
        ]);
        let parts = json!([
            {"role": "user", "content": [{"type": "text", "text": question}, {"type": "image", "data": "AAAA"},
                {"type": "text", "text": "and"}]},
            {"role": "assistant", "content": [{"type": "thinking", "text": "ah", "signature": "s"},
                {"type": "text", "text": "a"}, {"type": "tool_call", "name": "f", "arguments": {"x": 1}}]},
            {"role": "user", "content": [{"type": "tool_result", "id": "d", "content": [{"type": "text", "text": result}]}]},
        ]);
        let image =
            format!("AAAA\x1fAAAA\x1f{}\x1f", String::from_utf8(4_usize.to_le_bytes().to_vec()).unwrap());
        let text = format!(
            "user\x1f{image}{question}\nand\x1fassistant\x1fa\x1ff\x1f{{\"x\":1}}\x1ftool\x1f{result}\x1f"
        );
        let wanted = Prefix::of(&raw(&text));
        for messages in [flat, parts] {
            let messages: Vec<Message> = serde_json::from_value(messages).unwrap();
            let prefix = Prefix::of(&chat(&messages));
            assert_eq!((prefix.bytes, &prefix.blocks), (wanted.bytes, &wanted.blocks));
        }
    }

    #[test]
    fn tools_stand_before_what_is_said() {
        let messages = vec![message("system", "s"), message("user", &"u".repeat(2000))];
        let with = |name: &str| {
            let tools = vec![json!({"name": name})];
            Prefix::of(&Request::Chat(Chat { messages: messages.clone(), tools, ..Chat::default() }))
        };
        assert_eq!(common(&with("a").blocks, &with("b").blocks), 0);
        assert_eq!(with("a"), with("a"));
    }

    #[test]
    fn ids_and_thinking_do_not_part_conversations_and_calls_do() {
        let call = |id: &str, name: &str| {
            let call = super::super::ToolCall { id: id.into(), name: name.into(), ..Default::default() };
            let thinking = Part::Thinking { text: id.to_owned(), signature: String::new() };
            let content = vec![thinking, Part::ToolCall(call)];
            let said = Message { role: "assistant".into(), content, ..Message::default() };
            Prefix::of(&chat(&[said, message("tool", &"r".repeat(2000))]))
        };
        assert_eq!(call("1", "f"), call("2", "f"));
        assert_eq!(common(&call("1", "f").blocks, &call("1", "g").blocks), 0);
    }

    #[test]
    fn a_long_prompt_has_a_bounded_number_of_hashes_and_its_whole_length() {
        let prefix = Prefix::of(&raw(&"x".repeat(1 << 20)));
        assert_eq!((prefix.blocks.len(), prefix.bytes), (BLOCKS, 1 << 20));
    }

    proptest! {
        #[test]
        fn blocks_are_common_exactly_as_far_as_the_texts_are(
            text in "[a-z]{0,9000}", at in 0_usize..9000, cut in 1_usize..3000,
        ) {
            let whole = Prefix::of(&raw(&text));
            prop_assert_eq!(whole.blocks.len(), text.len() / BLOCK);
            let mut other = text.clone().into_bytes();
            if at < other.len() {
                other[at] = b'!';
                let other = Prefix::of(&raw(&String::from_utf8(other).unwrap()));
                prop_assert_eq!(common(&whole.blocks, &other.blocks), at / BLOCK);
            }
            let fine = Prefix::cut(&raw(&text), None, 64, 40);
            prop_assert_eq!(fine.blocks.len(), (text.len() / 64).min(40));
            if at < text.len() {
                let mut other = text.clone().into_bytes();
                other[at] = b'!';
                let other = Prefix::cut(&raw(&String::from_utf8(other).unwrap()), None, 64, 40);
                prop_assert_eq!(common(&fine.blocks, &other.blocks), (at / 64).min(40));
            }
            // However the text comes in parts, it is the same text.
            let mut parts = Text::default();
            text.as_bytes().chunks(cut).for_each(|part| parts.push(part));
            prop_assert_eq!(parts.prefix(), whole);
        }
    }
}
