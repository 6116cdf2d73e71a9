//! Failover: an engine dies under load and comes back; what the clients see of it, and when it works again.

use std::time::{Duration, Instant};

use super::{
    name::Workload,
    plain::percentiles,
    run::{Run, finished, parts},
};
use crate::{
    client::request::Ask,
    engines::Engine,
    figure::Figures,
    form::{Failover, Form},
    load::{Amount, Load, Outcome, Sample},
    system::System,
};

const ASK: Ask = Ask { tokens: 64, delay: 10, stream: true };
/// One engine alone can serve all of them, and is full then.
pub const CLIENTS: usize = 64;
const PAUSE: Duration = Duration::from_millis(10);

/// What happened to the engine.
struct Fate {
    /// Microseconds after the load began.
    killed: u32,
    /// Requests that it was working on then.
    lost: usize,
    requests: u64,
    /// From its start to its first request.
    first: Option<Duration>,
}

/// Runs the load, and kills and revives this engine under it.
///
/// # Errors
/// When the engine does not come back.
pub async fn run(
    system: &System,
    engine: &mut Engine,
    form: &Form,
    repetition: usize,
) -> anyhow::Result<Run> {
    let before = system.usage();
    let plan = form.failover;
    let spread = Duration::from_millis(ASK.tokens * ASK.delay);
    let load = Load { clients: CLIENTS, spread, amount: Amount::Time(plan.end), ask: ASK };
    let (outcome, fate) =
        tokio::join!(load.run(&system.targets, system.dialect()), kill_and_revive(engine, plan));
    let (outcome, fate) = (outcome?, fate?);
    let figures = figures(&outcome, &fate);
    let parts = parts(&before, &system.usage());
    Ok(finished(system.kind, Workload::F, repetition, figures, parts, outcome))
}

async fn kill_and_revive(engine: &mut Engine, plan: Failover) -> anyhow::Result<Fate> {
    let begun = Instant::now();
    tokio::time::sleep(plan.kill).await;
    let lost = usize::try_from(engine.counters().await?.running)?;
    let killed = u32::try_from(begun.elapsed().as_micros())?;
    engine.kill().await;
    tokio::time::sleep(plan.revive.saturating_sub(begun.elapsed())).await;
    engine.revive().await?;
    let (revived, mut first) = (Instant::now(), None);
    while begun.elapsed() < plan.end {
        let started = engine.counters().await?.started;
        if started > 0 && first.is_none() {
            first = Some(revived.elapsed());
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(Fate { killed, lost, requests: engine.counters().await?.started, first })
}

fn figures(outcome: &Outcome, fate: &Fate) -> Figures {
    let mut figures = Figures::from([
        ("answers", outcome.good() as f64),
        ("errors", outcome.errors as f64),
        ("lost", outcome.faults.lost as f64),
        ("doubled", outcome.faults.doubled as f64),
        ("revived_requests", fate.requests as f64),
    ]);
    if let Some(first) = fate.first {
        figures.insert("revived_after", first.as_secs_f64());
    }
    percentiles(&mut figures, ["gap_p50", "gap_p99"], &mut gaps_at_the_kill(&outcome.samples, fate));
    figures
}

/// The longest gap of each answer that the killed engine was giving and that went on all the same. Of the answers in
/// flight at the kill, those are the ones with the longest gaps.
fn gaps_at_the_kill(samples: &[Sample], fate: &Fate) -> Vec<u32> {
    let in_flight = samples.iter().filter(|sample| {
        sample.begun < fate.killed && sample.begun.saturating_add(sample.whole) > fate.killed
    });
    let (good, bad): (Vec<&Sample>, Vec<&Sample>) = in_flight.partition(|sample| sample.good);
    let mut gaps: Vec<_> =
        good.iter().map(|sample| if sample.worst_at < fate.killed { 0 } else { sample.worst }).collect();
    gaps.sort_unstable_by(|a, b| b.cmp(a));
    gaps.truncate(fate.lost.saturating_sub(bad.len()));
    gaps
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(begun: u32, whole: u32, worst: u32, good: bool) -> Sample {
        Sample { begun, first: Some(1), whole, worst, worst_at: begun + worst, good }
    }

    #[test]
    fn only_answers_of_the_killed_engine_that_went_on_have_a_gap() {
        let samples = [
            sample(900, 50, 49, true),    // over before the kill
            sample(900, 500, 400, true),  // of the killed engine
            sample(950, 500, 300, true),  // of the killed engine
            sample(990, 500, 20, true),   // of the other engine
            sample(990, 100, 90, false),  // of the killed engine, and broken
            sample(1100, 500, 499, true), // begun after it
        ];
        let fate = Fate { killed: 1000, lost: 3, requests: 0, first: None };
        assert_eq!(gaps_at_the_kill(&samples, &fate), [400, 300]);
    }

    #[test]
    fn where_all_failed_there_is_no_gap() {
        let samples = [sample(900, 500, 400, false), sample(900, 500, 11, true)];
        let fate = Fate { killed: 1000, lost: 1, requests: 0, first: None };
        assert!(gaps_at_the_kill(&samples, &fate).is_empty());
    }
}
