//! Everything that may break, broken for real, and what the user must see, as far as no row of the
//! table says it: `echo-faults` plays those.

mod agent;
mod broker;
mod clock;
mod continuation;
mod drain;
mod edge;
mod engine;
mod mistakes;
mod orchestrator;
mod partial;
mod pause;
mod twins;

use std::cell::Cell;

use echo_testing::{
    client::Transcript,
    mesh::{Mesh, holds},
};
use futures::future::join_all;
use tokio_util::sync::CancellationToken;

/// What the edge logs when it was refused by the bus: no orchestrator subscribes, or there is no connection.
const NOBODY_TAKES_IT: &str = "nobody took the task yet";

/// Clients that ask without a pause until they are told to stop; every answer must be whole.
async fn load(
    mesh: &Mesh,
    clients: usize,
    answered: &Cell<usize>,
    stop: &CancellationToken,
) -> Vec<Transcript> {
    let client = async || {
        let mut answers = Vec::new();
        while !stop.is_cancelled() {
            answers.push(mesh.ask("count [tokens=20] [delay=5]").rest().await);
            answered.set(answered.get() + 1);
        }
        answers
    };
    join_all((0..clients).map(|_| client())).await.concat()
}

/// Runs `events` under the load of `clients`, and checks that every client got whole answers.
async fn nobody_notices(mesh: &Mesh, clients: usize, events: impl Future<Output = ()>) {
    let (answered, stop) = (Cell::new(0), CancellationToken::new());
    let (answers, ()) = tokio::join!(load(mesh, clients, &answered, &stop), async {
        events.await;
        // Whoever was held up by the last event goes on, and asks again.
        mesh.until("every client to be answered, and some of them again", || async {
            holds(answered.get() > 2 * clients, format!("{} answers", answered.get()))
        })
        .await;
        stop.cancel();
    });
    for answer in answers {
        answer.assert_every_token_once(20);
    }
    mesh.is_quiet().await;
}
