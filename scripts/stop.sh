#!/usr/bin/env bash
# Stops what start-phase1.sh started, and nothing else: edge, agents, orchestrator, broker, engines. Another mesh
# is named with its ECHO_RUN_DIR.
set -eu

# shellcheck source=lib/settings.sh
. "$(dirname "$0")/lib/settings.sh"
# shellcheck source=lib/part.sh
. "$ROOT/scripts/lib/part.sh"
# shellcheck source=lib/mesh.sh
. "$ROOT/scripts/lib/mesh.sh"

main() {
    local part found=no
    locate_mesh
    end_start
    for part in $STOP_ORDER; do
        if [ -e "$(pid_file "$part")" ]; then found=yes; fi
    done
    if [ $found = no ]; then
        say "Nothing to stop: no start is recorded in $ECHO_RUN_DIR."
        return
    fi
    stop_mesh || die "not everything could be stopped; what is left is named above."
    rm -f "$RECORD"
    say "Stopped."
}

# A start that is under way stops what it has started by itself.
end_start() {
    local pid begun=$SECONDS
    pid=$(part_pid starting) || return 0
    say "start-phase1.sh is still at work (pid $pid): ending it"
    kill -TERM "$pid" 2>/dev/null || true
    while part_pid starting >/dev/null; do
        [ $((SECONDS - begun)) -lt $((STOP_SECONDS * 2)) ] || die "the start (pid $pid) does not end: end it yourself, then run this again."
        sleep 0.1
    done
}

main
