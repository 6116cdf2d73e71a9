//! Overhead, streaming, saturation and whole answers: a load, and figures from its answers.

use std::time::Duration;

use super::{name::Workload, run::Part};
use crate::{
    client::request::Ask,
    figure::Figures,
    form::Form,
    load::{Amount, Load, Outcome},
    stats::percentile,
};

pub fn load(workload: Workload, form: &Form) -> Load {
    let (clients, amount, tokens, delay) = match workload {
        Workload::A => (1, Amount::AtMost(form.overhead_requests, form.streaming_limit), 64, 0),
        Workload::B => {
            let amount = Amount::AtMost(form.streaming_requests, form.streaming_limit);
            (form.streaming_clients, amount, 64, 20)
        }
        Workload::C => (64, Amount::Time(form.saturation), 128, 0),
        _ => (64, Amount::Time(form.saturation), 1, 0),
    };
    let ask = Ask { tokens, delay, stream: workload != Workload::D };
    Load { clients, spread: Duration::from_millis(tokens * delay), amount, ask }
}

pub fn figures(workload: Workload, outcome: &Outcome, parts: &[Part]) -> Figures {
    let mut figures = Figures::new();
    let good = outcome.samples.iter().filter(|sample| sample.good);
    let mut whole: Vec<_> = good.clone().map(|sample| sample.whole).collect();
    let mut first: Vec<_> = good.filter_map(|sample| sample.first).collect();
    let mut gaps = outcome.gaps.clone();
    let cpu = parts.iter().map(|part| part.cpu_ms * 1e3).sum::<f64>();
    let seconds = outcome.elapsed.as_secs_f64();
    if matches!(workload, Workload::A | Workload::B) {
        percentiles(&mut figures, ["first_p50", "first_p99"], &mut first);
    }
    if workload == Workload::A {
        percentiles(&mut figures, ["e2e_p50", "e2e_p99"], &mut whole);
    }
    if workload == Workload::B {
        percentiles(&mut figures, ["gap_p50", "gap_p99"], &mut gaps);
    }
    if workload == Workload::C {
        figures.insert("tokens_per_second", outcome.tokens as f64 / seconds);
    }
    if workload == Workload::D {
        figures.insert("requests_per_second", outcome.good() as f64 / seconds);
    }
    let (key, count) = match workload {
        Workload::D => ("cpu_per_request", outcome.samples.len() as f64),
        _ => ("cpu_per_token", outcome.tokens as f64),
    };
    if !parts.is_empty() && count > 0.0 {
        figures.insert(key, cpu / count);
    }
    figures
}

/// The median and the 99th percentile of times in microseconds, in milliseconds.
pub fn percentiles(figures: &mut Figures, keys: [&'static str; 2], times: &mut [u32]) {
    times.sort_unstable();
    for (key, share) in keys.into_iter().zip([0.5, 0.99]) {
        if let Some(time) = percentile(times, share) {
            figures.insert(key, f64::from(time) / 1e3);
        }
    }
}
