//! The chaos: agents, engines, orchestrators and the broker are killed and stopped at random, several at a time.
//! Not the edge: it alone owns the tasks, and a client whose edge is killed sees its connection end.

use std::time::{Duration, Instant};

use futures::future::join_all;
use rand::Rng;
use tokio::time::sleep;

use super::{fixture::Fixture, load, row::Row, setting::Setting};
use crate::mesh::Program;

const CLIENTS: usize = 50;

pub fn row(lasts: Duration) -> Row {
    Row::new("chaos", Setting::Chaos, async move |fixture: &Fixture| chaos(fixture, lasts).await)
        .says(
            "chaos: 50 clients; agents, engines, orchestrators and broker killed and stopped at random",
            "every request is answered or honestly refused within its deadline, every count is 0 at the end",
        )
        .whole(None)
        .unclear()
        .alone()
        .runs(1)
}

async fn chaos(fixture: &Fixture, lasts: Duration) {
    let began = Instant::now();
    let more = || began.elapsed() < lasts;
    let clients = join_all((0..CLIENTS).map(|_| load::client(fixture, fixture.chances(), more)));
    let mesh = &fixture.mesh;
    let agents = plague(mesh.nodes().iter().map(|node| -> &Program { node }).collect(), fixture, 800, &more);
    let orchestrators = plague(vec![mesh.orchestrator(0), mesh.orchestrator(1)], fixture, 1500, &more);
    let broker = plague(vec![&mesh.broker], fixture, 5000, &more);
    let mended = async {
        futures::join!(agents, orchestrators, broker, engines(fixture, &more));
        Instant::now()
    };
    let (_, mended) = futures::join!(clients, mended);
    fixture.whole_since(mended).await;
}

/// Kills or stops one of the programs after the other, with pauses of `rest` milliseconds on average.
async fn plague(programs: Vec<&Program>, fixture: &Fixture, rest: u64, more: &impl Fn() -> bool) {
    let mut chance = fixture.chances();
    loop {
        sleep(Duration::from_millis(chance.random_range(rest / 2..rest * 3 / 2))).await;
        if !more() {
            break;
        }
        let program = programs[chance.random_range(0..programs.len())];
        if chance.random_bool(0.5) {
            program.kill().await;
            sleep(Duration::from_millis(chance.random_range(0..1000))).await;
            // It may start before the broker is back; the end of the chaos waits for everybody.
            program.launch().await;
        } else {
            program.pause().await;
            sleep(Duration::from_millis(chance.random_range(100..3500))).await;
            program.resume();
        }
    }
}

/// Kills or stops one engine after the other.
async fn engines(fixture: &Fixture, more: &impl Fn() -> bool) {
    let mut chance = fixture.chances();
    loop {
        sleep(Duration::from_millis(chance.random_range(1000..3000))).await;
        if !more() {
            break;
        }
        let engine = fixture.mesh.node(chance.random_range(0..fixture.mesh.nodes().len())).engine_program();
        if chance.random_bool(0.5) {
            engine.kill().await;
            sleep(Duration::from_millis(chance.random_range(0..1500))).await;
            engine.restart().await;
        } else {
            engine.pause();
            sleep(Duration::from_millis(chance.random_range(100..4000))).await;
            engine.resume();
        }
    }
}
