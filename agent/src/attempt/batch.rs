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

/// The next step, if it is here already. The connection is read by who asks here: what has come is found at once. An engine
/// that writes without a pause must not keep the others of this thread waiting, so after some steps they have a turn.
pub async fn waiting(steps: &mut Steps) -> Option<Option<Result<Step, Failure>>> {
    tokio::task::consume_budget().await;
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[tokio::test]
    async fn an_engine_without_a_pause_leaves_others_their_turn() {
        let mut steps: Steps = futures::stream::repeat_with(|| Ok(Step::Alive)).boxed();
        let had_turn = Arc::new(AtomicBool::new(false));
        let other = had_turn.clone();
        tokio::spawn(async move { other.store(true, Ordering::SeqCst) });
        for _ in 0..4 * PIECES {
            assert!(waiting(&mut steps).await.is_some());
        }
        assert!(had_turn.load(Ordering::SeqCst));
    }
}
