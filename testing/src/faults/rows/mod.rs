//! The rows of the table, in the order of DESIGN's.

mod agent;
mod center;
mod client;
mod counts;
mod edge;
mod engine;
mod fleet;
mod mistake;
mod refusal;

use super::row::Row;

/// Every row that is played several times.
pub fn all() -> Vec<Row> {
    let parts = [
        agent::rows(),
        engine::rows(),
        center::rows(),
        edge::rows(),
        client::rows(),
        refusal::rows(),
        mistake::rows(),
    ];
    parts.into_iter().flatten().chain(counts::rows()).chain(fleet::rows()).collect()
}
