//! What one decision of the orchestrator takes: `cargo run --release -p echo-bench --example placement`

use echo_bench::placement::{full, idle};
use echo_bench::report::growth::placements;

fn main() -> anyhow::Result<()> {
    let mut rows = Vec::new();
    for nodes in [2, 10, 100, 1_000] {
        rows.extend([idle(nodes)?, full(nodes)?]);
    }
    let mut table = String::new();
    placements(&rows, &mut table);
    print!("{table}");
    Ok(())
}
