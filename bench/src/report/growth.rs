//! The growth of the mesh as Markdown.

use std::fmt::Write;

use super::number::number;
use crate::{growth::Growth, placement::Placement, workload::Workload};

/// Three tables; none where nothing was measured. Writing to a string never fails.
pub fn tables(growth: &Growth, out: &mut String) {
    if growth.nodes.is_empty() && growth.in_flight.is_empty() {
        return;
    }
    let _ = writeln!(out, "\n## {}: {}", Workload::G.letter(), Workload::G.title());
    let _ = writeln!(
        out,
        "\n| nodes | of them known at the end | orchestrator, % of a core | its memory, MiB | nats-server, % of a core |\n\
         |---|---|---|---|---|"
    );
    for row in &growth.nodes {
        let cells = [row.cpu_percent, row.resident_mib, row.nats_cpu_percent].map(number);
        let _ = writeln!(out, "| {} | {} | {} |", row.nodes, row.known, cells.join(" | "));
    }
    let _ = writeln!(
        out,
        "\nStreams in flight, with a token every two seconds:\n\n\
         | asked | held | faults | edge, µs of CPU a second for one stream | all parts, the same | edge's memory, MiB |\n\
         |---|---|---|---|---|---|"
    );
    for row in &growth.in_flight {
        let cells = [row.edge_cpu, row.all_cpu, row.edge_resident_mib].map(number);
        let _ = writeln!(out, "| {} | {} | {} | {} |", row.asked, row.held, row.faults, cells.join(" | "));
    }
    placements(&growth.placement, out);
}

/// What one decision takes.
pub fn placements(rows: &[Placement], out: &mut String) {
    let _ = writeln!(
        out,
        "\nOne placement, the decision alone: of a task that comes to idle nodes, or of a slot that becomes free among full \
         ones.\n\n| nodes | waiting | p50, µs | p99, µs |\n|---|---|---|---|"
    );
    for row in rows {
        let times = [row.p50_us, row.p99_us].map(number).join(" | ");
        let _ = writeln!(out, "| {} | {} | {times} |", row.nodes, row.waiting);
    }
}
