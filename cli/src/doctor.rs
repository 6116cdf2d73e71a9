//! `echo-mesh doctor`: what goes wrong in practice, each with the sentence that mends it. It changes nothing.

mod args;
mod ask;
mod broker;
mod clock;
mod configuration;
mod disk;
mod engine;
mod exposed;
mod files;
mod finding;
mod group;
mod keys;
mod listening;
mod mesh;
mod models;
mod multicast;
mod nodes;
mod os;
mod parts;
mod ports;
mod proxy;
mod scene;
mod show;
mod twins;
mod versions;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use futures::future::{FutureExt as _, LocalBoxFuture, join_all};

use crate::clean;
use crate::say::{say, warn};
pub use args::Args;
use finding::{Looked, Severity};
use scene::Scene;

/// A check that takes longer is given up, and said to be.
const LIMIT: Duration = Duration::from_secs(15);

/// Looks, and says what it has seen. `commands` is the whole command line as it is without a file.
pub fn main(args: Args, named: Option<PathBuf>, commands: clap::Command) -> ExitCode {
    let json = args.json;
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            warn(format_args!("error: cannot start looking: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let looked = runtime.block_on(look(Scene::new(args, named, commands)));
    // Not waiting for a disk that does not answer.
    runtime.shutdown_background();
    say(if json { clean::json(&show::json(&looked)) } else { show::text(&looked) });
    let wrong =
        looked.iter().flat_map(|(_, looked)| &looked.findings).any(|it| it.severity == Severity::Wrong);
    if wrong { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// All checks at once; those that need the same thing share it.
async fn look(scene: Scene) -> Vec<(&'static str, Looked)> {
    let checks: Vec<(&'static str, LocalBoxFuture<'_, Looked>)> = vec![
        ("configuration", configuration::look(&scene).boxed_local()),
        ("parts", parts::look(&scene).boxed_local()),
        ("keys", keys::look(&scene).boxed_local()),
        ("broker", broker::look(&scene).boxed_local()),
        ("mesh", mesh::look(&scene).boxed_local()),
        ("ports", ports::look(&scene).boxed_local()),
        ("nodes", nodes::look(&scene).boxed_local()),
        ("ids", twins::look(&scene).boxed_local()),
        ("models", models::look(&scene).boxed_local()),
        ("engine", engine::look(&scene).boxed_local()),
        ("versions", versions::look(&scene).boxed_local()),
        ("clocks", clock::look(&scene).boxed_local()),
        ("open to others", exposed::look(&scene).boxed_local()),
        ("multicast", multicast::look(&scene).boxed_local()),
        ("proxy", proxy::look().boxed_local()),
        ("disk", disk::look(&scene).boxed_local()),
        ("open files", files::look().boxed_local()),
    ];
    let bounded = checks.into_iter().map(|(name, check)| async move {
        let looked = tokio::time::timeout(LIMIT, check).await;
        (name, looked.unwrap_or_else(|_| Looked::unseen(format!("no answer in {} s", LIMIT.as_secs()))))
    });
    join_all(bounded).await
}
