//! What is measured: each figure's name, unit, and how it is compared with no system at all.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::workload::Workload;

/// The figures of one run, by key.
pub type Figures = BTreeMap<&'static str, f64>;

/// How a figure is set against the direct one of the same run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Relation {
    /// As a share of it.
    Share,
    /// By what is added to it.
    Added,
    /// There is nothing to compare it with.
    Alone,
}

#[derive(Debug, Clone, Copy, Serialize)]
pub struct Figure {
    pub workload: Workload,
    pub key: &'static str,
    pub title: &'static str,
    pub unit: &'static str,
    pub relation: Relation,
}

const fn figure(
    workload: Workload,
    key: &'static str,
    title: &'static str,
    unit: &'static str,
    relation: Relation,
) -> Figure {
    Figure { workload, key, title, unit, relation }
}

use Relation::{Added, Alone, Share};
use Workload::{A, B, C, D, E, F};

/// All figures of the workloads that every system gets, in the order of the report.
pub const FIGURES: &[Figure] = &[
    figure(A, "e2e_p50", "whole answer p50", "ms", Added),
    figure(A, "e2e_p99", "whole answer p99", "ms", Added),
    figure(A, "first_p50", "first token p50", "ms", Added),
    figure(A, "first_p99", "first token p99", "ms", Added),
    figure(B, "first_p50", "first token p50", "ms", Added),
    figure(B, "first_p99", "first token p99", "ms", Added),
    figure(B, "gap_p50", "gap p50", "ms", Added),
    figure(B, "gap_p99", "gap p99", "ms", Added),
    figure(B, "cpu_per_token", "CPU per token", "µs", Alone),
    figure(C, "tokens_per_second", "tokens", "1/s", Share),
    figure(C, "cpu_per_token", "CPU per token", "µs", Alone),
    figure(D, "requests_per_second", "requests", "1/s", Share),
    figure(D, "cpu_per_request", "CPU per request", "µs", Alone),
    figure(E, "idle", "memory idle", "MiB", Alone),
    figure(E, "some_held", "fewer streams held", "", Alone),
    figure(E, "some_per_stream", "memory per stream", "KiB", Alone),
    figure(E, "some_free", "engines free after", "s", Alone),
    figure(E, "many_held", "more streams held", "", Alone),
    figure(E, "many_per_stream", "memory per stream", "KiB", Alone),
    figure(E, "many_free", "engines free after", "s", Alone),
    figure(F, "answers", "answers without a fault", "", Alone),
    figure(F, "errors", "errors", "", Alone),
    figure(F, "lost", "tokens lost", "", Alone),
    figure(F, "doubled", "tokens doubled", "", Alone),
    figure(F, "gap_p50", "gap at the kill p50", "ms", Alone),
    figure(F, "gap_p99", "gap at the kill p99", "ms", Alone),
    figure(F, "revived_requests", "requests on the revived engine", "", Alone),
    figure(F, "revived_after", "the first after", "s", Alone),
];
