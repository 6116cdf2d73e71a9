//! Orchestrator and broker go away and come back.

use std::time::{Duration, Instant};

use futures::future::join_all;

use super::super::{
    fixture::{Fixture, attempts},
    order::Order,
    row::{BACK, Row},
    setting::Setting,
};

/// The longest time that the broker stays away.
const AWAY: u64 = 500;

pub fn rows() -> Vec<Row> {
    vec![
        Row::new("orchestrator-killed", Setting::Pair, orchestrator_killed)
            .says(
                "orchestrator killed and restarted; running, queued and new tasks",
                "running answers do not notice (gap < 500 ms), queued and new tasks are answered, each run once",
            )
            .gap(Duration::from_millis(500)),
        Row::new("broker-killed", Setting::Broad, broker_killed)
            .says(
                "broker killed and restarted up to 0.5 s later, answers in flight",
                "answers go on (gap < 3 s + its absence), no node is blamed, nothing runs twice; whole within 3 s",
            )
            .gap(BACK + Duration::from_millis(AWAY)),
    ]
}

async fn orchestrator_killed(fixture: &Fixture) {
    let long = Order::tokens(40).delay(20);
    let mut running = [fixture.ask(&long).live(), fixture.ask(&long).live()];
    for asked in &mut running {
        asked.read(3).await;
    }
    let mut later: Vec<_> = (0..3).map(|_| fixture.ask(&Order::tokens(5).delay(5))).collect();
    for asked in &mut later {
        asked.stream.comment("queued").await;
    }
    let away = fixture.pick(0..300);
    fixture.mesh.orchestrator(0).kill().await;
    later.push(fixture.ask(&Order::tokens(5)));
    tokio::time::sleep(Duration::from_millis(away)).await;
    let began = Instant::now();
    fixture.mesh.orchestrator(0).start().await;
    let later_numbers = later.iter().map(|asked| asked.number);
    let numbers: Vec<_> = running.iter().map(|asked| asked.number).chain(later_numbers).collect();
    for asked in running {
        let answer = fixture.answered(asked.done().await).await;
        fixture.gap(&answer);
        fixture.promise(attempts(&answer) == 1, || format!("it noticed: {}", answer.summary()));
    }
    join_all(later.into_iter().map(|asked| fixture.answered(asked))).await;
    fixture.whole_since(began).await;
    fixture.once(numbers).await;
}

async fn broker_killed(fixture: &Fixture) {
    let order = Order::tokens(40).delay(20);
    let mut running: Vec<_> = (0..4).map(|_| fixture.ask(&order).live()).collect();
    for asked in &mut running {
        asked.read(3).await;
    }
    let away = fixture.pick(0..AWAY);
    fixture.mesh.broker.kill().await;
    let new = fixture.ask(&Order::tokens(5));
    tokio::time::sleep(Duration::from_millis(away)).await;
    let began = Instant::now();
    fixture.mesh.broker.start().await;
    let numbers: Vec<_> = running.iter().map(|asked| asked.number).chain([new.number]).collect();
    let answers = running.into_iter().map(async |asked| fixture.answered(asked.done().await).await);
    for answer in join_all(answers).await {
        fixture.gap(&answer);
        fixture.promise(answer.nodes().len() == 1, || format!("a node is blamed: {}", answer.summary()));
    }
    fixture.answered(new).await;
    fixture.whole_since(began).await;
    fixture.once(numbers).await;
}
