#!/usr/bin/env bash
# Gives a million spoilt inputs to each parser of foreign bytes, in release with checked arithmetic, and says what each got:
# scripts/fuzz.sh [INPUTS]. What breaks is shown with its input. ECHO_FUZZ_SEED chooses other inputs.
set -eu

# shellcheck source=lib/settings.sh
. "$(dirname "$0")/lib/settings.sh"
# shellcheck source=lib/preflight.sh
. "$ROOT/scripts/lib/preflight.sh"

case ${1:-1000000} in
*[!0-9]*) die "usage: scripts/fuzz.sh [INPUTS]: how many each parser gets" ;;
esac
locate_cache
cd "$ROOT"
check_tools
export ECHO_FUZZ_CASES=${1:-1000000}
# A parser that breaks keeps no other from its inputs.
exec cargo test --profile fuzz --locked --no-fail-fast --lib -p echo-bus -p echo-agent -p echo-edge -p echo-mesh \
    -- --nocapture --test-threads=2 fuzz:: spoilt_
