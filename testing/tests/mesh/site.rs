//! Two sites, an edge and a node at each: work stays near, and goes far where that is sooner by enough.

use echo_testing::mesh::{Builder, Mesh, holds};
use serde_json::{Value, json};

fn sites() -> Builder {
    Mesh::start().nodes(2).slots(1).edges(2).sites(["berlin", "paris"])
}

async fn mesh() -> Mesh {
    sites().await
}

async fn ask(mesh: &Mesh, edge: usize, prompt: &str) -> Value {
    let reply =
        mesh.client_of(edge).post("/task", &json!({ "prompt": prompt })).send().await.expect("a reply");
    let (status, answer) = (reply.status(), reply.json().await);
    assert_eq!(status, 200, "{answer}");
    answer
}

#[tokio::test]
async fn the_tasks_of_an_edge_go_to_the_node_of_its_site_and_say_so() {
    // By default a node that is known to be quick is sooner than a near one of which nothing is known.
    let mesh = sites().orchestrator_args(["--site-cost", "10s"]).await;
    assert_eq!(mesh.seen("node-a").await["site"], "berlin");
    // At first nothing is measured; later it is known that the nodes are equal.
    for _ in 0..3 {
        for (edge, node) in [(0, "node-a"), (1, "node-b"), (1, "node-b")] {
            let answer = ask(&mesh, edge, "count [tokens=5]").await;
            let chosen = answer["chosen"].as_str().expect("words");
            assert!(answer["routed_to"] == node && chosen.contains("at this edge's site"), "{answer}");
            mesh.is_quiet().await;
        }
    }
}

#[tokio::test]
async fn a_busy_site_gets_help_from_the_other_one() {
    let mesh = mesh().await;
    for edge in [0, 1] {
        ask(&mesh, edge, "count [tokens=100] [delay=50]").await;
        mesh.is_quiet().await;
    }
    let long = mesh.stream(&json!({ "prompt": "count [tokens=400] [delay=50]" }));
    mesh.until("the long answer to have the near node", || async {
        let seen = mesh.seen("node-a").await;
        holds(seen["active_tasks"] == 1, seen)
    })
    .await;
    let answer = ask(&mesh, 0, "count [tokens=5]").await;
    let chosen = answer["chosen"].as_str().expect("words");
    assert!(
        answer["routed_to"] == "node-b" && chosen.contains(" sooner than the nearest of this site"),
        "{answer}"
    );
    drop(long);
}

#[tokio::test]
async fn a_name_that_is_none_is_refused_with_what_to_write() {
    let output =
        echo_testing::mesh::binaries::part("edge").args(["--site", "New York"]).output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("is not a valid name of a site"), "{said}");
}
