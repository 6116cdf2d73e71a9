#!/usr/bin/env bash
# Makes every fault of the mesh that something is promised about, on real processes, and prints what clients saw of it
# as a table: 3 runs a row, a soak and a chaos in under two minutes; with --full the long form, on a quiet machine.
# Exits 1 if a task was lost or doubled or a promise broken. --help says what can be chosen.
set -eu

# shellcheck source=lib/settings.sh
. "$(dirname "$0")/lib/settings.sh"
# shellcheck source=lib/preflight.sh
. "$ROOT/scripts/lib/preflight.sh"

locate_cache
cd "$ROOT"
check_tools
locate_target
cargo build --release --locked --workspace --bins
"$BIN/echo-mesh" broker fetch
exec "$BIN/echo-faults" "$@"
