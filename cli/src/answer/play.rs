//! One question, and its answer on the screen, until it ends or somebody has enough of it.

use std::io;
use std::pin::pin;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::facts::Facts;
use super::screen::Screen;
use super::stream::{Answer, News};
use super::waiting::Waiting;
use crate::edge::Edge;

/// How long the head of an answer takes at most: an edge waits so long for the first piece, and then tells the task's id,
/// without which nobody can cancel it.
const HEAD: Duration = Duration::from_secs(3);

/// How it ended.
#[derive(Debug)]
pub enum Outcome {
    Whole(Box<Facts>),
    /// Somebody wanted no more of it.
    Stopped,
    /// Nobody reads what is written.
    Unheard,
}

/// What was said, and how it ended.
pub struct Played {
    pub content: String,
    pub thinking: String,
    pub outcome: Result<Outcome>,
}

/// Asks and shows the answer; without a screen it is only gathered.
pub async fn play(
    edge: &Edge,
    body: &Value,
    mut screen: Option<&mut Screen>,
    waiting: Waiting,
    stop: impl Future<Output = ()>,
) -> Played {
    let mut played =
        Played { content: String::new(), thinking: String::new(), outcome: Ok(Outcome::Stopped) };
    played.outcome = played.run(edge, body, screen.as_deref_mut(), waiting, stop).await;
    if let Some(screen) = screen
        && let Err(error) = screen.end()
        && played.outcome.is_ok()
    {
        played.outcome = unwritten(error);
    }
    played
}

impl Played {
    async fn run(
        &mut self,
        edge: &Edge,
        body: &Value,
        mut screen: Option<&mut Screen>,
        mut waiting: Waiting,
        stop: impl Future<Output = ()>,
    ) -> Result<Outcome> {
        let (mut stop, mut begin) = (pin!(stop), pin!(Answer::begin(edge, body)));
        let mut answer = tokio::select! {
            answer = &mut begin => answer?,
            () = &mut stop => {
                if let Ok(Ok(answer)) = tokio::time::timeout(HEAD, begin).await {
                    answer.cancel().await;
                }
                return Ok(Outcome::Stopped);
            }
        };
        loop {
            let news = tokio::select! {
                news = answer.next() => news?,
                () = &mut stop => {
                    waiting.end();
                    // Now, because a second Ctrl-C ends the process where it is.
                    let ended = screen.map_or(Ok(()), Screen::end);
                    answer.cancel().await;
                    return ended.map_or_else(unwritten, |()| Ok(Outcome::Stopped));
                }
            };
            match news {
                News::Queued { position, wait } => waiting.queued(position, wait),
                News::On { node, model } => waiting.on(&node, &model),
                News::End(facts) => return Ok(Outcome::Whole(facts)),
                News::Piece { text, thinking } => {
                    waiting.end();
                    if let Err(error) = self.piece(&text, &thinking, screen.as_deref_mut()) {
                        answer.cancel().await;
                        return unwritten(error);
                    }
                }
            }
        }
    }

    fn piece(&mut self, text: &str, thinking: &str, screen: Option<&mut Screen>) -> io::Result<()> {
        self.content.push_str(text);
        self.thinking.push_str(thinking);
        screen.map_or(Ok(()), |screen| screen.piece(text, thinking))
    }
}

/// Whoever closes a pipe has read enough; that is no error.
fn unwritten(error: io::Error) -> Result<Outcome> {
    if error.kind() == io::ErrorKind::BrokenPipe {
        return Ok(Outcome::Unheard);
    }
    Err(error).context("the answer cannot be written")
}
