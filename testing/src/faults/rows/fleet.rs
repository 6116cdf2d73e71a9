//! Several parts of one kind: twins, spares, and restarts one after the other.

use std::{
    cell::{Cell, RefCell},
    time::{Duration, Instant},
};

use futures::future::join_all;

use super::super::{
    fixture::{Fixture, attempts},
    judge,
    order::Order,
    row::Row,
    setting::Setting,
};
use crate::mesh::{holds, until};

const CLIENTS: usize = 8;

pub fn rows() -> Vec<Row> {
    vec![
        Row::new("two-agents", Setting::Pair, two_agents).says(
            "two agents with one node id",
            "the second leaves with a clear message, the first goes on; no task runs twice",
        ),
        Row::new("spares-killed", Setting::Fleet, spares_killed)
            .says(
                "one of two orchestrators and one of two edges killed under load",
                "no task twice, none lost but those whose connection the killed edge cut",
            )
            .unclear(),
        Row::new("rolling-restart", Setting::Fleet, rolling_restart).says(
            "rolling restart (SIGTERM) of all agents under load",
            "no request fails, nothing is cut off",
        ),
    ]
}

async fn two_agents(fixture: &Fixture) {
    let mut asked = fixture.ask(&Order::tokens(40).delay(20));
    let node = asked.stream.node().await;
    let engine = fixture.mesh.engine(&node);
    let twin = fixture.mesh.agent(&node, &engine.url(), &engine.script());
    twin.launch().await;
    let status = twin.exit().await;
    let words = twin.logs().tail(10);
    fixture.promise(status.code() == Some(2) && words.contains(&node), || format!("{status}: {words}"));
    let number = asked.number;
    let answer = fixture.answered(asked).await;
    fixture.promise(attempts(&answer) == 1 && fixture.mesh.node(&node).runs(), || {
        format!("the first one suffered: {}", answer.summary())
    });
    fixture.whole_since(Instant::now()).await;
    fixture.once([number]).await;
}

/// When the edge with this number was killed, and when it was back.
#[derive(Default)]
struct Outages(RefCell<Vec<(Instant, Option<Instant>)>>);

impl Outages {
    fn begin(&self) {
        self.0.borrow_mut().push((Instant::now(), None));
    }

    fn end(&self) {
        if let Some(last) = self.0.borrow_mut().last_mut() {
            last.1 = Some(Instant::now());
        }
    }

    fn touched(&self, since: Instant) -> bool {
        self.0.borrow().iter().any(|(_, end)| end.is_none_or(|end| end > since))
    }
}

/// Asks again and again at one edge. A connection that the death of its edge cuts is the client's to see.
async fn client(fixture: &Fixture, edge: usize, outages: &Outages, over: &Cell<bool>) {
    let order = Order::tokens(20).delay(5);
    while !over.get() {
        let since = Instant::now();
        let mut asked = fixture.ask_at(edge, &order);
        while asked.stream.next().await.is_some() {}
        if asked.stream.so_far().broken.is_some() && edge == 1 && outages.touched(since) {
            // A connection that is refused while the edge is away is no task.
            if asked.stream.so_far().status > 0 {
                let (number, seen) = (asked.number, asked.stream.hang_up());
                fixture.left(number, &judge::beginning(&seen));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        } else {
            fixture.answered(asked).await;
        }
    }
}

/// Plays it under the load of all clients.
async fn under_load(fixture: &Fixture, edges: usize, outages: &Outages, events: impl AsyncFnOnce()) {
    let over = Cell::new(false);
    let clients = join_all((0..CLIENTS).map(|number| client(fixture, number % edges, outages, &over)));
    let events = async {
        events().await;
        over.set(true);
        Instant::now()
    };
    let (_, last) = futures::join!(clients, events);
    fixture.whole_since(last).await;
}

async fn spares_killed(fixture: &Fixture) {
    let outages = Outages::default();
    under_load(fixture, 2, &outages, async || {
        tokio::time::sleep(Duration::from_millis(fixture.pick(50..200))).await;
        let orchestrator = fixture.mesh.orchestrator(usize::try_from(fixture.pick(0..2)).expect("small"));
        orchestrator.kill().await;
        tokio::time::sleep(Duration::from_millis(fixture.pick(50..300))).await;
        outages.begin();
        fixture.mesh.edge(1).kill().await;
        tokio::time::sleep(Duration::from_millis(fixture.pick(0..200))).await;
        futures::join!(orchestrator.start(), fixture.mesh.edge(1).start());
        outages.end();
    })
    .await;
}

async fn takes_work(fixture: &Fixture, node: &str) {
    until("the node to take work again", || async {
        let seen = fixture.mesh.seen(node).await;
        holds(seen["status"] == "idle" || seen["status"] == "busy", seen)
    })
    .await;
}

async fn rolling_restart(fixture: &Fixture) {
    let cut_off = || -> u64 {
        let counters = fixture.mesh.nodes().iter().map(|node| node.engine().counters());
        counters.map(|counters| counters.cancelled + counters.resumed).sum()
    };
    let before = cut_off();
    let whole = Order::tokens(20).delay(5);
    under_load(fixture, 2, &Outages::default(), async || {
        for node in fixture.mesh.nodes() {
            let (status, ()) = futures::join!(node.stop(), fixture.whole_answered(&whole));
            fixture.promise(status.success(), || format!("{} ended with {status}", node.name()));
            node.start().await;
            takes_work(fixture, node.id()).await;
        }
    })
    .await;
    fixture.promise(cut_off() == before, || "an answer was cut off".to_owned());
}
