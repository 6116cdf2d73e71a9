#!/usr/bin/env bash
# Stops what start-phase1.sh started, and nothing else. Another mesh is named with its ECHO_RUN_DIR.
set -eu

# shellcheck source=lib/settings.sh
. "$(dirname "$0")/lib/settings.sh"

run_built down "$@"
