//! Orchestrator and broker go away and come back.

use std::time::{Duration, Instant};

use futures::future::join_all;

use super::super::{
    order::Order,
    row::{BACK, Row},
    setting::Setting,
    stage::{Stage, attempts},
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

async fn orchestrator_killed(stage: &Stage) {
    let long = Order::tokens(40).delay(20);
    let mut running = [stage.ask(&long).live(), stage.ask(&long).live()];
    for asked in &mut running {
        asked.read(3).await;
    }
    let mut later: Vec<_> = (0..3).map(|_| stage.ask(&Order::tokens(5).delay(5))).collect();
    for asked in &mut later {
        asked.stream.comment("queued").await;
    }
    let away = stage.pick(0..300);
    stage.mesh.orchestrator(0).kill().await;
    later.push(stage.ask(&Order::tokens(5)));
    tokio::time::sleep(Duration::from_millis(away)).await;
    let began = Instant::now();
    stage.mesh.orchestrator(0).start().await;
    let later_numbers = later.iter().map(|asked| asked.number);
    let numbers: Vec<_> = running.iter().map(|asked| asked.number).chain(later_numbers).collect();
    for asked in running {
        let answer = stage.answered(asked.done().await).await;
        stage.gap(&answer);
        stage.promise(attempts(&answer) == 1, || format!("it noticed: {}", answer.summary()));
    }
    join_all(later.into_iter().map(|asked| stage.answered(asked))).await;
    stage.whole_since(began).await;
    stage.once(numbers).await;
}

async fn broker_killed(stage: &Stage) {
    let order = Order::tokens(40).delay(20);
    let mut running: Vec<_> = (0..4).map(|_| stage.ask(&order).live()).collect();
    for asked in &mut running {
        asked.read(3).await;
    }
    let away = stage.pick(0..AWAY);
    stage.mesh.broker.kill().await;
    let new = stage.ask(&Order::tokens(5));
    tokio::time::sleep(Duration::from_millis(away)).await;
    let began = Instant::now();
    stage.mesh.broker.start().await;
    let numbers: Vec<_> = running.iter().map(|asked| asked.number).chain([new.number]).collect();
    let answers = running.into_iter().map(async |asked| stage.answered(asked.done().await).await);
    for answer in join_all(answers).await {
        stage.gap(&answer);
        stage.promise(answer.nodes().len() == 1, || format!("a node is blamed: {}", answer.summary()));
    }
    stage.answered(new).await;
    stage.whole_since(began).await;
    stage.once(numbers).await;
}
