//! Engines that are started with the mesh.

use anyhow::Result;
use echo_bus::process::BadConfig;

use super::plan::{From, Node};
use crate::supervise::Spec;

/// How the engine of a node is started; none where it runs already.
pub fn spec(node: &Node) -> Result<Option<Spec>> {
    match &node.engine.from {
        From::Found => Ok(None),
        _ => Err(BadConfig(format!("nothing is known of how to start the engine of {}", node.id)).into()),
    }
}
