//! What a server with OpenAI's API counts while it streams, if it does: llama.cpp by its timings, vLLM by its usage.

use echo_bus::message::Piece;

/// The counts that pieces have told so far.
#[derive(Debug, Default)]
pub struct Counting {
    /// Tokens in the pieces so far.
    told: u64,
    told_prompt: bool,
    /// A piece came without a count: later counts say nothing of single pieces any more.
    lost: bool,
}

impl Counting {
    /// Says in a piece what it adds to the counts so far.
    pub fn mark(&mut self, piece: &mut Piece, prompt: Option<u64>, tokens: Option<u64>) {
        let added = tokens.and_then(|tokens| tokens.checked_sub(self.told)).filter(|_| !self.lost);
        piece.tokens = added.and_then(|added| u32::try_from(added).ok());
        self.lost |= piece.tokens.is_none();
        self.told = tokens.unwrap_or(self.told);
        if piece.tokens.is_some() && !self.told_prompt {
            piece.prompt_tokens = prompt.and_then(|prompt| u32::try_from(prompt).ok());
            self.told_prompt = piece.prompt_tokens.is_some();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marked(counting: &mut Counting, tokens: Option<u64>) -> Piece {
        let mut piece = Piece::text("a");
        counting.mark(&mut piece, Some(10), tokens);
        piece
    }

    #[test]
    fn each_piece_says_what_it_adds_and_the_first_the_prompt() {
        let mut counting = Counting::default();
        let first = Piece { tokens: Some(3), prompt_tokens: Some(10), ..Piece::text("a") };
        assert_eq!(marked(&mut counting, Some(3)), first);
        assert_eq!(marked(&mut counting, Some(5)), Piece { tokens: Some(2), ..Piece::text("a") });
    }

    #[test]
    fn a_count_of_all_at_the_end_is_not_that_of_the_last_piece() {
        let mut counting = Counting::default();
        assert_eq!(marked(&mut counting, None), Piece::text("a"));
        assert_eq!(marked(&mut counting, Some(9)), Piece::text("a"));
    }

    #[test]
    fn a_count_that_goes_back_is_none() {
        let mut counting = Counting::default();
        marked(&mut counting, Some(3));
        assert_eq!(marked(&mut counting, Some(2)).tokens, None);
    }
}
