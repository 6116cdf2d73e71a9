//! What it costs an edge that people look at the mesh: CPU and memory with so many viewers, nobody asking anything.
//! cargo run --release -p echo-testing --example viewers [SECONDS]

use std::time::{Duration, Instant};

use echo_testing::{client::Reply, mesh::Mesh};
use tokio::task::JoinSet;

const VIEWERS: [usize; 3] = [0, 1, 200];

/// CPU time of a process so far.
fn cpu(pid: i32) -> anyhow::Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, fields) = stat.rsplit_once(')').unwrap_or_default();
    let ticks = |index: usize| fields.split_whitespace().nth(index).and_then(|it| it.parse::<u64>().ok());
    // User and system time, in hundredths of a second on every Linux.
    Ok(Duration::from_millis(10 * (ticks(11).unwrap_or_default() + ticks(12).unwrap_or_default())))
}

/// Reads all that it is told; how many bytes that was.
async fn view(mut reply: Reply, bytes: std::sync::Arc<std::sync::atomic::AtomicUsize>) {
    while let Ok(Some(chunk)) = reply.chunk().await {
        bytes.fetch_add(chunk.len(), std::sync::atomic::Ordering::Relaxed);
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let seconds = std::env::args().nth(1).map_or(Ok(20), |text| text.parse())?;
    let mesh = Mesh::start().nodes(2).as_users_run_it().await;
    println!("| viewers | CPU of a core | memory | to each viewer |\n|---|---|---|---|");
    for viewers in VIEWERS {
        let bytes = std::sync::Arc::default();
        let mut open = JoinSet::new();
        for _ in 0..viewers {
            let reply = mesh.client().get("/mesh/watch").send().await?;
            open.spawn(view(reply, std::sync::Arc::clone(&bytes)));
        }
        // The first words of all, and what the start has cost.
        tokio::time::sleep(Duration::from_secs(3)).await;
        let (before, began) = (cpu(mesh.edge(0).pid())?, Instant::now());
        let told = bytes.swap(0, std::sync::atomic::Ordering::Relaxed);
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        let part = (cpu(mesh.edge(0).pid())? - before).as_secs_f64() / began.elapsed().as_secs_f64();
        let later = bytes.load(std::sync::atomic::Ordering::Relaxed);
        let each = |all: usize| all / viewers.max(1);
        println!(
            "| {viewers} | {:.2}% | {:.1} MiB | {} B at first, then {} B in {seconds} s |",
            part * 100.0,
            mesh.edge(0).resident() as f64 / f64::from(1 << 20),
            each(told),
            each(later)
        );
        assert_eq!(open.len(), viewers, "nobody was let go");
        open.shutdown().await;
    }
    Ok(())
}
