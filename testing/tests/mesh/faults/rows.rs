//! Each row of the table of faults, once, with what it promises. `scripts/faults.sh` plays the same rows again and again.

use echo_testing::faults;

async fn keeps_its_promise(row: &str) {
    let broken = faults::play_once(&row.replace('_', "-")).await;
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

macro_rules! rows {
    ($($row:ident,)*) => {
        $(
            #[tokio::test]
            async fn $row() {
                keeps_its_promise(stringify!($row)).await;
            }
        )*

        #[test]
        fn every_row_is_played() {
            let played = [$(stringify!($row).replace('_', "-")),*];
            assert_eq!(played.as_slice(), faults::names());
        }
    };
}

rows! {
    agent_killed_early,
    agent_killed,
    agent_killed_llama,
    agent_killed_watched,
    agent_killed_json,
    agent_restarted_alone,
    agent_stopped,
    engine_dies,
    engine_killed,
    engine_stopped,
    engine_errors,
    engine_ends,
    engine_cut,
    engine_garbage,
    engine_stalls,
    engine_full,
    model_missing,
    orchestrator_killed,
    broker_killed,
    edge_killed,
    edge_drains,
    hang_up_streaming,
    hang_up_whole,
    hang_up_queued,
    slow_client,
    half_connections,
    rejoin,
    rejoin_node_killed,
    rejoin_edge,
    rejoin_often,
    queue_full,
    no_node,
    bad_input,
    huge_body,
    hostile_ids,
    mistakes,
    deadly_request,
    counts_ollama,
    counts_llama,
    two_agents,
    spares_killed,
    rolling_restart,
    cluster_one_killed,
    cluster_two_killed,
    cluster_route_cut,
    cluster_rolling,
    leaf_link_cut_agents,
    leaf_link_cut_edge,
}
