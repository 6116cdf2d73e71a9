//! Memory: what a system holds when it is idle and for each open stream, and how soon engines are free after clients left.

use std::time::{Duration, Instant};

use super::{
    name::Workload,
    run::{Run, parts},
};
use crate::{
    check::Faults,
    client::request::Ask,
    engines::Engines,
    figure::Figures,
    form::Form,
    hold::Held,
    process::{Usage, resident},
    system::System,
};

/// Most of the time a stream only waits, as one of a real model does.
const ASK: Ask = Ask { tokens: 100_000, delay: 10_000, stream: true };
const LEAVING: Duration = Duration::from_secs(60);

/// The figures of one step: streams held, memory for each, seconds until the engines were free.
const KEYS: [[&str; 3]; 2] =
    [["some_held", "some_per_stream", "some_free"], ["many_held", "many_per_stream", "many_free"]];

/// Opens first some streams, then many.
///
/// # Errors
/// When the engines are never free again, or do not answer.
pub async fn run(system: &System, engines: &Engines, form: &Form, repetition: usize) -> anyhow::Result<Run> {
    let idle = system.usage();
    let mut figures = Figures::new();
    if !idle.is_empty() {
        figures.insert("idle", mib(resident(&idle)));
    }
    let mut run = Run {
        system: system.kind,
        workload: Workload::E,
        repetition,
        figures: Figures::new(),
        parts: Vec::new(),
        faults: Faults::default(),
        errors: 0,
        messages: Vec::new(),
    };
    for (streams, [held_key, memory_key, free_key]) in form.open_streams.into_iter().zip(KEYS) {
        let held = Held::open(&system.targets, system.dialect(), ASK, streams, form.opening).await;
        tokio::time::sleep(form.settle).await;
        let now = system.usage();
        let open = held.open_now();
        figures.insert(held_key, open as f64);
        if open > 0 && !idle.is_empty() {
            figures.insert(memory_key, grown(&idle, &now) / 1024.0 / open as f64);
        }
        run.parts = parts(&idle, &now);
        run.errors += held.ended() as u64;
        run.faults.strange += held.faults() as u64;
        run.messages.extend(held.message());
        let left = Instant::now();
        held.leave().await;
        engines.free(LEAVING).await?;
        figures.insert(free_key, left.elapsed().as_secs_f64());
    }
    run.figures = figures;
    Ok(run)
}

fn grown(idle: &Usage, now: &Usage) -> f64 {
    resident(now) as f64 - resident(idle) as f64
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
