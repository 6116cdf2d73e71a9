//! Everything that may break, broken for real, and what the user must see: the rows of the table, once each, and what no
//! row says.

mod agent;
mod broker;
mod clock;
mod drain;
mod edge;
mod engine;
mod mistakes;
mod orchestrator;
mod partial;
mod pause;
mod rows;
mod twins;

use echo_testing::{client::Transcript, mesh::Mesh};
use futures::future::join_all;
use tokio_util::sync::CancellationToken;

/// What the edge logs when it was refused by the bus: no orchestrator subscribes, or there is no connection.
const NOBODY_TAKES_IT: &str = "nobody took the task yet";

/// Clients that ask without a pause until they are told to stop; every answer must be whole.
async fn load(mesh: &Mesh, clients: usize, stop: &CancellationToken) -> Vec<Transcript> {
    let client = async || {
        let mut answers = Vec::new();
        while !stop.is_cancelled() {
            answers.push(mesh.ask("count [tokens=20] [delay=5]").rest().await);
        }
        answers
    };
    join_all((0..clients).map(|_| client())).await.concat()
}

/// Runs `events` under the load of `clients`, and checks that every client got whole answers.
async fn nobody_notices(mesh: &Mesh, clients: usize, events: impl Future<Output = ()>) {
    let stop = CancellationToken::new();
    let (answers, ()) = tokio::join!(load(mesh, clients, &stop), async {
        events.await;
        stop.cancel();
    });
    assert!(answers.len() > clients, "hardly any load: {} answers", answers.len());
    for answer in answers {
        answer.assert_every_token_once(20);
    }
    mesh.is_quiet().await;
}
