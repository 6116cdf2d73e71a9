//! The rows of the table, in its order.

mod agent;
mod client;
mod cluster;
mod counts;
mod edge;
mod engine;
mod fleet;
mod mistake;
mod orchestrator_and_broker;
mod refusal;
mod rejoin;

use super::row::Row;

/// Every row that is played several times.
pub fn all() -> Vec<Row> {
    let parts = [
        agent::rows(),
        engine::rows(),
        orchestrator_and_broker::rows(),
        edge::rows(),
        client::rows(),
        rejoin::rows(),
        refusal::rows(),
        mistake::rows(),
    ];
    parts.into_iter().flatten().chain(counts::rows()).chain(fleet::rows()).chain(cluster::rows()).collect()
}
