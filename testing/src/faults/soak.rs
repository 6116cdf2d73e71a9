//! The soak: thousands of tasks from many clients while agents are killed and stopped and engines fail.

use std::{
    cell::Cell,
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

use async_nats::Message;
use futures::future::join_all;
use rand::{Rng, rngs::StdRng};
use tokio::time::sleep;

use super::{fixture::Fixture, load, row::Row, setting::Setting};
use crate::mesh::{Node, Observer, Program, holds, until};

const CLIENTS: usize = 32;
/// What may be kept for some seconds after a task, and the slack of the allocator.
const SLACK: u64 = 16 << 20;

pub fn row(tasks: u64) -> Row {
    Row::new("soak", Setting::Soak, async move |fixture: &Fixture| soak(fixture, tasks).await)
        .says(
            "soak: 32 clients, 3 nodes; agents killed and stopped, engines failing, clients hanging up",
            "every task ends exactly once, every count is 0 at the end, memory is bounded",
        )
        .whole(None)
        .unclear()
        .runs(1)
}

async fn soak(fixture: &Fixture, tasks: u64) {
    let events = Observer::watch(&fixture.mesh.broker.url(), "echo.event.task.>").await;
    let asked = Cell::new(0);
    let more = || asked.replace(asked.get() + 1) < tasks;
    let memory = Cell::new(None);
    let clients = join_all((0..CLIENTS).map(|_| load::client(fixture, fixture.chances(), more)));
    let half = async {
        while asked.get() < tasks / 2 {
            sleep(Duration::from_millis(20)).await;
        }
        memory.set(Some(resident(fixture)));
    };
    let storm = async {
        let mut chance = fixture.chances();
        while asked.get() < tasks {
            strike(fixture, &mut chance).await;
        }
        Instant::now()
    };
    let (_, (), mended) = futures::join!(clients, half, storm);
    fixture.whole_since(mended).await;
    grew(fixture, memory.take().unwrap_or_default());
    ended_once(fixture, &events).await;
}

/// One blow against one agent, and its return.
async fn strike(fixture: &Fixture, chance: &mut StdRng) {
    sleep(Duration::from_millis(chance.random_range(100..600))).await;
    let nodes = fixture.mesh.nodes();
    let node: &Node = &nodes[chance.random_range(0..nodes.len())];
    match chance.random_range(0..10) {
        0..5 => {
            node.kill().await;
            sleep(Duration::from_millis(chance.random_range(0..400))).await;
            node.start().await;
        }
        5..9 => stop_for(node, chance.random_range(100..1500)).await,
        _ => stop_for(node, chance.random_range(2500..4500)).await,
    }
}

async fn stop_for(node: &Program, millis: u64) {
    node.pause().await;
    sleep(Duration::from_millis(millis)).await;
    node.resume();
}

/// The parts that live through the whole soak.
fn resident(fixture: &Fixture) -> Vec<(String, u64)> {
    let parts = [fixture.mesh.edge(0), fixture.mesh.orchestrator(0)];
    parts.map(|part| (part.name().to_owned(), part.resident())).to_vec()
}

fn grew(fixture: &Fixture, half: Vec<(String, u64)>) {
    for ((name, before), (_, after)) in half.into_iter().zip(resident(fixture)) {
        fixture.promise(after < before + before / 4 + SLACK, || {
            format!("{name} grew from {before} to {after} bytes in the second half")
        });
    }
}

/// By the edge's own events: no task ends twice, and each that was lost on the way ends all the same.
async fn ended_once(fixture: &Fixture, events: &Observer) {
    until("an end of every task", || async {
        let (known, ends) = read(&events.seen());
        let open = known.iter().filter(|task| !ends.contains_key(*task)).count();
        holds(open == 0, format!("{open} of {} tasks have no end", known.len()))
    })
    .await;
    for (task, ends) in read(&events.seen()).1 {
        fixture.promise(ends == 1, || format!("task {task} ended {ends} times, by the edge's events"));
    }
}

/// All tasks that events speak of, and how many ends each has.
fn read(events: &[Message]) -> (HashSet<String>, HashMap<String, u64>) {
    let (mut known, mut ends) = (HashSet::new(), HashMap::new());
    for event in events {
        // echo.event.task.<task>.<what>
        let mut words = event.subject.rsplit('.');
        let (Some(what), Some(task)) = (words.next(), words.next()) else { continue };
        known.insert(task.to_owned());
        if ["done", "failed", "cancelled"].contains(&what) {
            *ends.entry(task.to_owned()).or_default() += 1;
        }
    }
    (known, ends)
}
