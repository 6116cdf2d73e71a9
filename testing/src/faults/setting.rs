//! The meshes that faults are made on.

use std::time::Duration;

use crate::mesh::{Builder, Mesh, Site};
use echo_scripted_engine::Api;

/// Longer than any fault of a storm; what takes longer hangs.
const TASK_TIMEOUT: Duration = Duration::from_secs(30);
/// No client waits longer: the task's own limit, and the time to be told of it.
pub const DEADLINE: Duration = TASK_TIMEOUT.saturating_add(Duration::from_secs(5));

const SHORT: [&str; 8] =
    ["--head-timeout", "1s", "--body-timeout", "1s", "--idle-timeout", "1s", "--client-timeout", "1s"];

/// Rows with one setting may follow one another on the same mesh.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Setting {
    /// Two nodes with one slot each, everything as a user has it by default.
    Pair,
    /// The same with engines of llama.cpp's kind.
    LlamaPair,
    /// Two nodes with two slots each.
    Broad,
    /// One node with one slot, and room for one task in the queue.
    Single,
    /// No node.
    Empty,
    /// Two nodes, and an edge that waits half a second for a token.
    Impatient,
    /// Two nodes with two slots, two edges.
    Edges,
    /// Two nodes with many slots, and an edge with a second of patience for its clients' connections.
    Doors,
    /// Two nodes whose engines are processes, and an edge that waits half a second for a token.
    Engines,
    /// Three nodes, two orchestrators, two edges.
    Fleet,
    /// Three servers of the bus; three nodes, two orchestrators and two edges, spread over them.
    Cluster,
    /// Two sites: where two of three nodes are, and where the edge and the third node are. An orchestrator at each.
    Sites(Site, Site),
    /// Three nodes with many slots, for the soak.
    Soak,
    /// Three nodes and two orchestrators, for the chaos.
    Chaos,
}

impl Setting {
    pub fn mesh(self) -> Builder {
        let mesh = Mesh::start();
        match self {
            Self::Pair => mesh,
            Self::LlamaPair => mesh.api(Api::Openai),
            Self::Broad => mesh.slots(2),
            Self::Single => mesh.nodes(1).orchestrator_args(["--queue-limit", "1"]),
            Self::Empty => mesh.nodes(0),
            Self::Impatient => mesh.edge_args(["--token-timeout", "500ms"]),
            Self::Edges => mesh.slots(2).edges(2),
            Self::Doors => mesh.slots(25).edge_args(SHORT),
            Self::Engines => mesh.engine_programs().edge_args(["--token-timeout", "500ms"]),
            Self::Fleet => mesh.nodes(3).slots(3).orchestrators(2).edges(2),
            Self::Cluster => mesh.cluster(3).nodes(3).slots(6).orchestrators(2).edges(2),
            Self::Sites(agents, edges) => mesh.second_site(agents, edges).nodes(3).slots(6).orchestrators(2),
            Self::Soak => storm(mesh.nodes(3).slots(8)),
            Self::Chaos => storm(mesh.nodes(3).slots(8).orchestrators(2).engine_programs()),
        }
    }
}

fn storm(mesh: Builder) -> Builder {
    let limit = format!("{}s", TASK_TIMEOUT.as_secs());
    mesh.edge_args(["--task-timeout", &limit, "--token-timeout", "1s", "--first-token-timeout", "3s"])
}
