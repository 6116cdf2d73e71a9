//! A trace through the edge of a real mesh.

use std::{sync::Arc, time::Duration};

use echo_orchestrator::sim::trace::Trace;
use futures::future::join_all;
use serde_json::Value;
use tokio::time::{Instant, sleep, sleep_until};

use super::{Plan, Sheet, Side, fleet, script};
use crate::{
    client::Client,
    mesh::{Mesh, binaries, until},
};

/// Before the first request, so that no script begins late.
const AHEAD: Duration = Duration::from_millis(200);

/// Plays it, and simulates the same.
///
/// # Errors
/// When the plan cannot be played.
///
/// # Panics
/// When the mesh does not start.
pub async fn play(plan: &Plan) -> Result<Sheet, String> {
    let trace = Arc::new(plan.trace()?);
    let simulated = plan.simulate()?;
    binaries::take_from(plan.programs.clone());
    let mesh = Mesh::start()
        .uneven(fleet::scripts(&trace))
        .calibration()
        // What a deadline would hide is to be seen.
        .orchestrator_args(["--queue-wait", "1h", "--queue-limit", "100000"])
        .edge_args(["--task-timeout", "1h", "--first-token-timeout", "1h", "--orchestrator-wait", "1h"])
        .as_users_run_it()
        .await;
    knows_its_speeds(&mesh, &trace).await;
    let loads: u64 = mesh.nodes().iter().map(|node| node.engine().counters().loads).sum();
    let before: Vec<_> = mesh.nodes().iter().map(|node| node.engine().counters().finished).collect();
    let start = Instant::now() + AHEAD;
    let clients =
        (0..trace.scripts.len()).map(|number| tokio::spawn(one(trace.clone(), number, mesh.client(), start)));
    let clients: Vec<_> = clients.collect();
    let (mut measured, mut late) = (Side::default(), 0.0);
    for heard in join_all(clients).await {
        let heard = heard.map_err(|error| error.to_string())?;
        late += heard.late / trace.scripts.len() as f64;
        for answer in heard.answers {
            match answer {
                Ok((took, first)) => measured.ended(took, first),
                Err(why) => {
                    eprintln!("a task failed: {why}");
                    measured.failed += 1;
                }
            }
        }
    }
    let counters = mesh.nodes().iter().map(|node| node.engine().counters());
    let (loaded, shares): (Vec<_>, Vec<_>) =
        counters.zip(before).map(|(now, before)| (now.loads, now.finished - before)).unzip();
    (measured.loads, measured.shares) = (loaded.iter().sum::<u64>() - loads, shares);
    Ok(Sheet { trace: plan.trace.clone(), seed: plan.seed, measured, simulated, late })
}

/// Waits until each node has tried the model that it has in memory.
async fn knows_its_speeds(mesh: &Mesh, trace: &Trace) {
    for (node, (_, loaded)) in mesh.nodes().iter().zip(&trace.machines) {
        let name = loaded.first().map(|&model| trace.models[model].as_str()).unwrap_or_default();
        until("a node to know its speed", || async {
            let seen = mesh.seen(node.id()).await;
            let models = seen["model_details"].as_array().cloned().unwrap_or_default();
            let is_loaded =
                |model: &&Value| model["name"].as_str().is_some_and(|it| it.split(':').next() == Some(name));
            let speeds = models.iter().find(is_loaded).map(|model| model["speeds"].clone());
            let is_known = speeds.as_ref().and_then(Value::as_array).is_some_and(|it| !it.is_empty());
            if is_known && seen["active_tasks"] == 0 { Ok(()) } else { Err(seen) }
        })
        .await;
    }
}

/// What a client has heard.
struct Heard {
    /// Seconds until the end and until the first token.
    answers: Vec<Result<(f64, f64), String>>,
    /// By how much it began late.
    late: f64,
}

async fn one(trace: Arc<Trace>, number: usize, client: Client, start: Instant) -> Heard {
    let script = &trace.scripts[number];
    let at = start + Duration::from_secs_f64(script.at);
    sleep_until(at).await;
    let late = at.elapsed().as_secs_f64();
    let (mut answers, mut said) = (Vec::new(), Vec::new());
    for (number, turn) in script.turns.iter().enumerate() {
        if number > 0 {
            sleep(Duration::from_secs_f64(turn.think)).await;
        }
        let (path, body) = script::request(&trace.models[turn.model], &script.turns[..=number], &said);
        let answer = script::ask(client, path, &body).await.and_then(|answer| {
            let words = answer.text.split_whitespace().count();
            if words == turn.answer as usize { Ok(answer) } else { Err(format!("{words} words")) }
        });
        said.push(answer.as_ref().map(|answer| answer.text.clone()).unwrap_or_default());
        answers.push(answer.map(|answer| (answer.took, answer.first)));
    }
    Heard { answers, late }
}
