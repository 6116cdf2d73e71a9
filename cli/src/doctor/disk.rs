//! Disks that are nearly full.

use std::path::{Path, PathBuf};

use super::finding::Looked;
use super::os;
use super::scene::Scene;
use crate::figure::size;

/// What a small model takes.
const LITTLE: u64 = 2 << 30;

pub async fn look(scene: &Scene) -> Looked {
    let place = scene.args.folders.place(&scene.args.edge.run);
    let mut folders = vec![("models", models())];
    match place {
        Ok(place) => folders.extend([
            ("logs", Some(place.logs)),
            ("what is fetched", Some(place.cache)),
            ("what runs", Some(place.run)),
        ]),
        Err(bad) => return Looked::unseen(format!("the disks: {bad}")),
    }
    let look = move || {
        let free = folders.into_iter().filter_map(|(what, folder)| local(what, &folder?));
        free.collect::<Vec<_>>()
    };
    let Ok(free) = tokio::task::spawn_blocking(look).await else { return Looked::unseen("the disks") };
    judge(free).with(nodes(scene).await)
}

/// Where Ollama keeps its models.
fn models() -> Option<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("OLLAMA_MODELS").or_else(|| Some(set("HOME")?.join(".ollama/models")))
}

/// Which folder, and how much is free on its disk. A folder that is not there yet will be on its parent's.
fn local(what: &str, folder: &Path) -> Option<(String, PathBuf, u64)> {
    let there = folder.ancestors().find(|folder| folder.exists())?;
    Some((what.to_owned(), folder.to_owned(), os::free_space(there).ok()?))
}

fn judge(free: Vec<(String, PathBuf, u64)>) -> Looked {
    let least = free.iter().map(|(_, _, free)| *free).min().unwrap_or_default();
    let little: Vec<&(String, PathBuf, u64)> = free.iter().filter(|(_, _, free)| *free < LITTLE).collect();
    let Some((_, _, left)) = little.first() else {
        return Looked::seen(format!("{} free on disk", size(least)));
    };
    let where_: Vec<String> =
        little.iter().map(|(what, folder, _)| format!("{what} in {}", folder.display())).collect();
    Looked::wrong(
        format!("the disk is nearly full: {} are left for {}", size(*left), where_.join(", ")),
        "models cannot be pulled, and logs break off",
        "remove models that nobody needs (`echo-mesh models rm NAME --on NODE`), or move the folder to another disk",
    )
}

/// What other machines say of theirs.
async fn nodes(scene: &Scene) -> Looked {
    let Some(mesh) = scene.mesh().await else { return Looked::default() };
    let home = std::env::var_os("HOME").map(PathBuf::from).and_then(|home| os::free_space(&home).ok());
    // The same disk, told a moment earlier, is this machine's own.
    let is_ours = |free: u64| home.is_some_and(|home| home.abs_diff(free) < 64 << 20);
    let little = mesh
        .nodes
        .iter()
        .filter(|node| node.disk.total > 0 && node.disk.free < LITTLE && !is_ours(node.disk.free));
    little.fold(Looked::default(), |looked, node| {
        looked.and_wrong(
            format!("the disk of {} is nearly full: {} are left", node.node_id, size(node.disk.free)),
            "no model can be pulled there",
            format!("remove models that nobody needs: echo-mesh models rm NAME --on {}", node.node_id),
        )
    })
}
