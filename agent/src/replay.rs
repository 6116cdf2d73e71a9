//! The replay buffer of one attempt: its frames as they were sent, each with its sequence number, so that what the edge misses
//! can be sent again. The edge puts frames in order and asks for gaps by number (`node/holding.rs` answers).

use echo_bus::message::{Done, Failure, Frame, Piece};

/// The longest answer, in bytes of text and bookkeeping.
const LONGEST: usize = 16 << 20;

/// What a kept frame costs beside its text.
const PLAIN: usize = 24;
const RICH: usize = 256;

/// A frame, small: nearly all frames are one short text.
#[derive(Debug)]
enum Kept {
    Text(Box<str>, Option<u32>),
    Whole(Box<Frame>),
}

/// The answer is longer than an attempt may keep.
#[derive(Debug, PartialEq, Eq)]
pub struct TooLong;

/// The frames of one attempt, numbered from 0 without a gap.
#[derive(Debug)]
pub struct ReplayBuffer {
    kept: Vec<Kept>,
    next: u64,
    cost: usize,
    ended: bool,
    /// Nobody will ask again: only the numbers matter.
    forgetful: bool,
}

impl ReplayBuffer {
    /// An empty buffer; without an edge that could ask again, nothing is kept.
    pub fn new(asked_again: bool) -> Self {
        Self { kept: Vec::new(), next: 0, cost: 0, ended: false, forgetful: !asked_again }
    }

    /// The next frame, numbered by its place.
    pub fn accepted(&mut self, make: impl FnOnce(u64) -> Frame) -> Frame {
        let frame = make(self.next);
        self.keep(&frame);
        frame
    }

    /// The next frame of the answer.
    ///
    /// # Errors
    /// When the answer has grown too long; nothing is kept then.
    pub fn token(&mut self, pieces: Vec<Piece>) -> Result<Frame, TooLong> {
        let frame = Frame::Token { seq: self.next, pieces };
        if self.cost + cost(&frame) > LONGEST {
            return Err(TooLong);
        }
        self.keep(&frame);
        Ok(frame)
    }

    /// The one end of a whole answer, with the pieces that came together with it.
    ///
    /// # Errors
    /// When the answer has grown too long; nothing is kept then.
    pub fn done(&mut self, pieces: Vec<Piece>, done: Box<Done>) -> Result<Frame, TooLong> {
        let frame = Frame::Done { seq: self.next, pieces, done };
        if self.cost + cost(&frame) > LONGEST + RICH {
            return Err(TooLong);
        }
        Ok(self.end(frame))
    }

    /// The one end of an attempt that is no whole answer.
    pub fn failed(&mut self, failure: Failure) -> Frame {
        self.end(Frame::Failed { seq: Some(self.next), failure: Box::new(failure) })
    }

    /// Takes back the last frame, which could not be sent and never will be.
    pub fn take_back(&mut self) {
        if self.next > 0 {
            self.next -= 1;
            self.kept.pop();
            self.ended = false;
        }
    }

    /// The number of the last frame.
    pub fn last(&self) -> Option<u64> {
        self.next.checked_sub(1)
    }

    /// Whether the end is among the frames.
    pub fn ended(&self) -> bool {
        self.ended
    }

    /// The memory in use, roughly.
    pub fn cost(&self) -> usize {
        self.cost
    }

    /// The frames `from` up to and including `to`, as far as they are here.
    pub fn range(&self, from: u64, to: u64) -> Vec<Frame> {
        let wanted = self.kept.iter().zip(0u64..).filter(|(_, seq)| (from..=to).contains(seq));
        wanted.map(|(kept, seq)| kept.frame(seq)).collect()
    }

    fn end(&mut self, frame: Frame) -> Frame {
        self.ended = true;
        self.keep(&frame);
        frame
    }

    fn keep(&mut self, frame: &Frame) {
        self.next += 1;
        self.cost += cost(frame);
        if !self.forgetful {
            self.kept.push(Kept::new(frame));
        }
    }
}

impl Kept {
    fn new(frame: &Frame) -> Self {
        match frame {
            Frame::Token { pieces, .. } if pieces.len() == 1 && is_plain(&pieces[0]) => {
                Self::Text(pieces[0].content.as_str().into(), pieces[0].tokens)
            }
            other => Self::Whole(Box::new(other.clone())),
        }
    }

    fn frame(&self, seq: u64) -> Frame {
        match self {
            Self::Text(text, tokens) => {
                let piece = Piece { tokens: *tokens, ..Piece::text(&**text) };
                Frame::Token { seq, pieces: vec![piece] }
            }
            Self::Whole(frame) => (**frame).clone(),
        }
    }
}

fn is_plain(piece: &Piece) -> bool {
    piece.thinking.is_empty()
        && piece.tool_calls.is_empty()
        && piece.logprobs.is_none()
        && piece.progress.is_none()
        && !piece.last
        && piece.extra.is_none()
        && piece.prompt_tokens.is_none()
}

fn cost(frame: &Frame) -> usize {
    match frame {
        Frame::Token { pieces, .. } => weight(pieces),
        Frame::Done { pieces, .. } => RICH + weight(pieces),
        _ => RICH,
    }
}

/// Pieces in memory, roughly.
pub fn weight(pieces: &[Piece]) -> usize {
    let each = |piece: &Piece| piece.content.len() + if is_plain(piece) { PLAIN } else { rich(piece) };
    pieces.iter().map(each).sum()
}

fn rich(piece: &Piece) -> usize {
    let calls: usize = piece.tool_calls.iter().map(|call| call.name.len() + json(&call.arguments)).sum();
    let values = piece.logprobs.as_deref().map_or(0, json) + piece.progress.as_deref().map_or(0, json);
    let extra: usize =
        piece.extra.iter().flat_map(|extra| extra.iter()).map(|(name, value)| name.len() + json(value)).sum();
    RICH + piece.thinking.len() + calls + values + extra
}

/// A JSON value in memory, roughly.
pub fn json(value: &serde_json::Value) -> usize {
    use serde_json::Value;
    let inside = match value {
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(json).sum(),
        Value::Object(fields) => fields.iter().map(|(name, value)| name.len() + json(value)).sum(),
        _ => 0,
    };
    32 + inside
}

#[cfg(test)]
mod tests {
    use super::*;
    use echo_bus::message::Code;
    use proptest::prelude::*;

    fn numbers(frames: &[Frame]) -> Vec<u64> {
        frames.iter().filter_map(Frame::seq).collect()
    }

    #[test]
    fn what_is_missed_is_sent_again_as_it_was() {
        let mut replay = ReplayBuffer::new(true);
        let mut sent = vec![replay.token(vec![Piece::text("a")]).unwrap()];
        sent.push(replay.token(vec![Piece::text("b"), Piece::text("c")]).unwrap());
        sent.push(replay.done(vec![Piece::text("d")], Box::default()).unwrap());
        assert_eq!(replay.range(0, 9), sent);
        assert_eq!(numbers(&replay.range(1, 1)), [1]);
        assert!(replay.ended() && replay.last() == Some(2));
    }

    #[test]
    fn an_endless_answer_is_stopped() {
        let mut replay = ReplayBuffer::new(true);
        let mebibyte = "x".repeat(1 << 20);
        let sent = (0..100).take_while(|_| replay.token(vec![Piece::text(&mebibyte)]).is_ok()).count();
        assert_eq!(sent, 15);
        assert_eq!(replay.done(vec![Piece::text(&mebibyte)], Box::default()), Err(TooLong));
        assert!(matches!(
            replay.failed(Failure::give_up(Code::EngineError, "x")),
            Frame::Failed { seq: Some(15), .. }
        ));
    }

    #[test]
    fn without_an_edge_nothing_is_kept_and_the_numbers_go_on() {
        let mut replay = ReplayBuffer::new(false);
        replay.token(vec![Piece::text("a")]).unwrap();
        assert_eq!(replay.token(vec![Piece::text("b")]).unwrap().seq(), Some(1));
        assert!(replay.range(0, 9).is_empty());
    }

    #[test]
    fn a_frame_that_cannot_be_sent_gives_its_number_back() {
        let mut replay = ReplayBuffer::new(true);
        replay.token(vec![Piece::text("a")]).unwrap();
        replay.done(Vec::new(), Box::default()).unwrap();
        replay.take_back();
        assert!(!replay.ended());
        assert_eq!(replay.failed(Failure::give_up(Code::EngineError, "x")).seq(), Some(1));
        assert_eq!(numbers(&replay.range(0, 9)), [0, 1]);
    }

    proptest! {
        #[test]
        fn a_replay_buffer_gives_back_what_it_took(texts in prop::collection::vec((".{0,8}", ".{0,3}"), 0..40)) {
            let mut replay = ReplayBuffer::new(true);
            let take = |(content, thinking): &(String, String)| Piece {
                content: content.clone(), thinking: thinking.clone(), last: content.len() == 3, ..Piece::default()
            };
            let sent: Vec<Frame> = texts.iter().map(|it| replay.token(vec![take(it)]).unwrap()).collect();
            prop_assert_eq!(numbers(&sent), (0..sent.len() as u64).collect::<Vec<_>>());
            prop_assert_eq!(replay.range(0, u64::MAX), sent);
        }
    }
}
