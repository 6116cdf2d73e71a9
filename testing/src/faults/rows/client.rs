//! Clients that go away or do not read.

use std::time::{Duration, Instant};

use futures::{StreamExt, future::join_all, stream::iter};

use super::super::{fixture::Fixture, judge::Verdict, order::Order, row::Row, setting::Setting};
use crate::{
    client::{Half, last_words},
    mesh::{holds, until},
};

/// A slot is free within this time after its client has gone.
const FREED: Duration = Duration::from_secs(1);
/// What the edge may keep for clients that do not read.
const KEPT: u64 = 64 << 20;

/// Of each kind.
const HALVES: usize = 500;
/// All of them are closed within this time: their limits are a second each, and they are many.
const CLOSED: Duration = Duration::from_secs(10);

pub fn rows() -> Vec<Row> {
    let freed = "engine stopped, slot free, the next task answered in under 1 s";
    vec![
        Row::new("hang-up-streaming", Setting::Pair, streaming)
            .says("client hangs up, streaming: before the first token or later", freed)
            .whole(FREED),
        Row::new("hang-up-whole", Setting::Pair, whole)
            .says("client hangs up, not streaming", freed)
            .whole(FREED),
        Row::new("hang-up-queued", Setting::Pair, queued)
            .says("client hangs up in the queue", "its task never reaches an engine")
            .whole(FREED),
        Row::new("slow-client", Setting::Broad, slow)
            .says(
                "two clients that do not read",
                "nobody else waits; the edge keeps less than 64 MiB for them",
            )
            .whole(FREED),
        Row::new("half-connections", Setting::Doors, halves)
            .says(
                "500 half heads, half bodies and idle connections of each kind",
                "closed in time, bodies with 408; 50 streams slower than all limits are whole",
            )
            .alone()
            .runs(1),
    ]
}

fn cancelled(fixture: &Fixture) -> u64 {
    fixture.mesh.nodes().iter().map(|node| node.engine().counters().cancelled).sum()
}

/// From the moment when the client has gone.
async fn is_freed(fixture: &Fixture, before: u64) {
    let since = Instant::now();
    until("the engine to be stopped", || async { holds(cancelled(fixture) > before, "it goes on") }).await;
    fixture.whole_since(since).await;
}

async fn streaming(fixture: &Fixture) {
    let before = cancelled(fixture);
    if fixture.pick(0..3) == 0 {
        let asked = fixture.ask(&Order::tokens(5).with("[first=60000]"));
        fixture.mesh.worker().await;
        fixture.hang_up(asked);
    } else {
        let mut asked = fixture.ask(&Order::tokens(100_000).delay(10));
        let read = usize::try_from(fixture.pick(1..40)).expect("small");
        asked.stream.read_tokens(read).await;
        fixture.hang_up(asked);
    }
    is_freed(fixture, before).await;
}

async fn whole(fixture: &Fixture) {
    let (before, number) = (cancelled(fixture), fixture.number());
    let body = Order::tokens(100_000).delay(10).body(number);
    let task = tokio::spawn(fixture.mesh.client().post("/task", &body).send());
    fixture.mesh.worker().await;
    tokio::time::sleep(Duration::from_millis(fixture.pick(0..300))).await;
    task.abort();
    fixture.left(number, &Verdict::Answered);
    is_freed(fixture, before).await;
}

async fn queued(fixture: &Fixture) {
    let long = Order::tokens(100_000).delay(10);
    let mut running = [fixture.ask(&long), fixture.ask(&long)];
    for asked in &mut running {
        asked.stream.read_tokens(1).await;
    }
    let mut waiting = fixture.ask(&Order::tokens(5));
    waiting.stream.comment("queued").await;
    let number = waiting.number;
    fixture.hang_up(waiting);
    let before = cancelled(fixture) + 1;
    running.into_iter().for_each(|asked| drop(fixture.hang_up(asked)));
    is_freed(fixture, before).await;
    let times = fixture.times(number).await;
    fixture.promise(times.started == 0, || "a task of nobody reached an engine".to_owned());
}

async fn slow(fixture: &Fixture) {
    let before = (fixture.mesh.edge(0).resident(), cancelled(fixture) + 1);
    // Far more than any socket holds.
    let unread = [fixture.ask(&Order::tokens(2_000_000)), fixture.ask(&Order::tokens(2_000_000))];
    for _ in 0..5 {
        let began = Instant::now();
        join_all((0..2).map(|_| async { fixture.answered(fixture.ask(&Order::tokens(20))).await })).await;
        let took = began.elapsed();
        fixture.promise(took < FREED, || format!("others wait for {took:?}"));
    }
    let grown = fixture.mesh.edge(0).resident().saturating_sub(before.0);
    fixture.promise(grown < KEPT, || format!("the edge keeps {} MiB", grown >> 20));
    unread.into_iter().for_each(|asked| drop(fixture.hang_up(asked)));
    is_freed(fixture, before.1).await;
}

async fn halves(fixture: &Fixture) {
    echo_bus::process::raise_open_files();
    let files = fixture.mesh.edge(0).open_files();
    let address = fixture.mesh.edge(0).address();
    // The first token comes after all of the limits, and every further one, too.
    let streams: Vec<_> = (0..50).map(|_| fixture.ask(&Order::tokens(3).delay(2_500))).collect();
    fixture.mesh.worker().await;
    let kinds = Half::ALL.iter().flat_map(|half| std::iter::repeat_n(*half, HALVES));
    let asked: Vec<_> = iter(kinds)
        .map(async |half| {
            // On a machine that is busy beyond measure the time for a head is over before it was sent.
            let said =
                until("a connection", || async { half.say(address).await.map_err(|it| it.to_string()) });
            (half, said.await)
        })
        .buffer_unordered(250)
        .collect()
        .await;
    let ends = join_all(asked.into_iter().map(async |(half, stream)| (half, last_words(stream).await)));
    let ended = tokio::time::timeout(CLOSED, ends).await;
    fixture.promise(ended.is_ok(), || format!("not all were closed within {CLOSED:?}"));
    let bodies = ended.iter().flatten().filter(|(half, _)| *half == Half::Body);
    let told = bodies.filter(|(_, words)| words.starts_with(b"HTTP/1.1 408")).count();
    fixture.promise(told == HALVES, || format!("{told} half bodies were told that they are"));
    join_all(streams.into_iter().map(|asked| fixture.answered(asked))).await;
    until("their files to be closed", || async {
        let open = fixture.mesh.edge(0).open_files();
        holds(open <= files + 5, format!("{open} files and not {files}"))
    })
    .await;
    fixture.whole_since(Instant::now()).await;
}
