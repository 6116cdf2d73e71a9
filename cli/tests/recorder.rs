//! Several parts in one process share what counts: each of them tells the numbers of all.

use tokio_util::sync::CancellationToken;

#[tokio::test]
async fn each_part_of_one_process_tells_the_numbers_of_all() {
    let edge = echo_edge::measure::install();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let stop = CancellationToken::new();
    let _stops = stop.clone().drop_guard();
    echo_orchestrator::metrics::serve(listener, stop);
    let agent = echo_agent::metrics::install();
    echo_edge::measure::hung_up();
    echo_edge::measure::connection_begins();
    // Whoever comes later takes nothing back.
    echo_edge::measure::install();
    let url = format!("http://{address}/metrics");
    let _ = rustls::crypto::ring::default_provider().install_default();
    let orchestrator = reqwest::get(url).await.expect("a reply").text().await.expect("text");
    for (part, told) in [("edge", edge.render()), ("orchestrator", orchestrator), ("agent", agent.render())] {
        for line in [
            "# HELP echo_tasks_total Tasks that ended, by outcome, model and node",
            "echo_tasks_total{outcome=\"cancelled\",model=\"\",node=\"\"} 1",
            "echo_connections 1",
            "echo_orchestrator_released_total 0",
            "echo_agent_heartbeats_total 0",
        ] {
            assert_eq!(told.lines().filter(|it| *it == line).count(), 1, "{part}, {line}:\n{told}");
        }
    }
}
