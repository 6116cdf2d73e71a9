//! Engines that are started with the mesh: supervised as the parts are, and ended with them.

use echo_testing::mesh::{holds, until};

use super::{SOON, here::Here};

/// The runners that engines here have started.
fn runners(here: &Here) -> Vec<i32> {
    let all = here.processes().into_iter().filter(|(_, line)| line.starts_with("sleep 600"));
    all.map(|(pid, _)| pid).collect()
}

#[tokio::test]
async fn an_engine_that_is_killed_comes_back_without_the_runner_of_the_one_before() {
    let here = Here::with_ollama().await;
    here.up().await;
    here.serves().await;
    let before = runners(&here);
    assert_eq!(before.len(), 2);
    let killed = here.kill("engine-a").await;
    until("engine-a to be back", || async { holds(here.pid("engine-a") != killed, here.record()) }).await;
    here.serves().await;
    let now = runners(&here);
    assert_eq!(
        (now.len(), now.iter().filter(|pid| before.contains(pid)).count()),
        (2, 1),
        "{:?}",
        here.processes()
    );
    let down = here.says(&["down"]).await;
    let order: Vec<&str> =
        down.ended(0).text.lines().filter_map(|line| Some(line.split_once(": stopped")?.0)).collect();
    assert_eq!(order, ["edge", "agent-b", "agent-a", "orchestrator", "broker", "engine-b", "engine-a"]);
    // The supervisor ends them, or `down` that looks on: whoever is first says so.
    let log = std::fs::read_to_string(here.logs().join("up.log")).unwrap();
    let said = format!("{}{log}", down.text);
    assert!(said.contains("and what it had left running (pid "), "{said}");
    here.assert_clean();
}

#[tokio::test]
async fn engines_end_with_a_supervisor_that_is_killed_and_down_ends_what_they_leave() {
    let here = Here::with_ollama().await;
    here.up().await;
    let engines = [here.pid("engine-a"), here.pid("engine-b")];
    here.kill("supervisor").await;
    until("only runners to be left", || async {
        let left = here.processes();
        holds(left.len() == 2 && left.iter().all(|(pid, _)| !engines.contains(pid)), format!("{left:?}"))
    })
    .await;
    here.says(&["down"]).await.ended(0).has("engine-a: had already ended; stopped what it had left running");
    here.is_empty_within(SOON).await;
    here.assert_clean();
}
