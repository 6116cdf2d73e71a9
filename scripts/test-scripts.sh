#!/usr/bin/env bash
# Tests the scripts and what they start: what a start refuses, what it cleans up, what a stop leaves alone. The program is
# the real echo-mesh (ECHO_MESH_BINARY, else the release build); cargo and the engines are stand-ins. Part of test.sh.
# Each test is a claim; `test-scripts.sh CLAIM…` runs only those.
set -eu

# shellcheck source=lib/settings.sh
. "$(dirname "$0")/lib/settings.sh"
# shellcheck source=lib/stubs.sh
. "$ROOT/scripts/lib/stubs.sh"
# shellcheck source=lib/ollama-claims.sh
. "$ROOT/scripts/lib/ollama-claims.sh"

START=$ROOT/scripts/start-phase1.sh
STOP=$ROOT/scripts/stop.sh
FAILED=0
RAN=0

main() {
    local claim
    WORK=$(mktemp -d "${TMPDIR:-/tmp}/echo-scripts.XXXXXX")
    trap clean_up EXIT
    trap 'exit 130' INT TERM
    locate_cache
    locate_target
    MESH_BINARY=${ECHO_MESH_BINARY:-$BIN/echo-mesh}
    [ -x "$MESH_BINARY" ] || die "$MESH_BINARY is not built."
    NATS_SERVER=$("$MESH_BINARY" broker fetch) || die "there is no nats-server; the reason is above."
    write_stubs "$WORK" "$MESH_BINARY"
    [ $# -gt 0 ] || set -- an_old_rust_is_refused a_missing_cargo_is_refused a_missing_compiler_is_refused \
        a_full_disk_is_refused an_old_python_is_refused_for_the_embedded_engine \
        a_taken_port_is_refused_by_name one_port_for_two_parts_is_refused a_bad_setting_is_refused \
        openai_mode_wants_two_engines a_mesh_comes_up_once_and_goes_down_in_order \
        two_meshes_run_side_by_side found_engines_are_left_running a_part_that_dies_stops_the_start \
        an_interrupted_build_leaves_nothing an_interrupted_start_leaves_nothing a_deaf_part_is_killed_aloud a_stranger_with_our_pid_is_left_alone \
        ollama_is_started_and_pulls_with_consent nothing_is_pulled_without_consent \
        no_ollama_means_a_sentence_where_it_is_wanted a_killed_ollamas_runner_ends_with_the_mesh \
        a_start_ends_what_a_killed_ollama_has_left the_models_that_are_there_are_named \
        the_reason_for_ollama_is_the_true_one an_ollama_that_is_started_says_its_slots the_logs_that_are_advised_are_there
    for claim in "$@"; do run_claim "$claim"; done
    say "$((RAN - FAILED)) of $RAN script tests ok."
    [ $FAILED = 0 ]
}

# Every claim has its own folder and ports, and may leave a mesh behind.
run_claim() {
    local status=0
    RAN=$((RAN + 1))
    MESH=$WORK/mesh-$RAN
    mkdir -p "$MESH"
    # In a condition `set -e` would not hold inside.
    set +e
    (
        set -e
        use_mesh "$MESH"
        "$1"
    ) >"$MESH/said" 2>&1
    status=$?
    set -e
    stop_leftovers
    if [ $status = 0 ]; then
        say "ok    $1"
    else
        FAILED=$((FAILED + 1))
        say "FAIL  $1"
        sed 's/^/      /' "$MESH/said"
    fi
}

stop_leftovers() {
    local dir pid
    for dir in "$WORK"/mesh-*/run "$WORK"/mesh-*/second/run; do
        [ ! -e "$dir/mesh.json" ] || ECHO_STOP_SECONDS=1 ECHO_RUN_DIR=$dir "$MESH_BINARY" down >/dev/null 2>&1 || true
    done
    for dir in "$WORK"/mesh-*/stranger; do
        [ -e "$dir" ] || continue
        while read -r pid; do kill "$pid" 2>/dev/null || true; done <"$dir"
        rm -f "$dir"
    done
}

clean_up() {
    stop_leftovers
    rm -rf "$WORK"
}

# The settings of a mesh of its own in DIR, with two engines that are already there.
use_mesh() {
    local name
    for name in $(compgen -e); do
        case $name in ECHO_* | OLLAMA_* | XDG_*) unset "$name" ;; esac
    done
    PATH=$WORK/bin
    HOME=$1/home
    mkdir -p "$HOME"
    export PATH HOME
    export ECHO_RUN_DIR=$1/run ECHO_LOG_DIR=$1/logs ECHO_CACHE_DIR=$1/cache ECHO_ENGINE_MODE=openai
    export ECHO_NATS_SERVER=$NATS_SERVER
    # shellcheck disable=SC2046
    set -- $(python3 "$ROOT/scripts/free-ports.py" 7)
    for name in ECHO_EDGE_LISTEN ECHO_NATS_LISTEN ECHO_NATS_MONITOR ECHO_AGENT_A_LISTEN ECHO_AGENT_B_LISTEN; do
        export "$name=127.0.0.1:$1"
        shift
    done
    export ECHO_ENGINE_A_URL=http://127.0.0.1:$1 ECHO_ENGINE_B_URL=http://127.0.0.1:$2
}

# A process that is not of the mesh: it answers as an engine at ADDRESS.
stranger() {
    cp "$WORK/program.py" "$WORK/engine"
    "$WORK/engine" --listen "$1" </dev/null >/dev/null 2>&1 &
    printf '%s\n' $! >>"$MESH/stranger"
    soon curl -fs --noproxy '*' -o /dev/null "http://$1/v1/models"
}

both_engines() {
    stranger "${ECHO_ENGINE_A_URL#http://}"
    stranger "${ECHO_ENGINE_B_URL#http://}"
}

# refused WORDS…: the start fails, its last word holds all WORDS, and it has written nothing.
refused() {
    local word
    if "$START" >"$MESH/out" 2>&1; then fail "the start went through"; fi
    for word in "$@"; do has "$word" "$MESH/out"; done
    [ ! -e "$ECHO_RUN_DIR" ] || fail "a preflight that fails must leave nothing behind"
}

has() { grep_fixed "$1" "$2" || fail "no '$1' in: $(cat "$2")"; }
has_not() { ! grep_fixed "$1" "$2" || fail "'$1' in: $(cat "$2")"; }
grep_fixed() {
    local text
    text=$(cat "$2" 2>/dev/null) || return 1
    [ "${text#*"$1"}" != "$text" ]
}

# What a start has written down: mesh.json, until `down` removes it.
recorded() {
    python3 - "$ECHO_RUN_DIR/mesh.json" "$@" <<'PY'
import json, sys

record = json.load(open(sys.argv[1], encoding="utf-8"))
parts = {part["name"]: part["process"]["pid"] for part in record["parts"]}
parts["up"] = record["supervisor"]["pid"]
name = sys.argv[2]
sys.exit(print(*parts) if name == "all" else 1 if name not in parts else print(parts[name]))
PY
}

# The pid of a part that runs.
part_pid() {
    local pid
    pid=$(recorded "$1" 2>/dev/null) || return 1
    lives "$pid" || return 1
    printf '%s\n' "$pid"
}

lives() { case $(ps -o stat= -p "$1" 2>/dev/null || true) in '' | Z*) return 1 ;; esac; }
is_gone() { ! lives "$1"; }
is_another() { [ "$(part_pid "$1" || printf '%s' "$2")" != "$2" ]; }
# Every part of a mesh that runs, but not its supervisor.
running_parts() {
    local name
    for name in $(recorded all 2>/dev/null); do
        if [ "$name" != up ] && part_pid "$name" >/dev/null; then printf '%s ' "$name"; fi
    done
}
nothing_is_left() { [ -z "$(ls "$ECHO_RUN_DIR" 2>/dev/null)" ] || fail "left: $(ls "$ECHO_RUN_DIR")"; }

# soon CHECK…: waits until it holds.
soon() {
    local begun=$SECONDS
    until "$@"; do
        [ $((SECONDS - begun)) -lt 30 ] || fail "not within 30 s: $*"
        sleep 0.05
    done
}
fail() {
    say "$*"
    exit 1
}

# replace TOOL SCRIPT: for this claim only.
replace() {
    mkdir -p "$MESH/bin"
    printf '#!/bin/sh\n%s\n' "$2" >"$MESH/bin/$1"
    chmod +x "$MESH/bin/$1"
    PATH=$MESH/bin:$PATH
}

an_old_rust_is_refused() {
    replace rustc 'echo "rustc 1.70.0 (old)"'
    refused "Rust 1.70 is too old" "https://rustup.rs"
}

a_missing_cargo_is_refused() {
    mkdir "$MESH/bin"
    ln -s "$WORK"/bin/* "$MESH/bin"
    rm "$MESH/bin/cargo"
    PATH=$MESH/bin refused "cargo is not found"
}

a_missing_compiler_is_refused() {
    replace cc 'exit 1'
    refused "no working C compiler" "build-essential"
}

a_full_disk_is_refused() {
    both_engines
    # shellcheck disable=SC2016
    replace df 'printf "Filesystem 1024-blocks Used Available Capacity Mounted on\n/dev/x 9 9 102400 99%% /\n"'
    refused "only 100 MB are free" "CARGO_TARGET_DIR"
}

an_old_python_is_refused_for_the_embedded_engine() {
    local name real
    real=$(command -v python3)
    for name in python3.10 python3.11 python3.12 python3.13 python3.14; do replace $name 'exit 1'; done
    replace python3 "case \$2 in *'version_info < (3, 10)'*) exit 1 ;; esac; exec '$real' \"\$@\""
    ECHO_ENGINE_MODE=embedded refused "needs 3.10 or newer"
}

a_taken_port_is_refused_by_name() {
    both_engines
    stranger "$ECHO_EDGE_LISTEN"
    refused "$ECHO_EDGE_LISTEN (ECHO_EDGE_LISTEN) is taken by" "choose another port: ECHO_EDGE_LISTEN=127.0.0.1:"
    if command -v lsof >/dev/null || command -v ss >/dev/null; then has "(pid $(tail -n 1 "$MESH/stranger"))" "$MESH/out"; fi
}

one_port_for_two_parts_is_refused() {
    both_engines
    ECHO_AGENT_B_LISTEN=$ECHO_AGENT_A_LISTEN refused "wanted by two parts"
}

a_bad_setting_is_refused() {
    ECHO_EDGE_LISTEN=8080 refused "ECHO_EDGE_LISTEN=8080 has no port"
    ECHO_EDGE_LISTEN=127.0.0.1:99999 refused "from 1 to 65535"
    ECHO_SLOTS=none refused "ECHO_SLOTS=none"
    ECHO_ENGINE_MODE=magic refused "ECHO_ENGINE_MODE=magic is not known"
}

openai_mode_wants_two_engines() {
    stranger "${ECHO_ENGINE_A_URL#http://}"
    refused "nothing at ECHO_ENGINE_B_URL="
}

a_mesh_comes_up_once_and_goes_down_in_order() {
    local before
    both_engines
    "$START" >"$MESH/first" 2>&1 || fail "no start: $(cat "$MESH/first")"
    has "Ready: both nodes serve smollm2" "$MESH/first"
    "$START" >"$MESH/second" 2>&1 || fail "a second start is no failure: $(cat "$MESH/second")"
    has "already running" "$MESH/second"
    has "pid $(part_pid edge)" "$MESH/second"
    before=$(part_pid agent-b)
    kill -KILL "$before"
    soon is_another agent-b "$before"
    "$STOP" >"$MESH/stopped" 2>&1
    [ "$(sed -n 's/: stopped.*//p' "$MESH/stopped" | tr '\n' ' ')" = "edge agent-b agent-a orchestrator broker " ] ||
        fail "not in order: $(cat "$MESH/stopped")"
    nothing_is_left
    "$STOP" >"$MESH/again" 2>&1
    has "Nothing to stop" "$MESH/again"
}

two_meshes_run_side_by_side() {
    both_engines
    "$START" >"$MESH/first" 2>&1 || fail "no first: $(cat "$MESH/first")"
    local first=$ECHO_RUN_DIR one=$ECHO_ENGINE_A_URL two=$ECHO_ENGINE_B_URL logs=$ECHO_LOG_DIR
    use_mesh "$MESH/second"
    export ECHO_ENGINE_A_URL=$one ECHO_ENGINE_B_URL=$two
    if ECHO_LOG_DIR=$logs "$START" >"$MESH/clash" 2>&1; then fail "two meshes share their logs"; fi
    has "ECHO_LOG_DIR" "$MESH/clash"
    "$START" >"$MESH/other" 2>&1 || fail "no second: $(cat "$MESH/other")"
    ECHO_RUN_DIR=$first "$STOP" >/dev/null
    [ "$(running_parts)" = "broker orchestrator agent-a agent-b edge " ] || fail "the second was hit: $(running_parts)"
}

found_engines_are_left_running() {
    both_engines
    "$START" >/dev/null 2>&1
    "$STOP" >/dev/null
    curl -fs --noproxy '*' "$ECHO_ENGINE_A_URL/v1/models" >/dev/null || fail "engine a was stopped"
    curl -fs --noproxy '*' "$ECHO_ENGINE_B_URL/v1/models" >/dev/null || fail "engine b was stopped"
}

# Each part has a setting of its own that it cannot run with.
a_part_that_dies_stops_the_start() {
    both_engines
    local part name
    printf 'max_paylod: 8MB\n' >"$MESH/out-of-luck"
    cd "$MESH"
    for part in broker:ECHO_NATS_CONF orchestrator:ECHO_QUEUE_WAIT agent-a:ECHO_HEARTBEAT edge:ECHO_KEEP_LIMIT; do
        if env "${part#*:}=out-of-luck" "$START" >"$MESH/out" 2>&1; then fail "the start went through without ${part%:*}"; fi
        name=${part%:*}
        # Both agents have it, and either may be the first to end.
        ! grep_fixed "agent-b ended" "$MESH/out" || name=${name/%-a/-b}
        has "$name ended" "$MESH/out"
        has "out-of-luck" "$MESH/out"
        nothing_is_left
    done
}

# Ctrl-C in a terminal is for all of its processes.
an_interrupted_build_leaves_nothing() {
    both_engines
    set -m
    STUB_SLOW_BUILD=1 "$START" >"$MESH/out" 2>&1 &
    local start=$!
    set +m
    soon grep_fixed "building" "$MESH/out"
    # Whoever runs this in the background has SIGINT ignored, and so have we.
    kill -TERM "-$start"
    if wait $start; then fail "it came up"; fi
    [ ! -e "$ECHO_RUN_DIR" ] || fail "left: $(ls "$ECHO_RUN_DIR")"
}

# An Ollama that never answers keeps the start waiting.
an_interrupted_start_leaves_nothing() {
    replace ollama 'exec sleep 600'
    store "$HOME/.ollama/models" library/mistral:latest
    ECHO_ENGINE_MODE=ollama "$START" >"$MESH/out" 2>&1 &
    local start=$! engine
    soon grep_fixed "to answer at" "$MESH/out"
    engine=$(part_pid engine-a)
    "$STOP" >"$MESH/stopped"
    has "ending it" "$MESH/stopped"
    if wait $start; then fail "it came up"; fi
    is_gone "$engine" || fail "the engine is alive"
    nothing_is_left
}

# A part that stands still hears no SIGTERM.
a_deaf_part_is_killed_aloud() {
    local deaf
    both_engines
    "$START" >"$MESH/out" 2>&1 || fail "no start: $(cat "$MESH/out")"
    deaf=$(part_pid orchestrator)
    kill -STOP "$deaf"
    ECHO_STOP_SECONDS=1 "$STOP" >"$MESH/stopped"
    has "orchestrator: pid $deaf did not end within 1 s of SIGTERM, so SIGKILL" "$MESH/stopped"
    is_gone "$deaf" || fail "still there"
    nothing_is_left
}

a_stranger_with_our_pid_is_left_alone() {
    local pid
    both_engines
    "$START" >"$MESH/out" 2>&1 || fail "no start: $(cat "$MESH/out")"
    cp "$ECHO_RUN_DIR/mesh.json" "$MESH/record"
    "$STOP" >/dev/null
    stranger "$ECHO_EDGE_LISTEN"
    pid=$(tail -n 1 "$MESH/stranger")
    # What the machine looks like when it has given the pid of every part of ours to somebody else.
    sed 's/"pid": [0-9]*/"pid": '"$pid"'/' "$MESH/record" >"$ECHO_RUN_DIR/mesh.json"
    "$STOP" >"$MESH/stopped"
    has "edge: had already ended" "$MESH/stopped"
    lives "$pid" || fail "a stranger was killed"
}

the_logs_that_are_advised_are_there() {
    local line
    both_engines
    cd "$MESH"
    "$START" >"$MESH/out" 2>&1 || fail "no start: $(cat "$MESH/out")"
    line=$(sed -n 's/^  tail -f //p' "$MESH/out")
    has " logs/edge.log" "$MESH/out"
    # shellcheck disable=SC2086
    ls $line >/dev/null || fail "no such logs: $line"
}

no_ollama_means_a_sentence_where_it_is_wanted() {
    ECHO_ENGINE_MODE=ollama refused "https://ollama.com/download"
    ECHO_ENGINE_MODE=auto ECHO_MODEL=mistral refused "ECHO_MODEL=mistral needs Ollama"
}

main "$@"
