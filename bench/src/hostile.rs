//! Honest streams beside clients that send half of what they owe: what the honest ones notice, and how long the others stay.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::Path,
    time::{Duration, Instant},
};

use echo_testing::client::{Half, last_words};
use tokio::{io::AsyncWriteExt, net::TcpStream, task::JoinSet, time::timeout};

use crate::{
    client::request::Ask,
    engines::Engines,
    load::{Amount, Load},
    stats::{median, percentile, spread},
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

/// What the others may add to the longest gaps of the honest streams, in milliseconds.
const AIM: f64 = 2.0;

/// Runs the streams alone and beside the others, as often as asked, on each of these meshes in turns, and says what came of
/// it, in lines; in the end what they come to.
///
/// # Errors
/// When a mesh does not come up.
pub async fn run(rounds: usize, meshes: &[Kind], before: Option<&Path>) -> anyhow::Result<()> {
    let engines = Engines::start(SLOTS).await?;
    let mut seen: BTreeMap<Kind, Vec<Gaps>> = BTreeMap::new();
    for round in 1..=rounds {
        for kind in Kind::in_turns(meshes, round) {
            let mesh = kind.start(&engines, SLOTS, before).await?;
            seen.entry(kind).or_default().push(one_round(&mesh, round).await?);
        }
    }
    seen.iter().for_each(|(kind, gaps)| println!("{}: {}", kind.name(), verdict(gaps)));
    Ok(())
}

/// The 99th percentile of the time between two tokens, in milliseconds.
struct Gaps {
    alone: f64,
    beside: f64,
}

/// Every other time alone comes second, on a mesh that the others have left.
async fn one_round(mesh: &System, round: usize) -> anyhow::Result<Gaps> {
    let name = format!("{} {round}", mesh.kind.name());
    let alone = async || streams(mesh, &format!("{name}, alone")).await;
    let beside = async || {
        let bad = Bad::begin(mesh.targets[0]);
        let gap =
            streams(mesh, &format!("{name}, beside {HALF_OPEN} half-open and {SLOW} slow ones")).await?;
        println!("{name}, the others: {}", bad.ended().await);
        anyhow::Ok(gap)
    };
    if round.is_multiple_of(2) {
        let beside = beside().await?;
        return Ok(Gaps { alone: alone().await?, beside });
    }
    Ok(Gaps { alone: alone().await?, beside: beside().await? })
}

/// Says how the streams went; returns the 99th percentile of their gaps.
async fn streams(mesh: &System, name: &str) -> anyhow::Result<f64> {
    let amount = Amount::Requests(STREAMS);
    let load = Load { clients: STREAMS, spread: Duration::from_secs(1), amount, ask: ASK };
    let mut outcome = load.run(&mesh.targets, mesh.dialect()).await?;
    outcome.gaps.sort_unstable();
    let gap = |share| f64::from(percentile(&outcome.gaps, share).unwrap_or_default()) / 1e3;
    let (good, tokens) = (outcome.good(), outcome.tokens);
    println!(
        "{name}: {good} of {STREAMS} good, {tokens} tokens, gap p50 {:.2} p99 {:.2} p99.9 {:.2} ms",
        gap(0.5),
        gap(0.99),
        gap(0.999)
    );
    Ok(gap(0.99))
}

/// All rounds in a sentence: medians, and what the others have added to them.
fn verdict(rounds: &[Gaps]) -> String {
    let of = |figure: fn(&Gaps) -> f64| rounds.iter().map(figure).collect::<Vec<_>>();
    let added = of(|gaps| gaps.beside - gaps.alone);
    let middle = |values: &[f64]| median(values).unwrap_or(f64::NAN);
    let (alone, beside) = (middle(&of(|gaps| gaps.alone)), middle(&of(|gaps| gaps.beside)));
    let (least, most) = spread(&added).unwrap_or((f64::NAN, f64::NAN));
    let word = if beside - alone <= AIM { "no more than" } else { "more than" };
    format!(
        "gap p99 {alone:.2} ms alone and {beside:.2} ms beside the others (medians; rounds: {}); they add {:.2} ms \
         ({least:.2} to {most:.2} in a round), {word} the {AIM} ms that they may",
        rounds.len(),
        beside - alone,
    )
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

#[cfg(test)]
mod tests {
    use super::*;

    fn said(rounds: &[(f64, f64)]) -> String {
        verdict(
            &rounds.iter().map(|(alone, beside)| Gaps { alone: *alone, beside: *beside }).collect::<Vec<_>>(),
        )
    }

    #[test]
    fn the_others_are_judged_by_what_they_add_to_the_medians() {
        let within = said(&[(50.0, 51.0), (51.0, 52.5), (70.0, 90.0)]);
        assert!(
            within.contains("51.00 ms alone and 52.50 ms beside the others (medians; rounds: 3)"),
            "{within}"
        );
        assert!(within.contains("add 1.50 ms (1.00 to 20.00 in a round), no more than the 2 ms"), "{within}");
        let beyond = said(&[(50.0, 52.5)]);
        assert!(beyond.contains("add 2.50 ms") && beyond.contains(", more than the 2 ms"), "{beyond}");
    }
}
