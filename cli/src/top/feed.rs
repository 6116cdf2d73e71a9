//! The stream of `GET /mesh/watch`, opened again by itself whenever it breaks.

use std::time::Duration;

use anyhow::{Result, bail};
use tokio::sync::mpsc;

use super::event::Event;
use crate::clean::Clean;
use crate::edge::Edge;

/// Events that wait to be taken. Where more do, the stream is read no further, and the edge lets go of who is too slow.
const WAITING: usize = 16;
/// How long an edge may take to begin.
const BEGIN: Duration = Duration::from_secs(5);
/// The edge gives a sign of life every ten seconds. A stream may be open and lead nowhere.
const LATE: Duration = Duration::from_secs(15);
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Follows it until the receiver is dropped.
pub fn follow(edge: Edge) -> mpsc::Receiver<Event> {
    let (tell, events) = mpsc::channel(WAITING);
    tokio::spawn(async move {
        let mut pause = FIRST_PAUSE;
        loop {
            let mut came = false;
            let Err(error) = stream(&edge, &tell, &mut came).await else { return };
            if tell.send(Event::Broken(Clean::of(&format!("{error:#}")))).await.is_err() {
                return;
            }
            pause = if came { FIRST_PAUSE } else { (pause * 2).min(LONGEST_PAUSE) };
            // Many who watch one edge do not come back all at once.
            tokio::time::sleep(pause.mul_f64(rand::random_range(0.75..1.25))).await;
        }
    });
    events
}

/// One stream to its end, which is an error; `Ok` when nobody wants it any more.
async fn stream(edge: &Edge, tell: &mpsc::Sender<Event>, came: &mut bool) -> Result<()> {
    let Ok(opened) = tokio::time::timeout(BEGIN, edge.events("/mesh/watch")).await else {
        bail!("the edge at {} does not answer", edge.shown());
    };
    let mut events = opened?;
    loop {
        let Ok(next) = tokio::time::timeout(LATE, events.next()).await else {
            bail!("the edge is silent");
        };
        let Some(next) = next? else { bail!("the edge has ended the stream") };
        *came = true;
        if tell.send(Event::read(&next.name, &next.data)).await.is_err() {
            return Ok(());
        }
    }
}
