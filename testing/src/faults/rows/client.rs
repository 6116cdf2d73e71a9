//! Clients that go away or do not read.

use std::time::{Duration, Instant};

use futures::{StreamExt, future::join_all, stream::iter};

use super::super::{judge::Verdict, order::Order, row::Row, setting::Setting, stage::Stage};
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

fn cancelled(stage: &Stage) -> u64 {
    stage.mesh.nodes().iter().map(|node| node.engine().counters().cancelled).sum()
}

/// From the moment when the client has gone.
async fn is_freed(stage: &Stage, before: u64) {
    let since = Instant::now();
    until("the engine to be stopped", || async { holds(cancelled(stage) > before, "it goes on") }).await;
    stage.whole_since(since).await;
}

async fn streaming(stage: &Stage) {
    let before = cancelled(stage);
    if stage.pick(0..3) == 0 {
        let asked = stage.ask(&Order::tokens(5).with("[first=60000]"));
        stage.mesh.worker().await;
        stage.hang_up(asked);
    } else {
        let mut asked = stage.ask(&Order::tokens(100_000).delay(10));
        let read = usize::try_from(stage.pick(1..40)).expect("small");
        asked.stream.read_tokens(read).await;
        stage.hang_up(asked);
    }
    is_freed(stage, before).await;
}

async fn whole(stage: &Stage) {
    let (before, number) = (cancelled(stage), stage.number());
    let body = Order::tokens(100_000).delay(10).body(number);
    let task = tokio::spawn(stage.mesh.client().post("/task", &body).send());
    stage.mesh.worker().await;
    tokio::time::sleep(Duration::from_millis(stage.pick(0..300))).await;
    task.abort();
    stage.left(number, &Verdict::Answered);
    is_freed(stage, before).await;
}

async fn queued(stage: &Stage) {
    let long = Order::tokens(100_000).delay(10);
    let mut running = [stage.ask(&long), stage.ask(&long)];
    for asked in &mut running {
        asked.stream.read_tokens(1).await;
    }
    let mut waiting = stage.ask(&Order::tokens(5));
    waiting.stream.comment("queued").await;
    let number = waiting.number;
    stage.hang_up(waiting);
    let before = cancelled(stage) + 1;
    running.into_iter().for_each(|asked| drop(stage.hang_up(asked)));
    is_freed(stage, before).await;
    let times = stage.times(number).await;
    stage.promise(times.started == 0, || "a task of nobody reached an engine".to_owned());
}

async fn slow(stage: &Stage) {
    let before = (stage.mesh.edge(0).resident(), cancelled(stage) + 1);
    // Far more than any socket holds.
    let unread = [stage.ask(&Order::tokens(2_000_000)), stage.ask(&Order::tokens(2_000_000))];
    for _ in 0..5 {
        let began = Instant::now();
        join_all((0..2).map(|_| async { stage.answered(stage.ask(&Order::tokens(20))).await })).await;
        let took = began.elapsed();
        stage.promise(took < FREED, || format!("others wait for {took:?}"));
    }
    let grown = stage.mesh.edge(0).resident().saturating_sub(before.0);
    stage.promise(grown < KEPT, || format!("the edge keeps {} MiB", grown >> 20));
    unread.into_iter().for_each(|asked| drop(stage.hang_up(asked)));
    is_freed(stage, before.1).await;
}

async fn halves(stage: &Stage) {
    echo_bus::process::raise_open_files();
    let files = stage.mesh.edge(0).open_files();
    let address = stage.mesh.edge(0).address();
    // The first token comes after all of the limits, and every further one, too.
    let streams: Vec<_> = (0..50).map(|_| stage.ask(&Order::tokens(3).delay(2_500))).collect();
    stage.mesh.worker().await;
    let kinds = Half::ALL.iter().flat_map(|half| std::iter::repeat_n(*half, HALVES));
    let asked: Vec<_> = iter(kinds)
        .map(async |half| (half, half.say(address).await.expect("a connection")))
        .buffer_unordered(250)
        .collect()
        .await;
    let ends = join_all(asked.into_iter().map(async |(half, stream)| (half, last_words(stream).await)));
    let ended = tokio::time::timeout(CLOSED, ends).await;
    stage.promise(ended.is_ok(), || format!("not all were closed within {CLOSED:?}"));
    let bodies = ended.iter().flatten().filter(|(half, _)| *half == Half::Body);
    let told = bodies.filter(|(_, words)| words.starts_with(b"HTTP/1.1 408")).count();
    stage.promise(told == HALVES, || format!("{told} half bodies were told that they are"));
    join_all(streams.into_iter().map(|asked| stage.answered(asked))).await;
    until("their files to be closed", || async {
        let open = stage.mesh.edge(0).open_files();
        holds(open <= files + 5, format!("{open} files and not {files}"))
    })
    .await;
    stage.whole_since(Instant::now()).await;
}
