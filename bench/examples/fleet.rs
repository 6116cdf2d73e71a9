//! What many nodes cost an orchestrator and the bus: `cargo run --release -p echo-bench --example fleet -- 1000 5000`

use std::time::Duration;

use echo_bench::{fleet::heartbeat, growth};

const WATCHED: Duration = Duration::from_secs(10);

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let (short, long) =
        (serde_json::to_vec(&heartbeat(1, 2)?)?.len(), serde_json::to_vec(&heartbeat(1, 1)?)?.len());
    println!("bytes of a heartbeat: {short}, with 20 models {long}");
    println!(
        "| nodes | known at the end | orchestrator, % of a core | its memory, MiB | nats-server, % of a core |"
    );
    println!("|---|---|---|---|---|");
    for nodes in std::env::args().skip(1) {
        let row = growth::nodes(nodes.parse()?, WATCHED).await?;
        println!(
            "| {} | {} | {:.1} | {:.1} | {:.1} |",
            row.nodes, row.known, row.cpu_percent, row.resident_mib, row.nats_cpu_percent
        );
    }
    Ok(())
}
