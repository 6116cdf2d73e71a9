//! Honest streams beside clients that send half of what they owe: what the honest ones notice, and how long the others stay.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use echo_testing::client::{Half, last_words};
use tokio::{io::AsyncWriteExt, net::TcpStream, task::JoinSet, time::timeout};

use crate::{
    client::request::Ask,
    engines::Engines,
    load::{Amount, Load},
    stats::percentile,
    system::{Kind, System},
};

const STREAMS: usize = 50;
/// Half a minute for each stream.
const ASK: Ask = Ask { tokens: 600, delay: 50, stream: true };
const HALF_OPEN: usize = 500;
const SLOW: usize = 200;
/// Between two bytes of a slow body.
const DRIP: Duration = Duration::from_secs(5);
/// Whoever is not gone by then stays.
const PATIENCE: Duration = Duration::from_secs(60);
const SLOTS: usize = 64;

/// Runs the streams alone and beside the others, as often as asked, and says what came of it, in lines.
///
/// # Errors
/// When the mesh does not come up.
pub async fn run(rounds: usize) -> anyhow::Result<()> {
    let engines = Engines::start(SLOTS).await?;
    let mesh = Kind::Mesh.start(&engines, SLOTS, None).await?;
    for round in 1..=rounds {
        println!("{round}, alone: {}", streams(&mesh).await?);
        let bad = Bad::begin(mesh.targets[0]);
        println!("{round}, beside {HALF_OPEN} half-open and {SLOW} slow ones: {}", streams(&mesh).await?);
        println!("{round}, the others: {}", bad.ended().await);
    }
    Ok(())
}

async fn streams(mesh: &System) -> anyhow::Result<String> {
    let amount = Amount::Requests(STREAMS);
    let load = Load { clients: STREAMS, spread: Duration::from_secs(1), amount, ask: ASK };
    let mut outcome = load.run(&mesh.targets, mesh.dialect()).await?;
    outcome.gaps.sort_unstable();
    let gap = |share| f64::from(percentile(&outcome.gaps, share).unwrap_or_default()) / 1e3;
    let (good, tokens) = (outcome.good(), outcome.tokens);
    Ok(format!(
        "{good} of {STREAMS} good, {tokens} tokens, gap p50 {:.2} p99 {:.2} p99.9 {:.2} ms",
        gap(0.5),
        gap(0.99),
        gap(0.999)
    ))
}

/// The clients that send half.
struct Bad(JoinSet<(&'static str, Option<Duration>)>);

impl Bad {
    fn begin(to: SocketAddr) -> Self {
        let mut all = JoinSet::new();
        for _ in 0..HALF_OPEN {
            all.spawn(async move { ("half-open", gone(Half::Head.say(to).await.ok()).await) });
        }
        for _ in 0..SLOW {
            all.spawn(async move { ("slow", slow(to).await) });
        }
        Self(all)
    }

    /// How many of each kind are gone, and after how long the last one was.
    async fn ended(mut self) -> String {
        let mut all: Vec<_> = Vec::new();
        while let Some(ended) = self.0.join_next().await {
            all.extend(ended);
        }
        let kind = |which: &str| {
            let took: Vec<_> = all.iter().filter(|(kind, _)| *kind == which).map(|(_, took)| took).collect();
            let gone = took.iter().filter(|took| took.is_some()).count();
            let last = took.iter().copied().flatten().max().copied().unwrap_or_default();
            format!("{gone} of {} {which} ones gone, the last after {:.1} s", took.len(), last.as_secs_f64())
        };
        format!("{}; {}", kind("half-open"), kind("slow"))
    }
}

/// A body that comes byte by byte, until nobody takes it any more.
async fn slow(to: SocketAddr) -> Option<Duration> {
    let (mut reader, mut writer) = Half::Body.say(to).await.ok()?.into_split();
    let drips = async {
        loop {
            tokio::time::sleep(DRIP).await;
            if writer.write_all(b" ").await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    };
    let began = Instant::now();
    let ends = async {
        // An end by force is an end, too.
        let _ = tokio::io::copy(&mut reader, &mut tokio::io::sink()).await;
        began.elapsed()
    };
    let either = async {
        tokio::select! { took = ends => took, () = drips => PATIENCE }
    };
    timeout(PATIENCE, either).await.ok()
}

async fn gone(stream: Option<TcpStream>) -> Option<Duration> {
    let began = Instant::now();
    timeout(PATIENCE, last_words(stream?)).await.ok()?;
    Some(began.elapsed())
}
