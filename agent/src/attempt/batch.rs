//! What travels together: the steps that are already waiting, and whether they fit into one frame.

use std::task::Poll;

use echo_bus::message::{Done, Failure, Piece};
use futures::StreamExt;
use futures::stream::BoxStream;

use crate::engine::Step;
use crate::replay;

/// Pieces that were already waiting travel in one frame, up to so many and so many bytes.
pub const PIECES: usize = 64;
pub const BYTES: usize = 32 << 10;

pub type Steps = BoxStream<'static, Result<Step, Failure>>;

/// The next step, if it is here already. The connection is read by who asks here: what has come is found at once.
pub async fn waiting(steps: &mut Steps) -> Option<Option<Result<Step, Failure>>> {
    match futures::poll!(steps.next()) {
        Poll::Ready(step) => Some(step),
        Poll::Pending => None,
    }
}

/// What fits the bus alone must not be too much together.
pub fn fit_together(pieces: &[Piece], done: &Done) -> bool {
    const MOST: usize = 256 << 10;
    let extra = || done.extra.values().map(replay::json).sum::<usize>();
    done.body.is_none() && done.vectors.is_none() && replay::weight(pieces) + extra() < MOST
}

pub fn weight(piece: &Piece) -> usize {
    let calls: usize = piece.tool_calls.iter().map(|call| call.name.len() + 64).sum();
    piece.content.len() + piece.thinking.len() + calls + 16
}
