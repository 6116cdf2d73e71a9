#!/usr/bin/env bash
# Builds and starts the whole mesh on this machine: two engines, the broker, the orchestrator, two agents and the
# edge. Comes back once both nodes can answer. Settings are environment variables; the README lists them.
set -eu

# shellcheck source=lib/settings.sh
. "$(dirname "$0")/lib/settings.sh"
# shellcheck source=lib/part.sh
. "$ROOT/scripts/lib/part.sh"
# shellcheck source=lib/http.sh
. "$ROOT/scripts/lib/http.sh"
# shellcheck source=lib/preflight.sh
. "$ROOT/scripts/lib/preflight.sh"
# shellcheck source=lib/engines.sh
. "$ROOT/scripts/lib/engines.sh"
# shellcheck source=lib/mesh.sh
. "$ROOT/scripts/lib/mesh.sh"

main() {
    locate_mesh
    refuse_second_start
    if [ -n "$(running_parts)" ]; then
        report_running
        return
    fi
    apply_defaults
    check_settings
    preflight
    mkdir -p "$ECHO_RUN_DIR" "$ECHO_LOG_DIR"
    lock_start || refuse_second_start
    trap leave EXIT
    trap 'interrupted 130' INT
    trap 'interrupted 143' TERM
    trap 'interrupted 129' HUP
    claim_logs
    say "$WHY"
    build
    start_mesh
    READY=yes
    print_mesh
    print_lines_to_try
}

refuse_second_start() {
    local pid
    ! pid=$(part_pid starting) ||
        die "another start of this mesh is under way (pid $pid): wait for it, or end it with $(print_command stop.sh)"
}

# A mesh that is up is shown, not started twice. One that is half dead is said to be so.
report_running() {
    # What this call was given does not change a mesh that runs.
    # shellcheck disable=SC2086
    unset $SETTINGS
    read_record || true
    apply_defaults
    MODEL=${MESH_MODEL:-}
    say "This mesh is already running${MESH_SINCE:+ since $MESH_SINCE}."
    print_mesh
    local name dead=
    for name in broker orchestrator agent-a agent-b edge; do
        part_pid "$name" >/dev/null || dead="$dead $name"
    done
    if [ -n "$dead" ]; then
        die "not running any more:$dead. See $ECHO_LOG_DIR; start afresh with $(print_command stop.sh) && $(print_command start-phase1.sh)"
    fi
    SEEN="nothing"
    both_ready || die "the parts run, but the mesh is not ready ($SEEN). See $ECHO_LOG_DIR; start afresh with $(print_command stop.sh) && $(print_command start-phase1.sh)"
    print_lines_to_try
}

# Nothing is built, fetched or written before all of this holds.
preflight() {
    check_tools
    choose_engines
    locate_target
    check_disk "$ENGINES"
    # shellcheck disable=SC2046
    check_ports ECHO_EDGE_LISTEN "$ECHO_EDGE_LISTEN" ECHO_NATS_LISTEN "$ECHO_NATS_LISTEN" \
        ECHO_NATS_MONITOR "$ECHO_NATS_MONITOR" ECHO_AGENT_A_LISTEN "$ECHO_AGENT_A_LISTEN" \
        ECHO_AGENT_B_LISTEN "$ECHO_AGENT_B_LISTEN" $(engine_ports)
}

# Two meshes must not write over each other's logs.
claim_logs() {
    local owner=
    if [ -r "$ECHO_LOG_DIR/.mesh" ]; then owner=$(cat "$ECHO_LOG_DIR/.mesh"); fi
    if [ -n "$owner" ] && [ "$owner" != "$ECHO_RUN_DIR" ] &&
        [ -n "$(running_parts "$owner")" ]; then
        die "$ECHO_LOG_DIR holds the logs of another running mesh ($owner): choose another ECHO_LOG_DIR."
    fi
    printf '%s\n' "$ECHO_RUN_DIR" >"$ECHO_LOG_DIR/.mesh"
}

build() {
    say "Building (the first time takes a few minutes) …"
    patiently cargo build --manifest-path "$ROOT/Cargo.toml" --release --locked --bins \
        -p echo-broker -p echo-orchestrator -p echo-agent -p echo-edge ||
        die "the build failed (cargo's exit status: $?); its words are above."
}

start_mesh() {
    say "Looking for nats-server …"
    patiently "$BIN/echo-broker" fetch || die "there is no nats-server to start; the reason is above."
    if [ "$ENGINES" = embedded ]; then
        fetch_embedded || die "the embedded engine could not be fetched; the reason is above. With Ollama (https://ollama.com/download) it is not needed."
    fi
    write_record
    record MESH_MODEL "$MODEL"
    record MESH_ENGINES "$ENGINES"
    record MESH_SINCE "$(date '+%Y-%m-%d %H:%M:%S')"
    say "Starting the engines …"
    start_engine A
    start_engine B
    ready_engine A
    ready_engine B
    start_parts
}

interrupted() {
    # A part that has just been started must be written down first, else nobody would stop it.
    if [ -n "${WRITING:-}" ]; then
        PENDING=$1
        return 0
    fi
    warn ""
    warn "error: interrupted before the mesh was up."
    exit "$1"
}

leave() {
    local status=$?
    trap - EXIT
    trap '' INT TERM HUP
    end_patiently
    if [ "${READY:-no}" != yes ]; then
        if [ -n "$STARTED" ]; then
            warn "Stopping what this start had started:"
            stop_mesh >&2 || true
        fi
        rm -f "$RECORD"
    fi
    unlock_start
    exit "$status"
}

main
