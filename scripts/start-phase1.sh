#!/usr/bin/env bash
# Builds the mesh and starts it on this machine: two engines, the broker, the orchestrator, two agents and the edge.
# Comes back once both nodes can answer. It is `echo-mesh up --detach --nodes 2`, whose --help lists the settings; flags
# are passed on.
set -eu

# shellcheck source=lib/settings.sh
. "$(dirname "$0")/lib/settings.sh"
# shellcheck source=lib/preflight.sh
. "$ROOT/scripts/lib/preflight.sh"

locate_mesh
check_tools
locate_target
check_disk
say "Building (the first time takes a few minutes) …"
cargo build --manifest-path "$ROOT/Cargo.toml" --release --locked --bins -p echo-mesh ||
    die "the build failed (cargo's exit status: $?); its words are above."
exec "$BIN/echo-mesh" up --detach --nodes 2 "$@"
